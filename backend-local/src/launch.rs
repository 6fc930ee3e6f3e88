//! Prepares one executor: its folder, its files, its command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use convoke_core::executor::environment as names;
use convoke_core::ids::Name;
use convoke_core::manager::{
    Artifact, Bootstrap, Exit, ExitCause, LaunchCommand, LaunchFailure, Platform, Program, Source,
};
use convoke_core::secret::{Digest, to_hex};
use sha2::Digest as _;

use crate::folder::ExecutorFolder;

/// A launch that failed, as the exit that tells it.
pub(crate) fn failed(failure: LaunchFailure, message: impl Into<String>) -> Exit {
    Exit::new(ExitCause::LaunchFailed(failure), message)
}

/// A folder or file of the executor could not be written.
pub(crate) fn not_written(what: &str, path: &Path, error: &io::Error) -> Exit {
    let failure = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => LaunchFailure::DiskFull,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => LaunchFailure::UnwritableDirectory,
        _ => LaunchFailure::Other,
    };
    failed(failure, format!("can't write {what} {}: {error}", path.display()))
}

/// What is run, and by which path.
#[derive(Debug)]
pub(crate) struct Executable {
    /// What is handed to `exec`.
    pub(crate) path: PathBuf,
    /// What people shall read.
    pub(crate) shown: String,
    /// Whether it is a bootstrap, whose supervisor keeps the logs itself.
    pub(crate) keeps_logs: bool,
}

/// Finds what is to be run.
pub(crate) fn executable(
    program: &Program,
    bootstrap: &Bootstrap,
    folder: &ExecutorFolder,
) -> Result<Executable, Exit> {
    match program {
        Program::Bootstrap => {
            let (path, shown) =
                bootstrap_path(bootstrap).map_err(|message| failed(LaunchFailure::WrongPlatform, message))?;
            Ok(Executable { path, shown, keeps_logs: true })
        }
        Program::OnNode(text) => {
            let path = find_on_node(text).ok_or_else(|| {
                failed(LaunchFailure::NoSuchProgram, format!("there is no program {text:?} on this host"))
            })?;
            Ok(Executable { shown: path.display().to_string(), path, keeps_logs: false })
        }
        Program::File(name) => {
            let path = folder.work.join(name.as_str());
            Ok(Executable { shown: path.display().to_string(), path, keeps_logs: false })
        }
        other => Err(failed(LaunchFailure::Other, format!("the local backend can't run {other:?}"))),
    }
}

/// The path of the bootstrap, or why there is none for this host.
///
/// Without builds it is this very program. It is run through the kernel's own link to it, which leads there also when its
/// file has been replaced or deleted since.
pub(crate) fn bootstrap_path(bootstrap: &Bootstrap) -> Result<(PathBuf, String), String> {
    let own = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let own_shown = || {
        std::env::current_exe().map_or_else(|_| "this program".to_owned(), |path| path.display().to_string())
    };
    if bootstrap.builds.is_empty() {
        return Ok((own, own_shown()));
    }
    let here = Platform::current();
    let suits = |build: &&(Platform, Artifact)| build.0.runs_on(&here);
    let exact = bootstrap.builds.iter().find(|(platform, _)| *platform == here);
    let Some((_, build)) = exact.or_else(|| bootstrap.builds.iter().find(suits)) else {
        let has: Vec<_> = bootstrap.builds.iter().map(|(platform, _)| platform.to_string()).collect();
        return Err(format!("no build for this host's {here}; there are builds for {}", has.join(", ")));
    };
    let paths = build.sources.iter().filter_map(source_path);
    for path in paths {
        if is_own(&path, &own) {
            return Ok((own, own_shown()));
        }
        if path.exists() {
            // One that the driver holds open is a link of the kernel's to where it was.
            let shown = fs::read_link(&path).unwrap_or_else(|_| path.clone());
            return Ok((path, shown.display().to_string()));
        }
    }
    Err(format!("the build for {here} is not on this host: {}", sources(build)))
}

fn is_own(path: &Path, own: &Path) -> bool {
    match (fs::metadata(path), fs::metadata(own)) {
        (Ok(theirs), Ok(ours)) => (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()),
        // Once deleted, the kernel's link says where it was, with a remark.
        (Err(_), Ok(_)) => {
            let mut remarked = path.as_os_str().to_owned();
            remarked.push(" (deleted)");
            fs::read_link(own).is_ok_and(|link| link.as_os_str() == remarked)
        }
        _ => false,
    }
}

fn source_path(source: &Source) -> Option<PathBuf> {
    match source {
        Source::DriverPath(path) | Source::NodePath(path) => Some(PathBuf::from(path)),
        _ => None,
    }
}

fn sources(artifact: &Artifact) -> String {
    let all: Vec<_> = artifact.sources.iter().map(|source| format!("{source:?}")).collect();
    if all.is_empty() { "it has no source".to_owned() } else { all.join(", ") }
}

