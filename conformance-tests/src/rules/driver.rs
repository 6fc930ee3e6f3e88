//! D · Driver and executors.

use super::runtime;
use crate::rule::{Level, Profile, Rule, Subject};

/// The rules of this area, in the contract's order.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "D1",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "Refused, while the driver serves on (its speed meanwhile is reported; goal 80 %): a \
            stranger, garbage, a spent, withdrawn or replayed ticket, the right ticket with a wrong \
            id, another application's valid certificate, a thousand half-open connections.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D1,
    },
    Rule {
        id: "D2",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "A protocol version that does not match is refused with an error that names both.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D2,
    },
    Rule {
        id: "D3",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "Each submitted task ends exactly once for its caller: its value, its failure, or \
            cancelled. A late or doubled result of a lost attempt changes nothing.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D3,
    },
    Rule {
        id: "D4",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "A failed attempt is tried again up to the limit, on another executor where there is one; \
            an attempt lost through no fault of the application does not count against it, but has a \
            higher cap of its own (a poison task must not loop).",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D4,
    },
    Rule {
        id: "D5",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "A panic, an exit, an abort or a stack overflow in a task fails that attempt with its \
            message; a panic costs no other task anything.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D5,
    },
    Rule {
        id: "D6",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "Cancelling a task or a job frees its slots within its deadline, also when the code ignores \
            it (the executor is replaced as a last resort).",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D6,
    },
    Rule {
        id: "D7",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "Peak memory of driver and executors for a `map` or stream of a million tasks with 1 KiB \
            arguments is within 1.2 × that for 100,000, also with a caller that pauses, and with large \
            results. A flood of single submits waits for credit.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D7,
    },
    Rule {
        id: "D8",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "Artifacts arrive whole or not at all (SHA-256), at most once per executor, and once per \
            node where a node can share them.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D8,
    },
    Rule {
        id: "D9",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "(later) Blocks: put, get, get from a peer, loss with the executor reported, spill to disk \
            past the memory limit.",
        requires: &[],
        subject: Subject::Later("blocks do not exist yet"),
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "D10",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "(later) Tasks honour preferred locations for a configurable wait, then run anywhere.",
        requires: &[],
        subject: Subject::Later("locality does not exist yet"),
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "D11",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "(later) A slow task is run a second time elsewhere when speculation is on, and the first \
            to end wins.",
        requires: &[],
        subject: Subject::Later("speculation does not exist yet"),
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "D12",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "(blocks later) Decommission: no new task, running ones end, blocks move to peers, then it \
            leaves, at once if idle; nothing is recomputed. `Draining` starts it by itself, its grace \
            before the time named (at once where none is), as a release that replaces.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: runtime::D12,
    },
    Rule {
        id: "D13",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "(later) Dynamic allocation: executors grow with the backlog and leave when idle, between \
            the stated minimum and maximum.",
        requires: &[],
        subject: Subject::Later("dynamic allocation does not exist yet"),
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
    Rule {
        id: "D14",
        level: Level::Must,
        profile: Profile::Runtime,
        statement: "A program that doesn't link convoke: ports that it asks for are free ones of its node, \
            found by its supervisor at each start and named in its environment (one taken meanwhile: \
            found anew), so that two on one host never collide; it is ready when it says so, and the \
            driver then tells where to dial it (host:port, from the address its supervisor calls from, \
            or as set); one that isn't ready within its deadline is ended as never ready, with its log \
            tail.",
        requires: &[],
        subject: Subject::Exists,
        look_at: "the driver and the executor side of core",
        cases: &[],
    },
];
