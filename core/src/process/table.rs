//! The kernel's table of processes, read from `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// A process, told apart from a later one under the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Its number.
    pub number: i32,
    /// When it started, in clock ticks since the host did.
    pub started_ticks: u64,
}

impl ProcessId {
    /// The process that has this number now; `None` where there is none.
    #[must_use]
    pub fn of(number: u32) -> Option<ProcessId> {
        Entry::read(i32::try_from(number).ok()?).map(|entry| entry.id)
    }

    /// Whether it still runs. What ended and only waits for its parent to ask (a zombie) doesn't.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Entry::read(self.number).is_some_and(|entry| entry.id == self && entry.is_alive())
    }

    /// Sends it a signal; `Ok(false)` where it is gone, whoever has its number now.
    ///
    /// # Errors
    /// As `kill(2)`: above all the permission to do so.
    pub fn signal(self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.number) else { return Ok(false) };
        let gone = |error: rustix::io::Errno| match error {
            rustix::io::Errno::SRCH => Ok(false),
            other => Err(other.into()),
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) => {
                // The descriptor holds whoever had the number when it was opened: look at the start after that.
                if !self.is_alive() {
                    return Ok(false);
                }
                pidfd_send_signal(held, signal).map(|()| true).or_else(gone)
            }
            // A kernel before 5.3, or a filter that knows no pidfd.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                if !self.is_alive() {
                    return Ok(false);
                }
                kill_process(pid, signal).map(|()| true).or_else(gone)
            }
            Err(error) => gone(error),
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which process.
    pub id: ProcessId,
    /// Its parent's number.
    pub parent: i32,
    /// The kernel's letter for its state: `R`, `S`, `D`, `T` (stopped), `Z` (ended, not yet asked for) …
    pub state: u8,
}

impl Entry {
    /// The line of the process with this number; `None` where there is none (any more).
    #[must_use]
    pub fn read(number: i32) -> Option<Entry> {
        Entry::parse(&fs::read(format!("/proc/{number}/stat")).ok()?)
    }

    /// Whether it is more than a zombie.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// Whether it is stopped, by a signal or a debugger.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Reads `proc_pid_stat(5)`. The name in parentheses may hold anything, parentheses included: the last one ends it.
    fn parse(stat: &[u8]) -> Option<Entry> {
        let number =
            std::str::from_utf8(&stat[..stat.iter().position(|b| *b == b' ')?]).ok()?.parse().ok()?;
        let rest = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
        let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let started_ticks = fields.nth(17)?.parse().ok()?; // field 22 of the page; state is 3, parent 4
        Some(Entry { id: ProcessId { number, started_ticks }, parent, state })
    }
}

/// One pass over the table. Not a snapshot: what is started or ends during the pass may be in it or not.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// Where `/proc` can't be read at all.
    pub fn read() -> io::Result<Table> {
        let mut entries = Vec::with_capacity(256);
        for folder in fs::read_dir("/proc")? {
            let name = folder?.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            entries.extend(Entry::read(number));
        }
        Ok(Table { entries })
    }

    /// All processes.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The children of `roots`, their children, and so on, parents before children; without the roots.
    #[must_use]
    pub fn descendants(&self, roots: &[i32]) -> Vec<Entry> {
        let mut children: HashMap<i32, Vec<&Entry>> = HashMap::new();
        for entry in &self.entries {
            children.entry(entry.parent).or_default().push(entry);
        }
        let mut seen: HashSet<i32> = roots.iter().copied().collect();
        let mut found: Vec<Entry> = Vec::new();
        let mut waiting: Vec<i32> = roots.to_vec();
        while let Some(parent) = waiting.pop() {
            for child in children.get(&parent).into_iter().flatten() {
                if seen.insert(child.id.number) {
                    found.push(**child);
                    waiting.push(child.id.number);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_spaces_and_parentheses() {
        let line = b"42 (a) S (b) T 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        let entry = Entry::parse(line).unwrap();
        assert_eq!(
            entry,
            Entry { id: ProcessId { number: 42, started_ticks: 987_654 }, parent: 7, state: b'T' }
        );
        assert!(entry.is_stopped());
        assert_eq!(Entry::parse(b"42 (cut"), None);
        assert_eq!(Entry::parse(b""), None);
    }

    #[test]
    fn descendants_come_parents_first_and_without_strangers() {
        let entry =
            |number, parent| Entry { id: ProcessId { number, started_ticks: 1 }, parent, state: b'S' };
        let table = Table { entries: vec![entry(5, 4), entry(4, 2), entry(2, 1), entry(3, 1), entry(6, 2)] };
        let found: Vec<i32> = table.descendants(&[2]).iter().map(|entry| entry.id.number).collect();
        assert_eq!(found.len(), 3);
        let place = |number| found.iter().position(|n| *n == number).unwrap();
        assert!(place(4) < place(5));
        assert!(place(6) < 3);
    }

    #[test]
    fn a_process_under_a_used_number_is_somebody_else() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let earlier = ProcessId { started_ticks: me.started_ticks.wrapping_sub(1), ..me };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::KILL).unwrap());
    }
}
