use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::clock;
use convoke_core::manager::{Bootstrap, Capabilities};
use convoke_core::{Error, Result};
use tokio::sync::Semaphore;

use crate::certificate::{About, Certificate};
use crate::context::{Context, this_program};
use crate::deadlines::{DeadlineName, Deadlines};
use crate::harness::Harness;
use crate::outcome::{CaseOutcome, RuleOutcome};
use crate::rule::{Case, Claim, Profile, Rule, Subject};
use crate::rules;
use crate::select::Selection;
use crate::verdict::{Finding, Verdict};
use crate::waivers::Waivers;

/// What to run, and how patiently.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which rules.
    pub selection: Selection,
    /// Deadlines as `NAME=TIME`, over the harness's own.
    pub deadlines: Vec<String>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Run {
    /// One certificate for each profile that was selected.
    pub certificates: Vec<Certificate>,
}

impl Run {
    /// What a program that ran it exits with: 0 full, 1 something failed, 2 could not run, 3 partial.
    ///
    /// Rules that were not selected don't count.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let rules = || self.certificates.iter().flat_map(|certificate| &certificate.rules);
        if rules().any(|rule| rule.fails()) {
            1
        } else if rules().any(RuleOutcome::could_not_run) {
            2
        } else if rules().any(|rule| rule.leaves_a_gap()) {
            3
        } else {
            0
        }
    }
}

/// Runs the selected rules against the harness's manager. `progress` is called as each rule's verdict is known.
///
/// # Errors
/// `InvalidRequest` for a selection, a deadline or a waivers file that can't be right.
pub async fn run(
    harness: Arc<dyn Harness>,
    options: &Options,
    progress: &mut (dyn FnMut(&RuleOutcome) + Send),
) -> Result<Run> {
    options.selection.check(rules::all())?;
    let mut deadlines = harness.deadlines();
    for text in &options.deadlines {
        deadlines.set(text)?;
    }
    let waivers = harness.waivers().map(|text| Waivers::parse(&text)).transpose()?.unwrap_or_default();
    let bootstrap = tokio::task::spawn_blocking(this_program)
        .await
        .map_err(|error| Error::internal("digesting this program failed").source(error))??;
    let token = run_token()?;
    let (claims, about) = preflight(&harness, &deadlines, &token, &bootstrap).await?;
    let began = clock::now();

    let mut outcomes: BTreeMap<&'static str, RuleOutcome> = BTreeMap::new();
    let mut cases = Vec::new();
    for rule in rules::all() {
        let outcome = RuleOutcome::begin(rule, waivers.reason(rule.id));
        let outcome = match why_not(rule, &claims, &options.selection) {
            Some((verdict, why)) => outcome.without_cases(verdict, why),
            None => {
                cases.extend(rule.cases.iter().enumerate().map(|(place, case)| (rule, place, case)));
                outcome
            }
        };
        outcomes.insert(rule.id, outcome);
    }
    // side by side first, then those that need the machine to themselves
    let (alone, together): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|(_, _, case)| case.alone || harness.shared() && case.disturbs());
    for (list, at_once) in [(together, harness.side_by_side().max(1)), (alone, 1)] {
        let places = Arc::new(Semaphore::new(at_once));
        let mut running = tokio::task::JoinSet::new();
        for (rule, place, case) in list {
            let (harness, deadlines, bootstrap) = (harness.clone(), deadlines.clone(), bootstrap.clone());
            let (places, claims) = (places.clone(), claims.clone());
            let token = format!("{token}-{}-{place}", rule.id);
            running.spawn(async move {
                let _place = places.acquire_owned().await; // never closed
                let outcome = one(harness, deadlines, bootstrap, token, case, &claims).await;
                (rule.id, place, outcome)
            });
        }
        while let Some(done) = running.join_next().await {
            let (id, place, outcome) =
                done.map_err(|error| Error::internal("a case of the kit ended badly").source(error))?;
            if let Some(rule) = outcomes.get_mut(id)
                && rule.add(place, outcome)
            {
                progress(rule);
            }
        }
    }
    let profiles = [Profile::Manager, Profile::Runtime];
    let chosen =
        |p: &Profile| options.selection.profiles.is_empty() || options.selection.profiles.contains(p);
    let certificates = profiles
        .into_iter()
        .filter(chosen)
        .map(|profile| {
            let rules = rules::all()
                .filter(|rule| rule.profile == profile)
                .filter_map(|rule| outcomes.get(rule.id).cloned())
                .collect();
            Certificate::new(profile, about.clone(), rules, clock::now().since(began))
        })
        .collect();
    Ok(Run { certificates })
}

