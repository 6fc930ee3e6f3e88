//! The life of one executor: from its grant until nothing of it is left.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::Error;
use convoke_core::executor::{environment as names, inline};
use convoke_core::manager::{Blame, Exit, ExitCause, Grant, LaunchFailure, LogLimits, Program, Wanted};
use convoke_core::process::cgroup::{Cgroup, CgroupLimits};
use convoke_core::process::table::{ProcessId, Table};
use convoke_core::resource::Resources;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::application::Shared;
use crate::folder::ExecutorFolder;
use crate::launch::{self, Executable};
use crate::master::LocalMaster;
use crate::process::FirstProcess;
use crate::record::{ExecutorRecord, now_ms};
use crate::state::nodes::Granted;
use crate::{exit, spawn, tree};

/// What an executor is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    Run,
    /// End now.
    Stop(StopCause),
    /// Its driver is gone.
    Abandon,
}

/// Why an executor is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// Core asked.
    Released,
    /// The application is closing.
    Unregistered,
    /// Its node died.
    NodeLost,
    /// Somebody ended its application.
    Killed,
}

impl StopCause {
    fn cause(self) -> ExitCause {
        match self {
            StopCause::Released => ExitCause::Released,
            StopCause::Unregistered => ExitCause::Unregistered,
            StopCause::NodeLost => ExitCause::NodeLost,
            StopCause::Killed => ExitCause::KilledByOperator,
        }
    }
}

/// From SIGTERM to the end from outside. Its guard and supervisor keep a grace of one second themselves; they are given
/// that and a little more.
const GRACE: Duration = Duration::from_millis(1500);
/// How long a supervisor that lost its guard may take to end its tree: its own grace and a little more.
const LEFT_ALONE: Duration = Duration::from_millis(2500);

/// What was prepared for a start.
struct Prepared {
    command: std::process::Command,
    executable: Executable,
    ticket: zeroize::Zeroizing<String>,
    limits: LogLimits,
}

/// An executor that was started.
struct Running {
    process: FirstProcess,
    /// Whether that is a guard of ours.
    guarded: bool,
}

/// One granted executor.
pub(crate) struct Executor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) granted: Granted,
    pub(crate) actual: Resources,
    pub(crate) orders: watch::Receiver<Order>,
}

impl Executor {
    /// Starts it, waits for its end, reports both.
    pub(crate) async fn live(mut self) {
        let id = self.wanted.executor;
        self.shared.report.granted(Grant {
            executor: id,
            profile: self.wanted.profile.id,
            native: format!("{}-{id}", self.shared.spec.id),
            host: Some(self.granted.host.clone()),
            actual: self.actual.clone(),
            devices: self.granted.devices.clone(),
        });
        let folder = self.shared.folder.executor(id);
        let mut record = ExecutorRecord {
            host: self.granted.host.clone(),
            resources: self.actual.clone(),
            process: Some(std::process::id()),
            since_ms: now_ms(),
            exit: None,
        };
        if matches!(self.shared.cluster.master, LocalMaster::Inline { .. }) {
            record.write(&folder.path);
            let exit = self.live_inline().await;
            record.ended(&exit, &folder.path);
            self.shared.report.exited(id, exit);
            return;
        }
        let cgroup = self.cgroup(folder.clone()).await;
        let exit = match self.start(&folder, cgroup.as_ref()).await {
            Err(exit) => {
                if exit.blame == Blame::Infrastructure {
                    self.shared.cluster.launch_tried(&self.granted.host, false);
                }
                exit
            }
            Ok(running) => {
                self.shared.cluster.launch_tried(&self.granted.host, true);
                record.process = running.process.id().and_then(|id| u32::try_from(id.number).ok());
                record.write(&folder.path);
                self.shared.report.launched(id, Vec::new());
                self.until_gone(running, cgroup.as_ref()).await
            }
        };
        tracing::debug!(executor = %id, application = %self.shared.spec.id, %exit, "executor has exited");
        record.ended(&exit, &folder.path);
        let exit = self.clean_up(exit, folder, cgroup).await;
        self.shared.report.exited(id, exit);
    }

