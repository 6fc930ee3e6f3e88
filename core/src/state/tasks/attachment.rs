//! Executors come, lose their streams, and take no more.

use super::executor::{Executor, Recall};
use super::{Command, Scheduler};
use crate::clock::Moment;
use crate::ids::{ExecutorId, ProfileId, TaskId};

impl<J: Clone> Scheduler<J> {
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
                self.come_back(task);
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
