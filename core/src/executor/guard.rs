//! The first process of an executor: it starts the supervisor and ends what a dead supervisor leaves.
//!
//! It knows no driver and decides nothing. All that it is there for is to outlive its supervisor, so it does nothing
//! that could fail or take memory: no runtime, no second thread.
//!
//! Its own death is the supervisor's affair, which watches it in turn.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::environment::{CGROUPS, GUARD, ROLE};
use crate::error::{Error, Result};
use crate::process::cgroup::Cgroup;
use crate::process::exit::ProcessExit;
use crate::process::{spawn, tree};

/// The code of a guard or supervisor that could not do its work; standard error says why.
pub const EXIT_NOT_STARTED: i32 = 125;

/// From SIGTERM to SIGKILL for what a dead supervisor leaves.
const GRACE: Duration = Duration::from_secs(1);

/// Plays the guard; ends the process as the supervisor ended.
pub(crate) fn run() -> ! {
    match watch() {
        Ok(exit) => exit.mirror(),
        Err(error) => {
            eprintln!("convoke: the executor's guard can't go on: {error:#}");
            std::process::exit(EXIT_NOT_STARTED)
        }
    }
}

fn watch() -> Result<ProcessExit> {
    tree::become_subreaper().map_err(|error| Error::host("can't become a subreaper", error))?;
    if let Some(folders) = std::env::var_os(CGROUPS) {
        Cgroup::from_folders(&folders).enter()?;
    }
    // Before the start: a supervisor that ends at once is not missed.
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Error::host("can't listen for signals", error))?;
    let supervisor = spawn::own_command()
        .env(ROLE, "supervisor")
        .env(GUARD, std::process::id().to_string())
        .spawn()
        .map_err(|error| Error::host("can't start the supervisor", error))?;
    let supervisor = Pid::from_child(&supervisor);
    let mut exit = None;
    for signal in signals.forever() {
        if signal == SIGCHLD {
            let reaped = tree::reap().map_err(|error| Error::host("can't wait for the supervisor", error))?;
            exit = reaped
                .exits
                .iter()
                .find(|(pid, _)| *pid == supervisor.as_raw_nonzero().get())
                .map(|(_, exit)| *exit);
            if exit.is_some() {
                break;
            }
        } else {
            // A supervisor that is stopped hears nothing until it goes on. One that is gone is reaped in a moment.
            let _ = kill_process(supervisor, Signal::TERM);
            let _ = kill_process(supervisor, Signal::CONT);
        }
    }
    tree::end_children(GRACE)
        .map_err(|error| Error::host("can't end all that the supervisor left", error))?;
    if let Some(folders) = std::env::var_os(CGROUPS)
        && driver_is_gone()
        && let Err(error) = Cgroup::from_folders(&folders).leave_and_remove()
    {
        eprintln!("convoke: {error:#}"); // empty groups are swept by whoever starts next
    }
    exit.ok_or_else(|| Error::internal("the listener for signals ended"))
}

/// Whether standard input, which the driver's host holds, has ended: then nobody else will remove what is left.
fn driver_is_gone() -> bool {
    let stdin = rustix::stdio::stdin();
    let mut looked = [PollFd::new(&stdin, PollFlags::IN)];
    let told = poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    told.is_ok() && looked[0].revents().contains(PollFlags::HUP)
}
