//! The simulated nodes, shared by all applications of one manager.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use convoke_core::ids::Name;
use convoke_core::manager::{ClusterReport, NodeReport};
use convoke_core::resource::Resources;
use convoke_core::units::MiB;
use convoke_core::{Error, Result};

use crate::application::Shared;
use crate::executor::StopCause;
use crate::master::LocalMaster;
use crate::settings::LocalSettings;
use crate::state::nodes::{ApplicationKey, Key, Nodes, NodesEvent};

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) master: LocalMaster,
    pub(crate) settings: LocalSettings,
    nodes: Mutex<Nodes>,
    applications: Mutex<Applications>,
}

#[derive(Debug, Default)]
struct Applications {
    last: u64,
    open: BTreeMap<ApplicationKey, Weak<Shared>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    pub(crate) fn new(master: LocalMaster, settings: LocalSettings) -> Result<Cluster> {
        let with_devices = |mut each: Resources| {
            each.named = settings.devices.clone();
            each
        };
        let nodes = match &master {
            LocalMaster::Single { cpus } | LocalMaster::Inline { cpus } => {
                let memory = settings.memory.unwrap_or_else(host_memory);
                let each = Resources::new(convoke_core::units::Cpus::whole(*cpus), memory);
                vec![(Name::new("localhost")?, with_devices(each))]
            }
            LocalMaster::Cluster { nodes, each } => (1..=*nodes)
                .map(|n| Ok((Name::new(format!("node-{n}"))?, with_devices(each.clone()))))
                .collect::<Result<Vec<_>>>()?,
        };
        Ok(Cluster { master, settings, nodes: Mutex::new(Nodes::new(nodes)), applications: Mutex::default() })
    }

    /// What an executor of this profile is charged: all cpus of the node in `local[n]`, whose one executor takes all slots.
    pub(crate) fn charged(&self, each: &Resources) -> Resources {
        let mut charged = each.clone();
        if let Some(cpus) = self.master.only_executor() {
            charged.cpus = charged.cpus.max(cpus);
        }
        charged.named.retain(|_, count| *count > 0);
        charged
    }

    pub(crate) fn new_key(&self) -> ApplicationKey {
        let mut applications = lock(&self.applications);
        applications.last += 1;
        ApplicationKey(applications.last)
    }

    pub(crate) fn opened(&self, application: &Arc<Shared>) {
        lock(&self.applications).open.insert(application.key, Arc::downgrade(application));
    }

    pub(crate) fn closed(&self, key: ApplicationKey) {
        lock(&self.applications).open.remove(&key);
    }

    fn application(&self, key: ApplicationKey) -> Option<Arc<Shared>> {
        lock(&self.applications).open.get(&key)?.upgrade()
    }

    /// Tells the nodes of an event, and starts what they grant.
    pub(crate) fn handle(&self, event: NodesEvent) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut granted = Vec::new();
            lock(&self.nodes).handle(event, &mut granted);
            for grant in granted {
                let key = grant.key;
                if !self.application(key.0).is_some_and(|application| application.begin(grant)) {
                    events.push(NodesEvent::Gone(key)); // withdrawn meanwhile, or its application is gone
                }
            }
        }
    }

    /// Whether an executor could be started on a node: where not, others are tried first (F7).
    pub(crate) fn launch_tried(&self, host: &Name, worked: bool) {
        if let Ok(node) = self.find(host.as_str()) {
            self.handle(NodesEvent::LaunchTried { node, worked });
        }
    }

    /// Reads the nodes.
    pub(crate) fn with_nodes<T>(&self, read: impl FnOnce(&Nodes) -> T) -> T {
        read(&lock(&self.nodes))
    }

    /// A node of this name died: all that runs on it ends at once.
    pub(crate) fn node_died(&self, host: &str) -> Result<()> {
        let node = self.find(host)?;
        self.handle(NodesEvent::NodeDied(node));
        let on_it: Vec<Key> = self.with_nodes(|nodes| nodes.on(node).collect());
        for (application, executor) in on_it {
            if let Some(application) = self.application(application) {
                application.stop(&[executor], StopCause::NodeLost);
            }
        }
        Ok(())
    }

    pub(crate) fn node_returned(&self, host: &str) -> Result<()> {
        let node = self.find(host)?;
        self.handle(NodesEvent::NodeReturned(node));
        Ok(())
    }

    fn find(&self, host: &str) -> Result<usize> {
        self.with_nodes(|nodes| nodes.find(host)).ok_or_else(|| {
            Error::new(convoke_core::ErrorKind::NotFound, "there is no node of this name").with("host", host)
        })
    }

    pub(crate) fn report(&self) -> ClusterReport {
        self.with_nodes(|nodes| ClusterReport {
            nodes: nodes
                .nodes()
                .iter()
                .map(|node| NodeReport {
                    host: node.host.clone(),
                    total: node.total.clone(),
                    free: node.free.clone(),
                    state: if node.up { "up" } else { "down" }.to_owned(),
                })
                .collect(),
        })
    }
}

/// All memory of this host.
fn host_memory() -> MiB {
    let info = rustix::system::sysinfo();
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "its types differ by platform")]
    let bytes = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    MiB((bytes >> 20).max(1))
}
