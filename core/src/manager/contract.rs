use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    ApplicationSpec, Capabilities, Descriptor, DriverHost, Events, Exit, Finding, Generation, LogChunk,
    LogRequest, Operator, Release, ReleaseAnswer, Shortfall, Stream, Target,
};
use crate::error::{Error, Result};
use crate::ids::{ApplicationId, ExecutorId, Name, ProfileId};
use crate::resource::Resources;
use crate::units::Cpus;

/// A cluster manager as a driver sees it: it registers applications and can say what it is.
///
/// Implemented by managers that are declarative themselves; everybody else writes a
/// [`Provisioner`](super::Provisioner) and wraps it in [`Managed`](super::Managed). A value stands for one cluster and may
/// serve many applications at once; they never see each other (R3).
#[async_trait]
pub trait ClusterManager: Debug + Send + Sync + 'static {
    /// Says what this manager is and what it can do at the most. No I/O.
    fn describe(&self) -> Descriptor;

    /// Registers an application; answers as soon as the manager has taken it durably.
    ///
    /// An application that must wait at the manager (a queue) *is* registered; what for, `explain` says.
    ///
    /// # Errors
    /// `InvalidRequest` before anything happens at the manager (R2); `Unavailable`, `Unauthenticated`,
    /// `PermissionDenied`, or `Rejected` in the manager's own words (R1). An error leaves nothing behind past the lease.
    ///
    /// # Cancel safety
    /// Dropping the future at any await leaves nothing at the manager past the lease (R4).
    ///
    /// # Rules
    /// R1, R2, R3, R4, R5, S2.
    async fn register(&self, spec: ApplicationSpec) -> Result<Registration>;

    /// The seam for drivers that the manager runs itself (cluster mode); `Some` is the claim.
    fn drivers(&self) -> Option<&dyn DriverHost> {
        None
    }

    /// The seam for later processes of the user, who hold no handle of an application: `convoke status`, `logs`, `kill`. `Some` is
    /// the claim.
    fn operator(&self) -> Option<&dyn Operator> {
        None
    }

    /// Looks for what would be in an application's way here: a manager out of reach, a queue that is closed, a folder that can't be
    /// written. Changes nothing. `convoke doctor` prints it, before it has an executor of its own come and dial back.
    ///
    /// An error is a finding, too: this always answers, within seconds.
    async fn diagnose(&self) -> Vec<Finding> {
        Vec::new()
    }

    /// The processors of an executor whose application doesn't say: `Some` where the master URL does (`local[4]` is one
    /// executor of 4). No I/O.
    fn default_executor_cpus(&self) -> Option<Cpus> {
        None
    }

    /// Whether nodes have the bootstrap from a URL that a plain GET answers (Mesos' fetcher, YARN's localizer): then the driver
    /// serves it on a listener of its own, and its builds have a [`Source::Url`](super::Source::Url). No I/O.
    fn fetches_bootstrap(&self) -> bool {
        false
    }

    /// Reports nodes and totals, for people and for `doctor`.
    ///
    /// # Errors
    /// `Unsupported` where a manager can't say; `Unavailable` when it is out of reach.
    async fn cluster(&self) -> Result<ClusterReport> {
        Err(Error::unsupported("this manager does not report on its cluster"))
    }
}

/// A registered application: its handle and its events.
#[derive(Debug)]
pub struct Registration {
    /// The handle. Dropping it abandons the application (T3).
    pub application: Box<dyn Application>,
    /// Its events, for one reader; lossless (L1).
    pub events: Events,
}

/// The handle of one registered application.
///
/// Dropping it without [`unregister`](Application::unregister) abandons the application: the lease does the rest (T3).
#[async_trait]
pub trait Application: Debug + Send + Sync {
    /// The manager's own id, a page for people, and what this very cluster claims.
    fn info(&self) -> ApplicationInfo;

    /// Records the whole wish: a profile that is left out wants no executor.
    ///
    /// Immediate and local, also during an outage. Saying the same again changes nothing; the last wish wins (A1).
    /// Lowering ends nothing that runs (A4).
    ///
    /// # Errors
    /// `InvalidRequest` only: a profile changed under its id, or one that can't be right (R2).
    ///
    /// # Rules
    /// A1, A2, A3, A4, A9, A10, A12.
    fn set_target(&self, target: Target) -> Result<Generation>;

