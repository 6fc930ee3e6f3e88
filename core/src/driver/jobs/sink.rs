//! Where the results of one job wait for their caller, and what tells its source to go on or to pause.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::flood::Permit;
use super::telling::Telling;
use crate::driver::{JobState, TaskCounts, TaskReport};
use crate::ids::{ExecutorId, JobId, TaskId};
use crate::task::{Never, TaskErrorKind};

/// Below this, results are copied out of the message that they came in, which they would keep whole.
const COPY_BELOW_BYTES: usize = 4096;
/// Bytes of results that wait for a caller before its job's tasks are no longer handed out (D7).
const MOST_HELD_BYTES: u64 = 32 << 20;
/// Bytes of arguments that a job has in the scheduler before its source waits.
const MOST_ARGUMENT_BYTES: u64 = 16 << 20;
/// Reports of running tasks that are kept.
const MOST_REPORTS: usize = 64;

/// A failure before its error is decoded.
#[derive(Debug, Clone)]
pub(super) struct RawFailure {
    pub(super) task: TaskId,
    pub(super) position: u64,
    pub(super) attempts: u32,
    pub(super) executor: Option<ExecutorId>,
    pub(super) log_tail: Bytes,
    pub(super) kind: RawKind,
}

impl RawFailure {
    /// What it holds for its caller.
    pub(super) fn bytes(&self) -> u64 {
        let error = if let RawKind::Error(error) = &self.kind { error.len() } else { 0 };
        (error + self.log_tail.len()) as u64
    }
}

#[derive(Debug, Clone)]
pub(super) enum RawKind {
    /// The function's own error, encoded.
    Error(Bytes),
    Other(TaskErrorKind<Never>),
}

/// Results of one job, as one message brought them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) positions: Vec<u64>,
    /// Where each value ends in `values`.
    pub(super) ends: Vec<usize>,
    pub(super) values: BytesMut,
    /// Values that are too large to be copied together.
    pub(super) large: Vec<(u64, Bytes)>,
    pub(super) failures: Vec<RawFailure>,
}

impl Batch {
    /// Takes the value that is this part of a message.
    pub(super) fn value(&mut self, position: u64, message: &Bytes, part: Range<usize>) {
        if part.len() < COPY_BELOW_BYTES {
            self.positions.push(position);
            self.values.extend_from_slice(&message[part]);
            self.ends.push(self.values.len());
        } else {
            self.large.push((position, message.slice(part)));
        }
    }

    fn count(&self) -> u64 {
        (self.positions.len() + self.large.len() + self.failures.len()) as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        let large: usize = self.large.iter().map(|(_, value)| value.len()).sum();
        (self.values.len() + large) as u64 + self.failures.iter().map(RawFailure::bytes).sum::<u64>()
    }

    /// Tasks that were cancelled, or ended by the end of their driver.
    fn cancelled(&self) -> u64 {
        let cancelled = |failure: &&RawFailure| {
            matches!(failure.kind, RawKind::Other(TaskErrorKind::Cancelled | TaskErrorKind::DriverClosed))
        };
        self.failures.iter().filter(cancelled).count() as u64
    }
}

/// What became of a delivery or a consumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Same,
    Pause,
    Resume,
}

