//! What an executor printed, by its agent's file API: live, following, and after its end while the agent keeps the folder.
//!
//! A supervisor keeps its program's output in rolled files, named after the position of their first byte (`stdout.0`,
//! `stdout.4194304`): Mesos' own executor writes into the task's `stdout` and `stderr`, too. Where there are none (a program
//! without a supervisor, a launch that failed before it), those are what is read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{LogChunk, LogFrom, LogPosition, LogRequest, LogStream, Missing, Stream};
use convoke_core::units::HostPort;
use futures_util::StreamExt;

use crate::application::Shared;
use crate::launch::LOG_FOLDER;
use crate::v1::agent;
use crate::v1::http::Http;

/// An agent reads 16 pages at once at the most.
const CHUNK_BYTES: u64 = 64 << 10;
/// Between two looks at a file that is followed.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
const TAIL_BYTES: u64 = 4096;

/// Whose log is read: how to tell whether its executor still lives.
#[async_trait]
pub(crate) trait Author: Send + Sync {
    async fn is_alive(&self) -> bool;
}

/// An executor of an application that is ours.
struct Ours {
    shared: Arc<Shared>,
    executor: ExecutorId,
}

#[async_trait]
impl Author for Ours {
    async fn is_alive(&self) -> bool {
        self.shared.read(|it| it.home(self.executor).is_some_and(|(_, alive)| alive))
    }
}

/// One reading of a stream.
struct Reading {
    http: Http,
    author: Box<dyn Author>,
    agent: HostPort,
    /// The task's folder.
    folder: String,
    stream: &'static str,
    /// Whether its supervisor keeps rolled files.
    rolled: bool,
    offset: u64,
    follow: bool,
    /// It had ended before the last look: that look saw all there will be.
    ended: bool,
    over: bool,
    ready: VecDeque<LogChunk>,
}

/// A file of a stream: the position of its first byte, and how many it has.
type Piece = (u64, u64);

/// Begins to read. The position is a number of bytes.
pub(crate) async fn read(
    shared: Arc<Shared>,
    executor: ExecutorId,
    request: LogRequest,
) -> Result<Stream<Result<LogChunk>>> {
    let unknown = || {
        Error::new(ErrorKind::NotFound, "no executor of this number was ever on an agent")
            .with("executor", executor)
    };
    let (home, _) = shared.read(|scheduler| scheduler.home(executor)).ok_or_else(unknown)?;
    let agent = home.address.ok_or_else(|| {
        Error::unsupported("its agent's offer named no address").with("agent", home.agent.value)
    })?;
    let framework = shared.read(|it| it.framework().map(|id| id.value.clone())).unwrap_or_default();
    let task = shared.read(|scheduler| scheduler.native(executor));
    let http = shared.http.clone();
    read_of(http, Box::new(Ours { shared, executor }), agent, &framework, &task, request).await
}

/// Begins to read what this task of this framework printed, at its agent.
pub(crate) async fn read_of(
    http: Http,
    author: Box<dyn Author>,
    agent: HostPort,
    framework: &str,
    task: &str,
    request: LogRequest,
) -> Result<Stream<Result<LogChunk>>> {
    let mut reading = Reading {
        http,
        author,
        agent,
        folder: format!("/frameworks/{framework}/executors/{task}/runs/latest"),
        stream: match request.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        },
        rolled: false,
        offset: 0,
        follow: request.follow,
        ended: false,
        over: false,
        ready: VecDeque::new(),
    };
    reading.begin(request.from).await?;
    Ok(Box::pin(futures_util::stream::unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Some((chunk, reading))
    })))
}

/// The end of what a task printed on stderr before any supervisor took over.
pub(crate) async fn tail(shared: Arc<Shared>, executor: ExecutorId) -> Result<Vec<u8>> {
    let request = LogRequest { stream: LogStream::Stderr, from: LogFrom::Last(TAIL_BYTES), follow: false };
    let mut chunks = read(shared, executor, request).await?;
    let mut tail = Vec::new();
    while let Some(chunk) = chunks.next().await {
        tail.extend_from_slice(&chunk?.bytes);
    }
    Ok(tail)
}

impl Reading {
    /// Finds out what there is; fails now where nothing can be read at all.
    async fn begin(&mut self, from: LogFrom) -> Result<()> {
        let pieces = self.rolled_files().await?;
        self.rolled = pieces.is_some();
        self.offset = match from {
            LogFrom::Start => 0,
            LogFrom::Last(bytes) => {
                let end = match &pieces {
                    Some(pieces) => pieces.last().map_or(0, |(start, size)| start + size),
                    None => self.size_of_plain().await?,
                };
                end.saturating_sub(bytes)
            }
            LogFrom::After(LogPosition(position)) => position.parse().map_err(|_| {
                Error::invalid("from", "a position in a Mesos log is a number of bytes")
                    .with("position", position)
            })?,
        };
        self.look().await
    }

