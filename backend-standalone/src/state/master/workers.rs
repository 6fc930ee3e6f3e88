//! Workers, and what they run.

use convoke_core::manager::{Blame, ExitCause, LaunchFailure};

use super::*;
use crate::state::messages::{Offer, Report, Running};

impl Master {
    pub(super) fn worker_registered(
        &mut self,
        now: Moment,
        name: Name,
        session: Session,
        mut offer: Offer,
        running: Vec<Running>,
        out: &mut Vec<MasterCommand>,
    ) {
        if let Some(old) = self.workers.get(&name).and_then(|worker| worker.session) {
            if old >= session {
                if old > session {
                    out.push(MasterCommand::HangUp(session));
                }
                return; // said twice on one connection, it changes nothing
            }
            out.push(MasterCommand::HangUp(old));
        }
        let worker = self.workers.entry(name.clone()).or_insert_with(|| WorkerState::new(now));
        worker.session = Some(session);
        worker.heard = now;
        offer.draining |= worker.drain.is_some();
        let draining = offer.draining;
        let held: Vec<Key> = worker.executors.iter().cloned().collect();
        let node = self.nodes.offer(&name, offer);
        for (id, executor) in &held {
            let state = self.applications.get_mut(id).and_then(|known| known.executors.get_mut(executor));
            if let Some(Executor { stage: Stage::Granted(placed), .. }) = state {
                self.nodes.hold(node, &placed.need, &placed.devices);
                placed.seen = false;
                placed.sent = false;
            }
        }
        if let Some(worker) = self.workers.get_mut(&name) {
            worker.strangers.clear(); // its report names them anew
        }
        self.gained.insert(node);
        self.share_changed();
        self.check_by(if draining { now } else { now + self.settings.worker_away_after });
        out.push(MasterCommand::Worker(session, WorkerCommand::Welcome));
        if draining && let Some(worker) = self.workers.get_mut(&name) {
            worker.drain.get_or_insert_with(|| Drain {
                deadline: None,
                why: "its worker takes no new executors".to_owned(),
                ended: false,
                told: false,
            });
        }
        self.match_report(now, &name, &held, running, out);
    }

    /// What a worker runs against what it should run.
    fn match_report(
        &mut self,
        now: Moment,
        name: &Name,
        held: &[Key],
        running: Vec<Running>,
        out: &mut Vec<MasterCommand>,
    ) {
        let reported: BTreeMap<Key, bool> =
            running.iter().map(|running| (running.key.clone(), running.launched)).collect();
        for Running { key, exit, launched, need, devices } in running {
            if !held.contains(&key) {
                if exit.is_none() {
                    self.hold_stranger(name, &key, &need, devices);
                }
                self.settle_stranger(name, key, exit, out);
                continue;
            }
            self.seen(&key);
            let here = ApplicationCommand::Reachable(key.1, true);
            if let Some(application) = self.applications.get(&key.0) {
                if let Some(Executor { stage: Stage::Granted(placed), .. }) =
                    application.executors.get(&key.1)
                    && let Some(granted) = self.granted(key.1, placed)
                {
                    self.tell(application, granted, out);
                }
                self.tell(application, here, out);
            }
            if launched {
                self.worker_reported(now, name, key.clone(), Report::Launched, out);
            }
            if let Some(exit) = exit {
                self.worker_reported(now, name, key, Report::Exited(exit), out);
            } else if let Some(cause) = self.ending(&key) {
                self.order(name, WorkerCommand::End(key, cause), out);
            }
        }
        for key in held.iter().filter(|key| !reported.contains_key(*key)) {
            self.missing(key, out);
        }
    }

    /// Why it is being ended, where it is.
    fn ending(&self, (id, executor): &Key) -> Option<EndCause> {
        match self.applications.get(id)?.executors.get(executor)? {
            Executor { stage: Stage::Granted(placed), .. } => placed.ending,
            _ => None,
        }
    }

    fn seen(&mut self, (id, executor): &Key) {
        let state = self.applications.get_mut(id).and_then(|known| known.executors.get_mut(executor));
        if let Some(Executor { stage: Stage::Granted(placed), .. }) = state {
            placed.seen = true;
        }
    }

    /// What it holds isn't free until it is gone, whoever wants it.
    fn hold_stranger(
        &mut self,
        name: &Name,
        key: &Key,
        need: &Resources,
        devices: BTreeMap<Name, Vec<String>>,
    ) {
        if let (Some(node), Some(worker)) = (self.nodes.id(name), self.workers.get_mut(name)) {
            self.nodes.hold(node, need, &devices);
            worker.strangers.insert(key.clone(), (need.clone(), devices));
        }
    }

    fn stranger_gone(&mut self, name: &Name, key: &Key) {
        let worker = self.workers.get_mut(name);
        if let Some((need, devices)) = worker.and_then(|worker| worker.strangers.remove(key)) {
            self.nodes.give_back(name, &need, &devices);
            self.gained.extend(self.nodes.id(name));
        }
    }

