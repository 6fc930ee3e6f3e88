//! A whole cluster in one thread, driven by a seed.

pub(crate) mod driver;
pub(crate) mod faults;
pub(crate) mod node;
pub(crate) mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use faults::{Schedule, shrink};
use world::World;

/// Runs one schedule; the message of what didn't hold, where something didn't.
pub(crate) fn try_schedule(schedule: &Schedule) -> Result<u64, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(schedule))).map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

/// Runs one seed; for a failure, the smallest schedule that still fails, and how to run it again.
pub(crate) fn try_seed(seed: u64, trace: bool) -> Result<u64, String> {
    let schedule = Schedule::of_seed(seed);
    try_schedule(&schedule).map_err(|first| {
        let least = shrink(&schedule, |schedule| try_schedule(schedule).is_err());
        let why = try_schedule(&Schedule { trace, ..least.clone() }).err().unwrap_or(first);
        format!(
            "seed {seed} fails: {why}\nthe least that fails so: {} steps with {:?}\n\
             run it again: cargo bench -p convoke-standalone --bench simulate -- --seed {seed} --trace",
            least.steps, least.faults
        )
    })
}
