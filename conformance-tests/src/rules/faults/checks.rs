//! F1 to F4, F8: faults.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::ApplicationId;
use convoke_core::manager::{Blame, ExitCause, LaunchFailure, What};
use convoke_core::process::table::Entry;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};
use crate::view::View;

/// F1: `kill -9` of a program: signal 9, nothing of it left, replaced.
pub(super) async fn killed(context: Context) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    application.ask(executor, ToProbe::Fork(2)).await?;
    application.order(executor, ToProbe::Signal(9))?;
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    if exit.cause != ExitCause::Signal(9) {
        return Err(Finding::failed("wrong cause", format!("kill -9, and it exited with {exit:?}")));
    }
    no_children(&context, application.id()).await?;
    application.settled(1).await?;
    Ok(Evidence::new().with("exit", exit.to_string()).with("children", 2))
}

/// Waits until no child of an executor that has exited is left, however it tried to escape.
async fn no_children(context: &Context, application: &ApplicationId) -> Result<(), Finding> {
    context
        .eventually("the end of its children", context.deadline(DeadlineName::Exit), async || {
            match context.witness().children(application) {
                0 => Ok(()),
                left => Err(format!("{left} children that escaped live on")),
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("left over", seen),
            other => other,
        })
}

/// F1: `kill -9` of what the manager started: nothing of the executor is left, and it is replaced.
pub(super) async fn supervisor_killed(context: Context) -> Checked {
    // the first is what the manager started: the guard, or the probe where there is none
    process_killed(&context, "what the manager started", |processes, _| processes.first().copied()).await
}

/// F1: `kill -9` of the supervisor alone: the parent of the program, and not what the manager started.
pub(super) async fn supervisor_alone_killed(context: Context) -> Checked {
    process_killed(&context, "its supervisor", |processes, program| {
        let parent = u32::try_from(Entry::read(i32::try_from(program).ok()?)?.parent).ok()?;
        processes[1..].contains(&parent).then_some(parent)
    })
    .await
}

/// Kills the process that `which` chooses of all that an executor has, by the number of its program.
async fn process_killed(
    context: &Context,
    what: &str,
    which: impl Fn(&[u32], u32) -> Option<u32>,
) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    if !context.witness().on_this_host() {
        return Err(Finding::lacks("executors on this host, whose supervisors can be killed"));
    }
    application.ask(executor, ToProbe::Fork(1)).await?;
    let mut processes = context.witness().in_process_table(application.id());
    processes.sort_unstable();
    let program = context.witness().process(application.id(), executor).unwrap_or_default();
    let chosen = if processes.is_empty() { None } else { which(&processes, program) };
    let found = chosen.and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw);
    let Some(process) = found else {
        let seen = format!("a connected executor has no such process ({what}): {processes:?}");
        return Err(Finding::failed("no process", seen));
    };
    rustix::process::kill_process(process, rustix::process::Signal::KILL)
        .map_err(|error| Finding::lacks(format!("the right to kill {what}: {error}")))?;
    context.timeline().note(format!("{what} was killed: process {}", process.as_raw_nonzero()));
    let exit = application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    no_children(context, application.id()).await?;
    application.settled(1).await?;
    Ok(Evidence::new().with("processes", processes.len()).with("exit", exit.to_string()))
}

/// F2: a node dies: its executors are lost on infrastructure's account, and replaced elsewhere.
pub(super) async fn node_dies(context: Context) -> Checked {
    context.need_room(4)?;
    let application = context.register().await?;
    application.target(3)?;
    let executors = application.settled(3).await?;
    let host_of = |v: &View, id| v.executors.get(&id).and_then(|t| t.granted.as_ref()?.host.clone());
    let host = application.told(|v| host_of(v, executors[0]));
    let host = host.ok_or_else(|| Finding::failed("no host", "the grant names no host"))?;
    let lost: Vec<_> = application
        .told(|v| executors.iter().copied().filter(|id| host_of(v, *id) == Some(host.clone())).collect());
    context.hooks().kill_node(&host).await.map_err(|e| Finding::of_hook(Hook::KillNode, e))?;
    for executor in &lost {
        let exit = application.exit_of(*executor, context.deadline(DeadlineName::Fault)).await?;
        let lost = matches!(exit.cause, ExitCause::NodeLost | ExitCause::LostContact);
        if !lost || exit.blame != Blame::Infrastructure {
            return Err(Finding::failed(
                "wrong cause",
                format!("its node died, and it exited with {exit:?}"),
            ));
        }
    }
    application.settled(3).await?;
    Ok(Evidence::new().with("lost", lost.len()).with("host", host.as_str()))
}

