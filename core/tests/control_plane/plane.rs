//! A task plane that records what it is told.

use std::sync::{Arc, Mutex};

use convoke_core::driver::task_plane::{ExecutorControl, JoinedExecutor, TaskPlane};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Exit, ExitCause, Stream};
use convoke_core::rpc::v1;
use tonic::{Status, Streaming, async_trait};

#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Joined(ExecutorId, u32),
    Attached(ExecutorId),
    Draining(ExecutorId),
    Gone(ExecutorId),
    Lost(ExecutorId, ExitCause),
    Shutdown,
}

#[derive(Debug, Clone, Default)]
pub struct TestPlane(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    told: Vec<Told>,
    control: Option<Arc<dyn ExecutorControl>>,
}

impl TestPlane {
    pub fn maker(&self) -> convoke_core::driver::task_plane::MakeTaskPlane {
        let plane = self.clone();
        Box::new(move |control| {
            plane.0.lock().unwrap().control = Some(control);
            Ok(Arc::new(plane) as _)
        })
    }

    pub fn control(&self) -> Arc<dyn ExecutorControl> {
        self.0.lock().unwrap().control.clone().unwrap()
    }

    pub fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().told.clone()
    }

    pub fn was_told(&self, what: &Told) -> bool {
        self.told().contains(what)
    }

    fn note(&self, what: Told) {
        self.0.lock().unwrap().told.push(what);
    }
}

#[async_trait]
impl TaskPlane for TestPlane {
    fn executor_joined(&self, executor: JoinedExecutor) {
        self.note(Told::Joined(executor.executor, executor.slots));
    }

    fn attach(
        &self,
        executor: ExecutorId,
        _: v1::ExecutorHello,
        inbound: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status> {
        self.note(Told::Attached(executor));
        // Goes down as long as the program's end comes up.
        Ok(Box::pin(tokio_stream::StreamExt::filter_map(inbound, |message| {
            message.ok().map(|_| Ok(v1::DriverMessage::default()))
        })))
    }

    fn executor_draining(&self, executor: ExecutorId) {
        self.note(Told::Draining(executor));
    }

    fn executor_gone(&self, executor: ExecutorId) {
        self.note(Told::Gone(executor));
    }

    fn executor_lost(&self, executor: ExecutorId, exit: &Exit) {
        self.note(Told::Lost(executor, exit.cause.clone()));
    }

    fn fetch(&self, _: ExecutorId, _: u64, _: u64) -> Result<Stream<Result<v1::Chunk, Status>>, Status> {
        Ok(Box::pin(tokio_stream::once(Ok(v1::Chunk { total: 3, bytes: "abc".into() }))))
    }

    async fn upload(
        &self,
        _: ExecutorId,
        _: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status> {
        Ok(v1::UploadResponse { blob: 1 })
    }

    fn shutdown(&self) {
        self.note(Told::Shutdown);
    }
}
