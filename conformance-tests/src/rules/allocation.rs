//! A · Allocation.

use crate::rule::{Claim, Level, Profile, Rule, Subject};

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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
    },
    Rule {
        id: "A4",
        level: Level::Must,
        profile: Profile::Manager,
        statement: "Lowering the target withdraws what is not granted yet and ends nothing that runs.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "what lowering does to granted executors",
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
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
        cases: &[],
    },
];
