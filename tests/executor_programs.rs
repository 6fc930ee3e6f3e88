//! Executors that run a program which doesn't link convoke (D14), in processes of the local backend, by the public API.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "all of it is test code; helpers that another test binary uses too"
)]

mod processes;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use convoke::driver::{
    Driver, DriverEvent, DriverEvents, ExecutorPhase, ExecutorProgram, ReadyWhen, StopSignal,
};
use convoke::ids::ExecutorId;
use convoke::manager::{Exit, ExitCause, LaunchFailure, Outcome, Then};
use convoke::task::TaskErrorKind;
use convoke::{ErrorKind, block_on};
use processes::Job;

convoke::test_executor!();

const SOON: Duration = Duration::from_secs(60);

/// Says what it finds in its environment and arguments to whoever connects.
const SERVER: &str = "
import os, socket, sys
listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    caller, _ = listener.accept()
    lines = [f'{name}={value}' for name, value in os.environ.items()]
    lines += [f'argument={argument}' for argument in sys.argv] + [f'process={os.getpid()}', f'folder={os.getcwd()}']
    caller.sendall('\\n'.join(lines).encode())
    caller.close()
";

fn server() -> ExecutorProgram {
    ExecutorProgram::new("python3")
        .args(["-c", SERVER, "$(MAIN)", "$HOME $(MAIN) $$(MAIN)"])
        .port("MAIN")
        .port("SPARE")
}

fn start(executors: u32, program: ExecutorProgram) -> Driver {
    Driver::builder_with(convoke::registry())
        .ignore_environment()
        .master(format!("local-cluster[{executors},1,256MiB]"))
        .executors(executors)
        .executor_env("GREETING", "hello, wörld")
        .executor_program(program)
        .start_blocking()
        .unwrap()
}

fn ask(address: &convoke::units::HostPort) -> Vec<String> {
    let mut answer = String::new();
    let mut server = TcpStream::connect((address.host.as_str(), address.port)).unwrap();
    server.read_to_string(&mut answer).unwrap();
    answer.lines().map(str::to_owned).collect()
}

fn next<T>(events: &mut DriverEvents, mut wanted: impl FnMut(DriverEvent) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(events.next().await.expect("the driver goes on")) {
                return found;
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, found).await }).expect("it comes")
}

fn lost(events: &mut DriverEvents) -> (ExecutorId, Exit) {
    next(events, |event| match event {
        DriverEvent::ExecutorLost { executor, exit } => Some((executor, exit)),
        _ => None,
    })
}

#[test]
fn they_are_found_by_their_addresses_and_replaced_when_they_end() {
    let driver = start(3, server().env("OWN", "its own"));
    let mut events = driver.events();
    block_on(driver.wait_ready(3, SOON)).unwrap();
    let all = driver.executors();
    let mut ports = BTreeSet::new();
    for executor in &all {
        assert_eq!(executor.phase, ExecutorPhase::Ready);
        assert_eq!(executor.addresses.keys().collect::<Vec<_>>(), ["MAIN", "SPARE"]);
        ports.extend(executor.addresses.values().map(|address| address.port));
        let main = &executor.addresses["MAIN"];
        assert_eq!(main.host, "127.0.0.1", "where its supervisor calls from");
        let found = ask(main);
        for line in [
            format!("process={}", executor.program.unwrap()),
            format!("MAIN={}", main.port),
            format!("SPARE={}", executor.addresses["SPARE"].port),
            format!("argument={}", main.port),
            format!("argument=$HOME {} $(MAIN)", main.port),
            "GREETING=hello, wörld".to_owned(),
            "OWN=its own".to_owned(),
            format!("CONVOKE_EXECUTOR={}", executor.executor),
            format!("CONVOKE_APPLICATION={}", driver.application()),
            "CONVOKE_PROFILE=0".to_owned(),
            "CONVOKE_INCARNATION=1".to_owned(),
            format!("CONVOKE_DRIVER={}", driver.addresses()[0]),
        ] {
            assert!(found.contains(&line), "{line}: {found:#?}");
        }
        assert!(!found.iter().any(|line| line.starts_with("CONVOKE_TICKET=")), "{found:#?}");
    }
    assert_eq!(ports.len(), 6, "no two of one host are alike");

    let killed = &all[1];
    let process = convoke::process::table::ProcessId::of(killed.program.unwrap()).unwrap();
    process.signal(rustix::process::Signal::KILL).unwrap();
    let (executor, exit) = lost(&mut events);
    assert_eq!((executor, &exit.cause), (killed.executor, &ExitCause::Signal(9)), "{exit}");
    let (replacement, addresses) = next(&mut events, |event| match event {
        DriverEvent::ExecutorReady { executor, addresses }
            if all.iter().all(|old| old.executor != executor) =>
        {
            Some((executor, addresses))
        }
        _ => None,
    });
    assert!(ask(&addresses["MAIN"]).contains(&format!("CONVOKE_EXECUTOR={replacement}")));

    // Drained: SIGTERM to the program, and no other takes its place.
    block_on(driver.drain(vec![replacement], SOON, Then::LowerTarget)).unwrap();
    let (executor, exit) = lost(&mut events);
    assert_eq!((executor, &exit.cause), (replacement, &ExitCause::Released), "{exit}");
    assert_eq!(driver.executors().iter().filter(|left| left.phase == ExecutorPhase::Ready).count(), 2);

    let programs: Vec<_> = driver.executors().iter().filter_map(|left| left.program).collect();
    block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
    for program in programs {
        assert!(convoke::process::table::ProcessId::of(program).is_none_or(|process| !process.is_alive()));
    }
}

