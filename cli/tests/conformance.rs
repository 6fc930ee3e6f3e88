//! `convoke conformance` as the author of a cluster manager uses it.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn conformance(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONVOKE_")) {
        command.env_remove(name);
    }
    command.arg("conformance").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const MASTER: [&str; 2] = ["--master", "local-cluster[2,1,512MiB]"];

/// Written by a child that has ended: nobody who forks meanwhile holds it open for writing.
fn script(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn chosen_rules_pass_and_the_report_is_one_document() {
    let output = conformance(&[&MASTER[..], &["--rule", "A2", "--rule", "L3", "--report", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let certificate = &report["certificates"][0];
    assert_eq!(certificate["profile"], "manager");
    assert_eq!(certificate["certificate"], "partial", "most rules were not run");
    let rules = certificate["rules"].as_array().unwrap();
    let rule = |id: &str| rules.iter().find(|rule| rule["id"] == id).unwrap();
    assert_eq!((&rule("A2")["verdict"], &rule("A2")["level"]), (&"passed".into(), &"MUST".into()));
    assert!(rule("A2")["evidence"].as_object().is_some_and(|evidence| !evidence.is_empty()));
    assert_eq!(rule("A3")["verdict"], "not run");
    assert!(stderr(&output).contains("A2  passed"), "progress: {}", stderr(&output));
}

#[test]
fn a_hooks_program_makes_rules_checkable_and_its_failure_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = folder.path().join("hooks");
    script(
        &hooks,
        r#"#!/bin/sh
case $1 in
  # the processes that have the id as an argument, but for this one
  list-existing) printf %s "$2" | grep -lzxf - /proc/[0-9]*/cmdline 2>/dev/null | grep -v "/proc/$$/"; exit 0 ;;
  outcome-shown) echo nobody keeps it; exit 70 ;;
  fill-disk) echo no such node >&2; exit 1 ;;
  *) exit 69 ;;
esac
"#,
    );
    let rules = ["--rule", "R4", "--rule", "T4", "--rule", "F7", "--rule", "F2", "--report", "json"];
    let with = [&MASTER[..], &["--hooks", hooks.to_str().unwrap()], &rules].concat();
    let output = conformance(&with);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = report["certificates"][0]["rules"].as_array().unwrap();
    let verdict = |id: &str| rules.iter().find(|rule| rule["id"] == id).unwrap()["verdict"].as_str().unwrap();
    assert_eq!(verdict("R4"), "passed", "{}", stderr(&output));
    assert_eq!(verdict("T4"), "not claimed");
    assert_eq!(verdict("F7"), "not run", "the hook failed");
    assert_eq!(verdict("F2"), "not checkable", "there is no hook");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no such node"));
}

#[test]
fn what_can_not_be_checked_makes_it_partial() {
    let output = conformance(&[&MASTER[..], &["--rule", "F2"]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stdout(&output).contains("not checkable"), "{}", stdout(&output));
}

#[test]
fn rules_are_listed_and_mistakes_are_told() {
    let output = conformance(&["--list", "--rule", "A2"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("A2   MUST   manager"), "{}", stdout(&output));
    assert!(conformance(&["--list"]).stdout.len() > 4_000);
    for (arguments, word) in [
        (&["--rule", "A99", "--list"][..], "--list shows all"),
        (&["--profile", "other", "--list"], "one of manager, runtime"),
        (&["--rule", "A2"], "--master"),
        (&["--master", "spark://x", "--rule", "A2"], "known here"),
        (&["--master", "local[2]", "--rule", "A2", "--report", "pdf"], "one of text, json, junit"),
        (&["--master", "local[2]", "--rule", "A2", "--deadline", "sattle=3s"], "settle"),
    ] {
        let output = conformance(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
}
