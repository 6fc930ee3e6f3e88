//! The tasks of one framework, each an executor: what their statuses tell, which updates to acknowledge, whom to kill.

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{Exit, ExitCause};
use convoke_core::units::{HostPort, MiB};

use super::status::{Before, News, meaning};
use crate::v1;

/// Between two KILLs for a task that is to be gone and that nobody else asks about, at first and at the most. Mesos answers 202
/// to a KILL that it then drops (an agent was just coming back), and doesn't remember one for an agent that is out of sight.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The tasks of one framework.
#[derive(Debug)]
pub struct Tasks {
    application: ApplicationId,
    live: BTreeMap<ExecutorId, Task>,
    ended: Ended,
    /// Tasks of the framework that should not be there, by their own ids: ended ones that were seen again, and such as were
    /// never ours. They are killed until they are gone.
    doomed: BTreeMap<String, Doomed>,
}

/// One task that may be alive.
#[derive(Debug, Clone)]
pub struct Task {
    /// On which agent.
    pub agent: v1::AgentId,
    /// Its host's name.
    pub host: Name,
    /// Where the agent itself listens.
    pub address: Option<HostPort>,
    /// The memory that it was given.
    pub memory: MiB,
    /// Some status of it came.
    seen: bool,
    launched: bool,
    unreachable: bool,
    stopping: bool,
    draining: bool,
}

#[derive(Debug, Clone)]
struct Doomed {
    agent: Option<v1::AgentId>,
    again: Moment,
    wait: Duration,
}

impl Task {
    /// One that was just accepted.
    #[must_use]
    pub fn new(agent: v1::AgentId, host: Name, address: Option<HostPort>, memory: MiB) -> Task {
        Task {
            agent,
            host,
            address,
            memory,
            seen: false,
            launched: false,
            unreachable: false,
            stopping: false,
            draining: false,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum TasksCommand {
    /// KILL.
    Kill(v1::TaskId, Option<v1::AgentId>),
    /// ACKNOWLEDGE.
    Acknowledge(v1::scheduler::call::Acknowledge),
    /// A status of it came.
    Heard(ExecutorId),
    /// Its command runs.
    Launched(ExecutorId),
    /// Whether its agent is in sight.
    Reachable(ExecutorId, bool),
    /// Its agent is being drained.
    Draining(ExecutorId, String),
    /// It is over; on this host there is one less.
    Exited(ExecutorId, Option<Name>, Exit),
}

/// Ids that have exited, as ranges: there are as many as gaps between them, so as many as are alive.
#[derive(Debug, Default)]
struct Ended {
    /// First and last id of each.
    ranges: BTreeMap<u64, u64>,
}

impl Ended {
    fn insert(&mut self, executor: ExecutorId) {
        if self.contains(executor) {
            return;
        }
        let (mut first, mut last) = (executor.0, executor.0);
        if let Some((start, end)) = self.ranges.range(..first).next_back()
            && end.checked_add(1) == Some(first)
        {
            first = *start;
        }
        if let Some(end) = last.checked_add(1).and_then(|next| self.ranges.remove(&next)) {
            last = end;
        }
        self.ranges.insert(first, last);
    }

    fn contains(&self, executor: ExecutorId) -> bool {
        self.ranges.range(..=executor.0).next_back().is_some_and(|(_, end)| executor.0 <= *end)
    }
}

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new(application: ApplicationId) -> Tasks {
        Tasks { application, live: BTreeMap::new(), ended: Ended::default(), doomed: BTreeMap::new() }
    }

    /// The task's id at Mesos.
    #[must_use]
    pub fn native(&self, executor: ExecutorId) -> String {
        self.application.native(executor)
    }

    /// The executor whose task this is, if it is one of this application.
    #[must_use]
    pub fn executor(&self, task: &str) -> Option<ExecutorId> {
        self.application.executor(task)
    }

    /// Those that may be alive.
    pub fn live(&self) -> impl Iterator<Item = (ExecutorId, &Task)> {
        self.live.iter().map(|(executor, task)| (*executor, task))
    }

    /// One that may be alive.
    #[must_use]
    pub fn get(&self, executor: ExecutorId) -> Option<&Task> {
        self.live.get(&executor)
    }

    /// Whether this one has exited: it never starts again.
    #[must_use]
    pub fn has_ended(&self, executor: ExecutorId) -> bool {
        self.ended.contains(executor)
    }

    /// When [`Tasks::tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.doomed.values().map(|doomed| doomed.again).min()
    }

    /// An offer was accepted for this one.
    pub fn accepted(&mut self, executor: ExecutorId, task: Task) {
        self.live.insert(executor, task);
    }

    /// This one is wanted no more. What never had a place is withdrawn; the rest is killed, and killed again each time.
    pub fn stop(&mut self, executor: ExecutorId, out: &mut Vec<TasksCommand>) {
        let task_id = v1::TaskId { value: self.native(executor) };
        match self.live.get_mut(&executor) {
            Some(task) => {
                task.stopping = true;
                out.push(TasksCommand::Kill(task_id, Some(task.agent.clone())));
            }
            None => self.ruled_out(executor, Exit::new(ExitCause::Withdrawn, ""), out),
        }
    }

    /// This one has no task and never will have: it wasn't launched, or the master refused it outright.
    pub fn ruled_out(&mut self, executor: ExecutorId, exit: Exit, out: &mut Vec<TasksCommand>) {
        let host = self.live.remove(&executor).map(|task| task.host);
        self.ended.insert(executor);
        out.push(TasksCommand::Exited(executor, host, exit));
    }

    /// A new stream: what is to be gone is killed again.
    pub fn subscribed(&mut self, now: Moment, out: &mut Vec<TasksCommand>) {
        for (executor, task) in &self.live {
            if task.stopping {
                let task_id = v1::TaskId { value: self.application.native(*executor) };
                out.push(TasksCommand::Kill(task_id, Some(task.agent.clone())));
            }
        }
        for doomed in self.doomed.values_mut() {
            (doomed.again, doomed.wait) = (now, FIRST_WAIT);
        }
        self.tick(now, out);
    }

    /// Kills again what should have been gone by now.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<TasksCommand>) {
        for (task, doomed) in &mut self.doomed {
            if doomed.again <= now {
                doomed.again = now + doomed.wait;
                doomed.wait = (doomed.wait * 2).min(LONGEST_WAIT);
                out.push(TasksCommand::Kill(v1::TaskId { value: task.clone() }, doomed.agent.clone()));
            }
        }
    }

