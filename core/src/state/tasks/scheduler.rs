use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;

use super::executor::{Executor, Overdue, Recall};
use super::pool::Pool;
use super::table::{List, Place, Table};
use super::{Arguments, Command, Credits, JobLimits, Loss};
use crate::clock::Moment;
use crate::ids::{ExecutorId, JobId, ProfileId, TaskId};

/// Settings of the scheduler.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much an executor may hold.
    pub credits: Credits,
    /// Bytes of arguments in one message.
    pub message_bytes: u64,
    /// How long code may go on after it was cancelled or timed out, before its executor is ended (D6).
    pub cancel_deadline: Duration,
    /// How long what was sent ahead may wait without anything ending before it is called back.
    pub stuck_after: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            credits: Credits::default(),
            message_bytes: 1 << 20,
            cancel_deadline: Duration::from_secs(5),
            stuck_after: Duration::from_millis(20),
        }
    }
}

/// How many tasks are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Tasks that aren't over.
    pub tasks: usize,
    /// Attempts that executors hold.
    pub sent: usize,
}

#[derive(Debug)]
pub(super) struct Job<J> {
    serial: u32,
    pub(super) limits: JobLimits,
    pub(super) pool: usize,
    pub(super) data: J,
    pub(super) queue: List,
    /// Tasks that aren't over.
    pub(super) outstanding: usize,
    closed: bool,
    pub(super) paused: bool,
    pub(super) in_ring: bool,
}

/// The scheduler of one application. `J` is what the shell keeps of a job.
#[derive(Debug)]
pub struct Scheduler<J> {
    pub(super) settings: Settings,
    pub(super) tasks: Table,
    pub(super) jobs: Slab<Job<J>>,
    next_serial: u32,
    pub(super) pools: Vec<Pool>,
    pub(super) executors: Slab<Executor>,
    pub(super) by_id: HashMap<ExecutorId, u32, foldhash::fast::RandomState>,
    pub(super) departed: HashMap<ExecutorId, Vec<super::outcome::Departed>>,
    /// When attempts that are over have to be out of their slots; may hold stale entries.
    pub(super) overdue: std::collections::BTreeMap<(Moment, TaskId, u32), ExecutorId>,
    pub(super) next_look: Option<Moment>,
}

impl<J: Clone> Scheduler<J> {
    /// A scheduler with nothing to do.
    #[must_use]
    pub fn new(settings: Settings) -> Scheduler<J> {
        Scheduler {
            settings,
            tasks: Table::default(),
            jobs: Slab::new(),
            next_serial: 0,
            pools: Vec::new(),
            executors: Slab::new(),
            by_id: HashMap::default(),
            departed: HashMap::new(),
            overdue: std::collections::BTreeMap::new(),
            next_look: None,
        }
    }

