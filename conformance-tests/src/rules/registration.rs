//! R · Registration.

mod answers;
mod isolation;
mod refusals;

pub(crate) use answers::{nothing_at_the_manager, nothing_at_the_manager_but};

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Claim, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "R1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`register` answers when, and as soon as, the manager has taken the application durably (it \
            has an id), or with an error of a telling kind: unreachable, unauthenticated, forbidden, \
            rejected (in the manager's own words), invalid (naming the field). An error leaves nothing \
            behind at the manager past the lease. An application that must wait there (queue, share of \
            masters) is registered; what for, `explain` says from then on, whatever the target.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what `register` waits for before it answers, and how each error of the manager is mapped to a kind",
        cases: &[
            Case {
                gist: "an application that registers has an id, and waits for no executor",
                requires: &[],
                hooks: &[],
                deadlines: &[DeadlineName::Register],
                alone: false,
                check: check!(answers::with_an_id),
            },
            Case {
                gist: "a manager that is away is `Unavailable`, in time, and nothing is left of it",
                requires: &[Claim::Remote],
                hooks: &[Hook::StopManager, Hook::StartManager, Hook::ListExisting],
                deadlines: &[DeadlineName::Fault, DeadlineName::Lease],
                alone: false,
                check: check!(answers::unreachable),
            },
        ],
    },
    Rule {
        id: "R2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "An invalid specification is refused before anything happens at the manager: zero or absurd \
            resources, an empty name, control characters, changed profile under an old id, a missing \
            artifact, an unknown option, a lease shorter than the manager can keep (it names the \
            least).",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the checks that run before the first byte goes to the manager: `ApplicationSpec`, `ResourceProfile::check`, `check_options`, `check_lease`",
        cases: &[
            Case {
                gist: "a registration with an unknown option, too short a lease or a missing artifact is refused",
                requires: &[],
                hooks: &[],
                deadlines: &[DeadlineName::Register],
                alone: false,
                check: check!(refusals::registrations),
            },
            Case {
                gist: "a wish with no or absurd resources, or a profile changed under its id, is refused and does nothing",
                requires: &[],
                hooks: &[],
                deadlines: &[DeadlineName::Quiet],
                alone: false,
                check: check!(refusals::wishes),
            },
        ],
    },
    Rule {
        id: "R3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Applications are isolated: no id, event, log or executor of one is ever seen through the \
            handle of another, even with the same name, user and moment.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what the manager names things by: only the application id tells two applications apart",
        cases: &[Case {
            gist: "of twins, what one is told, releases and ends is its own alone",
            requires: &[],
            hooks: &[],
            deadlines: &[DeadlineName::Settle, DeadlineName::Quiet],
            alone: false,
            check: check!(isolation::twins),
        }],
    },
    Rule {
        id: "R4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Dropping the future of `register` at any of its await points leaves nothing at the manager \
            past the lease.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "each `.await` of `register`: what exists at the manager when the future is dropped there, and who takes it away",
        cases: &[Case {
            gist: "`register`, dropped after each number of polls, leaves nothing",
            requires: &[],
            hooks: &[Hook::ListExisting],
            deadlines: &[DeadlineName::Lease, DeadlineName::Exit],
            alone: false,
            check: check!(answers::dropped_anywhere),
        }],
    },
    Rule {
        id: "R5",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The manager's own id of the application (YARN's application id, Mesos' framework id …) is \
            reported, with a URL a person can open where there is one.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "`ApplicationInfo::native` and `page`",
        cases: &[Case {
            gist: "native ids differ, pages can be opened, and no more is claimed than described",
            requires: &[],
            hooks: &[],
            deadlines: &[DeadlineName::Register],
            alone: false,
            check: check!(answers::native_ids),
        }],
    },
    Rule {
        id: "R6",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "When somebody else ends the application (operator, queue limit, manager), the stream says \
            so last, with who and why, after every executor's exit. [cap: remote]",
        requires: &[Claim::Remote],
        subject: Subject::Exists,
        look_at: "how news of an end by others is turned into exits first and `Ended` last",
        cases: &[Case {
            gist: "an operator's end is told last, with who, after every exit",
            requires: &[],
            hooks: &[Hook::EndApplication],
            deadlines: &[DeadlineName::Fault],
            alone: false,
            check: check!(answers::ended_by_others),
        }],
    },
    Rule {
        id: "R7",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "(later) A driver started anew takes its application back within the lease, under a new \
            incarnation.",
        requires: &[],
        subject: Subject::Later("a driver cannot take its application back yet"),
        look_at: "nothing yet",
        cases: &[],
    },
];
