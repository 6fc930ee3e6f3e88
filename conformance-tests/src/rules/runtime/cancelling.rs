//! D6: cancelling frees slots, also of code that ignores it.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::driver::jobs::TaskOptions;
use convoke_core::ids::ExecutorId;
use convoke_core::task::TaskErrorKind;

use crate::context::Context;
use crate::runtime::subject::{Runtime, Setup, is_alive};
use crate::runtime::tasks::{Act, play};
use crate::verdict::{Checked, Evidence, Finding};

/// The driver's own deadline for code that was cancelled.
const CANCEL: Duration = Duration::from_secs(5);

pub(super) async fn heeded(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(1), async |runtime| {
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Cooperate));
        let first = runtime.begun(1, 0).await?;
        let asked = clock::now();
        task.cancel();
        is_cancelled(runtime.within("the cancelled task ends", task).await?)?;
        let next = runtime.run(2, Act::Return, TaskOptions::default()).await?;
        let freed = clock::now().since(asked);
        let next = next.map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;

        let calls: Vec<_> = (10..40).map(|key| runtime.tally.call(key, Act::Cooperate)).collect();
        let mut job = runtime.driver.map(play, calls);
        runtime.begun(10, 0).await?;
        job.cancel();
        let mut cancelled = 0;
        while let Some(ended) = runtime.within("the cancelled job's tasks end", job.next()).await? {
            is_cancelled(ended)?;
            cancelled += 1;
        }
        let limited = TaskOptions::new().attempts(1).time_limit(Duration::from_millis(200));
        match runtime.run(3, Act::Cooperate, limited).await? {
            Err(error) if matches!(error.kind, TaskErrorKind::TimedOut(_)) => {}
            other => return Err(Finding::failed("wrong ending", format!("past its time limit: {other:?}"))),
        }
        let last = runtime.run(4, Act::Return, TaskOptions::default()).await?;
        let last = last.map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
        // whose code heeds its end keeps its executor
        if [next.executor, last.executor].iter().any(|executor| *executor != first.executor)
            || runtime.losses() > 0
        {
            return Err(Finding::failed(
                "replaced",
                format!("{first:?} was cancelled and returned; then came {next:?} and {last:?}"),
            ));
        }
        Ok(Evidence::new()
            .with("slot_free_after_ms", millis(freed))
            .with("tasks_of_the_job_cancelled", cancelled)
            .with("running_at_the_end", runtime.tally.running()))
    })
    .await
}

pub(super) async fn ignored(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        runtime.apart().await?;
        let there = runtime.where_they_are(2, 1000).await?;
        let task = runtime.driver.submit(play, runtime.tally.call(1, Act::Ignore));
        let deaf = runtime.begun(1, 0).await?;
        let neighbour = runtime.driver.submit(play, runtime.tally.call(2, Act::Wait));
        let other = runtime.begun(2, 0).await?;
        if deaf.executor == other.executor {
            return Err(Finding::lacks("two executors with one slot each"));
        }
        let asked = clock::now();
        task.cancel();
        is_cancelled(runtime.within("the cancelled task ends", task).await?)?;
        let within = CANCEL + runtime.context().deadline(crate::deadlines::DeadlineName::Settle);
        let next = tokio::time::timeout(within, runtime.run(3, Act::Return, TaskOptions::default()))
            .await
            .map_err(|_| {
            Finding::failed("never happened", "the slot of code that ignores its end is not free")
        })??;
        let freed = clock::now().since(asked);
        let next = next.map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
        runtime
            .settles("the process that ignored its end is gone", async || {
                if is_alive(deaf.process) { Err(format!("process {} lives", deaf.process)) } else { Ok(()) }
            })
            .await?;
        runtime.tally.let_go(2);
        let kept = runtime
            .within("the neighbour ends", neighbour)
            .await?
            .map_err(|error| Finding::failed("disturbed", format!("the neighbour: {error:#}")))?;
        if kept != other
            || runtime.lost(ExecutorId(other.executor)).is_some()
            || next.executor == deaf.executor
        {
            return Err(Finding::failed(
                "disturbed",
                format!("{other:?} became {kept:?}; then ran {next:?}"),
            ));
        }
        Ok(Evidence::new()
            .with("executors_before", there.len())
            .with("slot_free_after_ms", millis(freed))
            .with("runs_of_the_cancelled_task", runtime.tally.of(1).len()))
    })
    .await
}

fn is_cancelled<T: std::fmt::Debug, E: std::fmt::Debug>(
    ended: Result<T, convoke_core::task::TaskError<E>>,
) -> Result<(), Finding> {
    match ended {
        Err(error) if matches!(error.kind, TaskErrorKind::Cancelled) => Ok(()),
        other => Err(Finding::failed("wrong ending", format!("a cancelled task ended as {other:?}"))),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
