//! A7, A8: releases.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Blame, ExitCause, ReleaseAnswer, Then};

use super::targets::stays;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::verdict::{Checked, Evidence, Finding};

/// A7: exactly those named end, and each id is answered for.
pub(super) async fn exactly_these(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    application.target(4)?;
    let executors = application.settled(4).await?;
    let unknown = ExecutorId(u64::MAX / 3);
    let answers = application.release(&[executors[1], unknown], Duration::ZERO, Then::LowerTarget)?;
    expect(&answers, &[(executors[1], ReleaseAnswer::Accepted), (unknown, ReleaseAnswer::NeverHeardOf)])?;
    let exit = application.exit_of(executors[1], context.deadline(DeadlineName::Exit)).await?;
    if exit.cause != ExitCause::Released || exit.blame != Blame::Nobody {
        return Err(Finding::failed("wrong cause", format!("a released executor exited with {exit:?}")));
    }
    let again = application.release(&[executors[1]], Duration::ZERO, Then::LowerTarget)?;
    expect(&again, &[(executors[1], ReleaseAnswer::AlreadyExited)])?;
    let left = [executors[0], executors[2], executors[3]];
    gone(&context, &application, executors[1]).await?;
    stays(&context, &application, &left, "a release that lowers the target").await?;
    Ok(Evidence::new().with("released", 1).with("left", 3))
}

/// A7: a release that replaces has its replacement, under a new id.
pub(super) async fn replaces(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(2)?;
    let first = application.settled(2).await?;
    application.release(&first[..1], Duration::ZERO, Then::Replace)?;
    application.exit_of(first[0], context.deadline(DeadlineName::Exit)).await?;
    let second = application.settled(2).await?;
    if second.contains(&first[0]) || !second.contains(&first[1]) {
        return Err(Finding::failed("wrong one", format!("{first:?} became {second:?}")));
    }
    Ok(Evidence::new().with("replaced", 1))
}

/// A8: nothing ends before its deadline, and all of it at it.
pub(super) async fn grace(context: Context) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    let grace = context.deadline(DeadlineName::Grace);
    let began = clock::now();
    application.release(&executors[..1], grace, Then::LowerTarget)?;
    let again = application.release(&executors[..1], grace * 2, Then::LowerTarget)?;
    expect(&again, &[(executors[0], ReleaseAnswer::AlreadyReleasing)])?;
    // a moment of slack: the check's clock starts before the call, the subject's after
    let before = grace.saturating_sub(Duration::from_millis(20));
    context
        .never("no end before the deadline of a graceful release", before, async || {
            let gone = !context.witness().connected(application.id()).contains(&executors[0]);
            gone.then(|| format!("{:?} was gone after {:?}", executors[0], clock::now().since(began)))
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("too early", seen),
            other => other,
        })?;
    let exit = application.exit_of(executors[0], context.deadline(DeadlineName::Exit)).await?;
    let after = clock::now().since(began);
    if exit.cause != ExitCause::Released {
        return Err(Finding::failed("wrong cause", format!("it exited with {exit:?}")));
    }
    gone(&context, &application, executors[0]).await?;
    stays(&context, &application, &executors[1..], "a graceful release").await?;
    Ok(Evidence::new()
        .with("grace_ms", grace.as_millis() as u64)
        .with("exited_after_ms", after.as_millis() as u64))
}

/// A8: what is drained and ends by itself meanwhile has exited as released.
pub(super) async fn drained(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let grace = context.deadline(DeadlineName::Grace) * 20;
    let began = clock::now();
    application.release(&executors, grace, Then::LowerTarget)?;
    application.drain(executors[0]);
    let exit = application.exit_of(executors[0], context.deadline(DeadlineName::Exit)).await?;
    if exit.cause != ExitCause::Released || exit.blame != Blame::Nobody {
        return Err(Finding::failed("wrong cause", format!("a drained executor exited with {exit:?}")));
    }
    Ok(Evidence::new().with("exited_after_ms", clock::now().since(began).as_millis() as u64))
}

async fn gone(
    context: &Context,
    application: &crate::driven::Driven,
    executor: ExecutorId,
) -> Result<(), Finding> {
    context
        .eventually("the end of its process", context.deadline(DeadlineName::Exit), async || {
            let there = context.witness().connected(application.id()).contains(&executor);
            if there { Err(format!("{executor:?} has exited, and its process is there")) } else { Ok(()) }
        })
        .await
}

fn expect(
    answers: &[(ExecutorId, ReleaseAnswer)],
    expected: &[(ExecutorId, ReleaseAnswer)],
) -> Result<(), Finding> {
    let whole = answers.len() == expected.len() && expected.iter().all(|answer| answers.contains(answer));
    if whole {
        Ok(())
    } else {
        Err(Finding::failed("wrong answer", format!("{answers:?}, not {expected:?}")))
    }
}
