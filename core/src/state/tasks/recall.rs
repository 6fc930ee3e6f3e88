//! Taking back what was sent ahead: for an executor that idles, or because nothing moves where it was sent. And the
//! deadline of attempts that ignore that they are over (D6).

use std::time::Duration;

use super::executor::Recall;
use super::{Command, Scheduler};
use crate::clock::Moment;

/// Work that would be done before it could be moved is left where it is.
const WORTH_MOVING: Duration = Duration::from_millis(1);

impl<J: Clone> Scheduler<J> {
    /// When [`Scheduler::tick`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let overdue = self.overdue.keys().next().map(|(until, _, _)| *until);
        [overdue, self.next_look].into_iter().flatten().min()
    }

    /// Acts on deadlines that have passed. Walks the executors where any holds tasks ahead of its slots.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<Command<J>>) {
        while let Some((&(until, task, attempt), &executor)) = self.overdue.first_key_value() {
            if until > now {
                break;
            }
            self.overdue.remove(&(until, task, attempt));
            let held = self.by_id.get(&executor).is_some_and(|&index| {
                let overdue = &self.executors[index as usize].overdue;
                overdue.iter().any(|overdue| (overdue.task, overdue.attempt) == (task, attempt))
            });
            if held {
                out.push(Command::Condemn(executor));
            }
        }
        if self.next_look.is_some_and(|look| look <= now) {
            self.next_look = None;
            self.call_back_stuck(now, out);
        }
    }

    pub(super) fn plan_look(&mut self, now: Moment) {
        self.next_look.get_or_insert(now + self.settings.stuck_after);
    }

    fn call_back_stuck(&mut self, now: Moment, out: &mut Vec<Command<J>>) {
        let mut ahead = false;
        for (_, executor) in &mut self.executors {
            if executor.ahead() == 0 || self.pools[executor.pool].usable < 2 {
                continue;
            }
            ahead = true;
            let patience =
                self.settings.stuck_after.max(Duration::from_nanos((executor.average_ns * 4.0) as u64));
            if executor.recall == Recall::None
                && executor.usable()
                && now.since(executor.last_progress) >= patience
            {
                executor.stuck = true;
                executor.recall = Recall::Wanted(executor.ahead());
                if std::mem::take(&mut executor.waiting) {
                    out.push(Command::Wake(executor.id));
                }
            }
        }
        if ahead {
            self.plan_look(now);
        }
    }

    /// Finds work for an executor that idles: half of what the one with most waiting holds ahead. Walks the executors of its
    /// pool, where any holds tasks ahead.
    pub(super) fn steal(&mut self, now: Moment, idle: u32, out: &mut Vec<Command<J>>) {
        let it = &self.executors[idle as usize];
        let pool = &self.pools[it.pool];
        if it.free_slots() == 0 || pool.runnable > 0 || pool.ahead == 0 {
            return;
        }
        let (pool, free) = (it.pool, it.free_slots());
        let victim = self
            .executors
            .iter_mut()
            .map(|(_, executor)| executor)
            .filter(|other| other.pool == pool && other.ahead() > 0 && other.recall == Recall::None)
            .filter(|other| other.backlog().is_none_or(|backlog| backlog >= WORTH_MOVING))
            .max_by_key(|other| other.ahead());
        if let Some(victim) = victim {
            victim.recall = Recall::Wanted(victim.ahead().div_ceil(2).max(free.min(victim.ahead())));
            if std::mem::take(&mut victim.waiting) {
                out.push(Command::Wake(victim.id));
            }
        } else {
            self.plan_look(now);
        }
    }
}
