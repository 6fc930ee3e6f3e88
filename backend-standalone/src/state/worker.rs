//! The worker: what it was told to run, what runs, and what its master has yet to hear.
//!
//! A connection that breaks ends nothing. With the next one it says all that it has, and the master says what of it to end.

use std::collections::BTreeMap;

use bytes::Bytes;
use convoke_core::ids::Name;
use convoke_core::manager::{Exit, ExitCause};
use convoke_core::resource::Resources;

use super::messages::{EndCause, Key, Report, Running, Session, WorkerCommand};

/// What reaches a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// There is a connection to a master.
    Connected(Session),
    /// It broke.
    HungUp(Session),
    /// The master of this epoch says this.
    Told(Session, u64, WorkerCommand),
    /// An executor's process runs.
    Launched(Key),
    /// Nothing of an executor is left.
    Exited(Key, Exit),
}

/// What a worker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerAction {
    /// Say who it is and all that it has.
    Register(Session, Vec<Running>),
    /// Tell of one executor.
    Report(Session, Key, Report),
    /// Start a process.
    Start {
        /// Of which executor.
        key: Key,
        /// On which devices.
        devices: BTreeMap<Name, Vec<String>>,
        /// What it gets.
        need: Resources,
        /// How.
        launch: Bytes,
    },
    /// End a process with its whole tree.
    End(Key, EndCause),
    /// Nobody will ask for it again: its records may go.
    Forget(Key),
    /// Close a connection: its master is older than one that was heard.
    HangUp(Session),
    /// It was drained: end.
    Leave,
}

#[derive(Debug)]
struct Executor {
    launched: bool,
    ending: Option<EndCause>,
    exit: Option<Exit>,
    need: Resources,
    devices: BTreeMap<Name, Vec<String>>,
}

/// The worker.
#[derive(Debug, Default)]
pub struct Worker {
    epoch: u64,
    session: Option<Session>,
    /// Whether the master has taken it on this connection.
    welcome: bool,
    executors: BTreeMap<Key, Executor>,
}

impl Worker {
    /// A worker that found this of an earlier life: processes that run on, and exits that nobody has heard of.
    #[must_use]
    pub fn new(epoch: u64, found: Vec<Running>) -> Worker {
        let executors = found
            .into_iter()
            .map(|Running { key, exit, launched, need, devices }| {
                (key, Executor { launched, ending: None, exit, need, devices })
            })
            .collect();
        Worker { epoch, session: None, welcome: false, executors }
    }

    /// The latest epoch that it has heard, which it keeps over a restart.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What it has: running, and ended but not yet forgotten.
    #[must_use]
    pub fn executors(&self) -> Vec<Running> {
        let running = |(key, executor): (&Key, &Executor)| Running {
            key: key.clone(),
            exit: executor.exit.clone(),
            launched: executor.launched,
            need: executor.need.clone(),
            devices: executor.devices.clone(),
        };
        self.executors.iter().map(running).collect()
    }

    /// Takes one event.
    pub fn handle(&mut self, event: WorkerEvent, out: &mut Vec<WorkerAction>) {
        match event {
            WorkerEvent::Connected(session) => {
                self.session = Some(session);
                self.welcome = false;
                out.push(WorkerAction::Register(session, self.executors()));
            }
            WorkerEvent::HungUp(session) => {
                if self.session == Some(session) {
                    self.session = None;
                    self.welcome = false;
                }
            }
            WorkerEvent::Told(session, epoch, command) => {
                if self.session != Some(session) {
                    return;
                }
                if epoch < self.epoch {
                    self.session = None;
                    out.push(WorkerAction::HangUp(session));
                    return;
                }
                self.epoch = epoch;
                self.told(command, out);
            }
            WorkerEvent::Launched(key) => {
                if let Some(executor) = self.executors.get_mut(&key) {
                    executor.launched = true;
                    self.report(&key, Report::Launched, out);
                }
            }
            WorkerEvent::Exited(key, exit) => {
                if let Some(executor) = self.executors.get_mut(&key)
                    && executor.exit.is_none()
                {
                    executor.exit = Some(exit.clone());
                    self.report(&key, Report::Exited(exit), out);
                }
            }
        }
    }

    fn told(&mut self, command: WorkerCommand, out: &mut Vec<WorkerAction>) {
        match command {
            WorkerCommand::Welcome => {
                self.welcome = true;
                // What ended since it said what it has may have been told on a connection that wasn't taken yet.
                let news: Vec<(Key, Exit)> = self
                    .executors
                    .iter()
                    .filter_map(|(key, executor)| Some((key.clone(), executor.exit.clone()?)))
                    .collect();
                for (key, exit) in news {
                    self.report(&key, Report::Exited(exit), out);
                }
            }
            WorkerCommand::Launch { key, devices, need, launch } => match self.executors.get(&key) {
                None => {
                    let (need_of, devices_of) = (need.clone(), devices.clone());
                    let executor = Executor {
                        launched: false,
                        ending: None,
                        exit: None,
                        need: need_of,
                        devices: devices_of,
                    };
                    self.executors.insert(key.clone(), executor);
                    out.push(WorkerAction::Start { key, devices, need, launch });
                }
                Some(executor) => {
                    // Told twice: say again what became of it.
                    let exit = executor.exit.clone();
                    if executor.launched {
                        self.report(&key, Report::Launched, out);
                    }
                    if let Some(exit) = exit {
                        self.report(&key, Report::Exited(exit), out);
                    }
                }
            },
            WorkerCommand::End(key, cause) => match self.executors.get_mut(&key) {
                None => {
                    let exit = Exit::new(ExitCause::NeverStarted, "its worker never was told to start it");
                    self.report(&key, Report::Exited(exit), out);
                }
                Some(executor) => match executor.exit.clone() {
                    Some(exit) => self.report(&key, Report::Exited(exit), out),
                    None if executor.ending.is_some() => {}
                    None => {
                        executor.ending = Some(cause);
                        out.push(WorkerAction::End(key, cause));
                    }
                },
            },
            WorkerCommand::Forget(key) => {
                if self.executors.get(&key).is_none_or(|executor| executor.exit.is_some()) {
                    self.executors.remove(&key);
                    out.push(WorkerAction::Forget(key));
                }
            }
            WorkerCommand::Drained => {
                if self.executors.values().all(|executor| executor.exit.is_some()) {
                    out.push(WorkerAction::Leave);
                }
            }
        }
    }

    fn report(&self, key: &Key, report: Report, out: &mut Vec<WorkerAction>) {
        if let Some(session) = self.session.filter(|_| self.welcome) {
            out.push(WorkerAction::Report(session, key.clone(), report));
        }
    }
}
