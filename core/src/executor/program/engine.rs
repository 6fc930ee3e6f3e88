//! The slots of one executor, without any wire: what is queued, who runs what, what is finished. An executor process drives
//! it from its stream; `local-inline` drives it from the driver itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::outbox::Outbox;
use super::slot;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ExecutorId, TaskId};
use crate::rpc::v1::{self, Ending};
use crate::task::broadcast::Cache;
use crate::task::context::{Host, TaskContext};
use crate::task::function::Code;
use crate::task::registry::Registry;

/// How the engine reaches its driver for what doesn't ride on the stream. Calls block a slot's thread.
pub trait Carrier: Send + Sync + 'static {
    /// A blob of the driver: a large argument or a broadcast value.
    ///
    /// # Errors
    /// `NotFound` where the driver doesn't have it (any more), `Unavailable` where it can't be reached.
    fn fetch(&self, blob: u64) -> Result<Bytes>;

    /// Begins a fetch without waiting for it.
    fn fetch_ahead(&self, blob: u64) -> std::sync::mpsc::Receiver<Result<Bytes>>;

    /// Carries a large result to the driver; answers the blob's number.
    ///
    /// # Errors
    /// As [`Carrier::fetch`].
    fn upload(&self, task: TaskId, attempt: u32, value: Bytes) -> Result<u64>;

    /// The end of this executor's standard error, for a failure's report; empty where there is none of its own.
    fn log_tail(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// What an engine is told of its executor.
pub struct EngineSetup {
    /// Which executor this is.
    pub executor: ExecutorId,
    /// How many tasks run at once.
    pub slots: u32,
    /// Devices that it was granted.
    pub devices: BTreeMap<String, Vec<String>>,
    /// The application's files here.
    pub files: BTreeMap<String, PathBuf>,
    /// Values of tasks up to so many bytes ride on the stream.
    pub inline_bytes: usize,
    /// Its way to the driver.
    pub carrier: Arc<dyn Carrier>,
}

/// Slots on threads of their own. Dropping it waits for nothing: see [`Engine::stop`].
pub struct Engine {
    pub(super) inside: Arc<Inside>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// An argument that is here, or on its way.
pub(super) enum Argument {
    Here(Bytes),
    Coming(std::sync::mpsc::Receiver<Result<Bytes>>),
}

/// A task that waits for a slot.
pub(super) struct Queued {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) function: u32,
    pub(super) argument: Argument,
    pub(super) time_limit: Option<Duration>,
}

/// What a slot runs now.
pub(super) struct Running {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
    pub(super) context: TaskContext,
    pub(super) since: Moment,
    pub(super) until: Option<Moment>,
    pub(super) timed_out: bool,
}

/// One slot's own queue, a share of all that is queued, and what it runs. Both under one lock, so that a task costs its slot
/// one uncontended lock.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) queue: VecDeque<Queued>,
    pub(super) running: Option<Running>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) tasks: VecDeque<Queued>,
    pub(super) parked: usize,
    pub(super) stopping: bool,
}