    /// On threads of this process.
    async fn live_inline(&mut self) -> Exit {
        let (spec, wanted) = (Arc::clone(&self.shared.spec), Arc::clone(&self.wanted));
        let asked =
            tokio::task::spawn_blocking(move || spec.launcher.launch(wanted.executor, &wanted.profile)).await;
        let mut launch = match asked {
            Ok(launch) => launch,
            Err(error) => {
                return launch::failed(LaunchFailure::Other, format!("preparing its start failed: {error}"));
            }
        };
        if launch.program != Program::Bootstrap || !launch.files.is_empty() {
            let message =
                "an executor inside this process runs nothing but this program, and has no folder for files";
            return launch::failed(LaunchFailure::Other, message);
        }
        match launch::devices(&self.granted.devices) {
            Ok(Some(devices)) => drop(launch.env.insert(names::DEVICES.to_owned(), devices)),
            Ok(None) => {}
            Err(error) => return launch::failed(LaunchFailure::Other, error.to_string()),
        }
        self.shared.report.launched(self.wanted.executor, Vec::new());
        let stop = CancellationToken::new();
        let running = inline::run(&launch.env, &launch.ticket, stop.clone());
        tokio::pin!(running);
        tokio::select! {
            exit = &mut running => exit,
            order = ordered(&mut self.orders) => {
                stop.cancel();
                let exit = running.await;
                match order {
                    Order::Stop(cause) => Exit::new(cause.cause(), exit.message),
                    Order::Run | Order::Abandon => Exit::new(ExitCause::Unregistered, exit.message),
                }
            }
        }
    }

