//! Ends and removes what drivers left that were killed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use convoke_core::process::cgroup::{self, Cgroup};

use crate::folder::{self, ExecutorFolder};

/// Sweeps all below `directory`. The caller holds its lock. What can't be swept is logged, and tried again by the next.
pub(crate) fn sweep(directory: &Path) {
    for (application, path, _lock) in folder::abandoned(directory) {
        tracing::debug!(%application, "sweeping what a dead driver left");
        crate::tree::end_application(&application);
        let mut swept = true;
        for executor in fs::read_dir(&path).into_iter().flatten().flatten() {
            let Ok(folders) = fs::read(ExecutorFolder::below(&executor.path()).cgroup) else { continue };
            let group = Cgroup::from_folders(std::ffi::OsStr::from_bytes(&folders));
            if let Err(error) = group.kill(Duration::from_secs(1)).and_then(|()| group.remove()) {
                tracing::warn!(%application, %error, "can't remove a control group that a dead driver left");
                swept = false;
            }
        }
        // Its file says where the group is: it stays with it.
        if swept && let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(folder = %path.display(), %error, "can't remove what a dead driver left");
        }
    }
    let removed = cgroup::remove_abandoned();
    if removed > 0 {
        tracing::debug!(removed, "removed control groups of which nobody knew");
    }
}
