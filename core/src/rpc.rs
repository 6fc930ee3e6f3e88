//! The wire: generated messages, connections, who is who. Every tonic type of the crate stays below this module and the
//! shells that serve or call it.

/// Messages and services of `proto/convoke/v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated; documented in the .proto files")]
pub mod v1 {
    tonic::include_proto!("convoke.v1");
}
