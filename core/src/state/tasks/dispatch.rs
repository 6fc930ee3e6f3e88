//! Handing out tasks: which ones an executor gets when its stream can take more.

use super::executor::Recall;
use super::table::Place;
use super::{Command, Dispatch, Scheduler};
use crate::clock::Moment;
use crate::ids::{ExecutorId, TaskId};

/// What goes to an executor besides tasks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// How many tasks were handed out.
    pub sent: usize,
    /// Attempts to cancel.
    pub cancels: Vec<(TaskId, u32)>,
    /// How many attempts to give back; 0: none.
    pub recall: u32,
}

impl Orders {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == 0 && self.cancels.is_empty() && self.recall == 0
    }
}

impl<J: Clone> Scheduler<J> {
    /// The next message for this executor: tasks go to `send`, the rest is the answer. Where the answer is empty, the
    /// executor is woken by [`Command::Wake`] when asking again is worth it.
    pub fn dispatch(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        out: &mut Vec<Command<J>>,
        send: &mut dyn FnMut(Dispatch<'_>),
    ) -> Orders {
        let mut orders = Orders::default();
        let Some(&index) = self.by_id.get(&executor) else { return orders };
        let it = &mut self.executors[index as usize];
        orders.cancels = std::mem::take(&mut it.cancels);
        if let Recall::Wanted(count) = it.recall {
            orders.recall = count;
            it.recall = Recall::Asked;
        }
        let before = self.before(index);
        let mut passed_over = 0;
        if self.executors[index as usize].usable() {
            if self.executors[index as usize].in_flight() == 0 {
                self.executors[index as usize].last_progress = now;
                self.executors[index as usize].careful = false;
            }
            if !self.suspects_turn(index, &mut orders, send) {
                passed_over = self.ordinary(index, &mut orders, send);
            }
        }
        self.account(index, before);
        if passed_over > 0 {
            // They failed here: another one takes them.
            let pool = self.executors[index as usize].pool;
            self.wake(pool, passed_over, out);
        }
        self.wake_for_suspects(self.executors[index as usize].pool, out);
        if orders.is_empty() {
            self.wait(index);
            self.steal(now, index, out);
        } else if self.pools[self.executors[index as usize].pool].ahead > 0 {
            self.plan_look(now);
        }
        orders
    }

    /// Whether this executor is kept for suspects just now; runs some where it is empty.
    ///
    /// A task that was in flight when an executor died of the application's doing may be what did it. Of a crowd nobody can
    /// say which: so the crowd is lost without blame and runs again with nothing ahead of the slots; what dies then is
    /// blamed, and from then on runs alone. So a poisonous task fails by itself, and its neighbours don't.
    fn suspects_turn(&mut self, index: u32, orders: &mut Orders, send: &mut dyn FnMut(Dispatch<'_>)) -> bool {
        let it = &self.executors[index as usize];
        let pool = &mut self.pools[it.pool];
        if it.careful {
            return true;
        }
        let Some(first) = pool.suspects.front() else {
            if pool.held == Some(index) {
                pool.held = None;
            }
            return false;
        };
        let elsewhere = self.tasks[first].avoid == Some(it.id) && pool.usable > 1;
        if elsewhere && pool.held == Some(index) {
            pool.held = None;
        }
        if elsewhere || pool.held.is_some_and(|held| held != index) {
            return false;
        }
        pool.held = Some(index);
        if it.in_flight() > 0 {
            return true;
        }
        let (alone, slots, pool) = (self.tasks[first].suspicion > 1, it.slots as usize, it.pool);
        let most = if alone { 1 } else { slots };
        while orders.sent < most {
            let Some(task) = self.pools[pool].suspects.front() else { break };
            if !alone && self.tasks[task].suspicion > 1 {
                break;
            }
            self.dequeue(task);
            self.send_one(index, task, send);
            orders.sent += 1;
        }
        self.executors[index as usize].careful = true;
        true
    }

    /// Answers how many tasks it passed over because they failed on this executor.
    fn ordinary(&mut self, index: u32, orders: &mut Orders, send: &mut dyn FnMut(Dispatch<'_>)) -> usize {
        let credits = self.settings.credits.clone();
        let it = &self.executors[index as usize];
        let pool_index = it.pool;
        let pool = &self.pools[pool_index];
        if pool.runnable == 0 || !it.wants(&credits) {
            return 0;
        }
        // Free slots first, here and elsewhere; only what is left then is sent ahead, and each executor takes its share.
        let free_here = it.free_slots() as usize;
        let for_slots = free_here.min(pool.runnable);
        let elsewhere = (pool.free_slots as usize).saturating_sub(free_here);
        let rest = (pool.runnable - for_slots).saturating_sub(elsewhere);
        let ahead = rest.div_ceil(pool.usable.max(1) as usize).min(it.room(&credits) as usize - for_slots);
        let most = for_slots + ahead;
        let mut message_bytes = 0;

        let mut next = self.pools[pool_index].again.front();
        let alone = self.pools[pool_index].usable <= 1;
        let mut looked = 0;
        let mut passed_over = 0;
        while let Some(task) = next
            && orders.sent < most
            && looked < 256
        {
            next = self.tasks.next(task);
            looked += 1;
            if self.exceeds(index, task) || message_bytes >= self.settings.message_bytes {
                break;
            }
            if alone || self.tasks[task].avoid != Some(self.executors[index as usize].id) {
                self.dequeue(task);
                message_bytes += self.send_one(index, task, send);
                orders.sent += 1;
            } else {
                passed_over += 1;
            }
        }

        while orders.sent < most && message_bytes < self.settings.message_bytes {
            let Some(&job_index) = self.pools[pool_index].ring.front() else { break };
            let job = &mut self.jobs[job_index as usize];
            let Some(task) = job.queue.front().filter(|_| !job.paused) else {
                job.in_ring = false;
                self.pools[pool_index].ring.pop_front();
                continue;
            };
            if self.exceeds(index, task) {
                break;
            }
            self.dequeue(task);
            message_bytes += self.send_one(index, task, send);
            orders.sent += 1;
            let ring = &mut self.pools[pool_index].ring;
            if ring.len() > 1 {
                ring.rotate_left(1);
            }
        }
        passed_over
    }

    /// Whether this task's argument is more than the executor may hold besides what it runs.
    fn exceeds(&self, executor: u32, task: u32) -> bool {
        let (it, arguments) = (&self.executors[executor as usize], &self.tasks[task].arguments);
        let credits = &self.settings.credits;
        it.in_flight() >= it.slots
            && (it.sent_bytes + arguments.inline_bytes() > credits.bytes
                || it.sent_blob_bytes + arguments.blob_bytes() > credits.blob_bytes)
    }

    fn send_one(&mut self, executor: u32, index: u32, send: &mut dyn FnMut(Dispatch<'_>)) -> u64 {
        let id = self.tasks.id(index);
        let it = &mut self.executors[executor as usize];
        self.tasks.push_back(&mut it.sent, index);
        let task = &mut self.tasks[index];
        task.place = Place::Sent(executor);
        task.attempt += 1;
        let bytes = task.arguments.inline_bytes();
        it.sent_bytes += bytes;
        it.sent_blob_bytes += task.arguments.blob_bytes();
        self.jobs[task.job as usize].sent += 1;
        send(Dispatch {
            task: id,
            attempt: task.attempt,
            function: task.function,
            arguments: &task.arguments,
            time_limit: self.jobs[task.job as usize].limits.time_limit,
        });
        bytes
    }
}
