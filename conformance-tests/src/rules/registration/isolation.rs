//! R3: two applications of one name never see each other.

use std::time::Duration;

use convoke_core::manager::{Outcome, Then};

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::verdict::{Checked, Evidence, Finding};

/// Twins of one name and moment: what one is told, releases and ends is its own alone.
pub(super) async fn twins(context: Context) -> Checked {
    context.need_room(4)?;
    let (one, other) = tokio::join!(context.register(), context.register());
    let (one, other) = (one?, other?);
    one.target(2)?;
    other.target(2)?;
    let (of_one, of_other) = tokio::join!(one.settled(2), other.settled(2));
    let (of_one, of_other) = (of_one?, of_other?);
    let natives = |v: &crate::view::View| -> Vec<String> {
        v.executors.values().filter_map(|told| Some(told.granted.as_ref()?.native.clone())).collect()
    };
    let (natives_of_one, natives_of_other) = (one.told(natives), other.told(natives));
    if let Some(shared) = natives_of_one.iter().find(|native| natives_of_other.contains(native)) {
        return Err(Finding::failed("mixed", format!("both applications were granted {shared}")));
    }
    let answers = one.release(&of_one, Duration::ZERO, Then::LowerTarget)?;
    for executor in &of_one {
        one.exit_of(*executor, context.deadline(DeadlineName::Exit)).await?;
    }
    undisturbed(&context, &other, &of_other, "the other's release").await?;
    one.unregister(Outcome::Succeeded).await??;
    undisturbed(&context, &other, &of_other, "the other's end").await?;
    let snapshot = other.handle()?.snapshot();
    if snapshot.executors.keys().copied().collect::<Vec<_>>() != of_other {
        return Err(Finding::failed("mixed", format!("its snapshot shows {:?}", snapshot.executors.keys())));
    }
    Ok(Evidence::new().with("released", answers.len()).with("undisturbed", of_other.len()))
}

async fn undisturbed(
    context: &Context,
    application: &crate::driven::Driven,
    executors: &[convoke_core::ids::ExecutorId],
    by: &str,
) -> Result<(), Finding> {
    context
        .never(
            &format!("an application is not disturbed by {by}"),
            context.deadline(DeadlineName::Quiet),
            async || {
                let live = application.told(crate::view::View::live);
                let connected: Vec<_> = context.witness().connected(application.id()).into_iter().collect();
                (live != executors || connected != executors)
                    .then(|| format!("{live:?} live, {connected:?} connected, of {executors:?}"))
            },
        )
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("mixed", seen),
            other => other,
        })
}
