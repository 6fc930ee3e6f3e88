//! The local backend goes through the conformance kit.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use convoke_conformance::{Environment, Harness, Hooked, Hooks, Room, Sizes};
use convoke_core::Result;
use convoke_core::ids::Name;
use convoke_core::manager::Managed;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_local::Local;

fn main() -> ExitCode {
    convoke_conformance::main::<LocalCluster>()
}

/// Two simulated nodes, each with room for eight of the kit's executors.
#[derive(Debug, Default)]
struct LocalCluster;

#[async_trait]
impl Harness for LocalCluster {
    fn subject(&self) -> String {
        "local-cluster[2,2,512MiB]".to_owned()
    }

    async fn environment(&self) -> Result<Environment> {
        let local = Local::new(&self.subject().parse()?, &Default::default())?;
        let manager = Arc::new(Managed::new(local));
        Ok(Environment {
            manager: manager.clone(),
            hooks: Arc::new(Nodes(manager)),
            room: Room {
                executors: Some(16),
                largest_node: Some(Resources::new(Cpus::whole(2), MiB(512))),
                hosts: vec![Name::new("node-1")?, Name::new("node-2")?],
                ..Room::default()
            },
            guard: Box::new(()),
        })
    }

    fn sizes(&self) -> Sizes {
        Sizes { scale: 16, tasks: 0, ..Sizes::default() }
    }

    fn reproduce(&self) -> String {
        "cargo test -p convoke-local --test conformance".to_owned()
    }
}

#[derive(Debug)]
struct Nodes(Arc<Managed<Local>>);

#[async_trait]
impl Hooks for Nodes {
    async fn kill_node(&self, host: &Name) -> Hooked {
        Ok(self.0.provisioner().kill_node(host.as_str())?)
    }

    async fn revive_node(&self, host: &Name) -> Hooked {
        Ok(self.0.provisioner().return_node(host.as_str())?)
    }
}
