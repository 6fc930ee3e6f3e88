use std::collections::HashMap;
use std::time::Duration;

use slab::Slab;

use super::executor::{Executor, Overdue};
use super::jobs::Job;
use super::pool::Pool;
use super::table::{Place, Table};
use super::{Command, Credits};
use crate::clock::Moment;
use crate::ids::{ExecutorId, ProfileId, TaskId};

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

/// The scheduler of one application. `J` is what the shell keeps of a job.
#[derive(Debug)]
pub struct Scheduler<J> {
    pub(super) settings: Settings,
    pub(super) tasks: Table,
    pub(super) jobs: Slab<Job<J>>,
    pub(super) next_serial: u32,
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

    /// An attempt is over, but occupies its slot until its executor says otherwise.
    pub(super) fn overdue_at(&mut self, now: Moment, executor: u32, task: TaskId, attempt: u32) {
        let until = now + self.settings.cancel_deadline;
        let before = self.before(executor);
        let it = &mut self.executors[executor as usize];
        it.overdue.push(Overdue { task, attempt });
        self.overdue.insert((until, task, attempt), it.id);
        self.account(executor, before);
    }

    /// Puts a task into its job's queue.
    pub(super) fn enqueue(&mut self, index: u32) {
        self.tasks[index].place = Place::Queued;
        let job_index = self.tasks[index].job;
        let job = &mut self.jobs[job_index as usize];
        self.tasks.push_back(&mut job.queue, index);
        if !job.paused {
            self.pools[job.pool].runnable += 1;
            self.enter_ring(job_index);
        }
    }

    pub(super) fn enter_ring(&mut self, job_index: u32) {
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
        self.jobs[self.tasks[index].job as usize].sent -= 1;
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

    pub(super) fn pool_of(&mut self, profile: ProfileId) -> usize {
        if let Some(index) = self.pools.iter().position(|pool| pool.profile == profile) {
            return index;
        }
        self.pools.push(Pool::new(profile));
        self.pools.len() - 1
    }
}
