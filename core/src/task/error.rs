//! How tasks fail, as their caller sees it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Retry};
use crate::ids::{ExecutorId, TaskId};
use crate::manager::Exit;

/// The error type of functions that can't fail by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// An error that can say whether trying again is vain. Implementing it for the error type of a task is enough; an error
/// that doesn't is tried again up to the job's limit (D4).
pub trait TaskFailure {
    /// Whether the same attempt would fail again wherever it ran.
    fn is_permanent(&self) -> bool;
}

/// Wraps any error: the task isn't tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permanent<E>(pub E);

impl<E> TaskFailure for Permanent<E> {
    fn is_permanent(&self) -> bool {
        true
    }
}

impl<E> From<E> for Permanent<E> {
    fn from(error: E) -> Permanent<E> {
        Permanent(error)
    }
}

impl<E: fmt::Display> fmt::Display for Permanent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task failed for good. `E` is the error type of its function. One word large; its parts are read through it:
/// `error.kind`, `error.attempts`.
#[derive(Debug, Clone)]
pub struct TaskError<E = Never>(Box<FailedTask<E>>);

impl<E> TaskError<E> {
    /// How it failed.
    #[must_use]
    pub fn into_kind(self) -> TaskErrorKind<E> {
        self.0.kind
    }
}

impl<E> From<FailedTask<E>> for TaskError<E> {
    fn from(failed: FailedTask<E>) -> TaskError<E> {
        TaskError(Box::new(failed))
    }
}

impl<E> std::ops::Deref for TaskError<E> {
    type Target = FailedTask<E>;
    fn deref(&self) -> &FailedTask<E> {
        &self.0
    }
}

/// The parts of a [`TaskError`].
#[derive(Debug, Clone)]
pub struct FailedTask<E = Never> {
    /// How.
    pub kind: TaskErrorKind<E>,
    /// Which task.
    pub task: TaskId,
    /// Its position in its job, from 0.
    pub position: u64,
    /// How many attempts were made, lost ones included.
    pub attempts: u32,
    /// Where the last attempt ran, if one did.
    pub executor: Option<ExecutorId>,
    /// The end of that executor's standard error, where it can be had.
    pub log_tail: Bytes,
}

/// How a task failed, to match on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TaskErrorKind<E = Never> {
    /// Its function returned this error.
    Failed(E),
    /// Its function panicked.
    Panicked {
        /// The panic's message.
        message: String,
        /// `file:line:column`.
        location: String,
    },
    /// Its last attempt ran longer than its time limit.
    TimedOut(Duration),
    /// It was cancelled, or its job was.
    Cancelled,
    /// Its executor died of what it ran (exit, abort, stack overflow, out of memory), on each of its attempts.
    ExecutorDied(Exit),
    /// Too many attempts were lost through no fault of the application.
    Lost(Exit),
    /// It could not be run, or its value not be read: convoke's own error.
    Undeliverable(Error),
    /// The caller's iterator or stream panicked; tasks that it had given before are cancelled.
    SourcePanicked(String),
    /// The driver was closed.
    DriverClosed,
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {} ", self.position)?;
        match &self.kind {
            TaskErrorKind::Failed(error) => write!(f, "failed: {error}")?,
            TaskErrorKind::Panicked { message, location } => {
                write!(f, "panicked at {location}: {message}")?;
            }
            TaskErrorKind::TimedOut(limit) => {
                write!(f, "ran longer than {}", crate::units::format_duration(*limit))?;
            }
            TaskErrorKind::Cancelled => f.write_str("was cancelled")?,
            TaskErrorKind::ExecutorDied(exit) => write!(f, "ended its executor: {exit}")?,
            TaskErrorKind::Lost(exit) => write!(f, "was lost too often, last: {exit}")?,
            TaskErrorKind::Undeliverable(error) => write!(f, "could not be run or read: {error}")?,
            TaskErrorKind::SourcePanicked(message) => {
                write!(f, "has no argument: its source panicked: {message}")?
            }
            TaskErrorKind::DriverClosed => f.write_str("did not end before its driver was closed")?,
        }
        match (self.attempts, self.executor) {
            (0, _) => {}
            (1, Some(executor)) => write!(f, " (on {executor:?})")?,
            (attempts, Some(executor)) => write!(f, " ({attempts} attempts, the last on {executor:?})")?,
            (attempts, None) => write!(f, " ({attempts} attempts)")?,
        }
        if f.alternate() && !self.log_tail.is_empty() {
            write!(f, "\n  its executor's log ends:")?;
            for line in String::from_utf8_lossy(&self.log_tail).lines() {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for TaskError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            TaskErrorKind::Undeliverable(error) => Some(error),
            _ => None,
        }
    }
}

