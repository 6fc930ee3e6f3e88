//! Damaged and made-up streams against the RecordIO decoder, the protobuf decoder and the scheduler behind them.
//!
//! `cargo test -p convoke-mesos --test fuzz` runs for 60 s; `-- --seconds 3600` for an hour. Begins with real streams and with
//! made-up events, damages them (bits, bytes, lengths, cuts, splices), and holds what comes out against what must be true:
//!
//! - framing: whatever the cuts, the decoder gives what a plain one gives for the whole, and keeps no more than came;
//! - messages: nothing panics, and what was read can be written and read again as the same;
//! - the scheduler: each offer is answered exactly once, an executor exits at most once, and nothing is told of it after that.
//!
//! There is no coverage feedback. A failure names its seed: `-- --seed N` runs that case alone.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "all of it is test code; helpers too")]

mod damage;
mod framing;
mod messages;
mod scheduling;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use damage::Random;

const SECONDS: u64 = 60;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|it| it == "--list") {
        println!("fuzz: test");
        return ExitCode::SUCCESS;
    }
    let number = |flag: &str| {
        let place = arguments.iter().position(|it| it == flag)?;
        arguments.get(place + 1)?.parse::<u64>().ok()
    };
    let streams = damage::real_streams();
    if let Some(seed) = number("--seed") {
        case(seed, &streams);
        return ExitCode::SUCCESS;
    }
    let time = Duration::from_secs(number("--seconds").unwrap_or(SECONDS));
    let first = u64::from(std::process::id()) << 32
        | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    let (began, mut cases) = (Instant::now(), 0_u64);
    while began.elapsed() < time {
        let seed = first.wrapping_add(cases);
        if std::panic::catch_unwind(|| case(seed, &streams)).is_err() {
            eprintln!(
                "failed after {cases} cases; this one again: cargo test -p convoke-mesos --test fuzz -- --seed {seed}"
            );
            return ExitCode::FAILURE;
        }
        cases += 1;
    }
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned();
    println!(
        "{cases} cases in {:.0} s from seed {first}, none failed; peak memory {peak}",
        began.elapsed().as_secs_f64()
    );
    // lengths are never believed: megabytes that were announced and never came would show here
    let kib = peak.trim_end_matches(" kB").parse::<u64>().unwrap_or(0);
    assert!(kib < 512 << 10, "{peak} were taken");
    ExitCode::SUCCESS
}

fn case(seed: u64, streams: &[Vec<u8>]) {
    let mut random = Random::new(seed);
    match random.below(3) {
        0 => framing::case(&mut random, streams),
        1 => messages::case(&mut random, streams),
        _ => scheduling::case(&mut random, streams),
    }
}
