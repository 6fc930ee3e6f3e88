//! Where the results of one job wait for their caller, and what tells its source to go on or to pause.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::flood::Permit;
use crate::ids::{ExecutorId, JobId, TaskId};
use crate::task::{Never, TaskErrorKind};

/// Below this, results are copied out of the message that they came in, which they would keep whole.
const COPY_BELOW_BYTES: usize = 4096;
/// Bytes of results that wait for a caller before its job's tasks are no longer handed out (D7).
const MOST_HELD_BYTES: u64 = 32 << 20;
/// Bytes of arguments that a job has in the scheduler before its source waits.
const MOST_ARGUMENT_BYTES: u64 = 16 << 20;

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
        (self.values.len() + self.large.iter().map(|(_, value)| value.len()).sum::<usize>()) as u64
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
    consumed: u64,
    held_bytes: u64,
    total: Option<u64>,
    paused: bool,
    cancelled: bool,
    progress: Vec<(u64, f64, String)>,
}

/// Numbers of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    pub(super) submitted: u64,
    pub(super) over: u64,
    pub(super) failed: u64,
    pub(super) total: Option<u64>,
}

impl Sink {
    pub(super) fn new(window: u64) -> Sink {
        Sink {
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
                consumed: 0,
                held_bytes: 0,
                total: None,
                paused: false,
                cancelled: false,
                progress: Vec::new(),
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
        inside.over += batch.count();
        inside.failed += batch.failures.len() as u64;
        inside.held_bytes += batch.bytes();
        inside.batches.push_back(batch);
        let last = inside.total == Some(inside.over);
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

    pub(super) fn numbers(&self) -> Numbers {
        let inside = self.inside();
        Numbers { submitted: inside.submitted, over: inside.over, failed: inside.failed, total: inside.total }
    }

    pub(super) fn note_progress(&self, position: u64, fraction: f64, message: String) {
        let mut inside = self.inside();
        inside.progress.retain(|(other, _, _)| *other != position);
        if inside.progress.len() >= 64 {
            inside.progress.remove(0);
        }
        inside.progress.push((position, fraction, message));
    }

    pub(super) fn progress(&self) -> Vec<(u64, f64, String)> {
        self.inside().progress.clone()
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

    /// `Some(None)`: that was all.
    fn next(&mut self) -> Option<Option<Batch>> {
        match self.batches.pop_front() {
            Some(batch) => Some(Some(batch)),
            None if self.total.is_some_and(|total| self.over >= total) => Some(None),
            None => None,
        }
    }
}
