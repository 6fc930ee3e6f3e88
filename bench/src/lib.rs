//! Workloads of the pure machines, which `convoke-machines` times and counts the instructions of, for CI to compare.

pub mod machines;
