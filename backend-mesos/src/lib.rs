//! The Mesos backend of convoke: executors as command tasks, by the v1 scheduler HTTP API.
//!
//! [`Mesos`] writes core's `Provisioner`; `Managed<Mesos>` is the cluster manager. A framework stands for an application, a
//! command task for an executor, and a role for a queue.
//!
//! ```text
//! manager.rs      Mesos: checks, opens, reports on the cluster
//! application.rs  the shell of one framework: one task, one stream of events, one call at a time
//! state/          every decision, pure
//! launch.rs       the task that becomes an executor
//! v1/             messages, framing, HTTP
//! explain.rs, agents.rs, quota.rs, logs.rs   the operator APIs of master and agents
//! operator.rs, doctor.rs   what people ask: status, logs, kill; what is wrong
//! ```

mod agents;
mod application;
mod doctor;
mod explain;
pub mod launch;
mod logs;
mod manager;
mod operator;
mod quota;
pub mod settings;
pub mod state;
pub mod v1;

pub use manager::{LEAST_LEASE, Mesos, register};
pub use settings::Settings;
