//! Guard, supervisor and program as real processes: whoever is killed, nothing is left, and the cause is true.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use convoke_core::executor::role;
use convoke_core::manager::ExitCause;
use convoke_core::process::table::ProcessId;
use convoke_core::rpc::v1;
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::rpc::v1::supervisor_report::Report;
use convoke_core::units::MiB;
use rustix::process::Signal;
use support::{Executor, ScriptedDriver, assignment, eventually, start_strays, strays};

/// What each executor of these tests is started as. Before the program plays its part it does what the test wants of it.
#[test]
fn convoke_executor() {
    if std::env::var("CONVOKE_ROLE").is_ok_and(|role| role == "program") {
        match std::env::var("CONVOKE_TEST_PROGRAM").as_deref() {
            Ok("strays") => start_strays(3),
            Ok("exit") => {
                eprintln!("going with seven");
                start_strays(2);
                std::process::exit(7);
            }
            Ok("abort") => std::process::abort(),
            Ok("eat") => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![1_u8; 4 << 20]);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Ok("print") => {
                use std::io::Write;
                let mut out = std::io::stdout().lock();
                for line in 0..400_000 {
                    writeln!(out, "line {line:08}").unwrap();
                }
            }
            _ => {}
        }
    }
    role::init();
}

fn program(does: &str) -> HashMap<&'static str, String> {
    HashMap::from([("CONVOKE_TEST_PROGRAM", does.to_owned())])
}

/// An executor with strays, ready; with its supervisor's and its program's process.
async fn running(assignment: v1::Assignment) -> (ScriptedDriver, Executor, u32, u32) {
    let driver = ScriptedDriver::start(assignment, None).await;
    let executor = Executor::start_with(driver.address, &program("strays"));
    let supervisor = driver.supervisor().await;
    let program = driver.ready().await.process;
    let mark = executor.mark.clone();
    eventually("the strays", || (strays(&mark) == 3).then_some(())).await;
    (driver, executor, supervisor, program)
}

fn kill(process: u32) {
    assert!(ProcessId::of(process).unwrap().signal(Signal::KILL).unwrap());
}