#[test]
fn tasks_are_refused_and_it_is_said_why() {
    let driver = Driver::builder_with(convoke::registry())
        .ignore_environment()
        .executors(1)
        .executor_command("sleep", ["1000"])
        .start_blocking()
        .unwrap();
    let error = block_on(driver.submit_command(convoke::task::Command::new("true"))).unwrap_err();
    let TaskErrorKind::Undeliverable(why) = &error.kind else { panic!("{error}") };
    assert_eq!(why.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("sleep"), "{error}");
    assert!(why.advice().unwrap().contains("Driver::executors"));
    assert_eq!(driver.broadcast(1_u8).unwrap_err().kind(), ErrorKind::Unsupported);
    // Ready as soon as it runs, and nowhere to be dialled.
    block_on(driver.wait_ready(1, SOON)).unwrap();
    assert!(driver.executors()[0].addresses.is_empty());
    block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}

#[test]
fn one_that_isnt_ready_in_time_is_ended_with_its_log_and_replaced() {
    let program = ExecutorProgram::new("sh")
        .args(["-c", "echo 'warming up, for ever' >&2; exec sleep 1000"])
        .ready_when(ReadyWhen::LinePrinted("serving".into()))
        .ready_deadline(Duration::from_millis(500));
    let driver = start(1, program);
    let mut events = driver.events();
    let (first, exit) = lost(&mut events);
    assert_eq!(exit.cause, ExitCause::NeverReady, "{exit}");
    assert!(exit.message.contains("500ms") && exit.message.contains("serving"), "{exit}");
    assert!(String::from_utf8_lossy(&exit.log_tail).contains("warming up, for ever"), "{exit:?}");
    let (second, _) = lost(&mut events);
    assert_ne!(first, second);
    assert_eq!(
        block_on(driver.wait_ready(1, Duration::ZERO)).unwrap_err().kind(),
        ErrorKind::DeadlineExceeded
    );
    block_on(driver.shutdown(Outcome::Failed("never ready".into()), SOON)).unwrap();
}

#[test]
fn it_ends_in_its_own_way_by_the_signal_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    // SIGTERM is ignored: only the signal of its own ends it well.
    let script =
        "trap '' TERM; trap 'echo bye >said; exit 0' INT; echo serving; while :; do sleep 0.02; done";
    let program = ExecutorProgram::new("sh")
        .args(["-c", script])
        .directory(folder.path().to_str().unwrap())
        .ready_when(ReadyWhen::LinePrinted("serving".into()))
        .stop_signal(StopSignal::Interrupt);
    let driver = start(1, program);
    let mut events = driver.events();
    block_on(driver.wait_ready(1, SOON)).unwrap();
    let first = driver.executors()[0].executor;
    block_on(driver.drain(vec![first], SOON, Then::Replace)).unwrap();
    let (executor, exit) = lost(&mut events);
    assert_eq!((executor, &exit.cause), (first, &ExitCause::Released), "{exit}");
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "bye\n");
    std::fs::remove_file(&said).unwrap();
    // And so it ends with its application.
    next(&mut events, |event| matches!(event, DriverEvent::ExecutorReady { .. }).then_some(()));
    block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "bye\n");
}

