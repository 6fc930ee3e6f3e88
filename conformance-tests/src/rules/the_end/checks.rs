//! T1, T3, T4: how an application ends.

use convoke_core::manager::Outcome;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::harness::Hook;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};

/// Two executors with two children each that try to escape.
async fn with_children(context: &Context) -> Result<(Driven, usize), Finding> {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(2)?;
    for executor in application.settled(2).await? {
        application.ask(executor, ToProbe::IgnoreTerminate).await?;
        application.ask(executor, ToProbe::Fork(2)).await?;
    }
    context
        .eventually("four escaped children", context.deadline(DeadlineName::Settle), async || {
            match context.witness().children(application.id()) {
                4 => Ok(()),
                other => Err(format!("{other} are connected")),
            }
        })
        .await
        .map_err(|_| {
            Finding::CouldNotRun(convoke_core::Error::internal("the probes' children don't call"))
        })?;
    let processes = context.witness().in_process_table(application.id()).len();
    Ok((application, processes))
}

/// T1: `unregister` answers when nothing is left, and may be called again.
pub(super) async fn unregister(context: Context) -> Checked {
    let (application, processes) = with_children(&context).await?;
    application
        .unregister(Outcome::Succeeded)
        .await?
        .map_err(|error| Finding::failed("not ended", format!("`unregister`: {error:#}")))?;
    // it has answered: at this very moment nothing may be left
    if let Some(left) = context.witness().remains(application.id()) {
        // a connection's end may be on its way through the kernel: the process table is the judge, where there is one
        let there = context.witness().in_process_table(application.id());
        if !there.is_empty() || !context.witness().on_this_host() {
            return Err(Finding::failed("left over", format!("`unregister` answered, and there is: {left}")));
        }
    }
    application.nothing_remains(context.deadline(DeadlineName::Exit)).await?;
    application
        .unregister(Outcome::Succeeded)
        .await?
        .map_err(|error| Finding::failed("not idempotent", format!("the second `unregister`: {error:#}")))?;
    Ok(Evidence::new().with("processes_before", processes).with("escaped_children", 4).with("left", 0))
}

/// T3: a dropped handle leaves no process past the lease, and nothing at the manager.
pub(super) async fn dropped(context: Context) -> Checked {
    let (application, processes) = with_children(&context).await?;
    let id = application.id().clone();
    application.abandon();
    let lease = context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease);
    context.nothing_remains_of(&id, lease + context.deadline(DeadlineName::Exit)).await?;
    let evidence = Evidence::new().with("processes_before", processes).with("left", 0);
    match context.hooks().list_existing(id.as_str()).await {
        Ok(_) => {
            crate::rules::nothing_at_the_manager(&context, id.as_str()).await?;
            Ok(evidence.with("at_the_manager", 0))
        }
        // no hook: the processes alone were seen
        Err(_) => Ok(evidence.with("at_the_manager", "not looked at: no hook list-existing")),
    }
}

/// T4: the outcome is shown.
pub(super) async fn outcome(context: Context) -> Checked {
    let application = context.register().await?;
    let native = application.handle()?.info().native;
    let message = "the kit says so";
    let _ = application.unregister(Outcome::Failed(message.into())).await?;
    let shown =
        context.hooks().outcome_shown(&native).await.map_err(|e| Finding::of_hook(Hook::OutcomeShown, e))?;
    if shown.contains(message) {
        Ok(Evidence::new().with("shown", shown))
    } else {
        Err(Finding::failed("outcome", format!("failed with {message:?}, and the manager shows {shown:?}")))
    }
}
