//! The program under test, and a folder of its own for everything that it starts.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Everything happens within this, or the test fails.
const BOUND: Duration = Duration::from_secs(60);

/// A folder for executors and logs, gone with it.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    /// `convoke` with these arguments; all that is local happens in this place.
    pub fn convoke(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_convoke"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CONVOKE_")) {
            command.env_remove(name);
        }
        command.env("CONVOKE_LOCAL_DIRECTORY", self.0.path());
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.convoke(arguments).output().unwrap()
    }

    /// A driver that squares so many numbers, each taking so many milliseconds; under `convoke submit`.
    pub fn submit(&self, flags: &[&str], numbers: u64, milliseconds: u64) -> Command {
        let mut command = self.convoke(&["submit"]);
        command.args(flags).arg(squares()).args([numbers.to_string(), milliseconds.to_string()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What `convoke status --json` says of the one application here.
    pub fn status(&self) -> Option<serde_json::Value> {
        let output = self.run(&["status", "--all", "--json"]);
        let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert!(all.len() < 2, "{all:?}");
        all.into_iter().next()
    }

    /// Waits until so many executors run, and gives the application.
    pub fn until_running(&self, executors: usize) -> String {
        let mut id = String::new();
        wait_until("executors run", || {
            let Some(status) = self.status() else { return false };
            id = status["application"].as_str().unwrap().to_owned();
            let running = |executor: &&serde_json::Value| executor["state"] == "running";
            status["executors"].as_array().unwrap().iter().filter(running).count() == executors
        });
        id
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

/// The example that is a driver.
pub fn squares() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_convoke")).with_file_name("examples").join("squares");
    assert!(program.exists(), "{} isn't built: cargo build -p convoke-cli --examples", program.display());
    program
}

#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..BOUND.as_millis() / 20 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("not in time: {what}");
}

/// Waits for a child, and kills it where it doesn't end.
#[track_caller]
pub fn end_of(mut child: Child) -> Output {
    let mut ended = false;
    for _ in 0..BOUND.as_millis() / 20 {
        if child.try_wait().unwrap().is_some() {
            ended = true;
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if !ended {
        child.kill().unwrap();
        panic!("a command doesn't end");
    }
    child.wait_with_output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The processes that were started with this in their environment.
pub fn processes_with(entry: &str) -> usize {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found = 0;
    for number in
        numbers.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
    {
        let environment = std::fs::read(number.path().join("environ")).unwrap_or_default();
        found += usize::from(environment.split(|byte| *byte == 0).any(|own| own == entry.as_bytes()));
    }
    found
}
