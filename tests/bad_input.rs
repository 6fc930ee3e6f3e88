//! What goes wrong in a program's tasks, at its port and in what it asks for: each gives a clear error where a user looks,
//! and nothing else is lost.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use convoke::driver::jobs::TaskOptions;
use convoke::driver::{Driver, DriverBuilder, DriverEvent};
use convoke::manager::{ExitCause, Outcome};
use convoke::task::{TaskContext, TaskErrorKind};
use convoke::{Error, ErrorKind};

convoke::test_executor!();

const SOON: Duration = Duration::from_secs(60);

#[convoke::task]
fn square(x: u64) -> u64 {
    x * x
}

#[convoke::task]
fn where_it_runs(context: &TaskContext) -> u64 {
    context.executor().0
}

#[convoke::task]
fn overflows(depth: u64) -> u64 {
    deeper(depth)
}

#[expect(unconditional_recursion, reason = "that is what is tried")]
fn deeper(depth: u64) -> u64 {
    let local = std::hint::black_box([depth; 64]);
    deeper(local[7] + 1) + local[3]
}

#[convoke::task]
fn allocates() -> usize {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
        if held.len() == 1 << 16 {
            return held.len();
        }
    }
}

#[convoke::task]
fn exits(code: i32) {
    std::process::exit(code)
}

#[convoke::task]
fn aborts() {
    std::process::abort()
}

#[convoke::task]
fn goes_on_whatever_it_is_told(context: &TaskContext) {
    context.report_progress(0.0, "begun");
    loop {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[convoke::task]
fn repeat(byte: u8, count: usize) -> Vec<u8> {
    vec![byte; count]
}

#[convoke::task]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn builder(master: &str, executors: u32) -> DriverBuilder {
    Driver::builder_with(convoke::registry()).ignore_environment().master(master).executors(executors)
}

fn started(builder: DriverBuilder, executors: usize) -> Driver {
    let driver = builder.start_blocking().unwrap();
    convoke::block_on(driver.wait_ready(executors, SOON)).unwrap();
    driver
}

fn end(driver: Driver) {
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}

/// The error of a task that dies of this, told by kind, message and log.
#[track_caller]
fn died(failed: &convoke::task::TaskError, cause: &ExitCause) -> String {
    match &failed.kind {
        TaskErrorKind::ExecutorDied(exit) => assert_eq!(&exit.cause, cause, "{failed:#}"),
        _ => panic!("{failed:#}"),
    }
    format!("{failed:#}")
}

#[test]
fn tasks_that_end_their_executors_cost_no_other_task() {
    let driver = started(builder("local-cluster[2,1,256MiB]", 2).executor_memory("256MiB"), 2);
    let others = driver.map(square, 0..3000);
    let once = driver.with(TaskOptions::new().attempts(1));

    let said = died(&once.submit(overflows, 0).wait().unwrap_err(), &ExitCause::Signal(6));
    assert!(said.contains("overflowed its stack"), "{said}");
    let said = died(&once.submit(exits, 3).wait().unwrap_err(), &ExitCause::Code(3));
    assert!(said.contains("exit code 3"), "{said}");
    let said = died(&once.submit(aborts, ()).wait().unwrap_err(), &ExitCause::Signal(6));
    assert!(said.contains("signal 6"), "{said}");

    // As convoke's own error, which `?` makes of it.
    let error = Error::from(once.submit(exits, 4).wait().unwrap_err());
    assert_eq!(error.kind(), ErrorKind::TaskFailed);
    assert!(error.to_string().contains("exit code 4"), "{error}");

    let squares = others.wait().unwrap();
    assert_eq!(squares, (0..3000).map(|x| x * x).collect::<Vec<_>>());
    end(driver);
}

#[test]
fn a_task_that_allocates_without_end_is_told_as_out_of_memory() {
    let driver = started(builder("local-cluster[1,1,256MiB]", 1).executor_memory("128MiB"), 1);
    let once = driver.with(TaskOptions::new().attempts(1));
    let failed = once.submit(allocates, ()).wait().unwrap_err();
    let said = died(&failed, &ExitCause::OutOfMemory { limit: convoke::units::MiB(128) });
    assert!(said.contains("128MiB"), "{said}");
    // A result that its executor can't hold ends in the same way.
    let failed = once.submit(repeat, (1, 1 << 30)).wait().unwrap_err();
    died(&failed, &ExitCause::OutOfMemory { limit: convoke::units::MiB(128) });
    assert_eq!(driver.submit(square, 3).wait().unwrap(), 9);
    end(driver);
}

#[test]
fn a_task_that_ignores_its_cancellation_costs_its_executor() {
    let builder = builder("local-cluster[1,1,256MiB]", 1).task_cancel_deadline("300ms");
    let driver = started(builder, 1);
    let mut events = driver.events();
    let before = driver.submit(where_it_runs, ()).wait().unwrap();
    let task = driver.submit(goes_on_whatever_it_is_told, ());
    convoke::block_on(async {
        loop {
            match events.next().await.unwrap() {
                DriverEvent::Job(progress) if !progress.reports.is_empty() => break,
                _ => {}
            }
        }
    });
    task.cancel();
    assert!(matches!(task.wait().unwrap_err().kind, TaskErrorKind::Cancelled));
    // Its slot is free only in another process.
    let after = driver.submit(where_it_runs, ()).wait().unwrap();
    assert!(after > before, "executor {after} after {before}");
    let limited = driver.with(TaskOptions::new().attempts(1).time_limit(Duration::from_millis(100)));
    let failed = limited.submit(goes_on_whatever_it_is_told, ()).wait().unwrap_err();
    assert!(matches!(failed.kind, TaskErrorKind::TimedOut(_)), "{failed}");
    assert!(driver.submit(where_it_runs, ()).wait().unwrap() > after);
    end(driver);
}

#[test]
fn payloads_over_the_limit_are_refused_by_name() {
    let builder = builder("local-cluster[1,1,256MiB]", 1)
        .setting("task.largest-payload", "2MiB")
        .setting("task.inline-payload", "1KiB");
    let driver = started(builder, 1);
    assert_eq!(driver.submit(repeat, (7, 1 << 20)).wait().unwrap().len(), 1 << 20);
    let failed = driver.submit(repeat, (7, 3 << 20)).wait().unwrap_err();
    let said = failed.to_string();
    assert!(said.contains("task.largest-payload") && said.contains("value is too large"), "{said}");
    assert_eq!(failed.attempts, 1, "to try again would be vain");
    let failed = driver.submit(length, vec![7; 3 << 20]).wait().unwrap_err();
    let error = Error::from(failed);
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().contains("argument is too large"), "{error}");
    assert_eq!(driver.submit(length, vec![7; 2000]).wait().unwrap(), 2000);
    end(driver);
}

