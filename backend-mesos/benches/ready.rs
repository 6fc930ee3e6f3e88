//! From `register` to n executors that run, beside a scheduler that does nothing but launch the same commands; and how many
//! calls a quiet application makes.
//!
//! `cargo bench -p convoke-mesos`. Both take turns at the same real Mesos; medians and their ratio count, not milliseconds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a program for people, on test clusters")]

#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/real/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the conformance test uses the rest of it")]
#[path = "../tests/conformance/line.rs"]
mod line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Cluster;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, ClusterManager, LaunchCommand, Launcher, Managed, Outcome, Placement, Program, Target,
    Wanted, What,
};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};
use convoke_mesos::state::amounts::{Pool, needs};
use convoke_mesos::v1::http::Http;
use convoke_mesos::v1::scheduler::{Call, call, event};
use convoke_mesos::v1::{self, TaskState};
use convoke_mesos::{Mesos, Settings, launch};
use line::Line;

const ROUNDS: usize = 9;
const QUIET: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Sleeps;
impl Launcher for Sleeps {
    fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        let mut command = LaunchCommand::new(Program::OnNode("/bin/sleep".into()), Secret::new([7; 16]));
        command.args = vec!["600".into()];
        command
    }
}

fn spec() -> ApplicationSpec {
    let name = Name::new("bench").unwrap();
    ApplicationSpec::builder(ApplicationId::generate(&name).unwrap(), name, Arc::new(Sleeps)).build().unwrap()
}

fn profile() -> Arc<ResourceProfile> {
    let each = Resources::new(Cpus::from_millis(500), MiB(64));
    Arc::new(ResourceProfile { each, ..ResourceProfile::default() })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cluster = Cluster::start(2);
    runtime.block_on(async {
        println!("{:>2} executors: {:>9} {:>9}  ratio (medians of {ROUNDS})", "n", "convoke", "bare");
        for count in [2, 8] {
            let (mut ours, mut bare) = (Vec::new(), Vec::new());
            for round in 0..=ROUNDS {
                let pair = (managed(&cluster.address, count).await, minimal(&cluster.address, count).await);
                if round > 0 {
                    ours.push(pair.0); // the first warms everything up
                    bare.push(pair.1);
                }
            }
            let (ours, bare) = (median(ours), median(bare));
            println!(
                "{count:>2} executors: {:>6.0} ms {:>6.0} ms  {:.2}",
                ours.as_secs_f64() * 1e3,
                bare.as_secs_f64() * 1e3,
                ours.as_secs_f64() / bare.as_secs_f64()
            );
        }
        println!(
            "calls of an application with 2 executors in {} quiet seconds: {}",
            QUIET.as_secs(),
            quiet(&cluster).await
        );
    });
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// As an application does it.
async fn managed(master: &str, count: u32) -> Duration {
    let began = Instant::now();
    let manager = Managed::new(Mesos::new(Settings::new(vec![master.parse().unwrap()])).unwrap());
    let mut registration = manager.register(spec()).await.unwrap();
    registration.application.set_target(Target::of(profile(), count)).unwrap();
    let mut left = count;
    while left > 0 {
        if let What::Launched { .. } = registration.events.next().await.unwrap().what {
            left -= 1;
        }
    }
    let took = began.elapsed();
    registration.application.unregister(Outcome::Succeeded, Duration::from_secs(30)).await.unwrap();
    took
}

/// Subscribes, takes what it needs of the first offers, acknowledges, and is done when all run.
async fn minimal(master: &str, count: u32) -> Duration {
    let began = Instant::now();
    let spec = spec();
    let master = master.parse().unwrap();
    let http = Http::new(Arc::new(Settings::new(vec![]))).unwrap();
    let info = v1::FrameworkInfo {
        user: "root".into(),
        name: "bare".into(),
        failover_timeout: Some(30.0),
        checkpoint: Some(true),
        roles: vec!["*".into()],
        capabilities: vec![v1::framework_info::Capability {
            r#type: Some(v1::framework_info::capability::Type::MultiRole as i32),
        }],
        ..Default::default()
    };
    let subscribe = Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info: info, suppressed_roles: vec![] }),
        ..Default::default()
    };
    let mut stream = http.subscribe(&master, &subscribe).await.unwrap();
    let framework = stream.subscribed.framework_id.clone();
    let make = |kind: call::Type| Call {
        framework_id: Some(framework.clone()),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    let id = stream.id.clone();
    let (mut started, mut running) = (0, 0);
    while running < count {
        let event = stream.next().await.unwrap();
        for offer in event.offers.map(|it| it.offers).unwrap_or_default() {
            let mut pool = Pool::new(&offer.resources);
            let mut task_infos = Vec::new();
            while started < count {
                let Some(resources) = pool.take(&needs(&profile().each)) else { break };
                started += 1;
                let wanted = Wanted {
                    executor: ExecutorId(u64::from(started)),
                    profile: profile(),
                    placement: Placement::default(),
                    excluded: Arc::from([]),
                };
                let (command, _) = launch::command(&spec, None, &wanted).unwrap();
                let name = spec.id.native(wanted.executor);
                task_infos.push(v1::TaskInfo {
                    name: name.clone(),
                    task_id: v1::TaskId { value: name },
                    agent_id: offer.agent_id.clone(),
                    resources,
                    command: Some(command),
                    ..Default::default()
                });
            }
            let operation = v1::offer::Operation {
                r#type: Some(v1::offer::operation::Type::Launch as i32),
                launch: Some(v1::offer::operation::Launch { task_infos }),
            };
            let mut accept = make(call::Type::Accept);
            accept.accept =
                Some(call::Accept { offer_ids: vec![offer.id], operations: vec![operation], filters: None });
            http.call(&master, &id, &accept).await.unwrap();
        }
        if let Some(event::Update { status }) = event.update {
            running += u32::from(status.state == TaskState::TaskRunning as i32);
            if let Some(uuid) = status.uuid {
                let mut acknowledge = make(call::Type::Acknowledge);
                let (task_id, agent_id) = (status.task_id, status.agent_id.unwrap());
                acknowledge.acknowledge = Some(call::Acknowledge { agent_id, task_id, uuid });
                http.call(&master, &id, &acknowledge).await.unwrap();
            }
        }
    }
    let took = began.elapsed();
    http.call(&master, &id, &make(call::Type::Teardown)).await.unwrap();
    // the next one finds the agents free
    tokio::time::sleep(Duration::from_secs(2)).await;
    took
}

/// Calls in a time in which nothing happens.
async fn quiet(cluster: &Cluster) -> u64 {
    let line = Line::listen(cluster.address.clone()).await.unwrap();
    let manager = Managed::new(Mesos::new(Settings::new(vec![line.address.parse().unwrap()])).unwrap());
    let mut registration = manager.register(spec()).await.unwrap();
    registration.application.set_target(Target::of(profile(), 2)).unwrap();
    let mut left = 2;
    while left > 0 {
        if let What::Launched { .. } = registration.events.next().await.unwrap().what {
            left -= 1;
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = line.traffic().calls;
    tokio::time::sleep(QUIET).await;
    let calls = line.traffic().calls - before;
    registration.application.unregister(Outcome::Succeeded, Duration::from_secs(30)).await.unwrap();
    calls
}
