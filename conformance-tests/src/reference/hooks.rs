//! The hooks of the reference: what its daemon does for them, and how they reach it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::ExitCause;
use convoke_core::process::tree::kill_trees;
use convoke_core::resource::Resources;
use convoke_core::{Error, ErrorKind};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::client::Line;
use super::cluster::Placed;
use super::daemon::{Daemon, end, guard_of};
use super::harness::DaemonProcess;
use super::wire::{FromDaemon, HookOnWire, ToDaemon, WantedOnWire};
use crate::harness::{Hooked, Hooks, Traffic};

/// How long a daemon that died alone is away.
const DAEMON_AWAY: Duration = Duration::from_millis(300);

impl Daemon {
    /// Carries out a hook; answers its lines, or why it can't.
    pub(super) async fn hook(&self, hook: HookOnWire) -> Result<Vec<String>, String> {
        match hook {
            HookOnWire::KillNode(host) => self.kill_node(&host).await,
            HookOnWire::ReviveNode(host) => self.change(&host, |node| node.alive = true),
            HookOnWire::FillDisk(host) => self.change(&host, |node| node.disk_full = true),
            HookOnWire::FreeDisk(host) => self.change(&host, |node| node.disk_full = false),
            HookOnWire::DrainNode { host, after_ms } => self.drain_node(&host, after_ms),
            HookOnWire::Preempt { native } => self.preempt(&native),
            HookOnWire::Take { executors, each } => self.take(executors, &each),
            HookOnWire::GiveBack => {
                let mut cluster = self.cluster();
                for (host, taken) in std::mem::take(&mut cluster.taken) {
                    if let Some(node) = cluster.nodes.get_mut(&host) {
                        node.free.give_back(&taken);
                    }
                }
                drop(cluster);
                self.place();
                Ok(Vec::new())
            }
            HookOnWire::OverGrant { native } => self.over_grant(&native),
            HookOnWire::EndApplication { native } => self.end_application(&native).await,
            HookOnWire::Existing { application } => Ok(self.existing(&application)),
            HookOnWire::Outcome { native } => {
                let outcome = self.cluster().outcomes.get(&native).cloned();
                outcome.map(|outcome| vec![outcome]).ok_or_else(|| format!("{native} has not ended"))
            }
        }
    }

    fn change(
        &self,
        host: &Name,
        change: impl FnOnce(&mut super::cluster::Node),
    ) -> Result<Vec<String>, String> {
        self.cluster().nodes.get_mut(host).map(change).ok_or_else(|| format!("no node {host}"))?;
        self.place();
        Ok(Vec::new())
    }

    fn on_node(&self, host: &Name) -> Vec<(ApplicationId, ExecutorId, Placed)> {
        let cluster = self.cluster();
        let all = cluster.applications.iter().flat_map(|(application, booked)| {
            booked.executors.iter().map(|(id, placed)| (application.clone(), *id, placed.clone()))
        });
        all.filter(|(_, _, placed)| placed.node == *host && placed.exit.is_none()).collect()
    }

    async fn kill_node(&self, host: &Name) -> Result<Vec<String>, String> {
        self.change(host, |node| node.alive = false)?;
        // what ends now is booked as lost, a moment later, as by a manager that has to notice
        let guards: Vec<_> =
            self.on_node(host).iter().filter_map(|(_, _, placed)| guard_of(placed)).collect();
        tokio::task::spawn_blocking(move || kill_trees(&guards))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        Ok(Vec::new())
    }

