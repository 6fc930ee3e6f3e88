//! T · The end.

mod checks;
mod killed;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "T1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`unregister` ends all executors with all their children within its deadline, is \
            idempotent, and answers only when nothing is left (else with an error, and the lease ends \
            the rest).",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what `unregister` waits for: processes, not answers",
        cases: &[Case::new(
            "`unregister` answers when nothing is left, escaped children included, and may be called again",
            check!(checks::unregister),
        )
        .deadlines(&[DeadlineName::Unregister])],
    },
    Rule {
        id: "T2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A driver that dies at once (`kill -9`, power), at whatever stage (queued, wanted, granted, \
            starting), leaves no process and nothing at the manager past the lease. Zero orphans, \
            counted in the process table, double-forked children in sessions of their own with an \
            empty environment included. What is no process (queued application, framework, pending \
            pod, secret, staged file) hangs, from its making, on something other than the driver that \
            takes it away; where a manager can't (a driver that vanished without closing its \
            connection, a silent node), the certificate names what stays, and how long.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what tells the executors and the manager that the driver is gone, also before the first grant",
        cases: &[
            Case::new("a driver killed while it registers, and once it has", check!(killed::queued))
                .hooks(&[Hook::Address])
                .deadlines(&[DeadlineName::Lease, DeadlineName::Exit]),
            Case::new("a driver killed while it waits for executors", check!(killed::wanted))
                .hooks(&[Hook::Address])
                .deadlines(&[DeadlineName::Lease, DeadlineName::Exit]),
            Case::new("a driver killed at the first news of a grant", check!(killed::granted))
                .hooks(&[Hook::Address])
                .deadlines(&[DeadlineName::Lease, DeadlineName::Exit]),
            Case::new("a driver killed at the first news of a start", check!(killed::starting))
                .hooks(&[Hook::Address])
                .deadlines(&[DeadlineName::Lease, DeadlineName::Exit]),
            Case::new(
                "a driver killed while its executors run, with children that escaped",
                check!(killed::running),
            )
            .hooks(&[Hook::Address])
            .deadlines(&[DeadlineName::Settle, DeadlineName::Lease, DeadlineName::Exit]),
        ],
    },
    Rule {
        id: "T3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Dropping the handle without `unregister` is the same as T2.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the drop of the handle",
        cases: &[Case::new(
            "a dropped handle leaves no process past the lease, escaped children included",
            check!(checks::dropped),
        )
        .deadlines(&[DeadlineName::Lease, DeadlineName::Exit])],
    },
    Rule {
        id: "T4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The outcome (succeeded, failed with a message, killed) shows at the manager where it has a \
            place for it.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "how the outcome is passed to the manager",
        cases: &[Case::new("the outcome is shown", check!(checks::outcome)).hooks(&[Hook::OutcomeShown])],
    },
];
