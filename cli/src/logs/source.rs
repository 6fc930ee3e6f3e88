//! One stream of one executor.

use bytes::{Bytes, BytesMut};
use convoke::Result;
use convoke::ids::{ApplicationId, ExecutorId};
use convoke::manager::{LogChunk, LogFrom, LogPosition, LogRequest, LogStream, Missing, Operator, Stream};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::operator::Asked;

/// What is read first for the last lines, for each of them; where that isn't enough, all is.
const BYTES_A_LINE: u64 = 256;
const LEAST_TAIL_BYTES: u64 = 64 << 10;

/// Which stream.
#[derive(Debug, Clone)]
pub struct Source {
    pub application: ApplicationId,
    pub executor: ExecutorId,
    pub stream: LogStream,
}

/// Some of it.
#[derive(Debug)]
pub struct Piece {
    pub executor: ExecutorId,
    pub stream: LogStream,
    pub missing: Missing,
    pub bytes: Bytes,
}

impl Source {
    /// Reads it all, or from the last `tail` lines on; to its end, or on as more is printed.
    pub async fn read(self, asked: Asked, tail: Option<u64>, follow: bool, to: mpsc::Sender<Result<Piece>>) {
        if let Err(error) = self.try_read(&asked, tail, follow, &to).await {
            let _ = to.send(Err(error)).await; // nobody reads any more: fine
        }
    }

    async fn try_read(
        &self,
        asked: &Asked,
        tail: Option<u64>,
        follow: bool,
        to: &mpsc::Sender<Result<Piece>>,
    ) -> Result<()> {
        let operator = asked.operator()?;
        let mut from = LogFrom::Start;
        if let Some(lines) = tail {
            let (bytes, end) = self.tail(operator, lines).await?;
            let _ = to.send(Ok(self.piece(Missing::Nothing, bytes))).await;
            if !follow {
                return Ok(());
            }
            from = end.map_or(LogFrom::Start, LogFrom::After);
        }
        let mut chunks = self.open(operator, from, follow).await?;
        while let Some(chunk) = chunks.next().await {
            let LogChunk { missing, bytes, .. } = chunk?;
            if to.send(Ok(self.piece(missing, bytes))).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        operator: &dyn Operator,
        from: LogFrom,
        follow: bool,
    ) -> Result<Stream<Result<LogChunk>>> {
        let request = LogRequest { stream: self.stream, from, follow };
        operator.logs(&self.application, self.executor, request).await
    }

    fn piece(&self, missing: Missing, bytes: Bytes) -> Piece {
        Piece { executor: self.executor, stream: self.stream, missing, bytes }
    }

    /// The last lines of what is written by now, and where they end.
    async fn tail(&self, operator: &dyn Operator, lines: u64) -> Result<(Bytes, Option<LogPosition>)> {
        let wanted = lines.saturating_mul(BYTES_A_LINE).max(LEAST_TAIL_BYTES);
        let (mut bytes, mut end) = self.all(operator, LogFrom::Last(wanted)).await?;
        if bytes.len() as u64 >= wanted && start_of_last(&bytes, lines) == 0 {
            (bytes, end) = self.all(operator, LogFrom::Start).await?;
        }
        Ok((bytes.slice(start_of_last(&bytes, lines)..), end))
    }

    async fn all(&self, operator: &dyn Operator, from: LogFrom) -> Result<(Bytes, Option<LogPosition>)> {
        let mut chunks = self.open(operator, from, false).await?;
        let (mut all, mut end) = (BytesMut::new(), None);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            all.extend_from_slice(&chunk.bytes);
            end = Some(chunk.end);
        }
        Ok((all.freeze(), end))
    }
}

/// Where the last `lines` lines begin.
fn start_of_last(bytes: &[u8], lines: u64) -> usize {
    let within = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut left = lines;
    if left == 0 {
        return bytes.len();
    }
    for (index, byte) in within.iter().enumerate().rev() {
        if *byte == b'\n' {
            left -= 1;
            if left == 0 {
                return index + 1;
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_begin_where_they_should() {
        for (text, lines, last) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n", 5, "a\n"),
            ("", 1, ""),
            ("a\nb\n", 0, ""),
        ] {
            assert_eq!(&text[start_of_last(text.as_bytes(), lines)..], last, "{text:?} {lines}");
        }
    }
}
