//! What a supervisor and its program say to each other: JSON lines over a socket pair that is the program's standard
//! input when it starts. Its end tells each that the other is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use crate::units::HostPort;

/// From the supervisor to the program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToProgram {
    /// The first line.
    Setup(Box<ProgramSetup>),
    /// Take no new task, let running ones end, send what is finished, then exit with code 0.
    Drain,
}

/// From the program to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToSupervisor {
    /// Its stream of tasks is attached: it is ready.
    Attached,
    /// Its control loop answers. Sent at each heartbeat interval by a thread of its own, as long as the loop has moved
    /// since the last one.
    Alive,
    /// It can't go on, and why: the supervisor takes the message into its account of the end.
    Failed {
        /// In words.
        message: String,
    },
}

/// All that the program needs to be an executor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramSetup {
    /// The application.
    pub application: ApplicationId,
    /// Which executor this is.
    pub executor: ExecutorId,
    /// Its profile.
    pub profile: ProfileId,
    /// Which driver it belongs to.
    pub incarnation: Incarnation,
    /// Where the driver listens; the address that the supervisor reached comes first.
    pub driver: Vec<HostPort>,
    /// How it proves who it is.
    pub identity: IdentityParts,
    /// How many tasks run at once.
    pub slots: u32,
    /// How often it says that it is alive.
    pub heartbeat_interval: Duration,
    /// Devices that it was granted.
    pub devices: BTreeMap<String, Vec<String>>,
}

/// A certificate with its key, or a session where the driver runs insecure. Travels over the socket pair only.
#[derive(Clone, Serialize, Deserialize)]
pub enum IdentityParts {
    /// Mutual TLS.
    Certificate {
        /// The executor's own, DER.
        certificate: Vec<u8>,
        /// Its authority's, DER.
        authority: Vec<u8>,
        /// Its private key, PKCS#8 DER.
        key: Vec<u8>,
    },
    /// No encryption: the driver was told to run insecure.
    Session(Vec<u8>),
}

impl std::fmt::Debug for IdentityParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            IdentityParts::Certificate { .. } => "Certificate(…)",
            IdentityParts::Session(_) => "Session(…)",
        })
    }
}
