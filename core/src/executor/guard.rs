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

use super::cache;
use super::environment::{APPLICATION, CGROUPS, GUARD, ROLE};
use crate::error::{Error, Result};
use crate::process::cgroup::Cgroup;
use crate::process::copy::{self, Copied};
use crate::process::exit::ProcessExit;
use crate::process::{spawn, tree};

/// The code of a guard or supervisor that could not do its work; standard error says why.
pub const EXIT_NOT_STARTED: i32 = 125;

/// From SIGTERM to SIGKILL for what a dead supervisor leaves.
const GRACE: Duration = Duration::from_secs(1);

/// Plays the guard; ends the process as the supervisor ended. Returns only in a copy of this process, whose environment says
/// that it is the supervisor.
pub(crate) fn run() {
    match watch() {
        Ok(Some(exit)) => exit.mirror(),
        Ok(None) => {}
        Err(error) => {
            eprintln!("convoke: the executor's guard can't go on: {error:#}");
            std::process::exit(EXIT_NOT_STARTED)
        }
    }
}

/// How the supervisor ended; `None` in the copy that is to be it.
fn watch() -> Result<Option<ProcessExit>> {
    let number = std::process::id().to_string();
    tree::become_subreaper().map_err(|error| Error::host("can't become a subreaper", error))?;
    if let Some(folders) = std::env::var_os(CGROUPS) {
        Cgroup::from_folders(&folders).enter()?;
    }
    let supervisor = match copy::copy() {
        Some(Copied::Copy) => {
            // As one that was started anew would find it. There is no other thread, so it can be said.
            let told = copy::change_environment(&[], &[(ROLE, "supervisor"), (GUARD, &number)]);
            return if told { Ok(None) } else { Err(Error::internal("a copy of the guard has threads")) };
        }
        Some(Copied::Original(supervisor)) => supervisor,
        // Called late, where the program has threads already.
        None => {
            let supervisor = spawn::own_command().env(ROLE, "supervisor").env(GUARD, &number).spawn();
            Pid::from_child(&supervisor.map_err(|error| Error::host("can't start the supervisor", error))?)
        }
    };
    // Not before the start: a copy would have the handlers, and its signals be told here. Should one end this process in
    // between, its supervisor sees that.
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP])
        .map_err(|error| Error::host("can't listen for signals", error))?;
    // A supervisor that has ended meanwhile is not missed.
    let mut exit = exit_of(supervisor)?;
    let mut heard = signals.forever();
    while exit.is_none()
        && let Some(signal) = heard.next()
    {
        if signal == SIGCHLD {
            exit = exit_of(supervisor)?;
        } else {
            // A supervisor that is stopped hears nothing until it goes on. One that is gone is reaped in a moment.
            let _ = kill_process(supervisor, Signal::TERM);
            let _ = kill_process(supervisor, Signal::CONT);
        }
    }
    tree::end_children(GRACE)
        .map_err(|error| Error::host("can't end all that the supervisor left", error))?;
    if let Ok(application) = std::env::var(APPLICATION)
        && let Err(error) = cache::leave_behind(&application)
    {
        eprintln!("convoke: fetched files stay for the next executor here to remove: {error}");
    }
    if let Some(folders) = std::env::var_os(CGROUPS)
        && driver_is_gone()
        && let Err(error) = Cgroup::from_folders(&folders).leave_and_remove()
    {
        eprintln!("convoke: {error:#}"); // empty groups are swept by whoever starts next
    }
    exit.map(Some).ok_or_else(|| Error::internal("the listener for signals ended"))
}

/// Takes the exits of all children that have ended; the supervisor's, where it is among them.
fn exit_of(supervisor: Pid) -> Result<Option<ProcessExit>> {
    let reaped = tree::reap().map_err(|error| Error::host("can't wait for the supervisor", error))?;
    let number = supervisor.as_raw_nonzero().get();
    Ok(reaped.exits.iter().find(|(pid, _)| *pid == number).map(|(_, exit)| *exit))
}

/// Whether standard input, which the driver's host holds, has ended: then nobody else will remove what is left.
fn driver_is_gone() -> bool {
    let stdin = rustix::stdio::stdin();
    let mut looked = [PollFd::new(&stdin, PollFlags::IN)];
    let told = poll(&mut looked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    told.is_ok() && looked[0].revents().contains(PollFlags::HUP)
}
