//! F5, F6: executors that are out of contact, and who finds it.

use std::time::Duration;

use convoke_core::clock::{self, Moment};
use convoke_core::driver::jobs::TaskOptions;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Exit, ExitCause};
use rustix::process::Signal;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::runtime::subject::{Runtime, Setup, is_alive, parent_of, signal};
use crate::runtime::tasks::{Act, Played, fill, play};
use crate::verdict::{Checked, Evidence, Finding};

/// Silent for so long, an executor is lost.
const LOST_AFTER: Duration = Duration::from_secs(3);
/// A timer's, a full machine's, and the process table's.
const SLACK: Duration = Duration::from_secs(4);

fn setup(relayed: bool) -> Setup {
    Setup { relayed, lost_after: LOST_AFTER, ..Setup::of(2) }
}

pub(super) async fn cut_off(context: Context) -> Checked {
    Runtime::with(&context, setup(true), async |runtime| {
        runtime.apart().await?;
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let cut = runtime.begun(1, 0).await?;
        let id = ExecutorId(cut.executor);
        let relay = runtime.relay(id)?;
        let supervisor = parent_of(cut.process);
        let since = clock::now();
        relay.cut();
        runtime
            .settles("the cut bites", async || {
                if relay.lost_bytes() > 0 { Ok(()) } else { Err("no byte vanished".into()) }
            })
            .await?;
        let (at, exit) = runtime.loss_of(id, LOST_AFTER + SLACK).await?;
        let again = runtime.begun(1, 1).await?;
        let gone = gone(runtime, &[Some(cut.process), supervisor], since, lease(runtime) + SLACK).await?;
        runtime.tally.let_go(1);
        let played = runtime
            .within("the task runs elsewhere", task)
            .await?
            .map_err(|error| Finding::failed("counted", format!("{error:#}")))?;
        if again.executor == cut.executor || played.attempt != again.attempt {
            return Err(Finding::failed("wrong ending", format!("{cut:?}, {again:?}, then {played:?}")));
        }
        let bytes = relay.lost_bytes();
        relay.mend();
        let back = runtime.ticket(id)?.join().await;
        if back.is_ok() {
            return Err(Finding::failed("let in", "an executor that was lost joins again"));
        }
        Ok(Evidence::new()
            .with("bytes_that_vanished", bytes)
            .with("lost_after_ms", millis(at.since(since)))
            .with("gone_after_ms", millis(gone))
            .with("lease_ms", millis(lease(runtime)))
            .with("exit", exit.to_string())
            .with("runs", runtime.tally.of(1).len()))
    })
    .await
}

pub(super) async fn ends_itself(context: Context) -> Checked {
    // a driver that hopes for longer than the lease: nobody but the executor itself ends it
    let hopeful = Setup { lost_after: Duration::from_secs(300), ..setup(true) };
    Runtime::with(&context, hopeful, async |runtime| {
        runtime.apart().await?;
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let cut = runtime.begun(1, 0).await?;
        let id = ExecutorId(cut.executor);
        let relay = runtime.relay(id)?;
        let processes = [Some(cut.process), parent_of(cut.process)];
        let since = clock::now();
        relay.cut();
        let gone = gone(runtime, &processes, since, lease(runtime) + SLACK).await?;
        let bytes = relay.lost_bytes();
        if bytes == 0 {
            return Err(Finding::CouldNotRun(convoke_core::Error::internal("the cut did not bite")));
        }
        // its manager tells the end, and the task runs elsewhere
        let (_, exit) = runtime.loss_of(id, runtime.context().deadline(DeadlineName::Exit)).await?;
        runtime.begun(1, 1).await?;
        runtime.tally.let_go(1);
        runtime
            .within("its task runs elsewhere", task)
            .await?
            .map_err(|error| Finding::failed("counted", format!("{error:#}")))?;
        Ok(Evidence::new()
            .with("bytes_that_vanished", bytes)
            .with("gone_after_ms", millis(gone))
            .with("lease_ms", millis(lease(runtime)))
            .with("exit", exit.to_string()))
    })
    .await
}

