//! How long anything of an executor is there after a part of it was killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use convoke::process::table::{ProcessId, Table};
use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, Shape};
use crate::{Result, now};

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Driver,
    Supervisor,
    Program,
}

/// Starts two grandchildren in sessions of their own and leaves them behind.
#[convoke::task]
fn leave_behind(script: String) -> std::result::Result<u32, String> {
    // Forked twice: its parent ends at once.
    let shell = format!("setsid sh -c '{script}' </dev/null >/dev/null 2>&1 &");
    for _ in 0..2 {
        let status = Command::new("sh").args(["-c", &shell]).status().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("sh ended with {status}"));
        }
    }
    std::thread::sleep(Duration::from_millis(50)); // the other executor takes the other task
    Ok(std::process::id())
}

const ENDS: &str = "exec sleep 600";
const IGNORES_TERM: &str = "trap \"\" TERM; while :; do sleep 1; done";

/// A driver in a process of its own.
struct Application {
    process: Child,
    supervisor: i32,
    program: i32,
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may be what was killed
        let _ = self.process.wait();
    }
}

/// Seconds from the kill until nothing of what it was to take along is left.
pub(crate) fn run(victim: Victim, ignoring: bool) -> Result<f64> {
    let application = begin(if ignoring { IGNORES_TERM } else { ENDS })?;
    let driver = application.process.id().cast_signed();
    // A replacement is no part of what is to end: what counts is what is there now.
    let root = match victim {
        Victim::Driver => driver,
        Victim::Supervisor | Victim::Program => parent(application.supervisor)?,
    };
    let table = Table::read()?;
    let mut tree: Vec<ProcessId> = table
        .descendants(&[root])
        .into_iter()
        .filter(|entry| entry.is_alive())
        .map(|entry| entry.id)
        .collect();
    tree.extend(ProcessId::of(root.unsigned_abs()).filter(|_| root != driver));
    let least = if victim == Victim::Driver { 2 * 5 } else { 5 };
    if tree.len() < least {
        return Err(format!("{} processes instead of {least} and more", tree.len()).into());
    }
    let number = match victim {
        Victim::Driver => driver,
        Victim::Supervisor => application.supervisor,
        Victim::Program => application.program,
    };
    let start = now();
    kill_process(Pid::from_raw(number).ok_or("a process without a number")?, Signal::KILL)?;
    while tree.iter().any(|process| process.is_alive()) {
        if start.elapsed() > SOON {
            return Err("something of it stays".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed().as_secs_f64())
}

fn parent(process: i32) -> Result<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    Ok(parent.ok_or("no parent")?.parse()?)
}

fn begin(script: &str) -> Result<Application> {
    let mut process = Command::new(std::env::current_exe()?)
        .args(["leave-behind", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = process.stdout.take().ok_or("no output")?;
    let mut application = Application { process, supervisor: 0, program: 0 };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let numbers: Vec<i32> = line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    match numbers.as_slice() {
        [supervisor, program] => (application.supervisor, application.program) = (*supervisor, *program),
        _ => return Err("the application didn't start".into()),
    }
    Ok(application)
}

/// The process of the application: says which processes can be killed, and waits for its end.
pub(crate) fn child(script: &str) -> Result<()> {
    let driver = Shape::USUAL.driver()?;
    let programs = driver.map(leave_behind, [script.to_owned(), script.to_owned()]).wait()?;
    if programs[0] == programs[1] {
        return Err("one program ran both tasks".into());
    }
    let program = programs[0];
    let supervisor = parent(program.cast_signed())?;
    println!("{supervisor} {program}");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?; // until it is killed, or its starter has gone
    drop(driver);
    Ok(())
}
