//! `convoke doctor`: what this machine can do, what is wrong, and what to do about it.

mod cluster;
mod machine;

use std::process::ExitCode;

use convoke::{Error, Result};

use crate::arguments::Doctor;
use crate::output::print;
use crate::settings::Chosen;

/// What one look found.
#[derive(Debug)]
pub struct Finding {
    pub what: &'static str,
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// It works, but less than it could.
    Weak,
    Wrong,
}

impl Finding {
    pub fn well(what: &'static str, seen: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Well, seen: seen.into(), advice: None }
    }

    pub fn weak(what: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Weak, seen: seen.into(), advice: Some(advice.into()) }
    }

    pub fn wrong(what: &'static str, seen: impl Into<String>, advice: Option<String>) -> Finding {
        Finding { what, verdict: Verdict::Wrong, seen: seen.into(), advice }
    }
}

/// Looks at the machine, then runs one executor on the master and has it dial back.
pub fn run(command: &Doctor) -> Result<ExitCode> {
    let chosen = Chosen::collect(&command.configuration, &command.place, None, std::env::vars())?;
    chosen.settings()?;
    let mut findings = machine::look();
    findings.extend(cluster::look(chosen.driver()));
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    if command.json {
        print(&json(&findings)?)?;
    } else {
        print(&text(&findings, wrong))?;
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "well",
        Verdict::Weak => "weak",
        Verdict::Wrong => "wrong",
    }
}

fn text(findings: &[Finding], wrong: usize) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!("{:<6} {:<12} {}\n", word(finding.verdict), finding.what, finding.seen));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("{:<20}help: {advice}\n", ""));
        }
    }
    text.push_str(&match wrong {
        0 => "Nothing is wrong.\n".to_owned(),
        1 => "One thing is wrong.\n".to_owned(),
        many => format!("{many} things are wrong.\n"),
    });
    text
}

fn json(findings: &[Finding]) -> Result<String> {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "what": finding.what,
                "verdict": word(finding.verdict),
                "seen": finding.seen,
                "advice": finding.advice,
            })
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows)
        .map_err(|error| Error::internal("can't write the findings as JSON").source(error))?;
    Ok(format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted_and_what_to_do_stands_below_it() {
        let findings = [
            Finding::well("memory", "24 GiB"),
            Finding::weak("cgroup", "none", "run as root"),
            Finding::wrong("files", "a limit of 64", Some("ulimit -n 4096".into())),
        ];
        let text = text(&findings, 1);
        assert!(text.contains("help: ulimit -n 4096\n") && text.ends_with("One thing is wrong.\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json(&findings).unwrap()).unwrap();
        assert_eq!(json[1]["verdict"], "weak");
    }
}
