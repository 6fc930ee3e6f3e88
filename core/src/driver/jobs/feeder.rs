//! From a caller's iterator into the scheduler, as far as the job's window lets it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use super::plane::Tasks;
use super::serving::too_large;
use super::sink::{Batch, RawFailure, RawKind, Sink};
use crate::error::{Error, Result};
use crate::ids::{JobId, TaskId};
use crate::state::tasks::Arguments;
use crate::task::codec;
use crate::task::{TaskErrorKind, TaskFunction};

/// Tasks that are given to the scheduler at once.
const CHUNK_TASKS: usize = 256;
/// Encoded bytes after which a chunk is given, whatever its number.
const CHUNK_BYTES: usize = 256 << 10;
/// Tasks that are taken from an iterator in the call itself, before a thread goes on with it.
const AT_THE_CALL: u64 = 1024;

/// Puts arguments into the scheduler, a chunk at a time.
pub(super) struct Putter {
    pub(super) tasks: Arc<Tasks>,
    pub(super) sink: Arc<Sink>,
    pub(super) job: JobId,
    pub(super) function: u32,
    refusal: Option<Error>,
    position: u64,
    encoded: Vec<u8>,
    /// Where each argument of the chunk ends; large ones are blobs already.
    chunk: Vec<Part>,
}

enum Part {
    UpTo(usize),
    Blob { blob: u64, bytes: u64 },
}

impl Putter {
    pub(super) fn new(tasks: Arc<Tasks>, sink: Arc<Sink>, job: JobId, function: u32) -> Putter {
        Putter {
            tasks,
            sink,
            job,
            function,
            refusal: None,
            position: 0,
            encoded: Vec::new(),
            chunk: Vec::new(),
        }
    }

    /// Makes all tasks fail with this error.
    pub(super) fn refuse(&mut self, error: Error) {
        self.refusal = Some(error);
    }

    /// Bytes of the chunk.
    pub(super) fn bytes(&self) -> u64 {
        let of = |part: &Part| match part {
            Part::Blob { bytes, .. } => *bytes,
            Part::UpTo(_) => 0,
        };
        self.encoded.len() as u64 + self.chunk.iter().map(of).sum::<u64>()
    }

    /// Adds one argument to the chunk; whether the chunk should go.
    ///
    /// One that can't be encoded is a task that has failed.
    pub(super) fn add<F: TaskFunction>(&mut self, argument: &F::Input) -> bool {
        if let Some(error) = &self.refusal {
            self.fail(TaskErrorKind::Undeliverable(error.clone()));
            return false;
        }
        let start = self.encoded.len();
        match codec::encode_into(argument, &mut self.encoded) {
            Ok(()) if self.encoded.len() - start > self.tasks.settings.largest_bytes => {
                let bytes = (self.encoded.len() - start) as u64;
                self.encoded.truncate(start);
                let error =
                    too_large("the task's argument is too large", bytes, self.tasks.settings.largest_bytes);
                self.put();
                self.fail(TaskErrorKind::Undeliverable(error));
                false
            }
            Ok(()) if self.encoded.len() - start > self.tasks.settings.inline_bytes => {
                // The first of a chunk, as nearly all large ones are, isn't copied.
                let value = match start {
                    0 => Bytes::from(std::mem::take(&mut self.encoded)),
                    start => Bytes::from(self.encoded.split_off(start)),
                };
                let bytes = value.len() as u64;
                self.chunk.push(Part::Blob { blob: self.tasks.blobs.keep(value), bytes });
                true
            }
            Ok(()) => {
                self.chunk.push(Part::UpTo(self.encoded.len()));
                self.chunk.len() >= CHUNK_TASKS || self.encoded.len() >= CHUNK_BYTES
            }
            Err(error) => {
                self.put();
                self.fail(TaskErrorKind::Undeliverable(error));
                false
            }
        }
    }

    /// Gives the chunk to the scheduler.
    pub(super) fn put(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let encoded = Bytes::from(std::mem::take(&mut self.encoded));
        let mut start = 0;
        let arguments: Vec<_> = self
            .chunk
            .drain(..)
            .map(|part| match part {
                Part::UpTo(end) => Arguments::Inline(encoded.slice(std::mem::replace(&mut start, end)..end)),
                Part::Blob { blob, bytes } => Arguments::Blob { blob, bytes },
            })
            .collect();
        let count = arguments.len() as u64;
        let bytes = arguments.iter().map(|arguments| arguments.inline_bytes() + arguments.blob_bytes()).sum();
        self.sink.submitting(count, bytes);
        self.tasks.submit(&self.sink, self.job, self.function, self.position, arguments);
        self.position += count;
    }

    /// A task that never runs.
    pub(super) fn fail(&mut self, kind: TaskErrorKind) {
        self.sink.submitting(1, 0);
        let failure = RawFailure {
            task: TaskId(0),
            position: self.position,
            attempts: 0,
            executor: None,
            log_tail: Bytes::new(),
            kind: RawKind::Other(kind),
        };
        self.position += 1;
        self.sink.deliver(Batch { failures: vec![failure], ..Batch::default() });
        self.tasks.went_on(&self.sink);
    }

    /// No more tasks come.
    pub(super) fn finish(&mut self) {
        self.put();
        self.sink.end_of_source();
        self.tasks.went_on(&self.sink);
        self.tasks.close_job(self.job);
    }
}

pub(super) struct Feeder<F, I> {
    putter: Putter,
    arguments: I,
    function: std::marker::PhantomData<fn() -> F>,
}

impl<F: TaskFunction, I: Iterator<Item = F::Input> + Send + 'static> Feeder<F, I> {
    pub(super) fn new(putter: Putter, arguments: I) -> Feeder<F, I> {
        Feeder { putter, arguments, function: std::marker::PhantomData }
    }

    /// Feeds a first part at once, and the rest from a thread of its own.
    ///
    /// # Errors
    /// `Host` where there is a rest, and no thread for it.
    pub(super) fn start(mut self) -> Result<()> {
        let room = self.putter.sink.room_now().min(AT_THE_CALL);
        // The first leave at once, the rest in ever larger chunks.
        if self.feed(room.min(16)) || self.feed(room.saturating_sub(16)) {
            self.putter.finish();
            return Ok(());
        }
        let thread = std::thread::Builder::new().name("convoke-feeder".into());
        let thread = thread.spawn(move || self.go_on());
        thread.map(drop).map_err(|error| Error::host("can't start a thread for the job's arguments", error))
    }

    /// Feeds up to `most`; whether the iterator has ended.
    fn feed(&mut self, most: u64) -> bool {
        for _ in 0..most {
            let Some(argument) = self.arguments.next() else {
                self.putter.put();
                return true;
            };
            if self.putter.add::<F>(&argument) {
                self.putter.put();
            }
        }
        self.putter.put();
        false
    }

    fn go_on(mut self) {
        while let Some(room) = self.putter.sink.wait_for_room() {
            // A large argument changes what there is room for: look again soon.
            match catch_unwind(AssertUnwindSafe(|| self.feed(room.min(4 * CHUNK_TASKS as u64)))) {
                Ok(false) => {}
                Ok(true) => break,
                Err(panic) => {
                    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                    self.putter.put();
                    self.putter.fail(TaskErrorKind::SourcePanicked(text));
                    self.putter.finish();
                    self.putter.tasks.cancel_job(self.putter.job);
                    return;
                }
            }
        }
        self.putter.finish();
    }
}
