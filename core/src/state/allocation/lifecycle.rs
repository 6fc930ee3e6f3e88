//! The end of the application: unregistered, or ended by somebody else.

use std::time::Duration;

use super::executor::{Leaving, Role, Stop};
use super::{AllocationCommand, AllocationState, Calls};
use crate::clock::Moment;
use crate::error::Result;
use crate::manager::Blame;
use crate::manager::{EndedBy, Exit, ExitCause, Outcome, What};

/// Where the life of the application stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Wishes are followed.
    Open,
    /// It is being unregistered.
    Closing {
        outcome: Outcome,
        /// A `close` runs.
        running: bool,
        /// After a `close` that failed: when the lease has ended the rest (T1).
        over_at: Option<Moment>,
    },
    /// The stream has ended.
    Over {
        /// A `close` runs.
        running: bool,
    },
}

impl AllocationState {
    /// Begins the end, or tries it again (T1). Wishes end here: what waits is dropped, what lives is being ended.
    pub(super) fn unregister(
        &mut self,
        now: Moment,
        outcome: Outcome,
        deadline: Duration,
        out: &mut Vec<AllocationCommand>,
    ) {
        match &mut self.phase {
            Phase::Open => {
                self.phase = Phase::Closing { outcome: outcome.clone(), running: true, over_at: None };
                self.stop_calling();
                for id in self.roster.ids() {
                    if self.roster.get(id).is_some_and(|executor| executor.role() == Role::Waiting) {
                        self.roster.remove(&self.settings, id);
                        continue;
                    }
                    let why = Exit::new(ExitCause::Unregistered, "");
                    self.let_go(id, Leaving { stop_at: now, why, asked: true });
                    self.roster.update(&self.settings, id, |executor| {
                        // `close` is its stop
                        executor.stop = Stop::InFlight { attempts: 1 };
                        if let Some(leaving) = &mut executor.leaving {
                            leaving.stop_at = leaving.stop_at.min(now);
                        }
                    });
                }
            }
            Phase::Closing { running, .. } | Phase::Over { running } if *running => return,
            Phase::Closing { outcome: last, running, .. } => {
                *last = outcome.clone();
                *running = true;
            }
            Phase::Over { running } => *running = true,
        }
        self.closes_begun += 1;
        out.push(AllocationCommand::Close { outcome, deadline });
    }

    pub(super) fn close_answered(&mut self, now: Moment, answer: Result<()>) {
        match (&mut self.phase, answer) {
            (Phase::Closing { outcome, .. }, Ok(())) => {
                let outcome = outcome.clone();
                self.end(now, outcome, EndedBy::Application, false);
            }
            (Phase::Closing { running, over_at, .. }, Err(_)) => {
                *running = false;
                over_at.get_or_insert(now + self.settings.lease);
            }
            (Phase::Over { running }, _) => *running = false,
            (Phase::Open, _) => tracing::error!("an answer to a close that wasn't asked for"),
        }
    }

    pub(super) fn pass_lifecycle_deadline(&mut self, now: Moment) {
        if let Phase::Closing { outcome, running: false, over_at: Some(at) } = &self.phase
            && *at <= now
        {
            let outcome = outcome.clone();
            self.end(now, outcome, EndedBy::Lease, false);
        }
    }

    /// Somebody else ended the application: the stream says so last, after every exit (R6).
    pub(super) fn ended_by_others(&mut self, now: Moment, outcome: Outcome, by: EndedBy) {
        match &self.phase {
            // the manager's echo of our own close, whose answer is still to come
            Phase::Closing { outcome, running, .. } => {
                let (outcome, running) = (outcome.clone(), *running);
                self.end(now, outcome, EndedBy::Application, running);
            }
            Phase::Open => self.end(now, outcome, by, false),
            Phase::Over { .. } => {}
        }
    }

    fn end(&mut self, now: Moment, outcome: Outcome, by: EndedBy, running: bool) {
        let why = match &by {
            EndedBy::Application => Exit::new(ExitCause::Unregistered, ""),
            EndedBy::Lease if matches!(self.phase, Phase::Open) => Exit::new(ExitCause::LeaseExpired, ""),
            EndedBy::Lease => {
                Exit::new(ExitCause::Unregistered, "no manager confirmed it; its lease ended it")
            }
            EndedBy::Operator(who) => {
                Exit::new(ExitCause::KilledByOperator, format!("{who} ended the application"))
            }
            EndedBy::Manager(words) => Exit {
                blame: Blame::Infrastructure,
                ..Exit::new(ExitCause::Unknown, format!("the manager ended the application: {words}"))
            },
        };
        self.phase = Phase::Over { running };
        self.stop_calling();
        self.close_accounts(now, &why);
        self.ledger.write(now, What::Ended { outcome, by });
    }

    /// All running calls are dropped: their answers will not come.
    fn stop_calling(&mut self) {
        self.calls = Calls::default();
        self.census.stop();
        self.held_until = None;
    }
}
