//! Jobs over the local backend: what is told of them, what bounds them (D7), and what a decommissioned executor does with
//! what it runs (D12).

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use convoke::driver::jobs::TaskOptions;
use convoke::driver::{Driver, DriverEvent, DriverEvents, JobProgress, JobState};
use convoke::ids::{ExecutorId, JobId};
use convoke::manager::{Blame, Outcome, ReleaseAnswer, Then};
use convoke::task::TaskContext;

convoke::test_executor!();

const SOON: Duration = Duration::from_secs(60);

#[convoke::task]
fn next(x: u64) -> u64 {
    x + 1
}

#[convoke::task]
fn fails_at_first(context: &TaskContext, x: u64) -> Result<u64, String> {
    if context.attempt() == 1 && x.is_multiple_of(2) { Err(format!("{x} isn't ready")) } else { Ok(x) }
}

#[convoke::task]
fn odd(x: u64) -> Result<u64, String> {
    if x % 2 == 1 { Ok(x) } else { Err(format!("{x} is even")) }
}

#[convoke::task]
fn reports_until_cancelled(context: &TaskContext) {
    while !context.is_cancelled() {
        context.report_progress(0.5, "half of it");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[convoke::task]
fn repeat(count: usize) -> Vec<u8> {
    vec![7; count]
}

/// Says where it runs by a file, and ends when another one is there.
#[convoke::task]
fn between_files(context: &TaskContext, begun: PathBuf, end: PathBuf) -> (u64, u32) {
    let half = begun.with_extension("half");
    std::fs::write(&half, context.executor().0.to_string()).unwrap();
    std::fs::rename(half, begun).unwrap();
    while !end.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    (context.executor().0, context.attempt())
}

#[convoke::task]
fn where_it_runs(context: &TaskContext) -> u64 {
    context.executor().0
}

/// Waits for a condition, for a minute at the most.
#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

fn driver(executors: u32) -> Driver {
    let driver = Driver::builder_with(convoke::registry())
        .master(format!("local-cluster[{executors},1,256MiB]"))
        .executors(executors)
        .start_blocking()
        .unwrap();
    convoke::block_on(driver.wait_ready(executors as usize, SOON)).unwrap();
    driver
}

fn end(driver: Driver) {
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}

/// All that is told of one job, from what was heard until its end.
fn told_of(job: JobId, events: &mut DriverEvents) -> (Vec<JobProgress>, Vec<DriverEvent>) {
    let (mut told, mut others) = (Vec::new(), Vec::new());
    let heard = async {
        while let Some(event) = events.next().await {
            match event {
                DriverEvent::Job(progress) if progress.job == job => {
                    let over = progress.state != JobState::Running;
                    told.push(progress);
                    if over {
                        return;
                    }
                }
                other => others.push(other),
            }
        }
        panic!("the driver ended before the job: {told:?}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, heard).await }).unwrap();
    (told, others)
}

#[test]
fn a_million_tasks_are_told_in_few_words() {
    let driver = driver(2);
    let mut events = driver.events();
    let job = driver.with(TaskOptions::new().name("counting")).map(next, 0..1_000_000);
    let (id, watch) = (job.id(), job.watch());
    let begun = convoke::clock::now();
    let mut job = job.unordered();
    let mut sum = 0;
    while let Some(batch) = convoke::block_on(job.next_batch()) {
        sum += batch.into_iter().map(|(_, value)| value.unwrap()).sum::<u64>();
    }
    assert_eq!(sum, 500_000_500_000);
    let tenths = u64::try_from(convoke::clock::now().since(begun).as_millis()).unwrap() / 100;
    let (told, _) = told_of(id, &mut events);
    // The first, the last, and one in each tenth of a second.
    assert!(told.len() >= 2 && told.len() as u64 <= tenths + 3, "{} words in {tenths} tenths", told.len());
    let (first, last) = (&told[0], told.last().unwrap());
    assert_eq!((first.name.as_ref(), first.state, first.tasks.over()), ("counting", JobState::Running, 0));
    assert_eq!(
        (last.state, last.tasks.total, last.tasks.succeeded),
        (JobState::Succeeded, Some(1_000_000), 1_000_000)
    );
    assert_eq!((last.tasks.waiting, last.tasks.running, last.tasks.failed), (0, 0, 0));
    for pair in told.windows(2) {
        assert!(pair[0].tasks.succeeded <= pair[1].tasks.succeeded, "{pair:?}");
    }
    assert_eq!(watch.progress(), *last, "what is told and what is asked are the same");
    end(driver);
}

#[test]
fn failed_attempts_are_told_and_counted() {
    let driver = driver(1);
    let mut events = driver.events();
    let job = driver.map(fails_at_first, 0..10);
    let id = job.id();
    assert_eq!(job.wait().unwrap(), (0..10).collect::<Vec<_>>());
    let (told, others) = told_of(id, &mut events);
    let last = told.last().unwrap();
    assert_eq!((last.state, last.tasks.succeeded, last.tasks.retried), (JobState::Succeeded, 10, 5));
    let failures: Vec<_> = others
        .iter()
        .filter_map(|event| match event {
            DriverEvent::AttemptFailed { job, position, attempt: 1, why, again: true, .. } if *job == id => {
                Some((*position, why.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(failures.len(), 5, "{others:?}");
    assert!(failures.contains(&(4, "4 isn't ready")), "{failures:?}");

    // A task that fails for good, among others that don't.
    let mut job = driver.with(TaskOptions::new().attempts(2)).map(odd, 0..4);
    let id = job.id();
    while convoke::block_on(job.next()).is_some() {}
    let (told, _) = told_of(id, &mut events);
    let last = told.last().unwrap();
    assert_eq!(last.state, JobState::Failed);
    assert_eq!((last.tasks.succeeded, last.tasks.failed, last.tasks.retried), (2, 2, 2));
    end(driver);
}

#[test]
fn single_tasks_reports_and_cancellation_are_told() {
    let driver = driver(1);
    let mut events = driver.events();
    let task = driver.submit(next, 1);
    let id = task.job();
    assert_eq!(task.wait().unwrap(), 2);
    let (told, _) = told_of(id, &mut events);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].name.as_ref(), told[1].tasks.total), ("jobs::next", Some(1)));

    let task = driver.submit(reports_until_cancelled, ());
    let id = task.job();
    let report = convoke::block_on(async {
        loop {
            match events.next().await.unwrap() {
                DriverEvent::Job(progress) if progress.job == id && !progress.reports.is_empty() => {
                    break progress;
                }
                _ => {}
            }
        }
    });
    assert_eq!(report.tasks.running, 1);
    assert_eq!((report.reports[0].position, report.reports[0].fraction), (0, 0.5));
    assert_eq!(report.reports[0].message, "half of it");
    task.cancel();
    let (told, _) = told_of(id, &mut events);
    let last = told.last().unwrap();
    assert_eq!((last.state, last.tasks.cancelled), (JobState::Cancelled, 1));
    assert!(last.reports.is_empty(), "{last:?}");

    // A flood of single tasks leaves room for what else is told.
    let mut flood = driver.events();
    let begun = convoke::clock::now();
    let tasks: Vec<_> = (0..20_000).map(|x| driver.submit(next, x)).collect();
    for task in tasks {
        task.wait().unwrap();
    }
    let job = driver.map(next, 0..1);
    let id = job.id();
    job.wait().unwrap();
    let seconds = convoke::clock::now().since(begun).as_secs();
    let (_, others) = told_of(id, &mut flood);
    let told: u64 = others
        .iter()
        .map(|event| match event {
            DriverEvent::Lagged(missed) => *missed,
            _ => 1,
        })
        .sum();
    assert!(told <= 2 * 1000 * (seconds + 2), "{told} events in {seconds} s");
    end(driver);
}

#[test]
fn a_stream_of_arguments_gives_results_in_their_order() {
    let driver = driver(2);
    let values = driver.stream(next, futures_util::stream::iter(0..20_000)).wait().unwrap();
    assert_eq!(values, (1..=20_000).collect::<Vec<_>>());
    // One that gives its arguments one after the other, each after the result of the one before.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut job = driver.stream(next, tokio_stream::wrappers::ReceiverStream::new(receiver));
    convoke::block_on(async {
        for x in 0..100 {
            sender.send(x).await.unwrap();
            assert_eq!(job.next().await.unwrap().unwrap(), x + 1);
        }
        drop(sender);
        assert!(job.next().await.is_none());
    });
    end(driver);
}

#[test]
fn a_flood_of_single_tasks_waits_for_credit() {
    let driver = Driver::builder_with(convoke::registry())
        .ignore_environment()
        .master("local-cluster[1,1,256MiB]")
        .executors(0)
        .start_blocking()
        .unwrap();
    let driver = Arc::new(driver);
    let submitted = Arc::new(AtomicU64::new(0));
    let flood = {
        let (driver, submitted) = (Arc::clone(&driver), Arc::clone(&submitted));
        std::thread::spawn(move || {
            let submit = |x| {
                let task = driver.submit(next, x);
                submitted.fetch_add(1, Ordering::SeqCst);
                task
            };
            let tasks: Vec<_> = (0..20_000).map(submit).collect();
            tasks.into_iter().map(|task| task.wait().unwrap()).sum::<u64>()
        })
    };
    wait_until("as many as may wait are submitted", || submitted.load(Ordering::SeqCst) == 16_384);
    assert!(!flood.is_finished());
    assert_eq!(submitted.load(Ordering::SeqCst), 16_384, "no executor: not one more may pass");
    driver.set_executors(1).unwrap();
    assert_eq!(flood.join().unwrap(), (1..=20_000).sum::<u64>());
    end(Arc::into_inner(driver).unwrap());
}

#[test]
fn a_caller_that_pauses_bounds_what_is_taken_and_held() {
    let driver = driver(2);
    let taken = Arc::new(AtomicU64::new(0));
    let counting = |range: std::ops::Range<u64>| {
        let taken = Arc::clone(&taken);
        range.inspect(move |_| {
            taken.fetch_add(1, Ordering::SeqCst);
        })
    };
    let mut job = driver.map(next, counting(0..100_000));
    wait_until("all that may run has run", || job.progress().tasks.succeeded == 16_384);
    assert_eq!(taken.load(Ordering::SeqCst), 16_384, "the source waits for the caller");
    let mut sum = 0;
    while let Some(value) = convoke::block_on(job.next()) {
        sum += value.unwrap();
    }
    assert_eq!((sum, taken.load(Ordering::SeqCst)), (5_000_050_000, 100_000));

    // Large results: what is held is bounded in bytes, however many tasks the window would let run.
    let size = 64 << 10;
    let mut job = driver.map(repeat, std::iter::repeat_n(size, 3_000));
    let watch = job.watch();
    wait_until("the job pauses", || {
        let tasks = watch.progress().tasks;
        tasks.running == 0 && tasks.waiting > 0 && tasks.succeeded > 0
    });
    let held = watch.progress().tasks.succeeded * size as u64;
    // 32 MiB, and what two executors had in hand when the job paused: 1,024 tasks each at the most.
    let most = (32 << 20) + 2 * 1_024 * size as u64;
    assert!(held <= most, "{} MiB are held", held >> 20);
    let mut count = 0;
    while let Some(value) = convoke::block_on(job.next()) {
        assert_eq!(value.unwrap().len(), size);
        count += 1;
    }
    assert_eq!(count, 3_000);
    end(driver);
}

#[test]
fn a_drained_executor_finishes_what_it_runs_and_takes_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let (begun, finish) = (folder.path().join("begun"), folder.path().join("end"));
    let driver = driver(2);
    let mut events = driver.events();
    let long = driver.submit(between_files, (begun.clone(), finish.clone()));
    wait_until("the task runs", || begun.exists());
    let its: u64 = std::fs::read_to_string(&begun).unwrap().parse().unwrap();
    let answers = convoke::block_on(driver.drain(vec![ExecutorId(its)], SOON, Then::Replace)).unwrap();
    assert_eq!(answers, [(ExecutorId(its), ReleaseAnswer::Accepted)]);
    let elsewhere = driver.map(where_it_runs, std::iter::repeat_n((), 500)).wait().unwrap();
    assert!(!elsewhere.contains(&its), "it took a new task although it drains");
    std::fs::write(&finish, "").unwrap();
    assert_eq!(long.wait().unwrap(), (its, 1), "what ran there ended there, at its first attempt");
    let exit = convoke::block_on(async {
        loop {
            match events.next().await.unwrap() {
                DriverEvent::ExecutorLost { executor, exit } if executor.0 == its => break exit,
                _ => {}
            }
        }
    });
    assert_eq!(exit.blame, Blame::Nobody, "{exit}");
    convoke::block_on(driver.wait_ready(2, SOON)).unwrap();
    end(driver);
}
