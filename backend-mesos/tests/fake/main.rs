//! What a real Mesos can't be made to show, by a strict fake: torn records, TLS, gpus, a standby's redirect, an out-of-memory
//! kill, a stream that falls silent, and an error in each place.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "all of it is test code; helpers too")]

mod http;
mod master;
#[allow(dead_code, reason = "the tests against the real one use the rest of it")]
#[path = "../real/recorder.rs"]
mod recorder;

use std::sync::Arc;
use std::time::Duration;

use convoke_core::ErrorKind;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, ExitCause, LaunchCommand, Launcher, Opened, Outcome, Placement, Program, Provisioner,
    Wanted,
};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};
use convoke_mesos::v1::TaskState;
use convoke_mesos::v1::scheduler::call;
use convoke_mesos::v1::task_status::Reason;
use convoke_mesos::{Mesos, Settings};
use master::{FakeMaster, Fault};
use recorder::{Recorder, Said};

const AGENT: &[(&str, f64)] = &[("cpus", 4.0), ("mem", 4096.0)];
const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Sleeps;
impl Launcher for Sleeps {
    fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        LaunchCommand::new(Program::OnNode("/bin/sleep".into()), Secret::new([7; 16]))
    }
}

fn spec() -> Arc<ApplicationSpec> {
    let name = Name::new("fake").unwrap();
    let id = ApplicationId::generate(&name).unwrap();
    Arc::new(ApplicationSpec::builder(id, name, Arc::new(Sleeps)).lease(LEASE).build().unwrap())
}

