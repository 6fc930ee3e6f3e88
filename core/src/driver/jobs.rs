//! Jobs and tasks of a driver: the user's API, and the shell around [`crate::state::tasks`].
//!
//! ```text
//! caller ── submit, map ──▶ scheduler (one lock) ◀── asks for the next batch ── stream of each executor
//!    ▲                                                                          │
//!    └──────── sink of the job, a batch at a time ◀──────── results ────────────┘
//! ```
//!
//! No channel lies between: a caller puts tasks into the scheduler itself and wakes the streams that want some; a stream
//! that can take more asks the scheduler, and hands results to the sinks of their jobs, one wake a batch.

mod api;
mod blobs;
mod call;
mod deadlines;
mod feeder;
mod flood;
mod job;
mod plane;
mod results;
mod serving;
mod sink;
mod stream;
mod telling;
mod updates;

pub use call::{Calls, TaskOptions};
pub use job::{Job, JobWatch, Task, Unordered};
pub use plane::{Tasks, TasksSettings};
