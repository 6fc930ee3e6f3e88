use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::manager::{Capabilities, Descriptor};
use serde_json::{Value, json};

use crate::deadlines::Deadlines;
use crate::harness::Harness;
use crate::outcome::RuleOutcome;
use crate::rule::{Profile, Subject};
use crate::verdict::Verdict;

/// What a subject has shown in one profile.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Which profile.
    pub profile: Profile,
    /// What was examined, and how.
    pub about: About,
    /// Every rule of the profile, in the contract's order.
    pub rules: Vec<RuleOutcome>,
    /// How long the run took.
    pub took: Duration,
}

/// What was examined, and how.
#[derive(Debug, Clone)]
pub struct About {
    /// The subject's name, as its harness gives it.
    pub subject: String,
    /// Its kind and version, as it describes itself.
    pub kind: String,
    /// What it claims for the cluster at hand.
    pub claims: Vec<String>,
    /// How its join tickets travel.
    pub secret_channel: String,
    /// The deadlines that were used.
    pub deadlines: BTreeMap<&'static str, String>,
    /// The sizes that it was examined at.
    pub sizes: Value,
    /// What of the environment stood in for the real thing.
    pub stand_ins: Vec<String>,
    /// What a driver that vanishes can leave all the same (T2).
    pub leaves: Vec<String>,
    /// Resources that it does not count.
    pub uncounted: Vec<&'static str>,
    /// The command that runs it again.
    pub reproduce: String,
}

/// How complete a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every rule that applies was exercised and holds.
    Full,
    /// What was exercised holds, and something was not.
    Partial,
    /// Something does not hold.
    Failed,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Full => "full",
            Standing::Partial => "partial",
            Standing::Failed => "failed",
        }
    }
}

impl About {
    pub(crate) fn new(
        harness: &dyn Harness,
        description: &Descriptor,
        capabilities: &Capabilities,
        cluster_mode: bool,
        deadlines: &Deadlines,
        uncounted: &[&'static str],
    ) -> About {
        let sizes = harness.sizes();
        let mut claims: Vec<String> = capabilities.claimed().map(str::to_owned).collect();
        if cluster_mode {
            claims.push("cluster_mode".to_owned());
        }
        About {
            subject: harness.subject(),
            kind: format!("{} {}", description.kind, description.version),
            claims,
            secret_channel: format!("{:?}", capabilities.secret_channel),
            deadlines: deadlines.printed().collect(),
            sizes: json!({
                "executor": sizes.executor.to_string(),
                "scale": sizes.scale,
                "applications": sizes.applications,
            }),
            stand_ins: harness.stand_ins(),
            leaves: harness.leaves(),
            uncounted: uncounted.to_vec(),
            reproduce: harness.reproduce(),
        }
    }
}

impl Certificate {
    pub(crate) fn new(
        profile: Profile,
        about: About,
        rules: Vec<RuleOutcome>,
        took: Duration,
    ) -> Certificate {
        Certificate { profile, about, rules, took }
    }

    /// How complete it is. A rule that applies and was not exercised, for whatever reason, makes it partial.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.rules.iter().any(RuleOutcome::fails) {
            Standing::Failed
        } else if self.rules.iter().any(|rule| rule.leaves_a_gap() || rule.deselected() && applies(rule)) {
            Standing::Partial
        } else {
            Standing::Full
        }
    }

    /// How many rules have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rules.iter().filter(|rule| rule.verdict == verdict).count()
    }

    /// The command that runs one rule alone.
    #[must_use]
    pub fn reproduce_one(&self, id: &str) -> String {
        if self.about.reproduce.starts_with("cargo test") {
            format!("{} -- {id}", self.about.reproduce)
        } else {
            format!("{} --rule {id}", self.about.reproduce)
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "profile": self.profile.as_str(),
            "certificate": self.standing().as_str(),
            "subject": self.about.subject,
            "version": self.about.kind,
            "kit": env!("CARGO_PKG_VERSION"),
            "capabilities": self.about.claims,
            "secret_channel": self.about.secret_channel,
            "deadlines": self.about.deadlines,
            "sizes": self.about.sizes,
            "stand_ins": self.about.stand_ins,
            "leaves": self.about.leaves,
            "uncounted": self.about.uncounted,
            "counts": Verdict::ALL
                .iter()
                .map(|verdict| (verdict.words().to_owned(), json!(self.count(*verdict))))
                .collect::<serde_json::Map<_, _>>(),
            "seconds": self.took.as_secs_f64(),
            "reproduce": self.about.reproduce,
            "rules": self.rules.iter().map(RuleOutcome::json).collect::<Vec<_>>(),
        })
    }
}

/// Whether a rule that was not selected would have counted: one about something that doesn't exist yet would not.
fn applies(rule: &RuleOutcome) -> bool {
    !matches!(rule.rule.subject, Subject::Later(_))
}
