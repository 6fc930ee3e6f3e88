//! Ends and removes what drivers left that were killed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::ApplicationId;
use convoke_core::process::cgroup::{self, Cgroup};

use crate::folder::{self, ExecutorFolder};
use crate::tree;

/// What guards and supervisors need to end all by themselves, and a little more.
const GRACE: Duration = Duration::from_millis(2500);
/// Between looks at the table of processes.
const LOOK: Duration = Duration::from_millis(50);

/// Sweeps all below `directory`. The caller holds its lock. What can't be swept is logged, and tried again by the next.
pub(crate) fn sweep(directory: &Path) {
    for (application, path, _lock) in folder::abandoned(directory) {
        tracing::debug!(%application, "sweeping what a dead driver left");
        remove(&application, &path);
    }
    let removed = cgroup::remove_abandoned();
    if removed > 0 {
        tracing::debug!(removed, "removed control groups of which nobody knew");
    }
}

/// Waits for the executors of an abandoned application to end by themselves, ends those that don't, and removes it all.
pub(crate) fn finish(application: &ApplicationId, path: &Path) {
    let deadline = clock::now() + GRACE;
    while tree::is_alive(application) && clock::now() < deadline {
        std::thread::sleep(LOOK);
    }
    remove(application, path);
}

fn remove(application: &ApplicationId, path: &Path) {
    tree::end_application(application);
    let mut swept = true;
    for executor in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(folders) = fs::read(ExecutorFolder::below(&executor.path()).cgroup) else { continue };
        let group = Cgroup::from_folders(OsStr::from_bytes(&folders));
        if let Err(error) = group.kill(Duration::from_secs(1)).and_then(|()| group.remove()) {
            tracing::warn!(%application, %error, "can't remove a control group that a driver left");
            swept = false;
        }
    }
    // Its file says where the group is: it stays with it.
    if swept && let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(folder = %path.display(), %error, "can't remove what a driver left");
    }
}
