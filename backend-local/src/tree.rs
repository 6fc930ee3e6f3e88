//! Ends, from outside, what an executor's own guard and supervisor could not.
//!
//! A process is known as the executor's by its descent, by its control group, or by the names in the environment that it was
//! started with.

use std::fs;
use std::time::Duration;

use convoke_core::executor::environment::{APPLICATION, EXECUTOR};
use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::process::cgroup::Cgroup;
use convoke_core::process::table::{ProcessId, Table};
use convoke_core::process::tree::kill_trees;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills all of one executor. Blocks until it is gone.
pub(crate) fn end_executor(
    application: &ApplicationId,
    executor: ExecutorId,
    guard: Option<ProcessId>,
    cgroup: Option<&Cgroup>,
) {
    let mut roots = marked(application, Some(executor));
    roots.extend(guard);
    end(&roots, cgroup);
}

/// Whether anything runs for an application.
pub(crate) fn is_alive(application: &ApplicationId) -> bool {
    !marked(application, None).is_empty()
}

/// Kills all that runs for an application. Blocks until it is gone.
pub(crate) fn end_application(application: &ApplicationId) {
    end(&marked(application, None), None);
}

fn end(roots: &[ProcessId], cgroup: Option<&Cgroup>) {
    if !roots.is_empty()
        && let Err(error) = kill_trees(roots)
    {
        tracing::warn!(%error, "can't end all processes of an executor");
    }
    if let Some(cgroup) = cgroup
        && let Err(error) = cgroup.kill(PATIENCE)
    {
        tracing::warn!(%error, "can't end all processes of an executor's control group");
    }
}

/// The processes that were started with the names of this application, and of this executor, in their environment.
fn marked(application: &ApplicationId, executor: Option<ExecutorId>) -> Vec<ProcessId> {
    let table = match Table::read() {
        Ok(table) => table,
        Err(error) => {
            tracing::warn!(%error, "can't read the table of processes");
            return Vec::new();
        }
    };
    let mut wanted = vec![format!("{APPLICATION}={application}")];
    wanted.extend(executor.map(|executor| format!("{EXECUTOR}={executor}")));
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in table.entries().iter().filter(|entry| entry.is_alive()) {
        if u32::try_from(entry.id.number).is_ok_and(|number| number == own) {
            continue;
        }
        // Gone, or somebody else's: not ours.
        let Ok(environment) = fs::read(format!("/proc/{}/environ", entry.id.number)) else { continue };
        let has =
            |wanted: &String| environment.split(|byte| *byte == 0).any(|name| name == wanted.as_bytes());
        if wanted.iter().all(has) {
            found.push(entry.id);
        }
    }
    found
}
