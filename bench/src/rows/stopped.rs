//! The program of an executor is stopped (SIGSTOP) under full load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use convoke::driver::DriverEvent;
use convoke::task::TaskContext;
use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, Shape, check, end, ready};
use crate::{Result, now};

const TIME_OUT: Duration = Duration::from_secs(3);

#[convoke::task]
fn busy(index: u64) -> (u64, u32, u32) {
    let until = now() + Duration::from_millis(5);
    while now() < until {
        std::hint::spin_loop();
    }
    let attempt = TaskContext::current().map_or(0, |context| context.attempt());
    (index, std::process::id(), attempt)
}

pub(crate) struct Stopped {
    /// From the stop until the driver counts it lost, in time-outs.
    pub(crate) known: f64,
    /// From then until the last of the tasks that it held has run elsewhere, in seconds.
    pub(crate) rerun: f64,
}

/// Tasks that keep two slots busy; one of the two programs is stopped while they run.
pub(crate) fn run() -> Result<Stopped> {
    let driver = Shape::USUAL
        .builder()?
        .heartbeat_interval(Duration::from_millis(500))
        .lost_after(TIME_OUT)
        .start_blocking()?;
    ready(&driver, 2)?;
    let mut events = driver.events();
    let (lost, is_lost) = std::sync::mpsc::channel::<Instant>();
    std::thread::spawn(move || {
        while let Some(event) = convoke::block_on(events.next()) {
            if matches!(event, DriverEvent::ExecutorLost { .. }) {
                let _ = lost.send(now()); // nobody asks after the first
            }
        }
    });
    // One slot alone is busy for longer than the time-out.
    let tasks = 900;
    let mut results = driver.map(busy, 0..tasks).unordered();
    let mut processes = BTreeSet::new();
    let (mut sum, mut stopped_at) = (0, None);
    let mut rerun_at = None;
    let mut stopped = None;
    while let Some((_, result)) = convoke::block_on(results.next()) {
        let (index, process, attempt) = result?;
        sum += index;
        processes.insert(process);
        if attempt > 1 {
            rerun_at = Some(now());
        }
        if processes.len() == 2 && stopped_at.is_none() {
            let victim = Pid::from_raw(process.cast_signed()).ok_or("a process without a number")?;
            kill_process(victim, Signal::STOP)?;
            stopped_at = Some(now());
            stopped = Some(process);
        }
    }
    check("the results' sum", sum, tasks * (tasks - 1) / 2)?;
    let stopped_at = stopped_at.ok_or("only one program ran tasks")?;
    let lost_at = is_lost.recv_timeout(SOON)?;
    end(driver)?;
    if stopped.is_some_and(|number| std::path::Path::new(&format!("/proc/{number}")).exists()) {
        return Err("the stopped program is still there".into());
    }
    let rerun_at = rerun_at.ok_or("no task has run again")?;
    Ok(Stopped {
        known: lost_at.duration_since(stopped_at).as_secs_f64() / TIME_OUT.as_secs_f64(),
        rerun: rerun_at.saturating_duration_since(lost_at).as_secs_f64(),
    })
}
