//! L1, L2, L4 to L7: events, codes and signals, ids, the brake, the join deadline, notices.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use convoke_core::manager::{Blame, ExecutorPolicy, ExitCause, Pace, Then, What};

use super::launches::first_exit;
use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};
use crate::view::View;

/// L1: through exits, releases and replacements, events are ordered, gap-free and exactly once, up to the last.
pub(super) async fn ordered(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    application.target(3)?;
    let first = application.settled(3).await?;
    application.order(first[0], ToProbe::Exit(0))?;
    application.order(first[1], ToProbe::Signal(9))?;
    application.release(&first[2..], Duration::ZERO, Then::Replace)?;
    for executor in &first {
        application.exit_of(*executor, context.deadline(DeadlineName::Exit)).await?;
    }
    application.settled(3).await?;
    let _ = application.unregister(convoke_core::manager::Outcome::Succeeded).await?;
    context
        .eventually("the end of the stream", context.deadline(DeadlineName::Exit), async || {
            application.told(|v| if v.over { Ok(()) } else { Err(v.summary()) })
        })
        .await?;
    let count = application.told(check_order)?;
    Ok(Evidence::new().with("events", count))
}

#[allow(clippy::collapsible_match, reason = "each arm books a stage; as a guard it would hide that")]
fn check_order(view: &View) -> Result<usize, Finding> {
    #[derive(Clone, Copy, PartialEq)]
    enum Stage {
        Granted,
        Launched,
        Exited,
    }
    let mut stages = BTreeMap::new();
    let out_of_order = |seen: String| Finding::failed("out of order", seen);
    for (place, (_, event)) in view.events.iter().enumerate() {
        if event.seq != place as u64 + 1 {
            return Err(Finding::failed("gap", format!("event {} stands at place {}", event.seq, place + 1)));
        }
        match &event.what {
            What::Granted(grant) => {
                if stages.insert(grant.executor, Stage::Granted).is_some() {
                    return Err(out_of_order(format!("{:?} was granted twice", grant.executor)));
                }
            }
            What::Launched { executor, .. } => {
                if stages.insert(*executor, Stage::Launched) != Some(Stage::Granted) {
                    return Err(out_of_order(format!("{executor:?} was launched without a grant before")));
                }
            }
            What::Exited { executor, .. } => match stages.insert(*executor, Stage::Exited) {
                Some(Stage::Granted | Stage::Launched) => {}
                Some(Stage::Exited) => return Err(out_of_order(format!("{executor:?} exited twice"))),
                None => return Err(out_of_order(format!("{executor:?} exited, and was never granted"))),
            },
            What::Ended { .. } if place + 1 != view.events.len() => {
                return Err(out_of_order("there are events after Ended".to_owned()));
            }
            _ => {}
        }
    }
    if let Some((executor, _)) = stages.iter().find(|(_, stage)| **stage != Stage::Exited) {
        return Err(out_of_order(format!("the stream ended, and {executor:?} never exited")));
    }
    if !matches!(view.events.last(), Some((_, event)) if matches!(event.what, What::Ended { .. })) {
        return Err(out_of_order("the last event is not Ended".to_owned()));
    }
    Ok(view.events.len())
}

/// L2: each way to end has its true cause and blame.
pub(super) async fn causes(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    application.target(4)?;
    let executors = application.settled(4).await?;
    application.target(0)?;
    let told = [
        (executors[0], ToProbe::Exit(0), ExitCause::Code(0), Blame::Application),
        (executors[1], ToProbe::Exit(7), ExitCause::Code(7), Blame::Application),
        (executors[2], ToProbe::Signal(6), ExitCause::Signal(6), Blame::Application),
        (executors[3], ToProbe::Signal(9), ExitCause::Signal(9), Blame::Unknown),
    ];
    let mut seen = Vec::new();
    for (executor, order, _, _) in &told {
        application.order(*executor, order.clone())?;
    }
    for (executor, order, cause, blame) in told {
        let exit = application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
        if exit.cause != cause {
            return Err(Finding::failed("wrong cause", format!("{order:?} gives {exit:?}, not {cause:?}")));
        }
        if exit.blame != blame {
            return Err(Finding::failed(
                "wrong blame",
                format!("{order:?} is blamed on {:?}, not {blame:?}", exit.blame),
            ));
        }
        seen.push(format!("{order:?}: {exit}"));
    }
    Ok(Evidence::new().with("causes", seen))
}

/// L4: no id is granted twice, whatever was released, lowered and raised before.
pub(super) async fn unique_ids(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    let mut all = BTreeSet::new();
    for _ in 0..3 {
        application.target(2)?;
        let executors = application.settled(2).await?;
        if let Some(again) = executors.iter().find(|id| !all.insert(**id)) {
            return Err(Finding::failed("used again", format!("{again:?} was granted before")));
        }
        application.release(&executors, Duration::ZERO, Then::LowerTarget)?;
        for executor in executors {
            application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
        }
    }
    Ok(Evidence::new().with("ids", all.len()))
}

