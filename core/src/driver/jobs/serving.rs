//! What the control plane asks of the task plane: executors come and go, and their streams and transfers are served.

use std::sync::Arc;

use bytes::BytesMut;
use futures_util::StreamExt as _;
use tonic::{Status, Streaming, async_trait};

use super::plane::Tasks;
use super::stream::ExecutorStream;
use crate::clock;
use crate::driver::task_plane::{JoinedExecutor, TaskPlane};
use crate::error::{Error, Result};
use crate::ids::ExecutorId;
use crate::manager::{Exit, Stream};
use crate::rpc::limits::CHUNK_BYTES;
use crate::rpc::status::to_status;
use crate::rpc::v1;

#[async_trait]
impl TaskPlane for Tasks {
    fn tasks(self: Arc<Self>) -> Option<Arc<Tasks>> {
        Some(self)
    }

    fn shutdown(&self) {
        self.close();
    }

    fn executor_joined(&self, joined: JoinedExecutor) {
        self.turn(|core, _, _| {
            core.scheduler.executor_joined(clock::now(), joined.executor, joined.profile, joined.slots);
        });
    }

    fn attach(
        &self,
        executor: ExecutorId,
        hello: v1::ExecutorHello,
        inbound: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status> {
        let me = self.deadlines.tasks().ok_or_else(|| Status::unavailable("the driver is closed"))?;
        ExecutorStream::attach(&me, executor, &hello, inbound.boxed())
            .map(|stream| Box::pin(stream) as Stream<_>)
            .map_err(|error| to_status(&error))
    }

    fn executor_draining(&self, executor: ExecutorId) {
        self.turn(|core, out, _| core.scheduler.executor_draining(executor, out));
    }

    fn executor_gone(&self, executor: ExecutorId) {
        self.turn(|core, out, afterwards| {
            core.scheduler.executor_gone(executor, out);
            let attached = core.streams.remove(&executor);
            afterwards.wakers.extend(attached.and_then(|attached| attached.waker));
        });
    }

    fn executor_lost(&self, executor: ExecutorId, exit: &Exit) {
        self.executor_gone(executor);
        self.turn(|core, out, _| core.scheduler.executor_lost(clock::now(), executor, exit, out));
    }

    fn fetch(
        &self,
        _executor: ExecutorId,
        blob: u64,
        offset: u64,
    ) -> Result<Stream<Result<v1::Chunk, Status>>, Status> {
        let bytes =
            self.blobs.find(blob).ok_or_else(|| Status::not_found(format!("there is no blob {blob}")))?;
        let total = bytes.len() as u64;
        if offset > total {
            return Err(Status::out_of_range(format!("blob {blob} has {total} bytes")));
        }
        let mut rest = bytes.slice(offset as usize..);
        let mut first = true;
        let chunks = std::iter::from_fn(move || {
            (std::mem::take(&mut first) || !rest.is_empty()).then(|| {
                let bytes = rest.split_to(rest.len().min(CHUNK_BYTES));
                Ok(v1::Chunk { total, bytes })
            })
        });
        Ok(Box::pin(tokio_stream::iter(chunks)))
    }

    async fn upload(
        &self,
        _executor: ExecutorId,
        mut inbound: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status> {
        let Some(first) = inbound.message().await? else {
            return Err(Status::invalid_argument("an upload without a chunk"));
        };
        if self.core().closed {
            return Err(Status::not_found("the driver is closed"));
        }
        let total = first.total;
        let most = self.settings.largest_bytes;
        if total > most as u64 {
            return Err(to_status(&too_large("the task's value is too large", total, most)));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(total).unwrap_or(0).min(64 << 20));
        bytes.extend_from_slice(&first.bytes);
        while let Some(chunk) = inbound.message().await? {
            bytes.extend_from_slice(&chunk.bytes);
            if bytes.len() as u64 > total {
                return Err(Status::invalid_argument("an upload longer than it said"));
            }
        }
        if bytes.len() as u64 != total {
            return Err(Status::data_loss("an upload shorter than it said"));
        }
        Ok(v1::UploadResponse { blob: self.blobs.keep(bytes.freeze()) })
    }
}

/// An argument or a value that the driver won't hold; to try again would be vain.
pub(super) fn too_large(what: &'static str, bytes: u64, most: usize) -> Error {
    Error::invalid("task.largest-payload", what)
        .with("bytes", bytes)
        .with("most", most)
        .help("pass large data by files or in parts, or raise task.largest-payload")
}
