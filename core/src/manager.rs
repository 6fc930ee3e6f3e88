//! The manager contract: what a driver asks of a cluster manager, and what it is told.
//!
//! Two levels. [`ClusterManager`] and [`Application`] are what drivers call and what the conformance kit certifies.
//! Most backends write the smaller [`Provisioner`] and [`Provisioning`] instead, and [`Managed`] makes a
//! `ClusterManager` of it: reconciling with the target, the event ledger, giving back surplus, the crash-loop brake,
//! retries.
//!
//! **Intent is synchronous and local; effects are events; only I/O is async.** Setting a target records a wish and
//! can fail only for a bad argument, so "what happens during an outage" has one answer. The rules are quoted by
//! their numbers (`A2`); `docs/contract.md` has them all.

mod application;
mod artifact;
mod capabilities;
mod contract;
mod driver_host;
mod event;
mod exit;
mod finding;
mod launch;
mod logs;
mod managed;
mod operator;
mod prologue;
mod provisioner;
mod reason;
mod registry;
mod setting;
mod wish;

pub use application::{ApplicationSpec, ApplicationSpecBuilder, ExecutorPolicy, Pace};
pub use artifact::{Artifact, Bootstrap, Platform, Source};
pub use capabilities::{Capabilities, Descriptor, SecretChannel};
pub use contract::{
    Application, ApplicationInfo, ClusterManager, ClusterReport, Heard, LiveExecutor, NodeReport, Outcome,
    Registration, Snapshot,
};
pub use driver_host::{DriverHost, DriverSpec, DriverStatus, Submission};
pub use event::{EndedBy, Event, Events, Grant, Page, What};
pub use exit::{Blame, Exit, ExitCause, LaunchFailure};
pub use finding::{Finding, Verdict};
pub use launch::{LaunchCommand, Launcher, LogLimits, Program};
pub use logs::{LogChunk, LogFrom, LogPosition, LogRequest, LogStream, Missing};
pub use managed::Managed;
pub use operator::{ApplicationReport, ApplicationState, ExecutorReport, ExecutorState, Operator};
pub use prologue::Prologue;
pub use provisioner::{Opened, Provisioner, Provisioning, Report, Reporter, Wanted};
pub use reason::{LimitScope, Reason, Shortfall};
pub use registry::{ManagerFactory, ManagerSettings, MasterUrl, Registry};
pub use setting::ManagerSetting;
pub(crate) use setting::variable;
pub use wish::{Constraint, Generation, Placement, Release, ReleaseAnswer, Target, Then, Want};

/// A boxed stream, as logs and events come.
pub type Stream<T> = std::pin::Pin<Box<dyn futures_core::Stream<Item = T> + Send>>;
