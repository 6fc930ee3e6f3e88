//! Results on their way to the caller: decoded on the caller's thread, credits given back as he takes them.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::feeder::Putter;
use super::plane::Tasks;
use super::sink::{Batch, Flow, RawFailure, RawKind, Sink};
use crate::ids::JobId;
use crate::task::codec;
use crate::task::{FailedTask, TaskError, TaskErrorKind, TaskFunction};

pub(super) type Outcome<F> =
    std::result::Result<<F as TaskFunction>::Output, TaskError<<F as TaskFunction>::Error>>;

/// A caller's own stream of arguments.
pub(super) type Source<F> = Pin<Box<dyn futures_core::Stream<Item = <F as TaskFunction>::Input> + Send>>;

/// Credits go back after so many results, or when there are no more at hand.
const GIVE_BACK: u64 = 256;
/// Arguments that are taken from a stream before its results are looked at.
const MOST_AT_ONCE: u64 = 256;

pub(super) struct Item<F: TaskFunction> {
    pub(super) position: u64,
    pub(super) outcome: Outcome<F>,
    bytes: u64,
}

pub(super) struct Results<F: TaskFunction> {
    pub(super) tasks: Arc<Tasks>,
    pub(super) sink: Arc<Sink>,
    pub(super) job: JobId,
    ready: VecDeque<Item<F>>,
    source: Option<(Source<F>, Putter)>,
    taken: u64,
    taken_bytes: u64,
    finished: bool,
    detached: bool,
    function: PhantomData<fn() -> F>,
}

impl<F: TaskFunction> Results<F> {
    pub(super) fn new(tasks: Arc<Tasks>, sink: Arc<Sink>, job: JobId) -> Results<F> {
        Results {
            tasks,
            sink,
            job,
            ready: VecDeque::new(),
            source: None,
            taken: 0,
            taken_bytes: 0,
            finished: false,
            detached: false,
            function: PhantomData,
        }
    }

    pub(super) fn with_source(mut self, source: Source<F>, putter: Putter) -> Results<F> {
        self.source = Some((source, putter));
        self
    }

    pub(super) fn detach(mut self) {
        self.detached = true;
    }

    /// The next result in the order of completion.
    pub(super) fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Item<F>>> {
        self.poll_source(context);
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Poll::Ready(Some(item));
            }
            self.give_back();
            match std::task::ready!(self.sink.poll_batch(context)) {
                Some(batch) => self.decode(batch),
                None => {
                    self.finished = true;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// All that is ready in one go.
    pub(super) fn poll_items(&mut self, context: &mut Context<'_>) -> Poll<Option<VecDeque<Item<F>>>> {
        match std::task::ready!(self.poll_item(context)) {
            Some(item) => {
                self.ready.push_front(item);
                Poll::Ready(Some(std::mem::take(&mut self.ready)))
            }
            None => Poll::Ready(None),
        }
    }

    /// The caller has this result: its place in the window is free.
    pub(super) fn taken(&mut self, item: &Item<F>) {
        self.taken += 1;
        self.taken_bytes += item.bytes;
        if self.taken >= GIVE_BACK {
            self.give_back();
        }
    }

    pub(super) fn give_back(&mut self) {
        if self.taken > 0 {
            let flow =
                self.sink.consumed(std::mem::take(&mut self.taken), std::mem::take(&mut self.taken_bytes));
            if flow == Flow::Resume {
                self.tasks.pause(&self.sink, false);
            }
        }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) {
        let Some((source, putter)) = &mut self.source else { return };
        let mut taken = 0;
        let ended = loop {
            if taken == MOST_AT_ONCE {
                context.waker().wake_by_ref();
                break false;
            }
            match self.sink.poll_room(context) {
                Poll::Pending => break false,
                Poll::Ready(None) => break true,
                Poll::Ready(Some(_)) => {}
            }
            match source.as_mut().poll_next(context) {
                Poll::Pending => break false,
                Poll::Ready(None) => break true,
                Poll::Ready(Some(argument)) => {
                    // What is in the chunk isn't counted as submitted yet.
                    taken += 1;
                    if putter.add::<F>(&argument) || taken % 32 == 0 {
                        putter.put();
                    }
                }
            }
        };
        putter.put();
        if ended {
            putter.finish();
            self.source = None;
        }
    }

    fn decode(&mut self, mut batch: Batch) {
        let count = batch.positions.len().max(1) as u64;
        let each_bytes = batch.values.len() as u64 / count;
        let mut odd_bytes = batch.values.len() as u64 % count;
        let values = std::mem::take(&mut batch.values);
        let mut start = 0;
        for (position, end) in batch.positions.iter().zip(&batch.ends) {
            let outcome = self.value(*position, &values[start..*end]);
            start = *end;
            self.ready.push_back(Item {
                position: *position,
                outcome,
                bytes: each_bytes + std::mem::take(&mut odd_bytes),
            });
        }
        for (position, value) in &batch.large {
            let outcome = self.value(*position, value);
            self.ready.push_back(Item { position: *position, outcome, bytes: value.len() as u64 });
        }
        for failure in batch.failures {
            let (position, bytes) = (failure.position, failure.bytes());
            self.ready.push_back(Item { position, outcome: Err(error::<F>(failure)), bytes });
        }
    }

    fn value(&self, position: u64, value: &[u8]) -> Outcome<F> {
        codec::decode(value).map_err(|error| {
            FailedTask {
                kind: TaskErrorKind::Undeliverable(error),
                task: crate::ids::TaskId(0),
                position,
                attempts: 1,
                executor: None,
                log_tail: bytes::Bytes::new(),
            }
            .into()
        })
    }

    pub(super) fn cancel(&self) {
        self.sink.cancel();
        self.tasks.cancel_job(self.job);
    }
}

fn error<F: TaskFunction>(raw: RawFailure) -> TaskError<F::Error> {
    let kind = match raw.kind {
        RawKind::Error(bytes) => match codec::decode(&bytes) {
            Ok(error) => TaskErrorKind::Failed(error),
            Err(error) => TaskErrorKind::Undeliverable(error),
        },
        RawKind::Other(kind) => match kind {
            TaskErrorKind::Failed(never) => match never {},
            TaskErrorKind::Panicked { message, location } => TaskErrorKind::Panicked { message, location },
            TaskErrorKind::TimedOut(limit) => TaskErrorKind::TimedOut(limit),
            TaskErrorKind::Cancelled => TaskErrorKind::Cancelled,
            TaskErrorKind::ExecutorDied(exit) => TaskErrorKind::ExecutorDied(exit),
            TaskErrorKind::Lost(exit) => TaskErrorKind::Lost(exit),
            TaskErrorKind::Undeliverable(error) => TaskErrorKind::Undeliverable(error),
            TaskErrorKind::SourcePanicked(message) => TaskErrorKind::SourcePanicked(message),
            TaskErrorKind::DriverClosed => TaskErrorKind::DriverClosed,
        },
    };
    let RawFailure { task, position, attempts, executor, log_tail, .. } = raw;
    FailedTask { kind, task, position, attempts, executor, log_tail }.into()
}

impl<F: TaskFunction> Drop for Results<F> {
    fn drop(&mut self) {
        if !self.finished && !self.detached {
            self.cancel();
            if let Some((_, putter)) = &mut self.source {
                putter.finish();
            }
        }
    }
}
