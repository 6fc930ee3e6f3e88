use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tonic::{Status, Streaming, async_trait};

use super::blobs::Blobs;
use super::deadlines::Deadlines;
use super::flood::Flood;
use super::sink::{Batch, Flow, RawFailure, RawKind, Sink};
use super::stream::ExecutorStream;
use crate::clock;
use crate::driver::task_plane::{ExecutorControl, JoinedExecutor, TaskPlane};
use crate::error::{Error, Result};
use crate::ids::{ExecutorId, JobId, TaskId};
use crate::manager::{Exit, Stream};
use crate::rpc::limits::CHUNK_BYTES;
use crate::rpc::status::to_status;
use crate::rpc::v1;
use crate::state::tasks::{Arguments, Command, JobLimits, Loss, Scheduler, Settings};
use crate::task::TaskErrorKind;
use crate::task::registry::Registry;

pub(super) type JobData = Arc<Sink>;

/// The tasks of one driver. [`Driver`](crate::driver)'s own methods lead here.
pub struct Tasks {
    core: Mutex<Core>,
    pub(super) blobs: Blobs,
    pub(super) registry: &'static Registry,
    control: Arc<dyn ExecutorControl>,
    deadlines: Deadlines,
    pub(super) flood: Arc<Flood>,
    /// What every task is refused with.
    pub(super) refuses: Option<Error>,
}

pub(super) struct Core {
    pub(super) scheduler: Scheduler<JobData>,
    pub(super) streams: HashMap<ExecutorId, Attached, foldhash::fast::RandomState>,
    pub(super) last_stream: u64,
    pub(super) closed: bool,
    commands: Vec<Command<JobData>>,
}

/// The present stream of an executor.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) stream: u64,
    pub(super) waker: Option<Waker>,
    pub(super) forget: Vec<u64>,
}

/// What one turn of the core asks for, done without its lock.
#[derive(Default)]
pub(super) struct Afterwards {
    wakers: Vec<Waker>,
    condemned: Vec<ExecutorId>,
    deliveries: Vec<(JobData, Batch)>,
    spent_blobs: Vec<u64>,
}

impl Afterwards {
    /// The batch of this job; one message's results of one job travel together.
    pub(super) fn batch(&mut self, job: JobData) -> &mut Batch {
        // The last one is nearly always the right one.
        let found = self.deliveries.iter().rposition(|(sink, _)| Arc::ptr_eq(sink, &job));
        let index = found.unwrap_or_else(|| {
            self.deliveries.push((job, Batch::default()));
            self.deliveries.len() - 1
        });
        &mut self.deliveries[index].1
    }

    pub(super) fn spent(&mut self, blob: Option<u64>) {
        self.spent_blobs.extend(blob);
    }
}

impl Tasks {
    /// A task plane with no executors yet.
    ///
    /// # Errors
    /// `AlreadyExists` where two registered functions have the same name; `Host` where no thread can be started.
    pub fn new(control: Arc<dyn ExecutorControl>) -> Result<Arc<Tasks>> {
        Tasks::with_settings(control, Settings::default())
    }

    /// The same, with the scheduler's settings.
    ///
    /// # Errors
    /// As [`Tasks::new`].
    pub fn with_settings(control: Arc<dyn ExecutorControl>, settings: Settings) -> Result<Arc<Tasks>> {
        let tasks = Arc::new(Tasks::unstarted(control, settings, Registry::of_this_program()?));
        tasks.deadlines.start(&tasks)?;
        Ok(tasks)
    }

    /// A plane that is closed already: what is submitted to it fails at once.
    pub(super) fn of_nothing() -> Arc<Tasks> {
        Tasks::closed_with(None)
    }

    /// The same; each task fails of this error.
    pub(in crate::driver) fn refusing(error: Error) -> Arc<Tasks> {
        Tasks::closed_with(Some(error))
    }

    fn closed_with(refuses: Option<Error>) -> Arc<Tasks> {
        #[derive(Debug)]
        struct Nobody;
        impl ExecutorControl for Nobody {
            fn condemn(&self, _: ExecutorId, _: &str) {}
            fn tell(&self, _: crate::driver::DriverEvent) {}
        }
        let mut tasks = Tasks::unstarted(Arc::new(Nobody), Settings::default(), Registry::empty());
        tasks.refuses = refuses;
        tasks.core().closed = true;
        Arc::new(tasks)
    }

