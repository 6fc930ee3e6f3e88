//! Finished results on their way out: slots append to the message that leaves next, the writer takes it whole. Batches form by
//! themselves while the writer is busy, and nothing is copied twice or allocated per task.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::ids::TaskId;
use crate::rpc::v1::{Ending, TaskProgress, TaskUpdates};

/// Payload bytes at which a message is closed and a new one begun.
const MESSAGE_BYTES: usize = 512 << 10;
/// Attempts at which a message is closed.
const MESSAGE_TASKS: usize = 4096;
/// Payload bytes that wait here at most; slots wait for the writer past them.
const MOST_BYTES: usize = 8 << 20;
/// Reports of progress that wait at most; newer ones are dropped past them.
const MOST_PROGRESS: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    inside: Mutex<Inside>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    filling: TaskUpdates,
    /// Becomes the payload of `filling` when it leaves.
    payload: Vec<u8>,
    full: VecDeque<TaskUpdates>,
    bytes: usize,
    writer: Option<Waker>,
    closed: bool,
}

impl Inside {
    fn take(&mut self) -> TaskUpdates {
        let payload = std::mem::take(&mut self.payload).into();
        TaskUpdates { payload, ..std::mem::take(&mut self.filling) }
    }
}

impl Outbox {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inside)) {
        let mut inside = self.inside();
        change(&mut inside);
        let writer = inside.writer.take();
        drop(inside);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// An attempt ended. Waits while the writer is megabytes behind.
    pub(super) fn ended(&self, task: TaskId, attempt: u32, ending: Ending, payload: &[u8], run: Duration) {
        let mut inside = self.inside();
        while inside.bytes > MOST_BYTES && !inside.closed {
            inside = self.room.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        inside.bytes += payload.len();
        let message = &mut inside.filling;
        // Arrays that say nothing new stay empty.
        if attempt != 1 && message.attempts.is_empty() {
            message.attempts.resize(message.tasks.len(), 1);
        }
        if attempt != 1 || !message.attempts.is_empty() {
            message.attempts.push(attempt);
        }
        if ending != Ending::Value && message.endings.is_empty() {
            message.endings.resize(message.tasks.len(), Ending::Value as u32);
        }
        if ending != Ending::Value || !message.endings.is_empty() {
            message.endings.push(ending as u32);
        }
        message.tasks.push(task.0);
        message.lengths.push(payload.len() as u32);
        message.run_ns += u64::try_from(run.as_nanos()).unwrap_or(u64::MAX);
        inside.payload.extend_from_slice(payload);
        if inside.payload.len() >= MESSAGE_BYTES || inside.filling.tasks.len() >= MESSAGE_TASKS {
            let full = inside.take();
            inside.full.push_back(full);
        }
        let writer = inside.writer.take();
        drop(inside);
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Attempts go back unbegun; `recalled`: in answer to a recall.
    pub(super) fn returned(&self, attempts: &[(TaskId, u32)], recalled: bool) {
        self.change(|inside| {
            for (task, attempt) in attempts {
                inside.filling.returned_tasks.push(task.0);
                inside.filling.returned_attempts.push(*attempt);
            }
            inside.filling.recalled |= recalled;
        });
    }

    pub(super) fn progress(&self, task: TaskId, attempt: u32, fraction: f64, message: String) {
        self.change(|inside| {
            let progress = &mut inside.filling.progress;
            progress.retain(|other| other.task != task.0);
            if progress.len() < MOST_PROGRESS {
                progress.push(TaskProgress { task: task.0, attempt, fraction, message });
            }
        });
    }

    /// The next message. `None` once it is closed and empty.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<TaskUpdates>> {
        let mut inside = self.inside();
        let message = match inside.full.pop_front() {
            Some(message) => message,
            None => inside.take(),
        };
        if message.tasks.is_empty()
            && message.returned_tasks.is_empty()
            && message.progress.is_empty()
            && !message.recalled
        {
            if inside.closed {
                return Poll::Ready(None);
            }
            inside.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let was_full = inside.bytes > MOST_BYTES;
        inside.bytes -= message.payload.len();
        drop(inside);
        if was_full {
            self.room.notify_all();
        }
        Poll::Ready(Some(message))
    }

    /// The attempts whose ends wait here.
    pub(super) fn untold(&self) -> Vec<(TaskId, u32)> {
        let inside = self.inside();
        let messages = inside.full.iter().chain(std::iter::once(&inside.filling));
        let attempts = messages.flat_map(|message| {
            let number = |position| message.attempts.get(position).copied().unwrap_or(1);
            message.tasks.iter().enumerate().map(move |(position, task)| (TaskId(*task), number(position)))
        });
        attempts.collect()
    }

    /// Nothing more comes: the stream ends when what is here has left, and no slot waits for it.
    pub fn close(&self) {
        self.change(|inside| inside.closed = true);
        self.room.notify_all();
    }
}

/// The outbox as a stream.
#[derive(Debug)]
pub struct Outgoing(pub Arc<Outbox>);

impl futures_core::Stream for Outgoing {
    type Item = TaskUpdates;
    fn poll_next(self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<TaskUpdates>> {
        self.0.poll_next(context)
    }
}
