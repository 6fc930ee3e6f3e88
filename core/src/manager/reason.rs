use std::fmt;
use std::time::Duration;

use super::{Constraint, Exit};
use crate::ids::{Name, ProfileId};
use crate::units::{Cpus, MiB, format_duration};

/// What of a wish isn't met, and why (A6).
#[derive(Debug, Clone)]
pub struct Shortfall {
    /// Which profile; `None` where the application itself waits at its manager (R1).
    pub profile: Option<ProfileId>,
    /// How many executors are wanted.
    pub wanted: u32,
    /// How many are there.
    pub live: u32,
    /// For how long it has been so.
    pub since: Duration,
    /// Why, the weightiest first.
    pub reasons: Vec<Reason>,
}

/// Why an executor is not granted. Numbers are in the smallest unit: thousandths of a cpu, mebibytes, devices.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reason {
    /// No node is large enough even when empty.
    NoNodeLargeEnough {
        /// Of which resource.
        resource: Name,
        /// How much is needed, as the manager charges it.
        needed: u64,
        /// How much the largest node has in all.
        largest_total: u64,
    },
    /// Nodes are large enough, but none has as much free now.
    NothingFreeNow {
        /// Of which resource.
        resource: Name,
        /// How much is needed, as the manager charges it.
        needed: u64,
        /// How much is free on the node that has most.
        largest_free: u64,
    },
    /// No node has any of this.
    NoSuchResource(Name),
    /// No node fits this constraint.
    UnmatchedConstraint(Constraint),
    /// What would fit is excluded.
    Excluded(Vec<Name>),
    /// So many nodes are being drained.
    NodesDraining(u32),
    /// It waits in a queue.
    Queued {
        /// Which.
        queue: Name,
        /// Behind how many, where the manager says.
        ahead: Option<u32>,
    },
    /// A limit is used up.
    Limit {
        /// Whose.
        scope: LimitScope,
        /// Its name.
        name: Name,
        /// The limit.
        limit: u64,
        /// What is used of it.
        used: u64,
    },
    /// It isn't allowed, in the manager's words.
    Forbidden(String),
    /// Replacements are braked after a crash loop (L5).
    Braked {
        /// For how long still.
        until: Duration,
        /// The last exit.
        last: Box<Exit>,
    },
    /// The manager is out of reach.
    ManagerUnreachable,
    /// It was asked for a moment ago, and nothing speaks against it.
    Asked {
        /// How long ago.
        ago: Duration,
    },
    /// Anything else, in the manager's own words.
    Other {
        /// Its code.
        code: Name,
        /// Its text.
        text: String,
    },
}

impl Reason {
    /// Whether waiting is vain while the cluster stays as it is.
    #[must_use]
    pub fn permanent(&self) -> bool {
        matches!(
            self,
            Reason::NoNodeLargeEnough { .. }
                | Reason::NoSuchResource(_)
                | Reason::UnmatchedConstraint(_)
                | Reason::Forbidden(_)
        )
    }
}

/// Prints an amount of `resource` in the unit that a person would use.
fn amount(resource: &str, amount: u64) -> String {
    match resource {
        "cpus" => format!("{} cpus", Cpus::from_millis(amount)),
        "memory" => MiB(amount).to_string(),
        other => format!("{amount} {other}"),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoNodeLargeEnough { resource, needed, largest_total } => write!(
                f,
                "no node is large enough: {} needed, the largest has {} in all",
                amount(resource.as_str(), *needed),
                amount(resource.as_str(), *largest_total)
            ),
            Reason::NothingFreeNow { resource, needed, largest_free } => write!(
                f,
                "nothing is free now: {} needed, {} free at the most",
                amount(resource.as_str(), *needed),
                amount(resource.as_str(), *largest_free)
            ),
            Reason::NoSuchResource(name) => write!(f, "no node has any {name}"),
            Reason::UnmatchedConstraint(constraint) => write!(f, "no node fits {constraint}"),
            Reason::Excluded(hosts) => {
                let hosts: Vec<_> = hosts.iter().map(Name::as_str).collect();
                write!(f, "excluded: {}", hosts.join(", "))
            }
            Reason::NodesDraining(count) => write!(f, "{count} nodes are being drained"),
            Reason::Queued { queue, ahead: Some(ahead) } => {
                write!(f, "waits in queue {queue} behind {ahead}")
            }
            Reason::Queued { queue, ahead: None } => write!(f, "waits in queue {queue}"),
            Reason::Limit { scope, name, limit, used } => {
                write!(f, "the {scope:?} limit {name} is used up: {used} of {limit}")
            }
            Reason::Forbidden(words) => write!(f, "not allowed: {words}"),
            Reason::Braked { until, last } => {
                write!(
                    f,
                    "executors fail in a row; the next try is in {}; the last one: {last}",
                    format_duration(*until)
                )
            }
            Reason::ManagerUnreachable => f.write_str("the manager is out of reach"),
            Reason::Asked { ago } => write!(f, "asked for {} ago", format_duration(*ago)),
            Reason::Other { code, text } => write!(f, "{code}: {text}"),
        }
    }
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitScope {
    /// The application's own.
    Application,
    /// Its user's.
    User,
    /// Its queue's.
    Queue,
    /// Its role's.
    Role,
    /// The whole cluster's.
    Cluster,
}
