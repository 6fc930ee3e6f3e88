use std::collections::BTreeMap;

use convoke_core::Error;
use serde::Serialize;
use serde_json::Value;

use crate::harness::{Hook, Unhooked};

/// What is known of a rule after a run. Never `Passed` for what was not exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verdict {
    /// Exercised, and it holds.
    #[serde(rename = "passed")]
    Passed,
    /// The subject does not claim what would bind it.
    #[serde(rename = "not claimed")]
    NotClaimed,
    /// It was not its turn: deselected, about something that doesn't exist yet, or the kit has no check for it.
    #[serde(rename = "not run")]
    NotRun,
    /// The environment can't give what the check needs: a hook, room, size.
    #[serde(rename = "not checkable")]
    NotCheckable,
    /// Exercised, and it does not hold; or the subject didn't show what it should have.
    #[serde(rename = "failed")]
    Failed,
}

impl Verdict {
    /// All of them, as reports count them.
    pub const ALL: [Verdict; 5] =
        [Verdict::Passed, Verdict::Failed, Verdict::NotClaimed, Verdict::NotCheckable, Verdict::NotRun];

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotClaimed => "not claimed",
            Verdict::NotCheckable => "not checkable",
            Verdict::NotRun => "not run",
        }
    }
}

/// What a check found out: the facts that show the rule to hold, or why it can't say so.
pub type Checked = Result<Evidence, Finding>;

/// Facts that a check counted itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Evidence(pub BTreeMap<&'static str, Value>);

impl Evidence {
    /// No facts yet.
    #[must_use]
    pub fn new() -> Evidence {
        Evidence::default()
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Evidence {
        self.0.insert(name, value.into());
        self
    }
}

/// Why a check does not end in [`Evidence`].
#[derive(Debug, Clone)]
pub enum Finding {
    /// The rule does not hold.
    Failed {
        /// One word or two for the kind of breach, which a mutant's test compares.
        breach: &'static str,
        /// What was seen, in a sentence.
        seen: String,
    },
    /// The environment lacks this.
    NotCheckable {
        /// What it lacks.
        lacks: String,
    },
    /// The rule does not apply to this manager.
    NotClaimed {
        /// Why.
        why: String,
    },
    /// The kit itself, or the harness, could not do its part.
    CouldNotRun(Error),
}

impl Finding {
    /// The rule does not hold: `breach` names the kind, `seen` tells it.
    pub fn failed(breach: &'static str, seen: impl Into<String>) -> Finding {
        Finding::Failed { breach, seen: seen.into() }
    }

    /// The environment lacks this.
    pub fn lacks(what: impl Into<String>) -> Finding {
        Finding::NotCheckable { lacks: what.into() }
    }

    /// What became of a hook: a missing one makes the rule not checkable, one that failed can't be told from the harness.
    #[must_use]
    pub fn of_hook(hook: Hook, unhooked: Unhooked) -> Finding {
        match unhooked {
            Unhooked::NoSuchHook => Finding::lacks(format!("no such hook: {}", hook.as_str())),
            Unhooked::DoesNotApply(why) => Finding::NotClaimed { why },
            Unhooked::Failed(error) => {
                Finding::CouldNotRun(error.with("hook", hook.as_str()).help("mend the harness"))
            }
        }
    }
}

/// An error of a call that the contract lets fail only for a reason that wasn't given is a breach.
impl From<Error> for Finding {
    fn from(error: Error) -> Finding {
        Finding::Failed { breach: "unexpected error", seen: format!("{error:#}") }
    }
}
