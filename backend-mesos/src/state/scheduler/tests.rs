use super::closing::FIRST_WAIT;
use super::*;
use convoke_core::ids::{ApplicationId, Name, ProfileId};
use convoke_core::manager::{LaunchCommand, Launcher, Placement, Program};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};

#[derive(Debug)]
struct Sleeps;
impl Launcher for Sleeps {
    fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        LaunchCommand::new(Program::OnNode("/bin/sleep".into()), Secret::new([1]))
    }
}

/// A scheduler and what it has said since the last look.
struct Bench {
    scheduler: Scheduler,
    now: Moment,
    out: Out,
}

impl Bench {
    fn new() -> Bench {
        let name = Name::new("words").unwrap();
        let id = ApplicationId::from_parts(&name, 7);
        let spec = ApplicationSpec::builder(id, name, Arc::new(Sleeps)).build().unwrap();
        let settings = Settings::new(vec!["m:1".parse().unwrap()]);
        let scheduler = Scheduler::new(Arc::new(spec), Arc::new(settings), 1, Moment::ZERO);
        Bench { scheduler, now: Moment::ZERO, out: Vec::new() }
    }

    fn subscribed() -> Bench {
        let mut bench = Bench::new();
        bench.event(SchedulerEvent::Tick);
        bench.subscribe();
        bench.out.clear();
        bench
    }

    fn event(&mut self, event: SchedulerEvent) {
        self.scheduler.handle(self.now, event, &mut self.out);
    }

    fn subscribe(&mut self) {
        let framework_id = v1::FrameworkId { value: "F1".into() };
        self.event(SchedulerEvent::Subscribed(event::Subscribed { framework_id, ..Default::default() }));
    }

    fn record(&mut self, kind: event::Type, fill: impl FnOnce(&mut Event)) {
        let mut record = Event { r#type: Some(kind as i32), ..Default::default() };
        fill(&mut record);
        self.event(SchedulerEvent::Record(Box::new(record)));
    }

    fn offer(&mut self, id: &str) {
        let scalar = |name: &str, value| v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        };
        let offer = v1::Offer {
            id: v1::OfferId { value: id.into() },
            agent_id: v1::AgentId { value: "S1".into() },
            hostname: "node-1".into(),
            resources: vec![scalar("cpus", 8.0), scalar("mem", 4096.0)],
            ..Default::default()
        };
        self.record(event::Type::Offers, |record| {
            record.offers = Some(event::Offers { offers: vec![offer] })
        });
    }

    fn status(&mut self, executor: u64, state: v1::TaskState) {
        let status = v1::TaskStatus {
            task_id: v1::TaskId { value: self.scheduler.native(ExecutorId(executor)) },
            state: state as i32,
            agent_id: Some(v1::AgentId { value: "S1".into() }),
            ..Default::default()
        };
        self.record(event::Type::Update, |record| record.update = Some(event::Update { status }));
    }

    /// The calls that were said, by type, since the last look.
    fn calls(&mut self) -> Vec<call::Type> {
        let out = std::mem::take(&mut self.out);
        out.iter()
            .filter_map(|command| match command {
                SchedulerCommand::Call(call) => call::Type::try_from(call.r#type.unwrap()).ok(),
                _ => None,
            })
            .collect()
    }

    fn answer_teardown(&mut self) {
        let call = Call { r#type: Some(call::Type::Teardown as i32), ..Default::default() };
        self.event(SchedulerEvent::Answered(Box::new(call), Ok(())));
    }

    fn exits(&self) -> Vec<(u64, ExitCause)> {
        let exit = |command: &SchedulerCommand| match command {
            SchedulerCommand::Tell(Told::Exited(executor, exit)) => Some((executor.0, exit.cause.clone())),
            _ => None,
        };
        self.out.iter().filter_map(exit).collect()
    }
}

fn wanted(executor: u64) -> Wanted {
    let each = Resources::new(Cpus::whole(1), MiB(64));
    Wanted {
        executor: ExecutorId(executor),
        profile: Arc::new(ResourceProfile { id: ProfileId(0), each, ..ResourceProfile::default() }),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

fn lost() -> SchedulerEvent {
    SchedulerEvent::Lost(Error::new(convoke_core::ErrorKind::Unavailable, "test"))
}

#[test]
fn a_grant_is_told_before_the_accept_that_could_start_it() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1), wanted(2)]));
    assert_eq!(bench.calls(), [call::Type::Revive]);
    bench.offer("O1");
    let position = |found: fn(&SchedulerCommand) -> bool| bench.out.iter().position(found).unwrap();
    let granted =
        position(|it| matches!(it, SchedulerCommand::Tell(Told::Granted(grant)) if grant.executor.0 == 2));
    let accept = position(|it| matches!(it, SchedulerCommand::Call(call) if call.accept.is_some()));
    assert!(granted < accept);
    assert_eq!(bench.calls(), [call::Type::Accept, call::Type::Suppress]);
}

