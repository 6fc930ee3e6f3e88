//! The local backend of convoke: executors as processes of this host.
//!
//! | master URL | nodes | executors |
//! | --- | --- | --- |
//! | `local[n]`, `local[*]`, `local` | one, `localhost`, of `n` cpus (`*`: as many as this host has processors) | one, which takes all cpus |
//! | `local-cluster[nodes,cpus,memory]` | simulated ones, `node-1` …, each with so much | any number, placed where there is room |
//! | `local-inline[n]`, `local-inline` | as `local` | one, on threads of this very process, for debuggers |
//!
//! Nodes are bookkeeping: all executors run on this host, and more may be promised than it has.
//!
//! # What an executor finds
//!
//! It runs in a working directory of its own, with the driver's environment (as Spark's local mode has it) except for names
//! that begin with `CONVOKE_`: of those it has what its launcher and this backend say. Its ticket comes as one line on its
//! standard input, which then stays open: its end says that the driver is gone. The application's bootstrap keeps its output
//! in rolled files; any other program's output is kept for it.
//!
//! # How it ends
//!
//! A guard and a supervisor, two processes that watch each other, end the whole tree when the driver dies, at once and however
//! it dies. When an executor is stopped they get SIGTERM, and what is left after their grace is killed from outside, also
//! where both are stopped. A program that is no bootstrap ([`Program::OnNode`](convoke_core::manager::Program::OnNode),
//! [`Program::File`](convoke_core::manager::Program::File)) has no such guard: it must heed the end of its standard input
//! itself, and what it leaves of a driver that was killed lives until the next driver of that user starts.
//!
//! Where the host allows it, each executor has a control group (version 2 or 1) that keeps the memory of its whole tree
//! within its profile's and shares processors out by it; elsewhere its supervisor watches its memory.
//!
//! Inline there is no process to end: a task that exits takes its driver along, no memory limit holds, and a task that
//! ignores its end goes on.
//!
//! # What is left behind
//!
//! Logs, for a day (`local.logs-kept`), where `convoke logs` finds them; nothing else by a driver that closes or drops its
//! application. One that is killed leaves its folder, and may leave empty control groups; the next driver of the same user
//! sweeps them, and removes old logs.

mod application;
mod cluster;
mod executor;
mod exit;
mod folder;
mod launch;
mod master;
mod operator;
mod process;
mod provisioner;
mod record;
mod requests;
pub mod settings;
mod spawn;
mod state;
mod sweep;
mod tree;

use std::sync::Arc;

use convoke_core::manager::{ClusterManager, Managed, Registry};

pub use master::LocalMaster;
pub use provisioner::Local;
pub use settings::LocalSettings;

/// Makes `local`, `local-cluster` and `local-inline` known.
///
/// ```
/// use convoke_core::manager::Registry;
/// let mut registry = Registry::new();
/// convoke_local::register(&mut registry);
/// assert_eq!(registry.manager("local-cluster[2,4,1GiB]")?.describe().kind, "local");
/// let error = registry.manager("local-cluster[2,4]").unwrap_err();
/// assert!(format!("{error:#}").contains("NODES,CPUS,MEMORY"));
/// # Ok::<(), convoke_core::Error>(())
/// ```
pub fn register(registry: &mut Registry) {
    registry.settings("local", settings::SETTINGS);
    for scheme in ["local", "local-cluster", "local-inline"] {
        registry.register(
            scheme,
            Arc::new(|url, settings| {
                Ok(Arc::new(Managed::new(Local::new(url, settings)?)) as Arc<dyn ClusterManager>)
            }),
        );
    }
}