    async fn next(&mut self) -> Option<Result<LogChunk>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.look().await {
                self.over = true;
                return Some(Err(error));
            }
            if self.ready.is_empty() && !self.over {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }

    /// Reads the next piece, if there is one.
    async fn look(&mut self) -> Result<()> {
        let alive = self.author.is_alive().await;
        let found = if self.rolled { self.read_rolled().await } else { self.read_plain().await };
        let (missing, data) = match found {
            Ok(found) => found,
            // not there yet, while its files are being fetched
            Err(error) if error.kind() == ErrorKind::NotFound && alive => (0, bytes::Bytes::new()),
            Err(error) => return Err(error),
        };
        if data.is_empty() {
            self.over = !self.follow || self.ended;
            self.ended = !alive;
            return Ok(());
        }
        self.offset += missing + data.len() as u64;
        let end = LogPosition(self.offset.to_string());
        let missing = if missing > 0 { Missing::Bytes(missing) } else { Missing::Nothing };
        self.ready.push_back(LogChunk { missing, bytes: data, end });
        Ok(())
    }

    async fn read_plain(&self) -> Result<(u64, bytes::Bytes)> {
        let answer = self.ask(&format!("{}/{}", self.folder, self.stream), self.offset, CHUNK_BYTES).await?;
        Ok((0, answer.data))
    }

    /// What comes next of the rolled files, and how many bytes before it are no longer kept.
    async fn read_rolled(&self) -> Result<(u64, bytes::Bytes)> {
        // a file may be rolled away between the look and the reading: then look again
        for _ in 0..3 {
            let pieces = self.rolled_files().await?.unwrap_or_default();
            let Some((start, from)) = next_piece(&pieces, self.offset) else { break };
            let path = format!("{}/{LOG_FOLDER}/{}.{start}", self.folder, self.stream);
            match self.ask(&path, from - start, CHUNK_BYTES).await {
                Ok(answer) => return Ok((from - self.offset, answer.data)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((0, bytes::Bytes::new()))
    }

    async fn size_of_plain(&self) -> Result<u64> {
        match self.ask(&format!("{}/{}", self.folder, self.stream), 0, 0).await {
            Ok(answer) => Ok(answer.size),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The files of the stream, the oldest first; `None` where its supervisor keeps none.
    async fn rolled_files(&self) -> Result<Option<Vec<Piece>>> {
        let list_files = agent::call::ListFiles { path: format!("{}/{LOG_FOLDER}", self.folder) };
        let question = agent::Call {
            r#type: Some(agent::call::Type::ListFiles as i32),
            list_files: Some(list_files),
            ..Default::default()
        };
        let answer: agent::Response = match self.http.ask(&self.agent, &question).await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let files = answer.list_files.unwrap_or_default().file_infos;
        let mut pieces: Vec<Piece> = files
            .iter()
            .filter_map(|file| {
                let name = file.path.rsplit('/').next()?;
                let start = name.strip_prefix(self.stream)?.strip_prefix('.')?.parse().ok()?;
                Some((start, file.size()))
            })
            .collect();
        pieces.sort_unstable();
        Ok(Some(pieces))
    }

    async fn ask(&self, path: &str, offset: u64, length: u64) -> Result<agent::response::ReadFile> {
        let read_file = agent::call::ReadFile { path: path.to_owned(), offset, length: Some(length) };
        let question = agent::Call {
            r#type: Some(agent::call::Type::ReadFile as i32),
            read_file: Some(read_file),
            ..Default::default()
        };
        let answer: agent::Response = self.http.ask(&self.agent, &question).await?;
        answer.read_file.ok_or_else(|| Error::new(ErrorKind::Protocol, "an agent's answer has no file in it"))
    }
}

/// Of which file to read next, and from which position: at `offset`, or where what is kept begins after it.
fn next_piece(pieces: &[Piece], offset: u64) -> Option<(u64, u64)> {
    pieces.iter().find(|(start, size)| start + size > offset).map(|(start, _)| (*start, offset.max(*start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_next_is_found_across_rolled_files() {
        let pieces = [(100, 50), (150, 0), (150, 20)];
        assert_eq!(next_piece(&pieces, 0), Some((100, 100)), "a hundred bytes are no longer kept");
        assert_eq!(next_piece(&pieces, 149), Some((100, 149)));
        assert_eq!(next_piece(&pieces, 150), Some((150, 150)));
        assert_eq!(next_piece(&pieces, 170), None);
        assert_eq!(next_piece(&[], 0), None);
    }
}
