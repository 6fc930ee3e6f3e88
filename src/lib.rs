//! convoke: executors for your program on whatever cluster its users have.

pub use convoke_core::*;