/// Lock order: `queue`, then a slot; never two slots.
pub(super) struct Inside {
    pub(super) queue: Mutex<Queue>,
    pub(super) work: Condvar,
    pub(super) slots: Vec<Mutex<Slot>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) registry: &'static Registry,
    pub(super) runtime: OnceLock<Option<tokio::runtime::Runtime>>,
    executor: ExecutorId,
    devices: BTreeMap<String, Vec<String>>,
    files: BTreeMap<String, PathBuf>,
    pub(super) inline_bytes: usize,
    pub(super) carrier: Arc<dyn Carrier>,
    broadcasts: Cache,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Starts the slots.
    ///
    /// # Errors
    /// `AlreadyExists` for functions of one name; `Host` where no thread can be started.
    pub fn start(setup: EngineSetup) -> Result<Engine> {
        super::panics::install();
        let slots = setup.slots.max(1);
        let inside = Arc::new(Inside {
            queue: Mutex::default(),
            work: Condvar::new(),
            slots: (0..slots).map(|_| Mutex::default()).collect(),
            outbox: Arc::new(Outbox::default()),
            registry: Registry::of_this_program()?,
            runtime: OnceLock::new(),
            executor: setup.executor,
            devices: setup.devices,
            files: setup.files,
            inline_bytes: setup.inline_bytes,
            carrier: setup.carrier,
            broadcasts: Cache::default(),
        });
        let mut threads = Vec::new();
        for number in 0..slots as usize {
            let inside = Arc::clone(&inside);
            let thread = std::thread::Builder::new()
                .name(format!("slot-{number}"))
                .stack_size(stack_bytes())
                .spawn(move || slot::run(&inside, number))
                .map_err(|error| Error::host("can't start a slot's thread", error).with("slots", slots))?;
            threads.push(thread);
        }
        Ok(Engine { inside, threads: Mutex::new(threads) })
    }

    /// Where finished results wait.
    #[must_use]
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.inside.outbox
    }

    /// Obeys one message of the driver.
    ///
    /// # Errors
    /// `Protocol` where the message contradicts itself; nothing of it has then happened.
    pub fn obey(&self, message: v1::DriverMessage) -> Result<()> {
        for blob in message.forget_blobs {
            self.inside.broadcasts.forget(blob);
        }
        if let Some(batch) = message.tasks {
            self.enqueue(batch)?;
        }
        for (task, attempt) in message.cancel_tasks.iter().zip(&message.cancel_attempts) {
            self.cancel(TaskId(*task), *attempt);
        }
        if message.recall > 0 {
            let returned = self.take_unbegun(message.recall as usize);
            self.inside.outbox.returned(&returned, true);
        }
        Ok(())
    }

    fn enqueue(&self, batch: v1::TaskBatch) -> Result<()> {
        let count = batch.tasks.len();
        let fits = |len: usize| len == count || len <= 1;
        let total: u64 = batch.lengths.iter().map(|length| u64::from(*length)).sum();
        if !(batch.attempts.is_empty() || batch.attempts.len() == count)
            || !fits(batch.functions.len())
            || batch.functions.is_empty()
            || !fits(batch.time_limits_ms.len())
            || batch.lengths.len() != count
            || total != batch.payload.len() as u64
        {
            return Err(Error::new(ErrorKind::Protocol, "a batch of tasks contradicts itself"));
        }
        let mut payload = batch.payload;
        let mut large = batch.large.iter().peekable();
        let of = |values: &[u32], position: usize| match values {
            [one] => *one,
            values => values.get(position).copied().unwrap_or(1),
        };
        let mut queued = VecDeque::with_capacity(count);
        for (position, task) in batch.tasks.iter().enumerate() {
            let here = payload.split_to(batch.lengths[position] as usize);
            let argument = match large.next_if(|large| large.position as usize == position) {
                Some(large) => Argument::Coming(self.inside.carrier.fetch_ahead(large.blob)),
                None => Argument::Here(here),
            };
            let limit_ms = match batch.time_limits_ms.as_slice() {
                [one] => *one,
                limits => limits.get(position).copied().unwrap_or(0),
            };
            queued.push_back(Queued {
                task: TaskId(*task),
                attempt: batch.attempts.get(position).copied().unwrap_or(1),
                function: of(&batch.functions, position),
                argument,
                time_limit: (limit_ms > 0).then(|| Duration::from_millis(limit_ms)),
            });
        }
        let mut queue = lock(&self.inside.queue);
        if queue.stopping {
            drop(queue);
            let returned: Vec<_> = queued.iter().map(|queued| (queued.task, queued.attempt)).collect();
            self.inside.outbox.returned(&returned, false);
            return Ok(());
        }
        queue.tasks.append(&mut queued);
        let wake = queue.parked.min(count);
        drop(queue);
        for _ in 0..wake {
            self.inside.work.notify_one();
        }
        Ok(())
    }

    /// Takes up to `most` tasks that haven't begun, the last queued first.
    fn take_unbegun(&self, most: usize) -> Vec<(TaskId, u32)> {
        let mut taken = Vec::new();
        let mut queue = lock(&self.inside.queue);
        let mut take = |tasks: &mut VecDeque<Queued>| {
            while taken.len() < most
                && let Some(queued) = tasks.pop_back()
            {
                taken.push((queued.task, queued.attempt));
            }
        };
        take(&mut queue.tasks);
        for slot in &self.inside.slots {
            take(&mut lock(slot).queue);
        }
        taken
    }

    fn cancel(&self, task: TaskId, attempt: u32) {
        let is_it = |queued: &Queued| (queued.task, queued.attempt) == (task, attempt);
        let mut queue = lock(&self.inside.queue);
        let mut dropped = remove(&mut queue.tasks, is_it);
        for slot in &self.inside.slots {
            if dropped {
                break;
            }
            let mut slot = lock(slot);
            if let Some(running) = &slot.running
                && (running.task, running.attempt) == (task, attempt)
            {
                running.context.cancel();
                return;
            }
            dropped = remove(&mut slot.queue, is_it);
        }
        drop(queue);
        // What isn't here any more has ended, and said so.
        if dropped {
            self.inside.outbox.ended(task, attempt, Ending::Cancelled, &[], Duration::ZERO);
        }
    }

    /// Tells attempts that run longer than they may, and the driver of them; answers when to look again.
    pub fn look_at_time_limits(&self, now: Moment) -> Option<Moment> {
        // What no slot has taken yet comes first: a task that a slot takes meanwhile is then seen there.
        let untaken = lock(&self.inside.queue).tasks.iter().filter_map(|queued| queued.time_limit).min();
        let mut next = untaken.map(|limit| now + limit);
        for slot in &self.inside.slots {
            let mut slot = lock(slot);
            let waiting = slot.queue.iter().filter_map(|queued| queued.time_limit).min();
            if let Some(running) = &mut slot.running
                && let Some(until) = running.until.filter(|_| !running.timed_out)
            {
                if until <= now {
                    running.timed_out = true;
                    running.context.cancel();
                    let (task, attempt) = (running.task, running.attempt);
                    drop(slot);
                    self.inside.outbox.ended(task, attempt, Ending::TimedOut, &[], Duration::ZERO);
                } else {
                    next = Some(next.map_or(until, |next| next.min(until)));
                }
            }
            if let Some(limit) = waiting {
                next = Some(next.map_or(now + limit, |next| next.min(now + limit)));
            }
        }
        next
    }

    /// All attempts that are here: queued, running, or ended and untold.
    #[must_use]
    pub fn held(&self) -> Vec<(TaskId, u32)> {
        let queue = lock(&self.inside.queue);
        let mut held: Vec<_> = queue.tasks.iter().map(|queued| (queued.task, queued.attempt)).collect();
        for slot in &self.inside.slots {
            let slot = lock(slot);
            held.extend(slot.queue.iter().map(|queued| (queued.task, queued.attempt)));
            held.extend(slot.running.iter().map(|running| (running.task, running.attempt)));
        }
        drop(queue);
        held.extend(self.inside.outbox.untold());
        held
    }

    /// Takes no new task and gives back what hasn't begun; what runs may end. See [`Engine::is_idle`].
    pub fn drain(&self) {
        lock(&self.inside.queue).stopping = true;
        let returned = self.take_unbegun(usize::MAX);
        self.inside.outbox.returned(&returned, false);
        self.inside.work.notify_all();
    }

    /// Whether nothing is queued and no slot runs anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let queue = lock(&self.inside.queue);
        queue.tasks.is_empty()
            && self.inside.slots.iter().all(|slot| {
                let slot = lock(slot);
                slot.queue.is_empty() && slot.running.is_none()
            })
    }

    /// Cancels what runs, takes nothing more, and lets the threads end as soon as their tasks do.
    pub fn stop(&self) {
        lock(&self.inside.queue).stopping = true;
        self.take_unbegun(usize::MAX);
        for slot in &self.inside.slots {
            if let Some(running) = &lock(slot).running {
                running.context.cancel();
            }
        }
        self.inside.work.notify_all();
        self.inside.outbox.close();
    }

    /// Waits for the threads after [`Engine::stop`]. Code that ignores its cancellation keeps it waiting.
    pub fn join(&self) {
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join(); // a slot catches the panics of its tasks
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("slots", &self.inside.slots.len()).finish_non_exhaustive()
    }
}

