//! Managers that are broken in one way each, on the public traits alone: what proves the kit's checks.
//!
//! Each wraps the reference manager. It must be caught by its own rule, with its own breach; the rules that break with it
//! are listed beside it, and no other may fail. A rule without a mutant is *unproven*, and the table says why.

mod breakages;
mod faulty;
mod renumbered;
pub mod runtime;
mod shared_books;
mod wrapped;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use convoke_core::manager::ClusterManager;
use convoke_core::{Error, Result};

use crate::deadlines::{DeadlineName, Deadlines};
use crate::harness::{Environment, Harness, Sizes};
use crate::reference::ReferenceHarness;
use breakages as broken;
use renumbered::GivesNumbersAgain;
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
    mutant::<shared_books::MixesUpApplications>(
        "R3",
        "releases the executors of another application, too",
        "mixed",
        &[],
    ),
    mutant::<shared_books::ForgetsTheLease>(
        "R4",
        "keeps an application past its lease",
        "left over",
        &["T2", "T3"],
    ),
    mutant::<broken::BadPage>("R5", "shows a page that nobody can open", "no page", &[]),
    mutant::<broken::HidesTheEnd>("R6", "hides that an operator ended it", "no end", &[]),
    mutant::<shared_books::OverhearsQuickWishes>(
        "A1",
        "overhears wishes that follow one another quickly",
        "never happened",
        &["R2", "A4"],
    ),
    mutant::<broken::OneTooMany>(
        "A2",
        "starts one too many",
        "surplus",
        &["A5", "A7", "A9", "A10", "L2", "S1"],
    ),
    mutant::<broken::ForgetsReplacements>("A3", "forgets replacements", "not replaced", &["L1", "L5"]),
    mutant::<broken::EndsOnLowering>("A4", "ends what runs above a lowered target", "ended", &[]),
    mutant::<broken::GrantsLess>("A5", "grants half the memory", "too small", &[]),
    mutant::<broken::OneReason>("A6", "gives one reason for everything", "wrong reason", &["A11"]),
    mutant::<broken::AcceptsAnyRelease>("A7", "accepts the release of what never was", "wrong answer", &[]),
    mutant::<broken::NoGrace>("A8", "ends at once what was to have a grace", "too early", &[]),
    mutant::<broken::Blocks>("A9", "serves nobody while one profile starves", "blocked", &[]),
    mutant::<broken::UsesExcluded>("A10", "forgets which hosts are excluded", "excluded", &[]),
    mutant::<faulty::OneDeviceForAll>("A11", "gives everybody the first device", "not its device", &[]),
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
    mutant::<GivesNumbersAgain>(
        "L4",
        "gives the number of one that exited to the next",
        "used again",
        &["A3", "A5", "A7", "L1", "L5", "E2", "F8"],
    ),
    mutant::<broken::NeverBrakes>("L5", "never brakes a crash loop", "not braked", &[]),
    mutant::<broken::HidesTheCrashLoop>("L5", "does not tell of a crash loop", "not told", &[]),
    mutant::<broken::WaitsForEver>("L6", "never gives up what does not join", "never happened", &[]),
    mutant::<broken::HidesNotices>("L7", "keeps notices to itself", "never happened", &[]),
    mutant::<broken::EatsQuotes>("E1", "eats quotes", "arguments", &[]),
    mutant::<broken::LogsFromTheStart>("E2", "gives logs from their start only", "logs", &[]),
    mutant::<faulty::TellsTickets>("E3", "writes tickets into command lines", "ticket seen", &[]),
    mutant::<broken::Nameless>("E4", "tells an executor another profile", "environment", &[]),
    mutant::<broken::AnswersTooEarly>("T1", "answers before all is ended", "left over", &["T4", "S2"]),
    mutant::<faulty::LeavesAHelper>(
        "T2",
        "keeps a helper that only its orderly end takes away",
        "left over",
        &["R6", "F1"],
    ),
    mutant::<broken::Immortal>("T3", "keeps what was abandoned", "left over", &["R4"]),
    mutant::<broken::AllIsWell>("T4", "shows every outcome as success", "outcome", &[]),
    mutant::<faulty::Unsupervised>(
        "F1",
        "starts programs without a supervisor",
        "left over",
        &["A1", "A5", "A8", "E2", "L2", "L6", "T1", "T2", "T3"],
    ),
    mutant::<broken::BlamesNobodyForNodes>(
        "F2",
        "puts a dead node down to the application",
        "wrong cause",
        &[],
    ),
    mutant::<faulty::GivesUpInOutages>(
        "F3",
        "gives up executors when it is out of reach",
        "never happened",
        &["A1", "F2", "F4"],
    ),
    mutant::<broken::HidesOutages>("F4", "hides outages", "never happened", &["F3"]),
    mutant::<faulty::BlamesForDisks>("F7", "puts a full disk down to the application", "wrong blame", &[]),
    mutant::<faulty::SeesTheDead>("F8", "sees an executor again that has exited", "came back", &[]),
    mutant::<shared_books::AsksAboutEachPair>(
        "S1",
        "asks about each pair of its executors",
        "not linear",
        &[],
    ),
    mutant::<shared_books::RunsOutOfIds>("S2", "gives one id to all once there are many", "mixed", &[]),
];

/// Why a rule of the manager profile has no mutant.
#[must_use]
pub fn why_unproven(rule: &str) -> &'static str {
    match rule {
        "C1" | "C2" | "C3" | "C4" => {
            "no manager claims cluster mode yet, the reference neither: the kit has no check for it"
        }
        _ => "no mutant is written for it yet",
    }
}

/// The manager of [`MutantHarness::dial`], whichever mutant it is of.
///
/// # Errors
/// `InvalidRequest` for an address that no mutant's harness gave.
pub fn dial(address: &str) -> Result<Arc<dyn ClusterManager>> {
    let (name, _) = address.split_once('|').unwrap_or_default();
    let mutant = ALL.iter().find(|mutant| mutant.name == name);
    let mutant =
        mutant.ok_or_else(|| Error::invalid("address", "no mutant has this name").with("name", name))?;
    MutantHarness(mutant).dial(address)
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
        self.reference().environment_of(self.0.wrap).await
    }

    fn dial(&self, address: &str) -> Result<Arc<dyn ClusterManager>> {
        self.reference().dial(address).map(self.0.wrap)
    }

    fn deadlines(&self) -> Deadlines {
        // what never happens on a mutant is waited for that long: enough for what does happen on the reference
        Deadlines::default()
            .with(DeadlineName::Settle, std::time::Duration::from_secs(8))
            .with(DeadlineName::Exit, std::time::Duration::from_secs(8))
            .with(DeadlineName::Fault, std::time::Duration::from_secs(8))
    }

    fn sizes(&self) -> Sizes {
        self.reference().sizes()
    }
}

impl MutantHarness {
    /// The reference, whose addresses name the mutant.
    fn reference(&self) -> ReferenceHarness {
        ReferenceHarness { label: self.0.name.to_owned(), ..ReferenceHarness::default() }
    }
}
