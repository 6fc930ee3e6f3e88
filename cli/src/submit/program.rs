//! Why a program can't be started, and what to do about it.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use convoke::Error;
use rustix::io::Errno;

/// The error of a program that couldn't be started.
pub fn cannot_start(program: &OsStr, error: &io::Error) -> Error {
    let path = Path::new(program);
    let shown = program.to_string_lossy();
    let is_path = shown.contains('/');
    let (why, help) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) if !is_path && path.exists() => (
            "a program without a path is looked for in PATH, and isn't there",
            format!("name it by its path: ./{shown}"),
        ),
        Some(Errno::NOENT) if !is_path => (
            "there is no such program in PATH",
            "name it by its path, such as target/release/my-program".to_owned(),
        ),
        // The file is there, so what it names isn't.
        Some(Errno::NOENT) if path.exists() => (
            "what runs it is missing: the interpreter of its first line, or the dynamic loader it was linked for",
            format!("see what it is with: file {shown}"),
        ),
        Some(Errno::NOENT | Errno::NOTDIR) => {
            ("there is no such file", "check the path, or build it first: cargo build --release".to_owned())
        }
        Some(Errno::ACCESS | Errno::PERM) if path.is_dir() => {
            ("it is a folder", format!("name the program in it: {}/…", shown.trim_end_matches('/')))
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            ("it may not be executed", format!("make it executable: chmod +x {shown}"))
        }
        Some(Errno::NOEXEC) => (
            "it is no program of this machine: built for another processor, or a script without #! in its first line",
            format!("see what it is with: file {shown}"),
        ),
        _ => ("the system refuses", "see what the system says".to_owned()),
    };
    Error::new(convoke::ErrorKind::NotFound, format!("can't start the program {shown}"))
        .source(io::Error::other(format!("{why} ({error})")))
        .help(help)
}
