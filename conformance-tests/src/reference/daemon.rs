//! The reference's daemon: a process of its own, which the kit's hooks kill and start again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::ExitCause;
use convoke_core::process::table::ProcessId;
use convoke_core::process::tree::kill_trees;
use convoke_core::resource::Resources;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::cluster::{Booked, Cluster, Node, Placed};
use super::executor;
use super::wire::{FromDaemon, ToDaemon, WantedOnWire};

/// The argument that makes this program the daemon: `DAEMON folder nodes-as-JSON`.
pub(super) const DAEMON: &str = "convoke-reference-daemon";

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// What a dead node's executors are waited for before they are given up.
const NODE_LOST_AFTER: Duration = Duration::from_millis(300);

/// Plays the daemon, and never returns, where the arguments say so.
pub(crate) fn become_daemon_if_asked() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, folder, nodes] = arguments.as_slice() else { return };
    if mode != DAEMON {
        return;
    }
    let code = match serve(Path::new(folder), nodes) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("the reference's daemon can't go on: {error}");
            1
        }
    };
    std::process::exit(code);
}

/// The daemon's shared state.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    pub(super) folder: PathBuf,
    cluster: Arc<Mutex<Cluster>>,
}

fn serve(folder: &Path, nodes: &str) -> std::io::Result<()> {
    let nodes: BTreeMap<Name, Resources> = serde_json::from_str(nodes)?;
    let nodes = nodes.into_iter().map(|(name, total)| (name, Node::new(total)));
    let cluster = Cluster { nodes: nodes.collect(), ..Cluster::default() };
    let daemon = Daemon { folder: folder.to_owned(), cluster: Arc::new(Mutex::new(cluster)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        daemon.remember()?;
        let path = folder.join("socket");
        let _ = std::fs::remove_file(&path); // a killed daemon leaves it
        let listener = tokio::net::UnixListener::bind(&path)?;
        let keeper = daemon.clone();
        tokio::spawn(async move { keeper.keep_leases().await });
        let mut connections = 0;
        let (parent, mut gone) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0_u8]); // an error is an end too
            drop(parent);
        });
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    connections += 1;
                    let (daemon, number) = (daemon.clone(), connections);
                    let (stream, _) = accepted?;
                    tokio::spawn(async move { daemon.converse(stream, number).await });
                }
                // the kit's process is gone, however it ended
                _ = &mut gone => {
                    daemon.end_everything();
                    return std::fs::remove_dir_all(folder);
                }
            }
        }
    })
}

impl Daemon {
    pub(super) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn executor_folder(&self, application: &ApplicationId, executor: ExecutorId) -> PathBuf {
        executor_folder(&self.folder, application, executor)
    }

