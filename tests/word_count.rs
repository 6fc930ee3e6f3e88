//! The README's main job, run as a person runs it: what it prints, what it says of bad input, and what is left of it.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "all of it is test code; helpers outside a test function too"
)]

// The example's own unit tests run here: an example with `test = true` would not be built as the program that is run below.
#[allow(dead_code, unused_imports, reason = "the rest of it is used by the example's main")]
#[path = "../examples/word_count/corpus.rs"]
mod corpus;
#[allow(dead_code, unused_imports, reason = "the rest of it is used by the example's main")]
#[path = "../examples/word_count/count.rs"]
mod count;
mod processes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use processes::{Job, descendants, programs_of, wait_until};
use rustix::process::Signal;

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/word_count");
    assert!(program.exists(), "{} isn't built: cargo build --examples", program.display());
    program
}

fn word_count(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("CONVOKE_MASTER").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    let mut command = word_count(arguments);
    Job::start(command.stdout(Stdio::piped()).stderr(Stdio::piped())).finish(Duration::from_secs(120))
}

/// What the job says of itself on standard error, if it fails with this exit code and prints nothing else.
#[track_caller]
fn refused(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "{said}");
    said
}

fn counts(stdout: &[u8]) -> BTreeMap<String, u64> {
    let mut printed: BTreeMap<String, BTreeMap<String, u64>> = serde_json::from_slice(stdout).unwrap();
    printed.remove("counts").unwrap()
}

/// Text of about this many bytes in some files below `folder`, and how often each word is in it.
fn corpus(folder: &Path, bytes: usize) -> BTreeMap<String, u64> {
    const WORDS: [&str; 8] = ["Straße", "the", "THE", "l'été", "漢字", "x86_64", "Ελλάδα", "42"];
    let mut counts = BTreeMap::new();
    let mut seed = 1_u64;
    for (file, share) in [("huge.txt", 2), ("größe/a b.txt", 4), ("größe/it's.txt", 8), (".hidden", 8)] {
        let mut text = String::new();
        while text.len() < bytes / share {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let word = WORDS[(seed >> 61) as usize];
            write!(text, "{word}{}{}", (seed >> 40) % 997, if seed & 4096 == 0 { '\n' } else { ' ' })
                .unwrap();
        }
        for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
        {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    counts
}

#[test]
fn every_number_of_executors_counts_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let expected = corpus(folder.path(), 6 << 20);
    let path = folder.path().to_str().unwrap();
    for arguments in [
        &["--json", "--executors", "1", path][..],
        &["--json", "--executors", "3", path],
        &["--json", "--master", "local[2]", path],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(counts(&output.stdout), expected, "{arguments:?}");
    }
}

#[test]
fn the_table_shows_the_most_frequent_words() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "to be or not to be, to Be").unwrap();
    let output = run(&["--top", "2", folder.path().to_str().unwrap()]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][0], "3");
    assert_eq!((rows[1][2], rows[2][2]), ("be", "to"));
    assert_eq!(rows.len(), 4, "{printed}");
}

#[test]
fn executors_that_are_killed_cost_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let expected = corpus(folder.path(), 24 << 20);
    let mut command = word_count(&["--json", "--executors", "2", folder.path().to_str().unwrap()]);
    let mut job = Job::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut kills = 0;
    while !job.has_ended() {
        if let Some(program) = programs_of(job.process()).first().filter(|_| kills < 4) {
            rustix::process::kill_process(*program, Signal::KILL).unwrap();
            kills += 1;
            let program = *program;
            wait_until("the killed executor is gone", || !programs_of(job.process()).contains(&program));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = job.finish(Duration::from_secs(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "after {kills} kills: {said}");
    assert_eq!(counts(&output.stdout), expected);
    assert!(kills > 0, "it ended before one executor could be killed");
    assert!(said.contains("signal 9"), "{said}");
}

#[test]
fn ctrl_c_ends_it_and_all_of_its_executors() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path(), 16 << 20);
    let mut command = word_count(&["--json", folder.path().to_str().unwrap()]);
    let mut job = Job::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    wait_until("executors run", || job.has_ended() || programs_of(job.process()).len() == 2);
    let all = descendants(job.process());
    rustix::process::kill_process(job.process(), Signal::INT).unwrap();
    let output = job.finish(Duration::from_secs(20));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(output.stdout.is_empty());
    let left: Vec<_> = all.iter().filter(|process| process.is_alive()).collect();
    assert!(left.is_empty(), "{left:?} outlived the job: {said}");
}

#[test]
fn a_path_that_is_not_there_is_refused_before_anything_starts() {
    let said = refused(&["--json", "/no/such/path", "."], 2);
    assert!(said.contains("/no/such/path"), "{said}");
    refused(&[], 2);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "one word").unwrap();
    // a regular file that nobody can read, root neither
    let unreadable = format!("/proc/{}/clear_refs", std::process::id());
    let output = run(&["--json", &unreadable, folder.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&unreadable), "{said}");
    assert_eq!(counts(&output.stdout), BTreeMap::from([("one".to_owned(), 1), ("word".to_owned(), 1)]));
}

#[test]
fn what_is_not_text_is_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("image"), b"word\0word").unwrap();
    let output = run(&["--json", folder.path().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("not text"), "{said}");
    assert_eq!(output.stdout, b"{\"counts\":{}}\n");
}

#[test]
fn a_wrong_master_is_refused_with_what_to_do() {
    for (url, word) in [
        ("local[", "local[2]"),
        ("local[zero]", "local["),
        ("spark://host:7077", "local-cluster"),
        ("yarn", "no backend for that yet"),
        ("local-cluster[2,1]", "local-cluster["),
    ] {
        let said = refused(&["--json", "--master", url, "."], 2);
        assert!(said.contains(word), "{url}: {said}");
    }
    let said = refused(&["--executors", "2", "--master", "local[2]", "."], 2);
    assert!(said.contains("local-cluster[2,1,256MiB]"), "{said}");
    refused(&["--executors", "0", "."], 2);
}