#[tokio::test]
async fn the_program_is_killed() {
    let (driver, mut executor, _, program) = running(assignment()).await;
    kill(program);
    assert_eq!(driver.ended().await.0, ExitCause::Signal(9));
    assert_eq!(executor.exit_signal().await, Some(9));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn the_supervisor_is_killed() {
    let (_driver, mut executor, supervisor, _) = running(assignment()).await;
    kill(supervisor);
    assert_eq!(executor.exit_signal().await, Some(9));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn the_guard_is_killed() {
    let (driver, mut executor, _, _) = running(assignment()).await;
    kill(executor.guard_process());
    assert_eq!(executor.exit_signal().await, Some(9));
    let (cause, message, _) = driver.ended().await;
    assert_eq!(cause, ExitCause::Signal(9));
    assert!(message.contains("guard"), "{message}");
    executor.nothing_left().await;
}

#[tokio::test]
async fn the_driver_dies() {
    let (_driver, mut executor, _, _) = running(assignment()).await;
    executor.close_input();
    assert_eq!(executor.exit_code().await, Some(125));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn the_driver_dies_before_it_listens() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut executor = Executor::start(nobody);
    eventually("guard and supervisor", || (executor.processes().len() == 2).then_some(())).await;
    executor.close_input();
    assert_eq!(executor.exit_code().await, Some(125));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn the_driver_is_out_of_reach_for_a_lease() {
    let (driver, mut executor, _, _) = running(v1::Assignment { lease_ms: 600, ..assignment() }).await;
    driver.fall_silent();
    assert_eq!(executor.exit_code().await, Some(125));
    assert_eq!(executor.processes(), []);
    assert!(executor.errors().contains("had no driver for a lease"), "{}", executor.errors());
}

#[tokio::test]
async fn a_stopped_program_is_told_of_and_ends_when_it_is_ordered_to() {
    let (driver, mut executor, _, program) = running(assignment()).await;
    ProcessId::of(program).unwrap().signal(Signal::STOP).unwrap();
    driver
        .report(|report| match report {
            Report::Heartbeat(beat) if beat.program_silent_ms >= 500 => Some(()),
            _ => None,
        })
        .await;
    let cause = serde_json::to_string(&ExitCause::LostContact).unwrap();
    driver.order(Order::End(v1::End { why: "it is silent".into(), cause })).await;
    assert_eq!(driver.ended().await.0, ExitCause::LostContact);
    assert_eq!(executor.exit_code().await, Some(125));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn a_stopped_supervisor_goes_on_when_its_manager_ends_it() {
    let (driver, mut executor, supervisor, _) = running(assignment()).await;
    ProcessId::of(supervisor).unwrap().signal(Signal::STOP).unwrap();
    executor.signal(Signal::TERM);
    driver.report(|report| matches!(report, Report::Eviction(_)).then_some(())).await;
    assert_eq!(driver.ended().await.0, ExitCause::Signal(15));
    assert_eq!(executor.exit_signal().await, Some(15));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn it_drains_when_its_driver_says_so() {
    let (driver, mut executor, _, _) = running(assignment()).await;
    driver.order(Order::Drain(v1::Drain { why: "surplus".into() })).await;
    assert_eq!(driver.ended().await.0, ExitCause::Released);
    assert_eq!(executor.exit_code().await, Some(0));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn a_program_that_exits_takes_its_strays_along_and_leaves_its_last_words() {
    let driver = ScriptedDriver::start(assignment(), None).await;
    let mut executor = Executor::start_with(driver.address, &program("exit"));
    let (cause, _, tail) = driver.ended().await;
    assert_eq!(cause, ExitCause::Code(7));
    assert!(tail.contains("going with seven"), "{tail}");
    assert_eq!(executor.exit_code().await, Some(7));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn a_program_that_aborts_shows_its_signal() {
    let driver = ScriptedDriver::start(assignment(), None).await;
    let mut executor = Executor::start_with(driver.address, &program("abort"));
    assert_eq!(driver.ended().await.0, ExitCause::Signal(6));
    assert_eq!(executor.exit_signal().await, Some(6));
}

#[tokio::test]
async fn memory_over_the_limit_is_out_of_memory() {
    let assignment = v1::Assignment { memory_mib: 128, ..assignment() };
    let driver = ScriptedDriver::start(assignment, None).await;
    let mut executor = Executor::start_with(driver.address, &program("eat"));
    assert_eq!(driver.ended().await.0, ExitCause::OutOfMemory { limit: MiB(128) });
    assert_eq!(executor.exit_signal().await, Some(9));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn a_refused_join_says_why_and_ends() {
    let refusal = tonic::Status::already_exists("the ticket was used already");
    let driver = ScriptedDriver::start(assignment(), Some(refusal)).await;
    let mut executor = Executor::start(driver.address);
    assert_eq!(executor.exit_code().await, Some(125));
    assert!(executor.errors().contains("the ticket was used already"), "{}", executor.errors());
}

#[tokio::test]
async fn output_is_rolled_and_what_is_kept_is_whole() {
    use convoke_core::manager::{LogFrom, LogStream, Missing};
    let driver = ScriptedDriver::start(assignment(), None).await;
    let mut variables = program("print");
    variables.insert("CONVOKE_LOG_LIMITS", "1x2".to_owned());
    let mut executor = Executor::start_with(driver.address, &variables);
    driver.ready().await;
    driver.order(Order::Drain(v1::Drain::default())).await;
    assert_eq!(executor.exit_code().await, Some(0));
    let mut reader = convoke_core::process::logs::LogReader::open(
        executor.logs.path(),
        LogStream::Stdout,
        &LogFrom::Start,
    )
    .unwrap();
    let (mut missing, mut bytes) = (0, Vec::new());
    while let Some(chunk) = reader.next_chunk().unwrap() {
        if let Missing::Bytes(count) = chunk.missing {
            missing += count;
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
    assert!(missing > 0 && missing % (1 << 20) == 0, "{missing} bytes are missing");
    assert!(bytes.len() > 2 << 20 && bytes.len() <= 3 << 20);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<u32> = text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert_eq!(lines.last(), Some(&399_999));
    assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]));
}

#[tokio::test]
async fn logs_that_cant_be_written_fail_the_launch() {
    use convoke_core::manager::LaunchFailure;
    let driver = ScriptedDriver::start(assignment(), None).await;
    let variables = HashMap::from([("CONVOKE_LOGS", "/proc/nowhere".to_owned())]);
    let mut executor = Executor::start_with(driver.address, &variables);
    let (cause, message, _) = driver.ended().await;
    assert_eq!(cause, ExitCause::LaunchFailed(LaunchFailure::UnwritableDirectory), "{message}");
    assert!(message.contains("/proc/nowhere"), "{message}");
    assert_eq!(executor.exit_code().await, Some(125));
}
