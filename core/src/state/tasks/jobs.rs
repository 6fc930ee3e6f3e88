//! Jobs: they open, take tasks, pause, are cancelled, and go with the last of their tasks.

use super::table::{List, Place};
use super::{Arguments, Command, JobLimits, Loss, Scheduler};
use crate::clock::Moment;
use crate::ids::{JobId, TaskId};

#[derive(Debug)]
pub(super) struct Job<J> {
    serial: u32,
    pub(super) limits: JobLimits,
    pub(super) pool: usize,
    pub(super) data: J,
    pub(super) queue: List,
    /// Tasks that aren't over.
    pub(super) outstanding: usize,
    /// Of these, tasks that executors hold.
    pub(super) sent: usize,
    closed: bool,
    pub(super) paused: bool,
    pub(super) in_ring: bool,
}

impl<J: Clone> Scheduler<J> {
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
            sent: 0,
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
        self.enqueue(index);
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

    /// Ends all tasks of all jobs as cancelled.
    pub fn cancel_all(&mut self, now: Moment, out: &mut Vec<Command<J>>) {
        let jobs: Vec<JobId> =
            self.jobs.iter().map(|(index, job)| JobId(u64::from(job.serial) << 32 | index as u64)).collect();
        for job in jobs {
            self.cancel_job(now, job, out);
        }
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

    pub(super) fn job_index(&self, job: JobId) -> Option<u32> {
        let index = (job.0 & u64::from(u32::MAX)) as u32;
        let entry = self.jobs.get(index as usize)?;
        (u64::from(entry.serial) == job.0 >> 32).then_some(index)
    }

    /// How many of a job's tasks executors hold; 0 for a job that is over.
    #[must_use]
    pub fn sent_of(&self, job: JobId) -> usize {
        self.job_index(job).map_or(0, |index| self.jobs[index as usize].sent)
    }
}
