//! A1 to A4, A9, A12: wishes, and the number of executors that they come to.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::manager::Target;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};

use super::room;
use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::harness::Hook;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};
use crate::view::View;

/// A `set_target` that takes longer than this does more than to record a wish.
const IMMEDIATE: Duration = Duration::from_millis(250);

/// A1: a burst comes to its last wish, and saying it again changes nothing.
pub(super) async fn last_wish_wins(context: Context) -> Checked {
    context.need_room(8)?;
    let application = context.register().await?;
    let mut slowest = Duration::ZERO;
    for executors in [1, 5, 2, 8, 3, 0, 3] {
        let began = clock::now();
        application.target(executors)?;
        slowest = slowest.max(clock::now().since(began));
    }
    if slowest > IMMEDIATE {
        return Err(Finding::failed("not immediate", format!("`set_target` took {slowest:?}")));
    }
    let first = application.settled(3).await?;
    let generation = application.target(3)?;
    if application.target(3)? != generation {
        return Err(Finding::failed("not idempotent", "saying the same again gives another generation"));
    }
    stays(&context, &application, &first, "the same wish again").await?;
    Ok(Evidence::new().with("executors", first.len()).with("slowest_wish_ms", slowest.as_secs_f64() * 1000.0))
}

/// A1: a wish made during an outage holds after it.
pub(super) async fn wish_in_an_outage(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(1)?;
    application.settled(1).await?;
    context.hooks().cut_network().await.map_err(|e| Finding::of_hook(Hook::CutNetwork, e))?;
    application.target(2)?;
    application.target(3)?;
    context.hooks().mend_network().await.map_err(|e| Finding::of_hook(Hook::MendNetwork, e))?;
    application.settled(3).await?;
    Ok(Evidence::new().with("executors", 3))
}

/// A2: the number is reached, and holds: no process more, no process less.
pub(super) async fn reached_and_held(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    application.target(4)?;
    let surplus = |finding| match finding {
        Finding::Failed { seen, .. } if context.witness().ever(application.id()) > 4 => {
            Finding::failed("surplus", seen)
        }
        other => other,
    };
    let executors = application.settled(4).await.map_err(surplus)?;
    stays(&context, &application, &executors, "a target that is met").await.map_err(surplus)?;
    let ever = context.witness().ever(application.id());
    if ever != 4 {
        return Err(Finding::failed("surplus", format!("{ever} processes were started for a target of 4")));
    }
    Ok(Evidence::new().with("executors", 4).with("processes_started", ever))
}

/// A2: a grant that nobody asked for is given back.
pub(super) async fn surplus(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    let native = application.handle()?.info().native;
    context.hooks().over_grant(&native).await.map_err(|e| Finding::of_hook(Hook::OverGrant, e))?;
    crate::wait::pass(context.deadline(DeadlineName::Quiet)).await;
    let still = application.settled(2).await.map_err(|finding| match finding {
        Finding::Failed { seen, .. } => Finding::failed("surplus", seen),
        other => other,
    })?;
    if still != executors {
        return Err(Finding::failed("wrong one", format!("{executors:?} became {still:?}")));
    }
    Ok(Evidence::new().with("over_granted", 1).with("held", 2))
}

/// A3: what exits unasked, with code 0 or not, is replaced under a new id.
pub(super) async fn replaced(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(3)?;
    let first = application.settled(3).await?;
    application.order(first[0], ToProbe::Exit(0))?;
    application.order(first[1], ToProbe::Exit(3))?;
    for executor in &first[..2] {
        application.exit_of(*executor, context.deadline(DeadlineName::Exit)).await?;
    }
    let second = application.settled(3).await.map_err(|finding| match finding {
        Finding::Failed { seen, .. } => Finding::failed("not replaced", seen),
        other => other,
    })?;
    if !second.contains(&first[2]) {
        return Err(Finding::failed(
            "disturbed",
            format!("{:?} did not exit by itself and is gone", first[2]),
        ));
    }
    Ok(Evidence::new().with("replaced", 2).with("executors", format!("{first:?} became {second:?}")))
}

/// A4: lowering ends nothing that runs, and withdraws what is not granted.
pub(super) async fn lowering(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(3)?;
    let executors = application.settled(3).await?;
    application.target(1)?;
    stays(&context, &application, &executors, "lowering").await.map_err(|finding| match finding {
        Finding::Failed { seen, .. } => Finding::failed("ended", seen),
        other => other,
    })?;
    // what exits above the lowered target is not replaced
    application.order(executors[0], ToProbe::Exit(0))?;
    application.exit_of(executors[0], context.deadline(DeadlineName::Exit)).await?;
    stays(&context, &application, &executors[1..], "an exit above the target").await?;
    Ok(Evidence::new().with("kept", 3).with("target", 1))
}