    /// A status came: what it tells, and last the acknowledgement where the update asks for one.
    pub fn status(&mut self, now: Moment, status: v1::TaskStatus, out: &mut Vec<TasksCommand>) {
        let executor = self.executor(&status.task_id.value);
        match executor.filter(|executor| self.live.contains_key(executor)) {
            Some(executor) => self.news(executor, &status, out),
            None => self.stranger(now, &status, out),
        }
        self.acknowledge(status, out);
    }

    fn news(&mut self, executor: ExecutorId, status: &v1::TaskStatus, out: &mut Vec<TasksCommand>) {
        let native = self.native(executor);
        let Some(task) = self.live.get_mut(&executor) else { return };
        let before =
            Before { stopping: task.stopping, seen: task.seen, draining: task.draining, memory: task.memory };
        let news = meaning(status.state, status.reason, status.message(), before);
        // the master makes up nothing about a task that it doesn't know, except that it doesn't
        task.seen |= !matches!(news, News::Exited(_) | News::Unknown);
        out.push(TasksCommand::Heard(executor));
        let came_back =
            matches!(news, News::Running | News::There { .. }) && std::mem::take(&mut task.unreachable);
        match news {
            News::There { draining } => {
                if draining && !std::mem::replace(&mut task.draining, true) && !task.stopping {
                    let why = format!("agent {} is being drained", task.agent.value);
                    out.push(TasksCommand::Draining(executor, why));
                }
            }
            News::Running => {
                if !std::mem::replace(&mut task.launched, true) {
                    out.push(TasksCommand::Launched(executor));
                }
            }
            News::Unreachable => {
                if !std::mem::replace(&mut task.unreachable, true) {
                    out.push(TasksCommand::Reachable(executor, false));
                }
            }
            News::Exited(exit) => {
                let host = self.live.remove(&executor).map(|task| task.host);
                self.ended.insert(executor);
                out.push(TasksCommand::Exited(executor, host, exit));
                return;
            }
            News::Unknown => {
                tracing::warn!(
                    task = native,
                    state = status.state,
                    "a task state that this version doesn't know"
                );
            }
        }
        if came_back {
            out.push(TasksCommand::Reachable(executor, true));
            if task.stopping {
                // a KILL for an agent out of sight isn't remembered
                out.push(TasksCommand::Kill(v1::TaskId { value: native }, Some(task.agent.clone())));
            }
        }
    }

    /// A task of the framework that is not to be: ended before, or never ours.
    fn stranger(&mut self, now: Moment, status: &v1::TaskStatus, out: &mut Vec<TasksCommand>) {
        let task = &status.task_id.value;
        match meaning(status.state, status.reason, status.message(), Before::default()) {
            News::Exited(_) => {
                self.doomed.remove(task);
            }
            // a KILL would not reach it; it is ended when it is seen again
            News::Unreachable | News::Unknown => {}
            News::Running | News::There { .. } => {
                let killed = self.doomed.contains_key(task);
                let doomed = self.doomed.entry(task.clone()).or_insert_with(|| {
                    tracing::warn!(task, "a task that should not be there is ended");
                    Doomed { agent: None, again: now, wait: FIRST_WAIT }
                });
                doomed.agent = status.agent_id.clone();
                if !killed {
                    self.tick(now, out);
                }
            }
        }
    }

    fn acknowledge(&self, status: v1::TaskStatus, out: &mut Vec<TasksCommand>) {
        let Some(uuid) = status.uuid.filter(|uuid| !uuid.is_empty()) else { return };
        let Some(agent_id) = status.agent_id else {
            tracing::warn!(task = status.task_id.value, "an update without its agent can't be acknowledged");
            return;
        };
        out.push(TasksCommand::Acknowledge(v1::scheduler::call::Acknowledge {
            agent_id,
            task_id: status.task_id,
            uuid,
        }));
    }
}

#[cfg(test)]
#[path = "tasks_test.rs"]
mod tests;
