//! The program: what runs tasks. One thread for its stream, one per slot, one that says it is alive, one that listens to its
//! supervisor.
//!
//! ```text
//! driver ══ stream ══▶ control loop ──▶ queue ──▶ slots (a thread each)
//!    ▲                                               │
//!    ╚════════ one message of all that is ready ═════╝ outbox
//! ```

mod carrier;
pub mod engine;
mod life;
mod log_tail;
mod logging;
pub mod outbox;
mod panics;
mod slot;
mod stream;

use std::os::unix::net::UnixStream;

use super::link::ProgramSetup;

/// Runs as the program of an executor until it is drained or its supervisor is gone; says the exit code.
///
/// Called on a thread of its own with no runtime. `link` is all that ties it to its supervisor: its end means the end.
#[must_use]
pub fn run(setup: ProgramSetup, link: UnixStream) -> i32 {
    logging::install();
    match life::live(&setup, link) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("convoke: the executor's program can't go on: {error:#}");
            1
        }
    }
}
