//! The backend against a real Mesos 1.11: a master and agents of its own for each test.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "all of it is test code; helpers too")]

#[allow(dead_code, reason = "the conformance test uses the rest of it")]
mod cluster;
mod driver;
mod managed;
mod people;
mod provisioner;
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use convoke_core::ids::{ApplicationId, ExecutorId, Name, ProfileId};
use convoke_core::manager::{
    ApplicationSpec, LaunchCommand, Launcher, Opened, Placement, Program, Provisioner, Wanted,
};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};
use convoke_mesos::{Mesos, Settings};
use recorder::Recorder;

convoke_core::test_executor!();

/// Every executor runs this.
#[derive(Debug)]
struct Runs(Vec<String>);

impl Launcher for Runs {
    fn launch(&self, executor: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        let mut command = LaunchCommand::new(Program::OnNode(self.0[0].clone()), Secret::new([7; 16]));
        command.args = self.0[1..].to_vec();
        command.env.insert("EXECUTOR".into(), executor.to_string());
        command
    }
}

fn spec(name: &str, lease_seconds: u64, argv: &[&str]) -> ApplicationSpec {
    let name = Name::new(name).unwrap();
    let argv = argv.iter().map(|it| (*it).to_owned()).collect();
    ApplicationSpec::builder(ApplicationId::generate(&name).unwrap(), name, Arc::new(Runs(argv)))
        .lease(Duration::from_secs(lease_seconds))
        .build()
        .unwrap()
}

const SLEEP: [&str; 2] = ["/bin/sleep", "600"];

fn profile(id: u32, cpus_millis: u64, memory: u64) -> Arc<ResourceProfile> {
    let each = Resources::new(Cpus::from_millis(cpus_millis), MiB(memory));
    Arc::new(ResourceProfile { id: ProfileId(id), each, ..ResourceProfile::default() })
}

fn wanted(executor: u64, cpus_millis: u64, memory: u64) -> Wanted {
    Wanted {
        executor: ExecutorId(executor),
        profile: profile(0, cpus_millis, memory),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

fn mesos(cluster: &Cluster) -> Mesos {
    Mesos::new(Settings::new(vec![cluster.address.parse().unwrap()])).unwrap()
}

async fn open(cluster: &Cluster, spec: ApplicationSpec) -> (Arc<Recorder>, Opened) {
    let recorder = Arc::new(Recorder::default());
    let opened = mesos(cluster).open(Arc::new(spec), recorder.clone()).await.unwrap();
    (recorder, opened)
}

/// Waits for a condition that only asking shows.
async fn eventually(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(tokio::time::Instant::now() < until, "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
