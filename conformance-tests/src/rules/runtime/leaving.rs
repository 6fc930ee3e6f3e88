//! D12: executors that are to leave.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::driver::jobs::TaskOptions;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{ExitCause, Then};

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::runtime::subject::{Runtime, Setup};
use crate::runtime::tasks::{Act, play};
use crate::verdict::{Checked, Evidence, Finding};

/// Far longer than anything here takes: what leaves at once does not wait for it.
const GRACE: Duration = Duration::from_secs(600);

pub(super) async fn drained(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        let busy = runtime.driver.submit(play, runtime.tally.call(1, Act::Wait));
        let leaving = runtime.begun(1, 0).await?;
        let leaving_id = ExecutorId(leaving.executor);
        runtime.driver.drain(vec![leaving_id], GRACE, Then::Replace).await.map_err(Finding::from)?;
        let within = runtime.context().deadline(DeadlineName::Settle);
        runtime.ready(1).await?;
        // many tasks, none of which may go to the one that leaves
        for key in 100..140 {
            let ended = runtime.run(key, Act::Return, TaskOptions::default()).await?;
            let played = ended.map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
            if played.executor == leaving.executor {
                return Err(Finding::failed(
                    "new task",
                    format!("task {key} was sent to an executor that leaves"),
                ));
            }
        }
        if runtime.lost(leaving_id).is_some() || runtime.tally.running_of(1) != 1 {
            return Err(Finding::failed("ended", "what a drained executor ran was not let end"));
        }
        runtime.tally.let_go(1);
        let played = runtime
            .within("the task of the one that leaves ends", busy)
            .await?
            .map_err(|error| Finding::failed("recomputed", format!("{error:#}")))?;
        if played != leaving || runtime.tally.of(1).len() != 1 {
            return Err(Finding::failed("recomputed", format!("{leaving:?} became {played:?}")));
        }
        let let_go = clock::now();
        let (at, exit) = runtime.loss_of(leaving_id, within).await?;
        released(&exit.cause)?;

        let idle = runtime.where_they_are(2, 200).await?[0].executor;
        let asked = clock::now();
        runtime.driver.drain(vec![ExecutorId(idle)], GRACE, Then::Replace).await.map_err(Finding::from)?;
        let (gone, exit) = runtime.loss_of(ExecutorId(idle), within).await?;
        released(&exit.cause)?;
        Ok(Evidence::new()
            .with("tasks_meanwhile", 40)
            .with("left_after_its_task_ms", millis(at.since(let_go)))
            .with("idle_left_after_ms", millis(gone.since(asked)))
            .with("grace_ms", millis(GRACE)))
    })
    .await
}

pub(super) async fn noticed(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        let executors = runtime.driver.executors();
        let Some(host) = executors.iter().find_map(|status| status.host.clone()) else {
            return Err(Finding::lacks("hosts that can be drained"));
        };
        let on: Vec<ExecutorId> = executors
            .iter()
            .filter(|status| status.host.as_ref() == Some(&host))
            .map(|status| status.executor)
            .collect();
        let after = Duration::from_secs(20);
        let asked = clock::now();
        context
            .hooks()
            .drain_node(&host, after)
            .await
            .map_err(|unhooked| Finding::of_hook(Hook::DrainNode, unhooked))?;
        let within = runtime.context().deadline(DeadlineName::Fault);
        let mut left = Vec::new();
        for executor in &on {
            let (at, _) = runtime.loss_of(*executor, within).await?;
            left.push(millis(at.since(asked)));
        }
        if left.iter().any(|ms| u128::from(*ms) >= after.as_millis()) {
            return Err(Finding::failed("too late", format!("idle executors left only after {left:?} ms")));
        }
        Ok(Evidence::new().with("left_after_ms", left).with("named_time_ms", millis(after)))
    })
    .await
}

fn released(cause: &ExitCause) -> Result<(), Finding> {
    match cause {
        ExitCause::Released => Ok(()),
        other => Err(Finding::failed("wrong cause", format!("a drained executor's end is told as {other}"))),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
