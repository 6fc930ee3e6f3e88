//! What an executor finds in its environment (E4), and how a process learns that it is to be one.

/// Which part of an executor this process plays: `guard`, `supervisor` or `program`. Absent: none, it is itself.
///
/// The manager starts the guard; the guard starts the supervisor, the supervisor the program. All are the same binary with
/// the same arguments.
pub const ROLE: &str = "CONVOKE_ROLE";
/// The driver's advertised addresses, comma-separated, in order of preference.
pub const DRIVER: &str = "CONVOKE_DRIVER";
/// The application's id.
pub const APPLICATION: &str = "CONVOKE_APPLICATION";
/// The executor's id, a number.
pub const EXECUTOR: &str = "CONVOKE_EXECUTOR";
/// The resource profile's id, a number.
pub const PROFILE: &str = "CONVOKE_PROFILE";
/// Which driver of the application this is for, a number.
pub const INCARNATION: &str = "CONVOKE_INCARNATION";
/// SHA-256 of the application's certificate authority in hex, or `insecure`.
pub const TRUST: &str = "CONVOKE_TRUST";
/// The lease in milliseconds: without a driver for so long, the executor ends itself.
pub const LEASE_MS: &str = "CONVOKE_LEASE_MS";
/// Where the ticket is: `stdin` (one line in hex; the end of standard input then means that the driver is gone),
/// `file:PATH` (hex), or `hex:…` itself where the manager has no private channel.
pub const TICKET: &str = "CONVOKE_TICKET";
/// Where the supervisor keeps the program's output in rolled files. Absent: it passes the output on to its own.
pub const LOGS: &str = "CONVOKE_LOGS";
/// `<MiB>x<files>`: the size at which a log file is rolled over, and how many rolled ones are kept.
pub const LOG_LIMITS: &str = "CONVOKE_LOG_LIMITS";
/// A cgroup folder per controller that the backend made for this executor, colon-separated; the guard enters it.
pub const CGROUPS: &str = "CONVOKE_CGROUPS";
/// Devices that the manager granted, as JSON (`{"gpu":["0"]}`).
pub const DEVICES: &str = "CONVOKE_DEVICES";
/// The folder below which this user's executors on this node share the files that they fetched. Absent: that for temporary files.
pub const CACHE: &str = "CONVOKE_CACHE";

/// The guard's process number, for its supervisor.
pub const GUARD: &str = "CONVOKE_GUARD";

/// What every name of ours begins with.
pub const PREFIX: &str = "CONVOKE_";

/// Names that must not pass from an executor to what its tasks start.
pub const PRIVATE: [&str; 5] = [ROLE, TICKET, CGROUPS, LOGS, GUARD];
