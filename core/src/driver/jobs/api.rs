//! Tasks of a [`Driver`].

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Calls, TaskOptions};
use super::job::{Job, Task};
use super::plane::Tasks;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Result};
use crate::task::command::run_command;
use crate::task::{Broadcast, Command, TaskFunction};

/// Tasks, under the default options; others by [`Driver::with`].
impl Driver {
    /// Submits one task: [`Calls::submit`].
    pub fn submit<F: TaskFunction>(&self, function: F, argument: F::Input) -> Task<F> {
        self.with(TaskOptions::default()).submit(function, argument)
    }

    /// Submits one task for each argument: [`Calls::map`].
    pub fn map<F, I>(&self, function: F, arguments: I) -> Job<F>
    where
        F: TaskFunction,
        I: IntoIterator<Item = F::Input>,
        I::IntoIter: Send + 'static,
    {
        self.with(TaskOptions::default()).map(function, arguments)
    }

    /// Submits one task for each argument that a stream gives: [`Calls::stream`].
    pub fn stream<F, S>(&self, function: F, arguments: S) -> Job<F>
    where
        F: TaskFunction,
        S: futures_core::Stream<Item = F::Input> + Send + 'static,
    {
        self.with(TaskOptions::default()).stream(function, arguments)
    }

    /// Submits a command: [`Calls::submit_command`].
    pub fn submit_command(&self, command: Command) -> Task<run_command> {
        self.with(TaskOptions::default()).submit_command(command)
    }

    /// Makes a value that tasks share. It is encoded now, sent once to each executor whose tasks ask for it, and forgotten with
    /// its last handle here.
    ///
    /// # Errors
    /// `InvalidRequest` where it can't be encoded; `Unsupported` for a driver with a task plane of its own.
    pub fn broadcast<T: Serialize + DeserializeOwned>(&self, value: T) -> Result<Broadcast<T>> {
        self.tasks()
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "this driver has a task plane of its own"))?
            .broadcast(value)
    }

    /// Submits under these options.
    #[must_use]
    pub fn with(&self, options: TaskOptions) -> Calls {
        // Of a driver with a task plane of its own no task of ours would ever run: they fail at once.
        Calls::new(self.tasks().unwrap_or_else(Tasks::of_nothing), options)
    }

    fn tasks(&self) -> Option<Arc<Tasks>> {
        self.plane().ok().and_then(|plane| Arc::clone(plane).tasks())
    }
}
