//! `convoke submit`: what passes through, what is shown, and how it is ended.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Place, end_of, processes_with, squares, stderr, stdout, wait_until};

#[test]
fn settings_output_and_exit_code_pass_through() {
    let place = Place::new();
    let script = "echo $CONVOKE_MASTER $CONVOKE_EXECUTOR_MEMORY $CONVOKE_TASK_CPUS $CONVOKE_LOCAL_LOGS_KEPT \
                  $CONVOKE_EXECUTOR_ENV $1; exit 7";
    let output = place
        .convoke(&[
            "submit",
            "--executor-memory",
            "512MiB",
            "--conf",
            "master=local[2]",
            "--task-cpus",
            "0.5",
        ])
        .args(["--conf", "local.logs-kept=2d", "--executor-env", "A=b c"])
        .args(["--", "sh", "-c", script, "sh", "--its-own"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "local[2] 512MiB 0.5 2d A=b c --its-own\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn progress_goes_to_standard_error_in_plain_lines_or_not_at_all() {
    let place = Place::new();
    let output = place.submit(&["--executors", "2"], 30, 5).output().unwrap();
    assert_eq!(stdout(&output), "9455\n");
    let said = stderr(&output);
    assert!(
        said.contains("convoke: application squares-") && said.contains(" on local-cluster[2,1,256MiB]"),
        "{said}"
    );
    assert!(said.contains("(2 of 2)"), "{said}");
    let output = place.submit(&["--executors", "1", "--progress", "none"], 3, 1).output().unwrap();
    assert_eq!((stdout(&output).as_str(), stderr(&output).as_str()), ("14\n", ""));
    let bar = place.submit(&["--executors", "1", "--progress", "bar"], 40, 20).output().unwrap();
    assert!(stderr(&bar).contains("convoke: application squares-"), "{}", stderr(&bar));
    assert!(!stderr(&bar).contains("is ready"), "that stands in the line: {}", stderr(&bar));
}

#[test]
fn a_program_that_cannot_get_executors_is_told_why() {
    let place = Place::new();
    let flags = ["--master", "local-cluster[1,1,1GiB]", "--executor-memory", "2GiB"];
    let mut job = place.submit(&flags, 1, 1).spawn().unwrap();
    let said = BufReader::new(job.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find(|line| line.contains("no executor yet"))
        .unwrap();
    assert!(said.contains("2GiB needed, the largest has 1GiB"), "{said}");
    kill_process(Pid::from_child(&job), Signal::INT).unwrap();
    assert_eq!(end_of(job).status.code(), Some(130));
}

#[test]
fn a_program_without_convoke_is_noticed() {
    let output = Place::new().run(&["submit", "true"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("true has started no driver of convoke"), "{}", stderr(&output));
}

/// A script under `convoke submit`, once it has printed `ready`.
fn script(place: &Place, script: &str) -> Child {
    let mut command = place.convoke(&["submit", "--progress", "none", "sh", "-c", script]);
    let mut job = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(job.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    job
}

#[test]
fn signals_reach_the_program_and_its_end_by_one_shows() {
    let place = Place::new();
    let polite = script(&place, "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done");
    kill_process(Pid::from_child(&polite), Signal::INT).unwrap();
    assert_eq!(end_of(polite).status.code(), Some(5));
    let plain = script(&place, "echo ready; exec sleep 1000");
    kill_process(Pid::from_child(&plain), Signal::INT).unwrap();
    assert_eq!(end_of(plain).status.code(), Some(130));
    let terminated = script(&place, "echo ready; exec sleep 1000");
    kill_process(Pid::from_child(&terminated), Signal::TERM).unwrap();
    assert_eq!(end_of(terminated).status.code(), Some(143));
    let suicide = script(&place, "echo ready; kill -SEGV $$");
    assert_eq!(end_of(suicide).status.code(), Some(139));
}

#[test]
fn a_program_that_ignores_an_interruption_is_ended_by_the_second() {
    let place = Place::new();
    let mut stubborn = script(&place, "trap '' INT; echo ready; while :; do sleep 0.05; done");
    kill_process(Pid::from_child(&stubborn), Signal::INT).unwrap();
    let mut said = String::new();
    BufReader::new(stubborn.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("once more ends it at once"), "{said}");
    kill_process(Pid::from_child(&stubborn), Signal::INT).unwrap();
    assert_eq!(end_of(stubborn).status.code(), Some(130));
}

#[test]
fn a_typed_interruption_ends_program_and_executors() {
    let place = Place::new();
    // A terminal: what is written to the standard input of `script` is typed there.
    let command =
        format!("{} submit --executors 2 {} 10000 20", env!("CARGO_BIN_EXE_convoke"), squares().display());
    let mut terminal = Command::new("script");
    terminal.args(["-qefc", &command, "/dev/null"]).env("CONVOKE_LOCAL_DIRECTORY", place.path());
    let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let id = place.until_running(2);
    let mut keys = terminal.stdin.take().unwrap();
    keys.write_all(b"\x03").unwrap();
    let shown = end_of(terminal);
    assert_eq!(shown.status.code(), Some(130), "{}", stdout(&shown));
    assert!(stdout(&shown).contains("convoke: application squares-"), "{}", stdout(&shown));
    assert_eq!(processes_with(&format!("CONVOKE_APPLICATION={id}")), 0);
}

#[test]
fn executors_of_a_driver_that_hangs_are_gone_after_the_second_interruption() {
    let place = Place::new();
    let mut job = place.submit(&["--executors", "2", "--progress", "none"], 10_000, 20).spawn().unwrap();
    let id = place.until_running(2);
    let driver = place.status().unwrap()["driver_process"].as_i64().unwrap();
    let driver = Pid::from_raw(i32::try_from(driver).unwrap()).unwrap();
    kill_process(driver, Signal::STOP).unwrap();
    // Two of one signal at once would be one.
    wait_until("it has ended", || {
        kill_process(Pid::from_child(&job), Signal::INT).unwrap();
        job.try_wait().unwrap().is_some()
    });
    assert_eq!(end_of(job).status.code(), Some(130));
    assert_eq!(processes_with(&format!("CONVOKE_APPLICATION={id}")), 0);
}
