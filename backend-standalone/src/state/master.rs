//! The master: who runs what where, and who waits for what.
//!
//! It holds four rules. What is granted is durable before anybody hears of it, so that a restarted master grants no executor twice.
//! An exit is kept until its driver has taken it, by the worker too, so that none is lost with a master or a connection (L1, F3). What
//! arrives on a connection that a later one replaced is dropped. What a worker runs and nobody wants is ended (F8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{EndedBy, Exit, Outcome};
use convoke_core::resource::Resources;

use super::messages::{
    ApplicationCommand, Change, EndCause, Finished, Key, MasterCommand, MasterEvent, Session, WorkerCommand,
};
use super::nodes::{Node, NodeId, Nodes};
use super::queue::Waiting;
use super::settings::{MasterSettings, Order};

mod applications;
mod restored;
mod scheduling;
mod view;
mod workers;

pub use view::{ApplicationView, WorkerView};

/// An application that a driver holds.
#[derive(Debug)]
struct Application {
    name: Name,
    owner: Name,
    lease: Duration,
    order: u64,
    session: Option<Session>,
    /// Its driver's last word.
    heard: Moment,
    executors: BTreeMap<ExecutorId, Executor>,
    waiting: Waiting,
    /// Thousandths of a cpu that its executors hold.
    held_cpus: u64,
    /// It is being ended: so, and by whom.
    closing: Option<(Outcome, EndedBy)>,
}

/// An executor that was granted, or that waits.
#[derive(Debug)]
struct Executor {
    stage: Stage,
    /// How it is started; forgotten once it runs.
    launch: Option<Bytes>,
}

#[derive(Debug)]
enum Stage {
    /// It waits for room.
    Waiting,
    /// It has a place.
    Granted(Placed),
    /// Nothing of it counts any more; kept until its driver has taken that.
    Exited {
        exit: Exit,
        /// The worker that keeps it, too.
        worker: Name,
    },
}

#[derive(Debug)]
struct Placed {
    worker: Name,
    need: Resources,
    devices: BTreeMap<Name, Vec<String>>,
    launched: bool,
    /// Its worker, on its present connection, has said that it has it.
    seen: bool,
    /// It was told to start it, on its present connection.
    sent: bool,
    /// It was told to end, for this reason.
    ending: Option<EndCause>,
}

#[derive(Debug)]
struct WorkerState {
    session: Option<Session>,
    heard: Moment,
    executors: BTreeSet<Key>,
    /// What runs there and shouldn't (F8), with what it holds of the node until it is gone.
    strangers: BTreeMap<Key, (Resources, BTreeMap<Name, Vec<String>>)>,
    drain: Option<Drain>,
}

#[derive(Debug)]
struct Drain {
    deadline: Option<Moment>,
    why: String,
    ended: bool,
    told: bool,
}

/// The master. One value is one epoch: a restarted master is a new value, filled from what was stored.
#[derive(Debug)]
pub struct Master {
    settings: MasterSettings,
    epoch: u64,
    nodes: Nodes,
    workers: BTreeMap<Name, WorkerState>,
    applications: BTreeMap<ApplicationId, Application>,
    by_order: BTreeMap<u64, ApplicationId>,
    next_order: u64,
    /// Nodes where something became free since the last [`Master::settle`].
    gained: BTreeSet<NodeId>,
    /// Applications of which something may be granted, by order of registration.
    ready: BTreeSet<u64>,
    finished: VecDeque<Finished>,
    /// Nobody's patience ends before: a lower bound, so that a heartbeat costs nothing but itself.
    check_at: Option<Moment>,
}

impl Master {
    /// A master that knows nothing yet, of this epoch: one more than the last that was stored.
    #[must_use]
    pub fn new(settings: MasterSettings, epoch: u64) -> Master {
        Master {
            settings,
            epoch,
            nodes: Nodes::default(),
            workers: BTreeMap::new(),
            applications: BTreeMap::new(),
            by_order: BTreeMap::new(),
            next_order: 0,
            gained: BTreeSet::new(),
            ready: BTreeSet::new(),
            finished: VecDeque::new(),
            check_at: None,
        }
    }

