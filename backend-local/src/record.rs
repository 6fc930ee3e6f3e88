//! What is written down beside an application's logs, for later processes of its user: `convoke status`, and whoever sweeps.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use convoke_core::clock;
use convoke_core::ids::Name;
use convoke_core::manager::{Exit, Outcome};
use convoke_core::resource::Resources;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// In an application's folder, from its registration on.
const APPLICATION: &str = "application.json";
/// In an application's folder, once it has ended.
const ENDED: &str = "ended.json";
/// In an executor's folder, from its start on.
const EXECUTOR: &str = "executor.json";

/// An application, as of its registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ApplicationRecord {
    pub(crate) name: Name,
    pub(crate) driver_process: u32,
    pub(crate) since_ms: u64,
    /// How long its logs are kept once it has ended.
    pub(crate) logs_kept_ms: u64,
}

/// How an application ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndRecord {
    pub(crate) outcome: Option<RecordedOutcome>,
    pub(crate) at_ms: u64,
    pub(crate) logs_kept_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecordedOutcome {
    Succeeded,
    Failed(String),
    Killed,
}

/// An executor: written when it was started, and again when it has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ExecutorRecord {
    pub(crate) host: Name,
    pub(crate) resources: Resources,
    pub(crate) process: Option<u32>,
    pub(crate) since_ms: u64,
    pub(crate) exit: Option<String>,
}

impl From<&Outcome> for RecordedOutcome {
    fn from(outcome: &Outcome) -> RecordedOutcome {
        match outcome {
            Outcome::Succeeded => RecordedOutcome::Succeeded,
            Outcome::Failed(why) => RecordedOutcome::Failed(why.clone()),
            _ => RecordedOutcome::Killed,
        }
    }
}

impl From<RecordedOutcome> for Outcome {
    fn from(outcome: RecordedOutcome) -> Outcome {
        match outcome {
            RecordedOutcome::Succeeded => Outcome::Succeeded,
            RecordedOutcome::Failed(why) => Outcome::Failed(why),
            RecordedOutcome::Killed => Outcome::Killed,
        }
    }
}

impl ApplicationRecord {
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        write(folder, APPLICATION, self)
    }

    /// `None` for a folder that isn't an application's, or not yet.
    pub(crate) fn read(folder: &Path) -> Option<ApplicationRecord> {
        read(folder, APPLICATION)
    }
}

impl EndRecord {
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        write(folder, ENDED, self)
    }

    /// `None` for an application that hasn't ended, or whose driver was killed and nobody has swept it yet.
    pub(crate) fn read(folder: &Path) -> Option<EndRecord> {
        read(folder, ENDED)
    }

    /// Whether its logs have been kept for as long as they were to be.
    pub(crate) fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= self.logs_kept_ms
    }
}

impl ExecutorRecord {
    pub(crate) fn ended(mut self, exit: &Exit, folder: &Path) {
        self.exit = Some(exit.to_string());
        self.write(folder);
    }

    pub(crate) fn write(&self, folder: &Path) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        if let Err(error) = made.and_then(|()| write(folder, EXECUTOR, self)) {
            // A full disk, above all: people see less of it.
            tracing::warn!(folder = %folder.display(), %error, "can't write down how an executor is");
        }
    }

    pub(crate) fn read(folder: &Path) -> Option<ExecutorRecord> {
        read(folder, EXECUTOR)
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = clock::wall_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn time(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// Whole or not at all: it is read while it is written.
fn write(folder: &Path, name: &str, record: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(record).map_err(io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&text)?;
    file.persist(folder.join(name)).map_err(|error| error.error)?;
    Ok(())
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Option<T> {
    let text = fs::read(folder.join(name)).ok()?;
    match serde_json::from_slice(&text) {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::debug!(folder = %folder.display(), name, %error, "a record of another version, or a broken one");
            None
        }
    }
}
