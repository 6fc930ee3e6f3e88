//! What a probe and the kit say to each other: JSON lines over a connection that the probe opens. That the connection is
//! open is the witness that the process exists: the kernel closes it with the process, whoever ended it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// From a probe, or a child that it forked, to the kit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromProbe {
    /// The first line.
    Hello(Hello),
    /// Answers [`ToProbe::Report`].
    Found(Box<Found>),
    /// An order was carried out.
    Done(String),
    /// An order could not be carried out, and why.
    Trouble(String),
}

/// Who calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The run and case that it belongs to.
    pub token: String,
    /// convoke's id of its application.
    pub application: String,
    /// Its executor's number.
    pub executor: u64,
    /// Its process id, as it sees it.
    pub process: u32,
    /// The host's boot id: equal to the kit's where both run on one host.
    pub boot: String,
    /// Whether it is a child that tried to escape.
    pub child: bool,
    /// Whether a supervisor of convoke's holds it.
    pub supervised: bool,
}

/// From the kit to a probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToProbe {
    /// Return this code.
    Exit(i32),
    /// Send yourself this signal.
    Signal(i32),
    /// Take so many mebibytes and touch them.
    Eat(u64),
    /// Print this to standard output, or error.
    Print {
        /// To standard error.
        to_stderr: bool,
        /// This text, as it is.
        text: String,
        /// So often.
        times: u32,
    },
    /// Fork so many children that try to escape: forked twice, a session of their own, an empty environment, SIGTERM ignored.
    Fork(u32),
    /// Stop yourself (SIGSTOP).
    Stop,
    /// Keep so many threads busy.
    Spin(u32),
    /// Say what you find.
    Report,
    /// Ignore SIGTERM from now on.
    IgnoreTerminate,
}

/// What an executor finds (E1, E4).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Found {
    /// `argv`, with the program.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// The working folder.
    pub folder: String,
    /// What is in it.
    pub files: Vec<FoundFile>,
    /// Soft limits of the process, by name.
    pub limits: BTreeMap<String, Option<u64>>,
    /// The process's cgroups, as `/proc/self/cgroup` has them.
    pub cgroups: String,
}

/// One file of the working folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFile {
    /// Its name.
    pub name: String,
    /// Its digest, in hex.
    pub sha256: String,
    /// Whether it may be executed.
    pub executable: bool,
}

/// The argument behind the program's name that makes a process a probe.
pub const PROBE: &str = "convoke-probe";
/// The one that makes it a child of a probe, on its way out.
pub const FORK: &str = "convoke-probe-fork";
/// The one that makes it a child that escaped.
pub const CHILD: &str = "convoke-probe-child";
