use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::AllocationSettings;
use crate::clock::Moment;
use crate::ids::Name;
use crate::manager::{Exit, Page, Wanted};

/// One executor from the wish until its exit is told.
#[derive(Debug)]
pub(super) struct Executor {
    pub(super) wanted: Wanted,
    /// A `start` that named it was sent: the manager may know it.
    pub(super) tried: bool,
    /// A `start` that named it was answered, so that the manager does know it.
    pub(super) taken: bool,
    pub(super) granted_at: Option<Moment>,
    /// When the clock of its launch began; it begins anew while its manager can't be heard.
    pub(super) launch_clock: Option<Moment>,
    pub(super) host: Option<Name>,
    pub(super) launched_at: Option<Moment>,
    /// News of the launch that came before the grant's.
    pub(super) launch_to_tell: Option<Vec<Page>>,
    pub(super) launched_told: bool,
    pub(super) joined_at: Option<Moment>,
    pub(super) healthy: bool,
    /// Its connection to the driver is gone: no account will come.
    pub(super) hung_up: bool,
    pub(super) reachable: bool,
    pub(super) told_reachable: bool,
    /// The manager's last notice that it will go (L7) …
    pub(super) drain: Option<Notice>,
    /// … and the last that was told.
    pub(super) told_drain: Option<Notice>,
    pub(super) leaving: Option<Leaving>,
    pub(super) stop: Stop,
    pub(super) reported: Option<Exit>,
    pub(super) account: Option<Exit>,
    /// How long the other witness, or the log's tail, is waited for.
    pub(super) wait_until: Option<Moment>,
    pub(super) tail: Tail,
    /// The last list lacked it.
    pub(super) missed: bool,
}

/// Why and when an executor is to end.
#[derive(Debug, Clone)]
pub(super) struct Leaving {
    /// Nothing is ended before, everything then (A8).
    pub(super) stop_at: Moment,
    /// Told where nothing else explains the exit.
    pub(super) why: Exit,
    /// Its application asked for it: it counts against nobody.
    pub(super) asked: bool,
}

/// A manager's notice that an executor will go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) until: Option<SystemTime>,
    pub(super) why: String,
}

/// Where the stopping of an executor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Not,
    /// To be sent.
    Due {
        attempts: u32,
    },
    InFlight {
        attempts: u32,
    },
    /// Answered; asked again then if no exit has come.
    Sent {
        attempts: u32,
        again_at: Moment,
    },
}

/// The tail of an executor's log, for exits that only it explains (L3, L6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    NotAsked,
    Asked,
    Read(Bytes),
}

/// How an executor counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Wanted, and nothing of it seen yet: it can be withdrawn.
    Waiting,
    /// Counts for the target.
    Live,
    /// Counts for the hard maximum only (A12).
    Leaving,
}

impl Executor {
    pub(super) fn new(wanted: Wanted) -> Executor {
        Executor {
            wanted,
            tried: false,
            taken: false,
            granted_at: None,
            launch_clock: None,
            host: None,
            launched_at: None,
            launch_to_tell: None,
            launched_told: false,
            joined_at: None,
            healthy: false,
            hung_up: false,
            reachable: true,
            told_reachable: true,
            drain: None,
            told_drain: None,
            leaving: None,
            stop: Stop::Not,
            reported: None,
            account: None,
            wait_until: None,
            tail: Tail::NotAsked,
            missed: false,
        }
    }

    pub(super) fn role(&self) -> Role {
        if self.leaving.is_some() {
            Role::Leaving
        } else if self.granted_at.is_some() || self.launched_at.is_some() || self.joined_at.is_some() {
            Role::Live // a join or a launch may overtake the grant's news (L1)
        } else {
            Role::Waiting
        }
    }

    /// Whether an account of its supervisor may still come.
    pub(super) fn may_account(&self) -> bool {
        self.joined_at.is_some() && !self.hung_up && self.account.is_none()
    }

    pub(super) fn stop_sent(&self) -> bool {
        !matches!(self.stop, Stop::Not | Stop::Due { attempts: 0 })
    }

    /// The last moment of its exit (A7): its driver has hung up, so it has ended itself.
    pub(super) fn gone_at(&self, lease: Duration) -> Option<Moment> {
        self.leaving.as_ref().map(|leaving| leaving.stop_at + lease)
    }

    /// From when on it should have been launched (L3).
    pub(super) fn launch_due(&self, settings: &AllocationSettings) -> Option<Moment> {
        let waits = self.launched_at.is_none() && self.joined_at.is_none() && self.leaving.is_none();
        self.launch_clock.filter(|_| waits).map(|at| at + settings.policy.launch_deadline)
    }

    /// From when on it should have joined (L6).
    pub(super) fn join_due(&self, settings: &AllocationSettings) -> Option<Moment> {
        let waits = self.joined_at.is_none() && self.leaving.is_none();
        self.launched_at.filter(|_| waits).map(|at| at + settings.policy.join_deadline)
    }

    /// From when on it counts as healthy (L5).
    pub(super) fn health_due(&self, settings: &AllocationSettings) -> Option<Moment> {
        self.joined_at
            .filter(|_| !self.healthy && self.leaving.is_none())
            .map(|at| at + settings.policy.healthy_after)
    }

    /// When its stop is to be sent, or sent again.
    pub(super) fn stop_due(&self) -> Option<Moment> {
        match (self.stop, &self.leaving) {
            (Stop::Not, Some(leaving)) => Some(leaving.stop_at),
            (Stop::Sent { again_at, .. }, _) => Some(again_at),
            _ => None,
        }
    }

    /// When something of it is to be decided next.
    pub(super) fn alarm(&self, settings: &AllocationSettings) -> Option<Moment> {
        if self.reported.is_some() {
            return self.wait_until;
        }
        [
            self.wait_until,
            self.launch_due(settings),
            self.join_due(settings),
            self.health_due(settings),
            self.stop_due(),
            self.gone_at(settings.lease),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
