//! D4, D5: attempts that fail, are lost, or take their process along.

use std::collections::BTreeSet;

use convoke_core::driver::jobs::TaskOptions;
use convoke_core::manager::ExitCause;
use convoke_core::task::TaskErrorKind;
use rustix::process::Signal;

use crate::context::Context;
use crate::runtime::subject::{Runtime, Setup, signal};
use crate::runtime::tasks::{Act, play};
use crate::verdict::{Checked, Evidence, Finding};

pub(super) async fn limit(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        let mut evidence = Evidence::new();
        for (name, key, attempts) in [("runs_under_limit_1", 1, 1), ("runs_under_limit_4", 2, 4)] {
            let ended = runtime.run(key, Act::Fail, TaskOptions::new().attempts(attempts)).await?;
            match ended {
                Err(error) if matches!(error.kind, TaskErrorKind::Failed(_)) => {}
                other => {
                    return Err(Finding::failed("wrong ending", format!("task {key} ended as {other:?}")));
                }
            }
            let runs = runtime.tally.of(key);
            if runs.len() != attempts as usize {
                return Err(Finding::failed(
                    "attempts",
                    format!("a failing task ran {} times under a limit of {attempts}", runs.len()),
                ));
            }
            if let Some(same) = runs.windows(2).find(|pair| pair[0].executor == pair[1].executor) {
                return Err(Finding::failed(
                    "same executor",
                    format!(
                        "attempts {} and {} ran on {}, with another there",
                        same[0].attempt, same[1].attempt, same[0].executor
                    ),
                ));
            }
            evidence = evidence.with(name, runs.len());
        }
        Ok(evidence)
    })
    .await
}

pub(super) async fn lost(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        runtime.apart().await?;
        let options = TaskOptions::new().attempts(1);
        let task = runtime.driver.with(options).submit(play, runtime.tally.call(1, Act::Wait));
        let first = runtime.begun(1, 0).await?;
        signal(runtime, first.process, Signal::KILL).await?;
        let second = runtime.begun(1, 1).await?;
        runtime.tally.let_go(1);
        let played = runtime.within("the task ends", task).await?.map_err(|error| {
            Finding::failed("counted", format!("an attempt lost without fault counted: {error:#}"))
        })?;
        if played.attempt != second.attempt || first.process == second.process {
            return Err(Finding::failed("wrong ending", format!("{first:?}, {second:?}, then {played:?}")));
        }
        let cap = 3;
        let ended = runtime.run(2, Act::Kill, TaskOptions::new().lost_attempts(cap)).await?;
        let runs = runtime.tally.of(2);
        match ended {
            Err(error) if matches!(error.kind, TaskErrorKind::Lost(_) | TaskErrorKind::ExecutorDied(_)) => {}
            other => {
                return Err(Finding::failed("wrong ending", format!("a poison task ended as {other:?}")));
            }
        }
        if runs.len() != cap as usize {
            return Err(Finding::failed(
                "attempts",
                format!("a poison task ran {} times under a cap of {cap}", runs.len()),
            ));
        }
        Ok(Evidence::new()
            .with("killed_under_limit_1_then_ran", runtime.tally.of(1).len())
            .with("poison_runs_under_cap_3", runs.len()))
    })
    .await
}

pub(super) async fn panic(context: Context) -> Checked {
    Runtime::with(&context, Setup { slots: 2, ..Setup::of(1) }, async |runtime| {
        let neighbour = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let before = runtime.begun(1, 0).await?;
        let ended = runtime.run(2, Act::Panic, TaskOptions::new().attempts(1)).await?;
        let (message, location) = match ended.map_err(|error| error.into_kind()) {
            Err(TaskErrorKind::Panicked { message, location }) => (message, location),
            other => return Err(Finding::failed("wrong failure", format!("a panic became {other:?}"))),
        };
        if !message.contains("task 2 panics, as it was told") || !location.contains("tasks.rs:") {
            return Err(Finding::failed(
                "wrong failure",
                format!("the panic's words: {message:?} at {location:?}"),
            ));
        }
        let panicked = runtime.tally.of(2);
        runtime.tally.let_go(1);
        let after = runtime
            .within("the neighbour ends", neighbour)
            .await?
            .map_err(|error| Finding::failed("disturbed", format!("the neighbour: {error:#}")))?;
        if after != before || panicked.len() != 1 || panicked[0].process != before.process {
            return Err(Finding::failed(
                "disturbed",
                format!("{before:?} beside {panicked:?} became {after:?}"),
            ));
        }
        Ok(Evidence::new()
            .with("message", message)
            .with("location", location)
            .with("losses", runtime.losses()))
    })
    .await
}

pub(super) async fn deaths(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(1), async |runtime| {
        runtime.apart().await?;
        let mut evidence = Evidence::new();
        let mut processes = BTreeSet::new();
        for (name, key, act) in
            [("exit_7", 1, Act::Exit(7)), ("abort", 2, Act::Abort), ("overflow", 3, Act::Overflow)]
        {
            let ended = runtime.run(key, act, TaskOptions::new().attempts(1)).await?;
            let exit = match ended.map_err(|error| error.into_kind()) {
                Err(TaskErrorKind::ExecutorDied(exit)) => exit,
                other => return Err(Finding::failed("wrong failure", format!("{act:?} became {other:?}"))),
            };
            let right = match (act, &exit.cause) {
                (Act::Exit(code), ExitCause::Code(seen)) => code == *seen,
                (Act::Abort, ExitCause::Signal(seen)) => *seen == Signal::ABORT.as_raw(),
                (Act::Overflow, ExitCause::Signal(seen)) => {
                    [Signal::ABORT.as_raw(), Signal::SEGV.as_raw()].contains(seen)
                }
                _ => false,
            };
            if !right {
                return Err(Finding::failed("wrong failure", format!("{act:?} is told as {exit}")));
            }
            let runs = runtime.tally.of(key);
            if runs.len() != 1 {
                return Err(Finding::failed(
                    "attempts",
                    format!("{act:?} ran {} times under a limit of 1", runs.len()),
                ));
            }
            processes.extend(runs.iter().map(|run| run.process));
            evidence = evidence.with(name, exit.cause.to_string());
        }
        let after = runtime.run(4, Act::Return, TaskOptions::default()).await?;
        after.map_err(|error| Finding::failed("disturbed", format!("a task after them: {error:#}")))?;
        Ok(evidence.with("processes", processes.len()))
    })
    .await
}
