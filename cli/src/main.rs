//! `convoke`: the command line.

#![allow(
    unreachable_pub,
    missing_docs,
    reason = "the modules of a program have no outside; clap's help is the documentation"
)]

mod arguments;
mod completions;
mod conformance;
mod doctor;
mod explain;
mod failure;
mod interruptions;
mod kill;
mod leftovers;
mod list_settings;
mod logs;
mod operator;
mod output;
mod settings;
mod status;
mod submit;
mod suggest;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use convoke::ErrorKind;

fn main() -> ExitCode {
    // this program is also what the conformance kit runs on a cluster, under a supervisor as any executor …
    convoke_conformance::become_probe_if_asked();
    convoke_conformance::become_driver_if_asked(conformance::dial);
    // … and the bootstrap of executors: explain and doctor start some of it
    convoke::init();
    let arguments = Arguments::parse();
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("CONVOKE_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    let result = match arguments.command {
        Command::Submit(command) => submit::run(&command),
        Command::Status(command) => status::run(&command),
        Command::Logs(command) => logs::run(&command),
        Command::Kill(command) => kill::run(&command),
        Command::Explain(command) => explain::run(&command),
        Command::Doctor(command) => doctor::run(&command),
        Command::Conformance(command) => conformance::run(&command),
        Command::Settings(command) => list_settings::run(&command),
        Command::Completions(command) => completions::run(&command),
        Command::Executor => Err(convoke::Error::invalid("executor", "nobody asked for an executor here")
            .help("cluster managers start `convoke executor` with CONVOKE_ROLE and the rest of its environment set")),
    };
    result.unwrap_or_else(|error| {
        eprint!("{}", failure::text(&error));
        match error.kind() {
            ErrorKind::InvalidRequest | ErrorKind::Unsupported => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}
