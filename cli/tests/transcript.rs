//! `docs/transcript.md` is recorded by `scripts/record-transcript`; what of it needs no time and no program is run again here,
//! and has to say the same.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::path::Path;
use std::process::{Command, Stdio};

/// A command, what it showed, and its exit code.
struct Shown {
    command: String,
    text: String,
    code: i32,
}

/// The commands in the blocks below this heading.
fn below(page: &str, heading: &str) -> Vec<Shown> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading));
    let mut shown: Vec<Shown> = Vec::new();
    for block in section.unwrap_or_else(|| panic!("no {heading:?}")).split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                shown.push(Shown { command: command.to_owned(), text: String::new(), code: 0 });
            } else if let Some(code) = line.strip_prefix("(exit code ") {
                shown.last_mut().unwrap().code = code.trim_end_matches(')').parse().unwrap();
            } else {
                shown.last_mut().unwrap().text.push_str(&format!("{line}\n"));
            }
        }
    }
    shown
}

#[test]
fn the_transcript_shows_what_the_commands_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/transcript.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_convoke")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let sections = ["Would a cluster grant what I want?", "Five mistakes"];
    let all: Vec<_> = sections.iter().flat_map(|heading| below(&page, heading)).collect();
    assert_eq!(all.len(), 7);
    for shown in all {
        let mut shell = Command::new("sh");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONVOKE_")) {
            shell.env_remove(name);
        }
        shell.args(["-c", &format!("{} 2>&1", shown.command)]).current_dir(root).stdin(Stdio::null());
        let output = shell.env("PATH", &path).env("CONVOKE_LOCAL_DIRECTORY", folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let hint = "scripts/record-transcript records it anew";
        assert_eq!(text, shown.text, "{}; {hint}", shown.command);
        assert_eq!(output.status.code(), Some(shown.code), "{}; {hint}", shown.command);
    }
}
