use std::time::Duration;

use convoke_core::Error;
use serde_json::{Value, json};

use crate::rule::{Case, Level, Rule, Subject};
use crate::verdict::{Checked, Evidence, Finding, Verdict};

/// What came of one case.
#[derive(Debug, Clone)]
pub struct CaseOutcome {
    /// What it exercises.
    pub gist: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What the check counted.
    pub evidence: Evidence,
    /// The kind of breach, after a failure.
    pub breach: Option<&'static str>,
    /// What was seen, what is lacking or claimed, or why it could not run.
    pub why: Option<String>,
    /// The kit or its harness could not do its part.
    pub could_not_run: bool,
    /// What happened, in order; kept where it did not pass.
    pub timeline: Vec<String>,
    /// What the subject left behind after it all; the kit ended what it could.
    pub leaked: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl CaseOutcome {
    pub(crate) fn of(case: &Case, checked: Checked, timeline: Vec<String>, took: Duration) -> CaseOutcome {
        let mut outcome = CaseOutcome {
            gist: case.gist,
            verdict: Verdict::Passed,
            evidence: Evidence::new(),
            breach: None,
            why: None,
            could_not_run: false,
            timeline,
            leaked: Vec::new(),
            took,
        };
        match checked {
            Ok(evidence) => {
                outcome.evidence = evidence;
                outcome.timeline.clear();
            }
            Err(Finding::Failed { breach, seen }) => {
                outcome.verdict = Verdict::Failed;
                outcome.breach = Some(breach);
                outcome.why = Some(seen);
            }
            Err(Finding::NotCheckable { lacks }) => {
                outcome.verdict = Verdict::NotCheckable;
                outcome.why = Some(lacks);
                outcome.timeline.clear();
            }
            Err(Finding::NotClaimed { why }) => {
                outcome.verdict = Verdict::NotClaimed;
                outcome.why = Some(why);
                outcome.timeline.clear();
            }
            Err(Finding::CouldNotRun(error)) => {
                outcome.verdict = Verdict::NotRun;
                outcome.why = Some(could_not_run(&error));
                outcome.could_not_run = true;
            }
        }
        outcome
    }

    pub(crate) fn not_claimed(case: &Case, lacking: &[&str]) -> CaseOutcome {
        let mut outcome = CaseOutcome::of(case, Ok(Evidence::new()), Vec::new(), Duration::ZERO);
        outcome.verdict = Verdict::NotClaimed;
        outcome.why = Some(lacking.join(", "));
        outcome
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "case": self.gist,
            "verdict": self.verdict,
            "evidence": self.evidence,
            "breach": self.breach,
            "why": self.why,
            "leaked": self.leaked,
            "timeline": self.timeline,
            "seconds": self.took.as_secs_f64(),
        })
    }
}

fn could_not_run(error: &Error) -> String {
    format!("could not run: {error:#}")
}

/// What came of one rule.
#[derive(Debug, Clone)]
pub struct RuleOutcome {
    /// The rule.
    pub rule: &'static Rule,
    /// The worst of its cases, or why none was run. What isn't claimed counts only where nothing else was asked.
    pub verdict: Verdict,
    /// Why it was not run, not claimed or not checkable as a whole.
    pub why: Option<String>,
    /// Why a failure is known, from the waivers file.
    pub waived: Option<String>,
    /// Its cases, in the rule's order, as far as they are over.
    pub cases: Vec<CaseOutcome>,
    arrived: Vec<(usize, CaseOutcome)>,
}

impl RuleOutcome {
    pub(crate) fn begin(rule: &'static Rule, waived: Option<&str>) -> RuleOutcome {
        RuleOutcome {
            rule,
            verdict: Verdict::NotRun,
            why: None,
            waived: waived.map(str::to_owned),
            cases: Vec::new(),
            arrived: Vec::new(),
        }
    }

    pub(crate) fn without_cases(mut self, verdict: Verdict, why: String) -> RuleOutcome {
        self.verdict = verdict;
        self.why = Some(why);
        self
    }

    /// Takes the outcome of one case; answers whether that was the last.
    pub(crate) fn add(&mut self, place: usize, outcome: CaseOutcome) -> bool {
        self.arrived.push((place, outcome));
        if self.arrived.len() < self.rule.cases.len() {
            return false;
        }
        self.arrived.sort_by_key(|(place, _)| *place);
        self.cases = std::mem::take(&mut self.arrived).into_iter().map(|(_, outcome)| outcome).collect();
        let asked = || self.cases.iter().filter(|case| case.verdict != Verdict::NotClaimed);
        self.verdict = asked().map(|case| case.verdict).max().unwrap_or(Verdict::NotClaimed);
        self.why = match self.verdict {
            Verdict::Passed => None,
            worst => self.cases.iter().find(|case| case.verdict == worst).and_then(|case| case.why.clone()),
        };
        true
    }

    /// Whether it spoils a run: a failure that nobody knew of, or a waiver that is out of date.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self.verdict {
            Verdict::Failed => self.rule.level == Level::Must && self.waived.is_none(),
            Verdict::Passed => self.waived.is_some(),
            _ => false,
        }
    }

    /// Whether the kit or the harness could not do its part.
    #[must_use]
    pub fn could_not_run(&self) -> bool {
        self.cases.iter().any(|case| case.could_not_run)
    }

    /// Whether it keeps a certificate from being full, though it did not fail: it applies, and was not exercised or is waived.
    #[must_use]
    pub fn leaves_a_gap(&self) -> bool {
        match self.verdict {
            Verdict::NotCheckable => true,
            Verdict::NotRun => !matches!(self.rule.subject, Subject::Later(_)) && !self.deselected(),
            Verdict::Failed => self.waived.is_some(),
            _ => false,
        }
    }

    /// Whether it was not its turn.
    #[must_use]
    pub fn deselected(&self) -> bool {
        self.verdict == Verdict::NotRun && self.why.as_deref() == Some("not selected")
    }

    /// All that its cases counted.
    #[must_use]
    pub fn evidence(&self) -> Value {
        let mut all = serde_json::Map::new();
        for case in self.cases.iter().filter(|case| !case.evidence.0.is_empty()) {
            all.insert(case.gist.to_owned(), json!(case.evidence));
        }
        Value::Object(all)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.rule.id,
            "level": self.rule.level.as_str(),
            "statement": self.rule.statement,
            "verdict": self.verdict,
            "why": self.why,
            "waived": self.waived,
            "evidence": self.evidence(),
            "cases": self.cases.iter().map(CaseOutcome::json).collect::<Vec<_>>(),
        })
    }
}
