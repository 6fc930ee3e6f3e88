//! Drivers, and what they want.

use convoke_core::manager::ExitCause;

use super::*;
use crate::state::messages::{ApplicationEvent, Ended, Request};

/// What a driver says of itself.
pub(super) struct Introduction {
    pub(super) name: Name,
    pub(super) owner: Name,
    pub(super) lease: Duration,
    pub(super) again: bool,
}

impl Master {
    pub(super) fn application_registered(
        &mut self,
        now: Moment,
        id: ApplicationId,
        session: Session,
        introduction: Introduction,
        wish: Vec<ApplicationEvent>,
        out: &mut Vec<MasterCommand>,
    ) {
        if let Some(old) = self.applications.get(&id).and_then(|application| application.session) {
            if old >= session {
                if old > session {
                    out.push(MasterCommand::HangUp(session));
                }
                return; // said twice on one connection, it changes nothing
            }
            out.push(MasterCommand::HangUp(old));
        }
        if introduction.again && !self.applications.contains_key(&id) {
            let (outcome, by) = match self.finished.iter().rev().find(|finished| finished.application == id) {
                Some(finished) => (finished.outcome.clone(), finished.by.clone()),
                None => (
                    Outcome::Failed("its driver was away for longer than its lease".to_owned()),
                    EndedBy::Lease,
                ),
            };
            out.push(MasterCommand::Application(session, ApplicationCommand::Over(outcome, by)));
            return;
        }
        if !self.applications.contains_key(&id) {
            let order = self.next_order;
            self.next_order += 1;
            self.by_order.insert(order, id.clone());
            let Introduction { name, owner, lease, .. } = introduction;
            out.push(MasterCommand::Store(Change::Application {
                application: id.clone(),
                name: name.clone(),
                owner: owner.clone(),
                lease,
                order,
            }));
            self.applications.insert(id.clone(), Application::new(name, owner, lease, order, now));
        }
        let Some(application) = self.applications.get_mut(&id) else { return };
        application.session = Some(session);
        application.heard = now;
        let (order, lease) = (application.order, application.lease);
        self.check_by(now + lease);
        out.push(MasterCommand::Application(session, ApplicationCommand::Registered));
        self.settle_wish(&id, wish, out);
        self.may_be_granted(order);
    }

    /// A driver that came back says all that it wants: what it doesn't name it wants no more, and it hears all that is known of the rest.
    fn settle_wish(&mut self, id: &ApplicationId, wish: Vec<ApplicationEvent>, out: &mut Vec<MasterCommand>) {
        let named: BTreeSet<ExecutorId> = wish
            .iter()
            .filter_map(|event| match event {
                ApplicationEvent::Want { executor, .. } => Some(*executor),
                ApplicationEvent::Stop(_) | ApplicationEvent::Taken(_) => None,
            })
            .collect();
        let Some(application) = self.applications.get(id) else { return };
        let unwanted: Vec<ExecutorId> =
            application.executors.keys().filter(|executor| !named.contains(executor)).copied().collect();
        for executor in unwanted {
            self.stop(id, executor, EndCause::Released, out);
        }
        for event in wish {
            self.application_said(id, event, out);
        }
        let Some(application) = self.applications.get(id) else { return };
        for (executor, state) in &application.executors {
            match &state.stage {
                Stage::Waiting => {}
                Stage::Granted(placed) => {
                    let here = self.nodes.of(&placed.worker).is_some_and(|node| node.here);
                    if let Some(granted) = self.granted(*executor, placed) {
                        self.tell(application, granted, out);
                    }
                    if placed.launched {
                        self.tell(application, ApplicationCommand::Launched(*executor), out);
                    }
                    self.tell(application, ApplicationCommand::Reachable(*executor, here), out);
                }
                Stage::Exited { exit, .. } => {
                    let ended = Ended { executor: *executor, exit: exit.clone() };
                    self.tell(application, ApplicationCommand::Exited(ended), out);
                }
            }
        }
        if let Some((outcome, by)) = application.closing.clone() {
            self.close(id, outcome, by, out);
        }
    }

