use std::time::Duration;

use super::settings::parse_pace;
use crate::error::Result;
use crate::ids::Name;
use crate::manager::Pace;
use crate::units::{Cpus, MiB, parse_duration};

/// What a setter takes: the value itself, or text as people write it.
pub trait SettingValue<T> {
    /// The value.
    ///
    /// # Errors
    /// `InvalidRequest` for text that can't be read.
    fn value(self) -> Result<T>;
}

macro_rules! setting_values {
    ($($type:ty, $parse:expr;)*) => {
        $(
            impl SettingValue<$type> for $type {
                fn value(self) -> Result<$type> {
                    Ok(self)
                }
            }
            impl SettingValue<$type> for &str {
                fn value(self) -> Result<$type> {
                    #[allow(clippy::redundant_closure_call, reason = "one form for all types")]
                    ($parse)(self)
                }
            }
        )*
    };
}

setting_values! {
    Cpus, |text: &str| text.parse();
    MiB, |text: &str| text.parse();
    Duration, parse_duration;
    Name, Name::new;
    Pace, parse_pace;
}
