use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{Artifact, Bootstrap, Exit, LogChunk, LogRequest, Program, Reason, Stream};
use crate::error::Result;
use crate::ids::{DriverId, Name};
use crate::resource::Resources;

/// Cluster mode: the manager runs the driver. A seam of its own (C1 to C4); nothing here knows executors.
///
/// In its container the driver registers as anywhere; the manager sees by its surroundings that its application is there
/// already and takes that one. Its addresses, authority and tickets are made there, never by the submitter.
#[async_trait]
pub trait DriverHost: fmt::Debug + Send + Sync + 'static {
    /// Submits a driver; answers as `register` does (C1).
    ///
    /// # Errors
    /// As [`ClusterManager::register`](super::ClusterManager::register).
    async fn submit(&self, driver: DriverSpec) -> Result<Submission>;
    /// How it is (C2).
    ///
    /// # Errors
    /// `NotFound` once the manager has forgotten it.
    async fn status(&self, driver: &DriverId) -> Result<DriverStatus>;
    /// Ends it and its executors, also while it is queued; again changes nothing (C3).
    ///
    /// # Errors
    /// `DeadlineExceeded` where something may be left.
    async fn kill(&self, driver: &DriverId, deadline: Duration) -> Result<()>;
    /// Reads what it printed.
    ///
    /// # Errors
    /// `NotFound`, `Unsupported`.
    async fn logs(&self, driver: &DriverId, request: LogRequest) -> Result<Stream<Result<LogChunk>>>;
}

/// A driver that was submitted.
pub struct Submission {
    /// Its id, by which any later process of the user can ask.
    pub driver: DriverId,
    /// Hold it where it is `Some`: nobody else has the driver's files (C1).
    pub serves: Option<Box<dyn Send>>,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("driver", &self.driver)
            .field("serves", &self.serves.is_some())
            .finish()
    }
}

/// A driver that is to run on a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DriverSpec {
    /// Its application's name.
    pub name: Name,
    /// Whom to run it as, where the manager lets one choose.
    pub user: Option<Name>,
    /// Where it queues.
    pub queue: Option<Name>,
    /// Tags that the manager shows.
    pub tags: BTreeMap<Name, String>,
    /// What the driver itself gets.
    pub each: Resources,
    /// Its program's builds.
    pub bootstrap: Bootstrap,
    /// What to run.
    pub program: Program,
    /// `argv[1..]`.
    pub args: Vec<String>,
    /// Public environment.
    pub env: BTreeMap<String, String>,
    /// Files in its folder.
    pub files: Vec<Artifact>,
    /// How often it is started at the most (C4).
    pub attempts: u32,
    /// The backend's own options; an unknown key is `InvalidRequest`.
    pub options: BTreeMap<String, String>,
}

/// How a submitted driver is (C2).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DriverStatus {
    /// It waits.
    Queued(Vec<Reason>),
    /// It runs.
    Running {
        /// Which attempt.
        attempt: u32,
        /// Where.
        host: Option<Name>,
        /// A page about it.
        page: Option<String>,
    },
    /// It is over.
    Ended {
        /// After how many attempts.
        attempt: u32,
        /// How.
        exit: Exit,
    },
}
