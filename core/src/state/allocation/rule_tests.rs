//! Examples for each rule, named after it or after the symptom.

use std::time::Duration;

use super::bench::*;
use super::*;
use crate::error::ErrorKind;
use crate::manager::{Blame, ExitCause, LaunchFailure, Reason, ReleaseAnswer, Then, What};
use crate::units::MiB;

mod faults;
mod life;
mod targets;

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "connection refused")
}

fn list(bench: &mut Bench, listed: &[u64]) {
    for _ in 0..100 {
        if let Some(at) = bench.commands.iter().position(|command| matches!(command, AllocationCommand::List))
        {
            bench.commands.remove(at);
            let ids = listed.iter().map(|id| ExecutorId(*id)).collect();
            return bench.handle(AllocationEvent::Listed(Ok(Some(ids))));
        }
        bench.pass(Duration::from_millis(100));
    }
    panic!("no list was asked for in 10 s");
}