    /// The grant of an executor whose worker was seen; before that its host isn't known.
    pub(super) fn granted(&self, executor: ExecutorId, placed: &Placed) -> Option<ApplicationCommand> {
        let node = self.nodes.of(&placed.worker)?;
        Some(ApplicationCommand::Granted {
            executor,
            worker: placed.worker.clone(),
            host: node.host.clone(),
            actual: placed.need.clone(),
            devices: placed.devices.clone(),
        })
    }

    /// Whether this connection speaks for the application; its driver lives.
    pub(super) fn application_heard(&mut self, now: Moment, id: &ApplicationId, session: Session) -> bool {
        match self.applications.get_mut(id) {
            Some(application) if application.session == Some(session) => {
                application.heard = now;
                true
            }
            _ => false,
        }
    }

    pub(super) fn application_hung_up(&mut self, id: &ApplicationId, session: Session) {
        if let Some(application) = self.applications.get_mut(id)
            && application.session == Some(session)
        {
            application.session = None;
        }
    }

    pub(super) fn application_said(
        &mut self,
        id: &ApplicationId,
        event: ApplicationEvent,
        out: &mut Vec<MasterCommand>,
    ) {
        match event {
            ApplicationEvent::Want { executor, request, launch, launched } => {
                self.want(id, executor, request, (launch, launched), out);
            }
            ApplicationEvent::Stop(executor) => self.stop(id, executor, EndCause::Released, out),
            ApplicationEvent::Taken(executor) => self.taken(id, executor, out),
        }
    }

    fn want(
        &mut self,
        id: &ApplicationId,
        executor: ExecutorId,
        request: Request,
        (launch, launched): (Option<Bytes>, bool),
        out: &mut Vec<MasterCommand>,
    ) {
        let Some(application) = self.applications.get_mut(id) else { return };
        if application.closing.is_some() {
            return;
        }
        let order = application.order;
        if let Some(state) = application.executors.get_mut(&executor) {
            // A master that was restarted knows a grant without knowing how to start it.
            if let Stage::Granted(placed) = &mut state.stage {
                if launched {
                    placed.launched = true;
                    if !placed.seen && !placed.sent {
                        self.missing_if_connected(id, executor, out);
                    }
                } else if !placed.launched && state.launch.is_none() && launch.is_some() {
                    state.launch = launch;
                    self.launch_if_missing(id, executor, out);
                }
            }
            return;
        }
        if launch.is_none() {
            // Its driver has heard of its grant, and this master doesn't know it: whatever was stored is lost.
            let exit = Exit::new(ExitCause::NodeLost, "the master no longer knows this executor");
            self.tell_exit(id, executor, exit, out);
            return;
        }
        application.waiting.push(executor, request);
        application.executors.insert(executor, Executor { stage: Stage::Waiting, launch });
        self.may_be_granted(order);
    }

    fn tell_exit(&self, id: &ApplicationId, executor: ExecutorId, exit: Exit, out: &mut Vec<MasterCommand>) {
        if let Some(application) = self.applications.get(id) {
            self.tell(application, ApplicationCommand::Exited(Ended { executor, exit }), out);
        }
    }

    /// Ends an executor, or wants it no more.
    pub(super) fn stop(
        &mut self,
        id: &ApplicationId,
        executor: ExecutorId,
        cause: EndCause,
        out: &mut Vec<MasterCommand>,
    ) {
        let Some(application) = self.applications.get_mut(id) else { return };
        let Some(state) = application.executors.get_mut(&executor) else { return };
        match &mut state.stage {
            Stage::Waiting => {
                application.waiting.remove(executor);
                application.executors.remove(&executor);
            }
            Stage::Granted(placed) => {
                // Sent again each time: a connection may have broken since.
                placed.ending.get_or_insert(cause);
                state.launch = None;
                let worker = placed.worker.clone();
                self.order(&worker, WorkerCommand::End((id.clone(), executor), cause), out);
            }
            Stage::Exited { .. } => {}
        }
    }

