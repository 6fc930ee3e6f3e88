//! The supervisor: it joins the driver, starts the program, and sees to the end of both, whatever happens.
//!
//! What it does and when is decided in [`state::supervision`](crate::state::supervision); this module brings the events
//! and carries out the commands.
//!
//! | file | what |
//! | --- | --- |
//! | `start` | what the environment says |
//! | `input` | the ticket, and the end of standard input |
//! | `driver` | the join and the connection for heartbeats |
//! | `program` | starting the program; its link |
//! | `ahead` | a copy of this process that may become the program |
//! | `foreign`, `ports` | starting a program that doesn't link convoke; its ports, its being ready |
//! | `output` | its output: rolled files or our own, and the tail |
//! | `watch` | signals, the guard's death, memory |
//! | `shell` | the loop |

pub(in crate::executor) mod ahead;
pub(in crate::executor) mod assignment;
pub(in crate::executor) mod driver;
mod foreign;
mod input;
mod output;
mod ports;
mod program;
mod shell;
pub(in crate::executor) mod start;
mod watch;

use ahead::Ahead;

use crate::error::{Error, Result};
use crate::executor::guard::EXIT_NOT_STARTED;
use crate::process::exit::ProcessExit;
use crate::process::tree;

/// Plays the supervisor; ends the process as its program ended.
pub(crate) fn run(ahead: Option<Ahead>) -> ! {
    let exit = supervise(ahead).unwrap_or_else(|error| {
        eprintln!("convoke: the executor's supervisor can't go on: {error:#}");
        // Whatever runs already must not outlive us; the guard would see to it too.
        let _ = tree::end_children(std::time::Duration::from_secs(1));
        ProcessExit::Code(EXIT_NOT_STARTED)
    });
    exit.mirror()
}

fn supervise(ahead: Option<Ahead>) -> Result<ProcessExit> {
    let start = start::ExecutorStart::from_environment(&|name| std::env::var(name).ok())?;
    tree::become_subreaper().map_err(|error| Error::host("can't become a subreaper", error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't make a runtime", error))?;
    // The thread of this call starts the program and lives as long as this process: a parent-death signal holds.
    tokio::task::LocalSet::new().block_on(&runtime, shell::run(start, ahead))
}
