//! Where to look, and what was seen there.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::search::Secrets;
use super::{Leak, Place};

/// Of a file, no more than this is kept: its end.
const MOST_OF_A_FILE: u64 = 8 << 20;
/// A folder deeper than this below where the search began isn't entered.
const DEEPEST: usize = 24;

type Read = Box<dyn FnMut() -> io::Result<Vec<u8>> + Send>;

/// Where to look.
#[derive(Default)]
pub struct Places {
    processes: bool,
    logs: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    pages: Vec<(String, Read)>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("processes", &self.processes)
            .field("logs", &self.logs)
            .field("readable", &self.readable)
            .field("pages", &self.pages.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}

impl Places {
    /// Nowhere yet.
    #[must_use]
    pub fn new() -> Places {
        Places::default()
    }

    /// Command line and environment of every process of this host, as far as this user may read them.
    #[must_use]
    pub fn processes(mut self) -> Places {
        self.processes = true;
        self
    }

    /// Every file below this folder, whoever may read it: logs are shown to people.
    #[must_use]
    pub fn logs(mut self, folder: impl Into<PathBuf>) -> Places {
        self.logs.push(folder.into());
        self
    }

    /// Every file below this folder that others than its owner can read: its own mode and those of all folders above it
    /// allow that to somebody of its group or to anybody. (Access control lists aren't looked at.)
    #[must_use]
    pub fn readable_files(mut self, folder: impl Into<PathBuf>) -> Places {
        self.readable.push(folder.into());
        self
    }

    /// What `read` gives under this name: a status page, say by [`fetch`](super::fetch).
    #[must_use]
    pub fn page(
        mut self,
        name: impl Into<String>,
        read: impl FnMut() -> io::Result<Vec<u8>> + Send + 'static,
    ) -> Places {
        self.pages.push((name.into(), Box::new(read)));
        self
    }

    /// Looks once at all of it, into `seen`.
    pub fn look(&mut self, seen: &mut Seen) {
        seen.passes += 1;
        if self.processes {
            look_at_processes(seen);
        }
        for folder in &self.logs {
            walk(folder, 0, &mut |path| seen.file(path, Place::Log(path.to_owned())));
        }
        for folder in &self.readable {
            walk(folder, 0, &mut |path| {
                if others_can_read(path) {
                    seen.file(path, Place::ReadableFile(path.to_owned()));
                }
            });
        }
        for (name, read) in &mut self.pages {
            match read() {
                Ok(page) => seen.page(name, page),
                Err(error) => tracing::debug!(%error, name, "a page that can't be read"),
            }
        }
    }
}

/// All that was seen. Kept in memory: for tests.
#[derive(Default)]
pub struct Seen {
    passes: u64,
    processes: HashMap<(i32, u64), SeenProcess>,
    files: HashMap<(PathBuf, u64), SeenFile>,
    pages: Vec<(String, Vec<u8>)>,
}

#[derive(Default)]
struct SeenProcess {
    /// Each command line that it had, with the environment that it was seen with.
    lives: Vec<(Vec<u8>, Vec<u8>)>,
    environment_read: bool,
}

struct SeenFile {
    place: Place,
    stamp: (u64, i64, i64),
    contents: Vec<u8>,
    /// What it held before it was made anew, where that isn't its beginning any more.
    earlier: Vec<Vec<u8>>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen")
            .field("passes", &self.passes)
            .field("processes", &self.processes.len())
            .field("files", &self.files.len())
            .field("pages", &self.pages.len())
            .finish()
    }
}

