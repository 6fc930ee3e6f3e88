//! The calls that submit tasks, and what can be set for them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::feeder::{Feeder, Putter};
use super::job::{Job, Task};
use super::plane::{Tasks, TasksSettings};
use super::results::Results;
use crate::error::Result;
use crate::ids::ProfileId;
use crate::state::tasks::JobLimits;
use crate::task::command::run_command;
use crate::task::{Broadcast, Command, TaskErrorKind, TaskFunction, codec};

/// What holds for the tasks of one call.
#[derive(Debug, Clone)]
pub struct TaskOptions {
    profile: ProfileId,
    attempts: Option<u32>,
    lost: Option<u32>,
    time_limit: Option<Duration>,
    window: u64,
    name: Option<Cow<'static, str>>,
}

impl Default for TaskOptions {
    fn default() -> TaskOptions {
        TaskOptions {
            profile: ProfileId(0),
            attempts: None,
            lost: None,
            time_limit: None,
            window: 16_384,
            name: None,
        }
    }
}

impl TaskOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> TaskOptions {
        TaskOptions::default()
    }

    /// Runs them on executors of this profile, by default of the default profile.
    #[must_use]
    pub fn profile(mut self, profile: ProfileId) -> TaskOptions {
        self.profile = profile;
        self
    }

    /// Attempts that may fail, by default as the driver's settings say (`task.attempts`, 4); 1: no task is tried again (D4).
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> TaskOptions {
        self.attempts = Some(attempts.max(1));
        self
    }

    /// Attempts that may be lost through no fault of the application, by default as the driver's settings say
    /// (`task.lost-attempts`, 8) (D4).
    #[must_use]
    pub fn lost_attempts(mut self, lost: u32) -> TaskOptions {
        self.lost = Some(lost.max(1));
        self
    }

    /// How long one attempt may run; without limit by default. One that runs longer is told (its context's cancellation) and
    /// counts as failed; its slot is free when it returns, or its executor is replaced after the cancel deadline (D6).
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> TaskOptions {
        self.time_limit = Some(limit);
        self
    }

    /// How many of a job's tasks may be in flight or waiting for their caller, 16,384 by default: what bounds the memory of a
    /// job of any length (D7).
    #[must_use]
    pub fn window(mut self, tasks: u64) -> TaskOptions {
        self.window = tasks.max(1);
        self
    }

    /// The job's name in the driver's events, by default its function's.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> TaskOptions {
        self.name = Some(name.into());
        self
    }

    fn limits(&self, settings: &TasksSettings) -> JobLimits {
        JobLimits {
            profile: self.profile,
            attempts: self.attempts.unwrap_or(settings.attempts),
            lost: self.lost.unwrap_or(settings.lost_attempts),
            time_limit: self.time_limit,
        }
    }
}

/// Submits tasks under the same options.
#[derive(Debug, Clone)]
pub struct Calls {
    tasks: Arc<Tasks>,
    options: TaskOptions,
}

impl Calls {
    pub(crate) fn new(tasks: Arc<Tasks>, options: TaskOptions) -> Calls {
        Calls { tasks, options }
    }

    /// Submits one task.
    ///
    /// It is on its way when this returns. Past 16,384 single tasks, or 64 MiB of arguments, that aren't over, it blocks the
    /// thread until some are (D7).
    ///
    /// # Errors
    /// An argument that can't be encoded, and a driver that is closed, show as the task's outcome.
    pub fn submit<F: TaskFunction>(&self, _function: F, argument: F::Input) -> Task<F> {
        let (mut putter, results) = self.open::<F>(1, true);
        putter.add::<F>(&argument);
        let bytes = putter.bytes();
        putter.sink.hold(self.tasks.flood.enter(bytes));
        putter.finish();
        Task::new(results)
    }

    /// Submits one task for each argument.
    ///
    /// The first are on their way when this returns; a longer iterator is read on by a thread of its own, as results are taken:
    /// see [`TaskOptions::window`]. Results come in the order of the arguments, or as they are ready by [`Job::unordered`].
    ///
    /// # Errors
    /// As [`Calls::submit`]; a panic of the iterator that happens after the call is an outcome, `SourcePanicked`.
    pub fn map<F, I>(&self, _function: F, arguments: I) -> Job<F>
    where
        F: TaskFunction,
        I: IntoIterator<Item = F::Input>,
        I::IntoIter: Send + 'static,
    {
        let (putter, results) = self.open::<F>(self.options.window, false);
        let (tasks, sink, job) = (Arc::clone(&putter.tasks), Arc::clone(&putter.sink), putter.job);
        if let Err(error) = Feeder::<F, _>::new(putter, arguments.into_iter()).start() {
            let mut putter = Putter::new(tasks, sink, job, 0);
            putter.fail(TaskErrorKind::Undeliverable(error));
            putter.finish();
        }
        Job::new(results)
    }

    /// Submits one task for each argument that a stream gives. The stream is polled when the job is.
    pub fn stream<F, S>(&self, _function: F, arguments: S) -> Job<F>
    where
        F: TaskFunction,
        S: futures_core::Stream<Item = F::Input> + Send + 'static,
    {
        let (putter, results) = self.open::<F>(self.options.window, false);
        Job::new(results.with_source(Box::pin(arguments), putter))
    }

    /// Submits a command. An exit code other than 0 is a result, unless [`Command::check`] says otherwise.
    pub fn submit_command(&self, command: Command) -> Task<run_command> {
        self.submit(run_command, command)
    }

    /// Submits many commands.
    pub fn map_commands<I>(&self, commands: I) -> Job<run_command>
    where
        I: IntoIterator<Item = Command>,
        I::IntoIter: Send + 'static,
    {
        self.map(run_command, commands)
    }

    fn open<F: TaskFunction>(&self, window: u64, single: bool) -> (Putter, Results<F>) {
        let function = self.tasks.registry.index_of::<F>();
        let name = self.options.name.clone().unwrap_or(Cow::Borrowed(F::NAME));
        let opened = self.tasks.open(self.options.limits(&self.tasks.settings), window, name, single);
        let (job, sink) = opened.unwrap_or_else(|_| self.tasks.closed_job());
        let results = Results::new(Arc::clone(&self.tasks), Arc::clone(&sink), job);
        let mut putter = Putter::new(Arc::clone(&self.tasks), sink, job, 0);
        match self.tasks.refuses.clone().map_or(function, Err) {
            Ok(function) => putter.function = function,
            Err(error) => putter.refuse(error),
        }
        (putter, results)
    }
}

impl Tasks {
    /// Submits under the defaults.
    #[must_use]
    pub fn calls(self: &Arc<Tasks>, options: TaskOptions) -> Calls {
        Calls::new(Arc::clone(self), options)
    }

    /// Makes a value that tasks share. It is encoded now, sent to each executor whose tasks ask for it once, and forgotten with
    /// its last handle here.
    ///
    /// # Errors
    /// `InvalidRequest` where it can't be encoded.
    pub fn broadcast<T: Serialize + DeserializeOwned>(self: &Arc<Tasks>, value: T) -> Result<Broadcast<T>> {
        if let Some(error) = &self.refuses {
            return Err(error.clone());
        }
        let blob = self.blobs.keep(codec::encode(&value)?.into());
        let guard = Arc::new(Forget { tasks: Arc::downgrade(self), blob });
        Ok(Broadcast::new(blob, Arc::new(value), guard))
    }
}

/// Forgets a blob when it is dropped.
struct Forget {
    tasks: std::sync::Weak<Tasks>,
    blob: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.forget(self.blob);
        }
    }
}
