//! The wire: Mesos' v1 messages, the framing of its event stream, and the HTTP under both.

pub mod http;
mod json;
pub mod recordio;

/// Mesos' messages, those that are needed, from `proto/`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented in the .proto files"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mesos.rs"));
}
pub use generated::mesos::v1::*;
