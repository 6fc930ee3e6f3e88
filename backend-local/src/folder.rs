//! Folders of applications and their executors.
//!
//! ```text
//! <directory>/.lock                 taken while folders are made and swept
//! <directory>/<application>/lock    held by the driver as long as it lives
//! <directory>/<application>/<executor>/work    the executor's working directory, gone when it has ended
//! <directory>/<application>/<executor>/logs    what it printed, gone when its application has ended
//! <directory>/<application>/<executor>/cgroup  the folders of its control group, while it has one
//! ```
//!
//! A driver that is killed leaves its folder. The next one that starts finds its lock free, and sweeps it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::{Error, Result};
use rustix::fs::{FlockOperation, flock};

const LOCK: &str = "lock";

/// The folder of one application. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(crate) struct ApplicationFolder {
    application: ApplicationId,
    path: PathBuf,
    /// `None` once somebody else looks after the folder.
    lock: Option<File>,
}

/// The folders of one executor.
#[derive(Debug, Clone)]
pub(crate) struct ExecutorFolder {
    pub(crate) work: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) cgroup: PathBuf,
}

/// The folder that all local applications of this user share, where no other is set.
fn usual_directory() -> PathBuf {
    std::env::temp_dir().join(format!("convoke-{}", rustix::process::geteuid().as_raw()))
}

impl ApplicationFolder {
    /// Makes the folder of an application, and sweeps those of drivers that are dead. Blocks.
    ///
    /// # Errors
    /// Where the directory can't be made or written, or belongs to somebody else.
    pub(crate) fn create(directory: Option<&Path>, application: &ApplicationId) -> Result<ApplicationFolder> {
        let directory = directory.map_or_else(usual_directory, Path::to_path_buf);
        let failed = |doing: &'static str, error: io::Error| {
            Error::host(doing, error)
                .with("folder", directory.display())
                .help(format!("choose another folder with {}", crate::settings::DIRECTORY))
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| failed("can't make the folder for executors", error))?;
        let owner = fs::symlink_metadata(&directory)
            .map_err(|error| failed("can't look at the folder for executors", error))?;
        // In a folder that everybody may write, somebody else could have made it first, to read what executors write.
        if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() {
            return Err(Error::new(
                convoke_core::ErrorKind::PermissionDenied,
                "the folder for executors belongs to somebody else",
            )
            .with("folder", directory.display())
            .help(format!("choose another folder with {}", crate::settings::DIRECTORY)));
        }
        let making = lock_file(&directory.join(".lock"))
            .map_err(|error| failed("can't write the folder for executors", error))?;
        flock(&making, FlockOperation::LockExclusive)
            .map_err(|error| failed("can't lock the folder for executors", error.into()))?;
        crate::sweep::sweep(&directory);
        let path = directory.join(application.as_str());
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| failed("can't make the application's folder", error))?;
        let lock = lock_file(&path.join(LOCK)).and_then(|lock| {
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            Ok(lock)
        });
        match lock {
            Ok(lock) => Ok(ApplicationFolder { application: application.clone(), path, lock: Some(lock) }),
            Err(error) => {
                let _ = fs::remove_dir_all(&path); // the error that is told is the first
                Err(failed("can't lock the application's folder", error))
            }
        }
    }

    /// Where the folders of an executor are.
    pub(crate) fn executor(&self, executor: ExecutorId) -> ExecutorFolder {
        ExecutorFolder::below(&self.path.join(executor.to_string()))
    }
}

impl ApplicationFolder {
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
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "can't remove the application's folder");
        }
    }
}

impl ExecutorFolder {
    /// Those in the executor's own folder.
    pub(crate) fn below(path: &Path) -> ExecutorFolder {
        ExecutorFolder { work: path.join("work"), logs: path.join("logs"), cgroup: path.join("cgroup") }
    }

    /// Makes them. Blocks.
    pub(crate) fn create(&self) -> io::Result<()> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700);
        private.create(&self.work)?;
        private.create(&self.logs)
    }

    /// Removes the working directory; logs stay while the application lives. Blocks.
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

/// The applications below `directory` whose driver is dead, each with the lock that keeps everybody else from it.
pub(crate) fn abandoned(directory: &Path) -> Vec<(ApplicationId, PathBuf, File)> {
    let Ok(folders) = fs::read_dir(directory) else { return Vec::new() };
    folders
        .flatten()
        .filter_map(|folder| {
            let application = folder.file_name().to_str()?.parse().ok()?;
            let lock = lock_file(&folder.path().join(LOCK)).ok()?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
            Some((application, folder.path(), lock))
        })
        .collect()
}
