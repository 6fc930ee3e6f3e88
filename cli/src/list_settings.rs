use std::process::ExitCode;

use convoke::driver::settings::SETTINGS;
use convoke::{Error, Result};

use crate::arguments::Settings;
use crate::output::print;

/// Prints the table of settings.
pub fn run(command: &Settings) -> Result<ExitCode> {
    if command.json {
        let rows: Vec<_> = SETTINGS
            .iter()
            .map(|setting| {
                serde_json::json!({
                    "key": setting.key,
                    "variable": setting.variable(),
                    "default": setting.default,
                    "unit": setting.unit,
                    "meaning": setting.meaning,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&rows)
            .map_err(|error| Error::internal("can't write the settings as JSON").source(error))?;
        return print(&format!("{text}\n"));
    }
    let mut text = String::new();
    for setting in SETTINGS {
        text.push_str(&format!("{} ({})\n", setting.key, setting.unit));
        text.push_str(&format!("    {}\n", setting.meaning));
        text.push_str(&format!("    default: {}; variable: {}\n", setting.default, setting.variable()));
    }
    print(&text)
}
