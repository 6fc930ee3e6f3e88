//! Each workload takes a number of things to decide about, drives a machine through them as its shell does, and checks what came
//! of it. One thread, no clock, no sockets: the same work each time.

mod allocation;
mod hot_path;
mod scheduling;

pub use allocation::allocate;
pub use hot_path::carry;
pub use scheduling::schedule;

/// What went wrong, in words: a workload that does other work than it should measures nothing.
pub type Checked = Result<(), String>;

/// A workload, and how much work of it is little and still tells.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What one of its things is.
    pub unit: &'static str,
    /// Little work; ten times that must cost as much for each thing.
    pub size: u64,
    /// Does so much of it.
    pub run: fn(u64) -> Checked,
}

/// All of them.
pub const WORKLOADS: [Workload; 3] = [
    Workload { name: "schedule", unit: "task", size: 10_000, run: schedule },
    Workload { name: "allocate", unit: "executor", size: 500, run: allocate },
    Workload { name: "carry", unit: "task", size: 10_000, run: carry },
];

fn same(what: &str, value: u64, expected: u64) -> Checked {
    if value == expected { Ok(()) } else { Err(format!("{what}: {value} instead of {expected}")) }
}
