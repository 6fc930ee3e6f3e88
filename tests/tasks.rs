//! Tasks in executor processes of the local backend, by the public API alone.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use convoke::driver::Driver;
use convoke::driver::jobs::TaskOptions;
use convoke::manager::Outcome;
use convoke::task::{Broadcast, Command, Permanent, TaskContext, TaskErrorKind};

convoke::test_executor!();

const SOON: Duration = Duration::from_secs(20);

#[convoke::task]
fn square(x: u64) -> u64 {
    x * x
}

#[convoke::task]
fn process_of(_: u64) -> u32 {
    std::process::id()
}

#[convoke::task]
fn divide(a: u64, b: u64) -> Result<u64, String> {
    a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
}

#[convoke::task]
fn never_again(context: &TaskContext) -> Result<(), Permanent<String>> {
    Err(Permanent(format!("attempt {}", context.attempt())))
}

#[convoke::task]
fn panics(x: u64) -> u64 {
    panic!("no {x}")
}

#[convoke::task]
fn complains(word: String) -> Result<(), String> {
    eprintln!("printed: {word}");
    tracing::info!("traced: {word}");
    Err(word)
}

#[convoke::task]
async fn slowly(context: &TaskContext, ms: u64) -> u32 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    context.attempt()
}

#[convoke::task]
fn until_cancelled(context: &TaskContext) -> bool {
    while !context.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[convoke::task]
fn repeat(byte: u8, count: usize) -> Vec<u8> {
    vec![byte; count]
}

#[convoke::task]
fn sum_of(bytes: Vec<u8>) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[convoke::task]
fn look_up(table: Broadcast<Vec<u64>>, index: usize) -> u64 {
    table.value().unwrap()[index]
}

#[convoke::task]
fn abort_once(context: &TaskContext) -> u32 {
    if context.attempt() == 1 {
        std::process::abort();
    }
    context.attempt()
}

fn driver(executors: u32) -> Driver {
    let driver = Driver::builder_with(convoke::registry())
        .master(format!("local-cluster[{executors},1,256MiB]"))
        .executors(executors)
        .start();
    let driver = convoke::block_on(driver).unwrap();
    convoke::block_on(driver.wait_ready(executors as usize, SOON)).unwrap();
    driver
}

fn end(driver: Driver) {
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}

#[test]
fn a_function_is_still_a_function() {
    assert_eq!(square(3), 9);
    assert_eq!(divide(1, 0), Err("division by zero".to_owned()));
}

#[test]
fn tasks_run_in_other_processes() {
    let driver = driver(2);
    assert_eq!(driver.submit(square, 7).wait().unwrap(), 49);
    let squares = driver.map(square, 0..10_000).wait().unwrap();
    assert_eq!(squares, (0..10_000).map(|x| x * x).collect::<Vec<_>>());
    let mut processes = driver.map(process_of, 0..1000).wait().unwrap();
    processes.sort_unstable();
    processes.dedup();
    assert!(!processes.contains(&std::process::id()));
    assert!(!processes.is_empty());
    let mut unordered = driver.map(square, 0..1000).unordered();
    let mut sum = 0;
    while let Some((position, value)) = unordered.wait_next() {
        assert_eq!(value.unwrap(), position * position);
        sum += 1;
    }
    assert_eq!(sum, 1000);
    end(driver);
}

#[test]
fn failures_reach_their_caller() {
    let driver = driver(2);
    let failed = driver.submit(divide, (1, 0)).wait().unwrap_err();
    assert!(matches!(&failed.kind, TaskErrorKind::Failed(error) if error == "division by zero"), "{failed}");
    assert_eq!(failed.attempts, 4);
    let once = driver.submit(never_again, ()).wait().unwrap_err();
    assert_eq!(once.attempts, 1);
    let panicked = driver.with(TaskOptions::new().attempts(2)).submit(panics, 5).wait().unwrap_err();
    assert!(
        matches!(&panicked.kind, TaskErrorKind::Panicked { message, location }
            if message == "no 5" && location.contains("tests/tasks.rs")),
        "{panicked}"
    );
    assert_eq!(panicked.attempts, 2);
    // A panic costs no other task anything.
    assert_eq!(driver.submit(square, 2).wait().unwrap(), 4);
    end(driver);
}

#[test]
fn a_failure_carries_what_its_executor_printed() {
    let driver = driver(1);
    let once = driver.with(TaskOptions::new().attempts(1));
    let failed = once.submit(complains, "three".to_owned()).wait().unwrap_err();
    let log = String::from_utf8_lossy(&failed.log_tail).into_owned();
    assert!(log.contains("printed: three"), "{log}");
    // Its tracing events, with the task that they came from.
    assert!(log.contains(&format!("task{{id={} attempt=1}}", failed.task)), "{log}");
    assert!(log.contains("traced: three"), "{log}");
    assert!(format!("{failed:#}").contains("printed: three"), "{failed:#}");
    let panicked = once.submit(panics, 4).wait().unwrap_err();
    assert!(String::from_utf8_lossy(&panicked.log_tail).contains("no 4"), "{panicked:#}");
    // A flood of failures is no flood of logs.
    let mut job = once.map(complains, (0..2000).map(|n| n.to_string())).unordered();
    let (mut failures, mut with_log) = (0, 0);
    while let Some((_, result)) = job.wait_next() {
        failures += 1;
        with_log += u32::from(!result.unwrap_err().log_tail.is_empty());
    }
    assert_eq!(failures, 2000);
    assert!((1..1000).contains(&with_log), "{with_log} of {failures} failures carry a log");
    end(driver);
}

#[test]
fn async_functions_time_limits_and_cancellation() {
    let driver = driver(1);
    assert_eq!(driver.submit(slowly, 1).wait().unwrap(), 1);
    let options = TaskOptions::new().attempts(1).time_limit(Duration::from_millis(50));
    let late = driver.with(options.clone()).submit(slowly, 60_000).wait().unwrap_err();
    assert!(matches!(late.kind, TaskErrorKind::TimedOut(_)), "{late}");
    let late = driver.with(options).submit(until_cancelled, ()).wait().unwrap_err();
    assert!(matches!(late.kind, TaskErrorKind::TimedOut(_)), "{late}");
    let task = driver.submit(until_cancelled, ());
    task.cancel();
    assert!(matches!(task.wait().unwrap_err().kind, TaskErrorKind::Cancelled));
    drop(driver.submit(until_cancelled, ()));
    // The only slot is free again.
    assert_eq!(driver.submit(square, 3).wait().unwrap(), 9);
    end(driver);
}

#[test]
fn large_values_and_broadcasts() {
    let driver = driver(2);
    let large = driver.submit(repeat, (7, 3 << 20)).wait().unwrap();
    assert_eq!(large.len(), 3 << 20);
    let sums = driver.map(sum_of, (1..5).map(|byte| vec![byte as u8; 1 << 20])).wait().unwrap();
    assert_eq!(sums, (1..5).map(|byte| byte << 20).collect::<Vec<u64>>());
    let table = driver.broadcast((0..100_000).map(|x| x * 3).collect::<Vec<u64>>()).unwrap();
    let arguments: Vec<_> = (0..1000).map(|index| (table.clone(), index)).collect();
    let found = driver.map(look_up, arguments).wait().unwrap();
    assert_eq!(found, (0..1000).map(|x| x * 3).collect::<Vec<u64>>());
    end(driver);
}

#[test]
fn commands() {
    let driver = driver(1);
    let output = driver.submit_command(Command::new("cat").stdin("hello")).wait().unwrap();
    assert!(output.success());
    assert_eq!(output.stdout, b"hello");
    let output = driver
        .submit_command(Command::new("sh").args(["-c", "echo $X >&2; exit 3"]).env("X", "a b"))
        .wait()
        .unwrap();
    assert_eq!((output.code, output.stderr.as_slice()), (Some(3), b"a b\n".as_slice()));
    let checked = driver.with(TaskOptions::new().attempts(1)).submit_command(Command::new("false").check());
    assert!(matches!(checked.wait().unwrap_err().kind, TaskErrorKind::Failed(_)));
    let missing = driver.with(TaskOptions::new().attempts(1)).submit_command(Command::new("no-such-program"));
    assert!(missing.wait().unwrap_err().to_string().contains("no-such-program"));
    end(driver);
}

#[test]
fn an_executor_that_dies_of_a_task_is_replaced_and_the_task_tried_again() {
    let driver = driver(2);
    let job = driver.map(square, 0..2000);
    let died = driver.submit(abort_once, ());
    assert!(died.wait().unwrap() > 1);
    assert_eq!(job.wait().unwrap().len(), 2000);
    end(driver);
}
