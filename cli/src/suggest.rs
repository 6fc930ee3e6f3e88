//! Values that a shell completes, beside which any other is taken.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};
use convoke::driver::settings::SETTINGS;

/// Takes any text, and suggests some.
#[derive(Clone)]
pub struct Suggested(fn() -> Vec<String>);

/// Master URLs as they are written.
pub fn masters() -> Suggested {
    Suggested(|| {
        let registry = convoke::registry();
        let written = |scheme: &str| match scheme {
            "local" => vec!["local[*]".to_owned(), "local[2]".to_owned()],
            "local-cluster" => vec!["local-cluster[2,2,1GiB]".to_owned()],
            "local-inline" => vec!["local-inline".to_owned()],
            other => vec![format!("{other}://")],
        };
        registry.schemes().flat_map(written).collect()
    })
}

/// Settings, ready for their values.
pub fn settings() -> Suggested {
    Suggested(|| {
        let registry = convoke::registry();
        let backends = registry.manager_settings().map(|setting| format!("{}=", setting.key));
        SETTINGS.iter().map(|setting| format!("{}=", setting.key)).chain(backends).collect()
    })
}

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}
