//! The program of an executor is killed while it works.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Shape, check, end};
use crate::{Result, now};

/// Notes in the file that it has begun, so that one that begins twice is seen.
#[convoke::task]
fn noted((file, index): (String, u64)) -> std::result::Result<(u64, u32), String> {
    let note = || {
        let mut file = std::fs::OpenOptions::new().append(true).open(&file)?;
        file.write_all(format!("{index}\n").as_bytes())
    };
    note().map_err(|error: std::io::Error| error.to_string())?;
    std::thread::sleep(Duration::from_millis(10));
    Ok((index, std::process::id()))
}

pub(crate) struct Killed {
    /// The whole job.
    pub(crate) seconds: f64,
    /// From the kill until a task of the replacement has ended.
    pub(crate) replaced_ms: f64,
    /// Tasks that began more than once.
    pub(crate) twice: u64,
}

/// So many tasks of 10 ms on two slots; half-way one of the two programs is killed.
pub(crate) fn run(tasks: u64) -> Result<Killed> {
    let driver = Shape::USUAL.driver()?;
    let notes = tempfile::NamedTempFile::new()?;
    let path = notes.path().display().to_string();
    let start = now();
    let mut results = driver.map(noted, (0..tasks).map(move |index| (path.clone(), index))).unordered();
    let mut known = BTreeSet::new();
    let (mut count, mut sum) = (0, 0);
    let mut killed_at = None;
    let mut replaced_ms = None;
    while let Some((_, result)) = convoke::block_on(results.next()) {
        let (index, process) = result?;
        sum += index;
        count += 1;
        if known.insert(process)
            && let Some(at) = killed_at
        {
            replaced_ms.get_or_insert_with(|| now().duration_since(at).as_secs_f64() * 1e3 - 10.0);
        }
        if count == tasks / 2 {
            let victim = Pid::from_raw(process.cast_signed()).ok_or("a process without a number")?;
            kill_process(victim, Signal::KILL)?;
            killed_at = Some(now());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    check("the results' sum", sum, tasks * (tasks - 1) / 2)?;
    let begun = std::fs::read_to_string(notes.path())?.lines().count() as u64;
    end(driver)?;
    let replaced_ms = replaced_ms.ok_or("no replacement ran a task")?;
    Ok(Killed { seconds, replaced_ms, twice: begun - tasks })
}
