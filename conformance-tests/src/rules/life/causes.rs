//! L2: what the manager did, and what it saw.

use std::time::Duration;

use convoke_core::manager::{Blame, Exit, ExitCause, Outcome};

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::harness::Hook;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};

fn expect(exit: &Exit, what: &str, right: impl Fn(&ExitCause) -> bool, blame: Blame) -> Result<(), Finding> {
    if !right(&exit.cause) {
        return Err(Finding::failed("wrong cause", format!("{what}, and it exited with {exit:?}")));
    }
    if exit.blame != blame {
        return Err(Finding::failed(
            "wrong blame",
            format!("{what}, blamed on {:?}, not {blame:?}", exit.blame),
        ));
    }
    Ok(())
}

async fn one(context: &Context) -> Result<(Driven, convoke_core::ids::ExecutorId), Finding> {
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    application.target(0)?;
    Ok((application, executor))
}

/// Out of memory is told as that, on the application's account, and not as a signal.
pub(super) async fn out_of_memory(context: Context) -> Checked {
    let (application, executor) = one(&context).await?;
    application.order(executor, ToProbe::Eat(context.profile().each.memory.0 * 3))?;
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    let out_of_memory = |cause: &ExitCause| matches!(cause, ExitCause::OutOfMemory { .. });
    expect(&exit, "it took too much memory", out_of_memory, Blame::Application)?;
    Ok(Evidence::new().with("exit", exit.to_string()))
}

/// What the manager takes for somebody else was preempted, on the infrastructure's account.
pub(super) async fn preempted(context: Context) -> Checked {
    let (application, executor) = one(&context).await?;
    let native = application.told(|v| v.executors[&executor].granted.as_ref().map(|g| g.native.clone()));
    let native = native.unwrap_or_default();
    context.hooks().preempt(&native).await.map_err(|e| Finding::of_hook(Hook::Preempt, e))?;
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Fault)).await?;
    expect(&exit, "it was preempted", |cause| *cause == ExitCause::Preempted, Blame::Infrastructure)?;
    Ok(Evidence::new().with("exit", exit.to_string()))
}

/// What goes with a drained node was drained, on the infrastructure's account.
pub(super) async fn drained(context: Context) -> Checked {
    let (application, executor) = one(&context).await?;
    let host = application.told(|v| v.executors[&executor].granted.as_ref().and_then(|g| g.host.clone()));
    let host = host.ok_or_else(|| Finding::failed("no host", "the grant names no host"))?;
    let soon = Duration::from_secs(1);
    context.hooks().drain_node(&host, soon).await.map_err(|e| Finding::of_hook(Hook::DrainNode, e))?;
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Fault)).await?;
    expect(&exit, "its node was drained", |cause| *cause == ExitCause::NodeDrained, Blame::Infrastructure)?;
    Ok(Evidence::new().with("exit", exit.to_string()))
}

/// What ends with its application has ended for that reason, on nobody's account.
pub(super) async fn unregistered(context: Context) -> Checked {
    let (application, executor) = one(&context).await?;
    application.unregister(Outcome::Succeeded).await??;
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    expect(&exit, "its application ended", |cause| *cause == ExitCause::Unregistered, Blame::Nobody)?;
    Ok(Evidence::new().with("exit", exit.to_string()))
}
