//! The calls to the manager: what is to be named in which, how many run, and when one that failed is made again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::executor::{Role, Stop};
use super::jitter::Jitter;
use super::{AllocationCommand, AllocationState};
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::ids::ExecutorId;

/// So many executors are named in one call at the most.
const MOST_NAMED: usize = 128;
/// So many calls of one kind run at once. What is wished meanwhile waits, so that a burst of wishes makes few calls.
const MOST_RUNNING: u32 = 4;
/// The first pause after a call that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause after a call that failed; never more than a third of the lease, so that an outage shorter than the
/// lease costs nothing (F4).
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An executor whose stop was answered but whose exit didn't come is stopped again after this, and then ever less often.
const STOP_AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(15));

/// One kind of call.
#[derive(Debug, Default)]
struct Lane {
    /// To be named in the next call.
    ready: BTreeSet<ExecutorId>,
    /// Named in calls that run.
    named: BTreeSet<ExecutorId>,
    running: u32,
    /// Calls that failed in a row.
    failures: u32,
    not_before: Moment,
}

impl Lane {
    /// After a failure only one call feels the way.
    fn may_call(&self, now: Moment) -> bool {
        let most = if self.failures > 0 { 1 } else { MOST_RUNNING };
        !self.ready.is_empty() && self.running < most && self.not_before <= now
    }

    /// Takes up to [`MOST_NAMED`] that no running call names, of this or (`busy`) of the other kind.
    fn next(&mut self, busy: &BTreeSet<ExecutorId>) -> Vec<ExecutorId> {
        let free = self.ready.iter().filter(|id| !busy.contains(id) && !self.named.contains(id));
        let batch: Vec<_> = free.take(MOST_NAMED).copied().collect();
        for id in &batch {
            self.ready.remove(id);
            self.named.insert(*id);
        }
        self.running += u32::from(!batch.is_empty());
        batch
    }

    fn answered(&mut self, named: &[ExecutorId]) {
        self.running = self.running.saturating_sub(1);
        for id in named {
            self.named.remove(id);
        }
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = Moment::ZERO;
    }

    fn failed(&mut self, now: Moment, lease: Duration, jitter: &mut Jitter) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause_after(self.failures, lease, jitter);
    }

    fn wake(&self) -> Option<Moment> {
        (self.failures > 0 && self.running == 0 && !self.ready.is_empty()).then_some(self.not_before)
    }
}

/// The pause after so many failures in a row.
pub(super) fn pause_after(failures: u32, lease: Duration, jitter: &mut Jitter) -> Duration {
    jitter.pause(failures, FIRST_PAUSE, LONGEST_PAUSE.min(lease / 3).max(FIRST_PAUSE))
}

/// All calls, and the executors that nobody wants but the manager may have.
#[derive(Debug, Default)]
pub(super) struct Calls {
    start: Lane,
    stop: Lane,
    /// To be stopped though the roster doesn't know them; whether each counts for the hard maximum.
    strays: BTreeMap<ExecutorId, bool>,
    /// Why the manager took no wish, though it was in reach.
    refusal: Option<Error>,
    /// When a call that waits out a pause is to be made.
    wake: Option<Moment>,
}

impl Calls {
    pub(super) fn want_start(&mut self, id: ExecutorId) {
        self.start.ready.insert(id);
    }

    pub(super) fn forget_start(&mut self, id: ExecutorId) {
        self.start.ready.remove(&id);
    }

    pub(super) fn want_stop(&mut self, id: ExecutorId) {
        self.stop.ready.insert(id);
    }

    /// Nothing is to be called for this one any more.
    pub(super) fn forget(&mut self, id: ExecutorId) {
        self.start.ready.remove(&id);
        self.stop.ready.remove(&id);
    }

    pub(super) fn stop_stray(&mut self, id: ExecutorId, counts: bool) {
        let known = self.strays.entry(id).or_insert(counts);
        *known |= counts;
        self.stop.ready.insert(id);
    }

    pub(super) fn is_stray(&self, id: ExecutorId) -> bool {
        self.strays.contains_key(&id)
    }

    /// Answers whether there was one.
    pub(super) fn forget_stray(&mut self, id: ExecutorId) -> bool {
        if self.strays.remove(&id).is_none() {
            return false;
        }
        self.stop.ready.remove(&id);
        true
    }

    pub(super) fn strays_that_count(&self) -> usize {
        self.strays.values().filter(|counts| **counts).count()
    }

    pub(super) fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    pub(super) fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// The manager is back: pauses end.
    pub(super) fn resume(&mut self) {
        self.start.succeeded();
        self.stop.succeeded();
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.wake
    }
}

