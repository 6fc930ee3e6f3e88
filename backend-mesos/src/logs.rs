//! What an executor printed, by its agent's file API: live, following, and after its end while the agent keeps the folder.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{LogChunk, LogFrom, LogPosition, LogRequest, LogStream, Missing, Stream};
use convoke_core::units::HostPort;

use crate::application::Shared;
use crate::v1::agent;

/// An agent reads 16 pages at once at the most.
const CHUNK_BYTES: u64 = 64 << 10;
/// Between two looks at a file that is followed.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

/// One reading of a file.
struct Reading {
    shared: Arc<Shared>,
    executor: ExecutorId,
    agent: HostPort,
    path: String,
    offset: u64,
    follow: bool,
    /// It had ended before the last look: that look saw all there will be.
    ended: bool,
    over: bool,
    ready: VecDeque<LogChunk>,
}

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
    let file = match request.stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    };
    let mut reading = Reading {
        shared,
        executor,
        agent,
        path: format!("/frameworks/{framework}/executors/{task}/runs/latest/{file}"),
        offset: 0,
        follow: request.follow,
        ended: false,
        over: false,
        ready: VecDeque::new(),
    };
    reading.offset = match request.from {
        LogFrom::Start => 0,
        LogFrom::Last(bytes) => reading.size().await?.saturating_sub(bytes),
        LogFrom::After(LogPosition(position)) => position.parse().map_err(|_| {
            Error::invalid("from", "a position in a Mesos log is a number of bytes")
                .with("position", position)
        })?,
    };
    // fails now where it can't be read at all
    reading.look().await?;
    Ok(Box::pin(futures_util::stream::unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Some((chunk, reading))
    })))
}

impl Reading {
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
        let alive = self.shared.read(|it| it.home(self.executor).is_some_and(|(_, alive)| alive));
        let (size, data) = match self.ask(self.offset, CHUNK_BYTES).await {
            Ok(answer) => (answer.size, answer.data),
            // not there yet, while its files are being fetched
            Err(error) if error.kind() == ErrorKind::NotFound && alive => (0, Default::default()),
            Err(error) => return Err(error),
        };
        if data.is_empty() {
            self.over = !self.follow || self.ended;
            self.ended = !alive;
            return Ok(());
        }
        self.offset = (self.offset + data.len() as u64).min(size.max(self.offset));
        let end = LogPosition(self.offset.to_string());
        self.ready.push_back(LogChunk { missing: Missing::Nothing, bytes: data, end });
        Ok(())
    }

    async fn size(&self) -> Result<u64> {
        match self.ask(0, 0).await {
            Ok(answer) => Ok(answer.size),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, offset: u64, length: u64) -> Result<agent::response::ReadFile> {
        let read_file = agent::call::ReadFile { path: self.path.clone(), offset, length: Some(length) };
        let question =
            agent::Call { r#type: Some(agent::call::Type::ReadFile as i32), read_file: Some(read_file) };
        let answer: agent::Response = self.shared.http.ask(&self.agent, &question).await?;
        answer.read_file.ok_or_else(|| Error::new(ErrorKind::Protocol, "an agent's answer has no file in it"))
    }
}
