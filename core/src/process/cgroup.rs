//! Control groups: limits of a whole process tree that the kernel itself keeps.
//!
//! Version 2 where it owns the controllers, else version 1 (some hosts, build machines above all, have only that), else
//! none. What a host lets us do can't be read off its files: permissions, delegation and seccomp all have a say. So it is
//! tried.

mod hierarchies;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hierarchies::Hierarchies;
use rustix::process::Signal;

use super::copy;
use super::table::{Entry, ProcessId};
use crate::clock;
use crate::error::{Error, Result};
use crate::units::{Cpus, MiB};

/// Folders that we make begin with this.
const PREFIX: &str = "convoke-";

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CgroupLimits {
    /// Memory and swap together.
    pub memory: Option<MiB>,
    /// The share of the processors that it gets when they are contended.
    pub cpu_share: Option<Cpus>,
    /// What it gets at the most, contended or not.
    pub cpu_quota: Option<Cpus>,
}

/// A control group that we made: one folder in version 2, one per controller in version 1.
///
/// Dropping it leaves it in place: see [`Cgroup::remove`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes a group named after `name` (letters, digits and dashes), below the group of this process. `None` where the
    /// host lets us have none that keeps any of the limits; see [`Cgroup::keeps_memory`] for what it keeps.
    ///
    /// # Errors
    /// `AlreadyExists` for a group of that name; `InvalidRequest` for a name that is none.
    pub fn create(name: &str, limits: &CgroupLimits) -> Result<Option<Cgroup>> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Error::invalid("name", "a control group's name has letters, digits and dashes")
                .with("name", format!("{name:?}")));
        }
        let folder_name = format!("{PREFIX}{name}");
        let hierarchies = Hierarchies::of_this_process();
        let mut group = Cgroup { folders: Vec::new() };
        for base in &hierarchies.unified {
            if let Some(folder) = make(base, &folder_name, Version::Two)? {
                if limit_v2(&folder, limits) {
                    group.folders.push(folder);
                    return Ok(Some(group));
                }
                let _ = fs::remove_dir(&folder); // it was just made and is empty
            }
        }
        for (bases, limit) in [
            (&hierarchies.memory, limit_memory_v1 as fn(&Path, &CgroupLimits) -> bool),
            (&hierarchies.cpu, limit_cpu_v1),
        ] {
            for base in bases {
                match make(base, &folder_name, Version::One) {
                    Ok(Some(folder)) if limit(&folder, limits) => {
                        group.folders.push(folder);
                        break;
                    }
                    Ok(Some(folder)) => {
                        let _ = fs::remove_dir(&folder); // it was just made and is empty
                    }
                    Ok(None) => {}
                    Err(error) => {
                        group.remove()?;
                        return Err(error);
                    }
                }
            }
        }
        Ok(Some(group).filter(|group| !group.folders.is_empty()))
    }

    /// The group whose [`Cgroup::folders`] these are.
    #[must_use]
    pub fn from_folders(folders: &OsStr) -> Cgroup {
        let folders = folders.as_bytes().split(|b| *b == b':').filter(|folder| !folder.is_empty());
        Cgroup { folders: folders.map(|folder| PathBuf::from(OsStr::from_bytes(folder))).collect() }
    }

    /// Its folders, colon-separated, as [`CGROUPS`](crate::executor::environment::CGROUPS) wants them.
    #[must_use]
    pub fn folders(&self) -> String {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        folders.join(":")
    }

    /// Whether the kernel keeps a limit of its memory.
    #[must_use]
    pub fn keeps_memory(&self) -> bool {
        self.memory_folder().is_some()
    }

    /// Whether the kernel shares processors out to it.
    #[must_use]
    pub fn keeps_cpu(&self) -> bool {
        self.folders
            .iter()
            .any(|folder| folder.join("cpu.weight").exists() || folder.join("cpu.shares").exists())
    }

    fn memory_folder(&self) -> Option<&PathBuf> {
        self.folders.iter().find(|folder| {
            folder.join("memory.max").exists() || folder.join("memory.limit_in_bytes").exists()
        })
    }

    /// How often the kernel has ended a process of the group because its memory was used up; 0 where memory is not
    /// limited.
    ///
    /// # Errors
    /// Where the group is gone.
    pub fn memory_kills(&self) -> io::Result<u64> {
        let Some(folder) = self.memory_folder() else { return Ok(0) };
        let events = folder.join("memory.events");
        let counts = if events.exists() { events } else { folder.join("memory.oom_control") };
        Ok(field(&fs::read_to_string(counts)?, "oom_kill").unwrap_or(0))
    }

    /// How much memory the group uses, caches of files included; `None` where it is not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let folder = self.memory_folder()?;
        let used = fs::read_to_string(folder.join("memory.current"))
            .or_else(|_| fs::read_to_string(folder.join("memory.usage_in_bytes")));
        used.ok()?.trim().parse().ok()
    }

    /// Moves this process into the group. What it starts afterwards is in it from the start.
    ///
    /// # Errors
    /// Where a folder of the group is gone or may not be written.
    pub fn enter(&self) -> Result<()> {
        let alone = copy::has_one_thread();
        for folder in &self.folders {
            // To move a whole process the kernel keeps all others from forking, and waits until all processors know: about 10 ms.
            // A thread that moves itself needs none of that, and version 1 lets it.
            let thread = folder.join("tasks");
            let file = if alone && thread.exists() { thread } else { folder.join("cgroup.procs") };
            fs::write(file, "0").map_err(|error| {
                Error::host("can't enter the control group", error).with("folder", folder.display())
            })?;
        }
        Ok(())
    }

    /// The processes of the group that run.
    #[must_use]
    pub fn processes(&self) -> Vec<ProcessId> {
        let mut found: Vec<ProcessId> = self
            .folders
            .iter()
            .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
            .flat_map(|numbers| numbers.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
            .filter_map(Entry::read)
            .filter(Entry::is_alive)
            .map(|entry| entry.id)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Kills all processes of the group, and waits for their end at most `patience`. Blocks.
    ///
    /// # Errors
    /// `DeadlineExceeded` where some live on (in a system call that can't be broken off).
    pub fn kill(&self, patience: Duration) -> Result<()> {
        let deadline = clock::now() + patience;
        loop {
            for folder in &self.folders {
                let _ = fs::write(folder.join("cgroup.kill"), "1"); // version 2 since 5.14; below is for all others
            }
            let left = self.processes();
            if left.is_empty() {
                return Ok(());
            }
            for process in &left {
                // Stopped ones don't fork while the others are being killed; refusals show as those that are left.
                let _ = process.signal(Signal::STOP);
            }
            for process in &left {
                let _ = process.signal(Signal::KILL);
            }
            if clock::now() >= deadline {
                return Err(Error::new(crate::ErrorKind::DeadlineExceeded, "processes outlive their kill")
                    .with("processes", left.len()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the empty group; what is gone already is no error. Waits a moment for the kernel to forget its last
    /// process. Blocks.
    ///
    /// # Errors
    /// Where processes are still in it.
    pub fn remove(&self) -> Result<()> {
        for folder in &self.folders {
            let deadline = clock::now() + Duration::from_millis(500);
            while let Err(error) = fs::remove_dir(folder) {
                if error.kind() == io::ErrorKind::NotFound {
                    break;
                }
                if clock::now() >= deadline {
                    return Err(
                        Error::host("can't remove the control group", error).with("folder", folder.display())
                    );
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Moves this process to the group above, and removes the group: for the last one in it, when nobody else is left
    /// to do so.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub fn leave_and_remove(&self) -> Result<()> {
        for folder in &self.folders {
            if let Some(above) = folder.parent() {
                let _ = fs::write(above.join("cgroup.procs"), "0"); // a refusal shows in the removal
            }
        }
        self.remove()
    }
}

/// Removes the groups that drivers left which were killed before they could: those made by convoke, a minute old, and
/// empty. Says how many.
pub fn remove_abandoned() -> usize {
    let hierarchies = Hierarchies::of_this_process();
    let bases = hierarchies.unified.iter().chain(&hierarchies.memory).chain(&hierarchies.cpu);
    let mut removed = 0;
    for folder in bases.filter_map(|base| fs::read_dir(base).ok()).flatten().flatten() {
        let ours = folder.file_name().as_bytes().starts_with(PREFIX.as_bytes());
        let age = folder.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|made| clock::wall_time().duration_since(made).ok());
        // The kernel refuses to remove one that has processes.
        if ours
            && age.is_some_and(|age| age > Duration::from_secs(60))
            && fs::remove_dir(folder.path()).is_ok()
        {
            removed += 1;
        }
    }
    removed
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A new folder below `base`; `None` where that isn't allowed.
fn make(base: &Path, name: &str, version: Version) -> Result<Option<PathBuf>> {
    if version == Version::Two && !hands_down_memory(base) {
        return Ok(None);
    }
    let folder = base.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => Ok(Some(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::host("there is a control group of this name", error).with("folder", folder.display()))
        }
        Err(_) => Ok(None),
    }
}

fn hands_down_memory(base: &Path) -> bool {
    let file = base.join("cgroup.subtree_control");
    let hands_down =
        || fs::read_to_string(&file).is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"));
    if !hands_down() {
        let _ = fs::write(&file, "+memory"); // refused where processes are in it, or it isn't ours
        let _ = fs::write(&file, "+cpu");
    }
    hands_down()
}

fn limit_v2(folder: &Path, limits: &CgroupLimits) -> bool {
    let mut kept = true;
    if let Some(memory) = limits.memory {
        kept &= fs::write(folder.join("memory.max"), memory.bytes().to_string()).is_ok();
        let _ = fs::write(folder.join("memory.swap.max"), "0"); // absent where the host has no swap accounting
    }
    if let Some(cpus) = limits.cpu_share {
        // 100 is the usual weight of one processor's worth; the kernel takes 1 to 10,000.
        let weight = (cpus.millis() / 10).clamp(1, 10_000);
        let _ = fs::write(folder.join("cpu.weight"), weight.to_string());
    }
    if let Some(cpus) = limits.cpu_quota {
        let _ = fs::write(
            folder.join("cpu.max"),
            format!("{} 100000", cpus.millis().saturating_mul(100).max(1_000)),
        );
    }
    kept
}

fn limit_memory_v1(folder: &Path, limits: &CgroupLimits) -> bool {
    let Some(memory) = limits.memory else { return false };
    let bytes = memory.bytes().to_string();
    let kept = fs::write(folder.join("memory.limit_in_bytes"), &bytes).is_ok();
    // Second, for it may not be below the first; absent where the host doesn't account for swap.
    let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), &bytes);
    kept
}

fn limit_cpu_v1(folder: &Path, limits: &CgroupLimits) -> bool {
    let mut kept = false;
    if let Some(cpus) = limits.cpu_share {
        let shares = (cpus.millis().saturating_mul(1024) / 1000).clamp(2, 262_144);
        kept |= fs::write(folder.join("cpu.shares"), shares.to_string()).is_ok();
    }
    if let Some(cpus) = limits.cpu_quota {
        let quota = cpus.millis().saturating_mul(100).max(1_000);
        kept |= fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string()).is_ok();
    }
    kept
}

/// The number after `name` in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_made_limited_and_removed_where_the_host_allows_it() {
        let name = format!("test-{}", std::process::id());
        let limits =
            CgroupLimits { memory: Some(MiB(64)), cpu_share: Some(Cpus::from_millis(500)), cpu_quota: None };
        let Some(group) = Cgroup::create(&name, &limits).unwrap() else {
            eprintln!("skipped: this host lets us have no control group");
            return;
        };
        let again = Cgroup::create(&name, &limits).unwrap_err();
        assert_eq!(again.kind(), crate::ErrorKind::AlreadyExists);
        assert_eq!(group.memory_kills().unwrap(), 0);
        assert!(group.processes().is_empty());
        assert_eq!(Cgroup::from_folders(OsStr::new(&group.folders())), group);
        group.remove().unwrap();
        group.remove().unwrap();
        assert!(group.memory_kills().is_err() || !group.keeps_memory());
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        for bad in ["", "..", "a/b", "a b"] {
            assert_eq!(Cgroup::create(bad, &CgroupLimits::default()).unwrap_err().field(), Some("name"));
        }
    }
}
