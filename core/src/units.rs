//! The values that a person types: cpus, memory, durations, addresses. Each parses and prints by one rule, and
//! nothing is guessed, rounded silently or saturated.

mod address;
mod cpus;
mod duration;
mod memory;

pub use address::HostPort;
pub use cpus::Cpus;
pub use duration::{format_duration, parse_duration};
pub use memory::MiB;
