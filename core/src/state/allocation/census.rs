//! Comparing with the manager's list: strangers are ended, and what two lists in a row lack has exited.

use std::collections::BTreeSet;
use std::time::Duration;

use super::calls::pause_after;
use super::executor::Role;
use super::{AllocationCommand, AllocationState};
use crate::clock::Moment;
use crate::error::Result;
use crate::ids::ExecutorId;
use crate::manager::{Exit, ExitCause};

/// How often a manager that must be asked is asked.
const LIST_INTERVAL: Duration = Duration::from_secs(5);
/// How soon it is asked again about what a list lacked.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Where the asking for lists stands.
#[derive(Debug, Default)]
pub(super) struct Census {
    /// The backend pushes it all: it isn't asked again.
    pushes: bool,
    /// What was known when the running `list` was made: only that can be missed.
    running: Option<Known>,
    next_at: Option<Moment>,
    failures: u32,
}

#[derive(Debug, Default)]
struct Known {
    executors: BTreeSet<ExecutorId>,
    /// Some of these weren't known to the manager for sure.
    others: BTreeSet<ExecutorId>,
}

impl Census {
    pub(super) fn look_soon(&mut self, now: Moment) {
        self.next_at = self.next_at.map(|at| at.min(now + SECOND_LOOK));
    }

    pub(super) fn stop(&mut self) {
        *self = Census { pushes: true, ..Census::default() };
    }
}

impl AllocationState {
    /// Whether there is anything that a list could tell.
    fn list_is_of_use(&self) -> bool {
        !self.census.pushes
            && (self.roster.len() > 0 || self.calls.has_strays() || self.reach.was_lost_by_a_call())
    }

    pub(super) fn census_due(&self) -> Option<Moment> {
        self.census.next_at.filter(|_| self.census.running.is_none())
    }

    pub(super) fn take_census(&mut self, now: Moment, out: &mut Vec<AllocationCommand>) {
        if self.census.running.is_some() {
            return;
        }
        if !self.list_is_of_use() {
            self.census.next_at = None;
            return;
        }
        if *self.census.next_at.get_or_insert(now + LIST_INTERVAL) > now {
            return;
        }
        let mut known = Known::default();
        for (id, executor) in self.roster.iter() {
            let sure = executor.taken || executor.granted_at.is_some();
            if sure {
                known.executors.insert(id)
            } else {
                known.others.insert(id)
            };
        }
        self.census.running = Some(known);
        self.census.next_at = None;
        out.push(AllocationCommand::List);
    }

    pub(super) fn listed(
        &mut self,
        now: Moment,
        answer: Result<Option<Vec<ExecutorId>>>,
        out: &mut Vec<AllocationCommand>,
    ) {
        let Some(known) = self.census.running.take() else { return };
        let mut next = LIST_INTERVAL;
        match answer {
            Ok(None) => self.census.pushes = true,
            Ok(Some(list)) => {
                self.census.failures = 0;
                self.call_succeeded(now);
                if self.compare(now, &known, &list.into_iter().collect(), out) {
                    next = SECOND_LOOK;
                }
            }
            Err(error) => {
                self.census.failures += 1;
                next = pause_after(self.census.failures, self.settings.lease, &mut self.jitter);
                if let Some(refusal) = self.call_failed(now, error) {
                    tracing::warn!(error = %refusal, "the manager refused to list executors; trying again");
                    next = LIST_INTERVAL;
                }
            }
        }
        self.census.next_at = (!self.census.pushes).then_some(now + next);
    }

    /// Answers whether a second look is needed.
    fn compare(
        &mut self,
        now: Moment,
        known: &Known,
        list: &BTreeSet<ExecutorId>,
        out: &mut Vec<AllocationCommand>,
    ) -> bool {
        let mut again = false;
        for id in list {
            // what has exited since the list was asked for may still be in it
            let was_known = known.executors.contains(id) || known.others.contains(id);
            if !self.roster.contains(*id) && !was_known {
                self.stop_stranger(*id);
            }
        }
        for id in &known.executors {
            let missing = !list.contains(id);
            let Some((role, twice)) = self.roster.update(&self.settings, *id, |executor| {
                let twice = missing && executor.missed;
                executor.missed = missing;
                (executor.role(), twice)
            }) else {
                continue;
            };
            again |= missing && !twice;
            if twice {
                let exit = Exit::new(ExitCause::Unknown, "the manager's list lacked it twice in a row");
                if role == Role::Waiting {
                    tracing::warn!(executor = %id, "the manager has forgotten a wish: wanting anew");
                    self.count_unjoined(now, *id, &exit);
                    self.withdraw(*id);
                } else {
                    self.reported(now, *id, exit, out);
                }
            }
        }
        again
    }
}
