//! Folders of applications and their executors.
//!
//! ```text
//! <directory>/.lock                 taken while folders are made and swept
//! <directory>/<application>/lock    held by the driver as long as it lives
//! <directory>/<application>/application.json   what it is
//! <directory>/<application>/requests           a pipe by which it is asked to end
//! <directory>/<application>/ended.json         how it ended
//! <directory>/<application>/<executor>/work    the executor's working directory, gone when it has ended
//! <directory>/<application>/<executor>/logs    what it printed
//! <directory>/<application>/<executor>/cgroup  the folders of its control group, while it has one
//! <directory>/<application>/<executor>/executor.json   how it is, or ended
//! ```
//!
//! The logs of an application that has ended stay for a while (`local.logs-kept`). A driver that is killed leaves its folder:
//! the next one that starts finds its lock free, and sweeps it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::Outcome;
use convoke_core::{Error, Result};
use rustix::fs::{FileType, FlockOperation, Mode, flock};

use crate::record::{ApplicationRecord, EndRecord, now_ms};
use crate::settings::LocalSettings;

const LOCK: &str = "lock";
const REQUESTS: &str = "requests";

/// The folder of one application. Dropping it removes what is in it, but for the logs.
#[derive(Debug)]
pub(crate) struct ApplicationFolder {
    application: ApplicationId,
    path: PathBuf,
    /// `None` once somebody else looks after the folder.
    lock: Option<File>,
    logs_kept_ms: u64,
    outcome: Mutex<Option<Outcome>>,
}

/// The folders of one executor.
#[derive(Debug, Clone)]
pub(crate) struct ExecutorFolder {
    pub(crate) path: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) cgroup: PathBuf,
}

/// The folder that all local applications of this user share: as set, else the usual one.
pub(crate) fn directory(settings: &LocalSettings) -> PathBuf {
    settings.directory.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("convoke-{}", rustix::process::geteuid().as_raw()))
    })
}

/// Makes the directory, and sees that it is this user's. Blocks.
///
/// # Errors
/// Where it can't be made, or belongs to somebody else.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| failed(directory, "can't make the folder for executors", error))?;
    let owner = fs::symlink_metadata(directory)
        .map_err(|error| failed(directory, "can't look at the folder for executors", error))?;
    // In a folder that everybody may write, somebody else could have made it first, to read what executors write.
    if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::new(
            convoke_core::ErrorKind::PermissionDenied,
            "the folder for executors belongs to somebody else",
        )
        .with("folder", directory.display())
        .help(format!("choose another folder with {}", crate::settings::DIRECTORY)));
    }
    Ok(())
}

/// Locks the directory, against whoever else makes or sweeps folders there. Blocks.
///
/// # Errors
/// Where it can't be written.
pub(crate) fn lock_directory(directory: &Path) -> Result<File> {
    let making = lock_file(&directory.join(".lock"))
        .map_err(|error| failed(directory, "can't write the folder for executors", error))?;
    flock(&making, FlockOperation::LockExclusive)
        .map_err(|error| failed(directory, "can't lock the folder for executors", error.into()))?;
    Ok(making)
}

fn failed(directory: &Path, doing: &'static str, error: io::Error) -> Error {
    Error::host(doing, error)
        .with("folder", directory.display())
        .help(format!("choose another folder with {}", crate::settings::DIRECTORY))
}

impl ApplicationFolder {
    /// Makes the folder of an application, and sweeps those of drivers that are dead. Blocks.
    ///
    /// # Errors
    /// Where the directory can't be made or written, or belongs to somebody else.
    pub(crate) fn create(
        settings: &LocalSettings,
        application: &ApplicationId,
        name: &Name,
    ) -> Result<ApplicationFolder> {
        let directory = directory(settings);
        make_directory(&directory)?;
        let _making = lock_directory(&directory)?;
        crate::sweep::sweep(&directory);
        let path = directory.join(application.as_str());
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| failed(&directory, "can't make the application's folder", error))?;
        let logs_kept_ms = u64::try_from(settings.logs_kept.as_millis()).unwrap_or(u64::MAX);
        let fill = || {
            let lock = lock_file(&path.join(LOCK))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            make_pipe(&path.join(REQUESTS))?;
            // Last: who finds this finds the rest.
            let record = ApplicationRecord {
                name: name.clone(),
                driver_process: std::process::id(),
                since_ms: now_ms(),
                logs_kept_ms,
            };
            record.write(&path)?;
            Ok(lock)
        };
        match fill() {
            Ok(lock) => Ok(ApplicationFolder {
                application: application.clone(),
                path,
                lock: Some(lock),
                logs_kept_ms,
                outcome: Mutex::default(),
            }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path); // the error that is told is the first
                Err(failed(&directory, "can't fill the application's folder", error))
            }
        }
    }

    /// Where the folders of an executor are.
    pub(crate) fn executor(&self, executor: ExecutorId) -> ExecutorFolder {
        ExecutorFolder::below(&self.path.join(executor.to_string()))
    }

    /// The pipe by which the application is asked to end.
    pub(crate) fn requests(&self) -> PathBuf {
        requests(&self.path)
    }

    /// How it ended, to be written down with its end; the first word stays.
    pub(crate) fn ends(&self, outcome: &Outcome) {
        let mut told = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert_with(|| outcome.clone());
    }

    /// Writes down that nothing of it runs any more.
    pub(crate) fn has_ended(&self) {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone();
        retire(&self.path, outcome.as_ref(), self.logs_kept_ms);
    }

    /// Whether an executor was not seen to its end: its runtime was shut down, above all.
    fn in_use(&self) -> bool {
        let executors = fs::read_dir(&self.path).into_iter().flatten().flatten();
        executors
            .map(|executor| ExecutorFolder::below(&executor.path()))
            .any(|executor| executor.work.exists())
    }
}

