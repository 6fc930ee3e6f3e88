//! A simulated driver: the real client, with a wish that changes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{Outcome, Placement};
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_standalone::state::{
    ApplicationCommand, Client, ClientAction, ClientEvent, Ended, Request, Session,
};

#[derive(Debug)]
pub(crate) struct SimulatedDriver {
    pub(crate) id: ApplicationId,
    pub(crate) client: Client,
    pub(crate) session: Option<Session>,
    pub(crate) alive: bool,
    pub(crate) closed: bool,
    pub(crate) over: bool,
    pub(crate) died_at: Option<Moment>,
    /// What it wants now, and what each needs.
    pub(crate) wanted: BTreeMap<ExecutorId, Resources>,
    pub(crate) granted: BTreeSet<ExecutorId>,
    pub(crate) exited: BTreeSet<ExecutorId>,
    next: u64,
}

impl SimulatedDriver {
    pub(crate) fn new(number: u64) -> SimulatedDriver {
        let name = Name::new(format!("app{number}")).expect("a name");
        SimulatedDriver {
            id: ApplicationId::from_parts(&name, number),
            client: Client::default(),
            session: None,
            alive: true,
            closed: false,
            over: false,
            died_at: None,
            wanted: BTreeMap::new(),
            granted: BTreeSet::new(),
            exited: BTreeSet::new(),
            next: 1,
        }
    }

    /// Wants one more executor, of a size that fits a worker.
    pub(crate) fn want(&mut self, rng: &mut fastrand::Rng) -> Vec<ClientAction> {
        let executor = ExecutorId(self.next);
        self.next += 1;
        let need = Resources::new(Cpus::whole(rng.u32(1..=2)), MiB(rng.u64(1..=3) * 128));
        self.wanted.insert(executor, need.clone());
        let request = Request { need, placement: Placement::default(), excluded: Vec::new() };
        self.handle(ClientEvent::Want(executor, request, Bytes::from_static(b"run")))
    }

    /// Wants one fewer.
    pub(crate) fn stop_one(&mut self, rng: &mut fastrand::Rng) -> Vec<ClientAction> {
        let wanted: Vec<ExecutorId> = self.wanted.keys().copied().collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let executor = wanted[rng.usize(..wanted.len())];
        self.wanted.remove(&executor);
        self.handle(ClientEvent::Stop(executor))
    }

    pub(crate) fn close(&mut self) -> Vec<ClientAction> {
        self.closed = true;
        self.wanted.clear();
        self.handle(ClientEvent::Close(Outcome::Succeeded))
    }

    /// Takes an event, keeps the books, and gives what is to be sent.
    pub(crate) fn handle(&mut self, event: ClientEvent) -> Vec<ClientAction> {
        let mut actions = Vec::new();
        self.client.handle(event, &mut actions);
        let mut rest = Vec::new();
        for action in actions {
            match action {
                ClientAction::Report(ApplicationCommand::Granted { executor, .. }) => {
                    assert!(!self.exited.contains(&executor), "{executor:?} is granted after its exit");
                    self.granted.insert(executor);
                }
                ClientAction::Report(ApplicationCommand::Launched(executor)) => {
                    assert!(!self.exited.contains(&executor), "{executor:?} is launched after its exit");
                }
                ClientAction::Report(ApplicationCommand::Exited(Ended { executor, .. })) => {
                    assert!(self.exited.insert(executor), "{executor:?} of {} exits twice", self.id);
                    // As core does: what ends unasked is replaced, under a new id.
                    self.wanted.remove(&executor);
                }
                ClientAction::Over(..) => self.over = true,
                ClientAction::Report(_) | ClientAction::Registered => {}
                other => rest.push(other),
            }
        }
        rest
    }
}
