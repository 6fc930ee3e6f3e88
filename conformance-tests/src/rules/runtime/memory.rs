//! D7: memory that does not grow with the number of tasks, and floods that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use convoke_core::driver::jobs::TaskOptions;
use convoke_core::units::MiB;
use convoke_core::{Error, Result};

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::runtime::subject::{Runtime, Setup};
use crate::runtime::tasks::{fill, measure};
use crate::verdict::{Checked, Evidence, Finding};

const ARGUMENT_BYTES: usize = 1024;
/// Of results of 100 KiB, so many are on their way at once.
const LARGE_WINDOW: u64 = 8;
/// What the contract allows.
const GROWTH_PERCENT: u64 = 120;

pub(super) async fn flat(context: Context) -> Checked {
    let tasks = context.sizes().tasks;
    if tasks < 1000 {
        return Err(Finding::lacks(format!(
            "at least 1,000 tasks in the harness's sizes; there are {tasks}"
        )));
    }
    // a window that both runs fill: what grows besides is what the rule forbids
    let window = (tasks / 40).clamp(1, 16_384);
    let mut evidence = Evidence::new().with("tasks", tasks).with("window", window);
    let kinds = [
        ("driver_mib_by_tenth", "driver_mib", "executor_mib_by_tenth", "executor_mib", Caller::Quick, tasks),
        (
            "paused_driver_mib_by_tenth",
            "paused_driver_mib",
            "paused_executor_mib_by_tenth",
            "paused_executor_mib",
            Caller::Pauses,
            tasks,
        ),
        (
            "large_driver_mib_by_tenth",
            "large_driver_mib",
            "large_executor_mib_by_tenth",
            "large_executor_mib",
            Caller::Large,
            LARGE_WINDOW * 40,
        ),
    ];
    for (driver_tenth, driver, executor_tenth, executor, caller, tasks) in kinds {
        // the first run of all pays for what stays: code, arenas, threads
        let _ = peak(&context, caller, tasks / 10, window).await?;
        let tenth = peak(&context, caller, tasks / 10, window).await?;
        let whole = peak(&context, caller, tasks, window).await?;
        evidence = evidence
            .with(driver_tenth, tenth.driver_mib)
            .with(driver, whole.driver_mib)
            .with(executor_tenth, tenth.executor_mib)
            .with(executor, whole.executor_mib);
        for (who, tenth, whole) in [
            ("the driver", tenth.driver_mib, whole.driver_mib),
            ("an executor", tenth.executor_mib, whole.executor_mib),
        ] {
            // 4 MiB: what an allocator gives or takes
            if whole > tenth * GROWTH_PERCENT / 100 + 4 {
                return Err(Finding::failed(
                    "grows",
                    format!(
                        "{caller:?} caller: {who} took {tenth} MiB at its peak for {} tasks and {whole} MiB for {tasks}",
                        tasks / 10
                    ),
                ));
            }
        }
    }
    Ok(evidence)
}

#[derive(Debug, Clone, Copy)]
enum Caller {
    /// Takes results as they come.
    Quick,
    /// Stops now and then.
    Pauses,
    /// Takes results of 100 KiB.
    Large,
}

struct Peak {
    driver_mib: u64,
    executor_mib: u64,
}

