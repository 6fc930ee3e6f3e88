use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use convoke::clock::Moment;
use convoke::ids::ExecutorId;
use convoke::manager::{ExecutorPolicy, Exit, ExitCause, Grant, Heard, Target};
use convoke::resource::ResourceProfile;
use convoke::state::allocation::{
    AllocationCommand, AllocationEvent, AllocationSettings, AllocationState, ManagerNews,
};

use super::{Checked, same};

/// Wishes for so many executors, has them granted, launched and joined, and has each replaced once.
///
/// # Errors
/// Where the reconciler does other work.
pub fn allocate(executors: u64) -> Checked {
    let mut machine = Machine {
        now: Moment::ZERO,
        state: AllocationState::new(AllocationSettings {
            max_executors: u32::MAX,
            lease: Duration::from_secs(30),
            policy: ExecutorPolicy::default(),
            driver: Vec::new(),
            seed: 42,
        }),
        out: Vec::new(),
        profile: Arc::new(ResourceProfile::default()),
        live: VecDeque::new(),
        events: 0,
    };
    machine.handle(AllocationEvent::Opened { logs: false });
    let target = Target::of(Arc::clone(&machine.profile), executors as u32);
    machine.handle(AllocationEvent::Wished(target));
    machine.answer();
    same("executors that are live", machine.live.len() as u64, executors)?;
    for _ in 0..executors {
        let Some(executor) = machine.live.pop_front() else { break };
        machine.handle(AllocationEvent::Heard(executor, Heard::HungUp));
        machine.news(ManagerNews::Exited(executor, Exit::new(ExitCause::Preempted, "")));
        machine.answer();
    }
    same("executors that are live", machine.live.len() as u64, executors)?;
    // Granted, launched and exited of the first, granted and launched of the second.
    same("events", machine.events, executors * 5)
}

struct Machine {
    now: Moment,
    state: AllocationState,
    out: Vec<AllocationCommand>,
    profile: Arc<ResourceProfile>,
    live: VecDeque<ExecutorId>,
    events: u64,
}

impl Machine {
    fn handle(&mut self, event: AllocationEvent) {
        self.now = self.now + Duration::from_micros(10);
        self.state.handle(self.now, event, &mut self.out);
        while self.state.read(self.now).is_some() {
            self.events += 1;
            self.state.handle(self.now, AllocationEvent::EventsRead, &mut self.out);
        }
    }

    fn news(&mut self, news: ManagerNews) {
        self.handle(AllocationEvent::News(news));
    }

    /// Does as a manager with room does.
    fn answer(&mut self) {
        loop {
            let calls = std::mem::take(&mut self.out);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                match call {
                    AllocationCommand::Start(wanted) => {
                        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.executor).collect();
                        self.handle(AllocationEvent::StartAnswered(ids.clone(), Ok(())));
                        for executor in ids {
                            self.start(executor);
                        }
                    }
                    AllocationCommand::Stop(ids) => {
                        self.handle(AllocationEvent::StopAnswered(ids, Ok(())));
                    }
                    AllocationCommand::List => self.handle(AllocationEvent::Listed(Ok(None))),
                    AllocationCommand::ReadTail(_) | AllocationCommand::Close { .. } => {}
                }
            }
        }
    }

    fn start(&mut self, executor: ExecutorId) {
        self.news(ManagerNews::Granted(Grant {
            executor,
            profile: self.profile.id,
            native: String::new(),
            host: None,
            actual: self.profile.each.clone(),
            devices: BTreeMap::new(),
        }));
        self.news(ManagerNews::Launched(executor, Vec::new()));
        self.handle(AllocationEvent::Heard(executor, Heard::Joined));
        self.live.push_back(executor);
    }
}