    /// Its driver has taken the exit: nobody needs to know of it any more.
    fn taken(&mut self, id: &ApplicationId, executor: ExecutorId, out: &mut Vec<MasterCommand>) {
        let Some(application) = self.applications.get_mut(id) else { return };
        let Some(Executor { stage: Stage::Exited { worker, .. }, .. }) = application.executors.get(&executor)
        else {
            return;
        };
        let worker = worker.clone();
        application.executors.remove(&executor);
        let key = (id.clone(), executor);
        out.push(MasterCommand::Store(Change::Gone(key.clone())));
        self.order(&worker, WorkerCommand::Forget(key), out);
    }

    /// An executor is gone: what it held is free, and its driver hears of it until it says that it did.
    pub(super) fn exited(&mut self, key: &Key, exit: Exit, out: &mut Vec<MasterCommand>) {
        let (id, executor) = key;
        let Some(state) = self.applications.get_mut(id).and_then(|known| known.executors.get_mut(executor))
        else {
            return;
        };
        let Stage::Granted(placed) = &state.stage else { return };
        let worker = placed.worker.clone();
        let stage = Stage::Exited { exit: exit.clone(), worker };
        state.launch = None;
        let Stage::Granted(placed) = std::mem::replace(&mut state.stage, stage) else { return };
        self.free(id, &placed, *executor);
        self.tell_exit(id, *executor, exit, out);
        self.finish_closing(id, out);
    }

    /// Ends the application: at once where nothing of it runs, else when the last executor is gone.
    pub(super) fn close(
        &mut self,
        id: &ApplicationId,
        outcome: Outcome,
        by: EndedBy,
        out: &mut Vec<MasterCommand>,
    ) {
        let Some(application) = self.applications.get_mut(id) else { return };
        if application.closing.is_none() {
            application.closing = Some((outcome, by));
        }
        let executors: Vec<ExecutorId> = application.executors.keys().copied().collect();
        for executor in executors {
            self.stop(id, executor, EndCause::ApplicationOver, out);
        }
        self.finish_closing(id, out);
    }

    pub(super) fn finish_closing(&mut self, id: &ApplicationId, out: &mut Vec<MasterCommand>) {
        let Some(application) = self.applications.get(id) else { return };
        if application.closing.is_none()
            || application.executors.values().any(|executor| matches!(executor.stage, Stage::Granted(_)))
        {
            return;
        }
        let Some(application) = self.applications.remove(id) else { return };
        self.by_order.remove(&application.order);
        self.ready.remove(&application.order);
        for (executor, state) in &application.executors {
            if let Stage::Exited { worker, .. } = &state.stage {
                let key = (id.clone(), *executor);
                out.push(MasterCommand::Store(Change::Gone(key.clone())));
                self.order(worker, WorkerCommand::Forget(key), out);
            }
        }
        out.push(MasterCommand::Store(Change::ApplicationOver(id.clone())));
        if let Some((outcome, by)) = application.closing.clone() {
            self.tell(&application, ApplicationCommand::Over(outcome.clone(), by.clone()), out);
            self.finished.push_back(Finished {
                application: id.clone(),
                name: application.name.clone(),
                owner: application.owner.clone(),
                outcome,
                by,
            });
            while self.finished.len() > self.settings.finished_kept {
                self.finished.pop_front();
            }
        }
    }
}

impl Application {
    pub(super) fn new(name: Name, owner: Name, lease: Duration, order: u64, heard: Moment) -> Application {
        Application {
            name,
            owner,
            lease,
            order,
            session: None,
            heard,
            executors: BTreeMap::new(),
            waiting: Waiting::default(),
            held_cpus: 0,
            closing: None,
        }
    }
}
