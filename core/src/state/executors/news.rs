//! What the table of executors is told, and what it tells its shell to do.

use std::time::Duration;

use crate::ids::{ExecutorId, Name, ProfileId};
use crate::manager::{Exit, ExitCause, Heard, Then};

/// The times that the table keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorTimes {
    /// Silent for so long, an executor is lost.
    pub lost_after: Duration,
    /// How long the manager's cause of an exit is waited for.
    pub cause_wait: Duration,
    /// How long an executor may drain.
    pub drain_grace: Duration,
}

impl Default for ExecutorTimes {
    fn default() -> ExecutorTimes {
        ExecutorTimes {
            lost_after: Duration::from_secs(10),
            cause_wait: Duration::from_secs(5),
            drain_grace: Duration::from_secs(30),
        }
    }
}

/// What happened to one executor.
#[derive(Debug, Clone)]
pub enum ExecutorEvent {
    /// The manager granted it.
    Granted {
        /// Its profile.
        profile: ProfileId,
        /// Its host.
        host: Option<Name>,
    },
    /// The manager has started its supervisor.
    Launched,
    /// The manager says that it has ended.
    Exited(Exit),
    /// The manager says that it will go, in so long where it says when (L7).
    WillGo {
        /// How long it still has.
        within: Option<Duration>,
        /// Why.
        why: String,
    },
    /// Its supervisor's stream is open.
    Supervised,
    /// Its supervisor's heartbeat.
    Heartbeat {
        /// Its number, to be answered.
        number: u64,
        /// How long its program hasn't answered.
        program_silent: Duration,
    },
    /// It takes tasks, or says that it is ready.
    Ready,
    /// Its program's stream of tasks broke.
    Detached,
    /// Its supervisor's account of its end.
    Ended(Exit),
    /// Its supervisor's stream broke.
    HungUp,
    /// Its supervisor was told to go by somebody else than us, and drains.
    Evicted {
        /// Why.
        why: String,
    },
    /// Somebody here wants it to leave when its running tasks have ended.
    Drain {
        /// Why.
        why: String,
        /// How long it may take.
        grace: Duration,
        /// Whether it is replaced.
        then: Then,
    },
    /// Somebody here wants it to end at once and be replaced.
    Condemned {
        /// Why.
        why: String,
    },
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutorCommand {
    /// Tell the manager what was heard.
    Hear(ExecutorId, Heard),
    /// It joined: tell the task plane.
    Joined(ExecutorId),
    /// It takes tasks.
    Ready(ExecutorId),
    /// Give it no new task.
    Draining(ExecutorId, String),
    /// Answer its heartbeat: this renews its lease.
    Renew(ExecutorId, u64),
    /// Tell its supervisor to drain it.
    OrderDrain(ExecutorId, String),
    /// Tell its supervisor to end it; nothing else that explains the end, the account is to say this.
    OrderEnd(ExecutorId, Exit),
    /// Run its tasks elsewhere and close its streams, once what was ordered is sent.
    Gone(ExecutorId),
    /// The last word on it.
    Lost(ExecutorId, Exit),
    /// Ask the manager for its end.
    Release {
        /// Whose.
        executor: ExecutorId,
        /// How long it may go on.
        grace: Duration,
        /// Whether it is replaced.
        then: Then,
        /// The cause to tell where nothing else explains the end.
        why: ExitCause,
    },
}

/// How an executor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExecutorPhase {
    /// It has resources.
    Granted,
    /// Its supervisor was started.
    Launched,
    /// Its supervisor has joined.
    Joined,
    /// It takes tasks.
    Ready,
    /// It takes no new task.
    Draining,
    /// Nothing of it counts any more; its cause is waited for.
    Gone,
}