impl Seen {
    /// How often it was looked.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// How many different processes were seen whose environment could be read.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.processes.values().filter(|process| process.environment_read).count()
    }

    /// Of how many processes the environment held this text: a test's proof that those it is about were seen.
    #[must_use]
    pub fn processes_with(&self, text: &str) -> usize {
        let holds = |process: &&SeenProcess| {
            process.lives.iter().any(|(_, environment)| {
                environment.split(|byte| *byte == 0).any(|variable| variable == text.as_bytes())
            })
        };
        self.processes.values().filter(holds).count()
    }

    /// How many files were read.
    #[must_use]
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// How many pages were read.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Every secret that was seen where it must not be, in order and once each. Whether a place is fair for a secret (a
    /// single-use ticket in its own executor's environment, where the manager has no private channel) is the caller's to say.
    #[must_use]
    pub fn leaks(&self, secrets: &Secrets) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let mut search = |text: &[u8], place: &dyn Fn() -> Place| {
            for hit in secrets.in_bytes(text) {
                leaks.push(Leak { secret: hit.secret, spelling: hit.spelling, place: place() });
            }
        };
        for ((process, _), seen) in &self.processes {
            for (line, environment) in &seen.lives {
                let (process, command) = (*process, command(line));
                search(line, &|| Place::CommandLine { process, command: command.clone() });
                search(environment, &|| Place::Environment { process, command: command.clone() });
            }
        }
        for file in self.files.values() {
            for contents in file.earlier.iter().chain([&file.contents]) {
                search(contents, &|| file.place.clone());
            }
        }
        for (name, page) in &self.pages {
            search(page, &|| Place::Page(name.clone()));
        }
        leaks.sort();
        leaks.dedup();
        leaks
    }

    fn process(&mut self, number: i32, started: u64) {
        let read = |what: &str| fs::read(format!("/proc/{number}/{what}")).ok();
        let Some(line) = read("cmdline") else { return };
        let seen = self.processes.entry((number, started)).or_default();
        if seen.lives.iter().any(|(known, _)| *known == line) {
            return;
        }
        // A new command line is a new program: its environment may be new, too.
        let environment = read("environ");
        seen.environment_read |= environment.is_some();
        seen.lives.push((line, environment.unwrap_or_default()));
    }

    fn file(&mut self, path: &Path, place: Place) {
        let Ok(about) = fs::symlink_metadata(path) else { return };
        if !about.is_file() {
            return; // a pipe would be waited at, a link leads to what is looked at where it is
        }
        let stamp = (about.len(), about.mtime(), about.mtime_nsec());
        let key = (path.to_owned(), about.ino());
        if self.files.get(&key).is_some_and(|seen| seen.stamp == stamp) {
            return;
        }
        let Ok(contents) = end_of(path) else { return };
        match self.files.get_mut(&key) {
            Some(seen) => {
                let before = std::mem::replace(&mut seen.contents, contents);
                seen.stamp = stamp;
                if !seen.contents.starts_with(&before) {
                    seen.earlier.push(before);
                }
            }
            None => {
                self.files.insert(key, SeenFile { place, stamp, contents, earlier: Vec::new() });
            }
        }
    }

    fn page(&mut self, name: &str, page: Vec<u8>) {
        if !self.pages.iter().any(|(known, seen)| known == name && *seen == page) {
            self.pages.push((name.to_owned(), page));
        }
    }
}

/// A command line, as people read it.
fn command(line: &[u8]) -> String {
    let words = String::from_utf8_lossy(line).replace('\0', " ");
    // The program's name alone, and less of it than a secret needs.
    words.split(' ').next().unwrap_or_default().chars().take(40).collect()
}

fn look_at_processes(seen: &mut Seen) {
    let Ok(folders) = fs::read_dir("/proc") else { return };
    let numbers = folders.filter_map(|folder| folder.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers {
        let process = u32::try_from(number).ok().and_then(convoke_core::process::table::ProcessId::of);
        if let Some(process) = process {
            seen.process(number, process.started_ticks);
        }
    }
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::{Seek as _, SeekFrom};
    // Never blocks, should it have become a pipe since.
    let mut file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
        .open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_OF_A_FILE)))?;
    let mut contents = Vec::new();
    file.take(MOST_OF_A_FILE).read_to_end(&mut contents)?;
    Ok(contents)
}

/// Whether somebody else than its owner can read this file: group or others may read it, and may pass every folder above.
fn others_can_read(path: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map(|about| about.mode()).unwrap_or(0);
    let Ok(path) = fs::canonicalize(path) else { return false };
    let file = mode(&path);
    let group = file & 0o040 != 0;
    let all = file & 0o004 != 0;
    // A class of readers must pass all folders; which groups are the same one isn't asked.
    let passes = |bit: u32| path.ancestors().skip(1).all(|folder| mode(folder) & (bit | 0o001) != 0);
    (all && passes(0o001)) || (group && passes(0o010))
}

fn walk(folder: &Path, depth: usize, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < DEEPEST => walk(&entry.path(), depth + 1, each),
            Ok(kind) if kind.is_file() => each(&entry.path()),
            _ => {}
        }
    }
}
