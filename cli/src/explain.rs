//! `convoke explain`: would a cluster grant these executors, and if not, why.

use std::process::ExitCode;
use std::time::Duration;

use convoke::manager::{Outcome, Shortfall};
use convoke::units::{format_duration, parse_duration};
use convoke::{Error, ErrorKind, Result};

use crate::arguments::Explain;
use crate::output::print;
use crate::settings::Chosen;

/// How long giving the executors back may take.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// What a cluster answered.
struct Answer {
    master: String,
    wanted: u32,
    came: usize,
    shortfalls: Vec<Shortfall>,
}

/// Asks for the executors in earnest, waits, and gives them back.
pub fn run(command: &Explain) -> Result<ExitCode> {
    let wait = parse_duration(&command.wait)?;
    let chosen =
        Chosen::collect(&command.configuration, &command.place, Some(&command.executors), std::env::vars())?;
    let settings = chosen.settings()?;
    let (master, wanted) = (settings.master_or_local(), settings.executors);
    let answer = convoke::block_on(async {
        let driver = chosen.driver().manager_setting("local.logs-kept", "0s").start().await?;
        let all = driver.wait_ready(wanted as usize, wait).await;
        let shortfalls = match all {
            Err(error) if error.kind() != ErrorKind::DeadlineExceeded => Err(error),
            _ => driver.explain().await,
        };
        let came = driver.executors().len();
        let ended = driver.shutdown(Outcome::Succeeded, END_DEADLINE).await;
        Ok::<_, Error>((shortfalls?, came, ended?))
    });
    let (shortfalls, came, ()) = answer?;
    let answer = Answer { master, wanted, came: came.min(wanted as usize), shortfalls };
    print(&if command.json { json(&answer)? } else { text(&answer, wait) })?;
    Ok(if answer.came == wanted as usize { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(answer: &Answer, wait: Duration) -> String {
    let Answer { master, wanted, came, .. } = answer;
    if *came == *wanted as usize {
        return format!("{master} grants all {wanted} executors.\n");
    }
    let mut text =
        format!("{master} granted {came} of {wanted} executors within {}.\n", format_duration(wait));
    for shortfall in &answer.shortfalls {
        for reason in &shortfall.reasons {
            let hint = if reason.permanent() { "; waiting is vain" } else { "" };
            text.push_str(&format!("  why: {reason}{hint}\n"));
        }
    }
    let vain =
        answer.shortfalls.iter().flat_map(|shortfall| &shortfall.reasons).any(|reason| reason.permanent());
    text.push_str(if vain {
        "  help: ask for smaller executors, or another master\n"
    } else {
        "  help: wait for room, ask for fewer or smaller executors, or another master\n"
    });
    text
}

fn json(answer: &Answer) -> Result<String> {
    let reasons: Vec<_> = answer
        .shortfalls
        .iter()
        .flat_map(|shortfall| &shortfall.reasons)
        .map(|reason| serde_json::json!({ "text": reason.to_string(), "permanent": reason.permanent() }))
        .collect();
    let value = serde_json::json!({
        "master": answer.master,
        "wanted": answer.wanted,
        "granted": answer.came,
        "reasons": reasons,
    });
    let text = serde_json::to_string_pretty(&value)
        .map_err(|error| Error::internal("can't write the answer as JSON").source(error))?;
    Ok(format!("{text}\n"))
}
