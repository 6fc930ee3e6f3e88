//! Small tasks: how many, what they cost, and how long one takes.

use std::time::Duration;

use super::{Shape, check, end};
use crate::figures::quantile;
use crate::{Result, now};

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

pub(crate) struct Map {
    pub(crate) tasks_per_second: f64,
    pub(crate) in_order_per_second: f64,
    /// Of all processes, their start and end included.
    pub(crate) cpu_us: f64,
}

pub(crate) fn map(shape: Shape, tasks: u64) -> Result<Map> {
    let before = cpu_seconds()?;
    let driver = shape.driver()?;
    let mut processes = driver.map(process, 0..u64::from(shape.executors) * 500).wait()?;
    processes.sort_unstable();
    processes.dedup();
    if processes.len() != shape.executors as usize || processes.contains(&std::process::id()) {
        return Err(format!("the tasks of {shape:?} ran in {processes:?}").into());
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
    check("the results' sum", sum, expected)?;

    let start = now();
    let values = driver.map(index, 0..tasks).wait()?;
    let in_order = start.elapsed();
    check("the results' sum", values.iter().sum(), expected)?;
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

/// p50 and p99 in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Latency {
    fn of(times: &[f64]) -> Latency {
        Latency { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
    }
}

pub(crate) struct Single {
    pub(crate) back_to_back: Latency,
    pub(crate) after_a_pause: Latency,
    pub(crate) chained: Latency,
}

/// One task there and back: one after the other, after a pause of 2 ms, and each with the last one's result.
pub(crate) fn single(tasks: u64) -> Result<Single> {
    let driver = Shape::USUAL.driver()?;
    let one = |x: u64, pause: Duration| -> Result<f64> {
        std::thread::sleep(pause);
        let start = now();
        let value = driver.submit(index, x).wait()?;
        let taken = start.elapsed();
        check("a result", value, x)?;
        Ok(taken.as_secs_f64() * 1e6)
    };
    for x in 0..200 {
        one(x, Duration::ZERO)?;
    }
    let back_to_back = (0..tasks).map(|x| one(x, Duration::ZERO)).collect::<Result<Vec<_>>>()?;
    let after_a_pause =
        (0..tasks.min(300)).map(|x| one(x, Duration::from_millis(2))).collect::<Result<Vec<_>>>()?;
    let mut chained = Vec::new();
    convoke::block_on(async {
        let mut x = 7;
        for _ in 0..tasks {
            let start = now();
            x = driver.submit(index, x).await?;
            chained.push(start.elapsed().as_secs_f64() * 1e6);
        }
        check("the chain's result", x, 7)
    })?;
    end(driver)?;
    Ok(Single {
        back_to_back: Latency::of(&back_to_back),
        after_a_pause: Latency::of(&after_a_pause),
        chained: Latency::of(&chained),
    })
}

/// Seconds for so many tasks of 10 ms on two slots.
pub(crate) fn sleeps(tasks: u64) -> Result<f64> {
    let driver = Shape::USUAL.driver()?;
    let start = now();
    let done = driver.map(sleep_ms, (0..tasks).map(|_| 10)).wait()?;
    let taken = start.elapsed();
    check("the number of results", done.len() as u64, tasks)?;
    end(driver)?;
    Ok(taken.as_secs_f64())
}