#[test]
fn strangers_at_the_port_disturb_nobody() {
    let driver = started(builder("local-cluster[2,1,256MiB]", 2), 2);
    let address = driver.addresses()[0].to_string();
    let job = driver.map(square, 0..20_000);
    let mut held = Vec::new();
    for round in 0..40_u8 {
        let mut stranger = TcpStream::connect(&address).unwrap();
        let said: &[u8] = match round % 5 {
            0 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            2 => b"\x16\x03\x01\xff\xff\x01\x02\x03", // a handshake that never goes on
            3 => &[0xff; 4096],
            _ => b"",
        };
        // It may have hung up already.
        let _ = stranger.write_all(said);
        held.push(stranger);
    }
    assert_eq!(job.wait().unwrap().len(), 20_000);
    // Garbage is hung up on, and counted.
    let garbage = &mut held[3];
    garbage.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = Vec::new();
    let _ = garbage.read_to_end(&mut answer); // a reset is as good as an end
    let refused: u64 = driver.refusals().values().sum();
    assert!(refused > 0, "{:?}", driver.refusals());
    drop(held);
    assert_eq!(driver.submit(square, 4).wait().unwrap(), 16);
    end(driver);
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let builder = builder("local-cluster[1,1,256MiB]", 1).port(port).setting("driver.port-tries", "1");
    let error = builder.start_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(format!("{error:#}").contains(&port.to_string()), "{error:#}");
    assert!(error.advice().unwrap().contains("driver.port"), "{error:#}");
}

#[test]
fn resources_that_no_node_has_are_explained_while_one_waits() {
    let driver = builder("local-cluster[1,2,1GiB]", 1).executor_memory("2TiB").start_blocking().unwrap();
    let mut events = driver.events();
    let waiting = driver.wait_ready(1, SOON);
    let shortfalls = convoke::block_on(async {
        loop {
            if let DriverEvent::ExecutorsMissing { ready: 0, wanted: 1, shortfalls } =
                events.next().await.unwrap()
            {
                break shortfalls;
            }
        }
    });
    drop(waiting);
    let reasons: Vec<_> = shortfalls.iter().flat_map(|shortfall| &shortfall.reasons).collect();
    assert!(reasons.iter().all(|reason| reason.permanent()), "{reasons:?}");
    assert!(reasons[0].to_string().contains("2TiB"), "{reasons:?}");
    let error = convoke::block_on(driver.wait_ready(1, Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(error.to_string().contains("2TiB needed, the largest has 1GiB"), "{error}");
    end(driver);
}

#[test]
fn what_can_not_be_right_is_refused_before_anything_starts() {
    let field = |builder: DriverBuilder| {
        let error = builder.start_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error:?}");
        format!("{error:#}")
    };
    let one = || builder("local-cluster[1,1,256MiB]", 1);
    assert!(field(one().executor_cpus("0")).contains("executor.cpus"));
    assert!(field(one().executor_cpus("two")).contains("two"));
    assert!(field(one().executor_memory("12")).contains("unit"));
    assert!(field(one().setting("task.attempts", "0")).contains("task.attempts"));
    assert!(field(one().brake("often")).contains("3 in 60s"), "what is right is shown");
    assert!(field(builder("local[", 1)).contains("not a master URL"));
    assert!(field(builder("", 1)).contains("not a master URL"));
    let error = builder("http://localhost", 1).start_blocking().unwrap_err();
    assert!(format!("{error:#}").contains("local-cluster"), "{error:#}");
}

#[test]
fn excluded_and_required_hosts_hold() {
    let settings = |builder: DriverBuilder| started(builder.executors(1), 1);
    // The nodes of a local cluster are called node-1, node-2, …
    let host_of = |driver: &Driver| driver.executors()[0].host.as_ref().unwrap().to_string();
    let first = settings(builder("local-cluster[2,1,256MiB]", 1));
    let usual = host_of(&first);
    end(first);
    let elsewhere = settings(builder("local-cluster[2,1,256MiB]", 1).exclude_host(usual.as_str()));
    let other = host_of(&elsewhere);
    assert_ne!(other, usual);
    end(elsewhere);
    let required = builder("local-cluster[2,1,256MiB]", 1).setting("hosts.required", format!("host={other}"));
    let required = settings(required);
    assert_eq!(host_of(&required), other);
    end(required);
    let preferred = settings(builder("local-cluster[2,1,256MiB]", 1).prefer_host(other.as_str(), 10));
    assert_eq!(host_of(&preferred), other);
    end(preferred);
}
