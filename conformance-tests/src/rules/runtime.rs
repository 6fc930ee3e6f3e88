//! What the runtime profile's checks exercise: core's driver and executors, on the subject's manager.

mod artifacts;
mod cancelling;
mod contact;
mod failures;
mod leaving;
mod memory;
mod outcomes;
mod strangers;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Case, check};

pub(super) static D1: &[Case] = &[
    Case::new(
        "a stranger, garbage, and spent, replayed, withdrawn and foreign tickets are refused while tasks run on",
        check!(strangers::tickets),
    )
    .deadlines(&[DeadlineName::Settle]),
    Case::new("another application's valid certificate is refused", check!(strangers::certificates))
        .deadlines(&[DeadlineName::Settle]),
    Case::new("a thousand half-open connections keep no executor out", check!(strangers::half_open))
        .deadlines(&[DeadlineName::Settle])
        .alone(),
];

pub(super) static D2: &[Case] =
    &[Case::new("another protocol's number is refused, and both are named", check!(strangers::protocol))];

pub(super) static D3: &[Case] = &[
    Case::new("of many tasks each runs once and gives its own value once", check!(outcomes::each_once))
        .deadlines(&[DeadlineName::Settle]),
    Case::new(
        "with an executor killed among them, each task gives its own value once",
        check!(outcomes::across_a_kill),
    )
    .deadlines(&[DeadlineName::Settle]),
    Case::new(
        "doubled, foreign, unknown, contradictory and late answers of an executor made by hand change nothing",
        check!(outcomes::by_hand),
    )
    .deadlines(&[DeadlineName::Settle]),
];

pub(super) static D4: &[Case] = &[
    Case::new("a failing task is tried to its limit, on another executor in between", check!(failures::limit))
        .deadlines(&[DeadlineName::Settle]),
    Case::new(
        "an attempt lost to `kill -9` from outside does not count; a poison task ends at the cap of lost ones",
        check!(failures::lost),
    )
    .deadlines(&[DeadlineName::Settle]),
];

pub(super) static D5: &[Case] = &[
    Case::new(
        "a panic fails its attempt with its message and disturbs no neighbour",
        check!(failures::panic),
    )
    .deadlines(&[DeadlineName::Settle]),
    Case::new(
        "an exit, an abort and a stack overflow fail their attempt, and say what it was",
        check!(failures::deaths),
    )
    .deadlines(&[DeadlineName::Settle]),
];

pub(super) static D6: &[Case] = &[
    Case::new(
        "a cancelled task, and a job, that heed it free their slots in the same process",
        check!(cancelling::heeded),
    )
    .deadlines(&[DeadlineName::Settle]),
    Case::new("one that ignores it loses its executor, and no other", check!(cancelling::ignored))
        .deadlines(&[DeadlineName::Settle]),
];

pub(super) static D7: &[Case] = &[
    Case::new(
        "peak memory of driver and executors does not grow with the number of tasks",
        check!(memory::flat),
    )
    .alone(),
    Case::new("a flood of single submits waits for credit", check!(memory::flood))
        .deadlines(&[DeadlineName::Settle, DeadlineName::Quiet]),
];

pub(super) static D8: &[Case] = &[
    Case::new("large arguments and results arrive whole", check!(artifacts::large))
        .deadlines(&[DeadlineName::Settle]),
    Case::new("a file with another digest than was meant starts nothing", check!(artifacts::wrong_digest))
        .deadlines(&[DeadlineName::Launch]),
];

pub(super) static D12: &[Case] = &[
    Case::new(
        "a drained executor ends what it runs, gets nothing new, and leaves; an idle one at once",
        check!(leaving::drained),
    )
    .deadlines(&[DeadlineName::Settle]),
    Case::new("a notice of the manager drains by itself", check!(leaving::noticed))
        .hooks(&[Hook::DrainNode])
        .deadlines(&[DeadlineName::Settle, DeadlineName::Fault]),
];

pub(super) static F5: &[Case] = &[
    Case::new(
        "an executor behind a cut wire is lost, its tasks run elsewhere, and it does not come back",
        check!(contact::cut_off),
    )
    .deadlines(&[DeadlineName::Settle, DeadlineName::Lease, DeadlineName::Exit]),
    Case::new(
        "an executor behind a cut wire ends itself within the lease, while its driver still hopes",
        check!(contact::ends_itself),
    )
    .deadlines(&[DeadlineName::Settle, DeadlineName::Lease, DeadlineName::Exit]),
    Case::new(
        "an exit that the manager declares ends the executor though its connection lives",
        check!(contact::declared),
    )
    .deadlines(&[DeadlineName::Settle, DeadlineName::Lease, DeadlineName::Exit]),
];

pub(super) static F6: &[Case] = &[
    Case::new("a stopped program is found and ended from outside", check!(contact::program_stopped))
        .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
    Case::new("a stopped supervisor is found and ended from outside", check!(contact::supervisor_stopped))
        .deadlines(&[DeadlineName::Settle, DeadlineName::Exit]),
    Case::new(
        "heartbeats pass a full window and a task that answers nobody",
        check!(contact::heartbeats_pass),
    ),
];
