//! What a task knows of itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use super::broadcast::Cache;
use crate::error::Result;
use crate::ids::{ExecutorId, TaskId};

/// The running attempt: who it is, where, and whether it is still wanted.
///
/// Passed to functions that ask for it, and found by [`TaskContext::current`] anywhere on the task's thread. Clones are of
/// the same attempt and may outlive it.
#[derive(Clone)]
pub struct TaskContext {
    pub(crate) attempt: Arc<Attempt>,
}

/// One attempt. A slot uses it again for its next one where nobody kept the context.
pub(crate) struct Attempt {
    pub(crate) task: TaskId,
    pub(crate) number: u32,
    pub(crate) function: &'static str,
    pub(crate) cancelled: AtomicBool,
    pub(crate) told: Notify,
    pub(crate) host: Arc<dyn Host>,
}

/// What a context asks of the executor that it runs in.
pub(crate) trait Host: Send + Sync + 'static {
    fn executor(&self) -> ExecutorId;
    fn devices(&self) -> &BTreeMap<String, Vec<String>>;
    fn files(&self) -> &BTreeMap<String, PathBuf>;
    fn progress(&self, task: TaskId, attempt: u32, fraction: f64, message: String);
    /// Blocks the thread until the blob is here.
    fn fetch(&self, blob: u64) -> Result<Bytes>;
    fn broadcasts(&self) -> &Cache;
}

impl TaskContext {
    pub(crate) fn new(task: TaskId, number: u32, function: &'static str, host: Arc<dyn Host>) -> TaskContext {
        let cancelled = AtomicBool::new(false);
        TaskContext {
            attempt: Arc::new(Attempt { task, number, function, cancelled, told: Notify::new(), host }),
        }
    }

    /// The context of the task that this thread runs; `None` outside of tasks.
    #[must_use]
    pub fn current() -> Option<TaskContext> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.attempt.task
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.number
    }

    /// The executor that runs it.
    #[must_use]
    pub fn executor(&self) -> ExecutorId {
        self.attempt.host.executor()
    }

    /// The devices that its executor was granted, by the resource's name (`gpu`): indexes or the devices' own ids.
    #[must_use]
    pub fn devices(&self) -> &BTreeMap<String, Vec<String>> {
        self.attempt.host.devices()
    }

    /// The application's files on this node, by the names that they were given
    /// ([`DriverBuilder::file`](crate::driver::DriverBuilder::file)). They are shared with others: read them, and copy what you
    /// want to change.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, PathBuf> {
        self.attempt.host.files()
    }

    /// Whether nobody wants this attempt any more: it was cancelled, or its time limit has passed. A function that runs long
    /// looks now and then and returns; one that doesn't costs its executor's life after the cancel deadline (D6).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.attempt.cancelled.load(Ordering::Relaxed)
    }

    /// Completes when [`TaskContext::is_cancelled`] becomes true.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn cancelled(&self) {
        loop {
            let told = self.attempt.told.notified();
            if self.is_cancelled() {
                return;
            }
            told.await;
        }
    }

    /// Tells the driver how far it is: `fraction` from 0 to 1, and a word about it. Cheap, but it does travel.
    pub fn report_progress(&self, fraction: f64, message: impl Into<String>) {
        let Attempt { task, number, host, .. } = &*self.attempt;
        host.progress(*task, *number, fraction, message.into());
    }

    pub(crate) fn cancel(&self) {
        self.attempt.cancelled.store(true, Ordering::Relaxed);
        self.attempt.told.notify_waiters();
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("task", &self.task())
            .field("attempt", &self.attempt())
            .field("function", &self.attempt.function)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<TaskContext>> = const { RefCell::new(None) };
}

/// Makes `context` the thread's current one until the guard is dropped.
pub(crate) fn enter(context: &TaskContext) -> Entered {
    CURRENT.set(Some(context.clone()));
    Entered(())
}

pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
