//! `convoke kill`: ends an application with all of its executors.

use std::process::ExitCode;

use convoke::manager::ApplicationReport;
use convoke::units::parse_duration;
use convoke::{Error, ErrorKind, Result};

use crate::arguments::Kill;
use crate::operator::{Asked, is_alive, run as run_async};
use crate::output::print;

/// Ends the application that is named, or the only one there is.
pub fn run(command: &Kill) -> Result<ExitCode> {
    let deadline = parse_duration(&command.deadline)?;
    let asked = Asked::open(&command.configuration, &command.place)?;
    run_async(async {
        let application = match &command.application {
            Some(text) => asked.find(text).await?,
            None => only(asked.applications().await?, &asked.master)?,
        };
        let id = &application.id;
        if !is_alive(&application) {
            return print(&format!("{id} had ended already.\n"));
        }
        asked.operator()?.kill(id, deadline).await?;
        print(&format!("{id} has ended, and nothing of it is left.\n"))
    })
}

fn only(mut all: Vec<ApplicationReport>, master: &str) -> Result<ApplicationReport> {
    all.retain(is_alive);
    if all.len() > 1 {
        let ids: Vec<_> = all.iter().map(|application| application.id.as_str()).collect();
        return Err(Error::invalid("application", "several applications run")
            .with("master", master)
            .help(format!("say which: {}", ids.join(", "))));
    }
    all.pop().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "no application runs")
            .with("master", master)
            .help("convoke status lists them; --master asks another manager")
    })
}
