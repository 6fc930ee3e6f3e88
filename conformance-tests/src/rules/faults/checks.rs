//! F1 to F4, F8: faults.

use std::time::Duration;

use convoke_core::clock;
use convoke_core::manager::{Blame, ExitCause, What};

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
    context
        .eventually("the end of its children", context.deadline(DeadlineName::Exit), async || {
            match context.witness().children(application.id()) {
                0 => Ok(()),
                left => Err(format!("{left} children that escaped live on")),
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("left over", seen),
            other => other,
        })?;
    application.settled(1).await?;
    Ok(Evidence::new().with("exit", exit.to_string()).with("children", 2))
}

/// F1: `kill -9` of each process of an executor on this host but the last: nothing of it is left, and it is replaced.
pub(super) async fn supervisor_killed(context: Context) -> Checked {
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
    // the first is what the manager started: the guard, or the probe where there is none
    let Some(first) =
        processes.first().and_then(|p| i32::try_from(*p).ok()).and_then(rustix::process::Pid::from_raw)
    else {
        return Err(Finding::failed("no process", "a connected executor is not in the process table"));
    };
    rustix::process::kill_process(first, rustix::process::Signal::KILL)
        .map_err(|error| Finding::lacks(format!("the right to kill its supervisor: {error}")))?;
    application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    application.settled(1).await?;
    let left = context.witness().children(application.id());
    if left > 0 {
        return Err(Finding::failed("left over", format!("{left} children that escaped live on")));
    }
    Ok(Evidence::new().with("processes", processes.len()))
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
    Ok(Evidence::new().with("exited", 1))
}