#[derive(Debug)]
pub(super) struct Sink {
    /// Its job's name, for people.
    pub(super) name: Cow<'static, str>,
    /// What the event stream is told of it.
    pub(super) telling: Telling,
    job: OnceLock<JobId>,
    /// Of a single submit: given back when its task is over.
    permit: Mutex<Option<Permit>>,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inside {
    batches: VecDeque<Batch>,
    reader: Option<Waker>,
    source: Option<Waker>,
    window: u64,
    submitted: u64,
    submitted_bytes: u64,
    over: u64,
    failed: u64,
    tasks_cancelled: u64,
    retried: u64,
    consumed: u64,
    held_bytes: u64,
    total: Option<u64>,
    paused: bool,
    cancelled: bool,
    /// How it ended.
    ended: Option<JobState>,
    reports: Vec<TaskReport>,
}

impl Sink {
    pub(super) fn new(window: u64, name: Cow<'static, str>) -> Sink {
        Sink {
            name,
            telling: Telling::default(),
            job: OnceLock::new(),
            permit: Mutex::new(None),
            inside: Mutex::new(Inside {
                batches: VecDeque::new(),
                reader: None,
                source: None,
                window: window.max(1),
                submitted: 0,
                submitted_bytes: 0,
                over: 0,
                failed: 0,
                tasks_cancelled: 0,
                retried: 0,
                consumed: 0,
                held_bytes: 0,
                total: None,
                paused: false,
                cancelled: false,
                ended: None,
                reports: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    pub(super) fn set_job(&self, job: JobId) {
        // Set once, by who opened it.
        let _ = self.job.set(job);
    }

    pub(super) fn job(&self) -> Option<JobId> {
        self.job.get().copied()
    }

    /// The job as people are told of it: 0 where the driver was closed before.
    pub(super) fn id(&self) -> JobId {
        self.job().unwrap_or(JobId(0))
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self, wakers: [Option<Waker>; 2]) {
        self.changed.notify_all();
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
    }

    pub(super) fn hold(&self, permit: Permit) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// Takes results; tells whether the job's tasks shall pause.
    pub(super) fn deliver(&self, batch: Batch) -> Flow {
        let mut inside = self.inside();
        let cancelled = batch.cancelled();
        inside.over += batch.count();
        inside.failed += batch.failures.len() as u64 - cancelled;
        inside.tasks_cancelled += cancelled;
        inside.forget_reports(&batch);
        inside.held_bytes += batch.bytes();
        inside.batches.push_back(batch);
        let last = inside.look_for_the_end();
        let pause = !inside.paused && inside.held_bytes > MOST_HELD_BYTES;
        inside.paused |= pause;
        let wakers = [inside.reader.take(), None];
        drop(inside);
        self.changed(wakers);
        if last {
            self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        if pause { Flow::Pause } else { Flow::Same }
    }

    /// The caller has taken so many results out of its hands.
    pub(super) fn consumed(&self, count: u64, bytes: u64) -> Flow {
        let mut inside = self.inside();
        inside.consumed += count;
        inside.held_bytes = inside.held_bytes.saturating_sub(bytes);
        let resume = inside.paused && inside.held_bytes <= MOST_HELD_BYTES / 2;
        inside.paused &= !resume;
        // Not for every crumb: a source goes on with a good part of its window.
        let wakers = [None, if inside.room() * 4 >= inside.window { inside.source.take() } else { None }];
        let notify = wakers[1].is_some() || inside.room() > 0;
        drop(inside);
        if notify {
            self.changed(wakers);
        }
        if resume { Flow::Resume } else { Flow::Same }
    }

    /// Counts tasks in before they are given to the scheduler.
    pub(super) fn submitting(&self, count: u64, bytes: u64) {
        let mut inside = self.inside();
        inside.submitted += count;
        inside.submitted_bytes += bytes;
    }

    /// There will be no more than what was submitted.
    pub(super) fn end_of_source(&self) {
        let mut inside = self.inside();
        inside.total = Some(inside.submitted);
        inside.look_for_the_end();
        let wakers = [inside.reader.take(), None];
        drop(inside);
        self.changed(wakers);
    }

    /// The source is to stop; results that were submitted still come, as cancelled ones.
    pub(super) fn cancel(&self) {
        let mut inside = self.inside();
        inside.cancelled = true;
        let wakers = [None, inside.source.take()];
        drop(inside);
        self.changed(wakers);
    }

    /// Blocks the source until it may give more; how many. `None`: nobody wants more.
    pub(super) fn wait_for_room(&self) -> Option<u64> {
        let mut inside = self.inside();
        loop {
            if inside.cancelled {
                return None;
            }
            let room = inside.room();
            // A quarter of the window at a time, so that a slow caller doesn't wake its source for each result.
            if room > 0 && (room * 4 >= inside.window || inside.submitted == inside.over) {
                return Some(room);
            }
            inside = self.changed.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same for a source that is polled.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<Option<u64>> {
        let mut inside = self.inside();
        if inside.cancelled {
            return Poll::Ready(None);
        }
        match inside.room() {
            0 => {
                inside.source = Some(context.waker().clone());
                Poll::Pending
            }
            room => Poll::Ready(Some(room)),
        }
    }

    pub(super) fn room_now(&self) -> u64 {
        self.inside().room()
    }

    /// The next results; `None` after the last.
    pub(super) fn poll_batch(&self, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        let mut inside = self.inside();
        match inside.next() {
            Some(next) => Poll::Ready(next),
            None => {
                inside.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How its tasks stand, of which executors hold `running` just now.
    pub(super) fn counts(&self, running: u64) -> (JobState, TaskCounts) {
        let inside = self.inside();
        let counts = TaskCounts {
            total: inside.total,
            waiting: (inside.submitted - inside.over).saturating_sub(running),
            running: running.min(inside.submitted - inside.over),
            succeeded: inside.over - inside.failed - inside.tasks_cancelled,
            failed: inside.failed,
            cancelled: inside.tasks_cancelled,
            retried: inside.retried,
        };
        (inside.ended.unwrap_or(JobState::Running), counts)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.inside().ended.is_some()
    }

    /// So many attempts are made again.
    pub(super) fn retried(&self, attempts: u64) {
        self.inside().retried += attempts;
    }

    pub(super) fn note_report(&self, report: TaskReport) {
        let mut inside = self.inside();
        inside.reports.retain(|other| other.position != report.position);
        if inside.reports.len() >= MOST_REPORTS {
            inside.reports.remove(0);
        }
        inside.reports.push(report);
    }

    pub(super) fn reports(&self) -> Vec<TaskReport> {
        self.inside().reports.clone()
    }
}

impl Inside {
    /// How many more tasks may come: the window counts what is in flight and what waits for the caller.
    fn room(&self) -> u64 {
        if self.held_bytes > MOST_HELD_BYTES {
            return 0;
        }
        let outstanding = self.submitted - self.over;
        let mut room = self.window.saturating_sub(self.submitted - self.consumed);
        if let Some(average) = self.submitted_bytes.checked_div(self.submitted).filter(|average| *average > 0)
        {
            let by_bytes = (MOST_ARGUMENT_BYTES / average).max(1).saturating_sub(outstanding);
            room = room.min(by_bytes);
        }
        room
    }

    /// Settles how it ended, once it has.
    fn look_for_the_end(&mut self) -> bool {
        if self.total != Some(self.over) {
            return false;
        }
        self.ended.get_or_insert(match (self.failed, self.tasks_cancelled, self.cancelled) {
            (0, 0, false) => JobState::Succeeded,
            (0, _, _) => JobState::Cancelled,
            _ => JobState::Failed,
        });
        true
    }

    fn forget_reports(&mut self, batch: &Batch) {
        if self.reports.is_empty() {
            return;
        }
        let failed = |position| batch.failures.iter().any(|failure| failure.position == position);
        let large = |position| batch.large.iter().any(|(large, _)| *large == position);
        self.reports.retain(|report| {
            let position = report.position;
            !(batch.positions.contains(&position) || large(position) || failed(position))
        });
    }

    /// `Some(None)`: that was all.
    fn next(&mut self) -> Option<Option<Batch>> {
        match self.batches.pop_front() {
            Some(batch) => Some(Some(batch)),
            None if self.total.is_some_and(|total| self.over >= total) => Some(None),
            None => None,
        }
    }
}
