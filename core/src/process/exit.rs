//! How a process ended, and how to end as another did.

use std::fmt;

use rustix::process::{Resource, Rlimit, Signal, WaitStatus, kill_process, setrlimit};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessExit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl ProcessExit {
    /// What a wait tells; `None` where the process did not end, but was stopped or continued.
    #[must_use]
    pub fn from_status(status: WaitStatus) -> Option<ProcessExit> {
        (status.exit_status().map(ProcessExit::Code))
            .or_else(|| status.terminating_signal().map(ProcessExit::Signal))
    }

    /// Ends this process in the same way, so that its parent sees what we saw. A signal leaves no core dump of ours.
    pub fn mirror(self) -> ! {
        match self {
            ProcessExit::Code(code) => std::process::exit(code),
            ProcessExit::Signal(signal) => {
                let no_core = Rlimit { current: Some(0), maximum: Some(0) };
                let _ = setrlimit(Resource::Core, no_core); // lowering is always allowed
                if signal == Signal::KILL.as_raw() {
                    let _ = kill_process(rustix::process::getpid(), Signal::KILL);
                }
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                // Only a signal that can't end a process comes here, or one that this process blocks.
                std::process::exit(128_i32.saturating_add(signal));
            }
        }
    }
}

impl fmt::Display for ProcessExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessExit::Code(code) => write!(f, "exit code {code}"),
            ProcessExit::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}
