//! Shows how far a program is, on standard error: one line that is drawn anew on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use convoke::clock::{Moment, now};
use convoke::driver::progress::Progress;
use convoke::units::format_duration;

use crate::arguments::ProgressStyle;

/// How often a plain line tells how far a job is.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// A job that is over so soon is not drawn …
const QUICK: Duration = Duration::from_millis(500);
/// … and, in plain lines, told of so often.
const MOST_QUICK_JOBS: u32 = 10;
/// How wide the bar itself is.
const BAR: usize = 24;
/// Where the terminal's width isn't known.
const USUAL_WIDTH: usize = 80;

/// How far a program is.
#[derive(Debug)]
pub struct Display {
    on_terminal: bool,
    program: String,
    /// Whether a driver of convoke has said anything.
    heard: bool,
    ready: usize,
    wanted: u32,
    jobs: BTreeMap<u64, Job>,
    quick_jobs: u32,
    /// Whether all executors, or a job, have been there.
    worked: bool,
    /// What stands on the terminal's last line.
    drawn: Option<String>,
}

/// A job that goes on.
#[derive(Debug)]
struct Job {
    name: String,
    total: Option<u64>,
    over: u64,
    retried: u64,
    began: Moment,
    last_line: Moment,
}

impl Display {
    /// `None` where nobody wants to see it.
    pub fn new(style: ProgressStyle, program: &str) -> Option<Display> {
        let on_terminal = match style {
            ProgressStyle::None => return None,
            ProgressStyle::Plain => false,
            ProgressStyle::Bar => true,
            ProgressStyle::Auto => std::io::stderr().is_terminal(),
        };
        Some(Display {
            on_terminal,
            program: program.to_owned(),
            heard: false,
            ready: 0,
            wanted: 0,
            jobs: BTreeMap::new(),
            quick_jobs: 0,
            worked: false,
            drawn: None,
        })
    }

    /// Takes news of a driver.
    pub fn take(&mut self, progress: Progress) {
        self.heard = true;
        match progress {
            Progress::Started { application, master } => {
                self.say(&format!("application {application} on {master}"));
            }
            Progress::Executors { ready, wanted, news } => {
                (self.ready, self.wanted) = (ready, wanted);
                self.worked |= ready >= wanted as usize;
                if let Some(news) = news {
                    // On a terminal their number stands in the line; what went wrong is said there, too.
                    if !self.on_terminal || news.contains(" is gone") {
                        self.say(&format!("{news} ({ready} of {wanted})"));
                    }
                }
            }
            Progress::Job { job, name, succeeded, total, over, failed, retried, .. } => {
                let now = now();
                self.worked = true;
                let known = self.jobs.entry(job).or_insert_with(|| Job {
                    name,
                    total,
                    over,
                    retried,
                    began: now,
                    last_line: now,
                });
                (known.total, known.over, known.retried) = (total, over, retried);
                if let Some(succeeded) = succeeded {
                    if let Some(job) = self.jobs.remove(&job) {
                        self.wipe();
                        self.job_ended(&job, succeeded, failed);
                    }
                } else if !self.on_terminal && now.since(known.last_line) >= PLAIN_INTERVAL {
                    known.last_line = now;
                    let text = known.text();
                    self.say(&text);
                }
            }
            Progress::Note { text } => self.say(&text),
            Progress::Ended => {
                self.jobs.clear();
                (self.ready, self.wanted) = (0, 0);
                self.wipe();
            }
            _ => {}
        }
    }

    fn job_ended(&mut self, job: &Job, succeeded: bool, failed: u64) {
        let took = format_duration(Duration::from_millis(
            u64::try_from(now().since(job.began).as_millis()).unwrap_or(u64::MAX) / 100 * 100,
        ));
        let tasks = if job.over == 1 { "1 task".to_owned() } else { format!("{} tasks", job.over) };
        // A program of thousands of small jobs would drown its own words.
        let quick = now().since(job.began) < QUICK;
        self.quick_jobs += u32::from(quick);
        if succeeded && (self.on_terminal || (quick && self.quick_jobs > MOST_QUICK_JOBS)) {
            return;
        }
        let how = if succeeded { "done" } else { "not done" };
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.say(&format!("{}: {how}, {tasks} in {took}{failed}", job.name));
    }

    /// Says something on a line of its own.
    pub fn say(&mut self, text: &str) {
        self.wipe();
        eprintln!("convoke: {text}");
    }

    /// Draws the line anew where it has changed.
    pub fn draw(&mut self) {
        if !self.on_terminal {
            return;
        }
        let Some(line) = self.line() else { return self.wipe() };
        let line: String = line.chars().take(width().saturating_sub(1)).collect();
        if self.drawn.as_ref() != Some(&line) {
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}"); // a terminal that is gone: nobody looks
            self.drawn = Some(line);
        }
    }

    /// The program has ended.
    pub fn ended(&mut self, well: bool) {
        self.wipe();
        if !self.heard && well {
            let program = self.program.clone();
            self.say(&format!(
                "{program} has started no driver of convoke: master and settings were of no use to it"
            ));
        }
    }

    fn wipe(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// `None` while the program may want the terminal for itself: before, between and after jobs.
    fn line(&self) -> Option<String> {
        let executors = format!("{} of {} executors", self.ready, self.wanted);
        let now = now();
        let mut running = self.jobs.values().filter(|job| now.since(job.began) >= QUICK);
        match (running.next_back(), running.count()) {
            (Some(job), 0) => Some(format!("{executors}  {}", job.text())),
            (Some(job), more) => Some(format!("{executors}  {} (and {more} more jobs)", job.text())),
            (None, _) if !self.worked && self.ready < self.wanted as usize => Some(executors),
            (None, _) => None,
        }
    }
}

impl Job {
    fn text(&self) -> String {
        let again = if self.retried > 0 { format!(", {} tried again", self.retried) } else { String::new() };
        match self.total.filter(|total| *total > 0) {
            Some(total) => {
                let done = usize::try_from(self.over * BAR as u64 / total).unwrap_or(BAR).min(BAR);
                let bar = format!("[{}{}]", "#".repeat(done), ".".repeat(BAR - done));
                format!("{} {bar} {} of {total}{again}", self.name, self.over)
            }
            None => format!("{} {} done{again}", self.name, self.over),
        }
    }
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr())
        .map_or(USUAL_WIDTH, |size| if size.ws_col == 0 { USUAL_WIDTH } else { usize::from(size.ws_col) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(over: u64, succeeded: Option<bool>) -> Progress {
        Progress::Job {
            job: 1,
            name: "squares".into(),
            succeeded,
            total: Some(48),
            over,
            running: 2,
            failed: 0,
            retried: 1,
        }
    }

    #[test]
    fn the_line_says_how_far_it_is_and_leaves_the_terminal_to_the_program() {
        let mut display = Display::new(ProgressStyle::Bar, "p").unwrap();
        assert_eq!(display.line(), None);
        display.take(Progress::Executors { ready: 2, wanted: 3, news: None });
        assert_eq!(display.line().unwrap(), "2 of 3 executors");
        display.take(job(24, None));
        assert_eq!(display.line(), None, "it may be over in a moment");
        display.jobs.values_mut().for_each(|job| job.began = Moment::ZERO);
        let line = "2 of 3 executors  squares [############............] 24 of 48, 1 tried again";
        let shown = display.line();
        // This process may be younger than what counts as quick.
        assert!(shown.is_none_or(|shown| shown == line));
        display.take(job(48, Some(true)));
        assert_eq!(display.line(), None);
        assert!(Display::new(ProgressStyle::None, "p").is_none());
    }
}