async fn peak(context: &Context, caller: Caller, tasks: u64, window: u64) -> Result<Peak, Finding> {
    let measured = Arc::new(std::sync::Mutex::new(None));
    let kept = measured.clone();
    Runtime::with(context, Setup { memory: MiB(256), ..Setup::of(2) }, async |runtime| {
        runtime.apart().await?;
        forget_peak()?;
        match caller {
            Caller::Quick | Caller::Pauses => {
                let arguments = (0..tasks).map(|_| vec![1_u8; ARGUMENT_BYTES]);
                let mut job = runtime
                    .driver
                    .with(TaskOptions::new().window(window))
                    .map(measure, arguments)
                    .unordered();
                let (mut over, mut pause_at) = (0, tasks / 4);
                while let Some(batch) = runtime.within("tasks go on", job.next_batch()).await? {
                    over += batch.len() as u64;
                    if let Some((_, wrong)) = batch.iter().find(|(_, value)| !matches!(value, Ok(1024))) {
                        return Err(Finding::failed("wrong value", format!("{wrong:?}")));
                    }
                    if matches!(caller, Caller::Pauses) && over >= pause_at {
                        pause_at = over + tasks / 4;
                        tokio::time::sleep(Duration::from_millis(700)).await;
                    }
                }
                counted(over, tasks)?;
            }
            Caller::Large => {
                let mut job = runtime
                    .driver
                    .with(TaskOptions::new().window(LARGE_WINDOW))
                    .map(fill, (0..tasks).map(|_| 100 << 10))
                    .unordered();
                let mut over = 0;
                while let Some(batch) = runtime.within("tasks go on", job.next_batch()).await? {
                    over += batch.len() as u64;
                }
                counted(over, tasks)?;
            }
        }
        let executors = runtime.processes().into_iter().map(peak_mib).max().flatten();
        let driver = peak_mib(std::process::id());
        let (Some(driver_mib), Some(executor_mib)) = (driver, executors) else {
            return Err(Finding::lacks("processes whose peak memory the process table tells"));
        };
        *kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(Peak { driver_mib, executor_mib });
        Ok(Evidence::new())
    })
    .await?;
    let measured = measured.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    measured.ok_or_else(|| Finding::CouldNotRun(Error::internal("nothing was measured")))
}

fn counted(over: u64, tasks: u64) -> Result<(), Finding> {
    if over == tasks {
        Ok(())
    } else {
        Err(Finding::failed("not once", format!("{over} outcomes of {tasks} tasks")))
    }
}

/// Lets the kernel forget this process's peak.
fn forget_peak() -> Result<(), Finding> {
    std::fs::write("/proc/self/clear_refs", "5")
        .map_err(|error| Finding::lacks(format!("a kernel that forgets a process's peak memory: {error}")))
}

/// The most memory that a process had resident, by the kernel's count.
fn peak_mib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}

pub(super) async fn flood(context: Context) -> Checked {
    const CREDIT: u64 = 16_384;
    const FLOOD: u64 = 20_000;
    Runtime::with(&context, Setup::of(0), async |runtime| {
        let submitted = AtomicU64::new(0);
        let calls = runtime.driver.with(TaskOptions::default());
        let quiet = runtime.context().deadline(DeadlineName::Quiet);
        let submitted = &submitted;
        let (submitting, tasks) = tokio::sync::mpsc::unbounded_channel();
        std::thread::scope(|scope| {
            let flood = scope.spawn(move || {
                for _ in 0..FLOOD {
                    let task = calls.submit(measure, vec![1; 16]);
                    submitted.fetch_add(1, Ordering::Relaxed);
                    if submitting.send(task).is_err() {
                        return;
                    }
                }
            });
            let checked = convoke_core::block_on(waits(runtime, submitted, quiet, CREDIT, FLOOD, tasks));
            drop(flood); // joined by the scope: its channel is closed, or it is done
            checked
        })
    })
    .await
}

async fn waits(
    runtime: &Runtime,
    submitted: &AtomicU64,
    quiet: Duration,
    credit: u64,
    flood: u64,
    mut tasks: tokio::sync::mpsc::UnboundedReceiver<convoke_core::driver::jobs::Task<measure>>,
) -> Checked {
    let held = async {
        runtime
            .settles("submits come to the credit", async || {
                let seen = submitted.load(Ordering::Relaxed);
                if seen >= credit { Ok(()) } else { Err(format!("{seen} submitted")) }
            })
            .await?;
        runtime
            .context()
            .never("a submit past the credit waits", quiet, async || {
                let seen = submitted.load(Ordering::Relaxed);
                (seen > credit).then(|| format!("{seen} tasks were submitted and none ended"))
            })
            .await
    }
    .await;
    // whatever came of that, the flood must run dry before its thread can end
    runtime.driver.set_executors(1).map_err(Finding::from)?;
    let mut over = 0;
    while over < flood {
        let Some(task) = runtime.within("the flood goes on", tasks.recv()).await? else { break };
        match runtime.within("a task of the flood ends", task).await? {
            Ok(16) => over += 1,
            other => return Err(Finding::failed("wrong value", format!("{other:?}"))),
        }
    }
    held?;
    counted(over, flood)?;
    Ok(Evidence::new().with("submitted_before_it_waited", credit).with("tasks", over))
}
