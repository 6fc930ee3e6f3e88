use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ExitCause;
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::resource::ResourceProfile;

/// The whole wish: a profile that is left out wants no executor (A1). The value can be said again after any failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// What is wanted of each profile.
    pub profiles: BTreeMap<ProfileId, Want>,
    /// Hosts that are not used from the wish on (A10).
    pub excluded: Vec<Name>,
}

impl Target {
    /// `executors` of one profile, anywhere.
    #[must_use]
    pub fn of(profile: Arc<ResourceProfile>, executors: u32) -> Target {
        Target::default().and(profile, executors)
    }

    /// And `executors` of another profile, anywhere.
    #[must_use]
    pub fn and(mut self, profile: Arc<ResourceProfile>, executors: u32) -> Target {
        self.profiles.insert(profile.id, Want { profile, executors, placement: Placement::default() });
        self
    }
}

/// What is wanted of one profile. It carries the profile itself: there is nothing to define first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The profile.
    pub profile: Arc<ResourceProfile>,
    /// How many executors in all (a total, A1).
    pub executors: u32,
    /// Where.
    pub placement: Placement,
}

/// Where executors are preferred or required (A10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Hints with weights; they never stop an allocation.
    pub preferred: Vec<(Name, u32)>,
    /// Every one of them holds.
    pub required: Vec<Constraint>,
}

/// A constraint on a node's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// The attribute has this value.
    Equals {
        /// The attribute (`host`, `rack`, `label`, or the manager's own).
        attribute: Name,
        /// Its value.
        value: String,
    },
    /// The attribute does not have this value.
    NotEquals {
        /// The attribute.
        attribute: Name,
        /// The value.
        value: String,
    },
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::Equals { attribute, value } => write!(f, "{attribute}={value}"),
            Constraint::NotEquals { attribute, value } => write!(f, "{attribute}!={value}"),
        }
    }
}

/// The number of a wish, growing with each that changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// Executors that are to end (A7, A8).
#[derive(Debug, Clone)]
pub struct Release {
    /// Exactly these.
    pub executors: Vec<ExecutorId>,
    /// How long they may go on at the most, while their driver drains them.
    pub grace: Duration,
    /// Whether they are replaced.
    pub then: Then,
    /// The cause that their exits tell where nothing else explains them.
    pub why: ExitCause,
}

/// What follows a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The target falls by as many.
    LowerTarget,
    /// They are replaced at once.
    Replace,
}

/// What a release answers for one executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// It will exit.
    Accepted,
    /// It was being released already; an earlier deadline wins.
    AlreadyReleasing,
    /// It has exited.
    AlreadyExited,
    /// It never was.
    NeverHeardOf,
}
