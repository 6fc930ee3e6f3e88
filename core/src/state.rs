//! Decisions, pure: no clock, no socket, no task. Events go in with the moment at which they happened, commands come out,
//! and a thin shell around each machine moves the bytes.

pub mod allocation;
pub mod executors;
pub mod supervision;
pub mod tasks;
