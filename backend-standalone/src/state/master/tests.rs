//! The master's decisions, one at a time; the simulation has the crashes.

use convoke_core::manager::{Constraint, LimitScope, Placement, Reason};
use convoke_core::units::{Cpus, MiB};

use super::*;
use crate::state::messages::{ApplicationEvent, Offer, Report, Request};
use crate::state::{Order, Spread};

struct Cluster {
    master: Master,
    out: Vec<MasterCommand>,
    now: Moment,
    sessions: u64,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn app(number: u64) -> ApplicationId {
    ApplicationId::from_parts(&name("app"), number)
}

fn request(cpus: u32) -> Request {
    Request {
        need: Resources::new(Cpus::whole(cpus), MiB(100)),
        placement: Placement::default(),
        excluded: Vec::new(),
    }
}

impl Cluster {
    fn new(settings: MasterSettings) -> Cluster {
        Cluster { master: Master::new(settings, 1), out: Vec::new(), now: Moment::ZERO, sessions: 0 }
    }

    fn session(&mut self) -> Session {
        self.sessions += 1;
        Session(self.sessions)
    }

    fn worker(&mut self, worker: &str, cpus: u32) -> Session {
        self.worker_with(worker, Resources::new(Cpus::whole(cpus), MiB(1000)), BTreeMap::new())
    }

    fn worker_with(&mut self, worker: &str, total: Resources, attributes: BTreeMap<Name, String>) -> Session {
        let session = self.session();
        let offer =
            Offer { host: name(worker), total, devices: BTreeMap::new(), attributes, draining: false };
        self.tell(MasterEvent::WorkerRegistered {
            worker: name(worker),
            session,
            offer,
            running: Vec::new(),
        });
        session
    }

    fn application(&mut self, number: u64) -> Session {
        let session = self.session();
        self.tell(MasterEvent::ApplicationRegistered {
            application: app(number),
            session,
            name: name("app"),
            owner: name("me"),
            lease: Duration::from_secs(30),
            again: false,
            wish: Vec::new(),
        });
        session
    }

    fn want(&mut self, number: u64, session: Session, executors: std::ops::Range<u64>, request: &Request) {
        for executor in executors {
            let launch = Some(Bytes::from_static(b"run"));
            let executor = ExecutorId(executor);
            let want = ApplicationEvent::Want { executor, request: request.clone(), launch, launched: false };
            self.tell(MasterEvent::ApplicationSaid(app(number), session, want));
        }
    }

    fn tell(&mut self, event: MasterEvent) {
        self.master.handle(self.now, event, &mut self.out);
    }

    /// What is granted by now, as `executor@worker` of each application, in order.
    fn grants(&mut self) -> Vec<String> {
        self.master.settle(self.now, &mut self.out);
        let granted = self.out.drain(..).filter_map(|command| match command {
            MasterCommand::Store(Change::Granted { key: (id, executor), worker, .. }) => {
                let number = id.as_str().trim_start_matches("app-").trim_start_matches('0').to_owned();
                Some(format!("{number}.{executor}@{worker}"))
            }
            _ => None,
        });
        granted.collect()
    }

