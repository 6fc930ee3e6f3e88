use std::process::ExitCode;

use convoke::driver::settings::SETTINGS;
use convoke::{Error, Result};

use crate::arguments::Settings;
use crate::output::print;

/// Prints the table of settings: the driver's, then each backend's.
pub fn run(command: &Settings) -> Result<ExitCode> {
    let rows = rows();
    if command.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|[key, variable, default, unit, meaning]| {
                serde_json::json!({
                    "key": key, "variable": variable, "default": default, "unit": unit, "meaning": meaning,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&rows)
            .map_err(|error| Error::internal("can't write the settings as JSON").source(error))?;
        return print(&format!("{text}\n"));
    }
    let mut text = String::new();
    for [key, variable, default, unit, meaning] in rows {
        text.push_str(&format!(
            "{key} ({unit})\n    {meaning}\n    default: {default}; variable: {variable}\n"
        ));
    }
    print(&text)
}

/// Key, variable, default, unit and meaning of each.
fn rows() -> Vec<[String; 5]> {
    let row = |key: &str, variable: String, default: &str, unit: &str, meaning: &str| {
        [key.to_owned(), variable, default.to_owned(), unit.to_owned(), meaning.to_owned()]
    };
    let ours = SETTINGS.iter().map(|one| row(one.key, one.variable(), one.default, one.unit, one.meaning));
    let registry = convoke::registry();
    let theirs = registry
        .manager_settings()
        .map(|one| row(one.key, one.variable(), one.default, one.unit, one.meaning));
    ours.chain(theirs).collect()
}
