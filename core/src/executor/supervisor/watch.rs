//! What a supervisor keeps an eye on: signals, its guard, and memory.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::shell::ShellEvent;
use crate::error::{Error, Result};
use crate::process::memory;
use crate::state::supervision::SupervisionEvent;
use crate::units::MiB;

/// How often memory is looked at where nobody else keeps the limit.
const MEMORY_WATCH: Duration = Duration::from_millis(250);
/// How often it is looked at to be told only.
const MEMORY_TOLD: Duration = Duration::from_secs(2);

/// The signals that a supervisor acts on. From now on none of them ends it.
pub(super) struct Signals {
    /// A child ended.
    pub(super) child: Signal,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(|error| Error::host("can't listen for signals", error));
        Ok(Signals {
            child: listen(SignalKind::child())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for any signal: `true` for one that asks us to end.
    pub(super) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.child.recv() => false,
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = self.hang_up.recv() => true,
        }
    }
}

/// Tells the guard's death, from a thread of its own. Nothing to watch where there is no guard.
///
/// # Errors
/// Where no thread can be started.
pub(super) fn guard(guard: Option<u32>, events: mpsc::Sender<ShellEvent>) -> Result<()> {
    let Some(guard) = guard else { return Ok(()) };
    std::thread::Builder::new()
        .name("convoke-guard".into())
        .spawn(move || {
            wait_for_end(guard);
            let _ = events.blocking_send(SupervisionEvent::GuardGone.into());
        })
        .map(|_| ())
        .map_err(|error| Error::host("can't start a thread", error))
}

fn wait_for_end(guard: u32) {
    let is_parent = || getppid().is_some_and(|parent| parent.as_raw_nonzero().get() as u32 == guard);
    let held = i32::try_from(guard).ok().and_then(Pid::from_raw).and_then(|guard| {
        pidfd_open(guard, PidfdFlags::empty()).ok() // a kernel before 5.3 can't
    });
    // While it is our parent its number can't be anybody else's: a look after the opening makes sure of whom we hold.
    while is_parent() {
        match &held {
            Some(held) => {
                let mut ready = [PollFd::new(held, PollFlags::IN)];
                if matches!(poll(&mut ready, None), Ok(1..)) {
                    return;
                }
            }
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Looks at the tree's memory again and again, closely where there is a limit to watch; on a thread of its own: a look takes milliseconds on a full host.
///
/// # Errors
/// Where no thread can be started.
pub(super) fn memory(limit: Option<MiB>, events: mpsc::Sender<ShellEvent>) -> Result<()> {
    let pause = if limit.is_some() { MEMORY_WATCH } else { MEMORY_TOLD };
    std::thread::Builder::new()
        .name("convoke-memory".into())
        .spawn(move || {
            loop {
                std::thread::sleep(pause);
                match memory::of_descendants(limit) {
                    Ok(seen) => {
                        if events.blocking_send(SupervisionEvent::MemorySeen(seen).into()).is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "can't look at the memory of the program"),
                }
            }
        })
        .map(|_| ())
        .map_err(|error| Error::host("can't start a thread", error))
}
