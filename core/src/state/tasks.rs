//! The task scheduler: which task runs where, how often it is tried, and how it ends. Pure: no clock, no socket, no thread.
//!
//! ```text
//! submit ─▶ job's queue ─▶ dispatch(executor) ─▶ sent ─▶ attempt_ended ─▶ over, exactly once (D3)
//!              ▲                                  │
//!              └── returned, failed, lost ────────┘
//! ```
//!
//! Executors *pull*: the shell asks [`Scheduler::dispatch`] when an executor's stream can take more, and is told by
//! [`Command::Wake`] when asking again is worth it. All work is O(1) per task; the exceptions walk the executors of one
//! profile and say so.

mod attachment;
mod dispatch;
mod executor;
mod jobs;
mod outcome;
mod pool;
mod recall;
mod scheduler;
mod table;
#[cfg(test)]
mod test;

use std::time::Duration;

use bytes::Bytes;

use crate::ids::{ExecutorId, ProfileId, TaskId};
use crate::manager::Exit;

pub use dispatch::Orders;
pub use executor::Credits;
pub use scheduler::{Counts, Scheduler, Settings};

/// What holds for all tasks of one job.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// On executors of which profile they run.
    pub profile: ProfileId,
    /// How many attempts may fail, or be lost by the application's own fault, before a task has failed (D4).
    pub attempts: u32,
    /// How many attempts may be lost through no fault of the application (D4).
    pub lost: u32,
    /// How long one attempt may run.
    pub time_limit: Option<Duration>,
}

impl JobLimits {
    /// The contract's defaults: 4 attempts, 8 lost without blame, no time limit.
    #[must_use]
    pub fn new(profile: ProfileId) -> JobLimits {
        JobLimits { profile, attempts: 4, lost: 8, time_limit: None }
    }
}

/// The argument of one task.
#[derive(Debug, Clone)]
pub enum Arguments {
    /// It rides on the stream.
    Inline(Bytes),
    /// It has to be fetched.
    Blob {
        /// The blob's number.
        blob: u64,
        /// Its size.
        bytes: u64,
    },
}

impl Arguments {
    /// Bytes that ride on the stream.
    #[must_use]
    pub fn inline_bytes(&self) -> u64 {
        match self {
            Arguments::Inline(bytes) => bytes.len() as u64,
            Arguments::Blob { .. } => 0,
        }
    }

    /// Bytes that have to be fetched.
    #[must_use]
    pub fn blob_bytes(&self) -> u64 {
        match self {
            Arguments::Inline(_) => 0,
            Arguments::Blob { bytes, .. } => *bytes,
        }
    }
}

/// One attempt on its way to an executor.
#[derive(Debug)]
pub struct Dispatch<'a> {
    /// Which task.
    pub task: TaskId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Index of its function.
    pub function: u32,
    /// Its argument.
    pub arguments: &'a Arguments,
    /// How long it may run.
    pub time_limit: Option<Duration>,
}

/// How an attempt ended, by its executor's account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It gave its value.
    Done,
    /// It failed; `again`: trying again may help.
    Failed {
        /// Whether trying again may help.
        again: bool,
    },
    /// It ran longer than it may, and may still occupy its slot.
    TimedOut,
    /// It occupies no slot any more: it was cancelled, or had timed out before.
    Freed,
}

/// Why a task ended without an executor's word on its last attempt.
#[derive(Debug, Clone)]
pub enum Loss {
    /// The caller cancelled it.
    Cancelled,
    /// Its last attempt was lost with its executor, on the application's account.
    ExecutorDied(ExecutorId, Exit),
    /// Too many attempts were lost without blame; the last with this executor.
    LostTooOften(ExecutorId, Exit),
}

/// What the shell has to do.
#[derive(Debug)]
pub enum Command<J> {
    /// Ask [`Scheduler::dispatch`] for this executor.
    Wake(ExecutorId),
    /// A task is over without a value.
    Over {
        /// The job's own data.
        job: J,
        /// Which task.
        task: TaskId,
        /// Its position in its job.
        position: u64,
        /// Attempts that were made, lost ones included.
        attempts: u32,
        /// Why.
        loss: Loss,
        /// Its argument's blob, which nobody needs any more.
        blob: Option<u64>,
    },
    /// An attempt of this job was lost with its executor; its task is tried again.
    Retried {
        /// The job's own data.
        job: J,
    },
    /// End this executor: its code ignores that it was cancelled (D6).
    Condemn(ExecutorId),
}

/// What the scheduler makes of the end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict<J> {
    /// Late or doubled: it changes nothing (D3).
    Ignored,
    /// The task is tried again.
    Again {
        /// The job's own data.
        job: J,
        /// The task's position in its job.
        position: u64,
    },
    /// The task is over.
    Over {
        /// The job's own data.
        job: J,
        /// The task's position in its job.
        position: u64,
        /// Attempts that were made, lost ones included.
        attempts: u32,
        /// Its argument's blob, which nobody needs any more.
        blob: Option<u64>,
    },
}
