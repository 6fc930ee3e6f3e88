//! S · Scale.

mod checks;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Level, Profile, Rule, Subject, check};

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
        cases: &[Case::new("calls and bytes grow at most 2.2 times per doubling", check!(checks::linear))
            .hooks(&[Hook::Traffic])
            .deadlines(&[DeadlineName::Settle])
            .alone()],
    },
    Rule {
        id: "S2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "100 applications register and unregister at once with nothing lost or mixed up.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "locks and limits that all applications share",
        cases: &[Case::new(
            "many applications register and unregister at once",
            check!(checks::many_at_once),
        )
        .deadlines(&[DeadlineName::Register, DeadlineName::Unregister])
        .alone()],
    },
];
