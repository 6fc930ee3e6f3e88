use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::units::{format_duration, parse_duration};
use convoke_core::{Error, Result};

macro_rules! deadlines {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:literal, $default_ms:literal;)*) => {
        /// What the kit waits for, or watches for. Parameters of the harness: a real YARN is slower than local processes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DeadlineName {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl DeadlineName {
            /// All of them.
            pub const ALL: &'static [DeadlineName] = &[$(DeadlineName::$variant),*];

            /// As the command line spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(DeadlineName::$variant => $name,)* }
            }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(DeadlineName::$variant => concat!($($doc),+).trim_ascii_start(),)* }
            }

            /// What it is where the harness says nothing.
            #[must_use]
            pub const fn default(self) -> Duration {
                match self { $(DeadlineName::$variant => Duration::from_millis($default_ms),)* }
            }
        }
    };
}

deadlines! {
    /// `register` answers within this.
    Register, "register", 30_000;
    /// With room, a wish is met within this: executors granted, launched and connected.
    Settle, "settle", 30_000;
    /// What must not happen is watched for this long.
    Quiet, "quiet", 1_000;
    /// `explain` tells the truth within this of the wish.
    Explain, "explain", 2_000;
    /// An end that was seen by the kit is an event within this.
    Exit, "exit", 20_000;
    /// `unregister` is given this.
    Unregister, "unregister", 20_000;
    /// The grace of the releases that the kit asks for.
    Grace, "grace", 1_500;
    /// A launch that fails is reported within this.
    Launch, "launch", 15_000;
    /// The join deadline that the kit asks for.
    Join, "join", 3_000;
    /// The lease of the kit's applications.
    Lease, "lease", 5_000;
    /// What a manager or a node needs to notice a fault, and to be back.
    Fault, "fault", 30_000;
    /// The longest that one case may take.
    Case, "case", 120_000;
}

/// The deadlines of a run: a default for each, and what the harness or the command line set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deadlines(BTreeMap<DeadlineName, Duration>);

impl Deadlines {
    /// Sets one.
    #[must_use]
    pub fn with(mut self, name: DeadlineName, time: Duration) -> Deadlines {
        self.0.insert(name, time);
        self
    }

    /// Sets one from `NAME=TIME`.
    ///
    /// # Errors
    /// `InvalidRequest`, with the known names.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let (name, time) = text.split_once('=').ok_or_else(|| {
            Error::invalid("deadline", "a deadline is written NAME=TIME")
                .with("text", format!("{text:?}"))
                .help("write it like settle=30s")
        })?;
        let name = DeadlineName::ALL.iter().find(|known| known.as_str() == name.trim()).ok_or_else(|| {
            let known: Vec<_> = DeadlineName::ALL.iter().map(|known| known.as_str()).collect();
            Error::invalid("deadline", "there is no such deadline")
                .with("name", format!("{name:?}"))
                .help(format!("known: {}", known.join(", ")))
        })?;
        self.0.insert(*name, parse_duration(time.trim())?);
        Ok(())
    }

    /// How long.
    #[must_use]
    pub fn of(&self, name: DeadlineName) -> Duration {
        self.0.get(&name).copied().unwrap_or_else(|| name.default())
    }

    /// All of them, printed, for a certificate.
    pub fn printed(&self) -> impl Iterator<Item = (&'static str, String)> {
        DeadlineName::ALL.iter().map(|name| (name.as_str(), format_duration(self.of(*name))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_set_by_name_and_an_unknown_one_lists_the_known() {
        let mut deadlines = Deadlines::default();
        deadlines.set("settle=30s").unwrap();
        assert_eq!(deadlines.of(DeadlineName::Settle), Duration::from_secs(30));
        let error = deadlines.set("sattle=30s").unwrap_err();
        assert!(format!("{error:#}").contains("settle"), "{error:#}");
        assert!(deadlines.set("settle=soon").is_err());
    }
}
