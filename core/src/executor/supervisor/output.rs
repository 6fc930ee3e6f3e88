//! What the program prints: to rolled files, or on to this process's own output; the end of it is kept.
//!
//! Each stream has a thread of its own that blocks, so that a slow disk or a full pipe holds up the program that prints,
//! and never the heartbeats.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::manager::{LaunchFailure, LogLimits, LogStream};
use crate::process::logs::{LogWriter, Tail};

/// Where the program's output goes.
#[derive(Debug, Clone)]
pub(super) struct Output {
    stdout: Arc<Mutex<Sink>>,
    stderr: Arc<Mutex<Sink>>,
    tail: Arc<Mutex<Tail>>,
}

#[derive(Debug)]
enum Sink {
    Files(LogWriter),
    Own(LogStream),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Files(writer) => writer.write(bytes),
            Sink::Own(LogStream::Stdout) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Sink::Own(LogStream::Stderr) => io::stderr().lock().write_all(bytes),
        }
    }
}

impl Output {
    /// Opens the files in `logs`, or none.
    ///
    /// # Errors
    /// Where the folder can't be written.
    pub(super) fn open(logs: Option<&Path>, limits: &LogLimits) -> Result<Output> {
        let open = |stream| {
            Ok::<_, Error>(Arc::new(Mutex::new(match logs {
                Some(folder) => Sink::Files(LogWriter::open(folder, stream, limits)?),
                None => Sink::Own(stream),
            })))
        };
        Ok(Output {
            stdout: open(LogStream::Stdout)?,
            stderr: open(LogStream::Stderr)?,
            tail: Arc::default(),
        })
    }

    /// Passes on what comes from `from` until its end; the returned receiver then closes. `seen` gets each piece.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn pump(
        &self,
        from: impl Into<OwnedFd>,
        stream: LogStream,
        mut seen: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<mpsc::Receiver<()>> {
        let mut from = std::fs::File::from(from.into());
        let (running, done) = mpsc::channel(1);
        let sink = Arc::clone(if stream == LogStream::Stdout { &self.stdout } else { &self.stderr });
        let tail = (stream == LogStream::Stderr).then(|| Arc::clone(&self.tail));
        std::thread::Builder::new()
            .name(format!("convoke-{}", crate::process::logs::stream_name(stream)))
            .spawn(move || {
                let _running = running;
                let mut buffer = vec![0; 16 * 1024];
                loop {
                    // Read under the tail's lock, once there is something: who sees the pipe empty finds it all in the tail.
                    let mut tail = tail.as_ref().map(|tail| {
                        wait_for_output(&from);
                        tail.lock().unwrap_or_else(PoisonError::into_inner)
                    });
                    let count = match from.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) => {
                            tracing::warn!(%error, "the program's output can't be read");
                            return;
                        }
                    };
                    let bytes = &buffer[..count];
                    if let Some(tail) = &mut tail {
                        tail.push(bytes);
                    }
                    drop(tail);
                    seen(bytes);
                    // Go on when nothing can be written: a program must not hang for its log's sake.
                    if let Err(error) = sink.lock().unwrap_or_else(PoisonError::into_inner).write(bytes) {
                        tracing::warn!(%error, "output of the program is lost");
                    }
                }
            })
            .map_err(|error| Error::host("can't start a thread", error))?;
        Ok(done)
    }

    /// Puts a line of the supervisor's own among the program's errors, where people look.
    pub(super) fn note(&self, line: &str) {
        let line = format!("convoke: {line}\n");
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(line.as_bytes());
        if let Err(error) = self.stderr.lock().unwrap_or_else(PoisonError::into_inner).write(line.as_bytes())
        {
            tracing::warn!(%error, line, "can't be written to the log");
        }
    }

    /// The same as text, of so many bytes.
    pub(super) fn tail_text(&self, bytes: usize) -> String {
        let tail = self.tail();
        String::from_utf8_lossy(&tail[tail.len().saturating_sub(bytes)..]).into_owned()
    }

    /// The end of what the program printed on its standard error.
    pub(super) fn tail(&self) -> Vec<u8> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).to_vec()
    }
}

/// What it means for the start of a program that its output can't be written.
pub(super) fn unwritable(error: &Error) -> LaunchFailure {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(LaunchFailure::from_io) {
        Some(LaunchFailure::DiskFull) => LaunchFailure::DiskFull,
        _ => LaunchFailure::UnwritableDirectory,
    }
}

/// Waits until there is something to read, or nothing will come any more.
fn wait_for_output(from: &std::fs::File) {
    let mut asked = [PollFd::new(from, PollFlags::IN)];
    // Whatever goes wrong here, the read after it tells.
    while poll(&mut asked, None) == Err(rustix::io::Errno::INTR) {}
}
