//! A process's output in rolled files (E2): written by one, read by anybody at the same time.
//!
//! A file is named after its stream and the position of its first byte, counted from the beginning of the stream:
//! `stdout.0`, `stdout.16777216`. So a position means the same before and after a roll-over, nothing is ever renamed, and
//! what is missing can be told by the names alone. Whoever writes a stream on (a supervisor started anew in the same
//! folder) goes on counting where the last file ends.

mod reader;
mod tail;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use reader::LogReader;
pub use tail::Tail;
pub use writer::LogWriter;

use crate::manager::LogStream;

/// The name that the files of a stream begin with.
#[must_use]
pub const fn stream_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

/// A file of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogFile {
    /// The position of its first byte.
    start: u64,
    path: PathBuf,
}

/// The files of a stream in `folder`, the oldest first; none where there is no such folder.
fn files(folder: &Path, stream: LogStream) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let start = name.to_str().and_then(|name| name.strip_prefix(stream_name(stream))?.strip_prefix('.'));
        if let Some(start) = start.and_then(|digits| digits.parse().ok()) {
            found.push(LogFile { start, path: entry.path() });
        }
    }
    found.sort_unstable_by_key(|file| file.start);
    Ok(found)
}

fn path(folder: &Path, stream: LogStream, start: u64) -> PathBuf {
    folder.join(format!("{}.{start}", stream_name(stream)))
}

#[cfg(test)]
#[path = "logs_test.rs"]
mod tests;
