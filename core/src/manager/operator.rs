use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::{LogChunk, LogRequest, Outcome, Stream};
use crate::error::Result;
use crate::ids::{ApplicationId, ExecutorId, Name};
use crate::resource::Resources;

/// What any later process of the user can see of convoke's applications at a manager, and do to them: the seam behind
/// `convoke status`, `logs` and `kill`. Whoever asks holds no handle of the application; the manager's own permissions decide.
///
/// `Some` from [`ClusterManager::operator`](super::ClusterManager::operator) is the claim, as with
/// [`DriverHost`](super::DriverHost). Only applications of convoke are told, and they are known by what their backend made
/// at the manager in their name:
///
/// | manager | applications and executors | logs | kill |
/// | --- | --- | --- | --- |
/// | local | folders that live drivers hold locked, of this user | files in them | a word to the driver |
/// | standalone | the master's list | the workers', through the master | the master's call |
/// | Mesos | frameworks and tasks of the operator API, known by framework name or label | files of the agents' sandboxes | `TEARDOWN` |
/// | YARN | `GET /ws/v1/cluster/apps`, by application type and tag; containers of its attempts | the node managers' container logs | `PUT …/state` `KILLED` |
///
/// In each case the driver that loses its application so hears [`What::Ended`](super::What::Ended) by
/// [`EndedBy::Operator`](super::EndedBy::Operator) (R6).
#[async_trait]
pub trait Operator: fmt::Debug + Send + Sync {
    /// The applications that live, and of those that have ended the ones that are still known; in any order.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `PermissionDenied`.
    async fn applications(&self) -> Result<Vec<ApplicationReport>>;

    /// Reads what an executor of an application printed, as long as the manager keeps it. Following ends with the executor.
    ///
    /// # Errors
    /// `NotFound` for an application or executor that isn't known (any more), saying how long logs are kept where that may
    /// be why; `Unsupported` where the manager keeps none; else as [`applications`](Operator::applications).
    ///
    /// # Cancel safety
    /// Dropping the stream ends the reading and leaves nothing behind.
    async fn logs(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        request: LogRequest,
    ) -> Result<Stream<Result<LogChunk>>>;

    /// Ends an application with all of its executors; its driver is told, and lives on. `Ok`: nothing of it is left at the
    /// manager. One that has ended already is `Ok` too.
    ///
    /// # Errors
    /// `NotFound`; `DeadlineExceeded` where something may be left; else as [`applications`](Operator::applications).
    ///
    /// # Cancel safety
    /// What was asked for goes on.
    async fn kill(&self, application: &ApplicationId, deadline: Duration) -> Result<()>;
}

/// An application, for whoever looks from outside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplicationReport {
    /// convoke's id.
    pub id: ApplicationId,
    /// Its name.
    pub name: Name,
    /// The manager's own id of it.
    pub native: String,
    /// Whose it is.
    pub user: Option<Name>,
    /// How it is.
    pub state: ApplicationState,
    /// Since when it has been registered.
    pub since: Option<SystemTime>,
    /// The driver's host, where the manager knows it.
    pub driver_host: Option<Name>,
    /// The driver's process there.
    pub driver_process: Option<u32>,
    /// A page that a person can open.
    pub page: Option<String>,
    /// Where its logs are, where one can look for oneself.
    pub logs: Option<String>,
    /// Its executors, as far as they are still known.
    pub executors: BTreeMap<ExecutorId, ExecutorReport>,
}

impl ApplicationReport {
    /// An application of which no more is known.
    #[must_use]
    pub fn new(id: ApplicationId, name: Name, native: String, state: ApplicationState) -> ApplicationReport {
        ApplicationReport {
            id,
            name,
            native,
            user: None,
            state,
            since: None,
            driver_host: None,
            driver_process: None,
            page: None,
            logs: None,
            executors: BTreeMap::new(),
        }
    }
}

/// How an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplicationState {
    /// It waits at the manager (a queue), in the manager's words.
    Waiting(String),
    /// It is registered.
    Running,
    /// It is over.
    Ended {
        /// How, where the manager keeps that: `None` for a driver that went without a word.
        outcome: Option<Outcome>,
        /// When.
        at: Option<SystemTime>,
    },
}

/// An executor, for whoever looks from outside.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExecutorReport {
    /// The manager's own id of it.
    pub native: String,
    /// Its host.
    pub host: Option<Name>,
    /// What it was granted.
    pub resources: Option<Resources>,
    /// How it is.
    pub state: ExecutorState,
    /// Since when it has been granted.
    pub since: Option<SystemTime>,
    /// Its first process on its host.
    pub process: Option<u32>,
    /// A page that a person can open.
    pub page: Option<String>,
}

impl ExecutorReport {
    /// An executor of which no more is known.
    #[must_use]
    pub fn new(native: String, state: ExecutorState) -> ExecutorReport {
        ExecutorReport { native, host: None, resources: None, state, since: None, process: None, page: None }
    }
}

/// How an executor is, as its manager sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutorState {
    /// Granted; its process isn't there yet.
    Starting,
    /// Its process runs.
    Running,
    /// It has ended, and how in words (an [`Exit`](super::Exit)'s, or the manager's own).
    Ended(String),
}
