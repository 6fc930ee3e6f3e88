//! Measures convoke as its users run it (public API, separate processes, mutual TLS on), and a bare tonic stream between the same
//! number of processes in the same run. Absolute figures drift between machines and minutes: compare ratios of one run.
//!
//! `cargo run --release -p convoke-bench -- [--tasks N] [--rounds N] [--only NAME]`

mod figures;
mod floor;
mod measure;

use std::process::ExitCode;

use figures::Table;

const HELP: &str = "Measures convoke beside a bare tonic stream, in one run: medians, ranges and ratios.

  --tasks N    no-op tasks a round [default: 1000000]
  --rounds N   rounds [default: 3]
  --only NAME  one of floor, start, map, single, slots (ratios need floor, too)";

struct Options {
    tasks: u64,
    rounds: usize,
    only: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { tasks: 1_000_000, rounds: 3, only: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            println!("{HELP}");
            std::process::exit(0);
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number =
            || value.replace('_', "").parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--tasks" => options.tasks = number()?.max(1),
            "--rounds" => options.rounds = usize::try_from(number()?.max(1)).unwrap_or(1),
            "--only" => options.only = Some(value),
            _ => return Err(format!("{name} is none of --tasks, --rounds, --only")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    convoke::executor::role::init();
    if let Some(address) = std::env::var_os(floor::ADDRESS) {
        return floor::peer(&address.to_string_lossy());
    }
    match options().map_err(Into::into).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoke-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut table = Table::default();
    for _ in 0..options.rounds {
        if wanted("floor") {
            let floor = floor::measure(options.tasks.max(1_000_000))?;
            table.add("floor: tasks/s, 64 a message", floor.tasks_per_second);
            table.add("floor: ping-pong p50, µs", floor.p50_us);
            table.add("floor: ping-pong p99, µs", floor.p99_us);
            table.add("floor: 2 processes connected, ms", floor.connected_ms);
        }
        if wanted("start") {
            table.add("2 executors ready, ms", measure::ready(2)?);
            table.add("8 executors ready, ms", measure::ready(8)?);
        }
        if wanted("map") {
            let map = measure::map(options.tasks)?;
            table.add("map: no-op tasks/s", map.tasks_per_second);
            table.add("map: CPU per task, all processes, µs", map.cpu_us);
            table.add("map: in order, tasks/s", map.in_order_per_second);
        }
        if wanted("single") {
            let single = measure::single(2000)?;
            table.add("one task p50, µs", single.p50_us);
            table.add("one task p99, µs", single.p99_us);
        }
        if wanted("slots") {
            table.add("2,000 tasks of 10 ms on 2 slots, s", measure::sleeps(2000)?);
        }
    }
    table.ratio("map: no-op tasks/s", "floor: tasks/s, 64 a message", "goal ≥ 0.05");
    table.ratio("one task p50, µs", "floor: ping-pong p50, µs", "goal ≤ 3");
    table.ratio("one task p99, µs", "floor: ping-pong p99, µs", "goal ≤ 3");
    table.ratio("2 executors ready, ms", "floor: 2 processes connected, ms", "goal ≤ 8");
    print!("{table}");
    Ok(())
}
