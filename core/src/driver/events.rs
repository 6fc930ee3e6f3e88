use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::error::Error;
use crate::ids::{ExecutorId, JobId, Name, ProfileId};
use crate::manager::{EndedBy, Exit, Outcome, Shortfall};
use crate::rpc::refusal::Refusal;
use crate::units::HostPort;

/// What happens at a driver: to its executors, its manager and its jobs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DriverEvent {
    /// The manager gave resources to an executor.
    ExecutorGranted {
        /// Which.
        executor: ExecutorId,
        /// Of which profile.
        profile: ProfileId,
        /// On which host.
        host: Option<Name>,
    },
    /// Its supervisor has joined.
    ExecutorJoined {
        /// Which.
        executor: ExecutorId,
        /// On which host.
        host: Option<Name>,
    },
    /// It takes tasks; or, where it runs a program that doesn't link convoke, that is ready.
    ExecutorReady {
        /// Which.
        executor: ExecutorId,
        /// Where the program's ports can be dialled, by name; empty where it takes tasks.
        addresses: BTreeMap<String, HostPort>,
    },
    /// It takes no new task and will leave.
    ExecutorDraining {
        /// Which.
        executor: ExecutorId,
        /// Why, in words.
        why: String,
    },
    /// Nothing of it will count again, and why.
    ExecutorLost {
        /// Which.
        executor: ExecutorId,
        /// The best account of it.
        exit: Exit,
    },
    /// For two seconds or more, fewer executors took tasks than are wanted, and why (A6). Told again when the reasons change.
    ExecutorsMissing {
        /// So many take tasks.
        ready: usize,
        /// So many are wanted, of all profiles.
        wanted: u32,
        /// What keeps the others; empty where they were granted and are on their way.
        shortfalls: Vec<Shortfall>,
    },
    /// Executors of this profile fail in a row; replacements are braked (L5).
    ExecutorsFailing {
        /// Of which profile.
        profile: ProfileId,
        /// How many exits on the application's blame lately.
        recent: u32,
        /// The last of them.
        last: Exit,
        /// How long until the next try.
        next_try: Duration,
    },
    /// The manager is out of reach (F4).
    ManagerUnreachable {
        /// As seen from here.
        error: Error,
    },
    /// The manager is back (F4).
    ManagerRecovered {
        /// How long it was away.
        outage: Duration,
    },
    /// A connection or a call was refused (D1). Of each reason one is told in a second, as in the log;
    /// [`Driver::refusals`](crate::driver::Driver::refusals) counts all.
    Refused {
        /// Why.
        refusal: Refusal,
        /// From where the caller called.
        from: String,
        /// What it wanted.
        about: String,
        /// How many of the same reason weren't told since the last one that was.
        untold: u64,
    },
    /// A job began, went on or ended: its first and last event always come, and between them at most one in a tenth of a
    /// second, however many tasks it has. Of single tasks (`submit`), each a job of its own, a thousand a second are told.
    Job(JobProgress),
    /// An attempt of a task failed: a hundred such events a second at the most ([`TaskCounts`] counts them all). What is lost
    /// with its executor is told by [`ExecutorLost`](DriverEvent::ExecutorLost).
    AttemptFailed {
        /// Of which job.
        job: JobId,
        /// The task's position in its job.
        position: u64,
        /// Which attempt, from 1.
        attempt: u32,
        /// Where it ran.
        executor: ExecutorId,
        /// Why, in words.
        why: String,
        /// Whether the task is tried again.
        again: bool,
    },
    /// The application is over: the last event.
    Ended {
        /// How.
        outcome: Outcome,
        /// Who ended it.
        by: EndedBy,
    },
    /// This reader was too slow and missed so many events.
    Lagged(u64),
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JobProgress {
    /// Which.
    pub job: JobId,
    /// Its name, for people: its function's, unless [`TaskOptions::name`](super::jobs::TaskOptions::name) gave it one.
    pub name: Cow<'static, str>,
    /// Whether it goes on.
    pub state: JobState,
    /// Its tasks.
    pub tasks: TaskCounts,
    /// What running tasks reported last, of sixty-four tasks at the most.
    pub reports: Vec<TaskReport>,
}

/// What a running task said of itself (`TaskContext::report_progress`).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TaskReport {
    /// The task's position in its job.
    pub position: u64,
    /// Which part of it is done, 0 to 1.
    pub fraction: f64,
    /// A word.
    pub message: String,
}

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// It goes on.
    Running,
    /// All of its tasks succeeded.
    Succeeded,
    /// It is over, and at least one of its tasks failed.
    Failed,
    /// It is over, none of its tasks failed, and its caller cancelled it.
    Cancelled,
}

/// How many tasks of a job are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TaskCounts {
    /// How many there will be, once their source has ended.
    pub total: Option<u64>,
    /// Wait to be sent to an executor.
    pub waiting: u64,
    /// Were sent to an executor and haven't ended.
    pub running: u64,
    /// Ended with a value.
    pub succeeded: u64,
    /// Ended as failures, after all attempts.
    pub failed: u64,
    /// Were cancelled.
    pub cancelled: u64,
    /// Attempts that failed or were lost, and were made again.
    pub retried: u64,
}

impl TaskCounts {
    /// Tasks that are over, however.
    #[must_use]
    pub fn over(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled
    }
}

/// Events kept for a slow reader; beyond that it misses the oldest.
const KEPT: usize = 1024;

/// The driver's own end.
#[derive(Debug, Clone)]
pub(crate) struct EventSource(broadcast::Sender<DriverEvent>);

impl EventSource {
    pub(crate) fn new() -> EventSource {
        EventSource(broadcast::Sender::new(KEPT))
    }

    pub(crate) fn tell(&self, event: DriverEvent) {
        let _ = self.0.send(event); // nobody listens: fine
    }

    pub(crate) fn listen(&self) -> DriverEvents {
        DriverEvents(BroadcastStream::new(self.0.subscribe()))
    }
}

/// The events of a driver from now on, for one of many readers. A reader that falls more than a thousand events behind
/// gets [`DriverEvent::Lagged`] and goes on with the oldest event that is kept. Needs no runtime.
#[derive(Debug)]
pub struct DriverEvents(BroadcastStream<DriverEvent>);

impl DriverEvents {
    /// The next event, or `None` once the driver is gone.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes no event.
    pub async fn next(&mut self) -> Option<DriverEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for DriverEvents {
    type Item = DriverEvent;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<DriverEvent>> {
        Pin::new(&mut self.0).poll_next(cx).map(|next| {
            next.map(|event| {
                event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(n)| DriverEvent::Lagged(n))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_missed() {
        let source = EventSource::new();
        let (mut slow, mut quick) = (source.listen(), source.listen());
        for n in 0..KEPT as u64 + 10 {
            source.tell(DriverEvent::ExecutorReady { executor: ExecutorId(n), addresses: BTreeMap::new() });
            assert!(
                matches!(quick.next().await, Some(DriverEvent::ExecutorReady { executor, .. }) if executor.0 == n)
            );
        }
        assert!(matches!(slow.next().await, Some(DriverEvent::Lagged(10))));
        assert!(matches!(
            slow.next().await,
            Some(DriverEvent::ExecutorReady { executor: ExecutorId(10), .. })
        ));
        drop(source);
        assert!(quick.next().await.is_none());
    }
}