    /// The driver has seen an executor run which its worker, if it is here, didn't name.
    pub(super) fn missing_if_connected(
        &mut self,
        id: &ApplicationId,
        executor: ExecutorId,
        out: &mut Vec<MasterCommand>,
    ) {
        let state = self.applications.get(id).and_then(|known| known.executors.get(&executor));
        if let Some(Executor { stage: Stage::Granted(placed), .. }) = state
            && self.workers.get(&placed.worker).is_some_and(|worker| worker.session.is_some())
        {
            self.missing(&(id.clone(), executor), out);
        }
    }

    /// A worker doesn't have an executor that it should have.
    fn missing(&mut self, key: &Key, out: &mut Vec<MasterCommand>) {
        let state = self.applications.get_mut(&key.0).and_then(|known| known.executors.get_mut(&key.1));
        let Some(Executor { stage: Stage::Granted(placed), launch, .. }) = state else { return };
        if placed.launched {
            let exit = Exit::new(ExitCause::NodeLost, "its worker was started anew and no longer has it");
            self.exited(key, exit, out);
        } else if placed.ending.is_some() {
            let exit = Exit::new(ExitCause::NeverStarted, "ended before its worker had started it");
            self.exited(key, exit, out);
        } else if launch.is_some() {
            self.launch_if_missing(&key.0, key.1, out);
        }
        // Else its driver, once it is back, says how it is started, or that it has seen it run.
    }

    /// Sends the launch of a granted executor, where its worker is here. A worker that has it already says so instead.
    pub(super) fn launch_if_missing(
        &mut self,
        id: &ApplicationId,
        executor: ExecutorId,
        out: &mut Vec<MasterCommand>,
    ) {
        let state = self.applications.get_mut(id).and_then(|known| known.executors.get_mut(&executor));
        if let Some(Executor { stage: Stage::Granted(placed), launch: Some(launch), .. }) = state
            && placed.ending.is_none()
        {
            placed.sent = self.workers.get(&placed.worker).is_some_and(|worker| worker.session.is_some());
            let command = WorkerCommand::Launch {
                key: (id.clone(), executor),
                devices: placed.devices.clone(),
                need: placed.need.clone(),
                launch: launch.clone(),
            };
            let worker = placed.worker.clone();
            self.order(&worker, command, out);
        }
    }

    /// A worker has something that it shouldn't: an executor that was given up, or whose application is over (F8).
    fn settle_stranger(&self, name: &Name, key: Key, exit: Option<Exit>, out: &mut Vec<MasterCommand>) {
        let what = match exit {
            Some(_) => WorkerCommand::Forget(key),
            None => WorkerCommand::End(key, EndCause::Unwanted),
        };
        self.order(name, what, out);
    }

    /// Whether this connection speaks for the worker; it lives.
    pub(super) fn worker_heard(
        &mut self,
        now: Moment,
        name: &Name,
        session: Session,
        out: &mut Vec<MasterCommand>,
    ) -> bool {
        match self.workers.get_mut(name) {
            Some(worker) if worker.session == Some(session) => worker.heard = now,
            _ => return false,
        }
        if self.nodes.of(name).is_some_and(|node| !node.here) {
            self.nodes.set_here(name, true);
            self.gained.extend(self.nodes.id(name));
            self.tell_reachable(name, true, out);
        }
        true
    }