    /// How many tasks are where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            tasks: self.tasks.len(),
            sent: self.executors.iter().map(|(_, executor)| executor.sent.len()).sum(),
        }
    }

    /// Opens a job; it lives until it is closed and its tasks are over.
    pub fn open_job(&mut self, limits: JobLimits, data: J) -> JobId {
        let pool = self.pool_of(limits.profile);
        self.next_serial = self.next_serial.wrapping_add(1);
        let serial = self.next_serial;
        let index = self.jobs.insert(Job {
            serial,
            limits,
            pool,
            data,
            queue: List::default(),
            outstanding: 0,
            closed: false,
            paused: false,
            in_ring: false,
        });
        JobId(u64::from(serial) << 32 | index as u64)
    }

    /// No more tasks will come.
    pub fn close_job(&mut self, job: JobId) {
        if let Some(index) = self.job_index(job) {
            self.jobs[index as usize].closed = true;
            self.reap(index);
        }
    }

    /// Adds a task. `None` where the job is over.
    ///
    /// Executors are woken by [`Scheduler::submitted`], once for any number of tasks.
    pub fn submit(
        &mut self,
        job: JobId,
        position: u64,
        function: u32,
        arguments: Arguments,
    ) -> Option<TaskId> {
        let job = self.job_index(job)?;
        let index = self.tasks.insert(job, position, function, arguments);
        self.jobs[job as usize].outstanding += 1;
        self.enqueue(index, false);
        Some(self.tasks.id(index))
    }

    /// Wakes executors for `count` tasks that were added to this job.
    pub fn submitted(&mut self, job: JobId, count: usize, out: &mut Vec<Command<J>>) {
        if let Some(index) = self.job_index(job) {
            let pool = self.jobs[index as usize].pool;
            self.wake(pool, count, out);
        }
    }

    /// Stops handing out the job's queued tasks, or goes on: its caller doesn't take results (D7).
    pub fn pause_job(&mut self, job: JobId, paused: bool, out: &mut Vec<Command<J>>) {
        let Some(index) = self.job_index(job) else { return };
        let job = &mut self.jobs[index as usize];
        if job.paused == paused {
            return;
        }
        job.paused = paused;
        let (pool, queued) = (job.pool, job.queue.len());
        if paused {
            self.pools[pool].runnable -= queued;
        } else {
            self.pools[pool].runnable += queued;
            self.enter_ring(index);
            self.wake(pool, queued, out);
        }
    }

    /// Ends one task as cancelled. What runs is told, and has its deadline (D6).
    pub fn cancel_task(&mut self, now: Moment, task: TaskId, out: &mut Vec<Command<J>>) {
        if let Some(index) = self.tasks.find(task) {
            self.end_early(now, index, Loss::Cancelled, out);
        }
    }

    /// Ends all tasks of a job as cancelled. Walks all tasks.
    pub fn cancel_job(&mut self, now: Moment, job: JobId, out: &mut Vec<Command<J>>) {
        let Some(job) = self.job_index(job) else { return };
        self.jobs[job as usize].closed = true;
        while let Some(index) = self.jobs[job as usize].queue.front() {
            self.end_early(now, index, Loss::Cancelled, out);
            if !self.jobs.contains(job as usize) {
                return;
            }
        }
        for index in self.tasks.of_job(job) {
            self.end_early(now, index, Loss::Cancelled, out);
        }
        self.reap(job);
    }

    /// Ends a task wherever it is, without its executor's word.
    pub(super) fn end_early(&mut self, now: Moment, index: u32, loss: Loss, out: &mut Vec<Command<J>>) {
        let id = self.tasks.id(index);
        let attempt = self.tasks[index].attempt;
        if let Place::Sent(executor) = self.tasks[index].place {
            self.take_back(index, executor);
            self.overdue_at(now, executor, id, attempt);
            let executor = &mut self.executors[executor as usize];
            executor.cancels.push((id, attempt));
            if std::mem::take(&mut executor.waiting) {
                out.push(Command::Wake(executor.id));
            }
        } else {
            self.dequeue(index);
        }
        let (job, position, attempts, blob) = self.finish(index);
        out.push(Command::Over { job, task: id, position, attempts, loss, blob });
    }

    /// An attempt is over, but occupies its slot until its executor says otherwise.
    pub(super) fn overdue_at(&mut self, now: Moment, executor: u32, task: TaskId, attempt: u32) {
        let until = now + self.settings.cancel_deadline;
        let before = self.before(executor);
        let it = &mut self.executors[executor as usize];
        it.overdue.push(Overdue { task, attempt });
        self.overdue.insert((until, task, attempt), it.id);
        self.account(executor, before);
    }

    /// Removes a task that stands in no list, and its job with the last of them.
    pub(super) fn finish(&mut self, index: u32) -> (J, u64, u32, Option<u64>) {
        let task = &self.tasks[index];
        let (job, position, attempts) = (task.job, task.position, task.attempt);
        let blob = self.tasks.remove(index);
        let entry = &mut self.jobs[job as usize];
        entry.outstanding -= 1;
        let data = entry.data.clone();
        self.reap(job);
        (data, position, attempts, blob)
    }

    fn reap(&mut self, job: u32) {
        if self.jobs.get(job as usize).is_some_and(|job| job.closed && job.outstanding == 0) {
            let entry = self.jobs.remove(job as usize);
            if entry.in_ring {
                self.pools[entry.pool].ring.retain(|entry| *entry != job);
            }
        }
    }

    /// Puts a task into its job's queue.
    pub(super) fn enqueue(&mut self, index: u32, in_front: bool) {
        self.tasks[index].place = Place::Queued;
        let job_index = self.tasks[index].job;
        let job = &mut self.jobs[job_index as usize];
        if in_front {
            self.tasks.push_front(&mut job.queue, index);
        } else {
            self.tasks.push_back(&mut job.queue, index);
        }
        if !job.paused {
            self.pools[job.pool].runnable += 1;
            self.enter_ring(job_index);
        }
    }

    fn enter_ring(&mut self, job_index: u32) {
        let job = &mut self.jobs[job_index as usize];
        if !job.in_ring && !job.queue.is_empty() {
            job.in_ring = true;
            self.pools[job.pool].ring.push_back(job_index);
        }
    }

    /// Takes a task out of the list that it waits in.
    pub(super) fn dequeue(&mut self, index: u32) {
        let job = &mut self.jobs[self.tasks[index].job as usize];
        let pool = &mut self.pools[job.pool];
        match self.tasks[index].place {
            Place::Queued => {
                self.tasks.unlink(&mut job.queue, index);
                pool.runnable -= usize::from(!job.paused);
            }
            Place::Again => {
                self.tasks.unlink(&mut pool.again, index);
                pool.runnable -= 1;
            }
            Place::Suspect => self.tasks.unlink(&mut pool.suspects, index),
            Place::Sent(_) | Place::Free => {}
        }
    }

    /// Takes a task from the executor that holds it.
    pub(super) fn take_back(&mut self, index: u32, executor: u32) {
        let before = self.before(executor);
        let it = &mut self.executors[executor as usize];
        self.tasks.unlink(&mut it.sent, index);
        it.sent_bytes -= self.tasks[index].arguments.inline_bytes();
        it.sent_blob_bytes -= self.tasks[index].arguments.blob_bytes();
        self.account(executor, before);
    }

    pub(super) fn before(&self, executor: u32) -> (u32, u32) {
        let executor = &self.executors[executor as usize];
        (executor.free_slots(), executor.ahead())
    }

    /// Brings the pool's sums up to date after a change of one executor.
    pub(super) fn account(&mut self, executor: u32, (free_slots, ahead): (u32, u32)) {
        let executor = &self.executors[executor as usize];
        let pool = &mut self.pools[executor.pool];
        pool.free_slots = pool.free_slots - free_slots + executor.free_slots();
        pool.ahead = pool.ahead - ahead + executor.ahead();
    }

    /// Wakes executors that wait, for `count` more tasks: those with free slots first.
    pub(super) fn wake(&mut self, pool: usize, count: usize, out: &mut Vec<Command<J>>) {
        let mut left = count.min(self.pools[pool].runnable);
        let pool = &mut self.pools[pool];
        while left > 0 {
            let Some(index) = pool.idle.pop_front() else { break };
            let Some(executor) = self.executors.get_mut(index as usize) else { continue };
            executor.listed_idle = false;
            if executor.waiting && executor.free_slots() > 0 {
                executor.waiting = false;
                left = left.saturating_sub(executor.free_slots() as usize);
                out.push(Command::Wake(executor.id));
            }
        }
        while left > 0 {
            let Some(index) = pool.roomy.pop_front() else { break };
            let Some(executor) = self.executors.get_mut(index as usize) else { continue };
            executor.listed_roomy = false;
            if executor.waiting && executor.wants(&self.settings.credits) {
                executor.waiting = false;
                left = left.saturating_sub(executor.room(&self.settings.credits) as usize);
                out.push(Command::Wake(executor.id));
            }
        }
    }

    /// Notes that an executor's stream has nothing to do.
    pub(super) fn wait(&mut self, index: u32) {
        let executor = &mut self.executors[index as usize];
        let pool = &mut self.pools[executor.pool];
        executor.waiting = true;
        if executor.free_slots() > 0 {
            if !std::mem::replace(&mut executor.listed_idle, true) {
                pool.idle.push_back(index);
            }
        } else if executor.wants(&self.settings.credits)
            && !std::mem::replace(&mut executor.listed_roomy, true)
        {
            pool.roomy.push_back(index);
        }
    }

    pub(super) fn job_index(&self, job: JobId) -> Option<u32> {
        let index = (job.0 & u64::from(u32::MAX)) as u32;
        let entry = self.jobs.get(index as usize)?;
        (u64::from(entry.serial) == job.0 >> 32).then_some(index)
    }

    pub(super) fn pool_of(&mut self, profile: ProfileId) -> usize {
        if let Some(index) = self.pools.iter().position(|pool| pool.profile == profile) {
            return index;
        }
        self.pools.push(Pool::new(profile));
        self.pools.len() - 1
    }

    /// An executor is known. Nothing is sent before it is attached.
    pub fn executor_joined(&mut self, now: Moment, id: ExecutorId, profile: ProfileId, slots: u32) {
        if self.by_id.contains_key(&id) {
            return;
        }
        let pool = self.pool_of(profile);
        let index = self.executors.insert(Executor::new(id, pool, slots, now)) as u32;
        self.by_id.insert(id, index);
    }

    /// Its stream is open. `held`: what it still holds where this stream replaces a broken one; what it was sent and
    /// doesn't hold is sent again, to anyone.
    ///
    /// Answers `false` for an executor that isn't known (any more).
    pub fn executor_attached(
        &mut self,
        now: Moment,
        id: ExecutorId,
        held: &[(TaskId, u32)],
        out: &mut Vec<Command<J>>,
    ) -> bool {
        let Some(&index) = self.by_id.get(&id) else { return false };
        let held: std::collections::HashSet<(TaskId, u32)> = held.iter().copied().collect();
        let mut next = self.executors[index as usize].sent.front();
        let mut count = 0;
        while let Some(task) = next {
            next = self.tasks.next(task);
            if !held.contains(&(self.tasks.id(task), self.tasks[task].attempt)) {
                self.take_back(task, index);
                self.enqueue(task, true);
                count += 1;
            }
        }
        let before = self.before(index);
        let executor = &mut self.executors[index as usize];
        let was_usable = executor.usable();
        executor.overdue.retain(|overdue| held.contains(&(overdue.task, overdue.attempt)));
        executor.cancels.extend(executor.overdue.iter().map(|overdue| (overdue.task, overdue.attempt)));
        executor.recall = Recall::None;
        executor.attached = true;
        executor.last_progress = now;
        let (usable, pool) = (executor.usable(), executor.pool);
        self.pools[pool].usable += u32::from(usable && !was_usable);
        self.account(index, before);
        self.wake(pool, count, out);
        true
    }

    /// Its stream broke. It keeps what it holds until it attaches again or is gone.
    pub fn executor_detached(&mut self, id: ExecutorId) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let before = self.before(index);
        let executor = &mut self.executors[index as usize];
        let was_usable = executor.usable();
        executor.attached = false;
        executor.waiting = false;
        let pool = &mut self.pools[executor.pool];
        pool.usable -= u32::from(was_usable);
        if pool.held == Some(index) {
            pool.held = None;
        }
        self.account(index, before);
    }

    /// Ends all tasks of all jobs as cancelled.
    pub fn cancel_all(&mut self, now: Moment, out: &mut Vec<Command<J>>) {
        let jobs: Vec<JobId> =
            self.jobs.iter().map(|(index, job)| JobId(u64::from(job.serial) << 32 | index as u64)).collect();
        for job in jobs {
            self.cancel_job(now, job, out);
        }
    }

    /// Sends it nothing more, and calls back what it holds ahead.
    pub fn executor_draining(&mut self, id: ExecutorId, out: &mut Vec<Command<J>>) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let before = self.before(index);
        let executor = &mut self.executors[index as usize];
        if executor.leaving {
            return;
        }
        let pool = &mut self.pools[executor.pool];
        pool.usable -= u32::from(executor.usable());
        executor.leaving = true;
        if pool.held == Some(index) {
            pool.held = None;
        }
        if executor.ahead() > 0 && executor.recall == Recall::None {
            executor.recall = Recall::Wanted(executor.ahead());
            if std::mem::take(&mut executor.waiting) {
                out.push(Command::Wake(id));
            }
        }
        self.account(index, before);
    }
}
