//! Known failures, in a file with their reasons. A waived rule that passes fails the run: the waiver is out of date.
//!
//! ```text
//! # YARN's default counts no cpus: see the backend's README.
//! A5
//! ```
//! Lines that begin with `#` are the reason of the ids below them, up to the next empty line.

use std::collections::BTreeMap;

use convoke_core::{Error, Result};

use crate::rules;

/// The waived rules, each with its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waivers(BTreeMap<&'static str, String>);

impl Waivers {
    /// Reads a waivers file.
    ///
    /// # Errors
    /// `InvalidRequest` for an unknown id, or a waiver without a reason.
    pub fn parse(text: &str) -> Result<Waivers> {
        let mut waivers = BTreeMap::new();
        let mut reason = String::new();
        let mut reason_is_open = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                reason.clear();
            } else if let Some(words) = line.strip_prefix('#') {
                if !reason_is_open {
                    reason.clear();
                }
                if !reason.is_empty() {
                    reason.push(' ');
                }
                reason.push_str(words.trim());
            } else {
                let rule = rules::find(line).ok_or_else(|| {
                    Error::invalid("waivers", "there is no such rule")
                        .with("line", number + 1)
                        .with("text", format!("{line:?}"))
                })?;
                if reason.is_empty() {
                    return Err(Error::invalid("waivers", "a waiver needs a reason")
                        .with("line", number + 1)
                        .with("rule", rule.id)
                        .help("write it in lines with # above the id"));
                }
                waivers.insert(rule.id, reason.clone());
            }
            reason_is_open = line.starts_with('#');
        }
        Ok(Waivers(waivers))
    }

    /// Why a rule is waived, if it is.
    #[must_use]
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_waiver_has_a_reason() {
        let waivers = Waivers::parse("# cpus are not\n# counted\nA5\na6\n\n# another\nL2\n").unwrap();
        assert_eq!(waivers.reason("A5"), Some("cpus are not counted"));
        assert_eq!(waivers.reason("A6"), Some("cpus are not counted"));
        assert_eq!(waivers.reason("L2"), Some("another"));
        assert_eq!(waivers.reason("L3"), None);
        assert!(Waivers::parse("A5\n").is_err());
        assert!(Waivers::parse("# why\n\nA5\n").is_err());
        assert!(Waivers::parse("# why\nA99\n").is_err());
    }
}
