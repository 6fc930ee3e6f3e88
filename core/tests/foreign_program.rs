//! Programs that don't link convoke (D14), as real processes.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use convoke_core::manager::{ExitCause, LaunchFailure};
use convoke_core::process::table::ProcessId;
use convoke_core::rpc::v1;
use convoke_core::rpc::v1::foreign_program::Ready;
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::rpc::v1::supervisor_report::Report;
use rustix::process::Signal;
use support::{Executor, ScriptedDriver, assignment, eventually, start_strays, strays};

#[test]
fn convoke_executor() {
    convoke_core::executor::role::init();
}

/// A program of somebody else's: says its environment and process to whoever connects to the port that it was given.
#[test]
fn serve() {
    let Ok(port) = std::env::var("HTTP") else { return };
    start_strays(1);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    loop {
        let (mut caller, _) = listener.accept().unwrap();
        let variables: Vec<_> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
        // Whoever only looks whether it answers is gone already.
        let _ = write!(caller, "process={}\n{}\n", std::process::id(), variables.join("\n"));
    }
}

fn foreign(program: &str, arguments: &[&str], ready: Option<Ready>) -> v1::Assignment {
    v1::Assignment {
        foreign: Some(v1::ForeignProgram {
            program: program.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ports: vec!["HTTP".into(), "OTHER".into()],
            ready,
            ready_deadline_ms: 10_000,
            ..Default::default()
        }),
        environment: HashMap::from([("GREETING".to_owned(), "hello, wörld".to_owned())]),
        ..assignment()
    }
}

fn server() -> v1::Assignment {
    let program = std::env::current_exe().unwrap();
    foreign(program.to_str().unwrap(), &["--exact", "serve"], Some(Ready::Port("HTTP".into())))
}

fn ask(port: u32) -> HashMap<String, String> {
    let mut answer = String::new();
    TcpStream::connect(("127.0.0.1", port as u16)).unwrap().read_to_string(&mut answer).unwrap();
    let lines = answer.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn it_is_ready_when_its_port_answers_and_finds_its_environment() {
    let driver = ScriptedDriver::start(server(), None).await;
    let mut executor = Executor::start(driver.address);
    let ready = driver.ready().await;
    assert_eq!(ready.ports.len(), 2);
    let found = ask(ready.ports["HTTP"]);
    assert_eq!(found["process"], ready.process.to_string(), "it is the very process that was started");
    assert_eq!(found["GREETING"], "hello, wörld");
    assert_eq!(found["OTHER"], ready.ports["OTHER"].to_string());
    for (name, value) in [
        ("CONVOKE_EXECUTOR", "7"),
        ("CONVOKE_APPLICATION", "test-0000000000000001"),
        ("CONVOKE_PROFILE", "0"),
        ("CONVOKE_INCARNATION", "1"),
    ] {
        assert_eq!(found[name], value);
    }
    assert!(found.contains_key("CONVOKE_DRIVER"));
    for private in ["CONVOKE_ROLE", "CONVOKE_TICKET", "CONVOKE_LOGS", "CONVOKE_GUARD"] {
        assert!(!found.contains_key(private), "{private}");
    }
    // Drained by SIGTERM, with all that it started.
    assert_eq!(strays(&executor.mark), 1);
    driver.order(Order::Drain(v1::Drain { why: "surplus".into() })).await;
    assert_eq!(driver.ended().await.0, ExitCause::Released);
    assert_eq!(executor.exit_code().await, Some(0));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn two_of_them_on_one_host_never_collide() {
    let (one, other) =
        tokio::join!(ScriptedDriver::start(server(), None), ScriptedDriver::start(server(), None));
    let (mut first, mut second) = (Executor::start(one.address), Executor::start(other.address));
    let (one_ready, other_ready) = tokio::join!(one.ready(), other.ready());
    assert!(one_ready.ports.values().all(|port| other_ready.ports.values().all(|other| port != other)));
    assert_eq!(ask(one_ready.ports["HTTP"])["process"], one_ready.process.to_string());
    assert_eq!(ask(other_ready.ports["HTTP"])["process"], other_ready.process.to_string());
    first.close_input();
    second.close_input();
    first.exit().await;
    second.exit().await;
}

#[tokio::test]
async fn it_is_ready_when_it_prints_the_line() {
    let script = "echo starting >&2; echo 'listener: is ready now' >&2; exec sleep 1000";
    let ready = Some(Ready::Line("is ready".into()));
    let driver = ScriptedDriver::start(foreign("sh", &["-c", script], ready), None).await;
    let mut executor = Executor::start(driver.address);
    let process = driver.ready().await.process;
    ProcessId::of(process).unwrap().signal(Signal::KILL).unwrap();
    let (cause, _, tail) = driver.ended().await;
    assert_eq!(cause, ExitCause::Signal(9));
    assert!(tail.contains("is ready now"), "{tail}");
    assert_eq!(executor.exit_signal().await, Some(9));
}

#[tokio::test]
async fn it_is_ended_where_it_is_never_ready() {
    let ready = Some(Ready::Line("is ready".into()));
    let mut assignment = foreign("sh", &["-c", "echo not yet; exec sleep 1000"], ready);
    assignment.foreign.as_mut().unwrap().ready_deadline_ms = 300;
    let driver = ScriptedDriver::start(assignment, None).await;
    let mut executor = Executor::start(driver.address);
    assert_eq!(driver.ended().await.0, ExitCause::NeverReady);
    assert_eq!(executor.exit_code().await, Some(125));
    assert_eq!(executor.processes(), []);
}

#[tokio::test]
async fn what_cant_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (program, failure, code) in [
        ("/no/such/program".to_owned(), LaunchFailure::NoSuchProgram, 127),
        (file("plain", "#!/bin/sh\n", 0o644), LaunchFailure::NotExecutable, 126),
        (file("binary", "\u{1}\u{2} of another machine", 0o755), LaunchFailure::WrongPlatform, 126),
        (file("script", "#!/no/such/interpreter\n", 0o755), LaunchFailure::WrongPlatform, 126),
    ] {
        let driver = ScriptedDriver::start(foreign(&program, &[], None), None).await;
        let mut executor = Executor::start(driver.address);
        let (cause, message, _) = driver.ended().await;
        assert_eq!(cause, ExitCause::LaunchFailed(failure), "{program}: {message}");
        assert!(message.contains(&program), "{message}");
        assert_eq!(executor.exit_code().await, Some(code));
        assert_eq!(executor.processes(), []);
    }
}

#[tokio::test]
async fn a_stopped_one_is_told_of() {
    let driver = ScriptedDriver::start(foreign("sleep", &["1000"], None), None).await;
    let mut executor = Executor::start(driver.address);
    let process = ProcessId::of(driver.ready().await.process).unwrap();
    let silent = |at_least: u64, at_most: u64| {
        driver.report(move |report| match report {
            Report::Heartbeat(beat) if (at_least..at_most).contains(&beat.program_silent_ms) => Some(()),
            _ => None,
        })
    };
    silent(0, 200).await;
    process.signal(Signal::STOP).unwrap();
    silent(400, u64::MAX).await;
    process.signal(Signal::CONT).unwrap();
    silent(0, 200).await;
    executor.close_input();
    executor.exit().await;
    assert_eq!(executor.processes(), []);
    eventually("the end", || (!process.is_alive()).then_some(())).await;
}
