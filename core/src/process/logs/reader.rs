use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::{LogFile, files};
use crate::error::{Error, Result};
use crate::manager::{LogChunk, LogFrom, LogPosition, LogRequest, LogStream, Missing, Stream};

/// The most that one chunk holds.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often a follower looks for more.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);

/// Reads a stream that [`LogWriter`](super::LogWriter) writes or wrote. Blocking, but only on this host's files.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    stream: LogStream,
    /// The next byte's.
    position: u64,
    /// What was missing and not told yet.
    missing: u64,
    open: Option<(u64, File)>,
}

impl LogReader {
    /// Begins to read at `from`. A folder that isn't there yet is an empty stream.
    ///
    /// # Errors
    /// `InvalidRequest` for a position that no chunk has given; `Host` where the folder can't be read.
    pub fn open(folder: &Path, stream: LogStream, from: &LogFrom) -> Result<LogReader> {
        let told = |error| Error::host("can't read logs", error).with("folder", folder.display());
        let files = files(folder, stream).map_err(told)?;
        let position = match from {
            LogFrom::Start => 0,
            LogFrom::After(LogPosition(position)) => position.parse().map_err(|_| {
                Error::invalid("from", "not a position of this log").with("position", format!("{position:?}"))
            })?,
            LogFrom::Last(bytes) => last(&files, *bytes).map_err(told)?,
        };
        Ok(LogReader { folder: folder.to_path_buf(), stream, position, missing: 0, open: None })
    }

    /// The next bytes, and how many were missing before them; `None` at the end of what is written by now.
    ///
    /// # Errors
    /// `Host` where a file can't be read.
    pub fn next_chunk(&mut self) -> Result<Option<LogChunk>> {
        self.read_next()
            .map_err(|error| Error::host("can't read logs", error).with("folder", self.folder.display()))
    }

    fn read_next(&mut self) -> io::Result<Option<LogChunk>> {
        let mut buffer = vec![0; CHUNK_BYTES];
        // Rolled over between two looks: look again, for as long as a file was there to be opened.
        loop {
            if let Some((start, file)) = &mut self.open {
                file.seek(SeekFrom::Start(self.position - *start))?;
                let count = read_some(file, &mut buffer)?;
                if count > 0 {
                    self.position += count as u64;
                    buffer.truncate(count);
                    let missing = match std::mem::take(&mut self.missing) {
                        0 => Missing::Nothing,
                        bytes => Missing::Bytes(bytes),
                    };
                    let end = LogPosition(self.position.to_string());
                    return Ok(Some(LogChunk { missing, bytes: Bytes::from(buffer), end }));
                }
            }
            let files = files(&self.folder, self.stream)?;
            let current = self.open.as_ref().map(|(start, _)| *start);
            let next = match current {
                // At the end of this file: a later one begins here or, behind a gap, further on.
                Some(start) => files.iter().find(|file| file.start > start),
                // The last one that begins at or before the position, else the oldest there is.
                None => files.iter().rev().find(|file| file.start <= self.position).or_else(|| files.first()),
            };
            let Some(next) = next else { return Ok(None) };
            let file = match File::open(&next.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // removed in this moment
                Err(error) => return Err(error),
            };
            if let Some((start, before)) = &mut self.open {
                // It may have grown between the look at its end and the look at the folder.
                if before.metadata()?.len() > self.position - *start {
                    continue;
                }
            }
            if next.start > self.position {
                self.missing += next.start - self.position;
                self.position = next.start;
            }
            self.open = Some((next.start, file));
        }
    }

    /// The chunks that `request` asks for, following until `ended` where it says so: a follower sees all that was
    /// written before it was told of the end.
    ///
    /// # Errors
    /// As [`LogReader::open`].
    ///
    /// # Cancel safety
    /// Dropping the stream leaves nothing behind.
    pub fn stream(
        folder: &Path,
        request: &LogRequest,
        ended: CancellationToken,
    ) -> Result<Stream<Result<LogChunk>>> {
        let reader = LogReader::open(folder, request.stream, &request.from)?;
        let follow = request.follow;
        let chunks = stream::unfold(Some(reader), move |reader| {
            let ended = ended.clone();
            async move {
                let mut reader = reader?;
                loop {
                    let was_ended = ended.is_cancelled();
                    match reader.next_chunk() {
                        Ok(Some(chunk)) => return Some((Ok(chunk), Some(reader))),
                        Err(error) => return Some((Err(error), None)),
                        Ok(None) if !follow || was_ended => return None,
                        Ok(None) => {
                            tokio::select! {
                                () = tokio::time::sleep(FOLLOW_PAUSE) => {}
                                () = ended.cancelled() => {}
                            }
                        }
                    }
                }
            }
        });
        Ok(Box::pin(chunks))
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Where the last `bytes` that are kept begin: gaps don't count.
fn last(files: &[LogFile], bytes: u64) -> io::Result<u64> {
    let mut left = bytes;
    let mut position = files.last().map_or(0, |file| file.start);
    for file in files.iter().rev() {
        let length = match std::fs::metadata(&file.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => break, // rolled away in this moment
            Err(error) => return Err(error),
        };
        position = file.start + length.saturating_sub(left);
        left = left.saturating_sub(length);
        if left == 0 {
            break;
        }
    }
    Ok(position)
}
