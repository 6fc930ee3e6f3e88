//! What the driver's event stream is told of jobs, and how often: a job's first and last word always, and between them one in
//! a tenth of a second at the most, however many tasks it has. So a million tasks cost their listeners nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::plane::Tasks;
use super::sink::Sink;
use crate::clock::{self, Moment};
use crate::driver::{DriverEvent, JobProgress};

/// Between two words on one job.
const INTERVAL: Duration = Duration::from_millis(100);
/// Jobs that are told of at one time; more wait for the next.
const MOST_AT_ONCE: usize = 64;
/// Single tasks that are told of, a second.
const SINGLES_PER_SECOND: u32 = 1000;
/// Failed attempts that are told of, a second.
const FAILURES_PER_SECOND: u32 = 100;

/// One job's part.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// It is told of at all.
    on: AtomicBool,
    /// It stands among those that changed.
    changed: AtomicBool,
    /// The last word was said. Held while one is said, so that none follows the last.
    last_said: Mutex<bool>,
}

/// What all jobs of a driver share.
#[derive(Debug, Default)]
pub(super) struct Teller(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    changed: Vec<Weak<Sink>>,
    next: Option<Moment>,
    singles: Allowance,
    failures: Allowance,
}

/// So many in each second.
#[derive(Debug, Default)]
struct Allowance {
    second: Moment,
    used: u32,
}

impl Allowance {
    fn take(&mut self, now: Moment, most: u32) -> bool {
        if now.since(self.second) >= Duration::from_secs(1) {
            *self = Allowance { second: now, used: 0 };
        }
        self.used += u32::from(self.used <= most);
        self.used <= most
    }
}

impl Teller {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more failed attempt may be told of.
    pub(super) fn tells_failure(&self, now: Moment) -> bool {
        self.inside().failures.take(now, FAILURES_PER_SECOND)
    }
}

impl Tasks {
    /// How a job stands.
    pub(super) fn progress_of(&self, sink: &Sink) -> JobProgress {
        let job = sink.id();
        let running = self.core().scheduler.sent_of(job) as u64;
        let (state, tasks) = sink.counts(running);
        JobProgress { job, name: sink.name.clone(), state, tasks, reports: sink.reports() }
    }

    /// A job begins; `single`: it is one task.
    pub(super) fn began(&self, sink: &Arc<Sink>, single: bool) {
        if !single || self.teller.inside().singles.take(clock::now(), SINGLES_PER_SECOND) {
            sink.telling.on.store(true, Ordering::Relaxed);
            self.say(sink);
        }
    }

    /// Something of a job changed.
    pub(super) fn went_on(&self, sink: &Arc<Sink>) {
        if !sink.telling.on.load(Ordering::Relaxed) {
            return;
        }
        if sink.has_ended() {
            self.say(sink);
        } else if !sink.telling.changed.swap(true, Ordering::Relaxed) {
            let next = {
                let mut inside = self.teller.inside();
                inside.changed.push(Arc::downgrade(sink));
                *inside.next.get_or_insert_with(|| clock::now() + INTERVAL)
            };
            self.at_latest(next);
        }
    }

    /// Tells of jobs that changed, where it is time.
    pub(super) fn tell_changes(&self, now: Moment) {
        let (jobs, next) = {
            let mut inside = self.teller.inside();
            if inside.next.is_none_or(|next| next > now) {
                let next = inside.next;
                drop(inside);
                next.into_iter().for_each(|next| self.at_latest(next));
                return;
            }
            let count = inside.changed.len().min(MOST_AT_ONCE);
            let jobs: Vec<_> = inside.changed.drain(..count).collect();
            // Not before the next interval, so that a job that changes at once waits its time, too.
            inside.next = (!inside.changed.is_empty()).then(|| now + INTERVAL);
            (jobs, inside.next)
        };
        next.into_iter().for_each(|next| self.at_latest(next));
        for sink in jobs.iter().filter_map(Weak::upgrade) {
            sink.telling.changed.store(false, Ordering::Relaxed);
            self.say(&sink);
        }
    }

    fn say(&self, sink: &Sink) {
        let mut last_said = sink.telling.last_said.lock().unwrap_or_else(PoisonError::into_inner);
        if !*last_said {
            let progress = self.progress_of(sink);
            *last_said = progress.state != crate::driver::JobState::Running;
            self.tell(DriverEvent::Job(progress));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_for_each_second_anew() {
        let mut allowance = Allowance::default();
        let mut taken =
            |at: Duration, times: u32| (0..times).filter(|_| allowance.take(Moment::ZERO + at, 3)).count();
        assert_eq!(taken(Duration::from_secs(5), 2), 2);
        assert_eq!(taken(Duration::from_millis(5500), 1_000), 1);
        assert_eq!(taken(Duration::from_millis(6001), 1_000), 3);
    }
}
