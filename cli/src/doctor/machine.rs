//! What this machine can do, without any cluster manager.

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use super::Finding;

/// An executor and its driver need some tens of open files each; a driver of a thousand executors some thousands.
const FEW_FILES: u64 = 1024;
/// Guard, supervisor and program are three processes with some threads each.
const FEW_PROCESSES: u64 = 256;

/// Looks at limits, memory, cgroups and the folder for temporary files.
pub fn look() -> Vec<Finding> {
    vec![system(), files(), processes(), memory(), cgroup(), temporary_folder(), core_dumps()]
}

fn system() -> Finding {
    let name = rustix::system::uname();
    let seen = format!(
        "{} {} on {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    );
    if cfg!(target_os = "linux") {
        Finding::well("system", seen)
    } else {
        Finding::weak(
            "system",
            seen,
            "Linux is what is tested; elsewhere process trees can't be contained as well",
        )
    }
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < FEW_FILES => Finding::wrong(
            "files",
            format!("this shell allows {limit} open files"),
            Some("raise it: ulimit -n 4096".into()),
        ),
        Some(limit) => Finding::well("files", format!("{limit} may be open at once")),
        None => Finding::well("files", "any number may be open at once"),
    }
}

fn processes() -> Finding {
    match getrlimit(Resource::Nproc).current {
        Some(limit) if limit < FEW_PROCESSES => Finding::wrong(
            "processes",
            format!("this user may have {limit} processes and threads"),
            Some("raise it: ulimit -u 4096".into()),
        ),
        Some(limit) => Finding::well("processes", format!("{limit} processes and threads at once")),
        None => Finding::well("processes", "any number of processes"),
    }
}

fn memory() -> Finding {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |field: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
    };
    match (kib("MemAvailable:"), kib("MemTotal:")) {
        (Some(free), Some(total)) if free < 512 << 10 => Finding::weak(
            "memory",
            format!("{} of {} MiB free", free >> 10, total >> 10),
            "an executor takes 256 MiB unless executor.memory says otherwise",
        ),
        (Some(free), Some(total)) => {
            Finding::well("memory", format!("{} of {} MiB free", free >> 10, total >> 10))
        }
        _ => Finding::weak("memory", "the kernel doesn't say (/proc/meminfo)", "mount /proc"),
    }
}

/// Whether a limit can be given to the kernel, or must be watched.
fn cgroup() -> Finding {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|controller| controller == "memory") {
        return match rustix::fs::access(root, rustix::fs::Access::WRITE_OK) {
            Ok(()) => Finding::well("cgroup", "version 2, with memory, writable"),
            Err(_) => Finding::weak(
                "cgroup",
                "version 2, with memory, but not writable by this user",
                "local executors over their memory are found by a watch; systemd-run --user --scope -p Delegate=yes gives a cgroup of one's own",
            ),
        };
    }
    let memory = root.join("memory");
    if memory.join("memory.limit_in_bytes").exists() || memory.is_dir() {
        return match rustix::fs::access(&memory, rustix::fs::Access::WRITE_OK) {
            Ok(()) => Finding::well("cgroup", "version 1, with memory, writable"),
            Err(_) => Finding::weak(
                "cgroup",
                "version 1, with memory, but not writable by this user",
                "local executors over their memory are found by a watch",
            ),
        };
    }
    Finding::weak("cgroup", "none for memory", "local executors over their memory are found by a watch")
}

fn temporary_folder() -> Finding {
    let folder = std::env::temp_dir();
    let seen = folder.display().to_string();
    if let Err(error) = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK) {
        return Finding::wrong(
            "folder",
            format!("{seen} can't be written: {error}"),
            Some("name another with TMPDIR".into()),
        );
    }
    match rustix::fs::statvfs(&folder) {
        Ok(space) => {
            let mib = (space.f_bavail.saturating_mul(space.f_frsize)) >> 20;
            if mib < 256 {
                Finding::wrong(
                    "folder",
                    format!("{seen} has {mib} MiB free"),
                    Some("name another with TMPDIR".into()),
                )
            } else {
                Finding::well("folder", format!("{seen} has {mib} MiB free"))
            }
        }
        Err(error) => Finding::weak("folder", format!("{seen}: {error}"), "name another with TMPDIR"),
    }
}

fn core_dumps() -> Finding {
    match getrlimit(Resource::Core).current {
        Some(0) => Finding::well("core dumps", "off"),
        _ => Finding::weak(
            "core dumps",
            "on: a task that aborts writes one",
            "turn them off for many executors: ulimit -c 0",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;

    #[test]
    fn what_is_not_well_comes_with_advice() {
        let findings = super::look();
        assert_eq!(findings.len(), 7);
        for finding in findings.iter().filter(|finding| finding.verdict != Verdict::Well) {
            assert!(finding.advice.is_some(), "{finding:?}");
        }
    }
}
