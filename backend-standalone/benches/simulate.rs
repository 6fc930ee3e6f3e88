//! Runs many seeds of the simulation: `cargo bench -p convoke-standalone --bench simulate -- --seeds 100000`.

use std::process::ExitCode;
use std::time::Instant;

#[path = "../tests/simulation/mod.rs"]
mod simulation;

const HELP: &str = "Runs a simulated cluster (real decisions, made-up processes and links) through seeded schedules of faults.

  --seeds N   so many seeds, counted up from the first (10000)
  --first S   the first seed (0)
  --seed S    this seed alone, with its failure in full
  --trace     with --seed: every message of the least schedule that fails

Exit code 1 where a seed fails: it is shrunk, and told with the command that runs it again.";

#[expect(clippy::disallowed_methods, reason = "a program that reports seeds per second")]
fn main() -> ExitCode {
    let (mut seeds, mut first, mut one, mut trace) = (10_000_u64, 0_u64, None, false);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse::<u64>().ok());
        let read = match argument.as_str() {
            "--seeds" => number().map(|value| seeds = value),
            "--first" => number().map(|value| first = value),
            "--seed" => number().map(|value| one = Some(value)),
            "--trace" => {
                trace = true;
                Some(())
            }
            _ => None,
        };
        if read.is_none() {
            eprintln!("{HELP}");
            return ExitCode::from(2);
        }
    }
    if let Some(seed) = one {
        return match simulation::try_seed(seed, trace) {
            Ok(steps) => {
                println!("seed {seed} holds over {steps} steps");
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    let (mut failures, mut steps) = (0, 0);
    for seed in first..first + seeds {
        match simulation::try_seed(seed, false) {
            Ok(run) => steps += run,
            Err(why) => {
                failures += 1;
                eprintln!("{why}\n");
            }
        }
        if (seed - first) % 1000 == 999 {
            let done = seed - first + 1;
            eprintln!(
                "{done} of {seeds} seeds, {:.0} a second",
                done as f64 / started.elapsed().as_secs_f64()
            );
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {failures} failed, {:.0} seeds a second, {:.2} M steps",
        seeds as f64 / seconds,
        steps as f64 / 1e6
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
