//! The folder in which executors of one application on one node share what they fetch (D8).
//!
//! ```text
//! <cache>/.lock                          taken while folders are made and removed
//! <cache>/<application>.<boot>/lock      shared by its executors here as long as they live
//! <cache>/<application>.<boot>/<sha256>       a file, whole: it gets this name when its digest was right
//! <cache>/<application>.<boot>/<sha256>.part  what has come of it; its lock is held by the one who fetches
//! ```
//!
//! Only its owner sees any of it. The last executor that leaves removes the application's folder; one that was killed with its
//! guard leaves that to the next one on the node, of whatever application. What was written before the node's last start
//! isn't trusted, so nothing waits for a disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::environment::CACHE;
use crate::ids::ApplicationId;

/// One application's part of this node's cache, for as long as this is held.
#[derive(Debug)]
pub(super) struct NodeCache {
    root: PathBuf,
    path: PathBuf,
    /// Dropped first.
    lock: Option<File>,
}

impl NodeCache {
    /// Opens it, and removes what dead applications left. Blocks.
    ///
    /// # Errors
    /// Where it can't be made or written, or belongs to somebody else.
    pub(super) fn open(application: &ApplicationId) -> io::Result<NodeCache> {
        NodeCache::open_in(root(), application)
    }

    fn open_in(root: PathBuf, application: &ApplicationId) -> io::Result<NodeCache> {
        DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        let owner = fs::symlink_metadata(&root)?;
        // In a folder that everybody may write, somebody else could have made it first.
        if !owner.is_dir() || owner.uid() != rustix::process::geteuid().as_raw() || owner.mode() & 0o077 != 0
        {
            let message = format!("{} is not a folder of this user's alone", root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let _making = locked(&root.join(".lock"), FlockOperation::LockExclusive)?;
        let path = root.join(folder_name(application));
        sweep(&root, &path);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = locked(&path.join("lock"), FlockOperation::LockShared)?;
        Ok(NodeCache { root, path, lock: Some(lock) })
    }

    /// Where the file of this name is, or will be.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The unfinished file of this name, for the one caller on this node who may write it. Waits for another. Blocks.
    pub(super) fn part(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(format!("{name}.part"));
        loop {
            let part = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            match flock(&part, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => continue,
                locked => locked?,
            }
            // The one who had it may have finished it, and so taken its name away.
            let (held, named) = (part.metadata()?, fs::metadata(&path));
            if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                return Ok(part);
            }
            if self.file(name).exists() {
                return Ok(part); // of no name: for nobody
            }
        }
    }

    /// Takes an unfinished file away.
    pub(super) fn drop_part(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(format!("{name}.part")))
    }

    /// Gives the finished file its name.
    pub(super) fn finish(&self, name: &str) -> io::Result<()> {
        fs::rename(self.path.join(format!("{name}.part")), self.file(name))
    }
}

impl Drop for NodeCache {
    fn drop(&mut self) {
        self.lock = None;
        if let Err(error) = leave(&self.root, &self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "the fetched files stay for the next executor here to remove");
        }
    }
}

/// Removes the application's folder if none of its executors on this node is left: for a guard, whose supervisor may have been
/// killed.
pub(super) fn leave_behind(application: &str) -> io::Result<()> {
    let Ok(application) = application.parse::<ApplicationId>() else { return Ok(()) };
    let root = root();
    leave(&root, &root.join(folder_name(&application)))
}

fn leave(root: &Path, path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let _making = locked(&root.join(".lock"), FlockOperation::LockExclusive)?;
    remove_if_free(path).map(drop)
}

fn sweep(root: &Path, own: &Path) {
    for folder in fs::read_dir(root).into_iter().flatten().flatten() {
        let path = folder.path();
        if path != own
            && is_an_applications(&folder)
            && let Err(error) = remove_if_free(&path)
        {
            tracing::debug!(folder = %path.display(), %error, "can't remove what an application left");
        }
    }
}

/// Whatever else lies there is somebody's own.
fn is_an_applications(folder: &fs::DirEntry) -> bool {
    let name = folder.file_name();
    let application =
        name.to_str().and_then(|name| name.rsplit_once('.')).map(|(application, _)| application);
    folder.file_type().is_ok_and(|kind| kind.is_dir())
        && application.is_some_and(|application| application.parse::<ApplicationId>().is_ok())
        && folder.path().join("lock").is_file()
}

/// Under the lock of all folders.
fn remove_if_free(path: &Path) -> io::Result<bool> {
    match locked(&path.join("lock"), FlockOperation::NonBlockingLockExclusive) {
        Ok(_free) => fs::remove_dir_all(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn root() -> PathBuf {
    let folder = std::env::var_os(CACHE).map_or_else(std::env::temp_dir, PathBuf::from);
    folder.join(format!("convoke-cache-{}", rustix::process::geteuid().as_raw()))
}

/// The application, and which start of the node this is.
fn folder_name(application: &ApplicationId) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("{application}.{}", boot.chars().filter(char::is_ascii_hexdigit).take(12).collect::<String>())
}

fn locked(path: &Path, how: FlockOperation) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    loop {
        match flock(&file, how) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;
    use std::os::unix::fs::PermissionsExt as _;

    fn application(number: u64) -> ApplicationId {
        ApplicationId::from_parts(&Name::new("a").unwrap(), number)
    }

    #[test]
    fn the_last_one_removes_it_and_what_the_dead_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        let one = NodeCache::open_in(root.clone(), &application(1)).unwrap();
        let again = NodeCache::open_in(root.clone(), &application(1)).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
        drop(one);
        assert!(again.path.exists(), "another uses it");
        let path = again.path.clone();
        drop(again);
        assert!(!path.exists());

        // Killed: nobody holds its lock.
        let dead = root.join(folder_name(&application(2)));
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), "").unwrap();
        let others = root.join("somebody's own");
        fs::create_dir(&others).unwrap();
        fs::write(others.join("lock"), "").unwrap();
        let held = NodeCache::open_in(root.clone(), &application(3)).unwrap();
        assert!(!dead.exists() && held.path.exists() && others.exists());
    }

    #[test]
    fn a_part_is_one_writers_and_a_finished_file_is_nobodys_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let cache = NodeCache::open_in(folder.path().join("cache"), &application(1)).unwrap();
        let part = cache.part("x").unwrap();
        let other = OpenOptions::new().write(true).open(cache.path.join("x.part")).unwrap();
        assert!(flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
        cache.finish("x").unwrap();
        drop(part);
        assert!(cache.file("x").exists());
    }

    #[test]
    fn a_folder_that_others_could_have_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = NodeCache::open_in(root, &application(1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