/// What `?` makes of it where convoke's own error is wanted: the kind says in which way it failed, the message is the task's
/// error in words, and the end of its executor's log is among the advice. What the function itself returned is in words only;
/// match on [`FailedTask::kind`] where it is needed.
impl<E: fmt::Display> From<TaskError<E>> for Error {
    fn from(failed: TaskError<E>) -> Error {
        let kind = match &failed.kind {
            TaskErrorKind::TimedOut(_) => ErrorKind::DeadlineExceeded,
            TaskErrorKind::Cancelled | TaskErrorKind::DriverClosed => ErrorKind::Cancelled,
            TaskErrorKind::Lost(_) => ErrorKind::Unavailable,
            TaskErrorKind::Undeliverable(error) => error.kind(),
            TaskErrorKind::Failed(_)
            | TaskErrorKind::Panicked { .. }
            | TaskErrorKind::ExecutorDied(_)
            | TaskErrorKind::SourcePanicked(_) => ErrorKind::TaskFailed,
        };
        let error = Error::new(kind, failed.to_string()).retry(Retry::Never);
        let log = String::from_utf8_lossy(&failed.log_tail);
        if log.trim().is_empty() {
            return error;
        }
        let lines: Vec<_> = log.lines().map(|line| format!("    {line}")).collect();
        error.help(format!("its executor's log ends:\n{}", lines.join("\n")))
    }
}

/// What an executor reports of an attempt that failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[doc(hidden)]
pub struct Report {
    /// The error in words, or the panic's message.
    pub message: String,
    /// Of a panic.
    pub location: String,
    /// The encoded error.
    pub error: Vec<u8>,
    /// Trying again is vain.
    pub permanent: bool,
    /// The end of the executor's standard error.
    pub log_tail: Vec<u8>,
}

/// Asks an error whether it is permanent, whatever its type: the compiler takes the first of the two that fits.
#[doc(hidden)]
pub mod probe {
    use super::TaskFailure;

    #[derive(Debug)]
    pub struct Probe<'a, E>(pub &'a E);

    pub trait Knows {
        fn permanent(&self) -> bool;
    }
    impl<E: TaskFailure> Knows for Probe<'_, E> {
        fn permanent(&self) -> bool {
            self.0.is_permanent()
        }
    }

    pub trait DoesNotKnow {
        fn permanent(&self) -> bool {
            false
        }
    }
    impl<E> DoesNotKnow for &Probe<'_, E> {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_error_becomes_an_error_that_says_it_all() {
        fn of(kind: TaskErrorKind<String>) -> Error {
            let log_tail = Bytes::from_static(b"first\nlast");
            let executor = Some(ExecutorId(2));
            FailedTask { kind, task: TaskId(7), position: 3, attempts: 4, executor, log_tail }.into_error()
        }
        let error = of(TaskErrorKind::Failed("division by zero".to_owned()));
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::TaskFailed, Retry::Never));
        assert_eq!(
            error.to_string(),
            "task failed: task 3 failed: division by zero (4 attempts, the last on executor-2)"
        );
        assert!(format!("{error:#}").ends_with("log ends:\n    first\n    last"), "{error:#}");
        assert_eq!(of(TaskErrorKind::Cancelled).kind(), ErrorKind::Cancelled);
        let unreadable = Error::new(ErrorKind::Protocol, "not a value");
        assert_eq!(of(TaskErrorKind::Undeliverable(unreadable)).kind(), ErrorKind::Protocol);
    }

    impl FailedTask<String> {
        fn into_error(self) -> Error {
            TaskError::from(self).into()
        }
    }
}