#[test]
fn a_subscription_is_suppressed_and_names_the_framework_from_the_second_on() {
    let mut bench = Bench::new();
    let first = bench.scheduler.subscribe_call("me").subscribe.unwrap();
    assert_eq!((first.suppressed_roles, first.framework_info.id), (vec!["*".to_owned()], None));
    assert_eq!(first.framework_info.failover_timeout, Some(30.0), "the lease");
    bench.event(SchedulerEvent::Tick);
    bench.subscribe();
    let again = bench.scheduler.subscribe_call("me");
    assert_eq!(again.framework_id.unwrap().value, "F1");
    assert_eq!(again.subscribe.unwrap().framework_info.id.unwrap().value, "F1");
}

#[test]
fn a_new_stream_reconciles_kills_again_what_is_stopped_and_asks_for_offers() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1), wanted(2)]));
    bench.offer("O1");
    bench.status(1, v1::TaskState::TaskRunning);
    bench.event(lost());
    bench.calls();
    bench.event(SchedulerEvent::Stop(vec![ExecutorId(1)]));
    bench.event(SchedulerEvent::Start(vec![wanted(3)]));
    assert_eq!(bench.calls(), [], "there is nobody to say it to");
    bench.now = bench.scheduler.next_deadline().unwrap();
    bench.event(SchedulerEvent::Tick);
    assert!(bench.out.iter().any(|it| matches!(it, SchedulerCommand::Connect(_))));
    bench.subscribe();
    assert_eq!(bench.calls(), [call::Type::Reconcile, call::Type::Kill, call::Type::Revive]);
    bench.status(1, v1::TaskState::TaskKilled);
    assert_eq!(bench.exits(), [(1, ExitCause::Released)]);
    // whose ACCEPT never arrived is not known there
    bench.status(2, v1::TaskState::TaskGone);
    assert!(bench.exits().contains(&(2, ExitCause::NeverStarted)));
}

#[test]
fn a_quiet_application_asks_nothing() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1)]));
    bench.offer("O1");
    bench.status(1, v1::TaskState::TaskRunning);
    bench.calls();
    let end = bench.now + Duration::from_secs(14 * 60);
    while bench.now < end {
        bench.now = bench.scheduler.next_deadline().unwrap().min(bench.now + Duration::from_secs(15));
        bench.record(event::Type::Heartbeat, |_| {});
        bench.event(SchedulerEvent::Tick);
    }
    assert_eq!(bench.calls(), []);
}

#[test]
fn a_call_that_cannot_be_right_ends_what_it_would_have_started() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1)]));
    bench.offer("O1");
    let accept = bench.out.drain(..).find_map(|command| match command {
        SchedulerCommand::Call(call) if call.accept.is_some() => Some(call),
        _ => None,
    });
    let bad = CallFailure::Bad(Error::new(convoke_core::ErrorKind::Rejected, "Expecting something else"));
    bench.event(SchedulerEvent::Answered(accept.unwrap(), Err(bad)));
    assert_eq!(bench.exits(), [(1, ExitCause::NeverStarted)]);
    assert_eq!(bench.scheduler.live(), 0);
}

#[test]
fn closing_kills_until_all_have_ended_and_then_tears_down() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1), wanted(2)]));
    bench.offer("O1");
    bench.event(SchedulerEvent::Start(vec![wanted(3)]));
    bench.calls();
    bench.event(SchedulerEvent::Close);
    assert_eq!(bench.exits(), [(3, ExitCause::Withdrawn)]);
    assert_eq!(bench.calls(), [call::Type::Suppress, call::Type::Kill, call::Type::Kill]);
    bench.status(1, v1::TaskState::TaskKilled);
    bench.out.clear();
    bench.now = bench.now + FIRST_WAIT;
    bench.event(SchedulerEvent::Tick);
    assert!(bench.calls().contains(&call::Type::Kill), "nobody else repeats it");
    bench.event(SchedulerEvent::Start(vec![wanted(4)]));
    assert_eq!(bench.exits(), [(4, ExitCause::Withdrawn)], "nothing new from now on");
    bench.status(2, v1::TaskState::TaskKilled);
    assert_eq!(bench.calls(), [call::Type::Teardown]);
    bench.answer_teardown();
    assert_eq!(bench.scheduler.closed(), None, "taken is not done");
    bench.event(lost());
    assert_eq!(bench.scheduler.closed(), Some(true));
    assert_eq!(bench.scheduler.next_deadline(), None);
}

#[test]
fn a_teardown_with_something_left_is_never_told_as_clean() {
    let mut bench = Bench::subscribed();
    bench.event(SchedulerEvent::Start(vec![wanted(1)]));
    bench.offer("O1");
    bench.event(SchedulerEvent::Close);
    bench.event(SchedulerEvent::TearDown);
    assert!(bench.calls().contains(&call::Type::Teardown));
    // the stream broke before the answer: subscribed again, it is said again, until the framework is gone
    bench.event(lost());
    bench.now = bench.scheduler.next_deadline().unwrap();
    bench.event(SchedulerEvent::Tick);
    bench.calls();
    bench.subscribe();
    assert_eq!(bench.calls(), [call::Type::Teardown]);
    bench.event(SchedulerEvent::Refused("Framework has been removed".into()));
    assert_eq!(bench.scheduler.closed(), Some(false));
}
