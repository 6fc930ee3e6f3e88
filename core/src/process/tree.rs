//! Ending a whole process tree for certain.
//!
//! A process group or a session is no hold: a child that makes its own leaves both. Ancestry is, in one of two ways:
//!
//! - [`end_children`]: for a *subreaper*. Every process below it stays its descendant (an orphan is handed to it), so
//!   that the end of all is what the kernel itself says: no child is left to wait for.
//! - [`kill_trees`]: for somebody else's trees. Everything is stopped first, so that nobody forks or is handed on
//!   while it looks; only then is everything killed.

use std::collections::HashSet;
use std::io;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, set_child_subreaper, wait};

use super::exit::ProcessExit;
use super::table::{Entry, ProcessId, Table};
use crate::clock;

/// Makes this process the parent of every orphan below it.
///
/// # Errors
/// On a kernel before 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// What a round of [`reap`] found.
#[derive(Debug, Default)]
pub struct Reaped {
    /// Children that ended, own and adopted ones.
    pub exits: Vec<(i32, ProcessExit)>,
    /// Whether no child is left, running or ended.
    pub none_left: bool,
}

/// Takes the exits of all children that have ended, without waiting.
///
/// Takes them from anybody else in this process who waits for a child of his own: for processes that do nothing but
/// supervise.
///
/// # Errors
/// None that a kernel is known to give.
pub fn reap() -> io::Result<Reaped> {
    let mut reaped = Reaped::default();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                reaped
                    .exits
                    .extend(ProcessExit::from_status(status).map(|exit| (Pid::as_raw(Some(pid)), exit)));
            }
            Ok(None) => return Ok(reaped),
            Err(Errno::CHILD) => {
                reaped.none_left = true;
                return Ok(reaped);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a signal to every descendant of this process; says how many got it.
///
/// # Errors
/// Where a descendant may not be signalled (it runs as another user), after all others were; or `/proc` can't be read.
pub fn signal_descendants(signal: Signal) -> io::Result<usize> {
    signal_each(|_| signal)
}

fn signal_each(signal: impl Fn(i32) -> Signal) -> io::Result<usize> {
    let mut sent = 0;
    let mut refused = Ok(());
    for entry in Table::read()?.descendants(&[Pid::as_raw(Some(getpid()))]) {
        if entry.is_alive() {
            match entry.id.signal(signal(entry.id.number)) {
                Ok(true) => sent += 1,
                Ok(false) => {}
                Err(error) => refused = Err(error),
            }
        }
    }
    refused.map(|()| sent)
}

/// Asks every descendant to end: SIGTERM, and SIGCONT so that stopped ones can hear it. One of them may have a signal of
/// its own for that.
///
/// # Errors
/// As [`signal_descendants`].
pub fn terminate_descendants(but: Option<(i32, Signal)>) -> io::Result<usize> {
    let asked = signal_each(|number| match but {
        Some((own, signal)) if own == number => signal,
        _ => Signal::TERM,
    });
    let continued = signal_descendants(Signal::CONT);
    asked.and_then(|sent| continued.map(|_| sent))
}

/// Ends every descendant of this process, which must be a subreaper: SIGTERM, `grace`, SIGKILL until none is left.
/// Blocks; takes all exits.
///
/// # Errors
/// Where a descendant may not be killed (it runs as another user).
pub fn end_children(grace: Duration) -> io::Result<()> {
    if reap()?.none_left {
        return Ok(());
    }
    // Whoever may not be asked may not be killed either: that is told below.
    let _ = terminate_descendants(None);
    let deadline = clock::now() + grace;
    let mut pause = Pause::default();
    loop {
        if reap()?.none_left {
            return Ok(());
        }
        if clock::now() >= deadline {
            break;
        }
        pause.wait();
    }
    let mut pause = Pause::default();
    loop {
        let killed = signal_descendants(Signal::KILL);
        if reap()?.none_left {
            return Ok(());
        }
        if pause.is_long() {
            // All that may be killed has been, several times over.
            killed?;
        }
        pause.wait();
    }
}

/// Kills trees that this process doesn't reap: `roots` and all that is below them, whether a root still lives or not.
/// Blocks until they are gone (or zombies of somebody else). Never kills this process.
///
/// There is no grace: ask them to end in their own way first. A descendant that was handed to a stranger before the call
/// can't be known from here: that is what the supervisors inside the tree are for.
///
/// # Errors
/// Where one of them may not be killed (it runs as another user), or `/proc` can't be read.
pub fn kill_trees(roots: &[ProcessId]) -> io::Result<()> {
    let me = Pid::as_raw(Some(getpid()));
    let numbers: Vec<i32> = roots.iter().map(|root| root.number).collect();
    let mut known: HashSet<ProcessId> = HashSet::new();
    let mut pause = Pause::default();
    loop {
        // Stop all; a pass that finds nobody new saw everybody, for nobody was left to fork.
        let mut refused = Ok(());
        loop {
            let table = Table::read()?;
            let found = roots_in(&table, roots).chain(table.descendants(&live(&numbers, roots, &table)));
            let mut news = 0;
            for entry in found.filter(|entry| entry.is_alive() && entry.id.number != me) {
                if known.insert(entry.id) {
                    news += 1;
                }
                if !entry.is_stopped()
                    && let Err(error) = entry.id.signal(Signal::STOP)
                {
                    refused = Err(error);
                }
            }
            if news == 0 {
                break;
            }
        }
        for process in &known {
            if let Err(error) = process.signal(Signal::KILL) {
                refused = Err(error);
            }
        }
        known.retain(|process| process.is_alive());
        if known.is_empty() {
            return Ok(());
        }
        if pause.is_long() {
            refused?;
        }
        pause.wait();
    }
}

fn roots_in<'a>(table: &'a Table, roots: &'a [ProcessId]) -> impl Iterator<Item = Entry> + 'a {
    table.entries().iter().filter(|entry| roots.contains(&entry.id)).copied()
}

/// The numbers that still belong to the roots: those of a stranger with a used number are left out.
fn live(numbers: &[i32], roots: &[ProcessId], table: &Table) -> Vec<i32> {
    numbers
        .iter()
        .copied()
        .filter(|number| {
            !table.entries().iter().any(|entry| entry.id.number == *number && !roots.contains(&entry.id))
        })
        .collect()
}

/// Growing pauses between looks: what ends at once is seen at once.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(Duration::from_micros(250))
    }
}

impl Pause {
    const LONGEST: Duration = Duration::from_millis(16);

    fn wait(&mut self) {
        thread::sleep(self.0);
        self.0 = (self.0 * 2).min(Pause::LONGEST);
    }

    fn is_long(&self) -> bool {
        self.0 >= Pause::LONGEST
    }
}