pub(super) async fn declared(context: Context) -> Checked {
    Runtime::with(&context, setup(false), async |runtime| {
        runtime.apart().await?;
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let there = runtime.begun(1, 0).await?;
        let id = ExecutorId(there.executor);
        let supervisor = parent_of(there.process);
        let since = clock::now();
        runtime
            .launches
            .declare(id, Exit::new(ExitCause::NodeLost, "declared by the kit, in the manager's name"));
        let (_, exit) = runtime.loss_of(id, runtime.context().deadline(DeadlineName::Exit)).await?;
        if exit.cause != ExitCause::NodeLost {
            return Err(Finding::failed("wrong cause", format!("the manager's word is told as {exit}")));
        }
        let again = runtime.begun(1, 1).await?;
        // it waits on: only its driver's hanging up can end it
        let gone = gone(runtime, &[Some(there.process), supervisor], since, lease(runtime) + SLACK).await?;
        runtime.tally.let_go(1);
        let played = runtime
            .within("the task runs elsewhere", task)
            .await?
            .map_err(|error| Finding::failed("counted", format!("{error:#}")))?;
        if again.executor == there.executor || played.attempt != again.attempt {
            return Err(Finding::failed(
                "late answer counted",
                format!("{there:?}, {again:?}, then {played:?}"),
            ));
        }
        if runtime.ticket(id)?.join().await.is_ok() {
            return Err(Finding::failed("let in", "an executor that was declared exited joins again"));
        }
        Ok(Evidence::new()
            .with("gone_after_ms", millis(gone))
            .with("lease_ms", millis(lease(runtime)))
            .with("runs", runtime.tally.of(1).len()))
    })
    .await
}

pub(super) async fn program_stopped(context: Context) -> Checked {
    stopped(context, |played| Some(played.process)).await
}

pub(super) async fn supervisor_stopped(context: Context) -> Checked {
    stopped(context, |played| parent_of(played.process)).await
}

async fn stopped(context: Context, which: fn(&Played) -> Option<u32>) -> Checked {
    Runtime::with(&context, setup(false), async |runtime| {
        runtime.apart().await?;
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let there = runtime.begun(1, 0).await?;
        let process = which(&there).ok_or_else(|| Finding::lacks("a process table that tells parents"))?;
        let since = clock::now();
        signal(runtime, process, Signal::STOP).await?;
        let (at, exit) = runtime.loss_of(ExecutorId(there.executor), LOST_AFTER + SLACK).await?;
        let within = lease(runtime).max(runtime.context().deadline(DeadlineName::Exit));
        let gone = gone(runtime, &[Some(process), Some(there.process)], since, within).await?;
        runtime.begun(1, 1).await?;
        runtime.tally.let_go(1);
        runtime
            .within("its task runs elsewhere", task)
            .await?
            .map_err(|error| Finding::failed("counted", format!("{error:#}")))?;
        Ok(Evidence::new()
            .with("found_after_ms", millis(at.since(since)))
            .with("timeout_ms", millis(LOST_AFTER))
            .with("gone_after_ms", millis(gone))
            .with("exit", exit.to_string()))
    })
    .await
}

pub(super) async fn heartbeats_pass(context: Context) -> Checked {
    Runtime::with(&context, Setup { slots: 2, ..setup(false) }, async |runtime| {
        // results that nobody takes, until the window is full
        let mut unread =
            runtime.driver.with(TaskOptions::new().window(64)).map(fill, (0..4000).map(|_| 200 << 10));
        // and tasks that answer nobody, on a slot of each executor
        let deaf: Vec<_> =
            (1..=2).map(|key| runtime.driver.submit(play, runtime.tally.call(key, Act::Wait))).collect();
        let first = runtime.begun(1, 0).await?;
        runtime
            .context()
            .never("an executor is lost behind a full window", LOST_AFTER * 2, async || {
                (runtime.losses() > 0).then(|| format!("{} executors were lost", runtime.losses()))
            })
            .await?;
        runtime.tally.let_go(1);
        runtime.begun(2, 0).await?;
        runtime.tally.let_go(2);
        let taken = runtime.within("a result is taken after all", unread.next()).await?;
        if !matches!(&taken, Some(Ok(bytes)) if bytes.len() == 200 << 10) {
            return Err(Finding::failed("wrong value", "a result that waited was not given"));
        }
        drop(unread);
        for task in deaf {
            let played = runtime.within("a task that answered nobody ends", task).await?;
            played.map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
        }
        Ok(Evidence::new()
            .with("watched_ms", millis(LOST_AFTER * 2))
            .with("losses", runtime.losses())
            .with("first_on", first.executor))
    })
    .await
}

/// Waits until these processes have ended; answers how long after `since` that was.
async fn gone(
    runtime: &Runtime,
    processes: &[Option<u32>],
    since: Moment,
    within: Duration,
) -> Result<Duration, Finding> {
    let left = within.saturating_sub(clock::now().since(since));
    runtime
        .context()
        .eventually("the executor's processes are gone", left, async || {
            let alive: Vec<_> = processes.iter().flatten().filter(|process| is_alive(**process)).collect();
            if alive.is_empty() { Ok(()) } else { Err(format!("processes {alive:?} live")) }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("left over", seen),
            other => other,
        })?;
    Ok(clock::now().since(since))
}

fn lease(runtime: &Runtime) -> Duration {
    runtime.driver.settings().lease
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
