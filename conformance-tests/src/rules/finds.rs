//! E · What an executor finds.

mod checks;
mod logs;
mod secrets;

use crate::deadlines::DeadlineName;
use crate::rule::{Case, Claim, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "E1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Arguments, environment, working directory and artifacts are what was asked for, byte for \
            byte, executables executable, names with spaces, quotes and non-ASCII letters included; \
            nothing passes through a shell unquoted.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "every place between `LaunchCommand` and `exec` where text is joined, split or quoted",
        cases: &[Case::new(
            "arguments, environment and files arrive byte for byte",
            check!(checks::byte_for_byte),
        )
        .deadlines(&[DeadlineName::Settle])],
    },
    Rule {
        id: "E2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "stdout and stderr can be read while it runs and after its end (while its application lives \
            and its node answers), from the start, the last n bytes, or any position that an earlier \
            chunk gave, through rotation, and following; what is no longer kept is said, with its size \
            where the manager knows it. Only through the handle of its own application (R3). [cap: \
            logs]",
        requires: &[Claim::Logs],
        subject: Subject::Exists,
        look_at: "how log files are found after the executor's end, rolled over, and followed",
        cases: &[
            Case::new(
                "output is read as it runs, from a position, its end, and after its end",
                check!(logs::positions),
            )
            .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
            Case::new("who follows reads all of it, and then the stream ends", check!(logs::followed))
                .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
            Case::new(
                "output that was rolled over has no seam, and what is not kept is said",
                check!(logs::rotated),
            )
            .deadlines(&[DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "E3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "No reusable credential is in a command line, the manager's public status, a log, or a file \
            that others can read. Where a manager has no private channel, only single-use tickets \
            travel, dead after first use or once its executor may no longer join; a replay is refused \
            and reported.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what carries the ticket, and who can read that",
        cases: &[Case::new(
            "no ticket is in a command line, a log, what the manager shows, or a file that others can read",
            check!(secrets::tickets),
        )
        .deadlines(&[DeadlineName::Settle])],
    },
    Rule {
        id: "E4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Its standard environment names the driver's addresses, its own id, application, profile \
            and incarnation.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the environment that the start adds to the command's own",
        cases: &[Case::new("the standard names say who it is", check!(checks::names))
            .deadlines(&[DeadlineName::Settle])],
    },
];
