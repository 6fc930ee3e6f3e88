//! What a supervisor and its program say to each other: JSON lines over a socket pair that is the program's standard
//! input when it starts. Its end tells each that the other is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
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
    /// What was asked for.
    LogTail {
        /// The end of the program's standard error.
        text: String,
    },
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
    /// It asks for the end of its own standard error, which its supervisor keeps.
    LogTail,
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
    /// The application's files on this node, by name.
    pub files: BTreeMap<String, PathBuf>,
    /// Values of tasks up to so many bytes ride on the stream.
    pub inline_bytes: usize,
    /// Whether its supervisor keeps the end of its standard error.
    pub log_kept: bool,
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

/// The longest line that either side takes.
const LONGEST_LINE: usize = 256 * 1024;

/// Reads messages, one a line, from the other side.
///
/// # Cancel safety
/// [`LineReader::next`] may be dropped at any time: what it has read stays for the next call.
#[derive(Debug)]
pub struct LineReader<R> {
    from: R,
    buffer: Vec<u8>,
}

impl<R: tokio::io::AsyncRead + Unpin> LineReader<R> {
    /// Reads from this.
    pub fn new(from: R) -> LineReader<R> {
        LineReader { from, buffer: Vec::new() }
    }

    /// The next message; `None` when the other side is gone.
    ///
    /// # Errors
    /// `Protocol` for a line that is too long or can't be read; `Host` where the link fails.
    pub async fn next<M: serde::de::DeserializeOwned>(&mut self) -> Result<Option<M>> {
        use tokio::io::AsyncReadExt;
        let mut looked = 0;
        loop {
            if let Some(end) = self.buffer[looked..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=looked + end).collect();
                return parse(&line).map(Some);
            }
            looked = self.buffer.len();
            if looked > LONGEST_LINE {
                return Err(Error::new(ErrorKind::Protocol, "a line of the link is too long"));
            }
            let count = self.from.read_buf(&mut self.buffer).await;
            if count.map_err(|error| Error::host("the link failed", error))? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Reads the first message of a link without taking a byte more: the setup, before there is a runtime. `None` when the
/// supervisor is gone. Blocks.
///
/// # Errors
/// As [`LineReader::next`].
pub fn read_setup(link: &std::os::unix::net::UnixStream) -> Result<Option<ProgramSetup>> {
    use rustix::net::{RecvFlags, recv};
    use std::io::Read;
    let failed = |error: std::io::Error| Error::host("the link failed", error);
    let mut line = Vec::new();
    let mut peeked = vec![0_u8; 16 * 1024];
    while !line.ends_with(b"\n") {
        let count = match recv(link, peeked.as_mut_slice(), RecvFlags::PEEK) {
            Ok((0, _)) => return Ok(None),
            Ok((count, _)) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(failed(error.into())),
        };
        let end = peeked[..count].iter().position(|byte| *byte == b'\n').map_or(count, |end| end + 1);
        let before = line.len();
        line.resize(before + end, 0);
        let mut link = link;
        link.read_exact(&mut line[before..]).map_err(failed)?;
        if line.len() > LONGEST_LINE {
            return Err(Error::new(ErrorKind::Protocol, "a line of the link is too long"));
        }
    }
    match parse(&line)? {
        ToProgram::Setup(setup) => Ok(Some(*setup)),
        ToProgram::Drain | ToProgram::LogTail { .. } => {
            Err(Error::new(ErrorKind::Protocol, "the link doesn't begin with the setup"))
        }
    }
}

fn parse<M: serde::de::DeserializeOwned>(line: &[u8]) -> Result<M> {
    serde_json::from_slice(line)
        .map_err(|error| Error::new(ErrorKind::Protocol, "a line of the link can't be read").source(error))
}
