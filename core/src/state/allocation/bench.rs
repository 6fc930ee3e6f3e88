//! What the tests of the machine share: a made-up clock, and short ways to say things.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::manager::{ExitCause, Then, What};
use crate::units::{Cpus, MiB};

pub(super) fn settings() -> AllocationSettings {
    AllocationSettings {
        max_executors: 100,
        lease: Duration::from_secs(30),
        policy: ExecutorPolicy::default(),
        driver: vec![HostPort::new("driver", 7077)],
        seed: 42,
    }
}

pub(super) fn profile(id: u32) -> Arc<ResourceProfile> {
    let each = crate::resource::Resources::new(Cpus::whole(1), MiB(64 + u64::from(id)));
    Arc::new(ResourceProfile { id: ProfileId(id), each, ..ResourceProfile::default() })
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A machine with its clock, and everything that came out of it.
pub(super) struct Bench {
    pub(super) now: Moment,
    pub(super) state: AllocationState,
    pub(super) commands: Vec<AllocationCommand>,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(settings())
    }

    pub(super) fn with(settings: AllocationSettings) -> Bench {
        Bench { now: Moment::ZERO + seconds(1), state: AllocationState::new(settings), commands: Vec::new() }
    }

    pub(super) fn handle(&mut self, event: AllocationEvent) {
        self.state.handle(self.now, event, &mut self.commands);
    }

    pub(super) fn news(&mut self, news: ManagerNews) {
        self.handle(AllocationEvent::News(news));
    }

    /// Time passes, with a tick at each deadline on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ticks = 0;
        while let Some(at) = self.state.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(AllocationEvent::Tick);
            ticks += 1;
            assert!(ticks < 10_000, "the machine spins");
        }
        self.now = end;
        self.handle(AllocationEvent::Tick);
    }

    pub(super) fn target(&mut self, executors: u32) {
        self.handle(AllocationEvent::Wished(Target::of(profile(0), executors)));
    }

    pub(super) fn release(&mut self, ids: &[u64], grace: Duration, then: Then, why: ExitCause) {
        let executors = ids.iter().map(|id| ExecutorId(*id)).collect();
        self.handle(AllocationEvent::Released(Release { executors, grace, then, why }));
    }

    /// Answers all calls but `close` and `ReadTail` with success; gives what was started and stopped, in order.
    pub(super) fn answer(&mut self) -> (Vec<u64>, Vec<u64>) {
        let (mut started, mut stopped) = (Vec::new(), Vec::new());
        loop {
            let calls = std::mem::take(&mut self.commands);
            if calls.is_empty() {
                return (started, stopped);
            }
            for call in calls {
                match call {
                    AllocationCommand::Start(wanted) => {
                        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.executor).collect();
                        started.extend(ids.iter().map(|id| id.0));
                        self.handle(AllocationEvent::StartAnswered(ids, Ok(())));
                    }
                    AllocationCommand::Stop(ids) => {
                        stopped.extend(ids.iter().map(|id| id.0));
                        self.handle(AllocationEvent::StopAnswered(ids, Ok(())));
                    }
                    AllocationCommand::List => self.handle(AllocationEvent::Listed(Ok(None))),
                    AllocationCommand::ReadTail(_) | AllocationCommand::Close { .. } => {}
                }
            }
        }
    }

    pub(super) fn grant(&mut self, id: u64) {
        self.grant_on(id, "node-1");
    }

    pub(super) fn grant_on(&mut self, id: u64, host: &str) {
        let profile = self
            .state
            .roster
            .get(ExecutorId(id))
            .map_or_else(|| profile(0), |executor| executor.wanted.profile.clone());
        self.news(ManagerNews::Granted(Grant {
            executor: ExecutorId(id),
            profile: profile.id,
            native: format!("native-{id}"),
            host: Some(Name::new(host).unwrap()),
            actual: profile.each.clone(),
            devices: BTreeMap::new(),
        }));
    }

    /// Granted, launched, joined.
    pub(super) fn run(&mut self, id: u64) {
        self.grant(id);
        self.news(ManagerNews::Launched(ExecutorId(id), vec![]));
        self.hear(id, Heard::Joined);
    }

    pub(super) fn exit(&mut self, id: u64, cause: ExitCause) {
        self.news(ManagerNews::Exited(ExecutorId(id), Exit::new(cause, "")));
    }

    pub(super) fn hear(&mut self, id: u64, news: Heard) -> bool {
        let known = self.state.knows(ExecutorId(id), &news);
        self.handle(AllocationEvent::Heard(ExecutorId(id), news));
        known
    }

    /// The connection breaks, then the manager tells the exit.
    pub(super) fn crash(&mut self, id: u64, cause: ExitCause) {
        self.hear(id, Heard::HungUp);
        self.exit(id, cause);
    }

    /// All unread events, in short.
    pub(super) fn events(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(entry) = self.state.read(self.now) {
            self.handle(AllocationEvent::EventsRead);
            told.push(short(&entry.what));
        }
        told
    }
}

pub(super) fn short(what: &What) -> String {
    match what {
        What::Granted(grant) => format!("granted {}", grant.executor),
        What::Launched { executor, .. } => format!("launched {executor}"),
        What::Exited { executor, exit } => format!("exited {executor}: {}", exit.cause),
        What::Unreachable { executor } => format!("unreachable {executor}"),
        What::Reachable { executor } => format!("reachable {executor}"),
        What::Draining { executors, .. } => format!("draining {executors:?}"),
        What::ExecutorsFailing { recent, .. } => format!("failing {recent}"),
        What::ManagerUnreachable { .. } => "manager unreachable".to_owned(),
        What::ManagerRecovered { .. } => "manager recovered".to_owned(),
        What::Ended { by, .. } => format!("ended by {by:?}"),
    }
}