    async fn converse(self, stream: UnixStream, number: u64) {
        let (lines, mut out) = stream.into_split();
        let mut lines = BufReader::new(lines).lines();
        let (news, mut queue) = mpsc::unbounded_channel::<FromDaemon>();
        let writing = tokio::spawn(async move {
            while let Some(news) = queue.recv().await {
                let Ok(mut line) = serde_json::to_vec(&news) else { break };
                line.push(b'\n');
                if out.write_all(&line).await.is_err() {
                    break;
                }
            }
        });
        let mut application = None;
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(ToDaemon::Open { application: id, lease_ms }) => {
                    self.open(&id, lease_ms, number, &news);
                    application = Some(id);
                }
                Ok(ToDaemon::Hook(hook)) => {
                    let answer = self.hook(hook).await;
                    let (trouble, lines) = match answer {
                        Ok(lines) => (None, lines),
                        Err(trouble) => (Some(trouble), Vec::new()),
                    };
                    let _ = news.send(FromDaemon::Hooked { trouble, lines });
                }
                Ok(asked) => {
                    if let Some(id) = &application {
                        self.carry_out(id, asked, &news);
                    }
                }
                Err(error) => eprintln!("the reference's daemon does not understand {line}: {error}"),
            }
        }
        if let Some(id) = application
            && let Some(booked) = self.cluster().applications.get_mut(&id)
            && booked.connection == number
        {
            booked.client = None;
            booked.alone_since = clock::now();
        }
        drop(news);
        let _ = writing.await; // what is left to say goes out, or nobody is there
    }

    fn open(&self, id: &ApplicationId, lease_ms: u64, number: u64, news: &mpsc::UnboundedSender<FromDaemon>) {
        let mut cluster = self.cluster();
        let booked = cluster
            .applications
            .entry(id.clone())
            .or_insert_with(|| Booked { native: format!("reference-{id}"), ..Booked::default() });
        booked.lease_ms = lease_ms;
        booked.connection = number;
        booked.client = Some(news.clone());
        booked.tell(FromDaemon::Opened { native: booked.native.clone() });
        for told in booked.replay() {
            booked.tell(told);
        }
        drop(cluster);
        self.keep();
    }

    fn carry_out(&self, id: &ApplicationId, asked: ToDaemon, news: &mpsc::UnboundedSender<FromDaemon>) {
        let mut cluster = self.cluster();
        let Some(booked) = cluster.applications.get_mut(id) else {
            if matches!(asked, ToDaemon::Close { .. }) {
                let _ = news.send(FromDaemon::Closed); // whoever asked may have gone
            }
            return;
        };
        match asked {
            ToDaemon::Start { wanted } => {
                for wanted in wanted {
                    let known = booked.executors.contains_key(&wanted.executor)
                        || booked.burnt.contains(&wanted.executor)
                        || booked.waiting.iter().any(|waits| waits.executor == wanted.executor);
                    if !known {
                        booked.last = Some(wanted.clone());
                        booked.waiting.push(wanted);
                    }
                }
                drop(cluster);
                self.place();
            }
            ToDaemon::Stop { executors } => {
                booked.waiting.retain(|wanted| !executors.contains(&wanted.executor));
                booked.burnt.extend(&executors);
                let stopped: Vec<Placed> = executors
                    .iter()
                    .filter_map(|id| booked.executors.get(id))
                    .filter(|placed| placed.exit.is_none())
                    .cloned()
                    .collect();
                drop(cluster);
                stopped.iter().for_each(end);
            }
            ToDaemon::Close { outcome } => {
                drop(cluster);
                let (daemon, id) = (self.clone(), id.clone());
                tokio::spawn(async move { daemon.close(&id, &outcome).await });
            }
            ToDaemon::List { question } => {
                let mut executors = booked.live();
                executors.extend(booked.waiting.iter().map(|wanted| wanted.executor));
                let _ = news.send(FromDaemon::Listed { question, executors });
            }
            ToDaemon::Explain { question, like } => {
                let reasons = cluster.reasons(&like);
                let _ = news.send(FromDaemon::Explained { question, reasons });
            }
            ToDaemon::Open { .. } | ToDaemon::Hook(_) => {}
        }
    }

    /// Grants and starts what fits.
    pub(super) fn place(&self) {
        let starts = self.cluster().place();
        self.keep();
        for (application, wanted) in starts {
            let daemon = self.clone();
            tokio::spawn(async move { daemon.run(&application, wanted).await });
        }
    }

    async fn run(&self, application: &ApplicationId, wanted: WantedOnWire) {
        let folder = self.executor_folder(application, wanted.executor);
        let (disk_full, devices) = {
            let cluster = self.cluster();
            let placed =
                cluster.applications.get(application).and_then(|b| b.executors.get(&wanted.executor));
            let node = placed.and_then(|placed| cluster.nodes.get(&placed.node));
            let devices = placed.map(|placed| placed.devices.clone()).unwrap_or_default();
            (node.is_some_and(|node| node.disk_full), devices)
        };
        let ended = match executor::start(&folder, &wanted.command, &devices, disk_full) {
            Err((cause, message)) => (cause, message),
            Ok(mut child) => {
                let guard = child.id().and_then(ProcessId::of);
                {
                    let mut cluster = self.cluster();
                    if let Some(booked) = cluster.applications.get_mut(application)
                        && let Some(placed) = booked.executors.get_mut(&wanted.executor)
                    {
                        placed.guard = guard.map(|guard| (guard.number, guard.started_ticks));
                        let placed = placed.clone();
                        booked.tell(FromDaemon::Launched { executor: wanted.executor });
                        if booked.burnt.contains(&wanted.executor) {
                            end(&placed); // stopped while it was being started
                        }
                    }
                }
                self.keep();
                match child.wait().await {
                    Ok(status) => match std::os::unix::process::ExitStatusExt::signal(&status) {
                        Some(signal) => (ExitCause::Signal(signal), String::new()),
                        None => (ExitCause::Code(status.code().unwrap_or(-1)), String::new()),
                    },
                    Err(error) => (ExitCause::Unknown, error.to_string()),
                }
            }
        };
        self.ended(application, wanted.executor, ended.0, ended.1).await;
    }

    pub(super) async fn ended(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        cause: ExitCause,
        message: String,
    ) {
        let (node_is_dead, act) = {
            let cluster = self.cluster();
            let placed = cluster.applications.get(application).and_then(|b| b.executors.get(&executor));
            let node = placed.and_then(|placed| cluster.nodes.get(&placed.node));
            (node.is_some_and(|node| !node.alive), placed.and_then(|placed| placed.act.clone()))
        };
        let (cause, message) = if node_is_dead {
            tokio::time::sleep(NODE_LOST_AFTER).await;
            (ExitCause::NodeLost, "its node is dead".to_owned())
        } else {
            act.unwrap_or((cause, message))
        };
        let tail = executor::log_tail(&self.executor_folder(application, executor));
        self.cluster().exited(application, executor, cause, message, tail);
        self.place();
    }

    /// Ends an application: answers once nothing of it runs.
    pub(super) async fn close(&self, id: &ApplicationId, outcome: &str) {
        let stopped: Vec<Placed> = {
            let mut cluster = self.cluster();
            let Some(booked) = cluster.applications.get_mut(id) else { return };
            booked.waiting.clear();
            let all: Vec<ExecutorId> = booked.executors.keys().copied().collect();
            booked.burnt.extend(all);
            booked.executors.values().filter(|placed| placed.exit.is_none()).cloned().collect()
        };
        stopped.iter().for_each(end);
        loop {
            let live = self.cluster().applications.get(id).map_or(0, |booked| booked.live().len());
            if live == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut cluster = self.cluster();
        if let Some(booked) = cluster.applications.remove(id) {
            booked.tell(FromDaemon::Closed);
            cluster.outcomes.insert(booked.native, outcome.to_owned());
        }
        drop(cluster);
        self.keep();
        self.place();
    }

    /// Ends applications whose driver has been away for their lease.
    async fn keep_leases(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let expired: Vec<ApplicationId> = {
                let cluster = self.cluster();
                let alone = cluster.applications.iter().filter(|(_, booked)| {
                    booked.client.is_none()
                        && clock::now().since(booked.alone_since) >= Duration::from_millis(booked.lease_ms)
                });
                alone.map(|(id, _)| id.clone()).collect()
            };
            for id in expired {
                self.close(&id, "lease expired").await;
            }
        }
    }

    fn end_everything(&self) {
        let cluster = self.cluster();
        let executors = cluster.applications.values().flat_map(|booked| booked.executors.values());
        let guards: Vec<ProcessId> = executors.filter_map(guard_of).collect();
        if let Err(error) = kill_trees(&guards) {
            eprintln!("the reference's daemon can't end its executors: {error}");
        }
    }
}

/// Where one executor has its work, its logs and its ticket.
pub(super) fn executor_folder(folder: &Path, application: &ApplicationId, executor: ExecutorId) -> PathBuf {
    folder.join(format!("{application}-{executor}"))
}

pub(super) fn guard_of(placed: &Placed) -> Option<ProcessId> {
    placed.guard.map(|(number, started_ticks)| ProcessId { number, started_ticks })
}

/// SIGTERM, a second, SIGKILL for the whole tree.
pub(super) fn end(placed: &Placed) {
    let Some(guard) = guard_of(placed) else { return };
    if let Err(error) = guard.signal(Signal::TERM) {
        eprintln!("the reference's daemon can't end process {}: {error}", guard.number);
    }
    tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        if guard.is_alive() {
            let killed = tokio::task::spawn_blocking(move || kill_trees(&[guard])).await;
            if !matches!(killed, Ok(Ok(()))) {
                eprintln!("the reference's daemon can't kill process {}: {killed:?}", guard.number);
            }
        }
    });
}
