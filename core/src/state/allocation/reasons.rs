//! Why the wish isn't met (A6).

use std::time::Duration;

use super::reconciler::pause_until;
use super::{AllocationState, Phase};
use crate::clock::Moment;
use crate::error::ErrorKind;
use crate::ids::{Name, ProfileId};
use crate::manager::{LimitScope, Reason, Shortfall, Wanted};

/// A shortfall as this side knows it; the backend is asked for more.
#[derive(Debug)]
pub struct OpenShortfall {
    /// As in [`Shortfall`].
    pub profile: Option<ProfileId>,
    /// As in [`Shortfall`].
    pub wanted: u32,
    /// As in [`Shortfall`].
    pub live: u32,
    /// As in [`Shortfall`].
    pub since: Duration,
    /// What this side knows.
    pub reasons: Vec<Reason>,
    /// One that the manager has been asked for: why isn't it granted? `None` with a profile: it was asked for none.
    pub like: Option<Wanted>,
}

impl OpenShortfall {
    /// Whether the backend can say more.
    #[must_use]
    pub fn is_for_the_backend(&self) -> bool {
        self.profile.is_none() || self.like.is_some()
    }

    /// Adds the backend's reasons. `None` where nothing is short after all.
    #[must_use]
    pub fn close(mut self, more: Vec<Reason>) -> Option<Shortfall> {
        self.reasons.extend(more);
        if self.reasons.is_empty() {
            self.profile?; // the application itself doesn't wait
            self.reasons.push(Reason::Asked { ago: self.since });
        }
        let OpenShortfall { profile, wanted, live, since, reasons, .. } = self;
        Some(Shortfall { profile, wanted, live, since, reasons })
    }
}

impl AllocationState {
    /// One for each profile that falls short; where nothing was wished yet, one for the application itself (R1).
    #[must_use]
    pub fn shortfalls(&self, now: Moment) -> Vec<OpenShortfall> {
        if !matches!(self.phase, Phase::Open) {
            return Vec::new();
        }
        let mut open = Vec::new();
        for (id, want) in &self.target.profiles {
            let Some(profile) = self.profiles.get(id).filter(|profile| profile.granted < want.executors)
            else {
                continue;
            };
            let tally = self.roster.tally(*id);
            let like = tally.and_then(|tally| tally.waiting.first()).and_then(|id| self.roster.get(*id));
            open.push(OpenShortfall {
                profile: Some(*id),
                wanted: want.executors,
                live: profile.granted,
                since: profile.short_since.map(|since| now.since(since)).unwrap_or_default(),
                reasons: self.own_reasons(now, *id),
                like: like.map(|executor| executor.wanted.clone()),
            });
        }
        if open.is_empty() && self.roster.len() == 0 {
            let reasons = if self.reach.is_lost() { vec![Reason::ManagerUnreachable] } else { Vec::new() };
            open.push(OpenShortfall {
                profile: None,
                wanted: 0,
                live: 0,
                since: now.since(Moment::ZERO),
                reasons,
                like: None,
            });
        }
        open
    }

    fn own_reasons(&self, now: Moment, id: ProfileId) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let Some(profile) = self.profiles.get(&id) else { return reasons };
        if let Some(until) = pause_until(profile, now) {
            let brake = if profile.brake.until(now) == Some(until) { &profile.brake } else { &profile.pace };
            if let Some(last) = brake.last() {
                reasons.push(Reason::Braked { until: until.since(now), last: Box::new(last.clone()) });
            }
        }
        if self.reach.is_lost() {
            reasons.push(Reason::ManagerUnreachable);
        }
        if let Some(refusal) = self.calls.refusal() {
            reasons.extend(match refusal.kind() {
                ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => {
                    Some(Reason::Forbidden(refusal.to_string()))
                }
                kind => other(kind.words(), refusal.to_string()),
            });
        }
        let used = self.roster.len() + self.calls.strays_that_count();
        if used >= self.settings.max_executors as usize
            && let Ok(name) = Name::new("max_executors")
        {
            reasons.push(Reason::Limit {
                scope: LimitScope::Application,
                name,
                limit: self.settings.max_executors.into(),
                used: used as u64,
            });
        }
        if self.ledger.is_full() {
            let exits = self.ledger.unread_exits();
            reasons
                .extend(other("events unread", format!("{exits} exits wait to be read by the application")));
        }
        reasons
    }

    /// Keeps since when each profile has been short.
    pub(super) fn note_shortfalls(&mut self, now: Moment) {
        for (id, profile) in &mut self.profiles {
            let wanted = self.target.profiles.get(id).map_or(0, |want| want.executors);
            if profile.granted >= wanted {
                profile.short_since = None;
            } else {
                profile.short_since.get_or_insert(now);
            }
        }
    }
}

fn other(code: &str, text: String) -> Option<Reason> {
    Name::new(code).ok().map(|code| Reason::Other { code, text })
}
