//! What this machine can do, without any cluster manager.

use std::fs;

use rustix::process::{Resource, getrlimit};

use convoke::manager::Finding;

/// An executor and its driver need some tens of open files each; a driver of a thousand executors some thousands.
const FEW_FILES: u64 = 1024;
/// Guard, supervisor and program are three processes with some threads each.
const FEW_PROCESSES: u64 = 256;

/// Looks at system, limits and memory.
pub fn look() -> Vec<Finding> {
    vec![system(), files(), processes(), memory(), core_dumps()]
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
            "raise it: ulimit -n 4096",
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
            "raise it: ulimit -u 4096",
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
    use convoke::manager::Verdict;

    #[test]
    fn what_is_not_well_comes_with_advice() {
        let findings = super::look();
        assert_eq!(findings.len(), 5);
        for finding in findings.iter().filter(|finding| finding.verdict != Verdict::Well) {
            assert!(finding.advice.is_some(), "{finding:?}");
        }
    }
}
