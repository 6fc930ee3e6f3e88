//! S · Scale.

use crate::rule::{Level, Profile, Rule, Subject};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "S1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Work grows linearly: counted calls and bytes, at most 2.2 × per doubling of the target \
            (sizes are the harness's: 1,000 where processes are cheap, 40 on a small real cluster).",
        requires: &[],
        subject: Subject::Exists,
        look_at: "calls per executor: one per change, none per executor and round",
        cases: &[],
    },
    Rule {
        id: "S2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "100 applications register and unregister at once with nothing lost or mixed up.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "locks and limits that all applications share",
        cases: &[],
    },
];
