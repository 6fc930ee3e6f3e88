//! What comes to a supervisor's decisions, and what comes of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manager::{ExitCause, LaunchFailure};
use crate::process::exit::ProcessExit;
use crate::units::MiB;

/// What the driver said at the join that the supervisor itself acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How often it tells that it lives.
    pub heartbeat_interval: Duration,
    /// A program whose control loop is silent for so long is lost: the driver is told when it is, not at the next heartbeat.
    pub lost_after: Duration,
    /// Without a driver for so long, it ends itself.
    pub lease: Duration,
    /// From SIGTERM to SIGKILL.
    pub end_grace: Duration,
    /// The memory of the whole tree, where there is a limit.
    pub memory: Option<MiB>,
    /// Whether nobody but the supervisor keeps that limit.
    pub watch_memory: bool,
    /// For a program that doesn't link convoke: until it must have said that it is ready.
    pub ready_deadline: Option<Duration>,
    /// For a program that doesn't link convoke.
    pub foreign: Option<ForeignTerms>,
}

/// What holds for a program that doesn't link convoke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignTerms {
    /// The signal that drains it, by number.
    pub stop_signal: i32,
    /// What didn't happen where it isn't ready, in words.
    pub awaited: String,
}

/// What happens to a supervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum SupervisionEvent {
    /// Nothing but that [`Supervision::next_deadline`](super::Supervision::next_deadline) has come.
    Deadline,
    /// The driver took the ticket.
    Joined(Terms),
    /// The driver could not be reached: it may be later.
    JoinFailed(String),
    /// The driver refused the join: asking again is vain.
    JoinRefused(String),
    /// The connection for heartbeats stands.
    LinkOpened,
    /// It can't be opened, or broke, or was closed by the driver.
    LinkLost(String),
    /// The driver refused it: this executor is none of its own any more.
    LinkRefused(String),
    /// The driver answered the heartbeat with this number.
    Renewed(u64),
    /// The driver's order to drain, and why.
    DrainOrdered(String),
    /// The driver's order to end, why, and what the account shall say where nothing else explains the end.
    EndOrdered(String, ExitCause),
    /// The program runs, as this process.
    ProgramStarted(u32),
    /// The program could not be started.
    ProgramNotStarted(LaunchFailure, String),
    /// The program is ready; where it listens, by name, for one that doesn't link convoke.
    ProgramReady(BTreeMap<String, u32>),
    /// The program's control loop answered.
    ProgramAlive,
    /// The program says why it can't go on; its end follows.
    ProgramFailed(String),
    /// The program ended.
    ProgramExited(ProcessExit),
    /// The kernel ended a process of the tree for its memory. Told before an exit that it explains.
    KilledForMemory,
    /// The tree holds this much memory.
    MemorySeen(MiB),
    /// No process of the tree is left.
    TreeGone,
    /// The standard input that ties the executor to its driver has ended.
    DriverGone,
    /// The guard is gone.
    GuardGone,
    /// SIGTERM came.
    Terminated,
}

/// What a supervisor does.
#[derive(Debug, Clone, PartialEq)]
pub enum SupervisionCommand {
    /// Try to join, all addresses in turn.
    Join,
    /// Open the connection for heartbeats; what is left of an earlier one is closed.
    OpenLink,
    /// Start the program.
    StartProgram,
    /// Tell the driver that the executor lives.
    Heartbeat {
        /// Its number.
        number: u64,
        /// How long the program's control loop has been silent.
        program_silent: Duration,
        /// The tree's memory, as last seen.
        resident: MiB,
    },
    /// Tell the driver that the program is ready.
    ReportReady {
        /// The program's process.
        process: u32,
        /// Where it listens, by name.
        ports: BTreeMap<String, u32>,
    },
    /// Tell the driver that an eviction notice came.
    ReportEviction,
    /// Tell the driver how it ended, and hang up. The shell adds the end of its log.
    ReportEnd {
        /// The cause.
        cause: ExitCause,
        /// More, for people.
        message: String,
    },
    /// Tell the program to drain.
    DrainProgram,
    /// Send this signal to the program alone.
    SignalProgram(i32),
    /// Ask every process of the tree to end: SIGTERM (the program itself by its own stop signal, where it has one), and SIGCONT for those that are stopped.
    TerminateTree,
    /// Kill every process of the tree, again and again until none is left.
    KillTree,
    /// End this process in this way.
    Exit(ProcessExit),
}
