//! How attempts end, and what becomes of their tasks: done, tried again, or failed (D3, D4).

use std::time::Duration;

use super::executor::Recall;
use super::table::Place;
use super::{Command, Ending, Loss, Scheduler, Verdict};
use crate::clock::Moment;
use crate::ids::{ExecutorId, TaskId};
use crate::manager::{Blame, Exit};

/// An attempt that was lost with its executor, until it is known by whose blame.
#[derive(Debug)]
pub(super) struct Departed {
    task: TaskId,
    attempt: u32,
    /// More attempts were in flight than slots: it may not even have begun.
    crowded: bool,
}

impl<J: Clone> Scheduler<J> {
    /// An attempt ended, by this executor's account. Call [`Scheduler::settled`] after the last of a message.
    pub fn attempt_ended(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        task: TaskId,
        attempt: u32,
        ending: Ending,
    ) -> Verdict<J> {
        let Some(&executor) = self.by_id.get(&executor) else { return Verdict::Ignored };
        let found = self.tasks.find(task).filter(|&index| {
            self.tasks[index].place == Place::Sent(executor) && self.tasks[index].attempt == attempt
        });
        let Some(index) = found else {
            if ending != Ending::TimedOut {
                self.out_of_its_slot(executor, task, attempt);
            }
            return Verdict::Ignored;
        };
        self.take_back(index, executor);
        let again = match ending {
            Ending::Done => {
                let (job, position, attempts, blob) = self.finish(index);
                return Verdict::Over { job, position, attempts, blob };
            }
            Ending::Freed => {
                // It let go of an attempt that nobody cancelled: lost, without blame.
                self.tasks[index].lost += 1;
                return self.try_again(index, executor);
            }
            Ending::TimedOut => {
                self.overdue_at(now, executor, task, attempt);
                true
            }
            Ending::Failed { again } => again,
        };
        let limit = self.jobs[self.tasks[index].job as usize].limits.attempts;
        self.tasks[index].failed += 1;
        if again && u32::from(self.tasks[index].failed) < limit {
            return self.try_again(index, executor);
        }
        let (job, position, attempts, blob) = self.finish(index);
        Verdict::Over { job, position, attempts, blob }
    }

    /// An attempt came back without having begun. It counts for nothing.
    pub fn attempt_returned(&mut self, executor: ExecutorId, task: TaskId, attempt: u32) {
        let Some(&executor) = self.by_id.get(&executor) else { return };
        let found = self.tasks.find(task).filter(|&index| {
            self.tasks[index].place == Place::Sent(executor) && self.tasks[index].attempt == attempt
        });
        match found {
            Some(index) => {
                self.take_back(index, executor);
                self.tasks[index].attempt -= 1;
                self.come_back(index);
            }
            None => self.out_of_its_slot(executor, task, attempt),
        }
    }

    /// Shows the job's data and the task's position, if this executor runs this attempt.
    pub fn with_running(&self, executor: ExecutorId, task: TaskId, attempt: u32, show: impl FnOnce(&J, u64)) {
        let Some(&executor) = self.by_id.get(&executor) else { return };
        if let Some(index) = self.tasks.find(task)
            && self.tasks[index].place == Place::Sent(executor)
            && self.tasks[index].attempt == attempt
        {
            show(&self.jobs[self.tasks[index].job as usize].data, self.tasks[index].position);
        }
    }

    /// The time limit of a task that isn't over.
    #[must_use]
    pub fn time_limit(&self, task: TaskId) -> Option<Duration> {
        let index = self.tasks.find(task)?;
        self.jobs[self.tasks[index].job as usize].limits.time_limit
    }

    /// All of one message has been told: `ended` attempts, whose slots were busy for `run` and whose results have
    /// `bytes`; `recalled`: the executor has answered a recall.
    pub fn settled(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        (ended, run, bytes): (u32, Duration, u64),
        recalled: bool,
        out: &mut Vec<Command<J>>,
    ) {
        let Some(&index) = self.by_id.get(&executor) else { return };
        let it = &mut self.executors[index as usize];
        it.measured(now, ended, run, bytes);
        if recalled {
            it.recall = Recall::None;
        }
        if it.in_flight() == 0 {
            it.careful = false;
        }
        let pool = it.pool;
        let (runnable, suspects) = (self.pools[pool].runnable, !self.pools[pool].suspects.is_empty());
        let it = &mut self.executors[index as usize];
        let worth = (runnable > 0 && it.wants(&self.settings.credits)) || (suspects && it.in_flight() == 0);
        if it.waiting && (worth || !it.cancels.is_empty()) {
            it.waiting = false;
            out.push(Command::Wake(executor));
        } else if it.waiting {
            self.wait(index);
            self.steal(now, index, out);
        }
        // What came back, or failed here, may run elsewhere at once.
        if runnable > 0 && (recalled || !self.pools[pool].again.is_empty()) {
            self.wake(pool, runnable, out);
        }
    }