#[test]
fn a_port_that_is_taken_meanwhile_is_found_anew() {
    // It tells its port, and listens there once it may.
    let script = "
import os, socket
port = int(os.environ['HTTP'])
control = socket.create_connection(('127.0.0.1', int(os.environ['CONTROL'])))
control.sendall(f'{port}\\n'.encode())
control.recv(1)
listener = socket.create_server(('127.0.0.1', port))
while True:
    listener.accept()
";
    let control = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = control.local_addr().unwrap().port();
    let program =
        ExecutorProgram::new("python3").args(["-c", script]).env("CONTROL", number.to_string()).port("HTTP");
    let driver = start(1, program);
    let mut events = driver.events();
    let told = || {
        let (mut program, _) = control.accept().unwrap();
        let mut port = String::new();
        BufReader::new(&program).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().unwrap();
        (port, move || program.write_all(b"x").unwrap())
    };
    let (first, mut go_on) = told();
    let thief = TcpListener::bind(("127.0.0.1", first)).unwrap();
    go_on();
    let (second, mut go_on) = told();
    assert_ne!(first, second);
    assert!(driver.executors()[0].addresses.is_empty(), "the thief's answer is not the program's");
    go_on();
    block_on(driver.wait_ready(1, SOON)).unwrap();
    let executors = driver.executors();
    assert_eq!(executors.len(), 1);
    assert_eq!(executors[0].addresses["HTTP"].port, second);
    let granted = next(&mut events, |event| match event {
        DriverEvent::ExecutorReady { executor, .. } => Some(executor),
        DriverEvent::ExecutorLost { .. } => panic!("it is one start of one executor"),
        _ => None,
    });
    assert_eq!(granted, executors[0].executor);
    drop(thief);
    let folder = executors[0].directory.clone().unwrap();
    let logs =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let log: String = logs.collect();
    assert!(log.contains(&format!("port {first} (HTTP) was taken meanwhile")), "{log}");
    block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}

#[test]
fn what_cant_be_started_says_why() {
    let driver = start(1, ExecutorProgram::new("/no/such/server"));
    let (_, exit) = lost(&mut driver.events());
    assert_eq!(exit.cause, ExitCause::LaunchFailed(LaunchFailure::NoSuchProgram), "{exit}");
    assert!(exit.message.contains("/no/such/server"), "{exit}");
    drop(driver);

    let driver = start(1, ExecutorProgram::new("sleep").arg("1000").directory("/no/such/folder"));
    let (_, exit) = lost(&mut driver.events());
    assert!(matches!(exit.cause, ExitCause::LaunchFailed(_)), "{exit}");
    assert!(exit.message.contains("/no/such/folder"), "{exit}");
    drop(driver);

    let error = Driver::builder_with(convoke::registry())
        .ignore_environment()
        .executor_program(server().port("MAIN"))
        .start_blocking()
        .unwrap_err();
    assert_eq!(error.field(), Some("executor_program"));

    // Inside the driver's own process there is nowhere to start it.
    let inline = Driver::builder_with(convoke::registry())
        .ignore_environment()
        .master("local-inline")
        .executors(1)
        .executor_command("sleep", ["1000"])
        .start_blocking()
        .unwrap();
    let (_, exit) = lost(&mut inline.events());
    assert!(exit.message.contains("choose local[1]"), "{exit}");
}

#[test]
fn the_example_serves_is_killed_is_replaced_and_leaves_nothing() {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/http_servers");
    assert!(program.exists(), "{} isn't built: cargo build --examples", program.display());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.arg(folder.path()).env_remove("CONVOKE_MASTER").stdin(Stdio::null());
    let output =
        Job::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).finish(Duration::from_secs(120));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.ends_with("HTTP/1.0 200 OK")).count(), 4, "{said}");
    assert!(lines.iter().any(|line| line.contains("is gone: ended by signal 9")), "{said}");
    assert_eq!(lines.last(), Some(&"all of them have ended"));
    // Nothing serves any more.
    for line in lines.iter().filter(|line| line.ends_with("200 OK")) {
        let address = line.split(' ').nth(3).unwrap().trim_end_matches(':');
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
}
