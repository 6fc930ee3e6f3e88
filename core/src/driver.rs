//! The driver: it listens for its executors all its life, knows how each of them is, and gives them tasks.
//!
//! ```text
//! Driver (handle) ──▶ control (one thread: state::executors, the manager's events) ──▶ cluster manager
//!                        ▲                          │ joined, gone, lost
//!           rpc::service ┘ Join, Supervise          ▼
//!           rpc::service ── Attach, Fetch ──▶ task plane ──▶ jobs and tasks
//! ```

#[allow(dead_code, reason = "the source is used by the driver's shell, next to come")]
mod events;
pub mod task_plane;

pub use events::{DriverEvent, DriverEvents, JobProgress, JobState, TaskCounts};
