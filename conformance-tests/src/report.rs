//! Reports: for people, for scripts, for build servers.

mod json;
mod junit;
mod text;

use std::str::FromStr;

use convoke_core::Error;

pub use json::json;
pub use junit::junit;
pub use text::{line, text};

use crate::run::Run;

/// How a run is reported on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
}

impl Format {
    /// The whole report.
    #[must_use]
    pub fn render(self, run: &Run) -> String {
        match self {
            Format::Text => text(run),
            Format::Json => json(run),
            Format::Junit => junit(run),
        }
    }
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Format, Error> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            "junit" => Ok(Format::Junit),
            _ => Err(Error::invalid("report", "no such report")
                .with("text", format!("{text:?}"))
                .help("one of text, json, junit")),
        }
    }
}
