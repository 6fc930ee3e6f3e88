//! The command line as a person uses it.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn convoke(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONVOKE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    convoke(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_a_cluster_can_grant_is_granted_and_given_back() {
    let output = run(&["explain", "--master", "local-cluster[2,1,1GiB]", "--executors", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("all 2 executors"));
}

#[test]
fn what_it_cannot_grant_is_said_with_numbers() {
    let asked = ["--master", "local-cluster[2,1,1GiB]", "--executor-memory", "2GiB", "--wait", "3s"];
    let output = run(&[&["explain"][..], &asked].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("2GiB needed, the largest has 1GiB") && said.contains("vain"), "{said}");
    let output = run(&[&["explain", "--json"][..], &asked].concat());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((value["wanted"].as_u64(), value["granted"].as_u64()), (Some(2), Some(0)));
    assert_eq!(value["reasons"][0]["permanent"], true);
}

#[test]
fn doctor_has_an_executor_dial_back() {
    let output = run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let executor = findings.iter().find(|finding| finding["what"] == "executor").unwrap();
    assert_eq!(executor["verdict"], "well");
}

#[test]
fn submit_passes_settings_output_and_exit_code_on() {
    let script = "echo $CONVOKE_MASTER $CONVOKE_EXECUTOR_MEMORY $CONVOKE_EXECUTOR_ENV $1; exit 7";
    let output = convoke(&["submit", "--executor-memory", "512MiB", "--conf", "master=local[2]"])
        .args(["--executor-env", "A=b c", "--", "sh", "-c", script, "sh", "--its-own"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert_eq!(stdout(&output), "local[2] 512MiB A=b c --its-own\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_interruption_reaches_the_program_and_a_second_ends_it() {
    let start = |script: &str| {
        let mut command = convoke(&["submit", "sh", "-c", script]);
        let mut job = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(job.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        job
    };
    let mut polite = start("trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done");
    kill_process(Pid::from_child(&polite), Signal::INT).unwrap();
    assert_eq!(polite.wait().unwrap().code(), Some(5));
    let mut stubborn = start("trap 'echo again' INT; echo ready; while :; do sleep 0.05; done");
    while stubborn.try_wait().unwrap().is_none() {
        kill_process(Pid::from_child(&stubborn), Signal::INT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(stubborn.wait().unwrap().code(), Some(130));
}

#[test]
fn mistakes_say_what_why_and_what_to_do() {
    for (arguments, words) in [
        (&["submit", "--master", "spark://x", "true"][..], &["spark", "known here"][..]),
        (&["submit", "--master", "yarn", "true"], &["yarn", "no backend for that yet"]),
        (&["submit", "--master", "local[", "true"], &["local[2]"]),
        (&["submit", "--conf", "executor.memroy=1GiB", "true"], &["--conf", "did you mean executor.memory?"]),
        (&["submit", "--executors", "many", "true"], &["--executors", "whole number"]),
        (&["submit", "--deploy-mode", "cluster", "true"], &["cluster mode", "leave --deploy-mode out"]),
        (&["executor"], &["cluster managers start"]),
    ] {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
    let output = run(&["submit", "./no-such-program"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("help: check the path"), "{}", stderr(&output));
}

#[test]
fn help_teaches_by_example_and_shells_complete() {
    for command in ["submit", "explain", "doctor"] {
        let output = run(&[command, "--help"]);
        assert!(stdout(&output).contains("Examples:\n  convoke "), "{command}");
    }
    assert!(stdout(&run(&["completions", "bash"])).contains("convoke"));
    assert!(stdout(&run(&["settings"])).contains("CONVOKE_DRIVER_PORT"));
}
