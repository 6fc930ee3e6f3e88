//! Starting processes.
//!
//! A program of somebody else's can't prepare itself, and code between fork and exec would be `unsafe`. So our own binary
//! is started in its place, prepares itself (session, limits, parent-death signal) and then becomes the program by `exec`.
//! It is told how over a socket that is its standard input, and tells over the same what went wrong: the socket closes by
//! itself when the exec succeeds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal, setsid};
use serde::{Deserialize, Serialize};

use super::limits::ProcessLimits;
use crate::manager::LaunchFailure;

/// Where this process's own program can be executed, also where its file has been deleted or replaced meanwhile.
#[must_use]
pub fn own_program() -> PathBuf {
    // The link says where the file was; once it is deleted the kernel adds a remark to it, and only the link itself
    // still leads to the bytes.
    match std::fs::read_link("/proc/self/exe") {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// A command that runs this process's own program again, with the same arguments.
#[must_use]
pub fn own_command() -> Command {
    command_of(&own_program())
}

/// A command that runs `program` with this process's own arguments.
pub(crate) fn command_of(program: &Path) -> Command {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("convoke"));
    let mut command = Command::new(program);
    command.arg0(name).args(arguments);
    command
}

/// A program to become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecPlan {
    /// Its path, or a name that is looked for in `PATH`.
    pub program: String,
    /// `argv[1..]`.
    pub arguments: Vec<String>,
    /// Its environment: this beside what the process that becomes it has,
    pub environment: BTreeMap<String, String>,
    /// without these.
    pub without: Vec<String>,
    /// Its working directory; absent: that of the process that becomes it.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// What it is limited to.
    pub limits: ProcessLimits,
}

/// Why a program could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// For the account.
    pub failure: LaunchFailure,
    /// For people.
    pub message: String,
}

impl NotStarted {
    /// What an error of starting `program` means. The kernel says "not found" also for a program that is there, but whose
    /// interpreter or loader isn't: it was built for another system.
    #[must_use]
    pub fn of(program: &str, error: &io::Error) -> NotStarted {
        let mut failure = LaunchFailure::from_io(error);
        let mut message = format!("{program}: {error}");
        if failure == LaunchFailure::NoSuchProgram
            && let Some(found) = find(program, std::env::var_os("PATH").as_deref())
        {
            failure = LaunchFailure::WrongPlatform;
            message = format!("{}: its interpreter or loader is not on this node", found.display());
        }
        NotStarted { failure, message }
    }

    fn other(message: impl Into<String>) -> NotStarted {
        NotStarted { failure: LaunchFailure::Other, message: message.into() }
    }
}