/// L5: a crash loop is braked, with growing pauses, and told.
pub(super) async fn braked(context: Context) -> Checked {
    let pace = |after| Pace {
        after,
        within: Duration::from_secs(60),
        first: Duration::from_millis(400),
        most: Duration::from_secs(5),
    };
    let policy = ExecutorPolicy { brake: pace(3), pace: pace(3), ..ExecutorPolicy::default() };
    let application = context.register_as(Setup { policy: Some(policy), ..Setup::default() }).await?;
    application.target(1)?;
    let watching = convoke_core::clock::now();
    let watch = Duration::from_secs(5);
    // each executor ends as soon as it is there
    let mut ended = BTreeSet::new();
    let mut end_all = || {
        for executor in context.witness().connected(application.id()) {
            if ended.insert(executor) {
                let _ = application.order(executor, ToProbe::Exit(1)); // it may have gone already
            }
        }
        context.witness().ever(application.id())
    };
    context
        .never("a crash loop is watched", watch, async || {
            end_all();
            None
        })
        .await?;
    let started = end_all();
    // 3 free, then pauses of 0.4, 0.8, 1.6, 3.2 s with 20 % of jitter: at most 7 in 5 s
    if started > 8 {
        return Err(Finding::failed("not braked", format!("{started} executors were started in {watch:?}")));
    }
    context
        .eventually("a fifth try: a brake is no end", context.deadline(DeadlineName::Fault), async || {
            match end_all() {
                tries if tries >= 5 => Ok(()),
                tries => Err(format!("{tries} executors were started")),
            }
        })
        .await?;
    let grants: Vec<_> = application.told(|v| {
        v.find(|what| matches!(what, What::Granted(_)).then_some(()))
            .map(|(at, ())| at.since(watching))
            .collect()
    });
    let failing = application.told(|v| {
        v.find(|what| match what {
            What::ExecutorsFailing { recent, next_try, .. } => Some((*recent, *next_try)),
            _ => None,
        })
        .count()
    });
    if failing == 0 {
        return Err(Finding::failed("not told", "no ExecutorsFailing in a crash loop"));
    }
    let grants: Vec<u64> = grants.iter().map(|at| at.as_millis() as u64).collect();
    Ok(Evidence::new().with("started", started).with("told", failing).with("granted_at_ms", grants))
}

/// L6: an executor that never joins is ended, and its exit says where it tried.
pub(super) async fn never_joins(context: Context) -> Checked {
    let policy =
        ExecutorPolicy { join_deadline: context.deadline(DeadlineName::Join), ..ExecutorPolicy::default() };
    // by far longer than the deadline, or it ends itself first
    let lease = Some(context.deadline(DeadlineName::Join) * 20);
    let setup = Setup { policy: Some(policy), deaf: true, lease, ..Setup::default() };
    let application = context.register_as(setup).await?;
    application.target(1)?;
    let within = context.deadline(DeadlineName::Join) + context.deadline(DeadlineName::Exit);
    let exit = first_exit(&context, &application, within).await?;
    if exit.cause != ExitCause::NeverJoined {
        return Err(Finding::failed("wrong cause", format!("it never joined, and exited with {exit:?}")));
    }
    if !exit.message.contains(context.driver_address()) {
        return Err(Finding::failed("unhelpful", format!("no address in {:?}", exit.message)));
    }
    Ok(Evidence::new().with("exit", exit.to_string()))
}

/// L7: the manager's notice is told before the executors go.
pub(super) async fn draining(context: Context) -> Checked {
    use crate::harness::Hook;
    let application = context.register().await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let host = application.told(|v| v.executors[&executors[0]].granted.as_ref().and_then(|g| g.host.clone()));
    let host = host.ok_or_else(|| Finding::failed("no host", "the grant names no host"))?;
    let after = Duration::from_secs(30);
    context.hooks().drain_node(&host, after).await.map_err(|e| Finding::of_hook(Hook::DrainNode, e))?;
    let until = context
        .eventually("Draining", context.deadline(DeadlineName::Fault), async || {
            application.told(|v| {
                let found = v.find(|what| match what {
                    What::Draining { executors: named, until, .. } if named.contains(&executors[0]) => {
                        Some(*until)
                    }
                    _ => None,
                });
                found.map(|(_, until)| until).next().ok_or_else(|| v.summary())
            })
        })
        .await?;
    Ok(Evidence::new().with("names_a_time", until.is_some()))
}