/// What the subject claims: what its registered application does, since that depends on the cluster at hand.
#[derive(Debug, Clone)]
pub(crate) struct Claims {
    capabilities: Capabilities,
    cluster_mode: bool,
}

impl Claims {
    fn lacking(&self, required: &[Claim]) -> Vec<&'static str> {
        required
            .iter()
            .filter(|claim| !claim.among(&self.capabilities, self.cluster_mode))
            .map(|claim| claim.as_str())
            .collect()
    }
}

async fn preflight(
    harness: &Arc<dyn Harness>,
    deadlines: &Deadlines,
    token: &str,
    bootstrap: &Bootstrap,
) -> Result<(Claims, About)> {
    let context = Context::open(harness.clone(), deadlines.clone(), format!("{token}-0"), bootstrap.clone())
        .await
        .map_err(|error| error.help("the harness gives no environment"))?;
    let description = context.manager().describe();
    let cluster_mode = context.manager().drivers().is_some();
    // a manager that registers nothing is judged by what it says of itself: R1 will tell
    let capabilities = match context.register().await {
        Ok(application) => {
            application.handle().map_or(description.capabilities.clone(), |h| h.info().capabilities)
        }
        Err(_) => description.capabilities.clone(),
    };
    let uncounted = context.room().uncounted.clone();
    let about =
        About::new(harness.as_ref(), &description, &capabilities, cluster_mode, deadlines, &uncounted);
    context.close().await?;
    Ok((Claims { capabilities, cluster_mode }, about))
}

fn why_not(rule: &Rule, claims: &Claims, selection: &Selection) -> Option<(Verdict, String)> {
    if !selection.selects(rule) {
        return Some((Verdict::NotRun, "not selected".into()));
    }
    if let Subject::Later(why) = rule.subject {
        return Some((Verdict::NotRun, format!("later: {why}")));
    }
    let lacking = claims.lacking(rule.requires);
    if !lacking.is_empty() {
        return Some((Verdict::NotClaimed, lacking.join(", ")));
    }
    rule.cases.is_empty().then(|| (Verdict::NotRun, "the kit has no check for it yet".into()))
}

/// Runs one case in an environment and on a thread of its own, and takes all of it away again.
async fn one(
    harness: Arc<dyn Harness>,
    deadlines: Deadlines,
    bootstrap: Bootstrap,
    token: String,
    case: &'static Case,
    claims: &Claims,
) -> CaseOutcome {
    let began = clock::now();
    let lacking = claims.lacking(case.requires);
    if !lacking.is_empty() {
        return CaseOutcome::not_claimed(case, &lacking);
    }
    let longest = deadlines.of(DeadlineName::Case);
    let context = match Context::open(harness, deadlines, token, bootstrap).await {
        Ok(context) => context,
        Err(error) => {
            let finding = Finding::CouldNotRun(error.help("the harness gives no environment"));
            return CaseOutcome::of(case, Err(finding), Vec::new(), clock::now().since(began));
        }
    };
    let checked = check(context.clone(), case, longest).await;
    let timeline = context.timeline().clone();
    let closed = tokio::time::timeout(longest, context.close()).await;
    let mut outcome = CaseOutcome::of(case, checked, timeline.lines(), clock::now().since(began));
    match closed {
        Ok(Ok(leaked)) => outcome.leaked = leaked,
        Ok(Err(error)) => outcome.leaked.push(format!("the environment does not clean up: {error}")),
        Err(_) => outcome.leaked.push("the environment does not end".into()),
    }
    outcome
}

async fn check(context: Context, case: &'static Case, longest: Duration) -> crate::verdict::Checked {
    let too_long = || {
        Finding::failed(
            "took too long",
            format!("the case was not over after {}", convoke_core::units::format_duration(longest)),
        )
    };
    let runtime = tokio::runtime::Handle::current();
    let thread = tokio::task::spawn_blocking(move || {
        runtime.block_on(async { tokio::time::timeout(longest, (case.check)(context)).await })
    });
    // a subject that blocks inside a call is left behind on its thread
    match tokio::time::timeout(longest + Duration::from_secs(1), thread).await {
        Ok(Ok(Ok(checked))) => checked,
        Ok(Ok(Err(_))) | Err(_) => Err(too_long()),
        Ok(Err(panicked)) => {
            let words = match panicked.try_into_panic() {
                Ok(payload) => payload
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            Err(Finding::failed(
                "panicked",
                format!("a call of the subject, or the check, panicked: {words}"),
            ))
        }
    }
}

/// Marks every process of a run, so that none is mistaken for another's.
fn run_token() -> Result<String> {
    let id = convoke_core::ids::ApplicationId::generate(&convoke_core::ids::Name::new("kit")?)?;
    Ok(id.to_string())
}