    /// Nothing of this executor counts any more: what it held runs elsewhere at once. By whose blame, is told by
    /// [`Scheduler::executor_lost`].
    pub fn executor_gone(&mut self, executor: ExecutorId, out: &mut Vec<Command<J>>) {
        let Some(index) = self.by_id.remove(&executor) else { return };
        let before = self.before(index);
        let it = &self.executors[index as usize];
        let (pool, crowded, usable) = (it.pool, it.in_flight() > it.slots, it.usable());
        let mut departed = Vec::new();
        let mut next = it.sent.front();
        let mut back = Vec::new();
        while let Some(task) = next {
            next = self.tasks.next(task);
            departed.push(Departed { task: self.tasks.id(task), attempt: self.tasks[task].attempt, crowded });
            back.push(task);
        }
        let overdue = std::mem::take(&mut self.executors[index as usize].overdue);
        for gone in overdue {
            self.overdue.retain(|(_, task, attempt), _| (*task, *attempt) != (gone.task, gone.attempt));
        }
        self.account(index, before);
        // The oldest first again, in front of everything: they were first once.
        for task in back.into_iter().rev() {
            self.take_back(task, index);
            self.requeue(task);
            out.push(Command::Retried { job: self.jobs[self.tasks[task].job as usize].data.clone() });
        }
        let before = self.before(index);
        let it = &mut self.executors[index as usize];
        it.attached = false;
        self.account(index, before);
        self.executors.remove(index as usize);
        let it = &mut self.pools[pool];
        it.usable -= u32::from(usable);
        it.idle.retain(|listed| *listed != index);
        it.roomy.retain(|listed| *listed != index);
        if it.held == Some(index) {
            it.held = None;
        }
        self.departed.insert(executor, departed);
        self.wake_all(pool, out);
    }

    /// Why it is gone: the attempts that it held are counted by whose blame that was (D4).
    pub fn executor_lost(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        exit: &Exit,
        out: &mut Vec<Command<J>>,
    ) {
        self.executor_gone(executor, out);
        let mut pools = Vec::new();
        for lost in self.departed.remove(&executor).unwrap_or_default() {
            let Some(index) =
                self.tasks.find(lost.task).filter(|&index| self.tasks[index].attempt >= lost.attempt)
            else {
                continue;
            };
            let limits = self.jobs[self.tasks[index].job as usize].limits.clone();
            let task = &mut self.tasks[index];
            if exit.blame == Blame::Application {
                task.avoid = Some(executor);
                if lost.crowded && task.suspicion == 0 {
                    task.lost += 1;
                } else {
                    task.failed += 1;
                }
                task.suspicion = (task.suspicion + 1).min(2);
            } else {
                task.lost += 1;
            }
            let loss = if u32::from(task.failed) >= limits.attempts {
                Loss::ExecutorDied(executor, exit.clone())
            } else if u32::from(task.lost) >= limits.lost {
                Loss::LostTooOften(executor, exit.clone())
            } else {
                if task.suspicion > 0 && matches!(task.place, Place::Queued | Place::Again) {
                    self.dequeue(index);
                    self.requeue(index);
                    pools.push(self.jobs[self.tasks[index].job as usize].pool);
                }
                continue;
            };
            self.end_early(now, index, loss, out);
        }
        pools.dedup();
        for pool in pools {
            self.wake_all(pool, out);
        }
    }

    fn out_of_its_slot(&mut self, executor: u32, task: TaskId, attempt: u32) {
        let before = self.before(executor);
        let it = &mut self.executors[executor as usize];
        let held = it.overdue.len();
        it.overdue.retain(|overdue| (overdue.task, overdue.attempt) != (task, attempt));
        if it.overdue.len() < held {
            self.overdue.retain(|(_, other, number), _| (*other, *number) != (task, attempt));
            self.account(executor, before);
        }
    }

    fn try_again(&mut self, index: u32, executor: u32) -> Verdict<J> {
        self.tasks[index].avoid = Some(self.executors[executor as usize].id);
        self.requeue(index);
        let task = &self.tasks[index];
        Verdict::Again { job: self.jobs[task.job as usize].data.clone(), position: task.position }
    }

    /// Puts a task whose attempt failed or was lost where it will be tried again.
    fn requeue(&mut self, index: u32) {
        let pool = self.jobs[self.tasks[index].job as usize].pool;
        let pool = &mut self.pools[pool];
        let task = &mut self.tasks[index];
        if task.suspicion > 0 {
            task.place = Place::Suspect;
            self.tasks.push_back(&mut pool.suspects, index);
        } else if task.avoid.is_some() {
            task.place = Place::Again;
            self.tasks.push_back(&mut pool.again, index);
            pool.runnable += 1;
        } else {
            self.come_back(index);
        }
    }

    /// Puts a task that was sent and hasn't run in front of everything. Not into its job's queue: a paused job's caller may
    /// wait for just this one, in the order of the arguments.
    pub(super) fn come_back(&mut self, index: u32) {
        let pool = self.jobs[self.tasks[index].job as usize].pool;
        self.tasks[index].place = Place::Again;
        let pool = &mut self.pools[pool];
        self.tasks.push_front(&mut pool.again, index);
        pool.runnable += 1;
    }

    /// Wakes whoever waits, for whatever there is.
    fn wake_all(&mut self, pool: usize, out: &mut Vec<Command<J>>) {
        self.wake(pool, usize::MAX, out);
        self.wake_for_suspects(pool, out);
    }

    /// Wakes whoever waits, where there are suspects and nobody is kept for them. Walks the executors.
    pub(super) fn wake_for_suspects(&mut self, pool: usize, out: &mut Vec<Command<J>>) {
        if self.pools[pool].suspects.is_empty() || self.pools[pool].held.is_some() {
            return;
        }
        for (_, executor) in &mut self.executors {
            if executor.pool == pool && executor.usable() && std::mem::take(&mut executor.waiting) {
                out.push(Command::Wake(executor.id));
            }
        }
    }
}
