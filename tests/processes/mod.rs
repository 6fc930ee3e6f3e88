//! Programs under test as processes: started, watched through the process table, and gone afterwards.

use std::fs;
use std::io::Read;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Pid;

/// Waits for a condition, for a minute at the most.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within a minute: {what}");
}

/// A process and the moment of its start, so that another one with its id isn't taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    id: i32,
    started: u64,
}

impl Process {
    /// Whether it still runs; a zombie doesn't.
    pub fn is_alive(&self) -> bool {
        stat(self.id).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(id: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// All processes below this one.
pub fn descendants(of: Pid) -> Vec<Process> {
    let mut found = vec![Process { id: of.as_raw_nonzero().get(), started: 0 }];
    let table: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id: i32| Some((id, stat(id)?)))
        .collect();
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).map(|process| process.id) {
        let children = table.iter().filter(|(_, stat)| stat.parent == parent);
        found.extend(children.map(|(id, stat)| Process { id: *id, started: stat.started }));
        looked_at += 1;
    }
    found.remove(0);
    found
}

/// The processes below this one that run tasks: the children of supervisors, which are the children of guards.
pub fn programs_of(driver: Pid) -> Vec<Pid> {
    let is_guard = |process: &i32| {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == b"CONVOKE_ROLE=guard")
    };
    let children = |of: i32| -> Vec<i32> {
        let all = fs::read_dir("/proc").unwrap();
        let ids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|id| stat(*id).is_some_and(|stat| stat.parent == of && stat.state != 'Z')).collect()
    };
    let guards = children(driver.as_raw_nonzero().get()).into_iter().filter(is_guard);
    guards.flat_map(children).flat_map(children).filter_map(Pid::from_raw).collect()
}

/// A running program whose output is collected; it and all below it are killed when dropped.
pub struct Job {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Job {
    /// Starts a program; its outputs must be pipes.
    pub fn start(command: &mut Command) -> Job {
        let mut child = command.spawn().unwrap();
        let stdout =
            child.stdout.take().map(|mut pipe: ChildStdout| std::thread::spawn(move || all(&mut pipe)));
        let stderr =
            child.stderr.take().map(|mut pipe: ChildStderr| std::thread::spawn(move || all(&mut pipe)));
        Job { child, stdout, stderr }
    }

    /// Its process id.
    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; it is killed, and the test fails, when that takes longer than `deadline`.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) -> Output {
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(10);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if waited > deadline => panic!("it still runs after {deadline:?}"),
                None => std::thread::sleep(step),
            }
            waited += step;
        };
        let collect =
            |pipe: Option<JoinHandle<Vec<u8>>>| pipe.map(|pipe| pipe.join().unwrap()).unwrap_or_default();
        Output { status, stdout: collect(self.stdout.take()), stderr: collect(self.stderr.take()) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let below = descendants(self.process());
            let _ = self.child.kill();
            let _ = self.child.wait();
            for process in below.iter().filter(|process| process.is_alive()) {
                if let Some(id) = Pid::from_raw(process.id) {
                    let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
                }
            }
        }
    }
}

fn all(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).unwrap();
    bytes
}
