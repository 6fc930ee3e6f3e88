//! How a process learns that it is to be a part of an executor.

use std::os::unix::net::UnixStream;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::environment::ROLE;
use super::supervisor::ahead::{Ahead, Started};
use super::{guard, link, program, supervisor};
use crate::error::{Error, Result};
use crate::process::spawn;

/// Plays the part of an executor that this process was started for, and ends it; in any other process, returns at once.
///
/// A program that uses convoke calls this first in `main`: the same binary is driver and executor.
///
/// ```no_run
/// convoke_core::executor::role::init();
/// // From here on this is the driver.
/// ```
///
/// It may be called within a runtime (`#[tokio::main]`). Executors start faster where it is called before there is any thread
/// beside `main`'s: then the second and the third process of each are copies of its first, and the program is loaded once.
pub fn init() {
    supervise();
    if assigned() == Some(Role::Program) {
        apart(|| std::process::exit(play_program()));
    }
}

/// Plays the guard and the supervisor as [`init`] does, and no program: returns in the process that is to be one, for a caller
/// that has a program of its own, and in any process that is no part of an executor.
pub fn supervise() {
    loop {
        match assigned() {
            // Each returns in a copy of its process, whose environment says what it is.
            Some(Role::Guard) => guard::run(),
            Some(Role::Supervisor) => match Ahead::start() {
                Started::Here => {}
                Started::Ahead(program) => apart(move || supervisor::run(program)),
            },
            // On this thread: it becomes another program, which has no use for ours.
            Some(Role::Exec) => std::process::exit(spawn::become_program()),
            Some(Role::Program) | None => return,
        }
    }
}

/// Whether this process was started to be a part of an executor, and [`init`] has not been called: a driver that finds
/// this so must not go on, for it would start executors that start executors.
#[must_use]
pub fn is_executor() -> bool {
    assigned().is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Guard,
    Supervisor,
    Program,
    Exec,
}

fn assigned() -> Option<Role> {
    match std::env::var_os(ROLE)?.to_str()? {
        "guard" => Some(Role::Guard),
        "supervisor" => Some(Role::Supervisor),
        // The variable passes to what a task starts; the link doesn't. Without it this process is nobody's program.
        "exec" if own_link().is_ok() => Some(Role::Exec),
        "program" if own_link().is_ok() => Some(Role::Program),
        _ => None,
    }
}

/// Runs `part` on a thread of its own, which no runtime knows, and ends the process when that panics.
fn apart(part: impl FnOnce() + Send + 'static) -> ! {
    let thread = std::thread::Builder::new().name("convoke".into()).spawn(part);
    let code = match thread {
        Ok(thread) => {
            let _ = thread.join(); // a panic has told itself; a part that ends well doesn't return
            101
        }
        Err(error) => {
            eprintln!("convoke: can't start a thread: {error}");
            guard::EXIT_NOT_STARTED
        }
    };
    std::process::exit(code)
}

/// A copy of standard input that is a link: a socket.
fn own_link() -> std::io::Result<UnixStream> {
    rustix::net::sockopt::socket_type(rustix::stdio::stdin())?;
    let link = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    Ok(UnixStream::from(link))
}

fn play_program() -> i32 {
    match begin_program() {
        Ok(Some((setup, link))) => program::run(setup, link),
        Ok(None) => 0, // its supervisor is gone already
        Err(error) => {
            eprintln!("convoke: the executor's program can't begin: {error:#}");
            guard::EXIT_NOT_STARTED
        }
    }
}

fn begin_program() -> Result<Option<(link::ProgramSetup, UnixStream)>> {
    // The supervisor ends us; this is for when it can't any more. It dies too early for this: the link has ended.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::host("can't set the parent-death signal", error.into()))?;
    let link = own_link().map_err(|error| Error::host("there is no link to the supervisor", error))?;
    // What a task starts and what asks for input finds nothing, rather than the link.
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::stdio::dup2_stdin);
    nothing.map_err(|error| Error::host("can't open /dev/null", error.into()))?;
    Ok(link::read_setup(&link)?.map(|setup| (setup, link)))
}
