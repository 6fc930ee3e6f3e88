//! The driver: it listens for its executors all its life, knows how each of them is, and gives them tasks.
//!
//! ```text
//! Driver (handle) ──▶ control (one thread: state::executors, the manager's events) ──▶ cluster manager
//!                        ▲                          │ joined, gone, lost
//!           rpc::service ┘ Join, Supervise          ▼
//!           rpc::service ── Attach, Fetch ──▶ task plane ──▶ jobs and tasks
//! ```

pub mod task_plane;
