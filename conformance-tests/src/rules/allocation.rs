//! A · Allocation.

mod devices;
mod hosts;
mod release;
mod resources;
mod room;
mod targets;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, Claim, Level, Profile, Rule, Subject, check};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "A1",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Targets are totals. Setting one is a local, immediate act that records a wish; saying the \
            same again changes nothing; the last wish wins, also in a burst and across an outage.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "whether `set_target` does I/O or adds to what was wished before",
        cases: &[
            Case::new(
                "a burst comes to its last wish; saying it again changes nothing",
                check!(targets::last_wish_wins),
            )
            .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
            Case::new("a wish made during an outage holds after it", check!(targets::wish_in_an_outage))
                .requires(&[Claim::Remote])
                .hooks(&[Hook::CutNetwork, Hook::MendNetwork])
                .deadlines(&[DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "A2",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "With room in the cluster, the number of executors reaches the target and holds there. \
            Surplus is given back.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the reconciler: wanted minus granted minus surplus, and what happens to an over-grant",
        cases: &[
            Case::new(
                "the target is reached and holds, with no process more",
                check!(targets::reached_and_held),
            )
            .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
            Case::new("a grant that nobody asked for is given back", check!(targets::surplus))
                .requires(&[Claim::Remote])
                .hooks(&[Hook::OverGrant])
                .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
        ],
    },
    Rule {
        id: "A3",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "While the target stands, an executor that exits unasked (exit code 0 included) is \
            replaced, within the brake of L5, under a new id.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what an unasked exit, code 0 included, does to the number of wanted executors",
        cases: &[Case::new(
            "what exits unasked, with code 0 or not, is replaced under a new id",
            check!(targets::replaced),
        )
        .deadlines(&[DeadlineName::Settle, DeadlineName::Exit])],
    },
    Rule {
        id: "A4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Lowering the target withdraws what is not granted yet and ends nothing that runs.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what lowering does to granted executors",
        cases: &[
            Case::new("lowering ends nothing that runs", check!(targets::lowering))
                .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
            Case::new("what is not granted yet is withdrawn", check!(targets::withdrawn))
                .hooks(&[Hook::TakeResources, Hook::GiveResources])
                .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
        ],
    },
    Rule {
        id: "A5",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "An executor gets at least its profile's resources, rounded up to what the manager can \
            give, and knows them (cpus, memory of its whole process tree, devices). A node is never \
            filled beyond what it has, in what the manager counts; what it doesn't count (YARN's \
            default: cpus) stands on the certificate. Limits that it enforces, hold. [cap: memory-\
            enforced, cpu-enforced]",
        requires: &[],
        subject: Subject::Exists,
        look_at: "how amounts are rounded, counted per node, and limited",
        cases: &[
            Case::new("a grant is no smaller than its profile", check!(resources::granted))
                .deadlines(&[DeadlineName::Settle]),
            Case::new("an executor over its memory is ended, and says so", check!(resources::memory))
                .requires(&[Claim::MemoryEnforced])
                .deadlines(&[DeadlineName::Exit]),
            Case::new("an executor within its memory is left alone", check!(resources::within_memory))
                .requires(&[Claim::MemoryEnforced])
                .deadlines(&[DeadlineName::Quiet]),
            Case::new("no node is filled beyond what it has", check!(resources::never_overfilled))
                .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
        ],
    },
    Rule {
        id: "A6",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A target that can't be met is no error: what fits is granted, and `explain` gives the true \
            reason with true numbers (needed as charged, largest), or the manager's own words where it \
            shows no more, within its deadline. When room appears, allocation goes on by itself and \
            the reason goes away.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "how `explain` gets its numbers, and what wakes allocation when room appears",
        cases: &[
            Case::new("what can never fit is told with true numbers", check!(resources::never_fits))
                .deadlines(&[DeadlineName::Explain]),
            Case::new(
                "what has no room now is told so, and granted when there is",
                check!(resources::room_appears),
            )
            .hooks(&[Hook::TakeResources, Hook::GiveResources])
            .deadlines(&[DeadlineName::Explain, DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "A7",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "`release` ends exactly the executors named, granted-but-unlaunched ones too, and says \
            which ids were unknown, ended or already releasing; it either lowers the target by as many \
            or replaces them at once, as asked. The exit follows within the grace and one lease, also \
            from a silent node or with no manager to confirm it: its driver has hung up, so it has \
            ended itself.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "which ids a release reaches, what it answers for the others, and whether the target falls",
        cases: &[
            Case::new("exactly those named end, and each id is answered for", check!(release::exactly_these))
                .deadlines(&[DeadlineName::Exit, DeadlineName::Quiet]),
            Case::new("a release that replaces has its replacement", check!(release::replaces))
                .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
        ],
    },
    Rule {
        id: "A8",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "A release with grace ends nothing before its deadline and everything at it (later only by \
            an outage of the manager); what ended by itself meanwhile, drained, has exited as \
            released.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "who keeps the clock of a graceful release, and the cause told at its end",
        cases: &[
            Case::new("nothing ends before its deadline, all of it at it", check!(release::grace))
                .deadlines(&[DeadlineName::Grace, DeadlineName::Exit]),
            Case::new("what is drained and ends by itself has exited as released", check!(release::drained))
                .deadlines(&[DeadlineName::Exit]),
        ],
    },
    Rule {
        id: "A9",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Several profiles at once: each reaches its own target; a starving one does not block the \
            others. New profiles may appear while the application runs.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "whether one profile's shortage blocks the loop over the others",
        cases: &[Case::new(
            "a profile that starves keeps no other from its target, and new ones may come",
            check!(targets::profiles),
        )
        .deadlines(&[DeadlineName::Settle])],
    },
    Rule {
        id: "A10",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Preferred hosts are hints and never stop an allocation; excluded hosts are not used from \
            the wish on (a grant that was on its way is given back unlaunched); required constraints \
            hold. Hosts are spelled as the grants spell them. [cap: placement, exclusion, constraints]",
        requires: &[],
        subject: Subject::Exists,
        look_at: "how host names are spelled, and at which point exclusion is looked at again",
        cases: &[
            Case::new("a preferred host that is not there stops nothing", check!(hosts::preferred))
                .requires(&[Claim::Placement])
                .deadlines(&[DeadlineName::Settle]),
            Case::new("an excluded host is not used", check!(hosts::excluded))
                .requires(&[Claim::Exclusion])
                .deadlines(&[DeadlineName::Settle]),
            Case::new("a required host is the only one used", check!(hosts::required))
                .requires(&[Claim::Constraints])
                .deadlines(&[DeadlineName::Settle]),
        ],
    },
    Rule {
        id: "A11",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Named resources (gpu) are granted whole and exclusively, and the executor knows which \
            (index or the device's own id), from the manager or by its supervisor's look. [cap: \
            devices]",
        requires: &[Claim::Devices],
        subject: Subject::Exists,
        look_at: "how devices are taken and given back",
        cases: &[Case::new(
            "each device is one executor's, which knows it; what is given back is granted again",
            check!(devices::exclusive),
        )
        .deadlines(&[DeadlineName::Settle, DeadlineName::Explain, DeadlineName::Exit])],
    },
    Rule {
        id: "A12",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "The application's hard maximum of executors is never exceeded, whatever is wished; those \
            being released count.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "whether executors that are being released count, and what a burst of wishes does",
        cases: &[Case::new(
            "the hard maximum is never exceeded; those being released count",
            check!(targets::hard_maximum),
        )
        .deadlines(&[DeadlineName::Settle, DeadlineName::Grace, DeadlineName::Quiet])],
    },
];
