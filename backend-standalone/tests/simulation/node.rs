//! A simulated worker: the real decisions, with made-up processes that outlive them.

use std::collections::BTreeMap;

use convoke_core::clock::Moment;
use convoke_core::ids::Name;
use convoke_core::manager::{Exit, ExitCause};
use convoke_core::resource::Resources;
use convoke_standalone::state::{
    EndCause, Key, Running, Session, Worker, WorkerAction, WorkerCommand, WorkerEvent,
};

/// A process of an executor, as the kernel would know it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) need: Resources,
    /// When it runs, for the worker to hear.
    pub(crate) launches_at: Option<Moment>,
    /// When it is gone.
    pub(crate) ends_at: Option<(Moment, Exit)>,
}

#[derive(Debug)]
pub(crate) struct SimulatedWorker {
    pub(crate) name: Name,
    pub(crate) total: Resources,
    /// `None` while it is down.
    pub(crate) machine: Option<Worker>,
    pub(crate) processes: BTreeMap<Key, Process>,
    /// What its folder keeps over a restart.
    records: BTreeMap<Key, Running>,
    epoch: u64,
    pub(crate) session: Option<Session>,
    /// It does nothing until then.
    pub(crate) stopped_until: Moment,
    /// What it was sent while it was stopped.
    pub(crate) unread: Vec<(Session, u64, WorkerCommand)>,
    /// It was told that it is drained.
    pub(crate) left: bool,
}

impl SimulatedWorker {
    pub(crate) fn new(name: Name, total: Resources) -> SimulatedWorker {
        SimulatedWorker {
            name,
            total,
            machine: Some(Worker::new(0, Vec::new())),
            processes: BTreeMap::new(),
            records: BTreeMap::new(),
            epoch: 0,
            session: None,
            stopped_until: Moment::ZERO,
            unread: Vec::new(),
            left: false,
        }
    }

    /// The worker's own process dies; what it started lives on.
    pub(crate) fn crash(&mut self) {
        self.machine = None;
        self.session = None;
        self.unread.clear();
    }

    /// It is started again, finds what runs, and says of what is gone that it is.
    pub(crate) fn restart(&mut self) {
        for (key, record) in &mut self.records {
            match self.processes.get(key) {
                Some(process) => record.launched |= process.launches_at.is_none(),
                None if record.exit.is_none() => {
                    record.exit = Some(Exit::new(ExitCause::Unknown, "it ended while its worker was down"));
                }
                None => {}
            }
        }
        self.machine = Some(Worker::new(self.epoch, self.records.values().cloned().collect()));
    }

    /// Takes an event and carries out what concerns processes; the rest is to be sent.
    pub(crate) fn handle(
        &mut self,
        now: Moment,
        event: WorkerEvent,
        launch_fails: bool,
        delay: std::time::Duration,
    ) -> Vec<WorkerAction> {
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let mut actions = Vec::new();
        machine.handle(event, &mut actions);
        assert!(machine.epoch() >= self.epoch, "a worker went back to an older epoch");
        self.epoch = machine.epoch();
        let mut rest = Vec::new();
        for action in actions {
            match action {
                WorkerAction::Start { key, devices, need, launch } => {
                    assert!(!launch.is_empty(), "{key:?} is started without a command");
                    let record = Running { key, exit: None, launched: false, need, devices };
                    self.start(now + delay, record, launch_fails);
                }
                WorkerAction::End(key, cause) => self.end(now, &key, cause, delay),
                WorkerAction::Forget(key) => {
                    self.records.remove(&key);
                }
                WorkerAction::Leave => self.left = true,
                other => rest.push(other),
            }
        }
        rest
    }

    fn start(&mut self, at: Moment, record: Running, fails: bool) {
        let key = record.key.clone();
        assert!(!self.processes.contains_key(&key), "{key:?} is started twice on {}", self.name);
        let failed = Exit::new(
            ExitCause::LaunchFailed(convoke_core::manager::LaunchFailure::DiskFull),
            "the simulated disk is full",
        );
        let process = Process {
            need: record.need.clone(),
            launches_at: (!fails).then_some(at),
            ends_at: fails.then_some((at, failed)),
        };
        self.records.insert(key.clone(), record);
        self.processes.insert(key, process);
    }

    fn end(&mut self, now: Moment, key: &Key, cause: EndCause, delay: std::time::Duration) {
        let exit = Exit::new(
            match cause {
                EndCause::Released | EndCause::Unwanted => ExitCause::Released,
                EndCause::ApplicationOver => ExitCause::Unregistered,
                EndCause::Drained => ExitCause::NodeDrained,
            },
            "",
        );
        if let Some(process) = self.processes.get_mut(key) {
            process.ends_at.get_or_insert((now + delay, exit));
        }
    }

    /// What the kernel has to tell by now.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<WorkerEvent> {
        let mut events = Vec::new();
        for (key, process) in &mut self.processes {
            if process.launches_at.is_some_and(|at| at <= now) {
                process.launches_at = None;
                if let Some(record) = self.records.get_mut(key) {
                    record.launched = true;
                }
                events.push(WorkerEvent::Launched(key.clone()));
            }
        }
        let gone: Vec<(Key, Exit)> = self
            .processes
            .iter()
            .filter_map(|(key, process)| {
                let (at, exit) = process.ends_at.clone()?;
                (at <= now).then(|| (key.clone(), exit))
            })
            .collect();
        for (key, exit) in gone {
            self.processes.remove(&key);
            if self.machine.is_some() {
                if let Some(record) = self.records.get_mut(&key) {
                    record.exit.get_or_insert(exit.clone());
                }
                events.push(WorkerEvent::Exited(key, exit));
            }
        }
        events
    }
}
