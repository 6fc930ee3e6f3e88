//! `convoke status`: the applications at a master, or one of them with its executors.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use convoke::clock::wall_time;
use convoke::manager::{ApplicationReport, ApplicationState, ExecutorReport, ExecutorState, Outcome};
use convoke::units::{format_duration, parse_duration};
use convoke::{Error, Result};
use serde_json::{Value, json};

use crate::arguments::Status;
use crate::operator::{Asked, is_alive, run as run_async};
use crate::output::{print, table};

/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints what there is, once or again and again.
pub fn run(command: &Status) -> Result<ExitCode> {
    let watch = command.watch.as_deref().map(parse_duration).transpose()?;
    let asked = Asked::open(&command.configuration, &command.place)?;
    run_async(async {
        loop {
            let text = look(&asked, command, watch.is_some()).await?;
            let clear = if watch.is_some() && std::io::stdout().is_terminal() { CLEAR } else { "" };
            print(&format!("{clear}{text}"))?;
            let Some(pause) = watch else { return Ok(ExitCode::SUCCESS) };
            tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
        }
    })
}

async fn look(asked: &Asked, command: &Status, watched: bool) -> Result<String> {
    let now = wall_time();
    if let Some(text) = &command.application {
        let application = asked.find(text).await?;
        return if command.json {
            printed(&as_json(&application), watched)
        } else {
            Ok(detail(&application, now))
        };
    }
    let mut all = asked.applications().await?;
    let ended = all.iter().filter(|application| !is_alive(application)).count();
    if !command.all {
        all.retain(is_alive);
    }
    if command.json {
        return printed(&Value::Array(all.iter().map(as_json).collect()), watched);
    }
    let mut text = if all.is_empty() { String::new() } else { list(&all, now) };
    if all.is_empty() {
        text.push_str(&format!("No application runs at {}.\n", asked.master));
    }
    if ended > 0 && !command.all {
        let them = if ended == 1 { "One has ended".to_owned() } else { format!("{ended} have ended") };
        text.push_str(&format!("{them}: convoke status --all\n"));
    }
    Ok(text)
}

fn printed(value: &Value, on_one_line: bool) -> Result<String> {
    let text = if on_one_line { serde_json::to_string(value) } else { serde_json::to_string_pretty(value) };
    let text = text.map_err(|error| Error::internal("can't write the status as JSON").source(error))?;
    Ok(text + "\n")
}

fn list(all: &[ApplicationReport], now: SystemTime) -> String {
    let rows = all.iter().map(|application| {
        [
            application.id.to_string(),
            state(&application.state).0.to_owned(),
            executors(application),
            age(application.since, now),
            driver(application),
        ]
    });
    table(&["APPLICATION", "STATE", "EXECUTORS", "SINCE", "DRIVER"], rows)
}

fn detail(application: &ApplicationReport, now: SystemTime) -> String {
    let (word, more) = state(&application.state);
    let mut text = format!("{}\n", application.id);
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {what:<9} {value}\n"));
        }
    };
    line("name", application.name.to_string());
    if application.native != application.id.as_str() {
        line("native id", application.native.clone());
    }
    line("state", if more.is_empty() { word.to_owned() } else { format!("{word}: {more}") });
    line("began", ago(application.since, now));
    if let ApplicationState::Ended { at, .. } = application.state {
        line("ended", ago(at, now));
    }
    line("driver", driver(application));
    line("page", application.page.clone().unwrap_or_default());
    line("logs", application.logs.clone().unwrap_or_default());
    if application.executors.is_empty() {
        return text;
    }
    let rows = application.executors.iter().map(|(id, executor)| {
        [
            id.to_string(),
            executor.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            executor.resources.as_ref().map(ToString::to_string).unwrap_or_default(),
            executor.process.map(|process| process.to_string()).unwrap_or_default(),
            age(executor.since, now),
            executor_state(executor).1,
        ]
    });
    text + "\n" + &table(&["EXECUTOR", "HOST", "RESOURCES", "PROCESS", "SINCE", "STATE"], rows)
}

/// A word, and what more there is to say.
fn state(state: &ApplicationState) -> (&'static str, String) {
    match state {
        ApplicationState::Waiting(why) => ("waiting", why.clone()),
        ApplicationState::Running => ("running", String::new()),
        ApplicationState::Ended { outcome, .. } => match outcome {
            Some(Outcome::Succeeded) => ("succeeded", String::new()),
            Some(Outcome::Failed(why)) => ("failed", why.clone()),
            Some(Outcome::Killed) => ("killed", String::new()),
            _ => ("ended", "its driver went without a word".to_owned()),
        },
        _ => ("unknown", String::new()),
    }
}

/// A word for programs, and words for people.
fn executor_state(executor: &ExecutorReport) -> (&'static str, String) {
    match &executor.state {
        ExecutorState::Starting => ("starting", "starting".to_owned()),
        ExecutorState::Running => ("running", "running".to_owned()),
        ExecutorState::Ended(how) => ("ended", how.clone()),
        _ => ("unknown", "unknown".to_owned()),
    }
}

fn executors(application: &ApplicationReport) -> String {
    let ended =
        application.executors.values().filter(|one| matches!(one.state, ExecutorState::Ended(_))).count();
    match (application.executors.len() - ended, ended) {
        (live, 0) => live.to_string(),
        (0, ended) => format!("{ended} ended"),
        (live, ended) => format!("{live}, {ended} ended"),
    }
}

fn driver(application: &ApplicationReport) -> String {
    match (&application.driver_host, application.driver_process) {
        (Some(host), Some(process)) => format!("process {process} on {host}"),
        (Some(host), None) => host.to_string(),
        (None, Some(process)) => format!("process {process}"),
        (None, None) => String::new(),
    }
}

/// How long ago, in whole seconds.
fn age(since: Option<SystemTime>, now: SystemTime) -> String {
    let Some(since) = since else { return String::new() };
    let age = now.duration_since(since).unwrap_or_default();
    match age.as_secs() {
        seconds @ 0..3600 => format_duration(Duration::from_secs(seconds)),
        seconds => format_duration(Duration::from_secs(seconds / 60 * 60)),
    }
}

fn ago(since: Option<SystemTime>, now: SystemTime) -> String {
    let age = age(since, now);
    if age.is_empty() { age } else { format!("{age} ago") }
}

fn seconds(time: Option<SystemTime>) -> Option<u64> {
    Some(time?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs())
}

fn as_json(application: &ApplicationReport) -> Value {
    let (word, message) = state(&application.state);
    let ended = match application.state {
        ApplicationState::Ended { at, .. } => seconds(at),
        _ => None,
    };
    let executors: Vec<_> = application.executors.iter().map(|(id, executor)| {
        let (state, words) = executor_state(executor);
        json!({
            "executor": id.0,
            "native": executor.native,
            "state": state,
            "exit": (state == "ended").then_some(words),
            "host": executor.host,
            "cpus": executor.resources.as_ref().map(|each| f64::from(u32::try_from(each.cpus.millis()).unwrap_or(u32::MAX)) / 1000.0),
            "memory_mib": executor.resources.as_ref().map(|each| each.memory.0),
            "process": executor.process,
            "since_unix_s": seconds(executor.since),
            "page": executor.page,
        })
    }).collect();
    json!({
        "application": application.id,
        "name": application.name,
        "native": application.native,
        "user": application.user,
        "state": word,
        "message": message,
        "since_unix_s": seconds(application.since),
        "ended_unix_s": ended,
        "driver_host": application.driver_host,
        "driver_process": application.driver_process,
        "page": application.page,
        "logs": application.logs,
        "executors": executors,
    })
}
