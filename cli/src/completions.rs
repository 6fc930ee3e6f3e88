use std::process::ExitCode;

use clap::CommandFactory;
use convoke::Result;

use crate::arguments::{Arguments, Completions};

/// Prints completions for a shell.
pub fn run(command: &Completions) -> Result<ExitCode> {
    clap_complete::generate(command.shell, &mut Arguments::command(), "convoke", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
