use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, ExitCause, LaunchCommand, Launcher, Placement, Program, Wanted,
};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};
use convoke_mesos::Settings;
use convoke_mesos::state::scheduler::{CallFailure, Scheduler, SchedulerCommand, SchedulerEvent, Told};
use convoke_mesos::v1::recordio::Decoder;
use convoke_mesos::v1::scheduler::{Call, Event, event};
use convoke_mesos::v1::{self, TaskStatus};
use prost::Message;

use crate::damage::{Random, damage, framed};

#[derive(Debug)]
struct Nothing;
impl Launcher for Nothing {
    fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        LaunchCommand::new(Program::OnNode("/bin/true".into()), Secret::new([1]))
    }
}

fn application() -> ApplicationId {
    ApplicationId::from_parts(&Name::new("fuzz").unwrap(), 1)
}

/// Feeds a stream of events, damaged, through framing and decoding into a scheduler that is asked and answered meanwhile.
pub(crate) fn case(random: &mut Random, streams: &[Vec<u8>]) {
    let mut stream = if random.one_in(4) {
        random.pick(streams).clone()
    } else {
        let events: Vec<_> = (0..random.below(12)).map(|_| event(random).encode_to_vec()).collect();
        framed(events.iter().map(Vec::as_slice))
    };
    if random.one_in(2) {
        damage(&mut stream, random);
    }
    let spec = ApplicationSpec::builder(application(), Name::new("fuzz").unwrap(), Arc::new(Nothing)).build();
    let settings = Settings::new(vec!["master:5050".parse().unwrap()]);
    let mut bench = Bench {
        scheduler: Scheduler::new(Arc::new(spec.unwrap()), Arc::new(settings), random.next(), Moment::ZERO),
        now: Moment::ZERO,
        exited: BTreeSet::new(),
        calls: Vec::new(),
    };
    bench.handle(SchedulerEvent::Tick);
    let framework_id = v1::FrameworkId { value: "f".into() };
    bench.handle(SchedulerEvent::Subscribed(event::Subscribed { framework_id, ..Default::default() }));
    bench.handle(SchedulerEvent::Start((1..=4).map(|id| wanted(id, random)).collect()));
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(&stream);
    while let Ok(Some(record)) = decoder.next_record() {
        if let Ok(event) = Event::decode(record) {
            bench.record(event);
        }
        bench.meanwhile(random);
    }
    bench.handle(SchedulerEvent::Close);
    bench.handle(SchedulerEvent::TearDown);
}

struct Bench {
    scheduler: Scheduler,
    now: Moment,
    exited: BTreeSet<ExecutorId>,
    calls: Vec<Call>,
}

impl Bench {
    fn handle(&mut self, event: SchedulerEvent) -> Vec<SchedulerCommand> {
        let mut out = Vec::new();
        self.scheduler.handle(self.now, event, &mut out);
        for command in &out {
            match command {
                // what is gone is withdrawn as often as its stop is asked for
                SchedulerCommand::Tell(Told::Exited(executor, exit)) => assert!(
                    self.exited.insert(*executor) || exit.cause == ExitCause::Withdrawn,
                    "{executor:?} exits twice: {out:?}"
                ),
                SchedulerCommand::Tell(Told::Launched(executor) | Told::Reachable(executor, _)) => {
                    assert!(!self.exited.contains(executor), "{executor:?} is news after its exit: {out:?}");
                }
                SchedulerCommand::Tell(Told::Granted(grant)) => {
                    assert!(!self.exited.contains(&grant.executor), "granted after its exit: {out:?}");
                }
                _ => {}
            }
        }
        self.calls.extend(out.iter().filter_map(|it| match it {
            SchedulerCommand::Call(call) => Some((**call).clone()),
            _ => None,
        }));
        out
    }

    /// An event of the stream: each of its offers is answered, once.
    fn record(&mut self, event: Event) {
        let is_offers = event.r#type == Some(event::Type::Offers as i32);
        let mut offers: BTreeMap<String, i64> = BTreeMap::new();
        for offer in event.offers.iter().flat_map(|it| &it.offers).filter(|_| is_offers) {
            *offers.entry(offer.id.value.clone()).or_default() += 1;
        }
        for command in self.handle(SchedulerEvent::Record(Box::new(event))) {
            let SchedulerCommand::Call(call) = command else { continue };
            let accepted = call.accept.iter().flat_map(|it| &it.offer_ids);
            for id in accepted.chain(call.decline.iter().flat_map(|it| &it.offer_ids)) {
                *offers.entry(id.value.clone()).or_default() -= 1;
            }
        }
        assert!(offers.values().all(|left| *left == 0), "offers answered not once: {offers:?}");
    }

