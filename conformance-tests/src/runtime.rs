//! What the runtime profile works with: a real driver on the subject's manager, tasks that the kit counts itself, and faults
//! between the two.

pub(crate) mod hand;
pub(crate) mod launches;
pub(crate) mod meddle;
pub(crate) mod relay;
pub(crate) mod subject;
pub(crate) mod tally;
pub(crate) mod tasks;

use convoke_core::executor::role;

/// The argument behind the program's name that makes a process an executor of the kit's own drivers.
pub(crate) const EXECUTOR: &str = "convoke-conformance-executor";

/// Plays the part of an executor, and never returns, where this process was started for that.
pub(crate) fn become_executor_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|mode| mode == EXECUTOR) {
        role::init();
        eprintln!("convoke-conformance: {EXECUTOR} is started by a cluster manager, not by hand");
        std::process::exit(64);
    }
}
