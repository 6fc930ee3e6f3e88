//! The driver's side: what it wants of its master, and what it has yet to be told.
//!
//! A connection that breaks changes nothing. With the next one it says its whole wish.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{EndedBy, Outcome};

use super::messages::{ApplicationCommand, ApplicationEvent, Ended, Request, Session};

/// What reaches a driver's client of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// There is a connection to a master.
    Connected(Session),
    /// It broke.
    HungUp(Session),
    /// The master says this.
    Told(Session, ApplicationCommand),
    /// An executor is wanted. One that has exited stays so.
    Want(ExecutorId, Request, Bytes),
    /// It is wanted no more.
    Stop(ExecutorId),
    /// The application ends.
    Close(Outcome),
}

/// What a driver's client does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAction {
    /// Say who it is and all that it wants.
    Register {
        /// On this connection.
        session: Session,
        /// A master has taken it before.
        again: bool,
        /// The whole wish.
        wish: Vec<ApplicationEvent>,
    },
    /// Say this.
    Say(Session, ApplicationEvent),
    /// End the application.
    Close(Session, Outcome),
    /// Report this to core: granted, launched, exited, reachable, draining.
    Report(ApplicationCommand),
    /// The master has taken the application.
    Registered,
    /// It is over.
    Over(Outcome, EndedBy),
}

#[derive(Debug)]
struct Wish {
    request: Request,
    launch: Bytes,
    granted: bool,
    launched: bool,
    stopping: bool,
}

/// The driver's client.
#[derive(Debug, Default)]
pub struct Client {
    session: Option<Session>,
    registered: bool,
    /// A master has taken the application, on this connection or an earlier one.
    taken: bool,
    executors: BTreeMap<ExecutorId, Wish>,
    exited: BTreeSet<ExecutorId>,
    closing: Option<Outcome>,
    over: bool,
}

impl Client {
    /// Takes one event.
    pub fn handle(&mut self, event: ClientEvent, out: &mut Vec<ClientAction>) {
        match event {
            ClientEvent::Connected(session) => {
                if self.over {
                    return;
                }
                self.session = Some(session);
                self.registered = false;
                out.push(ClientAction::Register { session, again: self.taken, wish: self.wish() });
            }
            ClientEvent::HungUp(session) => {
                if self.session == Some(session) {
                    self.session = None;
                    self.registered = false;
                }
            }
            ClientEvent::Told(session, command) => {
                if self.session == Some(session) {
                    self.told(session, command, out);
                }
            }
            ClientEvent::Want(executor, request, launch) => {
                if self.exited.contains(&executor)
                    || self.executors.contains_key(&executor)
                    || self.closing.is_some()
                {
                    return;
                }
                let want = ApplicationEvent::Want {
                    executor,
                    request: request.clone(),
                    launch: Some(launch.clone()),
                    launched: false,
                };
                let wish = Wish { request, launch, granted: false, launched: false, stopping: false };
                self.executors.insert(executor, wish);
                self.say(want, out);
            }
            ClientEvent::Stop(executor) => {
                let Some(wish) = self.executors.get_mut(&executor) else { return };
                if wish.granted {
                    wish.stopping = true;
                } else {
                    self.executors.remove(&executor);
                }
                self.say(ApplicationEvent::Stop(executor), out);
            }
            ClientEvent::Close(outcome) => {
                self.closing.get_or_insert(outcome.clone());
                if let Some(session) = self.session.filter(|_| self.registered) {
                    out.push(ClientAction::Close(session, outcome));
                }
            }
        }
    }

    fn wish(&self) -> Vec<ApplicationEvent> {
        let mut events = Vec::new();
        for (executor, wish) in &self.executors {
            // Once its process was seen, nobody may start it anew; nor where it is only to end.
            let launch = (!wish.launched && !wish.stopping).then(|| wish.launch.clone());
            events.push(ApplicationEvent::Want {
                executor: *executor,
                request: wish.request.clone(),
                launch,
                launched: wish.launched,
            });
            if wish.stopping {
                events.push(ApplicationEvent::Stop(*executor));
            }
        }
        events
    }

    fn say(&self, event: ApplicationEvent, out: &mut Vec<ClientAction>) {
        if let Some(session) = self.session.filter(|_| self.registered) {
            out.push(ClientAction::Say(session, event));
        }
    }

    fn told(&mut self, session: Session, command: ApplicationCommand, out: &mut Vec<ClientAction>) {
        match command {
            ApplicationCommand::Registered => {
                self.registered = true;
                self.taken = true;
                out.push(ClientAction::Registered);
                // What was wished since it introduced itself: said again it changes nothing.
                for event in self.wish() {
                    out.push(ClientAction::Say(session, event));
                }
                if let Some(outcome) = &self.closing {
                    out.push(ClientAction::Close(session, outcome.clone()));
                }
            }
            ApplicationCommand::Granted { executor, .. } => match self.executors.get_mut(&executor) {
                Some(wish) => {
                    wish.granted = true;
                    out.push(ClientAction::Report(command));
                }
                None => self.say(ApplicationEvent::Stop(executor), out),
            },
            ApplicationCommand::Launched(executor) => {
                if let Some(wish) = self.executors.get_mut(&executor) {
                    wish.launched = true;
                    out.push(ClientAction::Report(command));
                }
            }
            ApplicationCommand::Reachable(executor, _) => {
                if self.executors.contains_key(&executor) {
                    out.push(ClientAction::Report(command));
                }
            }
            ApplicationCommand::Exited(Ended { executor, .. }) => {
                self.say(ApplicationEvent::Taken(executor), out);
                if self.executors.remove(&executor).is_some() && self.exited.insert(executor) {
                    out.push(ClientAction::Report(command));
                }
            }
            ApplicationCommand::Draining { .. } => out.push(ClientAction::Report(command)),
            ApplicationCommand::Over(outcome, by) => {
                self.over = true;
                self.session = None;
                out.push(ClientAction::Over(outcome, by));
            }
        }
    }
}
