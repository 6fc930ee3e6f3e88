use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{
    ApplicationSpec, Capabilities, ClusterReport, Descriptor, DriverHost, EndedBy, Exit, Finding, Grant,
    LogChunk, LogRequest, Operator, Outcome, Page, Placement, Reason, Stream,
};
use crate::error::{Error, Result};
use crate::ids::{ExecutorId, Name};
use crate::resource::ResourceProfile;
use crate::units::Cpus;

/// What most backends write: start these, stop those. [`Managed`](super::Managed) makes a
/// [`ClusterManager`](super::ClusterManager) of it.
#[async_trait]
pub trait Provisioner: Debug + Send + Sync + 'static {
    /// Says what this manager is and what it can do at the most. No I/O.
    fn describe(&self) -> Descriptor;

    /// Makes the application known to the manager; answers once the manager has *accepted* it durably, not when it has
    /// merely received it (an unknown queue must not pass as registered). Called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`ClusterManager::register`](super::ClusterManager::register).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing at the manager past the lease (R4). What was sent by then must be taken back: a
    /// backend whose manager doesn't do so by itself finishes the handshake in a task of its own, bounded by the lease, and
    /// withdraws (a Mesos SUBSCRIBE that is cut off may leave a framework that nobody gives up).
    async fn open(&self, spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened>;

    /// The seam for drivers that the manager runs itself (cluster mode); `Some` is the claim.
    fn drivers(&self) -> Option<&dyn DriverHost> {
        None
    }

    /// The seam for later processes of the user: see [`ClusterManager::operator`](super::ClusterManager::operator).
    fn operator(&self) -> Option<&dyn Operator> {
        None
    }

    /// Looks for what would be in an application's way: see [`ClusterManager::diagnose`](super::ClusterManager::diagnose).
    async fn diagnose(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// The processors of an executor whose application doesn't say: see
    /// [`ClusterManager::default_executor_cpus`](super::ClusterManager::default_executor_cpus).
    fn default_executor_cpus(&self) -> Option<Cpus> {
        None
    }

    /// Whether nodes have the bootstrap from a URL: see
    /// [`ClusterManager::fetches_bootstrap`](super::ClusterManager::fetches_bootstrap).
    fn fetches_bootstrap(&self) -> bool {
        false
    }

    /// Reports nodes and totals.
    ///
    /// # Errors
    /// `Unsupported` where a manager can't say.
    async fn cluster(&self) -> Result<ClusterReport> {
        Err(Error::unsupported("this manager does not report on its cluster"))
    }
}

/// An application that the manager has taken.
#[derive(Debug)]
pub struct Opened {
    /// Starts and stops its executors. Dropped is abandoned (T3): all of it in this process stops.
    pub provisioning: Box<dyn Provisioning>,
    /// The manager's own id of the application (R5).
    pub native: String,
    /// A page that a person can open.
    pub page: Option<String>,
    /// What this cluster, at hand, claims: recovery, labels, enforcement are settings that `describe` may not ask for.
    pub capabilities: Capabilities,
}

/// Starts and stops the executors of one application.
///
/// Core calls [`start`](Provisioning::start) again after an error or an outage, and [`stop`](Provisioning::stop) until the
/// exit is reported. Calls may overlap (four of a kind at the most, each naming up to 128), but never two of `start` and
/// `stop` that name the same executor, and none beside [`close`](Provisioning::close); any may be dropped at an await, and
/// one that hasn't answered in two minutes is. The backend: each is idempotent by id, and answers once the manager has
/// taken the wish, not when it is fulfilled. What merely finds no room is kept and granted when there is room.
///
/// `Err` of kind `Unavailable`, `DeadlineExceeded` or `Cancelled` says that the manager is out of reach (F4), and the next
/// call that succeeds that it is back; any other kind is a refusal, which `explain` tells. A backend that answers out of a
/// memory of its own says both by [`Report::manager`], and then only that ends the outage.
#[async_trait]
pub trait Provisioning: Debug + Send + Sync {
    /// Wants these, each at most once; answers through the [`Reporter`].
    ///
    /// `Ok` says that the backend has them and will see to them, also across outages that it survives; it says nothing of
    /// effect. An id that this backend has reported exited stays ended: ignore it here (ids ascend; Mesos, for one, would run
    /// a task id again).
    ///
    /// # Errors
    /// `Unavailable` (core tries again, with jittered back-off) or a refusal of all of them. After an error, as after a drop,
    /// each may have been taken: core asks again, or stops what it no longer wants.
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()>;

    /// Ends these now, granted or only wanted; core keeps a release's grace while the driver drains. Unknown ids are no
    /// error. A withdrawn one that was never granted needs no report; one that was, exits.
    ///
    /// `Ok` means sent, not done. Core asks again, at a growing and jittered pace, until the exit is reported; send it again
    /// each time, since a manager may take a request and lose it (Mesos answers 202 to a KILL that it drops while its agents
    /// come back).
    ///
    /// # Errors
    /// `Unavailable`; core asks again.
    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()>;

    /// Ends the application; `Ok` says that nothing is left. A terminal state at the manager is not yet that. Again after
    /// `Ok`, or after [`Report::ended`]: `Ok` at once.
    ///
    /// # Errors
    /// At the deadline; the lease does the rest (T1). It may be final: where the manager has been told to end everything and
    /// then tells nothing more, a later call can't say `Ok` either.
    async fn close(&self, outcome: Outcome, deadline: Duration) -> Result<()>;

    /// What exists or may exist: leave out only what is known to be gone. Core ends strangers; one that it knew before it
    /// asked and that two lists in a row lack has exited. `None`: the backend pushes it all, and isn't asked again. Asked
    /// every five seconds while there is anything to see, and after an outage.
    ///
    /// # Errors
    /// `Unavailable`; core asks again.
    async fn list(&self) -> Result<Option<Vec<ExecutorId>>> {
        Ok(None)
    }

    /// Why one like this is not granted; for `None`, before the first wish, why nothing would be (R1).
    ///
    /// Empty: nothing known stands in its way, and core adds that it was asked for. Amounts needed are as the manager charges
    /// them, rounded up. The largest is that of the nodes on which all else fits; where there is none, the largest of all,
    /// with one reason per resource that is short.
    ///
    /// # Errors
    /// `Unavailable`; core tells that as the reason.
    async fn explain(&self, like: Option<&Wanted>) -> Result<Vec<Reason>> {
        let _ = like;
        Ok(Vec::new())
    }

    /// Reads what an executor printed (E2).
    ///
    /// # Errors
    /// `Unsupported` where logs aren't claimed.
    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        let _ = (executor, request);
        Err(Error::unsupported("this manager does not give logs"))
    }
}