fn remove(tasks: &mut VecDeque<Queued>, is_it: impl Fn(&Queued) -> bool) -> bool {
    let found = tasks.iter().position(is_it);
    found.and_then(|position| tasks.remove(position)).is_some()
}

/// As large as a main thread's, unless `RUST_MIN_STACK` says otherwise: a function runs as it would in `main`.
fn stack_bytes() -> usize {
    std::env::var("RUST_MIN_STACK").ok().and_then(|text| text.parse().ok()).unwrap_or(8 << 20)
}

impl Inside {
    pub(super) fn code(&self, function: u32) -> Option<(&'static str, Code)> {
        self.registry.code(function)
    }

    /// The runtime of async functions, started with the first of them. `None` where it can't be.
    pub(super) fn runtime(&self) -> Option<&tokio::runtime::Runtime> {
        let start = || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(self.slots.len().clamp(1, 4))
                .thread_name("convoke-async")
                .enable_all()
                .build();
            runtime
                .inspect_err(|error| tracing::error!(%error, "can't start the runtime of async tasks"))
                .ok()
        };
        self.runtime.get_or_init(start).as_ref()
    }
}

impl Host for Inside {
    fn executor(&self) -> ExecutorId {
        self.executor
    }
    fn devices(&self) -> &BTreeMap<String, Vec<String>> {
        &self.devices
    }
    fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.files
    }
    fn progress(&self, task: TaskId, attempt: u32, fraction: f64, message: String) {
        self.outbox.progress(task, attempt, fraction, message);
    }
    fn fetch(&self, blob: u64) -> Result<Bytes> {
        self.carrier.fetch(blob)
    }
    fn broadcasts(&self) -> &Cache {
        &self.broadcasts
    }
}
