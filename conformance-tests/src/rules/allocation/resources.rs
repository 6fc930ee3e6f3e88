//! A5, A6: what executors get, and why not.

use std::sync::Arc;

use convoke_core::manager::{ExitCause, Reason, Shortfall, Target};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::units::MiB;

use super::room;
use super::targets::stays;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};

/// A5: a grant is no smaller than its profile.
pub(super) async fn granted(context: Context) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    let each = context.profile().each.clone();
    for executor in &executors {
        let actual =
            application.told(|v| v.executors[executor].granted.as_ref().map(|grant| grant.actual.clone()));
        match actual {
            Some(actual) if actual.fits(&each) => {}
            other => {
                return Err(Finding::failed(
                    "too small",
                    format!("{executor:?} was granted {other:?}, not {each}"),
                ));
            }
        }
    }
    Ok(Evidence::new().with("each", each.to_string()))
}

/// A5: an executor over its memory is ended, for that reason.
pub(super) async fn memory(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let limit = context.profile().each.memory;
    application.order(executors[0], ToProbe::Eat(limit.0 * 3))?;
    let exit = application.exit_of(executors[0], context.deadline(DeadlineName::Exit)).await?;
    match exit.cause {
        ExitCause::OutOfMemory { .. } => {
            Ok(Evidence::new().with("limit", limit.to_string()).with("exit", exit.to_string()))
        }
        _ => Err(Finding::failed(
            "wrong cause",
            format!("three times its memory, and it exited with {exit:?}"),
        )),
    }
}

/// A5: one that keeps within its memory is left alone.
pub(super) async fn within_memory(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let half = context.profile().each.memory.0 / 2;
    application.ask(executors[0], ToProbe::Eat(half)).await?;
    stays(&context, &application, &executors, "half of its memory").await?;
    Ok(Evidence::new().with("took_mib", half))
}

/// A5: executors that each take more than half of a node are one to a node, and no more than there are nodes.
pub(super) async fn never_overfilled(context: Context) -> Checked {
    let hosts = context.room().hosts.clone();
    let largest = context.room().largest_node.clone();
    let largest = largest.ok_or_else(|| Finding::lacks("the size of the largest node"))?;
    if context.harness().shared() {
        return Err(Finding::lacks("a cluster of its own: this fills it"));
    }
    if hosts.is_empty() || hosts.len() > 8 {
        return Err(Finding::lacks("one to eight nodes with known names"));
    }
    let nodes = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let most_of_it = Resources::new(context.profile().each.cpus, MiB(largest.memory.0 * 3 / 5));
    let profile = Arc::new(ResourceProfile { each: most_of_it.clone(), ..(*context.profile()).clone() });
    let application = context.register().await?;
    application.wish(Target::of(profile, nodes + 1))?;
    let executors = application.settled(nodes).await?;
    stays(&context, &application, &executors, "a wish for one more than there is room for").await.map_err(
        |finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("overfilled", seen),
            other => other,
        },
    )?;
    let mut used: Vec<_> =
        application.told(|v| v.executors.values().filter_map(|t| t.granted.as_ref()?.host.clone()).collect());
    used.sort_unstable();
    used.dedup();
    if used.len() != executors.len() {
        return Err(Finding::failed("overfilled", format!("{} executors on {used:?}", executors.len())));
    }
    Ok(Evidence::new().with("nodes", nodes).with("each", most_of_it.to_string()))
}

/// A6: what can never fit is told with true numbers, and what fits is granted all the same.
pub(super) async fn never_fits(context: Context) -> Checked {
    let Some(largest) = context.room().largest_node.clone() else {
        return Err(Finding::lacks("the size of the largest node"));
    };
    let application = context.register().await?;
    let each = Resources::new(context.profile().each.cpus, MiB(largest.memory.0 * 2));
    let profile = Arc::new(ResourceProfile { each: each.clone(), ..(*context.profile()).clone() });
    application.wish(Target::of(profile, 1))?;
    let told = told(&context, &application, "NoNodeLargeEnough for memory", |reason| {
        matches!(reason, Reason::NoNodeLargeEnough { resource, needed, largest_total }
            if resource.as_str() == "memory" && *needed >= each.memory.0 && *largest_total == largest.memory.0)
    })
    .await?;
    Ok(Evidence::new().with("reason", told))
}

/// A6: what has no room now is told so, is granted when there is, and the reason goes away.
pub(super) async fn room_appears(context: Context) -> Checked {
    let taken = room::all_but_one(&context).await?;
    let application = context.register().await?;
    application.target(2)?;
    application.settled(1).await?;
    let reason = told(&context, &application, "NothingFreeNow", |reason| {
        matches!(reason, Reason::NothingFreeNow { .. })
    })
    .await?;
    taken.give_back(&context).await?;
    application.settled(2).await?;
    let within = context.deadline(DeadlineName::Explain);
    context
        .eventually("no reason where nothing is short", within, async || match application.explain().await {
            Ok(none) if none.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await?;
    Ok(Evidence::new().with("reason", reason))
}

async fn told(
    context: &Context,
    application: &Driven,
    what: &str,
    is_it: impl Fn(&Reason) -> bool,
) -> Result<String, Finding> {
    let within = context.deadline(DeadlineName::Explain);
    context
        .eventually(&format!("`explain` tells {what}"), within, async || {
            let shortfalls: Vec<Shortfall> =
                application.explain().await.map_err(|finding| format!("{finding:?}"))?;
            let reasons: Vec<&Reason> = shortfalls.iter().flat_map(|short| &short.reasons).collect();
            match reasons.iter().find(|reason| is_it(reason)) {
                Some(reason) => Ok(reason.to_string()),
                None => Err(format!("{reasons:?}")),
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("wrong reason", seen),
            other => other,
        })
}
