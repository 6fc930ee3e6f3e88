//! Trust (D1, E3): strangers are refused while a job runs on undisturbed, and no secret lies where others can read it.
//! Real executors of the local backend, by the public API.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "all of it is test code; helpers outside a test function too"
)]

mod job;
mod manager;
mod refusals;
mod secrets;
mod stranger;

convoke::test_executor!();
