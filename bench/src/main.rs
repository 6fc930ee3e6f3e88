//! Measures convoke as its users run it (public API, separate processes, mutual TLS on), a bare tonic stream between as many
//! processes, and, where asked, other systems: in turn, several rounds, in one run. Absolute figures drift between machines and
//! minutes: compare the ratios of one run.
//!
//! `cargo run --release -p convoke-bench -- --help`

mod figures;
mod floor;
mod goals;
mod machine;
mod options;
mod peers;
mod plan;
mod rows;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser as _;
use options::{Options, Part};

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[expect(clippy::disallowed_methods, reason = "a benchmark")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn main() -> ExitCode {
    convoke::init();
    let options = Options::parse();
    let done = match &options.part {
        Some(Part::FloorPeer { address }) => return floor::peer(address),
        Some(Part::HeldResults { results }) => rows::held::child(*results).map(|()| true),
        Some(Part::LeaveBehind { script }) => rows::ends::child(script).map(|()| true),
        Some(Part::Soak { runs }) => plan::soak(&options, *runs),
        None => plan::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("convoke-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
