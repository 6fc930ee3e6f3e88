//! What people see of a master.

use super::*;
use crate::state::messages::Request;

/// One worker, for people.
#[derive(Debug, Clone)]
pub struct WorkerView {
    /// Its name.
    pub worker: Name,
    /// Its place and its resources; `None` for one that a restarted master knows only by its executors.
    pub node: Option<Node>,
    /// What runs there.
    pub executors: Vec<Key>,
    /// Why it is being drained.
    pub draining: Option<String>,
}

/// One application, for people.
#[derive(Debug, Clone)]
pub struct ApplicationView {
    /// Which.
    pub application: ApplicationId,
    /// As people see it.
    pub name: Name,
    /// Whose it is.
    pub owner: Name,
    /// Whether its driver is connected.
    pub connected: bool,
    /// Its executors that have a place, with their worker.
    pub executors: Vec<(ExecutorId, Name)>,
    /// How many wait.
    pub waiting: usize,
    /// Thousandths of a cpu that it holds.
    pub held_cpus: u64,
}

impl Master {
    /// Every worker that isn't given up, by name.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> + '_ {
        self.workers.iter().map(|(name, worker)| WorkerView {
            worker: name.clone(),
            node: self.nodes.of(name).cloned(),
            executors: worker.executors.iter().cloned().collect(),
            draining: worker.drain.as_ref().map(|drain| drain.why.clone()),
        })
    }

    /// Every application that isn't over, by id.
    pub fn applications(&self) -> impl Iterator<Item = ApplicationView> + '_ {
        self.applications.iter().map(|(id, application)| ApplicationView {
            application: id.clone(),
            name: application.name.clone(),
            owner: application.owner.clone(),
            connected: application.session.is_some(),
            executors: application
                .executors
                .iter()
                .filter_map(|(executor, state)| match &state.stage {
                    Stage::Granted(placed) => Some((*executor, placed.worker.clone())),
                    Stage::Waiting | Stage::Exited { .. } => None,
                })
                .collect(),
            waiting: application.waiting.len(),
            held_cpus: application.held_cpus,
        })
    }

    /// The last applications that are over, the latest last.
    pub fn finished(&self) -> impl Iterator<Item = &Finished> + '_ {
        self.finished.iter()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> + '_ {
        self.nodes.iter()
    }

    /// What the application holds and its share, where the share forbids this request.
    pub(crate) fn over_share(&self, application: &ApplicationId, request: &Request) -> Option<(u64, u64)> {
        let held = self.applications.get(application)?.held_cpus;
        (!self.within_share(held, &request.need)).then(|| (held, self.share()))
    }
}
