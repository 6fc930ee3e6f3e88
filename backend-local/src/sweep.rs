//! Ends and removes what drivers left that were killed, and old logs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::ApplicationId;
use convoke_core::process::cgroup::{self, Cgroup};

use crate::folder::{self, ExecutorFolder};
use crate::record::{ApplicationRecord, EndRecord, now_ms};
use crate::tree;

/// What guards and supervisors need to end all by themselves, and a little more.
const GRACE: Duration = Duration::from_millis(2500);
/// Between looks at the table of processes.
const LOOK: Duration = Duration::from_millis(50);
/// The logs of so many ended applications are kept at the most, however young.
const MOST_ENDED: usize = 100;
/// So much of them altogether.
const MOST_BYTES: u64 = 1 << 30;

/// Sweeps all below `directory`. The caller holds its lock. What can't be swept is logged, and tried again by the next.
pub(crate) fn sweep(directory: &Path) {
    for (application, path, _lock) in folder::abandoned(directory) {
        tracing::debug!(%application, "sweeping what a dead driver left");
        remove(&application, &path);
    }
    remove_old(directory);
    let removed = cgroup::remove_abandoned();
    if removed > 0 {
        tracing::debug!(removed, "removed control groups of which nobody knew");
    }
}

/// Waits for the executors of an abandoned application to end by themselves, ends those that don't, and removes what isn't
/// kept.
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
        let executor = ExecutorFolder::below(&executor.path());
        executor.remove_work();
        let Ok(folders) = fs::read(&executor.cgroup) else { continue };
        let group = Cgroup::from_folders(OsStr::from_bytes(&folders));
        if let Err(error) = group.kill(Duration::from_secs(1)).and_then(|()| group.remove()) {
            tracing::warn!(%application, %error, "can't remove a control group that a driver left");
            swept = false;
        } else {
            let _ = fs::remove_file(&executor.cgroup); // no group is there any more: the next finds none either
        }
    }
    // A file says where the group is that stays: so does its folder, unswept.
    if swept {
        let kept = ApplicationRecord::read(path).map_or(0, |record| record.logs_kept_ms);
        folder::retire(path, None, kept);
    }
}

/// Removes the logs of applications that ended long ago, and the oldest where there are too many.
fn remove_old(directory: &Path) {
    let now = now_ms();
    let mut kept: Vec<(u64, PathBuf)> = Vec::new();
    for (application, path) in folder::applications(directory).unwrap_or_default() {
        let Some(end) = EndRecord::read(&path) else { continue };
        if end.is_over(now) {
            tracing::debug!(%application, "removing the logs of an application that ended long ago");
            remove_folder(&path);
        } else {
            kept.push((end.at_ms, path));
        }
    }
    kept.sort_unstable_by(|one, other| other.cmp(one));
    let mut bytes = 0;
    for (index, (_, path)) in kept.iter().enumerate() {
        bytes += size(path);
        // The youngest stays, whatever its size.
        if index >= MOST_ENDED || (bytes > MOST_BYTES && index > 0) {
            remove_folder(path);
        }
    }
}

fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(folder = %path.display(), %error, "can't remove old logs");
    }
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
