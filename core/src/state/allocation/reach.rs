//! Whether the manager is in reach (F4).

use std::time::Duration;

use super::AllocationState;
use super::ledger::change_of;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::ids::ExecutorId;
use crate::manager::What;

/// What is known of the manager's reach.
#[derive(Debug, Default)]
pub(super) struct Reach {
    outage: Option<Outage>,
    /// Whether the last event that told of it said that it is out of reach.
    told: bool,
    last_outage: Duration,
}

#[derive(Debug)]
struct Outage {
    since: Moment,
    error: Error,
    /// The backend said so by itself; then only it says when it is over, for it may answer calls out of its memory.
    by_backend: bool,
}

impl Reach {
    pub(super) fn is_lost(&self) -> bool {
        self.outage.is_some()
    }

    /// Whether calls showed the outage, so that only a call can show its end.
    pub(super) fn was_lost_by_a_call(&self) -> bool {
        self.outage.as_ref().is_some_and(|outage| !outage.by_backend)
    }
}

impl AllocationState {
    /// A call failed. Gives the error back where the manager was in reach and refused.
    pub(super) fn call_failed(&mut self, now: Moment, error: Error) -> Option<Error> {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded | ErrorKind::Cancelled => {
                self.manager_lost(now, error, false);
                None
            }
            _ => Some(error),
        }
    }

    pub(super) fn call_succeeded(&mut self, now: Moment) {
        self.manager_found(now, false);
    }

    pub(super) fn manager_lost(&mut self, now: Moment, error: Error, by_backend: bool) {
        match &mut self.reach.outage {
            Some(outage) => outage.by_backend |= by_backend,
            None => self.reach.outage = Some(Outage { since: now, error, by_backend }),
        }
        self.tell_reach(now);
    }

    /// The manager is back: every pause ends, and what it may have forgotten is said again.
    pub(super) fn manager_found(&mut self, now: Moment, by_backend: bool) {
        let Some(outage) = self.reach.outage.take_if(|outage| by_backend || !outage.by_backend) else {
            return;
        };
        self.reach.last_outage = now.since(outage.since);
        self.calls.resume();
        self.census.look_soon(now);
        let waiting: Vec<ExecutorId> =
            self.roster.tallies().flat_map(|(_, tally)| tally.waiting.iter().copied()).collect();
        for id in waiting {
            if self.roster.get(id).is_some_and(|executor| executor.taken) {
                self.calls.want_start(id);
            }
        }
        self.tell_reach(now);
    }

    fn tell_reach(&mut self, now: Moment) {
        if self.reach.told == self.reach.is_lost() || !self.ledger.takes_change(None) {
            return;
        }
        let what = match &self.reach.outage {
            Some(outage) => What::ManagerUnreachable { error: outage.error.clone() },
            None => What::ManagerRecovered { outage: self.reach.last_outage },
        };
        self.reach.told = self.reach.is_lost();
        self.ledger.write(now, what);
    }

    /// Tells whether the manager sees an executor, where that isn't told yet.
    pub(super) fn tell_executor_reach(&mut self, now: Moment, id: ExecutorId) {
        let Some(executor) = self.roster.get(id) else { return };
        let yes = executor.reachable;
        if executor.granted_at.is_none()
            || executor.told_reachable == yes
            || !self.ledger.takes_change(Some(id))
        {
            return;
        }
        self.roster.update(&self.settings, id, |executor| executor.told_reachable = yes);
        let what = if yes { What::Reachable { executor: id } } else { What::Unreachable { executor: id } };
        self.ledger.write(now, what);
    }

    /// After an event was read: tells the last state of what had collapsed behind it.
    pub(super) fn tell_what_collapsed(&mut self, now: Moment, read: &What) {
        match (change_of(read), read) {
            (Some(Some(executor)), _) => self.tell_executor_reach(now, executor),
            (Some(None), _) => self.tell_reach(now),
            (None, What::Draining { executors, .. }) => self.tell_drains(now, executors.clone()),
            (None, _) => {}
        }
    }
}