fn wanted(executor: u64, each: Resources) -> Wanted {
    Wanted {
        executor: ExecutorId(executor),
        profile: Arc::new(ResourceProfile { each, ..ResourceProfile::default() }),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

fn small(executor: u64) -> Wanted {
    wanted(executor, Resources::new(Cpus::from_millis(500), MiB(64)))
}

fn settings(masters: &[&FakeMaster]) -> Settings {
    Settings::new(masters.iter().map(|it| it.address.parse().unwrap()).collect())
}

struct World {
    spec: Arc<ApplicationSpec>,
    said: Arc<Recorder>,
    opened: Opened,
}

impl World {
    async fn open(settings: Settings) -> World {
        let (spec, said) = (spec(), Arc::new(Recorder::default()));
        let opened = Mesos::new(settings).unwrap().open(spec.clone(), said.clone()).await.unwrap();
        World { spec, said, opened }
    }

    async fn start(&self, wanted: Wanted) -> String {
        let executor = wanted.executor;
        self.opened.provisioning.start(vec![wanted]).await.unwrap();
        self.said.launched(executor.0).await;
        self.spec.id.native(executor)
    }

    async fn reach(&self, yes: bool, times: usize) {
        let count =
            |all: &[Said]| all.iter().filter(|it| matches!(it, Said::Manager(is) if *is == yes)).count();
        self.said.until("reach", 40, |all| (count(all) >= times).then_some(())).await;
    }
}

#[tokio::test]
async fn torn_records_are_put_together_and_each_update_is_acknowledged_once() {
    let master = FakeMaster::start(&[AGENT, AGENT], None).await;
    let world = World::open(settings(&[&master])).await;
    let tasks = [world.start(small(1)).await, world.start(small(2)).await, world.start(small(3)).await];
    assert_eq!(master.state().framework.as_ref().unwrap().failover_timeout, Some(LEASE.as_secs_f64()));
    world.opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
    let state = master.state();
    assert!(state.removed && state.violations.is_empty(), "{:#?}", state.violations);
    for task in tasks {
        assert_eq!(state.tasks[&task].acknowledged, 3, "starting, running and killed of {task}");
    }
    assert_eq!(state.subscriptions, 1);
}

#[tokio::test]
async fn a_task_killed_for_its_memory_is_told_so_with_its_limit() {
    let master = FakeMaster::start(&[AGENT], None).await;
    let world = World::open(settings(&[&master])).await;
    let task = world.start(small(1)).await;
    let words = "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB";
    master.state().update(&task, TaskState::TaskFailed, Some(Reason::ContainerLimitationMemory), words);
    let exit = world.said.exited(1).await;
    assert_eq!(exit.cause, ExitCause::OutOfMemory { limit: MiB(64) });
    assert!(exit.message.contains("Memory limit exceeded"), "{}", exit.message);
}

#[tokio::test]
async fn gpus_are_had_whole_and_only_where_they_are_asked_for() {
    let master = FakeMaster::start(&[&[("cpus", 4.0), ("mem", 4096.0), ("gpus", 2.0)]], None).await;
    let with_gpu =
        |id| wanted(id, Resources::new(Cpus::from_millis(500), MiB(64)).with(Name::new("gpu").unwrap(), 1));
    let world = World::open(settings(&[&master])).await;
    world.opened.provisioning.start(vec![with_gpu(1)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.said.all().is_empty(), "an agent with gpus is offered to nobody who doesn't ask");
    world.opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(10)).await.unwrap();

    let master = FakeMaster::start(&[&[("cpus", 4.0), ("mem", 4096.0), ("gpus", 2.0)]], None).await;
    let mut asking = settings(&[&master]);
    asking.gpus = true;
    let world = World::open(asking).await;
    for id in [1, 2] {
        let task = world.start(with_gpu(id)).await;
        let state = master.state();
        let gpus = state.tasks[&task].info.resources.iter().find(|it| it.name == "gpus").unwrap();
        assert_eq!(gpus.scalar.unwrap().value, 1.0);
    }
    world.opened.provisioning.start(vec![with_gpu(3)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(master.state().tasks.len(), 2, "there are two");
    assert!(master.state().violations.is_empty(), "{:#?}", master.state().violations);
}

#[tokio::test]
async fn a_standby_sends_on_to_the_leader_also_when_that_changes() {
    let leader = FakeMaster::start(&[AGENT], None).await;
    let standby = FakeMaster::start(&[AGENT], None).await;
    standby.state().leader = Some(leader.address.clone());
    leader.state().unavailable = 2; // its election isn't over
    let world = World::open(settings(&[&standby])).await;
    let task = world.start(small(1)).await;
    assert_eq!((leader.state().subscriptions, standby.state().subscriptions), (1, 0));
    // the standby takes over with what the old leader had
    {
        let (mut old, mut new) = (leader.state(), standby.state());
        new.leader = None;
        new.framework = old.framework.clone();
        new.tasks = std::mem::take(&mut old.tasks);
        old.leader = Some(standby.address.clone());
        old.cut();
    }
    world.reach(true, 1).await;
    world.start(small(2)).await;
    assert!(!world.said.all().iter().any(|it| matches!(it, Said::Exited(..))), "{:#?}", world.said.all());
    assert!(standby.state().tasks.contains_key(&task));
    world.opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
    assert!(standby.state().violations.is_empty(), "{:#?}", standby.state().violations);
}

/// Whatever call goes wrong in whatever way: one framework, an executor that runs once, and a clean end.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_each_place_costs_nothing_and_doubles_nothing() {
    use call::Type;
    let places = [
        Type::Subscribe,
        Type::Revive,
        Type::Accept,
        Type::Acknowledge,
        Type::Suppress,
        Type::Decline,
        Type::Reconcile,
        Type::Kill,
        Type::Teardown,
    ];
    let mut trials = tokio::task::JoinSet::new();
    for place in places {
        for fault in [Fault::ServerError, Fault::BreaksBefore, Fault::BreaksAfter] {
            trials.spawn(async move {
                let within = Duration::from_secs(60);
                let done = tokio::time::timeout(within, with_fault(place, fault)).await;
                done.unwrap_or_else(|_| panic!("{place:?} {fault:?}: not within {within:?}"));
            });
        }
    }
    while let Some(done) = trials.join_next().await {
        done.unwrap();
    }
}

async fn with_fault(place: call::Type, fault: Fault) {
    let what = format!("{place:?} {fault:?}");
    let master = FakeMaster::start(&[AGENT, AGENT], None).await;
    let first = place == call::Type::Subscribe;
    if first && fault == Fault::ServerError {
        master.state().fault = Some((place, fault));
    }
    let world = World::open(settings(&[&master])).await;
    if !first {
        master.state().fault = Some((place, fault));
    }
    world.opened.provisioning.start(vec![small(1)]).await.unwrap();
    // an ACCEPT that never came through is a DROPPED or GONE: another one is wanted then
    let begun = |all: &[Said]| {
        all.iter().find_map(|it| match it {
            Said::Launched(executor) => Some(*executor),
            Said::Exited(executor, _) => Some(*executor),
            _ => None,
        })
    };
    world.said.until(&what, 40, begun).await;
    let never = |all: &[Said]| {
        all.iter().any(|it| matches!(it, Said::Exited(_, exit) if exit.cause == ExitCause::NeverStarted))
    };
    let executor = if never(&world.said.all()) {
        assert_eq!(place, call::Type::Accept, "{what}: {:#?}", world.said.all());
        world.start(small(2)).await;
        2
    } else {
        1
    };
    if first && fault != Fault::ServerError {
        // the first handshake can't be made twice without a second framework; a later one can
        master.state().fault = Some((place, fault));
        master.state().cut();
        world.reach(true, 1).await;
    }
    if place == call::Type::Reconcile {
        master.state().cut();
        world.reach(true, 1).await;
    }
    assert!(!never(&world.said.all()) || executor == 2, "{what}");
    let _ = world.opened.provisioning.stop(vec![ExecutorId(executor)]).await;
    // core asks again until the exit is told
    let asking = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let _ = world.opened.provisioning.stop(vec![ExecutorId(executor)]).await;
        }
    };
    let cause = tokio::select! { cause = world.said.cause(executor) => cause, () = asking => unreachable!() };
    assert_eq!(cause, ExitCause::Released, "{what}");
    world.opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
    let state = master.state();
    assert!(state.removed && state.violations.is_empty(), "{what}: {:#?}", state.violations);
    assert!(
        state.fault.is_none() || place == call::Type::Decline,
        "{what}: it never happened: {:?}",
        state.calls
    );
    let launched = world.said.all().iter().filter(|it| matches!(it, Said::Launched(_))).count();
    assert_eq!(launched, 1, "{what}: {:#?}", world.said.all());
}

#[tokio::test]
async fn a_stream_that_breaks_is_had_again_whatever_came_last() {
    for last in [&b"17\n\x08"[..], b"not a length", b"18446744073709551615\nx", b"2\n\xff\xff", b""] {
        let master = FakeMaster::start(&[AGENT], None).await;
        let world = World::open(settings(&[&master])).await;
        world.start(small(1)).await;
        {
            let mut state = master.state();
            state.send(last.to_vec());
            state.cut();
        }
        world.reach(false, 1).await;
        world.reach(true, 1).await;
        world.start(small(2)).await;
        assert!(!world.said.all().iter().any(|it| matches!(it, Said::Exited(..))), "{:#?}", world.said.all());
        assert!(master.state().violations.is_empty(), "{:#?}", master.state().violations);
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_lost_after_twenty_seconds_and_had_again_within_the_lease() {
    let master = FakeMaster::start(&[AGENT], None).await;
    let world = World::open(settings(&[&master])).await;
    world.start(small(1)).await;
    master.state().heartbeats = false;
    let began = tokio::time::Instant::now();
    world.reach(false, 1).await;
    let silent = began.elapsed();
    assert!(silent > Duration::from_secs(17), "{silent:?}");
    world.reach(true, 1).await;
    assert!(began.elapsed() < LEASE, "{:?}", began.elapsed());
    assert_eq!(master.state().subscriptions, 2);
    assert!(!world.said.all().iter().any(|it| matches!(it, Said::Exited(..))), "{:#?}", world.said.all());
}

#[tokio::test]
async fn what_was_stopped_out_of_sight_is_ended_when_it_is_seen_again() {
    let master = FakeMaster::start(&[AGENT], None).await;
    let world = World::open(settings(&[&master])).await;
    let task = world.start(small(1)).await;
    master.state().masters_word(&task, TaskState::TaskUnreachable, Reason::AgentRemoved);
    let reachable = |yes| {
        move |all: &[Said]| {
            all.iter().any(|it| matches!(it, Said::Reachable(_, is) if *is == yes)).then_some(())
        }
    };
    world.said.until("unreachable", 10, reachable(false)).await;
    world
        .said
        .until("no exit", 10, |all| (!all.iter().any(|it| matches!(it, Said::Exited(..)))).then_some(()))
        .await;
    let kills =
        |master: &FakeMaster| master.state().calls.iter().filter(|it| **it == call::Type::Kill).count();
    // it comes back running: news with a reason of its own
    master.state().masters_word(&task, TaskState::TaskRunning, Reason::AgentReregistered);
    world.said.until("reachable", 10, reachable(true)).await;
    assert_eq!(kills(&master), 0);
    world.opened.provisioning.stop(vec![ExecutorId(1)]).await.unwrap();
    assert_eq!(world.said.cause(1).await, ExitCause::Released);
    // and once more, after its exit was told
    master.state().masters_word(&task, TaskState::TaskRunning, Reason::AgentReregistered);
    let before = kills(&master);
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while kills(&master) == before {
        assert!(tokio::time::Instant::now() < until, "a task that had exited and is seen again isn't killed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let exits = world.said.all().iter().filter(|it| matches!(it, Said::Exited(..))).count();
    assert_eq!(exits, 1, "{:#?}", world.said.all());
}

#[tokio::test]
async fn tls_is_by_an_authority_of_ones_own_and_credentials_go_with_each_call() {
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let own = made("127.0.0.1");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let master = FakeMaster::start(&[AGENT], Some(Arc::new(server).into())).await;
    master.state().authorization = Some("Basic bWU6aHVudGVyMg==".into());
    let folder = tempfile::tempdir().unwrap();
    let with_authority = |pem: String| {
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        let mut settings = settings(&[&master]);
        (settings.tls, settings.ca_file) = (true, Some(file));
        (settings.principal, settings.secret) = (Some("me".into()), Some(Secret::new(*b"hunter2")));
        settings
    };
    let refused = async |settings: Settings| {
        Mesos::new(settings).unwrap().open(spec(), Arc::new(Recorder::default())).await.unwrap_err()
    };
    let foreign = refused(with_authority(made("127.0.0.1").cert.pem())).await;
    assert_eq!(foreign.kind(), ErrorKind::Unavailable);
    assert!(format!("{foreign:#}{foreign:?}").contains("ertificate"), "{foreign:?}");
    let mut nobody = with_authority(own.cert.pem());
    nobody.secret = Some(Secret::new(*b"wrong"));
    assert_eq!(refused(nobody).await.kind(), ErrorKind::Unauthenticated);
    assert_eq!(master.state().subscriptions, 0);
    let world = World::open(with_authority(own.cert.pem())).await;
    world.start(small(1)).await;
    assert!(world.opened.page.as_ref().unwrap().starts_with("https://"));
    world.opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
    assert!(master.state().violations.is_empty(), "{:#?}", master.state().violations);
}
