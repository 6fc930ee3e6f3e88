//! The task plane of a driver whose executors run a program that doesn't link convoke: it takes no task.

use std::sync::Arc;

use tonic::{Status, Streaming, async_trait};

use super::jobs::Tasks;
use super::task_plane::{JoinedExecutor, TaskPlane};
use crate::error::{Error, ErrorKind};
use crate::ids::ExecutorId;
use crate::manager::{Exit, Stream};
use crate::rpc::v1;

#[derive(Debug)]
pub(super) struct NoTasks(Arc<Tasks>);

impl NoTasks {
    /// Refuses each task, saying that executors run `program`.
    pub(super) fn of(program: &str) -> Arc<NoTasks> {
        let error = Error::new(
            ErrorKind::Unsupported,
            "the executors of this driver run a program of their own, and take no tasks",
        )
        .with("program", program)
        .help("talk to the program at its addresses (Driver::executors), or use a second driver for tasks");
        Arc::new(NoTasks(Tasks::refusing(error)))
    }
}

fn none() -> Status {
    Status::unimplemented("this driver has no tasks")
}

#[async_trait]
impl TaskPlane for NoTasks {
    fn tasks(self: Arc<Self>) -> Option<Arc<Tasks>> {
        Some(self.0.clone())
    }

    fn executor_joined(&self, _: JoinedExecutor) {}

    fn attach(
        &self,
        _: ExecutorId,
        _: v1::ExecutorHello,
        _: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status> {
        Err(none())
    }

    fn executor_draining(&self, _: ExecutorId) {}

    fn executor_gone(&self, _: ExecutorId) {}

    fn executor_lost(&self, _: ExecutorId, _: &Exit) {}

    fn fetch(&self, _: ExecutorId, _: u64, _: u64) -> Result<Stream<Result<v1::Chunk, Status>>, Status> {
        Err(none())
    }

    async fn upload(
        &self,
        _: ExecutorId,
        _: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status> {
        Err(none())
    }
}