    pub(super) fn worker_hung_up(&mut self, name: &Name, session: Session, out: &mut Vec<MasterCommand>) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        if worker.session == Some(session) {
            worker.session = None;
            self.worker_away(name, out);
        }
    }

    /// It can't be seen: nothing new goes there, and what runs there is unreachable, not dead (F4).
    pub(super) fn worker_away(&mut self, name: &Name, out: &mut Vec<MasterCommand>) {
        if self.nodes.of(name).is_some_and(|node| node.here) {
            self.nodes.set_here(name, false);
            self.tell_reachable(name, false, out);
            let lost_after = self.settings.worker_lost_after;
            if let Some(worker) = self.workers.get(name) {
                let heard = worker.heard;
                self.check_by(heard + lost_after);
            }
        }
    }

    fn tell_reachable(&self, name: &Name, yes: bool, out: &mut Vec<MasterCommand>) {
        let Some(worker) = self.workers.get(name) else { return };
        for (id, executor) in &worker.executors {
            if let Some(application) = self.applications.get(id) {
                self.tell(application, ApplicationCommand::Reachable(*executor, yes), out);
            }
        }
    }

    /// It was away for too long: what ran there is lost with it.
    pub(super) fn worker_lost(&mut self, name: &Name, out: &mut Vec<MasterCommand>) {
        let Some(worker) = self.workers.remove(name) else { return };
        if let Some(session) = worker.session {
            out.push(MasterCommand::HangUp(session));
        }
        self.nodes.remove(name);
        self.share_changed();
        for key in worker.executors {
            let exit = Exit::new(ExitCause::NodeLost, format!("its worker {name} can't be reached any more"));
            self.exited(&key, exit, out);
        }
    }

    pub(super) fn worker_reported(
        &mut self,
        now: Moment,
        name: &Name,
        key: Key,
        report: Report,
        out: &mut Vec<MasterCommand>,
    ) {
        let application = self.applications.get_mut(&key.0);
        let state = application.and_then(|application| application.executors.get_mut(&key.1));
        let Some(Executor { stage: Stage::Granted(placed), launch, .. }) = state else {
            // Given up, or nobody's: the worker keeps the news of an exit until somebody has taken it.
            let told = self.applications.get(&key.0).is_some_and(|application| {
                matches!(application.executors.get(&key.1), Some(Executor { stage: Stage::Exited { worker, .. }, .. }) if worker == name)
            });
            if !told {
                let exit = match report {
                    Report::Launched => None,
                    Report::Exited(exit) => {
                        self.stranger_gone(name, &key);
                        Some(exit)
                    }
                };
                self.settle_stranger(name, key, exit, out);
            }
            return;
        };
        if placed.worker != *name {
            return;
        }
        placed.seen = true;
        match report {
            Report::Launched => {
                *launch = None;
                if !std::mem::replace(&mut placed.launched, true) {
                    self.nodes.set_ailing(name, None);
                    if let Some(application) = self.applications.get(&key.0) {
                        self.tell(application, ApplicationCommand::Launched(key.1), out);
                    }
                }
            }
            Report::Exited(exit) => {
                if fault_of_node(&exit) {
                    self.nodes.set_ailing(name, Some(now + self.settings.ailing_for));
                }
                self.exited(&key, exit, out);
            }
        }
    }

    pub(super) fn drain_worker(
        &mut self,
        now: Moment,
        name: &Name,
        within: Option<Duration>,
        why: String,
        out: &mut Vec<MasterCommand>,
    ) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        let deadline = within.map(|within| now + within);
        match &mut worker.drain {
            // It is not taken back; an earlier deadline counts.
            Some(drain) => {
                drain.deadline = match (drain.deadline, deadline) {
                    (Some(old), Some(new)) => Some(old.min(new)),
                    (old, new) => old.or(new),
                };
                drain.why.clone_from(&why);
            }
            drain @ None => *drain = Some(Drain { deadline, why: why.clone(), ended: false, told: false }),
        }
        self.nodes.set_draining(name);
        self.check_by(now);
        let Some(worker) = self.workers.get(name) else { return };
        let mut of: BTreeMap<&ApplicationId, Vec<ExecutorId>> = BTreeMap::new();
        for (id, executor) in &worker.executors {
            of.entry(id).or_default().push(*executor);
        }
        for (id, executors) in of {
            if let Some(application) = self.applications.get(id) {
                let what = ApplicationCommand::Draining { executors, within, why: why.clone() };
                self.tell(application, what, out);
            }
        }
    }

    /// Ends what is left on drained workers at their deadline, and lets them go when nothing is.
    pub(super) fn end_drained(&mut self, now: Moment, out: &mut Vec<MasterCommand>) {
        let mut late = Vec::new();
        let mut empty = Vec::new();
        for (name, worker) in &mut self.workers {
            let Some(drain) = &mut worker.drain else { continue };
            if !drain.ended && drain.deadline.is_some_and(|deadline| now >= deadline) {
                drain.ended = true;
                late.extend(worker.executors.iter().cloned());
            }
            if worker.executors.is_empty() && worker.session.is_some() && !drain.told {
                drain.told = true;
                empty.push(name.clone());
            }
        }
        for (id, executor) in late {
            self.stop(&id, executor, EndCause::Drained, out);
        }
        for name in empty {
            self.order(&name, WorkerCommand::Drained, out);
        }
    }

    /// The cluster has grown or shrunk: who was held back by its share may be tried again.
    fn share_changed(&mut self) {
        for application in self.applications.values_mut() {
            if application.waiting.unblock(|_| true) {
                self.ready.insert(application.order);
            }
        }
    }
}

impl WorkerState {
    pub(super) fn new(heard: Moment) -> WorkerState {
        WorkerState {
            session: None,
            heard,
            executors: BTreeSet::new(),
            strangers: BTreeMap::new(),
            drain: None,
        }
    }
}

/// Whether a launch failed for what only this node lacks (F7).
fn fault_of_node(exit: &Exit) -> bool {
    match &exit.cause {
        ExitCause::LaunchFailed(failure) => {
            exit.blame == Blame::Infrastructure
                || matches!(
                    failure,
                    LaunchFailure::NoSuchProgram | LaunchFailure::WrongPlatform | LaunchFailure::NoSuchUser
                )
        }
        _ => false,
    }
}