    fn exit(&mut self, worker: &str, session: Session, number: u64, executor: u64) {
        let exit = Exit::new(convoke_core::manager::ExitCause::Code(0), "");
        let key = (app(number), ExecutorId(executor));
        self.tell(MasterEvent::WorkerReported(name(worker), session, key, Report::Exited(exit)));
    }
}

fn whole() -> MasterSettings {
    MasterSettings { share_millis: 1000, ..MasterSettings::default() }
}

#[test]
fn executors_spread_over_workers_or_pack_on_few() {
    for (spread, expected) in [
        (Spread::Out, ["1.1@a", "1.2@b", "1.3@a", "1.4@b"]),
        (Spread::Pack, ["1.1@a", "1.2@a", "1.3@a", "1.4@a"]),
    ] {
        let mut cluster = Cluster::new(MasterSettings { spread, ..whole() });
        cluster.worker("a", 4);
        cluster.worker("b", 4);
        let session = cluster.application(1);
        cluster.want(1, session, 1..5, &request(1));
        let mut granted = cluster.grants();
        if spread == Spread::Out {
            // Among equals the later one is taken first; which, nobody is promised.
            granted
                .iter_mut()
                .for_each(|grant| *grant = grant.replace('b', "#").replace('a', "b").replace('#', "a"));
        }
        assert_eq!(granted, expected, "{spread:?}");
    }
}

#[test]
fn fifo_meets_the_first_wish_first_and_fair_takes_turns() {
    for (order, expected) in [
        (Order::Fifo, ["1.1@a", "1.2@a", "1.3@a", "1.4@a"]),
        (Order::Fair, ["1.1@a", "2.1@a", "1.2@a", "2.2@a"]),
    ] {
        let mut cluster = Cluster::new(MasterSettings { order, ..whole() });
        cluster.worker("a", 4);
        let (first, second) = (cluster.application(1), cluster.application(2));
        cluster.want(1, first, 1..5, &request(1));
        cluster.want(2, second, 1..5, &request(1));
        assert_eq!(cluster.grants(), expected, "{order:?}");
    }
}

#[test]
fn no_application_holds_everything_while_others_may_come() {
    let mut cluster = Cluster::new(MasterSettings::default());
    cluster.worker("a", 10);
    let session = cluster.application(1);
    cluster.want(1, session, 1..11, &request(1));
    assert_eq!(cluster.grants().len(), 8, "four fifths of ten");
    let reasons = cluster.master.explain(&app(1), &request(1)).unwrap();
    assert!(
        matches!(
            &reasons[..],
            [Reason::Limit { scope: LimitScope::Application, limit: 8000, used: 8000, .. }]
        ),
        "{reasons:?}"
    );
    let other = cluster.application(2);
    cluster.want(2, other, 1..3, &request(1));
    assert_eq!(cluster.grants(), ["2.1@a", "2.2@a"]);
}

#[test]
fn one_executor_fits_whatever_the_share() {
    let mut cluster = Cluster::new(MasterSettings::default());
    cluster.worker("a", 1);
    let session = cluster.application(1);
    cluster.want(1, session, 1..3, &request(1));
    assert_eq!(cluster.grants(), ["1.1@a"]);
}

#[test]
fn what_becomes_free_goes_to_who_waits_and_a_large_wish_blocks_no_small_one() {
    let mut cluster = Cluster::new(whole());
    let worker = cluster.worker("a", 2);
    let session = cluster.application(1);
    cluster.want(1, session, 1..3, &request(1));
    cluster.want(1, session, 3..4, &request(2));
    cluster.want(1, session, 4..5, &request(1));
    assert_eq!(cluster.grants(), ["1.1@a", "1.2@a"]);
    cluster.exit("a", worker, 1, 1);
    assert_eq!(cluster.grants(), ["1.4@a"], "one cpu is free, and two are too many");
    cluster.exit("a", worker, 1, 2);
    cluster.exit("a", worker, 1, 4);
    assert_eq!(cluster.grants(), ["1.3@a"]);
}

#[test]
fn placement_exclusion_and_constraints_hold() {
    let mut cluster = Cluster::new(whole());
    let rack = |rack: &str| BTreeMap::from([(name("rack"), rack.to_owned())]);
    let size = || Resources::new(Cpus::whole(8), MiB(1000));
    cluster.worker_with("a", size(), rack("1"));
    cluster.worker_with("b", size(), rack("2"));
    cluster.worker_with("c", size(), rack("2"));
    let session = cluster.application(1);
    let mut preferring = request(1);
    preferring.placement.preferred = vec![(name("a"), 1), (name("b"), 5), (name("elsewhere"), 9)];
    cluster.want(1, session, 1..2, &preferring);
    let mut constrained = request(1);
    constrained.placement.required =
        vec![Constraint::Equals { attribute: name("rack"), value: "2".to_owned() }];
    constrained.excluded = vec![name("b")];
    cluster.want(1, session, 2..3, &constrained);
    assert_eq!(cluster.grants(), ["1.1@b", "1.2@c"]);
    constrained.placement.required =
        vec![Constraint::Equals { attribute: name("rack"), value: "9".to_owned() }];
    let reasons = cluster.master.explain(&app(1), &constrained).unwrap();
    assert!(matches!(&reasons[..], [Reason::UnmatchedConstraint(_)]), "{reasons:?}");
}

#[test]
fn devices_are_exclusive_and_go_by_their_own_names() {
    let mut cluster = Cluster::new(whole());
    let session = cluster.session();
    let offer = Offer {
        host: name("a"),
        total: Resources::new(Cpus::whole(8), MiB(1000)),
        devices: BTreeMap::from([(name("gpu"), vec!["GPU-x".to_owned(), "GPU-y".to_owned()])]),
        attributes: BTreeMap::new(),
        draining: false,
    };
    cluster.tell(MasterEvent::WorkerRegistered { worker: name("a"), session, offer, running: Vec::new() });
    let application = cluster.application(1);
    let mut with_gpu = request(1);
    with_gpu.need = with_gpu.need.with(name("gpu"), 1);
    cluster.want(1, application, 1..4, &with_gpu);
    cluster.master.settle(cluster.now, &mut cluster.out);
    let devices: Vec<String> = cluster
        .out
        .drain(..)
        .filter_map(|command| match command {
            MasterCommand::Worker(_, WorkerCommand::Launch { devices, .. }) => {
                Some(devices[&name("gpu")].join(","))
            }
            _ => None,
        })
        .collect();
    assert_eq!(devices, ["GPU-x", "GPU-y"]);
    let reasons = cluster.master.explain(&app(1), &with_gpu).unwrap();
    assert!(
        matches!(&reasons[..], [Reason::NothingFreeNow { needed: 1, largest_free: 0, .. }]),
        "{reasons:?}"
    );
    with_gpu.need = with_gpu.need.with(name("fpga"), 1);
    let reasons = cluster.master.explain(&app(1), &with_gpu).unwrap();
    assert!(
        matches!(&reasons[..], [Reason::NoSuchResource(missing)] if missing.as_str() == "fpga"),
        "{reasons:?}"
    );
}

#[test]
fn a_draining_worker_tells_takes_nothing_and_leaves_when_empty() {
    let mut cluster = Cluster::new(whole());
    let worker = cluster.worker("a", 4);
    let session = cluster.application(1);
    cluster.want(1, session, 1..2, &request(1));
    assert_eq!(cluster.grants(), ["1.1@a"]);
    let drain = |within| MasterEvent::DrainWorker {
        worker: name("a"),
        deadline: within,
        why: "a new disk".to_owned(),
    };
    cluster.tell(drain(Some(Duration::from_secs(20))));
    assert!(cluster.out.iter().any(|command| matches!(command, MasterCommand::Application(_, ApplicationCommand::Draining { executors, .. }) if executors == &[ExecutorId(1)])));
    cluster.want(1, session, 2..3, &request(1));
    assert_eq!(cluster.grants(), Vec::<String>::new());
    let reasons = cluster.master.explain(&app(1), &request(1)).unwrap();
    assert!(matches!(&reasons[..], [Reason::NodesDraining(1)]), "{reasons:?}");
    for seconds in [5, 10, 15, 20] {
        cluster.now = Moment::ZERO + Duration::from_secs(seconds);
        cluster.tell(MasterEvent::WorkerHeard(name("a"), worker));
        cluster.tell(MasterEvent::ApplicationHeard(app(1), session));
        cluster.master.settle(cluster.now, &mut cluster.out);
        let ended = cluster.out.drain(..).any(|command| {
            matches!(command, MasterCommand::Worker(_, WorkerCommand::End(_, EndCause::Drained)))
        });
        assert_eq!(ended, seconds == 20, "at {seconds} s");
    }
    cluster.exit("a", worker, 1, 1);
    cluster.master.settle(cluster.now, &mut cluster.out);
    assert!(cluster.out.contains(&MasterCommand::Worker(worker, WorkerCommand::Drained)));
}

#[test]
fn a_node_whose_launch_failed_is_the_last_resort() {
    let mut cluster = Cluster::new(whole());
    let a = cluster.worker("a", 8);
    cluster.worker("b", 2);
    let session = cluster.application(1);
    cluster.want(1, session, 1..2, &request(1));
    assert_eq!(cluster.grants(), ["1.1@a"]);
    let full = convoke_core::manager::ExitCause::LaunchFailed(convoke_core::manager::LaunchFailure::DiskFull);
    let key = (app(1), ExecutorId(1));
    cluster.tell(MasterEvent::WorkerReported(
        name("a"),
        a,
        key,
        Report::Exited(Exit::new(full, "no space left")),
    ));
    cluster.want(1, session, 2..5, &request(1));
    assert_eq!(cluster.grants(), ["1.2@b", "1.3@b", "1.4@a"]);
}

#[test]
fn a_driver_silent_for_its_lease_ends_its_application() {
    let mut cluster = Cluster::new(whole());
    let worker = cluster.worker("a", 8);
    let session = cluster.application(1);
    cluster.want(1, session, 1..2, &request(1));
    cluster.grants();
    cluster.tell(MasterEvent::ApplicationHungUp(app(1), session));
    cluster.now = Moment::ZERO + Duration::from_secs(31);
    cluster.tell(MasterEvent::WorkerHeard(name("a"), worker));
    cluster.master.settle(cluster.now, &mut cluster.out);
    let key = (app(1), ExecutorId(1));
    assert!(
        cluster
            .out
            .contains(&MasterCommand::Worker(worker, WorkerCommand::End(key, EndCause::ApplicationOver)))
    );
    cluster.exit("a", worker, 1, 1);
    assert_eq!(cluster.master.applications().count(), 0);
    assert_eq!(
        cluster.master.finished().map(|finished| finished.by.clone()).collect::<Vec<_>>(),
        [EndedBy::Lease]
    );
}
