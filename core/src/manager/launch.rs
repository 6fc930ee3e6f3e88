use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use super::Artifact;
use crate::ids::{ExecutorId, Name};
use crate::resource::ResourceProfile;
use crate::secret::Secret;
use crate::units::MiB;

/// Makes the command that starts an executor, in the driver's process, as soon as the manager needs it: just before the
/// start (YARN, Mesos, local), or when it is wanted (Kubernetes).
///
/// Where grants can outlive the one who got them (YARN's application master), ask only after the grant was recorded: that
/// record is what keeps a second attempt from starting one executor twice.
///
/// May be asked again, and gives the same answer for the same executor: tickets are derived, not stored. Sync and pure.
pub trait Launcher: Debug + Send + Sync {
    /// The command for this executor.
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand;
}

/// The command that starts one executor (E1).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LaunchCommand {
    /// What to run.
    pub program: Program,
    /// `argv[1..]`: UTF-8 without NUL, never through a shell unquoted.
    pub args: Vec<String>,
    /// Public environment: the names of E4 go here.
    pub env: BTreeMap<String, String>,
    /// Single use, bound to this executor; it travels by the manager's `SecretChannel`.
    pub ticket: Secret,
    /// Files that it finds in its folder.
    pub files: Vec<Artifact>,
    /// How much of its output is kept.
    pub logs: LogLimits,
    /// What a manager that preempts or evicts by itself shall give it to drain.
    pub grace: Duration,
}

impl LaunchCommand {
    /// A command that runs `program` with this ticket, and nothing else.
    #[must_use]
    pub fn new(program: Program, ticket: Secret) -> LaunchCommand {
        LaunchCommand {
            program,
            args: Vec::new(),
            env: BTreeMap::new(),
            ticket,
            files: Vec::new(),
            logs: LogLimits::default(),
            grace: Duration::from_secs(30),
        }
    }
}

/// What an executor's command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// The application's bootstrap.
    Bootstrap,
    /// A program that the node has, by path or name.
    OnNode(String),
    /// One of the command's files.
    File(Name),
}

/// How much of an executor's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLimits {
    /// A file of this size is rolled over.
    pub file: MiB,
    /// This many rolled files are kept beside the one that is written.
    pub rolled: u32,
}

impl Default for LogLimits {
    /// 16 MiB a file, three rolled files.
    fn default() -> LogLimits {
        LogLimits { file: MiB(16), rolled: 3 }
    }
}
