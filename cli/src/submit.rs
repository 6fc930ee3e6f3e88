//! `convoke submit`: runs a program built with convoke, with its settings, and is out of its way.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use convoke::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{DeployMode, Submit};
use crate::leftovers;
use crate::settings::Chosen;

/// What a shell shows for a program that was interrupted.
const INTERRUPTED: u8 = 130;
/// How long executors of a program that has ended may take to end.
const LEFTOVERS_END: Duration = Duration::from_secs(5);

/// Checks settings and master, then runs the program.
pub fn run(command: &Submit) -> Result<ExitCode> {
    let mut chosen =
        Chosen::collect(&command.configuration, &command.place, Some(&command.executors), std::env::vars())?;
    chosen.executor_env(&command.executor_env);
    let settings = chosen.settings()?;
    let manager = convoke::registry().manager(&settings.master_or_local())?;
    if command.deploy_mode == DeployMode::Cluster {
        return Err(Error::unsupported("this master doesn't run drivers (cluster mode)")
            .with("master", settings.master_or_local())
            .with("backend", manager.describe().kind)
            .help("leave --deploy-mode out: the driver runs here, and its executors there"));
    }
    drop(manager);
    let Some((program, arguments)) = command.program.split_first() else {
        return Err(Error::invalid("program", "there is no program to run"));
    };
    let mut child = Command::new(program);
    child.args(arguments).envs(chosen.variables());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't start a runtime", error))?;
    runtime.block_on(async {
        leftovers::adopt()?;
        // Before the program starts: an interruption from its first moment on is to be passed on.
        let signals = Signals::handle()?;
        let child = child.spawn().map_err(|error| cannot_start(&program.to_string_lossy(), error))?;
        let ended = attend(child, signals).await;
        leftovers::wait(LEFTOVERS_END).await;
        ended
    })
}

fn cannot_start(program: &str, error: io::Error) -> Error {
    let help = match error.kind() {
        io::ErrorKind::NotFound if program.contains('/') => {
            "check the path, or build it first (cargo build --release)"
        }
        io::ErrorKind::NotFound => "name it by its path, such as target/release/my-program",
        io::ErrorKind::PermissionDenied => "make it executable: chmod +x",
        _ => "it must be a program for this machine",
    };
    Error::host("can't start the program", error).with("program", program).help(help)
}

/// What is passed on to the program.
struct Signals {
    interrupts: tokio::signal::unix::Signal,
    terminations: tokio::signal::unix::Signal,
}

impl Signals {
    fn handle() -> Result<Signals> {
        let handler = |kind| signal(kind).map_err(|error| Error::host("can't handle signals", error));
        Ok(Signals {
            interrupts: handler(SignalKind::interrupt())?,
            terminations: handler(SignalKind::terminate())?,
        })
    }
}

/// Waits for the program; the first interruption is its own affair, the second ends it at once.
async fn attend(mut child: Child, mut signals: Signals) -> Result<ExitCode> {
    let mut interrupted = 0;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Error::host("can't wait for the program", error))?;
                return Ok(code(status, interrupted > 0));
            }
            _ = signals.interrupts.recv() => {
                interrupted += 1;
                if interrupted > 1 {
                    tell(&child, Signal::KILL);
                } else if !typed() {
                    tell(&child, Signal::INT);
                }
            }
            _ = signals.terminations.recv() => tell(&child, Signal::TERM),
        }
    }
}

fn tell(child: &Child, signal: Signal) {
    let process = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(process) = process {
        let _ = kill_process(process, signal); // it has just ended: fine
    }
}

/// Whether an interruption comes from the keyboard: then the program, in the same process group, has it already.
fn typed() -> bool {
    let foreground = rustix::termios::tcgetpgrp(rustix::stdio::stdin())
        .or_else(|_| rustix::termios::tcgetpgrp(rustix::stdio::stderr()));
    foreground.is_ok_and(|group| group == rustix::process::getpgrp())
}

/// The program's exit code; one that a signal ended has what a shell shows for it.
fn code(status: ExitStatus, interrupted: bool) -> ExitCode {
    match (status.code(), status.signal()) {
        (_, Some(_)) if interrupted => ExitCode::from(INTERRUPTED),
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        (None, Some(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        (None, None) => ExitCode::FAILURE,
    }
}
