//! The wire: generated messages, connections, who is who. Every tonic type of the crate stays below this module and the
//! shells that serve or call it.
//!
//! | file | what |
//! | --- | --- |
//! | `authority` | the application's certificate authority: one leaf per executor |
//! | `ticket` | single-use join tickets, derived from one secret |
//! | `tls` | TLS settings of both sides, and the check of the driver's certificate |
//! | `accept` | the driver's acceptor: strangers wait in a bounded lobby |
//! | `watch` | what is refused before a call reaches its handler |
//! | `identity` | which executor a call comes from |
//! | `client` | what supervisors and programs dial with |
//! | `refusal` | why somebody was refused, counted and logged at a bounded rate |
//! | `status` | gRPC status ↔ [`Error`](crate::Error) |
//! | `version`, `limits` | the protocol's number; sizes, windows and time-outs |

pub mod accept;
pub mod authority;
pub mod client;
pub mod identity;
pub mod limits;
pub mod refusal;
pub mod status;
pub mod ticket;
pub mod tls;
pub mod version;
pub(crate) mod watch;

/// Messages and services of `proto/convoke/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated; documented in the .proto files")]
pub mod v1 {
    tonic::include_proto!("convoke.v1");
}