    /// Its epoch, which fences what an older master still has on its way.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes one event. Grants nothing yet: that is [`Master::settle`]'s, after all events that are there.
    pub fn handle(&mut self, now: Moment, event: MasterEvent, out: &mut Vec<MasterCommand>) {
        match event {
            MasterEvent::WorkerRegistered { worker, session, offer, running } => {
                self.worker_registered(now, worker, session, offer, running, out);
            }
            MasterEvent::WorkerHeard(worker, session) => {
                self.worker_heard(now, &worker, session, out);
            }
            MasterEvent::WorkerHungUp(worker, session) => self.worker_hung_up(&worker, session, out),
            MasterEvent::WorkerReported(worker, session, key, report) => {
                if self.worker_heard(now, &worker, session, out) {
                    self.worker_reported(now, &worker, key, report, out);
                }
            }
            MasterEvent::DrainWorker { worker, deadline, why } => {
                self.drain_worker(now, &worker, deadline, why, out);
            }
            MasterEvent::ApplicationRegistered { application, session, name, owner, lease, again, wish } => {
                let known = applications::Introduction { name, owner, lease, again };
                self.application_registered(now, application, session, known, wish, out);
            }
            MasterEvent::ApplicationHeard(application, session) => {
                self.application_heard(now, &application, session);
            }
            MasterEvent::ApplicationHungUp(application, session) => {
                self.application_hung_up(&application, session);
            }
            MasterEvent::ApplicationSaid(application, session, event) => {
                if self.application_heard(now, &application, session) {
                    self.application_said(&application, event, out);
                }
            }
            MasterEvent::ApplicationClosed(application, session, outcome) => {
                if self.application_heard(now, &application, session) {
                    self.close(&application, outcome, EndedBy::Application, out);
                }
            }
            MasterEvent::ApplicationKilled(application, by) => {
                let by = EndedBy::Operator(by);
                self.close(&application, Outcome::Killed, by, out);
            }
        }
    }

    /// Gives up who was silent for too long, and grants what can be granted. Called after events, and at [`Master::next_deadline`].
    pub fn settle(&mut self, now: Moment, out: &mut Vec<MasterCommand>) {
        if self.check_at.is_some_and(|at| now >= at) {
            self.expire(now, out);
            self.check_at = self.next_check();
        }
        self.schedule(now, out);
    }

    /// When [`Master::settle`] may have something to do though nothing happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.check_at
    }

    /// Somebody's patience ends then, at the earliest.
    fn check_by(&mut self, moment: Moment) {
        self.check_at = Some(self.check_at.map_or(moment, |at| at.min(moment)));
    }

    /// When the next patience ends, by a look at everybody.
    fn next_check(&self) -> Option<Moment> {
        let settings = &self.settings;
        let workers = self.workers.iter().map(|(name, worker)| {
            let here = self.nodes.of(name).is_some_and(|node| node.here);
            let silence = if here { settings.worker_away_after } else { settings.worker_lost_after };
            let drain = worker.drain.as_ref().filter(|drain| !drain.ended).and_then(|drain| drain.deadline);
            drain.map_or(worker.heard + silence, |deadline| deadline.min(worker.heard + silence))
        });
        let leases = self
            .applications
            .values()
            .filter(|application| application.closing.is_none())
            .map(|application| application.heard + application.lease);
        workers.chain(leases).min()
    }

    fn expire(&mut self, now: Moment, out: &mut Vec<MasterCommand>) {
        let late = |worker: &WorkerState, silence: Duration| now >= worker.heard + silence;
        let away: Vec<Name> = self
            .workers
            .iter()
            .filter(|(name, worker)| {
                late(worker, self.settings.worker_away_after)
                    && self.nodes.of(name).is_some_and(|node| node.here)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for worker in away {
            self.worker_away(&worker, out);
        }
        let lost: Vec<Name> = self
            .workers
            .iter()
            .filter(|(_, worker)| late(worker, self.settings.worker_lost_after))
            .map(|(name, _)| name.clone())
            .collect();
        for worker in lost {
            self.worker_lost(&worker, out);
        }
        self.end_drained(now, out);
        let ended: Vec<ApplicationId> = self
            .applications
            .iter()
            .filter(|(_, application)| {
                application.closing.is_none() && now >= application.heard + application.lease
            })
            .map(|(id, _)| id.clone())
            .collect();
        for application in ended {
            let why = Outcome::Failed("its driver was silent for its whole lease".to_owned());
            self.close(&application, why, EndedBy::Lease, out);
        }
    }

    /// Tells a driver, where it is connected.
    fn tell(&self, application: &Application, what: ApplicationCommand, out: &mut Vec<MasterCommand>) {
        if let Some(session) = application.session {
            out.push(MasterCommand::Application(session, what));
        }
    }

    /// Tells a worker, where it is connected.
    fn order(&self, worker: &Name, what: WorkerCommand, out: &mut Vec<MasterCommand>) {
        if let Some(session) = self.workers.get(worker).and_then(|worker| worker.session) {
            out.push(MasterCommand::Worker(session, what));
        }
    }

    fn may_be_granted(&mut self, order: u64) {
        self.ready.insert(order);
    }
}

#[cfg(test)]
mod tests;
