use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::units::MiB;

/// How an executor ended (L2): nothing of it will count again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The best cause known.
    pub cause: ExitCause,
    /// On whose account.
    pub blame: Blame,
    /// More, for people.
    pub message: String,
    /// The end of what it printed on standard error, where known.
    pub log_tail: Bytes,
}

impl Exit {
    /// An exit with the blame that follows from its cause by [`Blame::of`]; a backend that knows better sets it.
    #[must_use]
    pub fn new(cause: ExitCause, message: impl Into<String>) -> Exit {
        Exit { blame: Blame::of(&cause), cause, message: message.into(), log_tail: Bytes::new() }
    }

    /// Adds the end of its log.
    #[must_use]
    pub fn with_log_tail(mut self, tail: impl Into<Bytes>) -> Exit {
        self.log_tail = tail.into();
        self
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        Ok(())
    }
}

/// Why an executor ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExitCause {
    /// Its program returned this code.
    Code(i32),
    /// A signal that wasn't ours ended it.
    Signal(i32),
    /// Its process tree held more memory than its limit.
    OutOfMemory {
        /// The limit.
        limit: MiB,
    },
    /// It went over another limit, named.
    LimitExceeded(Name),
    /// Its program never started.
    LaunchFailed(LaunchFailure),
    /// Asked for and taken back before it was granted or launched.
    Withdrawn,
    /// Released by its application.
    Released,
    /// Its application unregistered.
    Unregistered,
    /// It had no driver for a lease.
    LeaseExpired,
    /// It didn't join its driver within the join deadline (L6).
    NeverJoined,
    /// Its program didn't say that it is ready in time (D14).
    NeverReady,
    /// Its driver lost contact with it (F5, F6).
    LostContact,
    /// The manager took its resources for somebody else.
    Preempted,
    /// Its node died or fell silent.
    NodeLost,
    /// Its node was drained.
    NodeDrained,
    /// A person ended it at the manager.
    KilledByOperator,
    /// Granted, then refused before it was started.
    NeverStarted,
    /// Nobody can say.
    Unknown,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitCause::Code(code) => write!(f, "exit code {code}"),
            ExitCause::Signal(signal) => write!(f, "ended by signal {signal}{}", signal_name(*signal)),
            ExitCause::OutOfMemory { limit } => write!(f, "out of memory (its limit is {limit})"),
            ExitCause::LimitExceeded(what) => write!(f, "over its limit of {what}"),
            ExitCause::LaunchFailed(failure) => write!(f, "launch failed: {failure}"),
            ExitCause::Withdrawn => f.write_str("withdrawn before it ran"),
            ExitCause::Released => f.write_str("released"),
            ExitCause::Unregistered => f.write_str("ended with its application"),
            ExitCause::LeaseExpired => f.write_str("had no driver for a lease"),
            ExitCause::NeverJoined => f.write_str("never joined its driver"),
            ExitCause::NeverReady => f.write_str("its program never was ready"),
            ExitCause::LostContact => f.write_str("its driver lost contact with it"),
            ExitCause::Preempted => f.write_str("preempted"),
            ExitCause::NodeLost => f.write_str("its node was lost"),
            ExitCause::NodeDrained => f.write_str("its node was drained"),
            ExitCause::KilledByOperator => f.write_str("killed by an operator"),
            ExitCause::NeverStarted => f.write_str("granted, but never started"),
            ExitCause::Unknown => f.write_str("ended for an unknown reason"),
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// On whose account an exit goes: what drivers branch on. Only the application's blame counts against it (L2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Blame {
    /// Its own code or settings.
    Application,
    /// A node, the network, the manager or another user.
    Infrastructure,
    /// Somebody asked for it.
    Nobody,
    /// It can't be told; capped separately.
    Unknown,
}

