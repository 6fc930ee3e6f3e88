use std::sync::Mutex;

use convoke_core::clock::{self, Moment};

/// What happened in a case, in order, for whoever has to find out why it failed.
#[derive(Debug)]
pub struct Timeline {
    began: Moment,
    lines: Mutex<Vec<String>>,
}

/// More lines than this help nobody; the middle is left out.
const MOST_LINES: usize = 400;

impl Timeline {
    /// Starts now.
    #[must_use]
    pub fn start() -> Timeline {
        Timeline { began: clock::now(), lines: Mutex::new(Vec::new()) }
    }

    /// Notes something.
    pub fn note(&self, what: impl AsRef<str>) {
        let line = format!("{:>9.3}s  {}", clock::now().since(self.began).as_secs_f64(), what.as_ref());
        tracing::debug!(target: "convoke_conformance::timeline", "{line}");
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }

    /// All of it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Ok(lines) = self.lines.lock() else { return Vec::new() };
        if lines.len() <= MOST_LINES {
            return lines.clone();
        }
        let half = MOST_LINES / 2;
        let mut short = lines[..half].to_vec();
        short.push(format!("          …  {} lines left out", lines.len() - MOST_LINES));
        short.extend_from_slice(&lines[lines.len() - half..]);
        short
    }
}
