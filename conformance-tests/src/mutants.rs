//! Managers that are broken in one way each, on the public traits alone: what proves the kit's checks.
//!
//! Each wraps the reference manager. It must be caught by its own rule, with its own breach; the rules that break with it
//! are listed beside it, and no other may fail. A rule without a mutant is *unproven*, and the table says why.

mod breakages;
pub mod runtime;
mod wrapped;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use convoke_core::Result;
use convoke_core::manager::ClusterManager;

use crate::deadlines::{DeadlineName, Deadlines};
use crate::harness::{Environment, Harness, Sizes};
use crate::reference::ReferenceHarness;
use breakages as broken;
use wrapped::{Breakage, Broken};

/// One mutant, as data.
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// The rule that must catch it.
    pub rule: &'static str,
    /// The kind of breach that must be seen.
    pub breach: &'static str,
    /// Rules that may break with it.
    pub collateral: &'static [&'static str],
    wrap: fn(Arc<dyn ClusterManager>) -> Arc<dyn ClusterManager>,
}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutant").field("name", &self.name).field("rule", &self.rule).finish_non_exhaustive()
    }
}

fn wrap<B: Breakage + Default>(inner: Arc<dyn ClusterManager>) -> Arc<dyn ClusterManager> {
    Arc::new(Broken::new(inner, B::default()))
}

const fn mutant<B: Breakage + Default>(
    rule: &'static str,
    name: &'static str,
    breach: &'static str,
    collateral: &'static [&'static str],
) -> Mutant {
    Mutant { name, rule, breach, collateral, wrap: wrap::<B> }
}

/// All mutants, in the order of their rules.
pub static ALL: &[Mutant] = &[
    mutant::<broken::NoId>("R1", "has no id of an application", "no id", &["R5", "S2"]),
    mutant::<broken::WrongKind>("R1", "tells a manager that is away as a refusal", "wrong kind", &[]),
    mutant::<broken::TakesAnyOption>("R2", "takes options that it does not know", "not refused", &[]),
    mutant::<broken::BadPage>("R5", "shows a page that nobody can open", "no page", &[]),
    mutant::<broken::HidesTheEnd>("R6", "hides that an operator ended it", "no end", &[]),
    mutant::<broken::OneTooMany>(
        "A2",
        "starts one too many",
        "never happened",
        &["A5", "A7", "A9", "A10", "L2", "S1"],
    ),
    mutant::<broken::ForgetsReplacements>("A3", "forgets replacements", "not replaced", &["L1", "L5"]),
    mutant::<broken::EndsOnLowering>("A4", "ends what runs above a lowered target", "ended", &[]),
    mutant::<broken::GrantsLess>("A5", "grants half the memory", "too small", &[]),
    mutant::<broken::OneReason>("A6", "gives one reason for everything", "wrong reason", &[]),
    mutant::<broken::AcceptsAnyRelease>("A7", "accepts the release of what never was", "wrong answer", &[]),
    mutant::<broken::NoGrace>("A8", "ends at once what was to have a grace", "too early", &[]),
    mutant::<broken::Blocks>("A9", "serves nobody while one profile starves", "blocked", &[]),
    mutant::<broken::UsesExcluded>("A10", "forgets which hosts are excluded", "excluded", &[]),
    mutant::<broken::NoMaximum>("A12", "knows no maximum", "never happened", &[]),
    mutant::<broken::DoublesExits>("L1", "tells every exit twice", "out of order", &["F3", "F8", "R6"]),
    mutant::<broken::LosesAnEvent>(
        "L1",
        "loses a terminal event",
        "never happened",
        &["A7", "A8", "A12", "L4", "R3"],
    ),
    mutant::<broken::LiesAboutCauses>("L2", "lies about a code", "wrong cause", &[]),
    mutant::<broken::LiesAboutBlame>("L2", "lies about blame", "wrong blame", &[]),
    mutant::<broken::SilentLaunchFailure>("L3", "does not say why a launch failed", "unhelpful", &[]),
    mutant::<broken::NeverBrakes>("L5", "never brakes a crash loop", "not braked", &[]),
    mutant::<broken::HidesTheCrashLoop>("L5", "does not tell of a crash loop", "not told", &[]),
    mutant::<broken::WaitsForEver>("L6", "never gives up what does not join", "never happened", &[]),
    mutant::<broken::HidesNotices>("L7", "keeps notices to itself", "never happened", &[]),
    mutant::<broken::EatsQuotes>("E1", "eats quotes", "arguments", &[]),
    mutant::<broken::LogsFromTheStart>("E2", "gives logs from their start only", "logs", &[]),
    mutant::<broken::Nameless>("E4", "tells an executor another profile", "environment", &[]),
    mutant::<broken::AnswersTooEarly>("T1", "answers before all is ended", "left over", &["T4", "S2"]),
    mutant::<broken::Immortal>("T3", "keeps what was abandoned", "left over", &["R4"]),
    mutant::<broken::AllIsWell>("T4", "shows every outcome as success", "outcome", &[]),
    mutant::<broken::BlamesNobodyForNodes>(
        "F2",
        "puts a dead node down to the application",
        "wrong cause",
        &[],
    ),
    mutant::<broken::HidesOutages>("F4", "hides outages", "never happened", &["F3"]),
];

/// Why a rule of the manager profile has no mutant.
#[must_use]
pub fn why_unproven(rule: &str) -> &'static str {
    match rule {
        "R3" => {
            "a mix-up of two applications needs a manager that shares books between handles: not written yet"
        }
        "R4" => "a trace after a dropped `register` needs a manager that forgets the lease: not written yet",
        "A1" => "a wrapper that keeps an earlier wish breaks A2 to A4 alike: not written yet",
        "L4" => "ids are core's: an id used again needs a manager that numbers by itself: not written yet",
        "F1" | "F3" | "F7" | "F8" | "S1" | "S2" => "needs a broken daemon, not a wrapper: not written yet",
        _ => "the kit has no check for it yet, or the reference can't be asked",
    }
}

/// A harness of one mutant, on the reference's environment.
#[derive(Debug)]
pub struct MutantHarness(pub &'static Mutant);

#[async_trait]
impl Harness for MutantHarness {
    fn subject(&self) -> String {
        format!("a manager that {}", self.0.name)
    }

    async fn environment(&self) -> Result<Environment> {
        ReferenceHarness::default().environment_of(self.0.wrap).await
    }

    fn deadlines(&self) -> Deadlines {
        // what never happens on a mutant is waited for that long: enough for what does happen on the reference
        Deadlines::default()
            .with(DeadlineName::Settle, std::time::Duration::from_secs(8))
            .with(DeadlineName::Exit, std::time::Duration::from_secs(5))
            .with(DeadlineName::Fault, std::time::Duration::from_secs(8))
    }

    fn sizes(&self) -> Sizes {
        ReferenceHarness::default().sizes()
    }
}