impl Blame {
    /// The one table from cause to blame.
    ///
    /// SIGKILL and SIGTERM that weren't ours and come without evidence of out-of-memory are `Unknown`: an operator, the
    /// kernel and a manager all use them.
    #[must_use]
    pub fn of(cause: &ExitCause) -> Blame {
        match cause {
            ExitCause::Signal(9 | 15) | ExitCause::Unknown => Blame::Unknown,
            ExitCause::Code(_)
            | ExitCause::Signal(_)
            | ExitCause::OutOfMemory { .. }
            | ExitCause::LimitExceeded(_)
            | ExitCause::NeverReady
            | ExitCause::NeverJoined => Blame::Application,
            ExitCause::LaunchFailed(failure) => match failure {
                LaunchFailure::DiskFull | LaunchFailure::UnwritableDirectory => Blame::Infrastructure,
                _ => Blame::Application,
            },
            ExitCause::Withdrawn
            | ExitCause::Released
            | ExitCause::Unregistered
            | ExitCause::KilledByOperator => Blame::Nobody,
            ExitCause::LeaseExpired
            | ExitCause::LostContact
            | ExitCause::Preempted
            | ExitCause::NodeLost
            | ExitCause::NodeDrained
            | ExitCause::NeverStarted => Blame::Infrastructure,
        }
    }
}

/// Why a program never started (L3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LaunchFailure {
    /// There is no such file on the node.
    NoSuchProgram,
    /// The file may not be executed.
    NotExecutable,
    /// The program is for another processor or libc.
    WrongPlatform,
    /// The user to run as does not exist there.
    NoSuchUser,
    /// A file that it needs could not be had.
    ArtifactUnavailable(Name),
    /// The node's disk is full.
    DiskFull,
    /// The node's working folder can't be written.
    UnwritableDirectory,
    /// Anything else; the message says what.
    Other,
}

impl LaunchFailure {
    /// The failure that an error of `exec` or of preparing its folder shows.
    #[must_use]
    pub fn from_io(error: &std::io::Error) -> LaunchFailure {
        use rustix::io::Errno;
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => LaunchFailure::NoSuchProgram,
            Some(Errno::ACCESS | Errno::PERM | Errno::ISDIR) => LaunchFailure::NotExecutable,
            Some(Errno::NOEXEC) => LaunchFailure::WrongPlatform,
            Some(Errno::NOSPC | Errno::DQUOT) => LaunchFailure::DiskFull,
            Some(Errno::ROFS) => LaunchFailure::UnwritableDirectory,
            _ => LaunchFailure::Other,
        }
    }
}

impl fmt::Display for LaunchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchFailure::NoSuchProgram => f.write_str("no such program"),
            LaunchFailure::NotExecutable => f.write_str("not executable"),
            LaunchFailure::WrongPlatform => f.write_str("built for another platform"),
            LaunchFailure::NoSuchUser => f.write_str("no such user"),
            LaunchFailure::ArtifactUnavailable(name) => write!(f, "its file {name} is not available"),
            LaunchFailure::DiskFull => f.write_str("the node's disk is full"),
            LaunchFailure::UnwritableDirectory => f.write_str("the node's folder can't be written"),
            LaunchFailure::Other => f.write_str("it could not be started"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_application_did_is_its_blame() {
        assert_eq!(Blame::of(&ExitCause::Code(0)), Blame::Application);
        assert_eq!(Blame::of(&ExitCause::Signal(11)), Blame::Application);
        assert_eq!(Blame::of(&ExitCause::Signal(9)), Blame::Unknown);
        assert_eq!(Blame::of(&ExitCause::Preempted), Blame::Infrastructure);
        assert_eq!(Blame::of(&ExitCause::Released), Blame::Nobody);
        assert_eq!(Blame::of(&ExitCause::LaunchFailed(LaunchFailure::DiskFull)), Blame::Infrastructure);
        assert_eq!(Blame::of(&ExitCause::LaunchFailed(LaunchFailure::NoSuchProgram)), Blame::Application);
    }
}
