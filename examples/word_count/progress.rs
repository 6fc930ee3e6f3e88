//! Progress on standard error: a bar on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use convoke::clock::{Moment, now};
use convoke::driver::progress::VARIABLE;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// How often a plain line is printed.
const PLAIN_INTERVAL: Duration = Duration::from_secs(2);

/// How far the counting is.
pub struct Progress {
    /// `None`: standard error is no terminal.
    bar: Option<ProgressBar>,
    /// `convoke submit` shows it.
    shown_by_another: bool,
    bytes: u64,
    counted: u64,
    executors: usize,
    last_line: Moment,
}

impl Progress {
    /// Begins to show how much of `bytes` is counted.
    pub fn new(bytes: u64) -> Progress {
        let shown_by_another = std::env::var_os(VARIABLE).is_some();
        let bar = (!shown_by_another && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(bytes);
            let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {msg}";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, shown_by_another, bytes, counted: 0, executors: 0, last_line: now() }
    }

    /// So many more bytes are counted.
    pub fn counted(&mut self, bytes: u64) {
        self.counted += bytes;
        match &self.bar {
            Some(bar) => bar.set_position(self.counted),
            None if !self.shown_by_another && now().since(self.last_line) >= PLAIN_INTERVAL => {
                self.last_line = now();
                eprintln!(
                    "counted {} of {} on {} executors",
                    HumanBytes(self.counted),
                    HumanBytes(self.bytes),
                    self.executors
                );
            }
            None => {}
        }
    }

    /// So many executors take tasks.
    pub fn executors(&mut self, executors: usize) {
        self.executors = executors;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{executors} executors"));
        }
    }

    /// Says something without breaking the bar.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
