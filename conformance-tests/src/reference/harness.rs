use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::Name;
use convoke_core::manager::{ClusterManager, Managed};
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_core::{Error, ErrorKind, Result};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::client::{Line, Reference};
use super::daemon::DAEMON;
use super::folder;
use super::hooks::ReferenceHooks;
use crate::harness::{Environment, Guard, Harness, Room, Sizes};

/// Simulated nodes: how many, and what each has.
#[derive(Debug, Clone)]
pub struct ReferenceNodes {
    /// How many.
    pub count: u32,
    /// What each has.
    pub each: Resources,
}

impl Default for ReferenceNodes {
    /// Three nodes of 16 cpus, 8 GiB and two devices, of which the kit's executors use little.
    fn default() -> ReferenceNodes {
        let mut each = Resources::new(Cpus::whole(16), MiB(8192));
        each.named.extend(Name::new("gpu").map(|name| (name, 2)));
        ReferenceNodes { count: 3, each }
    }
}

/// The reference manager's harness, with every hook.
#[derive(Debug, Default)]
pub struct ReferenceHarness {
    /// What the nodes are.
    pub nodes: ReferenceNodes,
    /// What its addresses begin with: a mutant's name.
    pub label: String,
}

impl ReferenceHarness {
    /// An environment whose manager is `wrap` around the reference: how mutants are made.
    ///
    /// # Errors
    /// `Host` where the daemon can't be started.
    pub async fn environment_of(
        &self,
        wrap: impl FnOnce(Arc<dyn ClusterManager>) -> Arc<dyn ClusterManager>,
    ) -> Result<Environment> {
        let folder = folder::make().map_err(|error| Error::host("no folder for the reference", error))?;
        let hosts: Vec<Name> =
            (0..self.nodes.count).map(|number| Name::new(format!("node-{number}"))).collect::<Result<_>>()?;
        let nodes: BTreeMap<&Name, &Resources> = hosts.iter().map(|host| (host, &self.nodes.each)).collect();
        let nodes = serde_json::to_string(&nodes).map_err(|e| Error::internal("nodes as JSON").source(e))?;
        let daemon =
            Arc::new(DaemonProcess { folder: folder.path().to_owned(), nodes, child: Mutex::default() });
        daemon.start().await?;
        let line = Arc::new(Line::default());
        let reference = Reference { folder: folder.path().to_owned(), line: line.clone() };
        let each = self.sizes().executor;
        let fit = |amount: u64, need: u64| amount.checked_div(need).unwrap_or(u64::MAX);
        let on_one = fit(self.nodes.each.cpus.millis(), each.cpus.millis())
            .min(fit(self.nodes.each.memory.0, each.memory.0));
        Ok(Environment {
            manager: wrap(Arc::new(Managed::new(reference))),
            hooks: Arc::new(ReferenceHooks {
                daemon: daemon.clone(),
                line,
                each,
                folder: folder.path().to_owned(),
                label: self.label.clone(),
            }),
            room: Room {
                executors: Some(u32::try_from(on_one).unwrap_or(u32::MAX).saturating_mul(self.nodes.count)),
                largest_node: Some(self.nodes.each.clone()),
                hosts,
                uncounted: Vec::new(),
            },
            guard: Box::new(ReferenceGuard { daemon, _folder: folder }),
        })
    }
}

#[async_trait]
impl Harness for ReferenceHarness {
    fn subject(&self) -> String {
        "the reference manager".to_owned()
    }

    async fn environment(&self) -> Result<Environment> {
        self.environment_of(|manager| manager).await
    }

    fn dial(&self, address: &str) -> Result<Arc<dyn ClusterManager>> {
        let (_, folder) = address.split_once('|').unwrap_or(("", address));
        Ok(Arc::new(Managed::new(Reference { folder: folder.into(), line: Arc::default() })))
    }

    fn sizes(&self) -> Sizes {
        Sizes { scale: 16, applications: 40, tasks: 0, ..Sizes::default() }
    }

    fn published(&self) -> Option<PathBuf> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/certificates/reference");
        self.label.is_empty().then_some(base)
    }

    fn reproduce(&self) -> String {
        "cargo test -p convoke-conformance --test conformance".to_owned()
    }
}

/// The daemon, as a process that can be killed and started again.
#[derive(Debug)]
pub(super) struct DaemonProcess {
    folder: PathBuf,
    nodes: String,
    child: Mutex<Option<Child>>,
}

/// The daemon is up within this, or something is wrong.
const UP_WITHIN: Duration = Duration::from_secs(20);

impl DaemonProcess {
    pub(super) async fn start(&self) -> Result<()> {
        let socket = self.folder.join("socket");
        let _ = std::fs::remove_file(&socket); // a daemon that was killed leaves it
        let program = convoke_core::process::spawn::own_program();
        let child = Command::new(program)
            .arg(DAEMON)
            .arg(&self.folder)
            .arg(&self.nodes)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::host("can't start the reference's daemon", error))?;
        *self.child.lock().await = Some(child);
        let up = async {
            while tokio::net::UnixStream::connect(&socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(UP_WITHIN, up)
            .await
            .map_err(|_| Error::new(ErrorKind::DeadlineExceeded, "the reference's daemon does not come up"))
    }

    /// SIGKILL, at once.
    pub(super) async fn kill(&self) -> Result<()> {
        if let Some(mut child) = self.child.lock().await.take() {
            child.kill().await.map_err(|error| Error::host("can't kill the reference's daemon", error))?;
        }
        Ok(())
    }

    /// Lets it end its executors and go.
    async fn end(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        drop(child.stdin.take());
        match tokio::time::timeout(UP_WITHIN, child.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "the reference's daemon does not end")),
        }
    }
}

/// Ends the daemon with all that it started; the folder goes with it.
#[derive(Debug)]
struct ReferenceGuard {
    daemon: Arc<DaemonProcess>,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl Guard for ReferenceGuard {
    async fn clean_up(self: Box<Self>) -> Result<()> {
        self.daemon.end().await
    }
}