/// F2: a daemon that dies alone ends nothing: its executors run on, or are given up as lost with their node.
pub(super) async fn daemon_dies(context: Context) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    let host = application.told(|v| v.executors[&executors[0]].granted.as_ref().and_then(|g| g.host.clone()));
    let host = host.ok_or_else(|| Finding::failed("no host", "the grant names no host"))?;
    context.hooks().kill_daemon(&host).await.map_err(|e| Finding::of_hook(Hook::KillDaemon, e))?;
    context.timeline().note(format!("the daemon of {host} was killed"));
    context
        .never("no executor ends with a daemon", context.deadline(DeadlineName::Quiet), async || {
            let connected = context.witness().connected(application.id());
            let lost = |exit: &&convoke_core::manager::Exit| exit.cause != ExitCause::NodeLost;
            let ended = application
                .told(|v| v.executors.values().filter_map(|t| t.exited.as_ref()).find(lost).cloned());
            match ended {
                Some(exit) => Some(format!("one exited: {exit:?}")),
                None if connected.len() < 2 => Some(format!("{connected:?} of {executors:?} are connected")),
                None => None,
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("ended", seen),
            other => other,
        })?;
    let within = context.deadline(DeadlineName::Fault) + context.deadline(DeadlineName::Settle);
    let live = context
        .eventually("two executors, taken back or replaced", within, async || {
            let live = application.told(View::live);
            if live.len() == 2 && context.witness().connected(application.id()).len() >= 2 {
                Ok(live)
            } else {
                Err(format!("{live:?} live"))
            }
        })
        .await?;
    let taken_back = live.iter().filter(|executor| executors.contains(executor)).count();
    Ok(Evidence::new().with("host", host.as_str()).with("taken_back", taken_back))
}

/// F3: the manager restarts: executors run on, and a wish made in the outage holds.
pub(super) async fn manager_restarts(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    context.hooks().stop_manager().await.map_err(|e| Finding::of_hook(Hook::StopManager, e))?;
    application.target(3)?;
    context.hooks().start_manager().await.map_err(|e| Finding::of_hook(Hook::StartManager, e))?;
    let within = context.deadline(DeadlineName::Fault);
    context
        .eventually("three executors after the restart", within, async || {
            let live = application.told(View::live);
            let connected = context.witness().connected(application.id()).len();
            if live.len() == 3 && connected == 3 {
                Ok(())
            } else {
                Err(format!("{live:?} live, {connected} connected"))
            }
        })
        .await?;
    let live = application.told(View::live);
    if !executors.iter().all(|executor| live.contains(executor)) {
        return Err(Finding::failed("ended", format!("{executors:?} did not outlive the restart: {live:?}")));
    }
    let gapless =
        application.told(|v| v.events.iter().enumerate().all(|(place, (_, e))| e.seq == place as u64 + 1));
    if !gapless {
        return Err(Finding::failed("gap", "the stream has a gap, or an event twice"));
    }
    Ok(Evidence::new().with("ran_on", 2).with("executors", 3))
}

