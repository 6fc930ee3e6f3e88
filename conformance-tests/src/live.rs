//! A cluster that exists, examined from outside: what `convoke conformance` runs on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::manager::{ClusterManager, ClusterReport};
use convoke_core::resource::Resources;
use convoke_core::{ErrorKind, Result};

use crate::harness::{Environment, Harness, Room, Sizes};
use crate::hooks_program::HooksProgram;

/// Makes the subject; where the manager lives in this process, each call makes a cluster of its own.
pub type MakeManager = Arc<dyn Fn() -> Result<Arc<dyn ClusterManager>> + Send + Sync>;

/// The cluster is asked for its nodes at most this long.
const REPORT_WITHIN: Duration = Duration::from_secs(20);
/// S1's largest size, where there is room for it.
const SCALE: u32 = 40;
/// The room that a case is given where several run at once.
const ROOM_OF_A_CASE: u32 = 10;
/// As many cases run at once, at the most.
const MOST_AT_ONCE: u32 = 4;

/// What is known of a live cluster before it is examined.
#[derive(Clone)]
pub struct LiveCluster {
    /// Its name on the certificate: the master URL.
    pub subject: String,
    /// Makes its manager.
    pub make: MakeManager,
    /// What another process of this program makes it of (T2): see [`become_driver_if_asked`](crate::become_driver_if_asked).
    pub address: String,
    /// The program that injects faults, if there is one.
    pub hooks: Option<PathBuf>,
    /// The host that executors reach this process at. Loopback where the manager lives in this process or is dialled
    /// there, else the address that this machine calls others from.
    pub reached_at: Option<String>,
    /// The text of a waivers file.
    pub waivers: Option<String>,
    /// The command that a reader types to run it again.
    pub reproduce: String,
}

impl fmt::Debug for LiveCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveCluster").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// The harness of a live cluster. What it can't know is *not checkable*; a hooks program can add to it.
#[derive(Debug)]
pub struct LiveHarness {
    cluster: LiveCluster,
    shared: bool,
    room: Room,
    sizes: Sizes,
    reached_at: String,
}

impl LiveHarness {
    /// Looks at the cluster: what room it has, and whether others share it.
    ///
    /// # Errors
    /// As the manager's, where it can't be made or is out of reach.
    pub async fn look(cluster: LiveCluster) -> Result<LiveHarness> {
        let manager = (cluster.make)()?;
        let shared = manager.describe().capabilities.remote;
        let each = Sizes::default().executor;
        let room = match tokio::time::timeout(REPORT_WITHIN, manager.cluster()).await {
            Ok(Ok(report)) => room(&report, &charged(&*manager, &each)),
            Ok(Err(error)) if error.kind() == ErrorKind::Unsupported => Room::default(),
            Ok(Err(error)) => return Err(error.help("is the cluster up, and the master URL right?")),
            Err(_) => {
                return Err(convoke_core::Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the cluster does not report on its nodes",
                ));
            }
        };
        let scale = room.executors.map_or(SCALE, |room| room.min(SCALE));
        let reached_at = cluster.reached_at.clone().unwrap_or_else(|| reached_at(&cluster.subject, shared));
        let sizes = Sizes { scale, ..Sizes::default() };
        Ok(LiveHarness { cluster, shared, room, sizes, reached_at: bracketed(&reached_at) })
    }
}

#[async_trait]
impl Harness for LiveHarness {
    fn subject(&self) -> String {
        self.cluster.subject.clone()
    }

    async fn environment(&self) -> Result<Environment> {
        let LiveCluster { subject, address, .. } = &self.cluster;
        let hooks = HooksProgram::new(self.cluster.hooks.clone(), subject.clone(), address.clone());
        Ok(Environment {
            manager: (self.cluster.make)()?,
            hooks: Arc::new(hooks),
            room: self.room.clone(),
            guard: Box::new(()),
        })
    }

    fn sizes(&self) -> Sizes {
        self.sizes.clone()
    }

    fn shared(&self) -> bool {
        self.shared
    }

    fn side_by_side(&self) -> usize {
        let at_once = if self.shared {
            self.room.executors.map_or(1, |room| (room / ROOM_OF_A_CASE).clamp(1, MOST_AT_ONCE))
        } else {
            MOST_AT_ONCE
        };
        at_once as usize
    }

    fn reached_at(&self) -> String {
        self.reached_at.clone()
    }

    fn waivers(&self) -> Option<String> {
        self.cluster.waivers.clone()
    }

    fn reproduce(&self) -> String {
        self.cluster.reproduce.clone()
    }
}

/// What one of the kit's executors is charged: all cpus of a node, where the master URL says that one executor takes them.
fn charged(manager: &dyn ClusterManager, each: &Resources) -> Resources {
    let mut charged = each.clone();
    if let Some(cpus) = manager.default_executor_cpus() {
        charged.cpus = charged.cpus.max(cpus);
    }
    charged
}

/// What the nodes have room for now.
fn room(report: &ClusterReport, each: &Resources) -> Room {
    let on = |free: &Resources| {
        let of = |have: u64, need: u64| have.checked_div(need).unwrap_or(u64::MAX);
        of(free.cpus.millis(), each.cpus.millis()).min(of(free.memory.0, each.memory.0))
    };
    let executors = report.nodes.iter().map(|node| on(&node.free)).fold(0, u64::saturating_add);
    Room {
        executors: Some(u32::try_from(executors).unwrap_or(u32::MAX)),
        largest_node: report.nodes.iter().map(|node| &node.total).max_by_key(|total| total.memory).cloned(),
        hosts: report.nodes.iter().map(|node| node.host.clone()).collect(),
        uncounted: Vec::new(),
    }
}

fn reached_at(master: &str, shared: bool) -> String {
    let host = master.split_once("://").map_or("", |(_, rest)| rest);
    let here = ["127.", "localhost", "[::1]"].iter().any(|name| host.starts_with(name));
    match outward_address() {
        Some(address) if shared && !here => address.to_string(),
        _ => Ipv4Addr::LOCALHOST.to_string(),
    }
}

/// The address that this machine would call others from. Nothing is sent.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?; // TEST-NET-1, RFC 5737
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

/// As it stands before a colon and a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_core::manager::NodeReport;
    use convoke_core::units::{Cpus, MiB};

    #[test]
    fn room_is_what_is_free_by_the_scarcer_resource() {
        let node = |name: &str, cpus, free_memory| NodeReport {
            host: convoke_core::ids::Name::new(name).unwrap(),
            total: Resources::new(Cpus::whole(4), MiB(1024)),
            free: Resources::new(Cpus::from_millis(cpus), MiB(free_memory)),
            state: "up".into(),
        };
        let report = ClusterReport { nodes: vec![node("one", 350, 1024), node("two", 4000, 130)] };
        let room = room(&report, &Resources::new(Cpus::from_millis(100), MiB(64)));
        assert_eq!(room.executors, Some(3 + 2));
        assert_eq!(room.largest_node.map(|node| node.memory), Some(MiB(1024)));
        assert_eq!(room.hosts.len(), 2);
    }

    #[test]
    fn a_master_on_this_host_is_reached_by_loopback() {
        assert_eq!(reached_at("mesos://127.0.0.1:5050", true), "127.0.0.1");
        assert_eq!(reached_at("local-cluster[2,2,1GiB]", false), "127.0.0.1");
        assert_eq!(bracketed("::1"), "[::1]");
    }
}