/// A4: what isn't granted yet is withdrawn: room that appears later is not used.
pub(super) async fn withdrawn(context: Context) -> Checked {
    let taken = room::all_but_one(&context).await?;
    let application = context.register().await?;
    application.target(4)?;
    let executors = application.settled(1).await?;
    application.target(1)?;
    taken.give_back(&context).await?;
    stays(&context, &application, &executors, "what was withdrawn is not granted").await.map_err(
        |finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("not withdrawn", seen),
            other => other,
        },
    )?;
    Ok(Evidence::new().with("withdrawn", 3))
}

/// A9: a profile that can't be met does not keep the others from theirs, and new ones may come.
pub(super) async fn profiles(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    let usual = context.profile();
    let largest = context.room().largest_node.as_ref().map_or(MiB(1 << 29), |node| MiB(node.memory.0 * 2));
    let absurd = Resources::new(Cpus::from_millis(100), largest);
    let starving = std::sync::Arc::new(convoke_core::resource::ResourceProfile {
        each: absurd,
        ..(*context.profile_numbered(1)).clone()
    });
    application.wish(Target::of(starving.clone(), 1).and(usual.clone(), 2))?;
    application.settled(2).await.map_err(|finding| match finding {
        Finding::Failed { seen, .. } => Finding::failed("blocked", seen),
        other => other,
    })?;
    let other = context.profile_numbered(2);
    application.wish(Target::of(starving, 1).and(usual.clone(), 2).and(other.clone(), 2))?;
    application.settled(4).await?;
    let (of_usual, of_other) = application.told(|v| (v.live_of(usual.id).len(), v.live_of(other.id).len()));
    if (of_usual, of_other) != (2, 2) {
        return Err(Finding::failed(
            "mixed",
            format!("{of_usual} and {of_other} of two profiles, not 2 and 2"),
        ));
    }
    Ok(Evidence::new().with("profiles", 3).with("starving", 1))
}

/// A12: the hard maximum is never exceeded, by events or processes; those being released count.
pub(super) async fn hard_maximum(context: Context) -> Checked {
    context.need_room(6)?;
    let application = context.register_as(Setup { max_executors: Some(3), ..Setup::default() }).await?;
    let most = |application: &Driven| {
        let live = application.told(|v| v.live().len());
        live.max(context.witness().probes(application.id()))
    };
    application.target(6)?;
    let executors = application.settled(3).await?;
    application.release(
        &executors[..1],
        context.deadline(DeadlineName::Grace),
        convoke_core::manager::Then::Replace,
    )?;
    let watch = context.deadline(DeadlineName::Grace) + context.deadline(DeadlineName::Quiet);
    context
        .never("no more than the hard maximum of 3", watch, async || {
            let most = most(&application);
            (most > 3).then(|| format!("{most} executors"))
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("over the maximum", seen),
            other => other,
        })?;
    // a burst counts too: what was ever there at once, by the events
    let at_once = application.told(most_at_once);
    if at_once > 3 {
        return Err(Finding::failed(
            "over the maximum",
            format!("{at_once} executors at once, by the events"),
        ));
    }
    application.settled(3).await?;
    Ok(Evidence::new().with("maximum", 3).with("wished", 6).with("most_at_once", at_once))
}

/// The most executors that were granted and not exited at one time.
fn most_at_once(view: &View) -> usize {
    use convoke_core::manager::What;
    let (mut now, mut most) = (0_usize, 0);
    for (_, event) in &view.events {
        match event.what {
            What::Granted(_) => now += 1,
            What::Exited { .. } => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// Watches that exactly these executors live, each with one process.
pub(super) async fn stays(
    context: &Context,
    application: &Driven,
    executors: &[convoke_core::ids::ExecutorId],
    what: &str,
) -> Result<(), Finding> {
    context
        .never(&format!("nothing changes by {what}"), context.deadline(DeadlineName::Quiet), async || {
            let live = application.told(View::live);
            let probes = context.witness().probes(application.id());
            (live != executors || probes != executors.len())
                .then(|| format!("{live:?} live and {probes} processes, of {executors:?}"))
        })
        .await
}
