//! What results cost the driver that nobody has taken yet. Measured in a process of its own.

use std::process::Command;

use convoke::driver::jobs::TaskOptions;

use super::{SOON, Shape, check, end};
use crate::{Result, now};

#[convoke::task]
fn number(x: u64) -> u64 {
    x
}

/// Megabytes that the driver has more than before.
pub(crate) struct Held {
    pub(crate) mb: f64,
    pub(crate) peak_mb: f64,
    /// Once the results have been taken and dropped.
    pub(crate) left_mb: f64,
}

/// Measures `results` held results in a new process.
pub(crate) fn run(results: u64) -> Result<Held> {
    let output =
        Command::new(std::env::current_exe()?).args(["held-results", &results.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    match figures.as_slice() {
        [mb, peak_mb, left_mb] => Ok(Held { mb: *mb, peak_mb: *peak_mb, left_mb: *left_mb }),
        _ => Err(format!("it printed {text:?}").into()),
    }
}

/// The new process: prints the figures.
pub(crate) fn child(results: u64) -> Result<()> {
    let driver = Shape::USUAL.driver()?;
    driver.map(number, 0..10_000).wait()?; // so that whatever is made once is there
    let before = resident_mb("VmRSS:")?;
    let job = driver.with(TaskOptions::new().window(results)).map(number, 0..results);
    let started = now();
    while job.progress().tasks.over() < results {
        if started.elapsed() > SOON {
            return Err("the results don't come".into());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let held = resident_mb("VmRSS:")?;
    let peak = resident_mb("VmHWM:")?;
    let values = job.wait()?;
    check("the results' sum", values.iter().sum(), results * (results - 1) / 2)?;
    drop(values);
    let left = resident_mb("VmRSS:")?;
    println!("{} {} {}", held - before, peak - before, left - before);
    end(driver)
}

fn resident_mb(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}
