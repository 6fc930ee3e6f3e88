//! Limits of one process that its children inherit.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Limits to set before a program is executed. What is `None` stays as it is inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcessLimits {
    /// How many files it may have open; no more than the host lets it.
    pub open_files: Option<u64>,
    /// How large a core dump may be, in bytes.
    pub core_bytes: Option<u64>,
    /// How many processor seconds it may use; then SIGXCPU.
    pub cpu_seconds: Option<u64>,
}

impl ProcessLimits {
    /// Sets them for this process.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn apply(&self) -> io::Result<()> {
        for (resource, wanted) in [
            (Resource::Nofile, self.open_files),
            (Resource::Core, self.core_bytes),
            (Resource::Cpu, self.cpu_seconds),
        ] {
            if let Some(wanted) = wanted {
                let maximum = getrlimit(resource).maximum;
                let current = Some(maximum.map_or(wanted, |maximum| wanted.min(maximum)));
                setrlimit(resource, Rlimit { current, maximum })?;
            }
        }
        Ok(())
    }
}
