//! C · Cluster mode.

use crate::rule::{Claim, Level, Profile, Rule, Subject};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "C1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`submit` answers as R1 and R2 say, with an id by which any later process of that user can \
            ask. The submitter may end at once, unless nobody else can serve the driver's files: then \
            the answer says so, and it stays.",
        requires: &[Claim::ClusterMode],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "C2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`status` says queued, with reasons as `explain`'s; running: attempt, node, page; ended: \
            how, as long as the manager keeps it. `logs` as E2.",
        requires: &[Claim::ClusterMode],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "C3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`kill` ends the driver and its executors within its deadline, queued ones too; again \
            changes nothing.",
        requires: &[Claim::ClusterMode],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "C4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A driver that ends unasked is started again as often as was asked and no more. Each \
            attempt is an application of its own (id, authority, tickets); when it registers, nothing \
            of the one before is left.",
        requires: &[Claim::ClusterMode],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
];
