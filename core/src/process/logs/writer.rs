use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{files, path};
use crate::error::{Error, Result};
use crate::manager::{LogLimits, LogStream};

/// Writes one stream in files of a bounded size and number.
///
/// A full disk loses bytes, never the stream: they are counted, and readers are told of the gap.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    stream: LogStream,
    file_bytes: u64,
    rolled: usize,
    /// `None` after a failure: the next write begins a file at its own position.
    file: Option<File>,
    /// Of the file that is written.
    start: u64,
    /// Of the next byte.
    position: u64,
    lost: u64,
}

impl LogWriter {
    /// Opens the stream in `folder`, which is made where it isn't there.
    ///
    /// # Errors
    /// Where the folder can't be made, read or written.
    pub fn open(folder: &Path, stream: LogStream, limits: &LogLimits) -> Result<LogWriter> {
        let told = |error| Error::host("can't write logs", error).with("folder", folder.display());
        fs::create_dir_all(folder).map_err(told)?;
        let last = files(folder, stream).map_err(told)?.pop();
        let (start, position) = match last {
            Some(last) => (last.start, last.start + fs::metadata(&last.path).map_err(told)?.len()),
            None => (0, 0),
        };
        let mut writer = LogWriter {
            folder: folder.to_path_buf(),
            stream,
            file_bytes: limits.file.bytes().max(1),
            rolled: limits.rolled as usize,
            file: None,
            start,
            position,
            lost: 0,
        };
        writer.file = Some(writer.open_file().map_err(told)?);
        Ok(writer)
    }

    /// The position of the next byte.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes it all, or counts what can't be written as lost.
    ///
    /// # Errors
    /// The first failure of a row of failures (a full disk); those that follow are only counted.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let was_well = self.file.is_some();
        while !bytes.is_empty() {
            let written = self.file_with_room().and_then(|(file, room)| {
                let piece = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
                file.write(piece)
            });
            match written {
                Ok(0) => {}
                Ok(count) => {
                    self.position += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.file = None;
                    if self.position == self.start {
                        // Begun, and nothing could be written to it: it counts for nothing.
                        let _ = fs::remove_file(path(&self.folder, self.stream, self.start));
                    }
                    self.position += bytes.len() as u64;
                    self.lost += bytes.len() as u64;
                    return if was_well { Err(error) } else { Ok(()) };
                }
            }
        }
        Ok(())
    }

    fn file_with_room(&mut self) -> io::Result<(&mut File, u64)> {
        let full = self.position - self.start >= self.file_bytes;
        let file = match self.file.take() {
            Some(file) if !full => file,
            // Full, or begun anew behind a gap.
            _ => {
                self.start = self.position;
                let file = self.open_file()?;
                self.remove_old()?;
                file
            }
        };
        let room = self.file_bytes - (self.position - self.start);
        Ok((self.file.insert(file), room))
    }

    fn open_file(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(path(&self.folder, self.stream, self.start))
    }

    fn remove_old(&self) -> io::Result<()> {
        let files = files(&self.folder, self.stream)?;
        for old in &files[..files.len().saturating_sub(self.rolled + 1)] {
            match fs::remove_file(&old.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
