//! Where one reference has its socket, its books and its executors' folders. The daemon takes it away with itself; what a
//! daemon and a kit leave that were both killed, the next one sweeps.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use convoke_core::process::table::ProcessId;
use tempfile::TempDir;

const PREFIX: &str = "convoke-reference-";
/// Names the kit's process.
const OWNER: &str = "kit";
/// One without an owner is being made, or older than this.
const MADE_WITHIN: Duration = Duration::from_secs(600);

/// Makes a folder, and sweeps those whose kit is gone.
pub(super) fn make() -> io::Result<TempDir> {
    let all = std::env::temp_dir();
    for entry in fs::read_dir(&all)?.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if ours && is_abandoned(&path) {
            let _ = fs::remove_dir_all(&path); // another kit may sweep it at the same time
        }
    }
    let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(all)?;
    if let Some(ProcessId { number, started_ticks }) = ProcessId::of(std::process::id()) {
        fs::write(folder.path().join(OWNER), format!("{number} {started_ticks}"))?;
    }
    Ok(folder)
}

fn is_abandoned(path: &Path) -> bool {
    let owner = fs::read_to_string(path.join(OWNER)).ok().and_then(|text| {
        let (number, started_ticks) = text.split_once(' ')?;
        Some(ProcessId { number: number.parse().ok()?, started_ticks: started_ticks.parse().ok()? })
    });
    match owner {
        Some(owner) => !owner.is_alive(),
        None => {
            let made = fs::metadata(path).and_then(|about| about.modified());
            let age = made.ok().and_then(|made| convoke_core::clock::wall_time().duration_since(made).ok());
            age.is_some_and(|age| age > MADE_WITHIN)
        }
    }
}
