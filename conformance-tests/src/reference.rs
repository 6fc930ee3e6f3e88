//! The reference manager: real processes on simulated nodes, with a daemon of its own that can be killed. It passes all that
//! it can be asked, so that a mutant's failure is the mutant's.
//!
//! ```text
//! kit's process: Managed<Reference> ── Unix socket, JSON lines ──▶ daemon ── starts ──▶ guards of executors, by node
//! ```
//!
//! The daemon keeps what it must not forget in a file; started anew it finds its executors by their process ids. An
//! application whose driver has not been connected for a lease is ended.

mod client;
mod cluster;
mod daemon;
mod executor;
mod folder;
mod harness;
mod hooks;
mod recovery;
mod wire;

pub use client::Reference;
pub use harness::{ReferenceHarness, ReferenceNodes};

pub(crate) use daemon::become_daemon_if_asked;