/// One executor that is wanted. It never changes: for another placement or exclusion core withdraws what isn't granted and
/// wants anew.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its id, core's own.
    pub executor: ExecutorId,
    /// What it gets.
    pub profile: Arc<ResourceProfile>,
    /// Where it is preferred or required (A10).
    pub placement: Placement,
    /// Where it may not go (A10).
    pub excluded: Arc<[Name]>,
}

/// A backend's only voice.
pub type Reporter = Arc<dyn Report>;

/// What a backend tells. Never blocks, never fails, takes any order and repetition: the ledger makes L1 of it, and answers
/// news of an executor that nobody wants any more with `stop` (F8).
pub trait Report: Debug + Send + Sync {
    /// A page for people, known later or changed (R5).
    fn page(&self, page: String);
    /// Whether the manager is in reach (F4), for backends that notice by themselves. A level, not an edge: repeats are free,
    /// and a backend with several paths to its manager reports their conjunction. It is one outage, whoever says it first.
    fn manager(&self, reach: Result<()>);
    /// Resources were granted to an executor. Say it before the first byte that could start it is sent: core must know all
    /// that may exist. One that exits without it is told as granted first, with its profile's resources and no host (L1).
    fn granted(&self, grant: Grant);
    /// The manager was told to start its supervisor, and took it; says nothing of the program.
    fn launched(&self, executor: ExecutorId, pages: Vec<Page>);
    /// Whether the manager sees it; no verdict: it goes on while its driver hears it.
    fn reachable(&self, executor: ExecutorId, yes: bool);
    /// The manager's notice that these will go (L7).
    fn draining(&self, executors: Vec<ExecutorId>, until: Option<SystemTime>, why: String);
    /// Nothing of it will count again. For what nothing but the backend's own stop explains say
    /// [`Released`](super::ExitCause::Released): core puts in the reason of the release. Where its driver may still hear its
    /// supervisor's account, a bare code or signal waits for that (L2); an act of the manager (preempted, node lost, out of
    /// memory, launch failed …) is told at once.
    fn exited(&self, executor: ExecutorId, exit: Exit);
    /// Somebody else ended the application (R6); core closes what is open first. [`EndedBy::Manager`] when in doubt;
    /// [`EndedBy::Operator`] only where the manager names a person.
    fn ended(&self, outcome: Outcome, by: EndedBy);
}
