//! Signals that a person or a system sends to `convoke submit`, for the program that it runs.

use std::time::Duration;

use convoke::{Error, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc;

/// How long a program may take to heed an interruption before a person is told how to end it at once.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    pub signal: Signal,
    /// Typed at the terminal: the program, in the same process group, has it already.
    pub typed: bool,
}

/// Hears them from now on, on a thread of its own.
pub fn hear() -> Result<mpsc::UnboundedReceiver<Interruption>> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Error::host("can't handle signals", error))?;
    let (sender, heard) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("convoke-signals".to_owned())
        .spawn(move || {
            for origin in signals.forever() {
                let signal = match origin.signal {
                    SIGINT => Signal::INT,
                    SIGHUP => Signal::HUP,
                    _ => Signal::TERM,
                };
                // The kernel itself sends what is typed.
                let interruption = Interruption { signal, typed: matches!(origin.cause, Cause::Kernel) };
                if sender.send(interruption).is_err() {
                    return;
                }
            }
        })
        .map_err(|error| Error::host("can't start a thread", error))?;
    Ok(heard)
}
