//! Convoke's own figures. Clocks run from the public call to its result in the caller's hands.

use std::error::Error;
use std::time::{Duration, Instant};

use convoke::driver::Driver;
use convoke::manager::Outcome;

use crate::figures::quantile;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SOON: Duration = Duration::from_secs(60);

#[convoke::task]
fn index(x: u64) -> u64 {
    x
}

#[convoke::task]
fn process(_: u64) -> u32 {
    std::process::id()
}

#[convoke::task]
fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[expect(clippy::disallowed_methods, reason = "a benchmark")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn driver(executors: u32) -> Result<Driver> {
    let driver = Driver::builder()
        .master(format!("local-cluster[{executors},1,256MiB]"))
        .executors(executors)
        .start_blocking()?;
    convoke::block_on(driver.wait_ready(executors as usize, SOON))?;
    Ok(driver)
}

fn end(driver: Driver) -> Result<()> {
    Ok(convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON))?)
}

/// Milliseconds until so many executors take tasks.
pub(crate) fn ready(executors: u32) -> Result<f64> {
    let start = now();
    let driver = driver(executors)?;
    let taken = start.elapsed();
    end(driver)?;
    Ok(taken.as_secs_f64() * 1e3)
}

pub(crate) struct Map {
    pub(crate) tasks_per_second: f64,
    pub(crate) in_order_per_second: f64,
    pub(crate) cpu_us: f64,
}

pub(crate) fn map(tasks: u64) -> Result<Map> {
    let before = cpu_seconds()?;
    let driver = driver(2)?;
    let mut processes = driver.map(process, 0..1000).wait()?;
    processes.sort_unstable();
    processes.dedup();
    if processes.len() != 2 || processes.contains(&std::process::id()) {
        return Err(format!("tasks ran in {processes:?}").into());
    }
    let expected = tasks * (tasks - 1) / 2;

    let start = now();
    let mut results = driver.map(index, 0..tasks).unordered();
    let mut sum = 0;
    while let Some(batch) = convoke::block_on(results.next_batch()) {
        for (_, value) in batch {
            sum += value?;
        }
    }
    let taken = start.elapsed();
    check(sum, expected)?;

    let start = now();
    let values = driver.map(index, 0..tasks).wait()?;
    let in_order = start.elapsed();
    check(values.iter().sum(), expected)?;
    drop(values);
    end(driver)?;
    // After the end all executors have been waited for, so that their time is counted.
    let cpu = cpu_seconds()?;
    Ok(Map {
        tasks_per_second: tasks as f64 / taken.as_secs_f64(),
        in_order_per_second: tasks as f64 / in_order.as_secs_f64(),
        cpu_us: (cpu - before) * 1e6 / (2 * tasks) as f64,
    })
}

/// Processor time of this process and of all descendants that have been waited for.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("no /proc/self/stat")?.1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

fn check(sum: u64, expected: u64) -> Result<()> {
    if sum == expected {
        Ok(())
    } else {
        Err(format!("the results sum to {sum} instead of {expected}").into())
    }
}

pub(crate) struct Single {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// One task there and back, one after the other.
pub(crate) fn single(rounds: u64) -> Result<Single> {
    let driver = driver(2)?;
    for x in 0..200 {
        driver.submit(index, x).wait()?;
    }
    let mut times = Vec::new();
    for x in 0..rounds {
        let start = now();
        let value = driver.submit(index, x).wait()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
        check(value, x)?;
    }
    end(driver)?;
    Ok(Single { p50_us: quantile(&times, 0.5), p99_us: quantile(&times, 0.99) })
}

pub(crate) fn sleeps(tasks: u64) -> Result<f64> {
    let driver = driver(2)?;
    let start = now();
    let done = driver.map(sleep_ms, (0..tasks).map(|_| 10)).wait()?;
    let taken = start.elapsed();
    check(done.len() as u64, tasks)?;
    end(driver)?;
    Ok(taken.as_secs_f64())
}
