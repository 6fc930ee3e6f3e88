//! The seam between the control plane (who is an executor, and how it is) and the task plane (what it does).
//!
//! All calls of both traits are made on the driver's own thread, return at once, and may be made from within each other:
//! neither side may hold a lock of its own while it calls the other.

use std::fmt::Debug;
use std::sync::Arc;

use tonic::{Status, Streaming, async_trait};

use super::events::DriverEvent;
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::manager::{Exit, Stream};
use crate::rpc::v1;

/// An executor that has joined: its supervisor is known; its program will attach.
#[derive(Debug, Clone)]
pub struct JoinedExecutor {
    /// Which.
    pub executor: ExecutorId,
    /// Its profile.
    pub profile: ProfileId,
    /// How many tasks it runs at once.
    pub slots: u32,
    /// The host that it runs on, as its manager spells it, else as it says itself.
    pub host: Option<Name>,
}

/// What the control plane calls: the owner of jobs and tasks.
///
/// The order for one executor: `executor_joined`, then any number of `attach`, at any point `executor_draining`, then once
/// `executor_gone`, then once `executor_lost`. An executor that never joined is told by `executor_lost` alone, so that
/// tasks which wait for executors that can't come up may say why.
#[async_trait]
pub trait TaskPlane: Debug + Send + Sync + 'static {
    /// The tasks behind this plane, where they are this crate's own: what `Driver::submit` and its like lead to.
    fn tasks(self: Arc<Self>) -> Option<Arc<super::jobs::Tasks>> {
        None
    }

    /// An executor is known and will attach soon.
    fn executor_joined(&self, executor: JoinedExecutor);

    /// The program of an executor has opened its stream of tasks: the answer is what goes down, `inbound` what comes up.
    ///
    /// The caller has checked who it is. It may come again for the same executor (its connection broke, h2 ended it): the
    /// newer stream replaces the older. `Err` refuses it (another binary's functions, say) and ends the executor's program.
    ///
    /// # Errors
    /// `FailedPrecondition` where its functions are not the driver's.
    fn attach(
        &self,
        executor: ExecutorId,
        hello: v1::ExecutorHello,
        inbound: Streaming<v1::ExecutorMessage>,
    ) -> Result<Stream<Result<v1::DriverMessage, Status>>, Status>;

    /// Give it no new task; running ones may end. The executor leaves when they have.
    fn executor_draining(&self, executor: ExecutorId);

    /// Nothing of it counts any more: end its streams, take nothing from it, and run its tasks elsewhere at once. Whose
    /// account that goes on, `executor_lost` says within the wait for the manager's cause (5 s).
    fn executor_gone(&self, executor: ExecutorId);

    /// Why it is gone, and by whose blame its attempts are counted (D4); always the last word on an executor.
    fn executor_lost(&self, executor: ExecutorId, exit: &Exit);

    /// A blob of this application (large arguments, a broadcast value) from `offset`, in chunks.
    ///
    /// # Errors
    /// `NotFound` for a blob that isn't there (any more), `OutOfRange` for an offset behind its end.
    fn fetch(
        &self,
        executor: ExecutorId,
        blob: u64,
        offset: u64,
    ) -> Result<Stream<Result<v1::Chunk, Status>>, Status>;

    /// A large result of an executor's task.
    ///
    /// # Errors
    /// `NotFound` for a task or attempt that isn't awaited (any more).
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing of the upload behind.
    async fn upload(
        &self,
        executor: ExecutorId,
        inbound: Streaming<v1::UploadChunk>,
    ) -> Result<v1::UploadResponse, Status>;

    /// The driver ends: no executor will come any more, and what hasn't ended ends as cancelled.
    fn shutdown(&self) {}
}

/// What the task plane may ask of the control plane.
pub trait ExecutorControl: Debug + Send + Sync + 'static {
    /// Ends an executor and has it replaced: the last resort against code that ignores its cancellation (D6).
    ///
    /// Accepted, not done: `executor_gone` and `executor_lost` follow. An executor that is gone already is no error.
    fn condemn(&self, executor: ExecutorId, why: &str);

    /// Tells an event to all who listen. Never blocks; a slow listener misses events and is told so.
    fn tell(&self, event: DriverEvent);
}

/// Makes the task plane of a driver, given what it may ask for.
///
/// # Errors
/// What keeps the driver from starting: two task functions of one name, say.
pub type MakeTaskPlane =
    Box<dyn FnOnce(Arc<dyn ExecutorControl>) -> crate::Result<Arc<dyn TaskPlane>> + Send>;
