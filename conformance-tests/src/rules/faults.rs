//! F · Faults.

mod checks;

use super::runtime;
use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Claim, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "F1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`kill -9` of an executor's program, and of its supervisor: exited (signal 9), nothing of \
            it left, replaced, its tasks run elsewhere.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "who is left to act after a `kill -9`, and how the tree of processes is found",
        cases: &[
            Case::new("`kill -9` of a program: signal 9, nothing left, replaced", check!(checks::killed))
                .deadlines(&[DeadlineName::Exit, DeadlineName::Settle]),
            Case::new(
                "`kill -9` of what the manager started: nothing left, replaced",
                check!(checks::supervisor_killed),
            )
            .deadlines(&[DeadlineName::Exit, DeadlineName::Settle]),
            Case::new(
                "`kill -9` of a supervisor alone: nothing left, replaced",
                check!(checks::supervisor_alone_killed),
            )
            .deadlines(&[DeadlineName::Exit, DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "F2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A node dies: its executors exit on infrastructure's account (node lost; contact lost where \
            the driver knew first), and are replaced where room is. A daemon that dies or falls silent \
            alone ends nothing: it takes its executors back, or the manager gives them up as node \
            lost. [cap: multi-node]",
        requires: &[Claim::MultiNode],
        subject: Subject::Exists,
        look_at: "how a silent node is told from a dead one, and what its executors' exits say",
        cases: &[
            Case::new("a node dies: its executors are lost and replaced", check!(checks::node_dies))
                .hooks(&[Hook::KillNode])
                .deadlines(&[DeadlineName::Fault, DeadlineName::Settle]),
            Case::new("a daemon that dies alone ends nothing", check!(checks::daemon_dies))
                .hooks(&[Hook::KillDaemon])
                .deadlines(&[DeadlineName::Fault, DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "F3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The manager, or what stands for it (YARN: our application master), restarts or fails over: \
            executors run on, the stream resumes without a lost or doubled event, and the last wish, \
            also one made during the outage, holds. [cap: survives-restart]",
        requires: &[Claim::SurvivesRestart],
        subject: Subject::Exists,
        look_at: "what is kept of an application while its manager is away, and how the stream is numbered after",
        cases: &[Case::new(
            "the manager restarts: executors run on, and the last wish holds",
            check!(checks::manager_restarts),
        )
        .hooks(&[Hook::StopManager, Hook::StartManager])
        .deadlines(&[DeadlineName::Fault])],
    },
    Rule {
        id: "F4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The manager is out of reach: the application is told (`ManagerUnreachable`, then \
            `ManagerRecovered`); retries back off with jitter; CPU time in the outage is near none. An \
            executor that can't be seen is unreachable, not dead: it goes on while its driver hears \
            it. An outage shorter than the lease costs nothing; in a longer one the manager may end \
            the application, and then the stream says so (R6, lease expired). [cap: remote]",
        requires: &[Claim::Remote],
        subject: Subject::Exists,
        look_at: "the loop that tries again: its pause, its jitter, and what it tells the application",
        cases: &[Case::new(
            "an outage is told, spins nothing, and costs no executor",
            check!(checks::unreachable),
        )
        .hooks(&[Hook::CutNetwork, Hook::MendNetwork])
        .deadlines(&[DeadlineName::Fault])
        .alone()],
    },
    Rule {
        id: "F5",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "An executor cut off from its driver ends itself within the lease; the driver counts it \
            lost, runs its tasks elsewhere, and refuses it if it comes back. An exit that the manager \
            declares while the connection lives has the same effect: the driver hangs up, renews its \
            lease no more, and takes nothing from it.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the executor's own lease",
        cases: runtime::F5,
    },
    Rule {
        id: "F6",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "A stopped process (SIGSTOP), or one whose control loop no longer answers, is found by \
            missing heartbeats within the timeout plus a small slack, and ended from outside. \
            Heartbeats never wait behind tasks or a full window; a task that spins is D6's affair.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the path of heartbeats",
        cases: runtime::F6,
    },
    Rule {
        id: "F7",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A full disk or an unwritable directory on a node fails the launch with that reason, and \
            other nodes are tried.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "how a launch failure of one node steers the next try",
        cases: &[Case::new("a full disk is said, and another node is tried", check!(checks::disk_full))
            .hooks(&[Hook::FillDisk])
            .deadlines(&[DeadlineName::Fault])],
    },
    Rule {
        id: "F8",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "What has exited stays exited: an executor that is seen again (its node is back), or that \
            nobody wants (a request that was on its way when it was withdrawn), is ended, makes no \
            event and counts nowhere. [cap: remote]",
        requires: &[Claim::Remote],
        subject: Subject::Exists,
        look_at: "what becomes of news about an executor that nobody wants any more",
        cases: &[Case::new(
            "what has exited with its node makes no event when that is back",
            check!(checks::stays_exited),
        )
        .hooks(&[Hook::KillNode, Hook::ReviveNode])
        .deadlines(&[DeadlineName::Fault, DeadlineName::Quiet])],
    },
];
