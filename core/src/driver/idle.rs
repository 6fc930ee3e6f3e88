//! A task plane without tasks: executors attach and wait. For drivers that only hold executors.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tonic::{Status, Streaming, async_trait};

use super::task_plane::{JoinedExecutor, TaskPlane};
use crate::ids::ExecutorId;
use crate::manager::{Exit, Stream};
use crate::rpc::v1;

/// Keeps each executor's stream open until it is gone.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<BTreeMap<ExecutorId, mpsc::Sender<Result<v1::DriverMessage, Status>>>>);

#[async_trait]
impl TaskPlane for Idle {
    fn executor_joined(&self, _: JoinedExecutor) {}

    fn attach(
        &self,
        executor: ExecutorId,
        _: v1::ExecutorHello,
        _: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status> {
        let (sender, messages) = mpsc::channel(1);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(executor, sender);
        Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(messages)))
    }

    fn executor_draining(&self, _: ExecutorId) {}

    fn executor_gone(&self, executor: ExecutorId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&executor);
    }

    fn executor_lost(&self, _: ExecutorId, _: &Exit) {}

    fn fetch(&self, _: ExecutorId, _: u64, _: u64) -> Result<Stream<Result<v1::Chunk, Status>>, Status> {
        Err(Status::not_found("this driver has no tasks"))
    }

    async fn upload(
        &self,
        _: ExecutorId,
        _: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status> {
        Err(Status::not_found("this driver has no tasks"))
    }
}
