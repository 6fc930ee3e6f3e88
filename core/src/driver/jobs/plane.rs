use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;

use super::blobs::Blobs;
use super::deadlines::Deadlines;
use super::flood::Flood;
use super::sink::{Batch, Flow, RawFailure, RawKind, Sink};
use super::telling::Teller;
use crate::clock::{self, Moment};
use crate::driver::DriverEvent;
use crate::driver::settings::DriverSettings;
use crate::driver::task_plane::ExecutorControl;
use crate::error::{Error, Result};
use crate::ids::{ExecutorId, JobId, TaskId};
use crate::state::tasks::{Arguments, Command, JobLimits, Loss, Scheduler, Settings};
use crate::task::TaskErrorKind;
use crate::task::registry::Registry;

pub(super) type JobData = Arc<Sink>;

/// What holds for all tasks of a driver.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TasksSettings {
    /// The scheduler's.
    pub scheduler: Settings,
    /// Attempts that may fail, where a call says nothing else (D4).
    pub attempts: u32,
    /// Attempts that may be lost without blame, where a call says nothing else (D4).
    pub lost_attempts: u32,
    /// Arguments up to so many bytes ride on the stream.
    pub inline_bytes: usize,
    /// A task with an argument or a value of more bytes fails.
    pub largest_bytes: usize,
}

impl TasksSettings {
    /// What the driver's settings say.
    #[must_use]
    pub fn of(settings: &DriverSettings) -> TasksSettings {
        TasksSettings {
            scheduler: Settings { cancel_deadline: settings.task_cancel_deadline, ..Settings::default() },
            attempts: settings.task_attempts,
            lost_attempts: settings.task_lost_attempts,
            inline_bytes: settings.inline_payload_bytes,
            largest_bytes: settings.largest_payload_bytes,
        }
    }
}

impl Default for TasksSettings {
    fn default() -> TasksSettings {
        TasksSettings::of(&DriverSettings::default())
    }
}

/// The tasks of one driver. [`Driver`](crate::driver)'s own methods lead here.
pub struct Tasks {
    core: Mutex<Core>,
    pub(super) blobs: Blobs,
    pub(super) registry: &'static Registry,
    control: Arc<dyn ExecutorControl>,
    pub(super) deadlines: Deadlines,
    pub(super) flood: Arc<Flood>,
    /// What every task is refused with.
    pub(super) refuses: Option<Error>,
    pub(super) teller: Teller,
    pub(super) settings: TasksSettings,
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
    pub(super) wakers: Vec<Waker>,
    condemned: Vec<ExecutorId>,
    deliveries: Vec<(JobData, Batch)>,
    spent_blobs: Vec<u64>,
    changed: Vec<JobData>,
    events: Vec<DriverEvent>,
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

    /// Something of this job is to be told that no delivery tells.
    pub(super) fn changed(&mut self, job: JobData) {
        if self.changed.last().is_none_or(|last| !Arc::ptr_eq(last, &job)) {
            self.changed.push(job);
        }
    }

    pub(super) fn event(&mut self, event: DriverEvent) {
        self.events.push(event);
    }
}

impl Tasks {
    /// A task plane with no executors yet.
    ///
    /// # Errors
    /// `AlreadyExists` where two registered functions have the same name; `Host` where no thread can be started.
    pub fn new(control: Arc<dyn ExecutorControl>) -> Result<Arc<Tasks>> {
        Tasks::with_settings(control, TasksSettings::default())
    }

    /// The same, with these settings.
    ///
    /// # Errors
    /// As [`Tasks::new`].
    pub fn with_settings(control: Arc<dyn ExecutorControl>, settings: TasksSettings) -> Result<Arc<Tasks>> {
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
            fn tell(&self, _: DriverEvent) {}
        }
        let mut tasks = Tasks::unstarted(Arc::new(Nobody), TasksSettings::default(), Registry::empty());
        tasks.refuses = refuses;
        tasks.core().closed = true;
        Arc::new(tasks)
    }

    fn unstarted(
        control: Arc<dyn ExecutorControl>,
        settings: TasksSettings,
        registry: &'static Registry,
    ) -> Tasks {
        let core = Core {
            scheduler: Scheduler::new(settings.scheduler.clone()),
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
            teller: Teller::default(),
            settings,
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
            self.went_on(&sink);
        }
        for sink in afterwards.changed {
            self.went_on(&sink);
        }
        for event in afterwards.events {
            self.tell(event);
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
        let now = clock::now();
        self.turn(|core, out, _| core.scheduler.tick(now, out));
        self.tell_changes(now);
    }

    pub(super) fn tell(&self, event: DriverEvent) {
        self.control.tell(event);
    }

    /// Has the clock look at this moment at the latest.
    pub(super) fn at_latest(&self, moment: Moment) {
        self.deadlines.at_latest(Some(moment));
    }

    /// Opens a job; `single`: it is one task.
    pub(super) fn open(
        &self,
        limits: JobLimits,
        window: u64,
        name: Cow<'static, str>,
        single: bool,
    ) -> Result<(JobId, JobData)> {
        let sink = Arc::new(Sink::new(window, name));
        let job = self.turn(|core, _, _| {
            if core.closed {
                return Err(Error::new(crate::ErrorKind::Cancelled, "the driver is closed"));
            }
            let job = core.scheduler.open_job(limits, Arc::clone(&sink));
            sink.set_job(job);
            Ok(job)
        })?;
        self.began(&sink, single);
        Ok((job, sink))
    }

    /// A job of a closed driver: its tasks never run.
    pub(super) fn closed_job(&self) -> (JobId, JobData) {
        (JobId(0), Arc::new(Sink::new(1, Cow::Borrowed(""))))
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
            Command::Retried { job } => {
                job.retried(1);
                afterwards.changed(job);
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

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("counts", &self.core().scheduler.counts()).finish_non_exhaustive()
    }
}