    fn drain_node(&self, host: &Name, after_ms: u64) -> Result<Vec<String>, String> {
        self.change(host, |node| node.draining = true)?;
        for (application, executor, _) in self.on_node(host) {
            if let Some(booked) = self.cluster().applications.get(&application) {
                let why = format!("{host} will be taken down");
                booked.tell(FromDaemon::Draining { executors: vec![executor], until_ms: after_ms, why });
            }
        }
        let (daemon, host) = (self.clone(), host.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            for (application, executor, _) in daemon.on_node(&host) {
                let act = (ExitCause::NodeDrained, format!("{host} was taken down"));
                daemon.act(&application, executor, act);
            }
        });
        Ok(Vec::new())
    }

    /// The manager ends an executor, and says why.
    fn act(&self, application: &ApplicationId, executor: ExecutorId, act: (ExitCause, String)) {
        let mut cluster = self.cluster();
        let booked = cluster.applications.get_mut(application);
        let placed = booked.and_then(|booked| booked.executors.get_mut(&executor));
        if let Some(placed) = placed.filter(|placed| placed.exit.is_none()) {
            placed.act = Some(act);
            end(placed);
        }
    }

    fn preempt(&self, native: &str) -> Result<Vec<String>, String> {
        let found = {
            let cluster = self.cluster();
            cluster.applications.iter().find_map(|(id, booked)| {
                let executor = native.strip_prefix(&booked.native)?.strip_prefix('-')?.parse().ok()?;
                Some((id.clone(), ExecutorId(executor)))
            })
        };
        let (application, executor) = found.ok_or_else(|| format!("no executor {native}"))?;
        self.act(&application, executor, (ExitCause::Preempted, "somebody else needs its room".into()));
        Ok(Vec::new())
    }

    fn take(&self, executors: u32, each: &Resources) -> Result<Vec<String>, String> {
        let mut cluster = self.cluster();
        for _ in 0..executors {
            let name =
                cluster.nodes.iter_mut().find_map(|(name, node)| node.free.take(each).then(|| name.clone()));
            let name = name.ok_or("there is not so much to take")?;
            cluster.taken.push((name, each.clone()));
        }
        Ok(Vec::new())
    }

    /// One more like its last, under a number that nobody asked for.
    fn over_grant(&self, native: &str) -> Result<Vec<String>, String> {
        let mut cluster = self.cluster();
        let booked = cluster.applications.values_mut().find(|booked| booked.native == native);
        let booked = booked.ok_or_else(|| format!("no application {native}"))?;
        let like: Option<WantedOnWire> = booked.last.clone();
        let mut wanted = like.ok_or("it never wanted one")?;
        wanted.executor = ExecutorId(u64::from(u32::MAX) + wanted.executor.0);
        booked.waiting.push(wanted);
        drop(cluster);
        self.place();
        Ok(Vec::new())
    }

    async fn end_application(&self, native: &str) -> Result<Vec<String>, String> {
        let id = {
            let cluster = self.cluster();
            let found = cluster.applications.iter().find(|(_, booked)| booked.native == native);
            let (id, booked) = found.ok_or_else(|| format!("no application {native}"))?;
            booked.tell(FromDaemon::Ended { by: "the kit's operator".into() });
            id.clone()
        };
        self.close(&id, "killed by an operator").await;
        Ok(Vec::new())
    }

    fn existing(&self, application: &str) -> Vec<String> {
        let cluster = self.cluster();
        let booked = cluster.applications.iter().find(|(id, _)| id.as_str() == application);
        let Some((id, booked)) = booked else { return Vec::new() };
        let mut lines = vec![format!("application {id}")];
        lines.extend(booked.waiting.iter().map(|wanted| format!("pending executor {}", wanted.executor)));
        lines.extend(booked.live().iter().map(|executor| format!("executor {executor}")));
        lines
    }
}

/// The hooks of one environment.
#[derive(Debug)]
pub(super) struct ReferenceHooks {
    pub(super) daemon: Arc<DaemonProcess>,
    pub(super) line: Arc<Line>,
    pub(super) each: Resources,
    pub(super) folder: PathBuf,
    pub(super) label: String,
}

