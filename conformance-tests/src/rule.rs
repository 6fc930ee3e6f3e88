use std::fmt;
use std::future::Future;
use std::pin::Pin;

use convoke_core::manager::Capabilities;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::verdict::Checked;

/// One rule of the contract, as data: what it says, whom it binds, and how it is checked.
#[derive(Debug)]
pub struct Rule {
    /// The contract's number: permanent, never used again.
    pub id: &'static str,
    /// How strongly it binds.
    pub level: Level,
    /// Who answers for it.
    pub profile: Profile,
    /// The contract's own words.
    pub statement: &'static str,
    /// What a manager must claim to be bound by it at all.
    pub requires: &'static [Claim],
    /// Whether what it speaks of exists yet.
    pub subject: Subject,
    /// Where to look after a failure.
    pub look_at: &'static str,
    /// What is exercised, one by one. None: the kit has no check yet, and says so.
    pub cases: &'static [Case],
}

/// One thing that a rule's check exercises, in an environment of its own.
pub struct Case {
    /// What is shown, in a few words.
    pub gist: &'static str,
    /// What a manager must claim to be asked this.
    pub requires: &'static [Claim],
    /// The hooks of the harness that it needs.
    pub hooks: &'static [Hook],
    /// The deadlines that it waits for.
    pub deadlines: &'static [DeadlineName],
    /// Whether it must have the machine to itself, since it counts CPU time or many processes.
    pub alone: bool,
    /// The check.
    pub check: Check,
}

impl Case {
    /// A case that needs nothing.
    #[must_use]
    pub const fn new(gist: &'static str, check: Check) -> Case {
        Case { gist, requires: &[], hooks: &[], deadlines: &[], alone: false, check }
    }

    /// It asks this only of a manager that claims these.
    #[must_use]
    pub const fn requires(self, requires: &'static [Claim]) -> Case {
        Case { requires, ..self }
    }

    /// It needs these hooks.
    #[must_use]
    pub const fn hooks(self, hooks: &'static [Hook]) -> Case {
        Case { hooks, ..self }
    }

    /// It waits for these deadlines.
    #[must_use]
    pub const fn deadlines(self, deadlines: &'static [DeadlineName]) -> Case {
        Case { deadlines, ..self }
    }

    /// It must have the machine to itself.
    #[must_use]
    pub const fn alone(self) -> Case {
        Case { alone: true, ..self }
    }

    /// Whether others on the same cluster would notice it: it injects a fault, or takes all room.
    #[must_use]
    pub fn disturbs(&self) -> bool {
        self.hooks.iter().any(|hook| hook.disturbs())
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("gist", &self.gist).finish_non_exhaustive()
    }
}

/// Exercises one case. Runs on a thread of its own, so that a manager that blocks stops nobody else.
pub type Check = fn(Context) -> Pin<Box<dyn Future<Output = Checked>>>;

/// How strongly a rule binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A certificate needs it.
    Must,
    /// Reported; no certificate fails by it.
    Should,
}

impl Level {
    /// As the contract spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
        }
    }
}

/// Who answers for a rule: there is one certificate for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The author of a cluster manager: R, A, L, E, T, F1–F4, F7, F8, S, C.
    Manager,
    /// Core, whatever the manager: D, F5, F6.
    Runtime,
}

impl Profile {
    /// The word for it on the command line and on certificates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::Manager => "manager",
            Profile::Runtime => "runtime",
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = convoke_core::Error;
    fn from_str(text: &str) -> convoke_core::Result<Profile> {
        match text {
            "manager" => Ok(Profile::Manager),
            "runtime" => Ok(Profile::Runtime),
            _ => Err(convoke_core::Error::invalid("profile", "there is no such profile")
                .with("text", format!("{text:?}"))
                .help("one of manager, runtime")),
        }
    }
}

/// Whether what a rule speaks of exists yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// It does.
    Exists,
    /// It doesn't: the rule is entered, and reported as not run, for this reason.
    Later(&'static str),
}

/// A capability that binds rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the capability of that name")]
pub enum Claim {
    Remote,
    MultiNode,
    Placement,
    Exclusion,
    Constraints,
    Devices,
    MemoryEnforced,
    CpuEnforced,
    Logs,
    Draining,
    SurvivesRestart,
    ClusterMode,
}

impl Claim {
    /// As [`Capabilities::claimed`] spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Claim::Remote => "remote",
            Claim::MultiNode => "multi_node",
            Claim::Placement => "placement",
            Claim::Exclusion => "exclusion",
            Claim::Constraints => "constraints",
            Claim::Devices => "devices",
            Claim::MemoryEnforced => "memory_enforced",
            Claim::CpuEnforced => "cpu_enforced",
            Claim::Logs => "logs",
            Claim::Draining => "draining",
            Claim::SurvivesRestart => "survives_restart",
            Claim::ClusterMode => "cluster_mode",
        }
    }

    /// Whether it is among these.
    #[must_use]
    pub fn among(self, capabilities: &Capabilities, cluster_mode: bool) -> bool {
        match self {
            Claim::ClusterMode => cluster_mode,
            claim => capabilities.claimed().any(|name| name == claim.as_str()),
        }
    }
}

/// Makes a [`Check`] of an `async fn(Context) -> Checked`.
macro_rules! check {
    ($function:path) => {
        |context| Box::pin($function(context))
    };
}
pub(crate) use check;