    async fn cgroup(&self, folder: ExecutorFolder) -> Option<Cgroup> {
        let name = format!("{}-{}", self.shared.spec.id, self.wanted.executor);
        let limits = CgroupLimits {
            memory: Some(self.actual.memory),
            cpu_share: Some(self.actual.cpus),
            cpu_quota: None,
        };
        let made = tokio::task::spawn_blocking(move || {
            let group = Cgroup::create(&name, &limits)?;
            if let Some(group) = &group {
                // For whoever sweeps after us, should we be killed.
                folder.create().and_then(|()| fs::write(&folder.cgroup, group.folders())).or_else(
                    |error| {
                        group.remove()?;
                        Err(Error::host("can't note the control group", error))
                    },
                )?;
            }
            Ok::<_, Error>(group)
        });
        match made.await {
            Ok(Ok(group)) => group,
            Ok(Err(error)) => {
                tracing::warn!(%error, "no control group for an executor; its supervisor watches its memory");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "making a control group failed");
                None
            }
        }
    }

    async fn start(&self, folder: &ExecutorFolder, cgroup: Option<&Cgroup>) -> Result<Running, Exit> {
        let prepared = self.prepare(folder.clone(), cgroup).await?;
        if *self.orders.borrow() != Order::Run {
            return Err(Exit::new(ExitCause::Withdrawn, "taken back before it was started"));
        }
        let Prepared { command, executable, ticket, limits } = prepared;
        let child =
            spawn::spawn(command.into()).await.map_err(|error| launch::not_started(&executable, &error))?;
        let guarded = executable.keeps_logs;
        let id = child.id().and_then(ProcessId::of);
        if let (false, Some(group), Some(id)) = (guarded, cgroup, id) {
            // A guard enters by itself, before it starts anything; a program of the node knows nothing of it.
            if let Err(error) = enter(group, id) {
                tracing::warn!(%error, "an executor's program is not in its control group");
            }
        }
        let mut process = FirstProcess::new(child, (!guarded).then_some((folder, &limits)));
        process.give(ticket.as_bytes()).await;
        Ok(Running { process, guarded })
    }

    /// Makes folder and command on a thread of its own: it reads and writes files, and asks code of the application.
    async fn prepare(&self, folder: ExecutorFolder, cgroup: Option<&Cgroup>) -> Result<Prepared, Exit> {
        let spec = Arc::clone(&self.shared.spec);
        let wanted = Arc::clone(&self.wanted);
        let devices = self.granted.devices.clone();
        let cgroup_folders = cgroup.map(Cgroup::folders);
        let prepared = tokio::task::spawn_blocking(move || {
            let launch = spec.launcher.launch(wanted.executor, &wanted.profile);
            folder.create().map_err(|error| launch::not_written("the folder", &folder.work, &error))?;
            launch::place_files(&launch.files, &folder)?;
            let executable = launch::executable(&launch.program, &spec.bootstrap, &folder)?;
            let command = launch::command(&executable, &launch, &folder, &devices, cgroup_folders)
                .map_err(|error| launch::not_written("the folder", &folder.logs, &error))?;
            let ticket = zeroize::Zeroizing::new(launch::ticket_line(&launch));
            Ok(Prepared { command, executable, ticket, limits: launch.logs })
        });
        prepared.await.unwrap_or_else(|error| {
            Err(launch::failed(LaunchFailure::Other, format!("preparing its start failed: {error}")))
        })
    }

    async fn until_gone(&mut self, mut running: Running, cgroup: Option<&Cgroup>) -> Exit {
        let mut stopped = None;
        let mut patience = LEFT_ALONE;
        tokio::select! {
            () = running.process.exited() => {
                if !running.guarded {
                    patience = Duration::ZERO;
                }
            }
            order = ordered(&mut self.orders) => {
                patience = GRACE;
                match order {
                    Order::Stop(StopCause::NodeLost) => {
                        stopped = Some(StopCause::NodeLost);
                        patience = Duration::ZERO;
                    }
                    Order::Stop(cause) => {
                        stopped = Some(cause);
                        running.process.terminate();
                    }
                    // The end of its standard input tells it the same.
                    Order::Run | Order::Abandon => stopped = Some(StopCause::Unregistered),
                }
                running.process.hang_up();
            }
        }
        let gone = tokio::time::timeout(patience, running.process.gone()).await.is_ok();
        // Nobody has looked after the children of a program of the node itself: what left its output behind may live on.
        if !gone || !running.guarded {
            self.end_from_outside(running.process.id(), cgroup.cloned()).await;
            running.process.gone().await;
        }
        let memory_kills = match cgroup {
            Some(cgroup) if cgroup.keeps_memory() => cgroup.memory_kills().unwrap_or(0),
            _ => 0,
        };
        exit::of(&exit::Evidence {
            status: running.process.status(),
            stopped: stopped.map(StopCause::cause),
            killed_from_outside: !gone,
            memory_kills,
            limit: self.actual.memory,
            guarded: running.guarded,
        })
    }

    async fn end_from_outside(&self, guard: Option<ProcessId>, cgroup: Option<Cgroup>) {
        let application = self.shared.spec.id.clone();
        let executor = self.wanted.executor;
        let ended = tokio::task::spawn_blocking(move || {
            tree::end_executor(&application, executor, guard, cgroup.as_ref());
        });
        if let Err(error) = ended.await {
            tracing::warn!(%error, "ending an executor from outside failed");
        }
    }

    async fn clean_up(&self, exit: Exit, folder: ExecutorFolder, cgroup: Option<Cgroup>) -> Exit {
        let told = exit.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            if let Some(cgroup) = cgroup {
                match cgroup.kill(Duration::from_secs(5)).and_then(|()| cgroup.remove()) {
                    Ok(()) => {
                        let _ = fs::remove_file(&folder.cgroup); // the next sweep finds no group there
                    }
                    Err(error) => tracing::warn!(%error, "can't remove an executor's control group"),
                }
            }
            folder.remove_work();
            exit::with_log_tail(exit, &folder)
        });
        cleaned.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cleaning up after an executor failed");
            told
        })
    }
}

/// Moves a process into a group, and what it started meanwhile.
fn enter(group: &Cgroup, process: ProcessId) -> std::io::Result<()> {
    let folders = group.folders();
    let mut moved = BTreeSet::new();
    let mut next = vec![process.number];
    while !next.is_empty() {
        for number in next {
            moved.insert(number);
            for folder in folders.split(':') {
                match fs::write(format!("{folder}/cgroup.procs"), number.to_string()) {
                    Err(error) if number == process.number && process.is_alive() => return Err(error),
                    _ => {} // one of its children may have ended by now
                }
            }
        }
        let below = Table::read()?.descendants(&[process.number]);
        next = below.iter().map(|entry| entry.id.number).filter(|number| !moved.contains(number)).collect();
    }
    Ok(())
}

/// Waits for an order other than to go on. The giver of orders is gone: so is the driver's handle.
async fn ordered(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.wait_for(|order| *order != Order::Run).await {
        Ok(order) => *order,
        Err(_) => Order::Abandon,
    }
}
