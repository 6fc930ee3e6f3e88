//! What a decision of the master costs, and that it stays so as the cluster grows ten-fold:
//! `cargo bench -p convoke-standalone --bench schedule`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{Exit, ExitCause, Placement};
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_standalone::state::{
    ApplicationEvent, Change, Key, Master, MasterCommand, MasterEvent, MasterSettings, Offer, Order, Report,
    Request, Session, Spread,
};

/// What one size cost.
struct Cost {
    grant: Duration,
    replace: Duration,
    heartbeat: Duration,
}

fn name(text: String) -> Name {
    Name::new(text).expect("a name")
}

#[expect(clippy::disallowed_methods, reason = "a program that reports times")]
fn measure(workers: u32, executors: u64, settings: MasterSettings) -> Cost {
    let mut master = Master::new(settings, 1);
    let mut out = Vec::new();
    let each = u32::try_from(executors).expect("few") / workers;
    for number in 0..workers {
        let offer = Offer {
            host: name(format!("node-{number}")),
            total: Resources::new(Cpus::whole(each), MiB(u64::from(each) * 256)),
            devices: BTreeMap::new(),
            attributes: BTreeMap::new(),
            draining: false,
        };
        let worker = name(format!("worker-{number}"));
        let session = Session(u64::from(number));
        master.handle(
            Moment::ZERO,
            MasterEvent::WorkerRegistered { worker, session, offer, running: Vec::new() },
            &mut out,
        );
    }
    let application = ApplicationId::from_parts(&name("bench".to_owned()), 1);
    let session = Session(u64::from(workers) + 1);
    let registered = MasterEvent::ApplicationRegistered {
        application: application.clone(),
        session,
        name: name("bench".to_owned()),
        owner: name("me".to_owned()),
        lease: Duration::from_secs(30),
        again: false,
        wish: Vec::new(),
    };
    master.handle(Moment::ZERO, registered, &mut out);
    let request = Request {
        need: Resources::new(Cpus::whole(1), MiB(256)),
        placement: Placement::default(),
        excluded: Vec::new(),
    };
    let want = |executor: u64| {
        let launch = Some(Bytes::from_static(b"run"));
        let want = ApplicationEvent::Want {
            executor: ExecutorId(executor),
            request: request.clone(),
            launch,
            launched: false,
        };
        MasterEvent::ApplicationSaid(application.clone(), session, want)
    };
    out.clear();
    let started = Instant::now();
    for executor in 0..executors {
        master.handle(Moment::ZERO, want(executor), &mut out);
    }
    master.settle(Moment::ZERO, &mut out);
    let grant = started.elapsed();
    let places: Vec<(Key, Name)> = out
        .drain(..)
        .filter_map(|command| match command {
            MasterCommand::Store(Change::Granted { key, worker, .. }) => Some((key, worker)),
            _ => None,
        })
        .collect();
    assert_eq!(places.len() as u64, executors, "all of them fit");

    // Each ends and is replaced, one after the other, in a cluster that is full.
    let started = Instant::now();
    for (number, (key, worker)) in places.iter().enumerate() {
        let session_of: u64 = worker.as_str()["worker-".len()..].parse().expect("a number");
        let exit = Exit::new(ExitCause::Code(0), "");
        let report = Report::Exited(exit);
        let event = MasterEvent::WorkerReported(worker.clone(), Session(session_of), key.clone(), report);
        master.handle(Moment::ZERO, event, &mut out);
        let taken = ApplicationEvent::Taken(key.1);
        master.handle(Moment::ZERO, MasterEvent::ApplicationSaid(key.0.clone(), session, taken), &mut out);
        master.handle(Moment::ZERO, want(executors + number as u64), &mut out);
        master.settle(Moment::ZERO, &mut out);
        out.clear();
    }
    let replace = started.elapsed();

    let started = Instant::now();
    for number in 0..workers {
        let heard = MasterEvent::WorkerHeard(name(format!("worker-{number}")), Session(u64::from(number)));
        master.handle(Moment::ZERO, heard, &mut out);
    }
    let heartbeat = started.elapsed();
    Cost {
        grant: grant / u32::try_from(executors).expect("few"),
        replace: replace / u32::try_from(executors).expect("few"),
        heartbeat: heartbeat / workers,
    }
}

fn main() {
    println!(
        "cost of one decision, in microseconds: small cluster, one ten times as large, ratio (1.5 at the most is flat)\n"
    );
    for (order, spread) in [(Order::Fifo, Spread::Out), (Order::Fair, Spread::Pack)] {
        let settings = MasterSettings { order, spread, share_millis: 1000, ..MasterSettings::default() };
        let mut runs: Vec<(Cost, Cost)> = Vec::new();
        for _ in 0..5 {
            runs.push((measure(200, 2_000, settings.clone()), measure(2_000, 20_000, settings.clone())));
        }
        println!("{order:?}, {spread:?}");
        for (what, of) in [
            ("grant", (|cost: &Cost| cost.grant) as fn(&Cost) -> Duration),
            ("replace", |cost| cost.replace),
            ("heartbeat", |cost| cost.heartbeat),
        ] {
            let median = |mut values: Vec<Duration>| {
                values.sort_unstable();
                values[values.len() / 2].as_secs_f64() * 1e6
            };
            let small = median(runs.iter().map(|(small, _)| of(small)).collect());
            let large = median(runs.iter().map(|(_, large)| of(large)).collect());
            println!("  {what:10} {small:7.2}  {large:7.2}  {:5.2}", large / small);
        }
    }
}
