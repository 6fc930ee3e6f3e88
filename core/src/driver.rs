//! The driver: it listens for its executors all its life, knows how each of them is, and gives them tasks.
//!
//! ```text
//! Driver (handle) ──▶ control (one thread: state::executors, the manager's events) ──▶ cluster manager
//!                        ▲                          │ joined, gone, lost
//!           rpc::service ┘ Join, Supervise          ▼
//!           rpc::service ── Attach, Fetch ──▶ task plane ──▶ jobs and tasks
//! ```

mod artifacts;
mod builder;
mod control;
mod endpoint;
mod events;
mod handle;
pub mod jobs;
mod launcher;
mod no_tasks;
mod program;
pub mod progress;
mod run;
mod service;
pub mod settings;
pub mod task_plane;

pub use artifacts::{ArtifactStatus, FileToShip};
pub use builder::{Backends, DriverBuilder, SettingValue};
pub use control::ExecutorStatus;
pub use events::{DriverEvent, DriverEvents, JobProgress, JobState, TaskCounts};
pub use handle::Driver;
pub use program::{DialAt, ExecutorProgram, ReadyWhen, StopSignal};

pub use crate::rpc::refusal::Refusal;
pub use crate::state::executors::ExecutorPhase;

fn default_task_plane() -> task_plane::MakeTaskPlane {
    Box::new(|control| Ok(jobs::Tasks::new(control)?))
}

/// For executors that run a program which takes no tasks.
fn no_task_plane(program: &str) -> task_plane::MakeTaskPlane {
    let plane = no_tasks::NoTasks::of(program);
    Box::new(move |_| Ok(plane))
}
