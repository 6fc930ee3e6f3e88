//! What the reference's client and its daemon say to each other: one JSON document a line.

use std::collections::BTreeMap;

use convoke_core::ids::{ApplicationId, ExecutorId, Name, ProfileId};
use convoke_core::manager::{Artifact, ExitCause};
use convoke_core::resource::Resources;
use serde::{Deserialize, Serialize};

/// From a client. The first line of a connection says whether it is an application's or a hook's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToDaemon {
    /// This is the connection of an application, new or known.
    Open {
        application: ApplicationId,
        lease_ms: u64,
    },
    Start {
        wanted: Vec<WantedOnWire>,
    },
    Stop {
        executors: Vec<ExecutorId>,
    },
    Close {
        outcome: String,
    },
    List {
        question: u64,
    },
    Explain {
        question: u64,
        like: Box<WantedOnWire>,
    },
    /// A hook's.
    Hook(HookOnWire),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HookOnWire {
    KillNode(Name),
    ReviveNode(Name),
    FillDisk(Name),
    FreeDisk(Name),
    DrainNode {
        host: Name,
        after_ms: u64,
    },
    /// The executor of this native id makes room for somebody else.
    Preempt {
        native: String,
    },
    /// What so many of these need is taken from the cluster.
    Take {
        executors: u32,
        each: Resources,
    },
    GiveBack,
    OverGrant {
        native: String,
    },
    EndApplication {
        native: String,
    },
    Existing {
        application: String,
    },
    Outcome {
        native: String,
    },
}

/// From the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FromDaemon {
    Opened {
        native: String,
    },
    Granted {
        executor: ExecutorId,
        profile: ProfileId,
        native: String,
        host: Name,
        actual: Resources,
        devices: BTreeMap<Name, Vec<String>>,
    },
    Launched {
        executor: ExecutorId,
    },
    Exited {
        executor: ExecutorId,
        cause: ExitCause,
        message: String,
        log_tail: Vec<u8>,
    },
    Draining {
        executors: Vec<ExecutorId>,
        until_ms: u64,
        why: String,
    },
    /// An operator ended the application.
    Ended {
        by: String,
    },
    Closed,
    Listed {
        question: u64,
        executors: Vec<ExecutorId>,
    },
    Explained {
        question: u64,
        reasons: Vec<ReasonOnWire>,
    },
    /// A hook was carried out, or why not.
    Hooked {
        trouble: Option<String>,
        lines: Vec<String>,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReasonOnWire {
    TooLarge { resource: Name, needed: u64, largest: u64 },
    NotFree { resource: Name, needed: u64, largest: u64 },
    NoSuch(Name),
    Excluded(Vec<Name>),
    Unmatched { attribute: Name, value: String },
    Draining(u32),
}

/// One executor that is wanted, with its command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WantedOnWire {
    pub(super) executor: ExecutorId,
    pub(super) profile: ProfileId,
    pub(super) each: Resources,
    pub(super) preferred: Vec<Name>,
    pub(super) excluded: Vec<Name>,
    /// `(attribute, value, whether it must be equal)`.
    pub(super) required: Vec<(Name, String, bool)>,
    pub(super) command: CommandOnWire,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CommandOnWire {
    /// A path, a name, or one of its files.
    pub(super) program: String,
    /// It is the bootstrap, whose supervisor keeps the logs itself.
    pub(super) supervised: bool,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) ticket: Vec<u8>,
    pub(super) files: Vec<Artifact>,
    pub(super) log_limits: String,
}