impl AllocationState {
    /// Makes the calls that are due.
    pub(super) fn make_calls(&mut self, now: Moment, out: &mut Vec<AllocationCommand>) {
        while self.calls.start.may_call(now) {
            let batch = self.calls.start.next(&self.calls.stop.named);
            if batch.is_empty() {
                break; // each is named in a call that runs; its answer brings us back
            }
            let wanted: Vec<_> = batch
                .iter()
                .filter_map(|id| {
                    self.roster.update(&self.settings, *id, |executor| {
                        executor.tried = true;
                        executor.wanted.clone()
                    })
                })
                .collect();
            out.push(AllocationCommand::Start(wanted));
        }
        while self.calls.stop.may_call(now) {
            let batch = self.calls.stop.next(&self.calls.start.named);
            if batch.is_empty() {
                break;
            }
            for id in &batch {
                self.roster.update(&self.settings, *id, |executor| {
                    if let Stop::Due { attempts } = executor.stop {
                        executor.stop = Stop::InFlight { attempts: attempts + 1 };
                    }
                });
            }
            out.push(AllocationCommand::Stop(batch));
        }
        self.take_census(now, out);
        let wakes = [&self.calls.start, &self.calls.stop].map(Lane::wake);
        self.calls.wake = wakes.into_iter().flatten().filter(|at| *at > now).min();
    }

    pub(super) fn start_answered(&mut self, now: Moment, named: Vec<ExecutorId>, answer: Result<()>) {
        self.calls.start.answered(&named);
        match answer {
            Ok(()) => {
                self.calls.start.succeeded();
                self.calls.refusal = None;
                for id in named {
                    self.roster.update(&self.settings, id, |executor| executor.taken = true);
                }
                self.call_succeeded(now);
            }
            Err(error) => {
                self.calls.start.failed(now, self.settings.lease, &mut self.jitter);
                for id in named {
                    // some of them may have reached the manager: a start is idempotent, so all go again
                    if self.roster.get(id).is_some_and(|executor| executor.role() == Role::Waiting) {
                        self.calls.want_start(id);
                    }
                }
                self.calls.refusal = self.call_failed(now, error);
            }
        }
    }

    pub(super) fn stop_answered(&mut self, now: Moment, named: Vec<ExecutorId>, answer: Result<()>) {
        self.calls.stop.answered(&named);
        match answer {
            Ok(()) => {
                self.calls.stop.succeeded();
                for id in named {
                    if !self.calls.stop.ready.contains(&id) && self.calls.forget_stray(id) {
                        self.unsettled = true;
                    }
                    let jitter = &mut self.jitter;
                    self.roster.update(&self.settings, id, |executor| {
                        if let Stop::InFlight { attempts } = executor.stop {
                            let again_at = now + jitter.pause(attempts, STOP_AGAIN.0, STOP_AGAIN.1);
                            executor.stop = Stop::Sent { attempts, again_at };
                        }
                    });
                }
                self.call_succeeded(now);
            }
            Err(error) => {
                self.calls.stop.failed(now, self.settings.lease, &mut self.jitter);
                for id in named {
                    let again = self
                        .roster
                        .update(&self.settings, id, |executor| {
                            if let Stop::InFlight { attempts } = executor.stop {
                                executor.stop = Stop::Due { attempts };
                            }
                        })
                        .is_some();
                    if again || self.calls.is_stray(id) {
                        self.calls.want_stop(id);
                    }
                }
                if let Some(refusal) = self.call_failed(now, error) {
                    tracing::warn!(error = %refusal, "the manager refused to stop executors; trying again");
                }
            }
        }
    }

    /// Ends what nobody wants (F8): no event, and it counts nowhere but for the hard maximum.
    pub(super) fn stop_stranger(&mut self, id: ExecutorId) {
        if matches!(self.phase, super::Phase::Open) && !self.calls.is_stray(id) {
            tracing::debug!(executor = %id, "nobody wants this executor: stopping it");
            self.calls.stop_stray(id, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_failed_feels_the_way_with_one_call() {
        let (mut lane, mut jitter) = (Lane::default(), Jitter::new(3));
        lane.ready.extend((0..1000).map(ExecutorId));
        let none = BTreeSet::new();
        let mut calls = 0;
        while lane.may_call(Moment::ZERO) {
            assert_eq!(lane.next(&none).len(), MOST_NAMED);
            calls += 1;
        }
        assert_eq!(calls, MOST_RUNNING);
        lane.failed(Moment::ZERO, Duration::from_secs(30), &mut jitter);
        lane.running = 1;
        assert!(!lane.may_call(Moment::ZERO + Duration::from_secs(60)));
        lane.running = 0;
        assert!(!lane.may_call(Moment::ZERO), "not before the pause is over");
        assert!(lane.may_call(Moment::ZERO + Duration::from_secs(1)));
    }
}
