//! Starting processes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use std::os::unix::process::CommandExt;

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
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("convoke"));
    let mut command = Command::new(own_program());
    command.arg0(name).args(arguments);
    command
}