    /// Asks for the end of exactly these executors, and answers for each; accepted, not done: the exits are events.
    ///
    /// # Rules
    /// A7, A8.
    fn release(&self, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)>;

    /// The live executors as of event number `seq`.
    fn snapshot(&self) -> Snapshot;

    /// Tells what the driver heard of an executor itself; this may overtake the manager's news.
    ///
    /// Answers `false` where the executor is not ours (never wanted, withdrawn, exited): the driver hangs up (F5, F8).
    #[must_use]
    fn heard(&self, executor: ExecutorId, news: Heard) -> bool;

    /// Why the wish isn't met: one entry for each profile that falls short, none where all is well.
    ///
    /// # Errors
    /// `Unavailable` only where not even an outage could be told as a reason.
    ///
    /// # Rules
    /// A6, R1.
    async fn explain(&self) -> Result<Vec<Shortfall>>;

    /// Reads what an executor printed, as it runs and after its end.
    ///
    /// # Errors
    /// `NotFound` for an executor that never was; `Unsupported` where logs aren't claimed.
    ///
    /// # Cancel safety
    /// Dropping the stream ends the reading and leaves nothing behind.
    ///
    /// # Rules
    /// E2, R3.
    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>>;

    /// Ends the application and all of its executors; `Ok` says that nothing is left. Idempotent.
    ///
    /// # Errors
    /// `DeadlineExceeded` or `Unavailable` where something may be left; the lease ends that (T1).
    ///
    /// # Cancel safety
    /// The end goes on in the background; calling again waits for it again.
    ///
    /// # Rules
    /// T1, T4.
    async fn unregister(&self, outcome: Outcome, deadline: Duration) -> Result<()>;
}

/// What is known of a registered application at its manager (R5).
#[derive(Debug, Clone)]
pub struct ApplicationInfo {
    /// convoke's id.
    pub id: ApplicationId,
    /// The manager's own id (YARN's application id, Mesos' framework id …).
    pub native: String,
    /// A page that a person can open.
    pub page: Option<String>,
    /// What this cluster, at hand, claims: never more than [`ClusterManager::describe`].
    pub capabilities: Capabilities,
}

/// What a driver hears from an executor and its supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It has joined: eases the brake (L5), stops the clock of L6.
    Joined,
    /// The supervisor's own account of the end: the only way in for a launch failure, a signal or an out-of-memory
    /// that the manager sees as a bare exit code (L2, L3).
    Ended(Exit),
    /// The connection is gone, or the driver closed it; after this no account comes.
    HungUp,
}

/// The live executors of an application at one point of its event stream.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The number of the last event that this includes; 0 before the first.
    pub seq: u64,
    /// Granted and not exited, by id.
    pub executors: BTreeMap<ExecutorId, LiveExecutor>,
}

/// One live executor.
#[derive(Debug, Clone)]
pub struct LiveExecutor {
    /// Its profile.
    pub profile: ProfileId,
    /// The host that it was granted on.
    pub host: Option<Name>,
    /// Whether its supervisor is known to run.
    pub launched: bool,
    /// Whether it is being released.
    pub releasing: bool,
    /// Whether its manager sees it.
    pub reachable: bool,
}

/// How an application ended, as shown at its manager (T4).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It did what it was to do.
    Succeeded,
    /// It failed, with a message for people.
    Failed(String),
    /// Somebody ended it.
    Killed,
}

/// The nodes of a cluster, for people.
#[derive(Debug, Clone, Default)]
pub struct ClusterReport {
    /// Each node.
    pub nodes: Vec<NodeReport>,
}

/// One node, for people.
#[derive(Debug, Clone)]
pub struct NodeReport {
    /// Its name, spelled as grants spell it.
    pub host: Name,
    /// All that it has.
    pub total: Resources,
    /// What of it is free.
    pub free: Resources,
    /// How it is, in the manager's words (`RUNNING`, `LOST`).
    pub state: String,
}
