//! Counts the instructions that a decision of the pure machines takes, under callgrind, and compares them with those that are
//! recorded: unlike a time, a count is the same on a busy machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use convoke_bench::machines::{WORKLOADS, Workload};
use serde::{Deserialize, Serialize};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// More than so much of the recorded count is a regression.
const MOST: f64 = 1.10;
/// Ten times the work may cost so much more for each thing.
const FLAT: f64 = 1.5;

/// Counts the instructions of the pure machines' decisions (callgrind), and compares them with bench/instructions.json.
///
/// Exit status 1: one takes more than a tenth more than was recorded, or ten times the work costs more than half as much again
/// for each thing. Counts of another compiler than the recorded ones are shown and not compared.
#[derive(Parser)]
#[command(name = "convoke-machines", version, after_help = "Needs valgrind. Build it with --release.")]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,

    /// Records the counts instead
    #[arg(long)]
    record: bool,

    /// Where they are recorded
    #[arg(long, value_name = "FILE", default_value = "bench/instructions.json")]
    baseline: PathBuf,
}

#[derive(Subcommand)]
enum Part {
    /// Times every workload with its work, ten and a hundred times as much: what one thing costs must stay nearly the same
    Time {
        /// Rounds; the best counts
        #[arg(long, value_name = "N", default_value_t = 5)]
        rounds: u32,
    },
    /// Does one workload once, for a profiler to watch
    Run {
        /// One of schedule, allocate, carry
        workload: String,
        /// How much of it
        size: u64,
    },
}

/// What is recorded.
#[derive(Debug, Serialize, Deserialize)]
struct Counts {
    rustc: String,
    machine: String,
    /// Instructions of one thing, by workload.
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.part {
        Some(Part::Run { workload, size }) => run(workload, *size).map(|()| true),
        Some(Part::Time { rounds }) => time(*rounds),
        None => compare(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("convoke-machines: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, size: u64) -> Result<()> {
    let workload =
        WORKLOADS.iter().find(|workload| workload.name == name).ok_or("there is no such workload")?;
    if size > 0 {
        (workload.run)(size)?;
    }
    Ok(())
}

/// Whether ten times the work costs about as much for each thing. A hundred times is more than caches hold: it is shown.
#[expect(clippy::disallowed_methods, reason = "a benchmark")]
fn time(rounds: u32) -> Result<bool> {
    let mut flat = true;
    println!("{:<10} {:>10} {:>12} {:>8}", "workload", "things", "ns each", "× least");
    for workload in &WORKLOADS {
        let mut least = None;
        for times in [1, 10, 100] {
            let size = workload.size * times;
            let mut each = f64::INFINITY;
            for _ in 0..rounds.max(1) {
                let start = std::time::Instant::now();
                (workload.run)(size)?;
                each = each.min(start.elapsed().as_secs_f64() * 1e9 / size as f64);
            }
            let ratio = each / *least.get_or_insert(each);
            flat &= times > 10 || ratio <= FLAT;
            println!("{:<10} {size:>10} {each:>12.1} {ratio:>8.2}", workload.name);
        }
    }
    Ok(flat)
}

fn compare(options: &Options) -> Result<bool> {
    let rustc = Command::new("rustc").arg("--version").output()?;
    let rustc = String::from_utf8(rustc.stdout)?.trim().to_owned();
    let machine = std::env::consts::ARCH.to_owned();
    let mut now = Counts { rustc, machine, instructions: BTreeMap::new() };
    let recorded = if options.record { None } else { Some(read(&options.baseline)?) };
    let compared = recorded
        .as_ref()
        .filter(|recorded| (&recorded.rustc, &recorded.machine) == (&now.rustc, &now.machine));
    if let (Some(recorded), None) = (&recorded, compared) {
        println!(
            "NOT COMPARED: recorded with {} on {}; this is {} on {}. Record anew: convoke-machines --record",
            recorded.rustc, recorded.machine, now.rustc, now.machine
        );
    }
    let mut fine = true;
    println!(
        "{:<10} {:>14} {:>14} {:>8} {:>14}",
        "workload", "instructions", "recorded", "ratio", "with 10 × work"
    );
    for workload in &WORKLOADS {
        let (each, flat) = measure(workload)?;
        let before = recorded.as_ref().and_then(|recorded| recorded.instructions.get(workload.name).copied());
        let ratio = before.map(|before| each / before);
        let mut verdict = String::new();
        if ratio.is_some_and(|ratio| compared.is_some() && ratio > MOST) {
            verdict =
                format!(" REGRESSION: more than {:.0} % more a {}", (MOST - 1.0) * 100.0, workload.unit);
        } else if ratio.is_some_and(|ratio| compared.is_some() && ratio < 1.0 / MOST) {
            verdict = " better: record it (convoke-machines --record)".to_owned();
        } else if compared.is_some() && before.is_none() {
            verdict = " never recorded".to_owned();
        }
        if flat > FLAT {
            verdict.push_str(" NOT FLAT");
        }
        fine &= !verdict.contains("REGRESSION") && !verdict.contains("NOT FLAT");
        let of =
            |value: Option<f64>, digits| value.map(|value| format!("{value:.digits$}")).unwrap_or_default();
        println!(
            "{:<10} {each:>14.0} {:>14} {:>8} {:>13.2}×{verdict}",
            workload.name,
            of(before, 0),
            of(ratio, 3),
            flat
        );
        now.instructions.insert(workload.name.to_owned(), each.round());
    }
    if options.record {
        std::fs::write(&options.baseline, serde_json::to_string_pretty(&now)? + "\n")?;
    }
    Ok(fine)
}

fn read(file: &Path) -> Result<Counts> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Instructions of one thing, and how much more one takes among ten times as many.
fn measure(workload: &Workload) -> Result<(f64, f64)> {
    let start = count(workload.name, 0)?;
    let little = (count(workload.name, workload.size)? - start) / workload.size as f64;
    let much = (count(workload.name, workload.size * 10)? - start) / (workload.size * 10) as f64;
    Ok((little, much / little))
}

fn count(workload: &str, size: u64) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["run", workload, &size.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind can't be started: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("{workload} under valgrind ended with {}:\n{said}", output.status).into()),
    }
}