impl Drop for ApplicationFolder {
    fn drop(&mut self) {
        if self.in_use()
            && let Some(lock) = self.lock.take()
        {
            // A thread, for there may be no runtime any more. Should this process end before it does, the next sweeps.
            let (application, path) = (self.application.clone(), self.path.clone());
            let finish = move || {
                crate::sweep::finish(&application, &path);
                drop(lock);
            };
            if let Err(error) = std::thread::Builder::new().name("convoke-sweep".to_owned()).spawn(finish) {
                tracing::warn!(folder = %self.path.display(), %error, "an application's folder stays for the next driver");
            }
        } else {
            self.has_ended();
        }
    }
}

/// The pipe by which the application in this folder is asked to end.
pub(crate) fn requests(path: &Path) -> PathBuf {
    path.join(REQUESTS)
}

/// Leaves of an application's folder what is kept of one that has ended: its logs, and how it ended. The first word on that
/// stays.
pub(crate) fn retire(path: &Path, outcome: Option<&Outcome>, logs_kept_ms: u64) {
    let retired = if logs_kept_ms == 0 {
        fs::remove_dir_all(path)
    } else if EndRecord::read(path).is_some() {
        Ok(())
    } else {
        let _ = fs::remove_file(requests(path)); // of no use any more, and no harm
        let end = EndRecord { outcome: outcome.map(Into::into), at_ms: now_ms(), logs_kept_ms };
        end.write(path).or_else(|_| fs::remove_dir_all(path))
    };
    match retired {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(folder = %path.display(), %error, "can't remove an application's folder");
        }
        _ => {}
    }
}

impl ExecutorFolder {
    /// Those in the executor's own folder.
    pub(crate) fn below(path: &Path) -> ExecutorFolder {
        ExecutorFolder {
            path: path.to_owned(),
            work: path.join("work"),
            logs: path.join("logs"),
            cgroup: path.join("cgroup"),
        }
    }

    /// Makes them. Blocks.
    pub(crate) fn create(&self) -> io::Result<()> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&self.work)?;
        private.create(&self.logs)
    }

    /// Removes the working directory; logs stay. Blocks.
    pub(crate) fn remove_work(&self) {
        match fs::remove_dir_all(&self.work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.work.display(), %error, "can't remove an executor's folder");
            }
            _ => {}
        }
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn make_pipe(path: &Path) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0)?)
}

/// The applications below `directory`, each with its folder; `None` where the directory can't be read.
pub(crate) fn applications(directory: &Path) -> io::Result<Vec<(ApplicationId, PathBuf)>> {
    let folders = match fs::read_dir(directory) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let known = |folder: fs::DirEntry| Some((folder.file_name().to_str()?.parse().ok()?, folder.path()));
    Ok(folders.flatten().filter_map(known).collect())
}

/// The applications below `directory` whose driver is dead, each with the lock that keeps everybody else from it.
pub(crate) fn abandoned(directory: &Path) -> Vec<(ApplicationId, PathBuf, File)> {
    let all = applications(directory).unwrap_or_default();
    all.into_iter()
        .filter_map(|(application, path)| {
            if EndRecord::read(&path).is_some() {
                return None;
            }
            let lock = take(&path)?;
            // Its driver may have written it down in this moment.
            EndRecord::read(&path).is_none().then_some((application, path, lock))
        })
        .collect()
}

/// Whether an application that hasn't ended has a driver.
pub(crate) fn has_driver(path: &Path) -> bool {
    take(path).is_none()
}

/// Takes the lock of an application whose driver is gone.
pub(crate) fn take(path: &Path) -> Option<File> {
    let lock = lock_file(&path.join(LOCK)).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(lock)
}
