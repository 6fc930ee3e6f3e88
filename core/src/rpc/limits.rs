//! Sizes, windows and time-outs of connections.

use std::time::Duration;

/// The largest message either side takes on a stream. A batch is packed to about 1 MiB, and larger payloads never ride on
/// a stream.
pub const MESSAGE_BYTES: usize = 8 << 20;
/// Arguments and values up to this ride on a task stream; larger ones are fetched and uploaded.
pub const INLINE_BYTES: usize = 256 << 10;
/// Bytes of one chunk of a fetch or an upload.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Window of one stream. h2 ends a busy stream of tiny messages with small windows (see `docs/` on performance).
pub const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// Window of one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Calls at once on one executor's connection.
pub const STREAMS_PER_CONNECTION: u32 = 64;

/// The largest message of a caller that hasn't shown a certificate: a join.
pub const ANONYMOUS_MESSAGE_BYTES: usize = 64 << 10;
/// Windows of such a connection.
pub const ANONYMOUS_WINDOW_BYTES: u32 = 128 << 10;
/// Calls at once on such a connection; more are refused one by one …
pub const ANONYMOUS_CALLS: u32 = 2;
/// … up to so many, where HTTP/2's own limit is.
pub const ANONYMOUS_STREAMS: u32 = 16;
/// How many connections may be without an admitted caller at one time. One more ends the oldest of them. A certificate alone
/// doesn't admit: its executor must count.
pub const ANONYMOUS_CONNECTIONS: usize = 512;
/// How long a connection may be without one.
pub const ANONYMOUS_FOR: Duration = Duration::from_secs(15);
/// How long a handshake may take.
pub const HANDSHAKE_FOR: Duration = Duration::from_secs(10);

/// How long a dialler tries one address.
pub const DIAL_FOR: Duration = Duration::from_secs(5);
/// How long a dialler waits for the answer to a join.
pub const JOIN_FOR: Duration = Duration::from_secs(10);

/// Connections to the bootstrap's listener that haven't asked for its file. One more ends the oldest of them.
pub const FETCHERS_UNKNOWN: usize = 128;
/// Connections that are being sent the bootstrap at one time; one more is told to come again.
pub const FETCHERS_SERVED: usize = 512;
/// The head of a request for the bootstrap has so many bytes at the most …
pub const FETCHER_HEAD_BYTES: usize = 8 << 10;
/// … and comes within this.
pub const FETCHER_HEAD_FOR: Duration = Duration::from_secs(10);
/// Of the bootstrap so much is read and sent at a time …
pub const FETCHER_CHUNK_BYTES: usize = 64 << 10;
/// … and who doesn't take that within this is hung up on.
pub const FETCHER_STALLS_FOR: Duration = Duration::from_secs(60);