    /// What may happen between two events.
    fn meanwhile(&mut self, random: &mut Random) {
        self.now = self.now + Duration::from_millis(random.next() % 40_000);
        let error = || convoke_core::Error::new(convoke_core::ErrorKind::Unavailable, "made up");
        let event = match random.below(8) {
            0 => SchedulerEvent::Tick,
            1 => SchedulerEvent::Stop(vec![ExecutorId(random.next() % 6)]),
            2 => SchedulerEvent::Start(vec![wanted(random.next() % 4 + 1, random)]),
            3 if !self.calls.is_empty() => {
                let call = self.calls.swap_remove(random.below(self.calls.len()));
                let answer = match random.below(3) {
                    0 => Ok(()),
                    1 => Err(CallFailure::Void(error())),
                    _ => Err(CallFailure::Bad(error())),
                };
                SchedulerEvent::Answered(Box::new(call), answer)
            }
            4 if random.one_in(4) => SchedulerEvent::Lost(error()),
            5 => {
                let framework_id = v1::FrameworkId { value: "f".into() };
                SchedulerEvent::Subscribed(event::Subscribed { framework_id, ..Default::default() })
            }
            _ => return,
        };
        self.handle(event);
    }
}

fn wanted(id: u64, random: &mut Random) -> Wanted {
    let each = Resources::new(Cpus::from_millis(random.next() % 2000 + 1), MiB(random.next() % 512 + 1));
    Wanted {
        executor: ExecutorId(id),
        profile: Arc::new(ResourceProfile { each, ..ResourceProfile::default() }),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

/// An event that may come, with ids of ours in it and whatever else.
pub(crate) fn event(random: &mut Random) -> Event {
    let kind = *random.pick(&[
        event::Type::Offers,
        event::Type::Offers,
        event::Type::Update,
        event::Type::Update,
        event::Type::Update,
        event::Type::Heartbeat,
        event::Type::Failure,
        event::Type::Error,
    ]);
    let mut event = Event { r#type: Some(kind as i32), ..Default::default() };
    match kind {
        event::Type::Offers => {
            event.offers =
                Some(event::Offers { offers: (0..random.below(4)).map(|_| offer(random)).collect() });
        }
        event::Type::Update => event.update = Some(event::Update { status: status(random) }),
        event::Type::Error => event.error = Some(event::Error { message: "Framework failed over".into() }),
        _ => {}
    }
    event
}

fn offer(random: &mut Random) -> v1::Offer {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    let amounts = [0.0, 0.5, 1.0, 3.1, 4096.0, 0.0004, -1.0, f64::NAN, f64::INFINITY, 1e300];
    v1::Offer {
        id: v1::OfferId { value: format!("o{}", random.next() % 1000) },
        agent_id: v1::AgentId { value: format!("a{}", random.below(3)) },
        hostname: random.pick(&["h1", "h2", "", "host with spaces"]).to_string(),
        resources: (0..random.below(5))
            .map(|_| scalar(["cpus", "mem", "gpus", "disk"][random.below(4)], *random.pick(&amounts)))
            .collect(),
        ..Default::default()
    }
}

fn status(random: &mut Random) -> TaskStatus {
    let task = match random.below(6) {
        0 => "somebody-else-1".to_owned(),
        1 => application().native(ExecutorId(77)),
        _ => application().native(ExecutorId(random.next() % 4 + 1)),
    };
    TaskStatus {
        task_id: v1::TaskId { value: task },
        state: random.below(16) as i32,
        reason: random.one_in(2).then(|| random.below(40) as i32),
        message: Some("Command exited with status 3".into()),
        agent_id: (!random.one_in(8)).then(|| v1::AgentId { value: "a1".into() }),
        uuid: (!random.one_in(3)).then(|| Bytes::from(vec![7; random.below(18)])),
        ..Default::default()
    }
}