fn find_on_node(text: &str) -> Option<PathBuf> {
    if text.contains('/') {
        return Some(PathBuf::from(text)); // exec tells what is wrong with it
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path).map(|folder| folder.join(text)).find(|path| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// What `exec` says, in the contract's words.
pub(crate) fn not_started(executable: &Executable, error: &io::Error) -> Exit {
    let mut failure = LaunchFailure::from_io(error);
    let mut message = format!("can't start {}: {error}", executable.shown);
    if failure == LaunchFailure::NoSuchProgram && executable.path.exists() {
        failure = LaunchFailure::WrongPlatform;
        message = format!("can't start {}: its loader or interpreter is not on this host", executable.shown);
    }
    failed(failure, message)
}

/// Copies the files that the executor finds in its folder: each whole, or the launch fails.
pub(crate) fn place_files(files: &[Artifact], folder: &ExecutorFolder) -> Result<(), Exit> {
    for artifact in files {
        let unavailable =
            |message: String| failed(LaunchFailure::ArtifactUnavailable(artifact.name.clone()), message);
        let relative = Path::new(artifact.name.as_str());
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(unavailable("its name leads out of the executor's folder".to_owned()));
        }
        let target = folder.work.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| not_written("the folder", parent, &error))?;
        }
        let mut tried = Vec::new();
        let found = artifact.sources.iter().filter_map(source_path).find_map(|source| {
            match fs::File::open(&source) {
                Ok(file) => Some((source, file)),
                Err(error) => {
                    tried.push(format!("{}: {error}", source.display()));
                    None
                }
            }
        });
        let Some((source, mut file)) = found else {
            let why = if tried.is_empty() { "no source on this host".to_owned() } else { tried.join("; ") };
            return Err(unavailable(why));
        };
        let mode = if artifact.executable { 0o755 } else { 0o644 };
        let digest = copy(&mut file, &target, mode).map_err(|problem| match problem {
            CopyProblem::Read(error) => unavailable(format!("{}: {error}", source.display())),
            CopyProblem::Write(error) => not_written("the file", &target, &error),
        })?;
        if digest != artifact.sha256 {
            return Err(unavailable(format!(
                "{} is not the file that was meant: its SHA-256 is {digest}, not {}",
                source.display(),
                artifact.sha256
            )));
        }
    }
    Ok(())
}

enum CopyProblem {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut fs::File, to: &Path, mode: u32) -> Result<Digest, CopyProblem> {
    let mut target = fs::File::create_new(to).map_err(CopyProblem::Write)?;
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0_u8; 256 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyProblem::Read(error)),
        };
        digest.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(CopyProblem::Write)?;
    }
    target.set_permissions(fs::Permissions::from_mode(mode)).map_err(CopyProblem::Write)?;
    Ok(Digest(digest.finalize().into()))
}

/// The process that is to be started.
///
/// It finds the driver's own environment, as Spark's local mode has it, without names that begin with `CONVOKE_`: those
/// are what its launcher and this backend say.
pub(crate) fn command(
    executable: &Executable,
    launch: &LaunchCommand,
    folder: &ExecutorFolder,
    devices: &BTreeMap<Name, Vec<String>>,
    cgroup_folders: Option<String>,
) -> io::Result<Command> {
    let mut command = Command::new(&executable.path);
    command.arg0(&executable.shown).args(&launch.args).current_dir(&folder.work).process_group(0);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CONVOKE_") {
            command.env_remove(name);
        }
    }
    command.envs(&launch.env).env(names::ROLE, "guard").env(names::TICKET, "stdin");
    if let Some(folders) = cgroup_folders {
        command.env(names::CGROUPS, folders);
    }
    if let Some(devices) = self::devices(devices)? {
        command.env(names::DEVICES, devices);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    if executable.keeps_logs {
        command.env(names::LOGS, &folder.logs);
        command.env(names::LOG_LIMITS, format!("{}x{}", launch.logs.file.0, launch.logs.rolled));
        // A file, not a pipe of ours: its last words after our death must not end the process that says them.
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.logs.join(SUPERVISOR_LOG))?;
        command.stderr(log);
    } else {
        command.stderr(Stdio::piped());
    }
    Ok(command)
}

/// The devices as an executor finds them in its environment.
pub(crate) fn devices(granted: &BTreeMap<Name, Vec<String>>) -> io::Result<Option<String>> {
    let text = (!granted.is_empty()).then(|| serde_json::to_string(granted));
    text.transpose().map_err(io::Error::other)
}

/// What guard and supervisor themselves say.
pub(crate) const SUPERVISOR_LOG: &str = "supervisor.log";

/// The line that carries the ticket.
pub(crate) fn ticket_line(launch: &LaunchCommand) -> String {
    to_hex(launch.ticket.expose()) + "\n"
}
