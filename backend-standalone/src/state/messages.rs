use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{EndedBy, Exit, Outcome, Placement};
use convoke_core::resource::Resources;
use serde::{Deserialize, Serialize};

/// One executor of one application.
pub type Key = (ApplicationId, ExecutorId);

/// One connection of a worker or an application to the master, as the master counts them: a later one has a greater number, and
/// what arrives on an earlier one is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(pub u64);

/// What an executor needs, and where it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it gets.
    pub need: Resources,
    /// Where it is preferred or required.
    pub placement: Placement,
    /// Hosts where it may not go.
    pub excluded: Vec<Name>,
}

/// An executor that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub executor: ExecutorId,
    /// How.
    pub exit: Exit,
}

/// What a worker offers when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its host, as exclusions and placements spell it.
    pub host: Name,
    /// All that it has.
    pub total: Resources,
    /// Its devices, by kind: indexes or the devices' own ids.
    pub devices: BTreeMap<Name, Vec<String>>,
    /// Its attributes, for constraints.
    pub attributes: BTreeMap<Name, String>,
    /// Whether it takes no new executors.
    pub draining: bool,
}

/// An executor of a worker's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which.
    pub key: Key,
    /// `None` while its process runs or starts; how it ended otherwise.
    pub exit: Option<Exit>,
    /// Whether its process was started.
    pub launched: bool,
    /// What it holds of the node while it runs.
    pub need: Resources,
    /// Which devices it holds.
    pub devices: BTreeMap<Name, Vec<String>>,
}

/// What a worker tells of one executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Its process runs.
    Launched,
    /// Nothing of it is left.
    Exited(Exit),
}

/// What a driver says of one executor that it wants, new or known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationEvent {
    /// It is wanted. Said again, it changes nothing.
    Want {
        /// Which.
        executor: ExecutorId,
        /// What it needs.
        request: Request,
        /// How it is started: opaque here, and forgotten once it runs. `None` where it is not to be started any more, since it runs or is
        /// to end.
        launch: Option<Bytes>,
        /// Its driver has heard that it was launched.
        launched: bool,
    },
    /// It is wanted no more.
    Stop(ExecutorId),
    /// The driver has taken its exit.
    Taken(ExecutorId),
}

/// What reaches a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterEvent {
    /// A worker is there, with all that it runs.
    WorkerRegistered {
        /// Its own name for itself, which it keeps over restarts.
        worker: Name,
        /// Its connection.
        session: Session,
        /// What it has.
        offer: Offer,
        /// What it runs, and what has ended and wasn't acknowledged.
        running: Vec<Running>,
    },
    /// It lives.
    WorkerHeard(Name, Session),
    /// Its connection broke.
    WorkerHungUp(Name, Session),
    /// It tells of an executor.
    WorkerReported(Name, Session, Key, Report),
    /// It shall take no new executors; what runs is ended at the deadline.
    DrainWorker {
        /// Which.
        worker: Name,
        /// When what is left is ended.
        deadline: Option<Duration>,
        /// Why, for people.
        why: String,
    },
    /// A driver registers its application, or comes back to it with its whole wish.
    ApplicationRegistered {
        /// Which.
        application: ApplicationId,
        /// Its connection.
        session: Session,
        /// As people see it.
        name: Name,
        /// Whose it is.
        owner: Name,
        /// With no word of its driver for so long, it ends.
        lease: Duration,
        /// It was registered before: where the master doesn't know it any more, it is over.
        again: bool,
        /// All that it wants ([`ApplicationEvent::Want`]) and all whose exit it has taken; what isn't named is wanted no more.
        wish: Vec<ApplicationEvent>,
    },
    /// Its driver lives.
    ApplicationHeard(ApplicationId, Session),
    /// Its connection broke.
    ApplicationHungUp(ApplicationId, Session),
    /// Its driver says something.
    ApplicationSaid(ApplicationId, Session, ApplicationEvent),
    /// Its driver ends it.
    ApplicationClosed(ApplicationId, Session, Outcome),
    /// A person ends it.
    ApplicationKilled(ApplicationId, String),
}

/// What a master tells a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerCommand {
    /// It is taken; from now on this master's epoch counts.
    Welcome,
    /// Start this executor.
    Launch {
        /// Which.
        key: Key,
        /// On which devices.
        devices: BTreeMap<Name, Vec<String>>,
        /// What it gets.
        need: Resources,
        /// How.
        launch: Bytes,
    },
    /// End this executor.
    End(Key, EndCause),
    /// Its exit was taken: forget it.
    Forget(Key),
    /// Nothing runs there any more, and nothing will: it may leave.
    Drained,
}

/// What a master tells a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationCommand {
    /// Its application is known, durably.
    Registered,
    /// Resources were granted.
    Granted {
        /// To which.
        executor: ExecutorId,
        /// On which worker.
        worker: Name,
        /// On which host.
        host: Name,
        /// What.
        actual: Resources,
        /// Which devices.
        devices: BTreeMap<Name, Vec<String>>,
    },
    /// Its process runs.
    Launched(ExecutorId),
    /// Whether its worker can be seen.
    Reachable(ExecutorId, bool),
    /// Nothing of it is left, or will count.
    Exited(Ended),
    /// These will go.
    Draining {
        /// Which.
        executors: Vec<ExecutorId>,
        /// How long until they are ended, where somebody said.
        within: Option<Duration>,
        /// Why.
        why: String,
    },
    /// The application is over, by whom; nothing of it is left.
    Over(Outcome, EndedBy),
}

/// What has to be durable before what follows it in the same list is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// An application was taken.
    Application {
        /// Which.
        application: ApplicationId,
        /// As people see it.
        name: Name,
        /// Whose it is.
        owner: Name,
        /// Its lease.
        lease: Duration,
        /// Its place in the order of registration.
        order: u64,
    },
    /// It is over.
    ApplicationOver(ApplicationId),
    /// An executor got resources of a worker.
    Granted {
        /// Which.
        key: Key,
        /// Whose.
        worker: Name,
        /// What.
        need: Resources,
        /// Which devices.
        devices: BTreeMap<Name, Vec<String>>,
    },
    /// Its exit was taken by its driver, or nobody is left to take it.
    Gone(Key),
}

/// What a master does.
#[derive(Debug, Clone, PartialEq)]
pub enum MasterCommand {
    /// Make it durable.
    Store(Change),
    /// Tell a worker, on this connection.
    Worker(Session, WorkerCommand),
    /// Tell a driver, on this connection.
    Application(Session, ApplicationCommand),
    /// Close a connection that a later one replaced, or that speaks for somebody who is over.
    HangUp(Session),
}

/// Why a master ends an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndCause {
    /// Its driver let it go.
    Released,
    /// Its application is over.
    ApplicationOver,
    /// Its worker was drained.
    Drained,
    /// Nobody wants it (F8).
    Unwanted,
}

/// An application that is over, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which.
    pub application: ApplicationId,
    /// As people saw it.
    pub name: Name,
    /// Whose it was.
    pub owner: Name,
    /// How it ended.
    pub outcome: Outcome,
    /// Who ended it.
    pub by: EndedBy,
}
