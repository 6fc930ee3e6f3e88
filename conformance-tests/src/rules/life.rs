//! L · The life of an executor.

mod causes;
mod checks;
mod launches;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Claim, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "L1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Events of one executor are ordered: granted, launched, exited (exited may follow granted \
            directly). Exited comes exactly once and last. The stream is lossless and gap-free by \
            sequence number; with a reader that doesn't read, replacements pause past a bound, so that \
            memory stays bounded. A join may overtake them all. Late or doubled news of an exit is \
            logged, never an event.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the ledger: the only place that may number and send events",
        cases: &[Case::new(
            "through exits, releases and replacements, events are ordered, gap-free and once",
            check!(checks::ordered),
        )
        .deadlines(&[DeadlineName::Settle, DeadlineName::Exit])],
    },
    Rule {
        id: "L2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The cause of an exit is true (exit code, signal, out of memory, preempted, node lost, \
            drained, released, unregistered, lease expired, launch failed, never joined …) and so is \
            the blame. Only the application's blame counts against it. Where several saw it: an act of \
            the manager (preempted, node lost, drained, killed for memory) goes before the \
            supervisor's own account, that before a bare code or signal; what nothing but our stop \
            explains has the release's reason.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the table of causes, and which of two accounts wins",
        cases: &[
            Case::new("codes and signals have their true cause and blame", check!(checks::causes))
                .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
            Case::new("out of memory is told as that", check!(causes::out_of_memory))
                .requires(&[Claim::MemoryEnforced])
                .deadlines(&[DeadlineName::Exit]),
            Case::new("what is preempted is told as that", check!(causes::preempted))
                .hooks(&[Hook::Preempt])
                .deadlines(&[DeadlineName::Fault]),
            Case::new("what goes with a drained node is told as that", check!(causes::drained))
                .requires(&[Claim::Draining])
                .hooks(&[Hook::DrainNode])
                .deadlines(&[DeadlineName::Fault]),
            Case::new("what ends with its application is told as that", check!(causes::unregistered))
                .deadlines(&[DeadlineName::Unregister, DeadlineName::Exit]),
        ],
    },
    Rule {
        id: "L3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A launch that fails (no such program, wrong platform, no permission, artifact gone) is \
            reported within its deadline with a message that lets a person mend it, and the tail of \
            its log.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what a failed `exec` becomes, and whether its message and log tail reach the exit",
        cases: &[
            Case::new(
                "a program that is not there is a launch failure that names it",
                check!(launches::no_such_program),
            )
            .deadlines(&[DeadlineName::Launch]),
            Case::new("a file that can not be executed is one too", check!(launches::not_executable))
                .deadlines(&[DeadlineName::Launch]),
            Case::new("a program for another machine says so", check!(launches::wrong_platform))
                .deadlines(&[DeadlineName::Launch]),
            Case::new("a file that is gone is named", check!(launches::artifact_gone))
                .deadlines(&[DeadlineName::Launch]),
        ],
    },
    Rule {
        id: "L4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Ids are unique in an application and never used again, also after a re-attachment.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "where ids come from",
        cases: &[Case::new("no id is granted twice", check!(checks::unique_ids))
            .deadlines(&[DeadlineName::Settle, DeadlineName::Exit])],
    },
    Rule {
        id: "L5",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A crash loop is braked: replacements back off exponentially with jitter, and the \
            application is told (`ExecutorsFailing`). Preemption and lost nodes never trip the brake. \
            It never spins, whoever is to blame: what ends unasked before it joined (refused by its \
            node, preempted at once, disk full) is replaced at a growing pace too.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the brake: what it counts, its first pause and its jitter",
        cases: &[Case::new("a crash loop is braked with growing pauses, and told", check!(checks::braked))],
    },
    Rule {
        id: "L6",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "An executor that was launched and doesn't join its driver within the join deadline is \
            ended; its exit and `explain` name the address it tried and its log tail.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the join deadline: who starts its clock, and what its exit says",
        cases: &[Case::new(
            "an executor that never joins is ended, and its exit says where it tried",
            check!(checks::never_joins),
        )
        .deadlines(&[DeadlineName::Join, DeadlineName::Exit])],
    },
    Rule {
        id: "L7",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The manager's notice that executors will go (preemption, draining, maintenance, spot, wall \
            time) reaches the application as `Draining` before they go, with the time if the manager \
            names one. It is not taken back: who acted on it has let go. [cap: draining]",
        requires: &[Claim::Draining],
        subject: Subject::Exists,
        look_at: "how notices of the manager become `Draining`",
        cases: &[Case::new("a notice is told before the executors go", check!(checks::draining))
            .hooks(&[Hook::DrainNode])
            .deadlines(&[DeadlineName::Fault])],
    },
];
