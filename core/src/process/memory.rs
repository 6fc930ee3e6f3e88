//! How much memory a process tree holds, where no control group counts it.
//!
//! What counts is what the kernel can't take back: anonymous pages, swapped ones, and shared memory. Pages of mapped files
//! don't: a program may map a file larger than its limit, and the kernel drops such pages when it wants. Shared memory is
//! counted once, as the largest share of any one process, for the same segment shows in each.
//!
//! The sum over the processes counts twice what they share since a fork (copy on write), so it can be too high, never too
//! low. It is cheap, and the common answer. Only where it passes the limit, the proportional numbers decide, for which the
//! kernel has to walk the page tables.

use std::fs;
use std::io;

use rustix::process::{Pid, getpid};

use super::table::{Entry, Table};
use crate::units::MiB;

/// The memory of all descendants of this process: by the cheap sum, or exactly where that is more than `limit`.
///
/// # Errors
/// Where `/proc` can't be read.
pub fn of_descendants(limit: Option<MiB>) -> io::Result<MiB> {
    let table = Table::read()?;
    Ok(of_processes(&table.descendants(&[Pid::as_raw(Some(getpid()))]), limit))
}

/// The memory of these processes, as [`of_descendants`] counts it.
#[must_use]
pub fn of_processes(processes: &[Entry], limit: Option<MiB>) -> MiB {
    let sum = sum_kib(processes, |entry| {
        let status = fs::read_to_string(format!("/proc/{}/status", entry.id.number)).unwrap_or_default();
        let kib = |name| field(&status, name).unwrap_or(0);
        (kib("RssAnon:") + kib("VmSwap:"), kib("RssShmem:"))
    });
    if limit.is_none_or(|limit| sum <= limit.0.saturating_mul(1024)) {
        return MiB(sum / 1024);
    }
    let exact = sum_kib(processes, |entry| {
        let rollup =
            fs::read_to_string(format!("/proc/{}/smaps_rollup", entry.id.number)).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{}/status", entry.id.number)).unwrap_or_default();
        // A kernel before 4.14 (or 5.4, for the anonymous part), or one that hides it: the sum is what there is.
        let anonymous = field(&rollup, "Pss_Anon:").or_else(|| field(&status, "RssAnon:")).unwrap_or(0);
        let swapped = field(&rollup, "SwapPss:").or_else(|| field(&status, "VmSwap:")).unwrap_or(0);
        (anonymous + swapped, field(&status, "RssShmem:").unwrap_or(0))
    });
    MiB(exact.div_ceil(1024))
}

fn sum_kib(processes: &[Entry], of: impl Fn(&Entry) -> (u64, u64)) -> u64 {
    let (mut own, mut shared) = (0, 0);
    for entry in processes.iter().filter(|entry| entry.is_alive()) {
        let (anonymous, segments) = of(entry);
        own += anonymous;
        shared = shared.max(segments);
    }
    own + shared
}

/// The number of kibibytes in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_this_process_holds_cheaply_and_exactly() {
        let me = Entry::read(Pid::as_raw(Some(getpid()))).unwrap();
        let before = of_processes(&[me], None);
        let held = vec![1_u8; 64 << 20];
        let cheap = of_processes(&[me], None);
        let exact = of_processes(&[me], Some(MiB(1)));
        assert!(held.iter().all(|byte| *byte == 1));
        assert!(cheap.0 >= before.0 + 48, "{before} then {cheap}");
        assert!(exact.0 >= 64 && exact.0 <= cheap.0 + 16, "{cheap} by sum, {exact} exactly");
    }

    #[test]
    fn fields_are_found_by_name() {
        let text = "VmRSS:\t   12 kB\nRssAnon:\t     340 kB\n";
        assert_eq!(field(text, "RssAnon:"), Some(340));
        assert_eq!(field(text, "RssShmem:"), None);
    }
}
