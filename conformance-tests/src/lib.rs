//! The conformance kit of convoke: it points at a cluster manager and says, rule by rule, what holds.
//!
//! Whoever writes a [`ClusterManager`](convoke_core::manager::ClusterManager) writes a [`Harness`] too, and a test of seven
//! lines (`tests/conformance.rs`, with `harness = false` in `Cargo.toml`):
//!
//! ```no_run
//! # use convoke_conformance::{Environment, Harness};
//! # #[derive(Debug, Default)] struct Mine;
//! # #[async_trait::async_trait] impl Harness for Mine {
//! #     fn subject(&self) -> String { "mine".into() }
//! #     async fn environment(&self) -> convoke_core::Result<Environment> { Err(convoke_core::Error::unsupported("an example")) }
//! # }
//! fn main() -> std::process::ExitCode {
//!     convoke_conformance::main::<Mine>()
//! }
//! ```
//!
//! `cargo test --test conformance` then runs every rule of the manager profile, `-- A2` one of them, and prints a
//! certificate. The kit plays the driver: it registers applications whose executors are *probes*, a mode of the very same
//! program, and counts them by their connections and in the process table, never by what the manager says.
//!
//! The rules are data ([`rules::all`]); how a rule is checked is told by `docs/conformance.md`, which is generated from
//! them.

// The expansion of `#[task]` says `::convoke`.
extern crate convoke_core as convoke;

mod application;
mod certificate;
mod context;
mod deadlines;
mod document;
mod doomed;
mod driven;
mod entry;
mod files;
mod harness;
mod hooks_program;
mod launcher;
mod live;
pub mod mutants;
mod outcome;
pub mod probe;
pub mod published;
pub mod reference;
pub mod report;
mod rule;
pub mod rules;
mod run;
mod runtime;
pub mod scan;
mod select;
mod service;
mod timeline;
mod verdict;
mod view;
pub mod wait;
mod waivers;
mod witness;

pub use application::{Inner, Setup};
pub use certificate::{About, Certificate, Standing};
pub use context::Context;
pub use deadlines::{DeadlineName, Deadlines};
pub use document::document;
pub use doomed::become_driver_if_asked;
pub use driven::Driven;
pub use entry::{main, main_of};
pub use harness::{
    Environment, Guard, Harness, Hook, Hooked, Hooks, ManagerOptions, NoHooks, Room, Sizes, Traffic, Unhooked,
};
pub use hooks_program::HooksProgram;
pub use launcher::Tweak;
pub use live::{LiveCluster, LiveHarness, MakeManager};
pub use outcome::{CaseOutcome, RuleOutcome};
pub use probe::become_probe_if_asked;
pub use rule::{Case, Check, Claim, Level, Profile, Rule, Subject};
pub use run::{Options, Run, run};
pub use runtime::meddle::Meddle;
pub use select::Selection;
pub use timeline::Timeline;
pub use verdict::{Checked, Evidence, Finding, Verdict};
pub use view::{Told, View};
pub use waivers::Waivers;
pub use witness::Witness;
