//! A copy of this process, instead of a new start of its program: as quick as a process can be had, for all that loading and
//! linking have done is there already.

use rustix::process::{Pid, RawPid};

/// Which of the two this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copied {
    /// The one that was there before; the copy is its child.
    Original(Pid),
    /// The copy.
    Copy,
}

/// Copies this process, where it has one thread and no more: only then is the copy whole. `None` where it can't be copied; a
/// new start of the program does the same, in more time.
///
/// Signal handlers and open files are the copy's, too; the end of its parent's thread, subreaping and timers are not.
#[must_use]
pub(crate) fn copy() -> Option<Copied> {
    if !has_one_thread() {
        return None;
    }
    #[expect(
        unsafe_code,
        reason = "a copy of one thread is all of the process: no lock is held by another, nothing is torn"
    )]
    let number: RawPid = unsafe { libc::fork() };
    match number {
        0 => Some(Copied::Copy),
        // Below 0: no memory, no more processes. The slow way meets the same, and has words for it.
        number => Pid::from_raw(number.max(0)).map(Copied::Original),
    }
}

/// Changes this process's environment, where it has one thread and no more (it can't be done otherwise); whether it was done.
#[must_use]
pub(crate) fn change_environment(without: &[&str], with: &[(&str, &str)]) -> bool {
    let alone = has_one_thread();
    if alone {
        #[expect(unsafe_code, reason = "nobody else reads the environment meanwhile: there is one thread")]
        unsafe {
            without.iter().for_each(|name| std::env::remove_var(name));
            with.iter().for_each(|(name, value)| std::env::set_var(name, value));
        }
    }
    alone
}

/// Whether this process has one thread and no more: nobody else can start another.
pub(crate) fn has_one_thread() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.take(2).count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_several_threads_is_not_copied() {
        // libtest has a main thread beside this one; and if not, here is another.
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stopped.recv());
        assert_eq!(copy(), None);
        assert!(!change_environment(&[], &[("CONVOKE_NEVER", "set")]));
        assert!(std::env::var_os("CONVOKE_NEVER").is_none());
        drop(stop);
        let _ = other.join();
    }
}