/// F4: an outage shorter than the lease is told, costs next to no CPU and no executor.
pub(super) async fn unreachable(context: Context) -> Checked {
    let application = context
        .register_as(crate::application::Setup { lease: Some(Duration::from_secs(30)), ..Default::default() })
        .await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    context.hooks().cut_network().await.map_err(|e| Finding::of_hook(Hook::CutNetwork, e))?;
    let within = context.deadline(DeadlineName::Fault);
    let told = |what: fn(&What) -> bool| application.told(|v| v.events.iter().any(|(_, e)| what(&e.what)));
    context
        .eventually("ManagerUnreachable", within, async || {
            if told(|what| matches!(what, What::ManagerUnreachable { .. })) {
                Ok(())
            } else {
                Err("not told".into())
            }
        })
        .await?;
    let (cpu, began) = (cpu_seconds(), clock::now());
    crate::wait::pass(Duration::from_secs(2)).await;
    let share = (cpu_seconds() - cpu) / clock::now().since(began).as_secs_f64();
    context.hooks().mend_network().await.map_err(|e| Finding::of_hook(Hook::MendNetwork, e))?;
    context
        .eventually("ManagerRecovered", within, async || {
            if told(|what| matches!(what, What::ManagerRecovered { .. })) {
                Ok(())
            } else {
                Err("not told".into())
            }
        })
        .await?;
    // a loop that spins takes a whole processor; the kit itself is among what is counted
    if share > 0.5 {
        return Err(Finding::failed("spins", format!("{share:.2} processors were busy in the outage")));
    }
    if application.told(View::live) != executors {
        return Err(Finding::failed("ended", "an outage shorter than the lease cost an executor"));
    }
    Ok(Evidence::new().with("processors_busy", share))
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// F7: a full disk is a launch failure that says so, and another node is tried.
pub(super) async fn disk_full(context: Context) -> Checked {
    let hosts = context.room().hosts.clone();
    if hosts.len() < 2 {
        return Err(Finding::lacks("two nodes"));
    }
    for host in &hosts[1..] {
        context.hooks().fill_disk(host).await.map_err(|e| Finding::of_hook(Hook::FillDisk, e))?;
    }
    let application = context.register().await?;
    application.target(2)?;
    let within = context.deadline(DeadlineName::Fault);
    context
        .eventually("executors on the node with room", within, async || {
            let live = application.told(View::live).len();
            let connected = context.witness().connected(application.id()).len();
            if live == 2 && connected == 2 {
                Ok(())
            } else {
                Err(format!("{live} live, {connected} connected"))
            }
        })
        .await?;
    let failures: Vec<_> =
        application.told(|v| v.executors.values().filter_map(|t| t.exited.clone()).collect());
    if failures.is_empty() {
        return Err(Finding::lacks("a node with a full disk that was tried: none was"));
    }
    if let Some(exit) = failures.iter().find(|exit| {
        !matches!(
            exit.cause,
            ExitCause::LaunchFailed(LaunchFailure::DiskFull | LaunchFailure::UnwritableDirectory)
        )
    }) {
        return Err(Finding::failed("wrong cause", format!("a full disk gives {exit:?}")));
    }
    if let Some(exit) = failures.iter().find(|exit| exit.blame != Blame::Infrastructure) {
        return Err(Finding::failed("wrong blame", format!("a full disk gives {exit:?}")));
    }
    Ok(Evidence::new().with("failed_launches", failures.len()))
}

/// F8: an executor whose exit was told makes no event any more, and ends.
pub(super) async fn stays_exited(context: Context) -> Checked {
    context.need_room(3)?;
    let application = context.register().await?;
    application.target(2)?;
    let executors = application.settled(2).await?;
    let host = application.told(|v| v.executors[&executors[0]].granted.as_ref().and_then(|g| g.host.clone()));
    let host = host.ok_or_else(|| Finding::failed("no host", "the grant names no host"))?;
    context.hooks().kill_node(&host).await.map_err(|e| Finding::of_hook(Hook::KillNode, e))?;
    application.exit_of(executors[0], context.deadline(DeadlineName::Fault)).await?;
    context.hooks().revive_node(&host).await.map_err(|e| Finding::of_hook(Hook::ReviveNode, e))?;
    application.settled(2).await?;
    let after = application.told(|v| v.events.len());
    context
        .never("no event of what has exited", context.deadline(DeadlineName::Quiet), async || {
            application.told(|v| (v.events.len() != after).then(|| v.summary()))
        })
        .await?;
    match application.told(back_from_the_dead) {
        Some(seen) => Err(Finding::failed("came back", seen)),
        None => Ok(Evidence::new().with("exited", 1)),
    }
}

/// An event that names an executor whose exit was told before.
fn back_from_the_dead(view: &View) -> Option<String> {
    let mut exited = std::collections::BTreeSet::new();
    view.events.iter().find_map(|(_, event)| {
        let named = match &event.what {
            What::Granted(grant) => vec![grant.executor],
            What::Launched { executor, .. }
            | What::Reachable { executor }
            | What::Unreachable { executor } => vec![*executor],
            What::Draining { executors, .. } => executors.clone(),
            What::Exited { executor, .. } => {
                return (!exited.insert(*executor)).then(|| format!("{executor:?} exited twice"));
            }
            _ => Vec::new(),
        };
        let back = named.into_iter().find(|executor| exited.contains(executor));
        back.map(|executor| format!("{executor:?} has exited, and then came: {}", crate::view::line(event)))
    })
}
