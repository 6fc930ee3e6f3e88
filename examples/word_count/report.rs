//! What people see: a bar while it runs, a table at the end.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use super::files::Found;

/// A bar on a terminal, a line per tenth elsewhere; both on standard error.
pub(crate) struct Progress {
    bar: ProgressBar,
    total: u64,
    done: Cell<u64>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let template = "{bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress { bar, total, done: Cell::new(0), terminal }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let (before, after) = (self.done.get(), self.done.get() + bytes);
        self.done.set(after);
        self.bar.inc(bytes);
        let tenth = |bytes: u64| bytes.saturating_mul(10) / self.total.max(1);
        if !self.terminal && tenth(after) > tenth(before) {
            eprintln!("counted {}0 % of {} bytes", tenth(after), self.total);
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Prints the counts: as JSON, or the most frequent words as a table.
pub(crate) fn print(
    counts: &HashMap<String, u64>,
    found: &Found,
    json: bool,
    top: usize,
) -> convoke::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = if json {
        let sorted: BTreeMap<_, _> = counts.iter().collect();
        serde_json::to_writer(&mut out, &BTreeMap::from([("counts", sorted)]))
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        write_table(&mut out, counts, found, top)
    };
    match written.and_then(|()| out.flush()) {
        // `word_count … | head` is no failure
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(convoke::Error::host("can't print the counts", error))
        }
        _ => Ok(()),
    }
}

fn write_table(
    out: &mut impl std::io::Write,
    counts: &HashMap<String, u64>,
    found: &Found,
    top: usize,
) -> std::io::Result<()> {
    let mut words: Vec<_> = counts.iter().collect();
    words.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    let width = words.iter().take(top).map(|(word, _)| word.chars().count()).max().unwrap_or(0).max(4);
    writeln!(out, "{:<width$}  {:>12}", "word", "count")?;
    for (word, count) in words.iter().take(top) {
        writeln!(out, "{word:<width$}  {count:>12}")?;
    }
    let total: u64 = counts.values().sum();
    write!(out, "{total} words, {} different, in {} files", counts.len(), found.files)?;
    if found.left_out > 0 {
        write!(out, "; {} files are not text and were left out", found.left_out)?;
    }
    writeln!(out)
}
