use bytes::Bytes;

/// What to read of an executor's output (E2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// Which stream.
    pub stream: LogStream,
    /// From where.
    pub from: LogFrom,
    /// Whether to go on as more is printed, until the executor has exited.
    pub follow: bool,
}

/// One of the two streams of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFrom {
    /// At the start of what is kept.
    Start,
    /// At the last so many bytes.
    Last(u64),
    /// After a position that an earlier chunk gave.
    After(LogPosition),
}

/// A position, in the backend's own words: bytes where the manager counts them, a time where it doesn't (Kubernetes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPosition(pub String);

/// Some output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// What is no longer kept before these bytes.
    pub missing: Missing,
    /// The bytes.
    pub bytes: Bytes,
    /// Where they end.
    pub end: LogPosition,
}

/// What is no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is missing.
    Nothing,
    /// So many bytes are.
    Bytes(u64),
    /// Something is, and its size isn't known.
    Unknown,
}
