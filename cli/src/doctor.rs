//! `convoke doctor`: what this machine, its network and a master can do, what is wrong, and what to do about it.

mod cluster;
mod machine;

use std::process::ExitCode;

use convoke::manager::{Finding, Verdict};
use convoke::{Error, Result};

use crate::arguments::Doctor;
use crate::operator::run as run_async;
use crate::output::print;
use crate::settings::Chosen;

/// Looks at the machine, asks the master's backend, then runs one executor on the master and has it dial back.
pub fn run(command: &Doctor) -> Result<ExitCode> {
    let chosen = Chosen::collect(&command.configuration, &command.place, None, std::env::vars())?;
    let settings = chosen.settings()?;
    let manager = chosen.manager(&settings)?;
    let mut findings = machine::look();
    let told = run_async(async { Ok(manager.diagnose().await) })?;
    let in_the_way = told.iter().any(|finding| finding.verdict == Verdict::Wrong);
    findings.extend(told);
    if in_the_way {
        let advice = "mend what is wrong above, then ask again";
        findings.push(Finding::weak("executor", "not tried: it could not come", advice));
    } else {
        findings.extend(cluster::look(chosen.driver()));
    }
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    let master = settings.master_or_local();
    print(&if command.json { json(&master, &findings)? } else { text(&master, &findings, wrong) })?;
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(master: &str, findings: &[Finding], wrong: usize) -> String {
    let mut text = format!("{:<6} {:<12} {master}\n", "asked", "master");
    for finding in findings {
        text.push_str(&format!("{:<6} {:<12} {}\n", finding.verdict.word(), finding.what, finding.seen));
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

fn json(master: &str, findings: &[Finding]) -> Result<String> {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "what": finding.what,
                "verdict": finding.verdict.word(),
                "seen": finding.seen,
                "advice": finding.advice,
            })
        })
        .collect();
    let value = serde_json::json!({ "master": master, "findings": rows });
    let text = serde_json::to_string_pretty(&value)
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
            Finding::wrong("files", "a limit of 64", "ulimit -n 4096"),
        ];
        let text = text("local", &findings, 1);
        assert!(text.contains("help: ulimit -n 4096\n") && text.ends_with("One thing is wrong.\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json("local", &findings).unwrap()).unwrap();
        assert_eq!(json["findings"][1]["verdict"], "weak");
    }
}
