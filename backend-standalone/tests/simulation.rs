//! Master, workers and drivers through seeded schedules of crashes, restarts, stops, and broken, late and doubled messages.
//!
//! A fixed set of seeds, and some fresh ones at each run. `cargo bench -p convoke-standalone --bench simulate` runs as many as you like.

#[path = "simulation/mod.rs"]
mod simulation;

/// A panic of a schedule is told once, with its seed, by the assertion here.
fn quietly(run: impl FnOnce() -> Vec<String>) {
    std::panic::set_hook(Box::new(|_| {}));
    let failures = run();
    let _ = std::panic::take_hook();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_seed_keeps_the_books() {
    quietly(|| {
        let fresh = fastrand::u64(1_000_000..u64::MAX / 2);
        let seeds = (0..150).chain(fresh..fresh + 50);
        seeds.filter_map(|seed| simulation::try_seed(seed, false).err()).take(3).collect()
    });
}
