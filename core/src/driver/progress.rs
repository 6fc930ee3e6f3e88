//! How far an application is, for whoever started its driver and shows it: `convoke submit`.
//!
//! The driver finds the path of a pipe in [`VARIABLE`] and writes lines of JSON there, one [`Progress`] each. It never waits
//! for the reader: what doesn't fit is left out, and a pipe that can't be opened is logged, and no more.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::control::Control;
use super::events::{DriverEvent, DriverEvents, JobProgress, JobState};
use super::handle;
use crate::manager::{Blame, EndedBy};

/// The variable that holds the path of the pipe. A program that draws progress itself leaves that to whoever set it.
pub const VARIABLE: &str = "CONVOKE_PROGRESS";
/// A write of so many bytes is never torn (`PIPE_BUF`), nor half made.
const WHOLE_BYTES: usize = 4096;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
#[non_exhaustive]
pub enum Progress {
    /// The driver is up.
    Started {
        /// The application's id.
        application: String,
        /// The master.
        master: String,
    },
    /// How many executors there are, and what changed.
    Executors {
        /// So many take tasks.
        ready: usize,
        /// So many are wanted.
        wanted: u32,
        /// What changed, for people.
        news: Option<String>,
    },
    /// How a job stands.
    Job {
        /// Which.
        job: u64,
        /// Its name.
        name: String,
        /// `None` while it goes on, else whether it succeeded.
        succeeded: Option<bool>,
        /// All of its tasks, where their number is known.
        total: Option<u64>,
        /// Tasks that are over.
        over: u64,
        /// Tasks that run.
        running: u64,
        /// Tasks that failed for good.
        failed: u64,
        /// Attempts that were made again.
        retried: u64,
    },
    /// Something that people want to know.
    Note {
        /// In words.
        text: String,
    },
    /// The driver has ended.
    Ended,
}

/// Tells until the driver ends, where somebody asked for it. Listens from the call on.
pub(super) fn tell(control: &Arc<Control>) -> Option<impl Future<Output = ()> + Send + use<>> {
    let path = std::env::var_os(VARIABLE)?;
    let pipe = match open(&path) {
        Ok(pipe) => pipe,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "nobody hears of progress");
            return None;
        }
    };
    let mut teller = Teller { control: control.clone(), events: control.events.listen(), pipe };
    Some(async move {
        let started = Progress::Started {
            application: teller.control.application_id.to_string(),
            master: teller.control.settings.master_or_local(),
        };
        teller.say(&started);
        teller.run().await;
    })
}

fn open(path: &OsStr) -> std::io::Result<File> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().write(true).custom_flags(nonblocking).open(path)
}

struct Teller {
    control: Arc<Control>,
    events: DriverEvents,
    pipe: File,
}

impl Teller {
    async fn run(&mut self) {
        while let Some(event) = self.events.next().await {
            self.tell(&event);
        }
    }

    fn tell(&mut self, event: &DriverEvent) {
        match event {
            DriverEvent::ExecutorReady { executor, .. } => {
                let host = self.control.executors().into_iter().find(|status| status.executor == *executor);
                let host = host.and_then(|status| status.host);
                let on = host.map(|host| format!(" on {host}")).unwrap_or_default();
                self.executors(Some(format!("executor {executor} is ready{on}")));
            }
            DriverEvent::ExecutorLost { executor, exit } => {
                let asked = exit.blame == Blame::Nobody;
                self.executors((!asked).then(|| format!("executor {executor} is gone: {exit}")));
            }
            DriverEvent::ExecutorsMissing { ready: 0, shortfalls, .. } if !shortfalls.is_empty() => {
                let text = format!("no executor yet: {}", handle::reasons(shortfalls));
                self.say(&Progress::Note { text });
            }
            DriverEvent::ExecutorsFailing { recent, next_try, .. } => {
                let wait = crate::units::format_duration(Duration::from_secs(next_try.as_secs().max(1)));
                let text = format!("{recent} executors failed in a row; the next try is in {wait}");
                self.say(&Progress::Note { text });
            }
            DriverEvent::ManagerUnreachable { error } => {
                self.say(&Progress::Note { text: format!("the cluster manager is out of reach: {error}") });
            }
            DriverEvent::ManagerRecovered { outage } => {
                let outage = crate::units::format_duration(Duration::from_secs(outage.as_secs()));
                self.say(&Progress::Note { text: format!("the cluster manager is back after {outage}") });
            }
            DriverEvent::Ended { by, .. } => {
                let who = match by {
                    EndedBy::Operator(who) => format!("the application was ended by {who}"),
                    EndedBy::Manager(words) => format!("the manager ended the application: {words}"),
                    EndedBy::Lease => "the application's lease ran out".to_owned(),
                    EndedBy::Application => return,
                };
                self.say(&Progress::Note { text: who });
            }
            DriverEvent::Job(progress) => self.say(&job(progress)),
            _ => {}
        }
    }

    fn executors(&mut self, news: Option<String>) {
        let ready = self.control.standing.borrow().ready;
        self.say(&Progress::Executors { ready, wanted: self.control.wanted(), news });
    }

    fn say(&mut self, progress: &Progress) {
        let mut line = match serde_json::to_string(progress) {
            Ok(line) if line.len() < WHOLE_BYTES => line,
            Ok(_) => return tracing::debug!("news of progress too long for a pipe"),
            Err(error) => return tracing::debug!(%error, "news of progress can't be written"),
        };
        let _ = line.write_char('\n'); // a string takes all
        if let Err(error) = self.pipe.write_all(line.as_bytes()) {
            tracing::trace!(%error, "news of progress left out");
        }
    }
}

impl Drop for Teller {
    /// The driver ends: what it told last is told here, too.
    fn drop(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            self.tell(&event);
        }
        self.say(&Progress::Ended);
    }
}

fn job(progress: &JobProgress) -> Progress {
    let tasks = progress.tasks;
    Progress::Job {
        job: progress.job.0,
        name: progress.name.chars().take(200).collect(),
        succeeded: match progress.state {
            JobState::Running => None,
            JobState::Succeeded => Some(true),
            JobState::Failed | JobState::Cancelled => Some(false),
        },
        total: tasks.total,
        over: tasks.succeeded + tasks.failed + tasks.cancelled,
        running: tasks.running,
        failed: tasks.failed,
        retried: tasks.retried,
    }
}