    fn unstarted(
        control: Arc<dyn ExecutorControl>,
        settings: Settings,
        registry: &'static Registry,
    ) -> Tasks {
        let core = Core {
            scheduler: Scheduler::new(settings),
            streams: HashMap::default(),
            last_stream: 0,
            closed: false,
            commands: Vec::new(),
        };
        Tasks {
            core: Mutex::new(core),
            blobs: Blobs::default(),
            registry,
            control,
            deadlines: Deadlines::default(),
            flood: Arc::default(),
            refuses: None,
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn: changes the core, then does without its lock what came of it.
    pub(super) fn turn<R>(
        &self,
        change: impl FnOnce(&mut Core, &mut Vec<Command<JobData>>, &mut Afterwards) -> R,
    ) -> R {
        let mut afterwards = Afterwards::default();
        let mut core = self.core();
        let mut commands = std::mem::take(&mut core.commands);
        let result = change(&mut core, &mut commands, &mut afterwards);
        for command in commands.drain(..) {
            core.carry_out(command, &mut afterwards);
        }
        core.commands = commands;
        let deadline = core.scheduler.next_deadline();
        drop(core);
        self.deadlines.at_latest(deadline);
        self.afterwards(afterwards);
        result
    }

    fn afterwards(&self, afterwards: Afterwards) {
        for waker in afterwards.wakers {
            waker.wake();
        }
        for blob in afterwards.spent_blobs {
            self.blobs.take(blob);
        }
        for (sink, batch) in afterwards.deliveries {
            if sink.deliver(batch) == Flow::Pause {
                self.pause(&sink, true);
            }
        }
        for executor in afterwards.condemned {
            self.control.condemn(executor, "a task goes on although it was cancelled or its time is up");
        }
    }

    pub(super) fn pause(&self, sink: &Sink, paused: bool) {
        if let Some(job) = sink.job() {
            self.turn(|core, out, _| core.scheduler.pause_job(job, paused, out));
        }
    }

    pub(super) fn tick(&self) {
        self.turn(|core, out, _| core.scheduler.tick(clock::now(), out));
    }

    /// Opens a job.
    pub(super) fn open(&self, limits: JobLimits, window: u64) -> Result<(JobId, JobData)> {
        let sink = Arc::new(Sink::new(window));
        self.turn(|core, _, _| {
            if core.closed {
                return Err(Error::new(crate::ErrorKind::Cancelled, "the driver is closed"));
            }
            let job = core.scheduler.open_job(limits, Arc::clone(&sink));
            sink.set_job(job);
            Ok((job, sink))
        })
    }

    /// A job of a closed driver: its tasks never run.
    pub(super) fn closed_job(&self) -> (JobId, JobData) {
        (JobId(0), Arc::new(Sink::new(1)))
    }

    /// Gives tasks of consecutive positions to the scheduler.
    pub(super) fn submit(
        &self,
        sink: &JobData,
        job: JobId,
        function: u32,
        first: u64,
        arguments: Vec<Arguments>,
    ) {
        let count = arguments.len();
        self.turn(|core, out, afterwards| {
            for (position, arguments) in (first..).zip(arguments) {
                let blob = match arguments {
                    Arguments::Inline(_) => None,
                    Arguments::Blob { blob, .. } => Some(blob),
                };
                if core.scheduler.submit(job, position, function, arguments).is_none() {
                    let why =
                        if core.closed { TaskErrorKind::DriverClosed } else { TaskErrorKind::Cancelled };
                    afterwards.batch(Arc::clone(sink)).failures.push(RawFailure {
                        task: TaskId(0),
                        position,
                        attempts: 0,
                        executor: None,
                        log_tail: Bytes::new(),
                        kind: RawKind::Other(why),
                    });
                    afterwards.spent(blob);
                }
            }
            core.scheduler.submitted(job, count, out);
        });
    }

    pub(super) fn close_job(&self, job: JobId) {
        self.turn(|core, _, _| core.scheduler.close_job(job));
    }

    pub(super) fn cancel_job(&self, job: JobId) {
        self.turn(|core, out, _| core.scheduler.cancel_job(clock::now(), job, out));
    }

    /// Ends all jobs: what isn't over fails as `DriverClosed`, and nothing more is taken.
    pub fn close(&self) {
        self.turn(|core, out, _| {
            core.closed = true;
            core.scheduler.cancel_all(clock::now(), out);
            for attached in core.streams.values_mut() {
                attached.stream = 0;
            }
        });
        let wakers: Vec<_> = self.core().streams.drain().filter_map(|(_, attached)| attached.waker).collect();
        for waker in wakers {
            waker.wake();
        }
        self.deadlines.stop();
    }

    /// Makes executors forget a blob of which the last handle has gone.
    pub(super) fn forget(&self, blob: u64) {
        self.blobs.take(blob);
        self.turn(|core, _, afterwards| {
            for attached in core.streams.values_mut() {
                attached.forget.push(blob);
                afterwards.wakers.extend(attached.waker.take());
            }
        });
    }
}

impl Core {
    fn carry_out(&mut self, command: Command<JobData>, afterwards: &mut Afterwards) {
        match command {
            Command::Wake(executor) => {
                let attached = self.streams.get_mut(&executor);
                afterwards.wakers.extend(attached.and_then(|attached| attached.waker.take()));
            }
            Command::Condemn(executor) => afterwards.condemned.push(executor),
            Command::Over { job, task, position, attempts, loss, blob } => {
                let closed = self.closed;
                let failure = lost(task, position, attempts, loss, closed);
                afterwards.batch(job).failures.push(failure);
                afterwards.spent(blob);
            }
        }
    }
}

fn lost(task: TaskId, position: u64, attempts: u32, loss: Loss, closed: bool) -> RawFailure {
    let (kind, executor, log_tail) = match loss {
        Loss::Cancelled if closed => (TaskErrorKind::DriverClosed, None, Bytes::new()),
        Loss::Cancelled => (TaskErrorKind::Cancelled, None, Bytes::new()),
        Loss::ExecutorDied(executor, exit) => {
            let tail = exit.log_tail.clone();
            (TaskErrorKind::ExecutorDied(exit), Some(executor), tail)
        }
        Loss::LostTooOften(executor, exit) => {
            let tail = exit.log_tail.clone();
            (TaskErrorKind::Lost(exit), Some(executor), tail)
        }
    };
    RawFailure { task, position, attempts, executor, log_tail, kind: RawKind::Other(kind) }
}

#[async_trait]
impl TaskPlane for Tasks {
    fn tasks(self: Arc<Self>) -> Option<Arc<Tasks>> {
        Some(self)
    }

    fn shutdown(&self) {
        self.close();
    }

    fn executor_joined(&self, joined: JoinedExecutor) {
        self.turn(|core, _, _| {
            core.scheduler.executor_joined(clock::now(), joined.executor, joined.profile, joined.slots);
        });
    }

    fn attach(
        &self,
        executor: ExecutorId,
        hello: v1::ExecutorHello,
        inbound: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status> {
        let me = self.deadlines.tasks().ok_or_else(|| Status::unavailable("the driver is closed"))?;
        ExecutorStream::attach(&me, executor, &hello, inbound.boxed())
            .map(|stream| Box::pin(stream) as Stream<_>)
            .map_err(|error| to_status(&error))
    }

    fn executor_draining(&self, executor: ExecutorId) {
        self.turn(|core, out, _| core.scheduler.executor_draining(executor, out));
    }

    fn executor_gone(&self, executor: ExecutorId) {
        self.turn(|core, out, afterwards| {
            core.scheduler.executor_gone(executor, out);
            let attached = core.streams.remove(&executor);
            afterwards.wakers.extend(attached.and_then(|attached| attached.waker));
        });
    }

    fn executor_lost(&self, executor: ExecutorId, exit: &Exit) {
        self.executor_gone(executor);
        self.turn(|core, out, _| core.scheduler.executor_lost(clock::now(), executor, exit, out));
    }

    fn fetch(
        &self,
        _executor: ExecutorId,
        blob: u64,
        offset: u64,
    ) -> Result<Stream<Result<v1::Chunk, Status>>, Status> {
        let bytes =
            self.blobs.find(blob).ok_or_else(|| Status::not_found(format!("there is no blob {blob}")))?;
        let total = bytes.len() as u64;
        if offset > total {
            return Err(Status::out_of_range(format!("blob {blob} has {total} bytes")));
        }
        let mut rest = bytes.slice(offset as usize..);
        let mut first = true;
        let chunks = std::iter::from_fn(move || {
            (std::mem::take(&mut first) || !rest.is_empty()).then(|| {
                let bytes = rest.split_to(rest.len().min(CHUNK_BYTES));
                Ok(v1::Chunk { total, bytes })
            })
        });
        Ok(Box::pin(tokio_stream::iter(chunks)))
    }

    async fn upload(
        &self,
        _executor: ExecutorId,
        mut inbound: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status> {
        let Some(first) = inbound.message().await? else {
            return Err(Status::invalid_argument("an upload without a chunk"));
        };
        if self.core().closed {
            return Err(Status::not_found("the driver is closed"));
        }
        let total = first.total;
        let mut bytes = BytesMut::with_capacity(usize::try_from(total).unwrap_or(0).min(64 << 20));
        bytes.extend_from_slice(&first.bytes);
        while let Some(chunk) = inbound.message().await? {
            bytes.extend_from_slice(&chunk.bytes);
            if bytes.len() as u64 > total {
                return Err(Status::invalid_argument("an upload longer than it said"));
            }
        }
        if bytes.len() as u64 != total {
            return Err(Status::data_loss("an upload shorter than it said"));
        }
        Ok(v1::UploadResponse { blob: self.blobs.keep(bytes.freeze()) })
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("counts", &self.core().scheduler.counts()).finish_non_exhaustive()
    }
}
