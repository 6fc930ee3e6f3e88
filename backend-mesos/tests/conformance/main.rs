//! The Mesos backend goes through the conformance kit, against a real Mesos 1.11 with two agents.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "all of it is test code; helpers too")]

use std::process::ExitCode;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn main() -> ExitCode {
    eprintln!("the real Mesos exists for Linux on x86-64 only: nothing was certified here");
    ExitCode::SUCCESS
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn main() -> ExitCode {
    real::main()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(dead_code, reason = "the tests beside this one use the rest of it")]
#[path = "../real/cluster.rs"]
mod cluster;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hooks;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod line;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod real {
    use std::process::ExitCode;
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;
    use convoke_conformance::{DeadlineName, Deadlines, Environment, Guard, Harness, Room, Sizes};
    use convoke_core::ids::Name;
    use convoke_core::manager::Managed;
    use convoke_core::resource::Resources;
    use convoke_core::units::{Cpus, MiB};
    use convoke_core::{Error, Result};
    use convoke_mesos::{Mesos, Settings};

    use crate::cluster::{self, Cluster};
    use crate::hooks::RealHooks;
    use crate::line::Line;

    pub(crate) fn main() -> ExitCode {
        cluster::allow(4);
        convoke_conformance::main::<RealMesos>()
    }

    /// Agents, and how many of the kit's executors fit on each.
    const AGENTS: u32 = 2;
    const ON_EACH: u32 = 8;

    /// A real master and two real agents, each a host of its own on loopback, fresh for each case.
    #[derive(Debug, Default)]
    struct RealMesos;

    #[async_trait]
    impl Harness for RealMesos {
        fn subject(&self) -> String {
            "a real Mesos 1.11.0 with two agents".to_owned()
        }

        async fn environment(&self) -> Result<Environment> {
            let arguments = ["--resources", "cpus:0.8;mem:512;disk:512"];
            let cluster = tokio::task::spawn_blocking(move || Cluster::with(AGENTS, &arguments)).await;
            let cluster = Arc::new(cluster.map_err(|error| Error::internal("no real Mesos").source(error))?);
            let line = Arc::new(Line::listen(cluster.address.clone()).await?);
            let mesos = Mesos::new(Settings::new(vec![line.address.parse()?]))?;
            let hosts = (0..AGENTS).map(|agent| Name::new(format!("127.0.0.{}", agent + 2)));
            Ok(Environment {
                manager: Arc::new(Managed::new(mesos)),
                hooks: Arc::new(RealHooks { cluster: cluster.clone(), line }),
                room: Room {
                    executors: Some(AGENTS * ON_EACH),
                    largest_node: Some(Resources::new(Cpus::from_millis(800), MiB(512))),
                    hosts: hosts.collect::<Result<_>>()?,
                    ..Room::default()
                },
                guard: Box::new(RealGuard(cluster)),
            })
        }

        fn deadlines(&self) -> Deadlines {
            Deadlines::default()
                // a stream is known to be lost after 20 s of silence, and an executor on a node that is gone has ended a
                // lease later
                .with(DeadlineName::Fault, Duration::from_secs(75))
                .with(DeadlineName::Exit, Duration::from_secs(45))
                .with(DeadlineName::Settle, Duration::from_secs(60))
                .with(DeadlineName::Launch, Duration::from_secs(30))
                .with(DeadlineName::Unregister, Duration::from_secs(30))
                .with(DeadlineName::Case, Duration::from_secs(300))
        }

        fn sizes(&self) -> Sizes {
            Sizes { scale: AGENTS * ON_EACH, applications: 40, ..Sizes::default() }
        }

        fn side_by_side(&self) -> usize {
            6
        }

        fn stand_ins(&self) -> Vec<String> {
            vec![
                "mesos-executor, Mesos' own command executor: a stand-in that speaks the same API with the real agent".into(),
                "mesos-fetcher: a stand-in for http, https and files".into(),
                "both agents are on one host, at addresses of their own; a node that dies is its agent and all that it \
                 started, killed at once"
                    .into(),
            ]
        }

        fn leaves(&self) -> Vec<String> {
            vec![
                "an empty framework, killed in the instant of its first SUBSCRIBE: Mesos may never give it up, and it holds \
                 nothing"
                    .into(),
                "a driver that is frozen keeps its connection, and so framework and tasks, until it goes on or its host ends \
                 it; its executors end by their own lease"
                    .into(),
                "a framework whose driver died while the master was away stays `recovered` there, without tasks, until \
                 somebody tears it down; its executors end by their own lease"
                    .into(),
            ]
        }

        fn reproduce(&self) -> String {
            "cargo test -p convoke-mesos --test conformance".to_owned()
        }
    }

    /// The cluster ends when the last that holds it is gone.
    #[derive(Debug)]
    struct RealGuard(Arc<Cluster>);

    #[async_trait]
    impl Guard for RealGuard {
        async fn clean_up(self: Box<Self>) -> Result<()> {
            let ended = tokio::task::spawn_blocking(move || drop(self.0)).await;
            ended.map_err(|error| Error::internal("the cluster's end failed").source(error))
        }
    }
}