impl ReferenceHooks {
    async fn ask(&self, hook: HookOnWire) -> Hooked<Vec<String>> {
        let failed = |error: std::io::Error| Error::host("the reference's daemon can't be asked", error);
        let stream = tokio::net::UnixStream::connect(self.folder.join("socket")).await.map_err(failed)?;
        let (lines, mut out) = stream.into_split();
        let mut line = serde_json::to_vec(&ToDaemon::Hook(hook))
            .map_err(|error| Error::internal("a hook on the wire").source(error))?;
        line.push(b'\n');
        out.write_all(&line).await.map_err(failed)?;
        let answer = BufReader::new(lines).lines().next_line().await.map_err(failed)?.unwrap_or_default();
        match serde_json::from_str(&answer) {
            Ok(FromDaemon::Hooked { trouble: None, lines }) => Ok(lines),
            Ok(FromDaemon::Hooked { trouble: Some(trouble), .. }) => {
                Err(Error::new(ErrorKind::Host, "the hook failed").with("why", trouble).into())
            }
            _ => Err(Error::internal("not an answer to a hook").with("answer", answer).into()),
        }
    }
}

#[async_trait]
impl Hooks for ReferenceHooks {
    async fn kill_node(&self, host: &Name) -> Hooked {
        self.ask(HookOnWire::KillNode(host.clone())).await.map(drop)
    }
    async fn revive_node(&self, host: &Name) -> Hooked {
        self.ask(HookOnWire::ReviveNode(host.clone())).await.map(drop)
    }
    /// The daemon stands for the manager and for each node's: it dies, and whoever watches over it starts it again.
    async fn kill_daemon(&self, _: &Name) -> Hooked {
        self.daemon.kill().await?;
        tokio::time::sleep(DAEMON_AWAY).await;
        Ok(self.daemon.start().await?)
    }
    async fn address(&self) -> Hooked<String> {
        Ok(format!("{}|{}", self.label, self.folder.display()))
    }
    async fn preempt(&self, native: &str) -> Hooked {
        self.ask(HookOnWire::Preempt { native: native.to_owned() }).await.map(drop)
    }
    async fn stop_manager(&self) -> Hooked {
        Ok(self.daemon.kill().await?)
    }
    async fn start_manager(&self) -> Hooked {
        Ok(self.daemon.start().await?)
    }
    async fn cut_network(&self) -> Hooked {
        self.line.cut(true);
        Ok(())
    }
    async fn mend_network(&self) -> Hooked {
        self.line.cut(false);
        Ok(())
    }
    async fn fill_disk(&self, host: &Name) -> Hooked {
        self.ask(HookOnWire::FillDisk(host.clone())).await.map(drop)
    }
    async fn free_disk(&self, host: &Name) -> Hooked {
        self.ask(HookOnWire::FreeDisk(host.clone())).await.map(drop)
    }
    async fn take_resources(&self, executors: u32) -> Hooked {
        self.ask(HookOnWire::Take { executors, each: self.each.clone() }).await.map(drop)
    }
    async fn give_resources(&self) -> Hooked {
        self.ask(HookOnWire::GiveBack).await.map(drop)
    }
    async fn over_grant(&self, native: &str) -> Hooked {
        self.ask(HookOnWire::OverGrant { native: native.to_owned() }).await.map(drop)
    }
    async fn count_processes(&self, application: &str) -> Hooked<u32> {
        let processes = crate::witness::processes_with(application);
        Ok(u32::try_from(processes.len()).unwrap_or(u32::MAX))
    }
    async fn list_existing(&self, application: &str) -> Hooked<Vec<String>> {
        self.ask(HookOnWire::Existing { application: application.to_owned() }).await
    }
    async fn end_application(&self, native: &str) -> Hooked {
        self.ask(HookOnWire::EndApplication { native: native.to_owned() }).await.map(drop)
    }
    async fn drain_node(&self, host: &Name, after: Duration) -> Hooked {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.ask(HookOnWire::DrainNode { host: host.clone(), after_ms }).await.map(drop)
    }
    async fn outcome_shown(&self, native: &str) -> Hooked<String> {
        let lines = self.ask(HookOnWire::Outcome { native: native.to_owned() }).await?;
        Ok(lines.into_iter().next().unwrap_or_default())
    }
    async fn traffic(&self) -> Hooked<Traffic> {
        Ok(self.line.traffic())
    }
}
