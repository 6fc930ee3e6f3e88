//! The local backend goes through the conformance kit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use convoke_conformance::{Environment, Guard, Harness, Hooked, Hooks, Room, Sizes, Traffic, Unhooked};
use convoke_core::ids::Name;
use convoke_core::manager::{ClusterManager, Managed, ManagerSettings};
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_core::{Error, Result};
use convoke_local::Local;

fn main() -> ExitCode {
    convoke_conformance::main::<LocalCluster>()
}

/// Two simulated nodes, each with room for eight of the kit's executors, and two devices.
#[derive(Debug, Default)]
struct LocalCluster;

const MASTER: &str = "local-cluster[2,2,512MiB]";

fn manager(folder: &Path) -> Result<Arc<Managed<Local>>> {
    let mut settings = ManagerSettings::default();
    settings.options.insert(convoke_local::settings::DIRECTORY.into(), folder.display().to_string());
    settings.options.insert(convoke_local::settings::DEVICES.into(), "gpu=2".into());
    settings.options.insert(convoke_local::settings::LOGS_KEPT.into(), "0s".into());
    Ok(Arc::new(Managed::new(Local::new(&MASTER.parse()?, &settings)?)))
}

#[async_trait]
impl Harness for LocalCluster {
    fn subject(&self) -> String {
        MASTER.to_owned()
    }

    async fn environment(&self) -> Result<Environment> {
        let folder = tempfile::tempdir().map_err(|error| Error::host("no folder for executors", error))?;
        let manager = manager(folder.path())?;
        Ok(Environment {
            manager: manager.clone(),
            hooks: Arc::new(Nodes { manager, folder: folder.path().to_owned() }),
            room: Room {
                executors: Some(16),
                largest_node: Some(Resources::new(Cpus::whole(2), MiB(512)).with(Name::new("gpu")?, 2)),
                hosts: vec![Name::new("node-1")?, Name::new("node-2")?],
                ..Room::default()
            },
            guard: Box::new(Folder(folder)),
        })
    }

    /// The manager lives in its driver's process: the cluster is what they keep in one folder.
    fn dial(&self, address: &str) -> Result<Arc<dyn ClusterManager>> {
        Ok(manager(Path::new(address))?)
    }

    fn leaves(&self) -> Vec<String> {
        vec!["folder: its executors' logs, until the next driver of the same user starts".to_owned()]
    }

    fn sizes(&self) -> Sizes {
        Sizes { scale: 16, tasks: 0, ..Sizes::default() }
    }

    fn published(&self) -> Option<PathBuf> {
        Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/certificates/local"))
    }

    fn reproduce(&self) -> String {
        "cargo test -p convoke-local --test conformance".to_owned()
    }
}

/// Where executors of one environment have their folders.
#[derive(Debug)]
struct Folder(tempfile::TempDir);

#[async_trait]
impl Guard for Folder {
    async fn clean_up(self: Box<Self>) -> Result<()> {
        self.0.close().map_err(|error| Error::host("the executors' folder can't be removed", error))
    }
}

#[derive(Debug)]
struct Nodes {
    manager: Arc<Managed<Local>>,
    folder: PathBuf,
}

/// What the manager is not, since it lives in its driver's process.
fn no_such_thing<T>(why: &str) -> Hooked<T> {
    Err(Unhooked::DoesNotApply(why.to_owned()))
}

#[async_trait]
impl Hooks for Nodes {
    async fn kill_node(&self, host: &Name) -> Hooked {
        Ok(self.manager.provisioner().kill_node(host.as_str())?)
    }
    async fn revive_node(&self, host: &Name) -> Hooked {
        Ok(self.manager.provisioner().return_node(host.as_str())?)
    }
    async fn list_existing(&self, application: &str) -> Hooked<Vec<String>> {
        let folder = self.folder.join(application);
        Ok(folder.exists().then(|| format!("folder {}", folder.display())).into_iter().collect())
    }
    async fn address(&self) -> Hooked<String> {
        Ok(self.folder.display().to_string())
    }
    async fn kill_daemon(&self, _: &Name) -> Hooked {
        no_such_thing("its simulated nodes have no daemons")
    }
    async fn fill_disk(&self, _: &Name) -> Hooked {
        no_such_thing("its simulated nodes share this host's one disk")
    }
    async fn preempt(&self, _: &str) -> Hooked {
        no_such_thing("it never preempts")
    }
    async fn outcome_shown(&self, _: &str) -> Hooked<String> {
        no_such_thing("it has no place for an outcome but its driver")
    }
    async fn traffic(&self) -> Hooked<Traffic> {
        no_such_thing("it is called by nobody but its driver")
    }
}