/// The file that `program` names: as `execvp` looks for it.
fn find(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    std::env::split_paths(path?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Whether the kernel can execute this file. Asked beforehand, for the C library's `exec` hands what it can't to a shell,
/// which would make a mess of another machine's code and hide the true failure.
fn is_for_this_host(file: &Path) -> bool {
    let head = |path: &Path| {
        let mut head = [0_u8; 20];
        std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).map(|()| head)
    };
    let starts_with = |magic: &[u8]| {
        let mut start = vec![0; magic.len()];
        let read = std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == magic
    };
    let native = || match (head(file), head(Path::new("/proc/self/exe"))) {
        // The same machine; or the narrower one that many processors run as well, which is the kernel's to say.
        (Ok(theirs), Ok(ours)) => {
            theirs[..4] == ours[..4] && (theirs[4] != ours[4] || theirs[18..] == ours[18..])
        }
        _ => false,
    };
    // What can't be read may still be executed, and a host may have been taught other formats.
    std::fs::File::open(file).is_err() || starts_with(b"#!") || native() || knows_other_formats()
}

fn knows_other_formats() -> bool {
    let formats = std::fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    formats.map(|format| format.file_name()).any(|name| name != "register" && name != "status")
}

/// Starts `plan` with `shim`: a command that runs our own program, and there [`become_program`]. `shim`'s standard input is
/// taken; `start` starts it. Returns when the program runs, or can't. Blocks for as long as an exec takes.
///
/// Call it on a thread that lives as long as the program may: the parent-death signal comes at that *thread's* end.
///
/// # Errors
/// Why it doesn't run, for the account.
pub fn start_with<T>(
    mut shim: Command,
    plan: &ExecPlan,
    start: impl FnOnce(&mut Command) -> io::Result<T>,
) -> Result<T, NotStarted> {
    let failed = |error: io::Error| NotStarted {
        failure: LaunchFailure::from_io(&error),
        message: format!("can't start a process: {error}"),
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let told = serde_json::to_vec(plan).map_err(|error| NotStarted::other(error.to_string()))?;
    shim.stdin(Stdio::from(rustix::fd::OwnedFd::from(theirs)));
    let started = start(&mut shim).map_err(failed)?;
    drop(shim); // and with it our copy of its end
    ours.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
    let mut answer = String::new();
    // A shim that dies before it has read all of it breaks the pipe; its exit tells.
    let asked = ours.write_all(&told).and_then(|()| ours.shutdown(std::net::Shutdown::Write));
    asked.and_then(|()| ours.read_to_string(&mut answer)).map_err(failed)?;
    match answer.trim().parse::<i32>() {
        Ok(errno) => Err(NotStarted::of(&plan.program, &io::Error::from_raw_os_error(errno))),
        Err(_) if answer.is_empty() => Ok(started),
        Err(_) => Err(NotStarted::other(answer)),
    }
}

/// Becomes the program that the other end of standard input says; returns the exit code where that fails.
#[must_use]
pub fn become_program() -> i32 {
    let link = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map(UnixStream::from);
    let mut link = match link {
        Ok(link) => link,
        Err(error) => {
            eprintln!("convoke: nobody says which program to become: {error}");
            return 125;
        }
    };
    let told = match prepare(&mut link) {
        Ok(mut command) => words(&command.exec()),
        Err(error) => words(&error),
    };
    let _ = link.write_all(told.as_bytes()); // nobody to tell: the exit code is all there is
    127
}

fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |errno| errno.to_string())
}

fn prepare(link: &mut UnixStream) -> io::Result<Command> {
    let mut told = Vec::new();
    link.read_to_end(&mut told)?;
    let plan: ExecPlan = serde_json::from_slice(&told).map_err(io::Error::other)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let _ = setsid(); // refused for the leader of a group, which is as much as we want
    plan.limits.apply()?;
    if let Some(directory) = &plan.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            // Not told by its number, which would be taken for the program's.
            io::Error::other(format!("its folder {}: {error}", directory.display()))
        })?;
    }
    if let Some(file) = find(&plan.program, std::env::var_os("PATH").as_deref())
        && !is_for_this_host(&file)
    {
        return Err(rustix::io::Errno::NOEXEC.into());
    }
    let mut command = Command::new(Path::new(&plan.program));
    for name in &plan.without {
        command.env_remove(name);
    }
    command.args(&plan.arguments).envs(&plan.environment).stdin(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_but_cant_run_is_of_another_platform() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/nowhere/interpreter\n").unwrap();
        let enoent = io::Error::from_raw_os_error(2);
        let there = NotStarted::of(script.to_str().unwrap(), &enoent);
        assert_eq!(there.failure, LaunchFailure::WrongPlatform);
        let gone = folder.path().join("gone");
        assert_eq!(NotStarted::of(gone.to_str().unwrap(), &enoent).failure, LaunchFailure::NoSuchProgram);
        assert_eq!(NotStarted::of("no-such-program-at-all", &enoent).failure, LaunchFailure::NoSuchProgram);
    }

    #[test]
    fn our_own_program_is_found() {
        assert!(own_program().is_file());
    }
}
