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
mod shortage;
pub mod task_plane;
mod value;

pub use artifacts::{ArtifactStatus, FileToShip};
pub use builder::{Backends, DriverBuilder};
pub use control::ExecutorStatus;
pub use events::{DriverEvent, DriverEvents, JobProgress, JobState, TaskCounts, TaskReport};
pub use handle::Driver;
pub use program::{DialAt, ExecutorProgram, ReadyWhen, StopSignal};
pub use value::SettingValue;

pub use crate::rpc::refusal::Refusal;
pub use crate::state::executors::ExecutorPhase;

fn default_task_plane(settings: &settings::DriverSettings) -> task_plane::MakeTaskPlane {
    let settings = jobs::TasksSettings::of(settings);
    Box::new(|control| Ok(jobs::Tasks::with_settings(control, settings)?))
}

/// For executors that run a program which takes no tasks.
fn no_task_plane(program: &str) -> task_plane::MakeTaskPlane {
    let plane = no_tasks::NoTasks::of(program);
    Box::new(move |_| Ok(plane))
}
