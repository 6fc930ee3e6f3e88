//! Peak memory of a driver and its executors for a tenth of a number of tasks and for all of them (D7): it must not grow with
//! their number. Each case runs in a process of its own, with two executors of one slot; arguments have 1 KiB.
//!
//! `cargo run --release -p convoke-bench --bin convoke-memory -- [TASKS]`

use std::error::Error;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use convoke::driver::Driver;
use convoke::driver::jobs::{Job, Unordered};
use convoke::manager::Outcome;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(60);
const ARGUMENT_BYTES: usize = 1024;
const LARGE_RESULT_BYTES: usize = 8 << 10;
/// D7: a million tasks take no more than this times what a hundred thousand take.
const MOST: f64 = 1.2;

const CASES: [(&str, &str); 5] = [
    ("map", "map, results as completed"),
    ("order", "map, results in order"),
    ("stream", "stream of arguments"),
    ("pause", "map, a caller that pauses"),
    ("large", "map, results of 8 KiB"),
];

#[convoke::task]
fn first_of(bytes: Vec<u8>) -> u64 {
    bytes.first().copied().map_or(0, u64::from)
}

#[convoke::task]
fn large_of(bytes: Vec<u8>) -> Vec<u8> {
    vec![bytes.first().copied().unwrap_or(0); LARGE_RESULT_BYTES]
}

#[convoke::task]
fn process_id(_: u64) -> u32 {
    std::process::id()
}

fn main() -> ExitCode {
    convoke::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--case", case, tasks] => tasks.parse().map_err(Into::into).and_then(|tasks| measure(case, tasks)),
        [] => compare(1_000_000),
        [tasks] => tasks.replace('_', "").parse().map_err(Into::into).and_then(compare),
        _ => Err("usage: convoke-memory [TASKS]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoke-memory: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case with a tenth of the tasks and with all, and prints what they took.
fn compare(tasks: u64) -> Result<()> {
    println!(
        "peak MiB of {} and {tasks} tasks with arguments of 1 KiB; D7: at most {MOST} times as much",
        tasks / 10
    );
    let mut over = Vec::new();
    for (case, what) in CASES {
        let (few, many) = (in_a_process(case, tasks / 10)?, in_a_process(case, tasks)?);
        for (who, few, many) in [("driver", few.0, many.0), ("executor", few.1, many.1)] {
            let ratio = many / few;
            println!("{what:<28} {who:<9} {few:>7.1} {many:>7.1}  × {ratio:.2}");
            if ratio > MOST {
                over.push(format!("{what}, {who}: × {ratio:.2}"));
            }
        }
    }
    if over.is_empty() { Ok(()) } else { Err(format!("over the limit: {}", over.join("; ")).into()) }
}

/// Peaks of the driver and of the executor that took most, in MiB.
fn in_a_process(case: &str, tasks: u64) -> Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--case", case, &tasks.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let printed = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers.as_slice() {
        [driver, executor] if output.status.success() => Ok((*driver, *executor)),
        _ => Err(format!("{case} with {tasks} tasks failed: {printed}").into()),
    }
}

fn measure(case: &str, tasks: u64) -> Result<()> {
    let driver = Driver::builder().master("local-cluster[2,1,512MiB]").executors(2).executor_memory("512MiB");
    let driver = driver.start_blocking()?;
    convoke::block_on(driver.wait_ready(2, SOON))?;
    let arguments = (0..tasks).map(|x| vec![x as u8; ARGUMENT_BYTES]);
    let count = match case {
        "map" => unordered(driver.map(first_of, arguments).unordered())?,
        "order" => in_order(driver.map(first_of, arguments))?,
        "stream" => unordered(driver.stream(first_of, tokio_stream::iter(arguments)).unordered())?,
        "pause" => pausing(driver.map(first_of, arguments).unordered())?,
        "large" => unordered(driver.map(large_of, arguments).unordered())?,
        _ => return Err(format!("there is no case {case}").into()),
    };
    if count != tasks {
        return Err(format!("{count} results of {tasks} tasks").into());
    }
    let mut processes = driver.map(process_id, 0..1000).wait()?;
    processes.sort_unstable();
    processes.dedup();
    let mut executor: f64 = 0.0;
    for process in processes {
        executor = executor.max(peak_mib(&process.to_string())?);
    }
    println!("{} {executor}", peak_mib("self")?);
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON))?;
    Ok(())
}

fn unordered<F: convoke::task::TaskFunction>(mut results: Unordered<F>) -> Result<u64>
where
    convoke::Error: From<convoke::task::TaskError<F::Error>>,
{
    let mut count = 0;
    while let Some(batch) = convoke::block_on(results.next_batch()) {
        for (_, value) in batch {
            value.map_err(convoke::Error::from)?;
            count += 1;
        }
    }
    Ok(count)
}

fn in_order(mut results: Job<first_of>) -> Result<u64> {
    let mut count = 0;
    while let Some(value) = convoke::block_on(results.next()) {
        value?;
        count += 1;
    }
    Ok(count)
}

/// Takes nothing for a second, then a tenth at a time with pauses between.
fn pausing(mut results: Unordered<first_of>) -> Result<u64> {
    let mut count = 0;
    let mut pause_at = 0;
    std::thread::sleep(Duration::from_secs(1));
    while let Some(batch) = convoke::block_on(results.next_batch()) {
        for (_, value) in batch {
            value?;
            count += 1;
        }
        if count >= pause_at {
            pause_at += 100_000;
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    Ok(count)
}

/// The most memory that a process ever had resident.
fn peak_mib(process: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
