//! What is measured in which order.

use std::fmt::Display;

use crate::figures::{Figures, short};
use crate::options::{Group, Options};
use crate::rows::{self, Shape, bytes, ends, held, killed, soak, stopped, tasks};
use crate::{Result, floor, machine, now, peers};

/// Mebibytes that go each way.
const MEBIBYTES: u64 = 256;
/// Executors × slots.
const SHAPES: [(u32, u32); 5] = [(1, 1), (2, 1), (2, 4), (8, 1), (32, 1)];
const SOAK_RUNS: u32 = 20;

/// Runs all that is asked for; whether everything could be measured.
pub(crate) fn run(options: &Options) -> Result<bool> {
    if cfg!(debug_assertions) {
        eprintln!("convoke-bench: built without --release: the figures say nothing");
    }
    let machine = machine::facts();
    let mut run = Run { figures: Figures::default(), round: String::new() };
    let systems = if options.peers { peers::prepare(&mut run.figures) } else { Vec::new() };
    for round in 1..=options.rounds {
        run.round = format!("round {round} of {}", options.rounds);
        run.round(options, round);
        for system in &systems {
            run.try_rows(system.name(), |figures| system.measure(figures));
        }
    }
    let json = run.figures.json(&machine);
    if let Some(file) = &options.save {
        std::fs::write(file, format!("{json:#}\n"))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if options.json {
        println!("{json:#}");
    } else {
        print!("{}", run.figures.text(&machine));
    }
    Ok(run.figures.all_measured())
}

/// Nothing but the soak; whether no stream broke.
pub(crate) fn soak(options: &Options, runs: u32) -> Result<bool> {
    let mut figures = Figures::default();
    soaked(&mut figures, runs, options.tasks)?;
    eprintln!();
    if options.json {
        println!("{:#}", figures.json(&machine::facts()));
    } else {
        print!("{}", figures.text(&machine::facts()));
    }
    Ok(figures.row("soak.broken").is_some_and(|row| row.values.iter().all(|broken| *broken == 0.0)))
}

/// Measures a group of rows, with so many no-op tasks.
type Rows = fn(&mut Figures, u64) -> Result<()>;

struct Run {
    figures: Figures,
    round: String,
}

impl Run {
    /// Rows that can't be measured don't keep others from it.
    fn try_rows(&mut self, what: &str, rows: impl FnOnce(&mut Figures) -> Result<()>) {
        eprint!("{}: {what} …", self.round);
        let start = now();
        match rows(&mut self.figures) {
            Ok(()) => eprintln!(" {:.1} s", start.elapsed().as_secs_f64()),
            Err(error) => {
                eprintln!(" FAILED: {error}");
                self.figures.failed(&format!("{what}, {}", self.round), &error as &dyn Display);
            }
        }
    }

    fn round(&mut self, options: &Options, round: u32) {
        let once = round == 1;
        let all: [(Group, &str, bool, Rows); 11] = [
            (Group::Floor, "the bare stream", true, bare),
            (Group::Start, "executors ready", true, start),
            (Group::Noop, "no-op tasks", true, noop),
            (Group::Single, "one task there and back", true, single),
            (Group::Bytes, "large values", true, large),
            (Group::Shapes, "executors × slots", true, shapes),
            (Group::Ends, "parts killed", true, gone),
            (Group::Slots, "tasks of 10 ms", true, slots),
            (Group::Held, "held results", once, memory),
            (Group::Stopped, "a stopped program", once, stop),
            (Group::Soak, "soak", once, |figures, tasks| soaked(figures, SOAK_RUNS, tasks)),
        ];
        for (group, what, now, rows) in all {
            if now && options.wants(group) {
                self.try_rows(what, |figures| rows(figures, options.tasks));
            }
        }
    }
}

fn bare(figures: &mut Figures, tasks: u64) -> Result<()> {
    for processes in [1, 2, 8] {
        let what = format!("floor: {processes} bare processes connected");
        figures.add(&format!("floor.start.{processes}"), &what, "ms", floor::start(processes)?);
    }
    let streams = floor::streams(tasks.max(1_000_000), MEBIBYTES)?;
    figures.add("floor.noop", "floor: tasks, 64 a message", "/s", streams.tasks_per_second);
    figures.add("floor.p50", "floor: ping-pong, p50", "µs", streams.ping_pong.0);
    figures.add("floor.p99", "floor: ping-pong, p99", "µs", streams.ping_pong.1);
    figures.add(
        "floor.pause.p50",
        "floor: ping-pong after a pause of 2 ms, p50",
        "µs",
        streams.after_a_pause.0,
    );
    figures.add(
        "floor.pause.p99",
        "floor: ping-pong after a pause of 2 ms, p99",
        "µs",
        streams.after_a_pause.1,
    );
    figures.add("floor.results", "floor: results of 1 MiB", "MB/s", streams.results);
    figures.add("floor.arguments", "floor: arguments of 1 MiB", "MB/s", streams.arguments);
    let broadcast_ms = 128.0 * 1.048_576 / streams.arguments * 1e3;
    figures.add("floor.broadcast", "floor: 128 MiB of arguments", "ms", broadcast_ms);
    Ok(())
}

fn start(figures: &mut Figures, _: u64) -> Result<()> {
    for executors in [2, 8] {
        // A start is short, and its time scatters: five of them a round.
        for _ in 0..5 {
            let what = format!("{executors} executors ready, from nothing");
            figures.add(&format!("start.{executors}"), &what, "ms", rows::start(executors)?);
        }
    }
    Ok(())
}

fn noop(figures: &mut Figures, count: u64) -> Result<()> {
    let map = tasks::map(Shape::USUAL, count)?;
    figures.add("noop", "no-op tasks, as completed", "/s", map.tasks_per_second);
    figures.add("noop.in-order", "no-op tasks, in order", "/s", map.in_order_per_second);
    figures.add("cpu", "processor time of a no-op, all processes", "µs", map.cpu_us);
    Ok(())
}

fn shapes(figures: &mut Figures, count: u64) -> Result<()> {
    for tls in [true, false] {
        for (executors, slots) in SHAPES {
            let word = if tls { "mutual TLS" } else { "no TLS" };
            let map = tasks::map(Shape { executors, slots, tls }, count)?;
            let key = format!("noop.{executors}x{slots}.{}", if tls { "tls" } else { "plain" });
            let what = format!("no-op tasks, {executors} × {slots}, {word}");
            figures.add(&key, &what, "/s", map.tasks_per_second);
        }
    }
    Ok(())
}

fn single(figures: &mut Figures, _: u64) -> Result<()> {
    let single = tasks::single(2000)?;
    for (key, what, latency) in [
        ("single", "one task, back to back", single.back_to_back),
        ("pause", "one task after a pause of 2 ms", single.after_a_pause),
        ("chain", "one task with the last one's result", single.chained),
    ] {
        figures.add(&format!("{key}.p50"), &format!("{what}, p50"), "µs", latency.p50);
        figures.add(&format!("{key}.p99"), &format!("{what}, p99"), "µs", latency.p99);
    }
    Ok(())
}

fn large(figures: &mut Figures, _: u64) -> Result<()> {
    let (results, arguments) = bytes::throughput(MEBIBYTES)?;
    figures.add("results", "results of 1 MiB", "MB/s", results);
    figures.add("arguments", "arguments of 1 MiB", "MB/s", arguments);
    figures.add("broadcast", "64 MiB shared with 2 executors", "ms", bytes::broadcast()?);
    Ok(())
}

fn slots(figures: &mut Figures, _: u64) -> Result<()> {
    figures.add("slots", "2,000 tasks of 10 ms on 2 slots", "s", tasks::sleeps(2000)?);
    let killed = killed::run(2000)?;
    figures.add("killed", "the same, a program killed half-way", "s", killed.seconds);
    figures.add("replaced", "kill until a replacement has run a task", "ms", killed.replaced_ms);
    figures.add("killed.twice", "tasks that began twice", "tasks", killed.twice as f64);
    Ok(())
}

fn memory(figures: &mut Figures, _: u64) -> Result<()> {
    let some = held::run(100_000)?;
    figures.add("held.100000", "driver memory of each of 100,000 held results", "B", some.mb * 1e6 / 1e5);
    let many = held::run(1_000_000)?;
    figures.add("held.1000000.mb", "driver memory of 1,000,000 held results", "MB", many.mb);
    figures.add("held.1000000.peak", "the peak as they came", "MB", many.peak_mb);
    figures.add("held.1000000.left", "left when they were taken and dropped", "MB", many.left_mb);
    Ok(())
}

fn soaked(figures: &mut Figures, runs: u32, tasks: u64) -> Result<()> {
    let mut all_broken = 0;
    for run in 1..=runs {
        let (broken, seconds) = soak::run(tasks)?;
        all_broken += broken;
        eprint!(" {run}");
        figures.add("soak.seconds", &format!("{} tasks, again and again", short(tasks as f64)), "s", seconds);
    }
    let what = format!("broken streams in {runs} runs");
    figures.add("soak.broken", &what, "", all_broken as f64);
    Ok(())
}

fn gone(figures: &mut Figures, _: u64) -> Result<()> {
    use ends::Victim::{Driver, Program, Supervisor};
    for (key, what, victim, ignoring) in [
        ("gone.driver", "driver killed: all of 2 executors gone", Driver, false),
        ("gone.supervisor", "supervisor killed: all of its executor gone", Supervisor, false),
        ("gone.program", "program killed: all of its executor gone", Program, false),
        ("gone.ignoring", "driver killed, grandchildren ignore TERM: all gone", Driver, true),
    ] {
        figures.add(key, what, "s", ends::run(victim, ignoring)?);
    }
    Ok(())
}

fn stop(figures: &mut Figures, _: u64) -> Result<()> {
    let stopped = stopped::run()?;
    figures.add("stopped.known", "a program stopped under load: known after, of its 3 s", "", stopped.known);
    figures.add("stopped.rerun", "its tasks have run elsewhere, after that", "s", stopped.rerun);
    Ok(())
}
