//! Ids and names. Each is a type of its own, so that none can be mistaken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A name that people and managers read: 1 to 255 bytes, no control characters, no leading or trailing space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// `InvalidRequest` for an empty name, one over 255 bytes, or one with control characters (R2).
    pub fn new(name: impl AsRef<str>) -> Result<Name> {
        let name = name.as_ref();
        if name.is_empty() || name.trim() != name {
            return Err(Error::invalid("name", "a name may not be empty or begin or end with white space")
                .with("name", format!("{name:?}")));
        }
        if name.len() > 255 {
            return Err(
                Error::invalid("name", "a name may have 255 bytes at the most").with("bytes", name.len())
            );
        }
        if name.chars().any(char::is_control) {
            return Err(Error::invalid("name", "a name may not have control characters")
                .with("name", format!("{name:?}")));
        }
        Ok(Name(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
impl FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Name> {
        Name::new(text)
    }
}
impl TryFrom<String> for Name {
    type Error = Error;
    fn try_from(text: String) -> Result<Name> {
        Name::new(text)
    }
}
impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
    }
}

/// One registration of one driver: a readable stem of the application's name and 64 random bits.
///
/// Whatever is made at the manager is named by it, so that "already there" can only mean "made by me". Safe as a
/// file, host or container name: lower-case ASCII letters, digits and dashes, at most 49 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApplicationId(Arc<str>);

impl ApplicationId {
    /// A new id for an application of this name, from the system's randomness.
    ///
    /// # Errors
    /// `Host` when the system has no randomness to give.
    pub fn generate(name: &Name) -> Result<ApplicationId> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Error::host("no randomness", std::io::Error::other(error)))?;
        Ok(ApplicationId::from_parts(name, u64::from_be_bytes(random)))
    }

    /// The id that `name` and these random bits give; for tests and replays.
    #[must_use]
    pub fn from_parts(name: &Name, random: u64) -> ApplicationId {
        let mut stem = String::new();
        for c in name.as_str().chars() {
            if c.is_ascii_alphanumeric() {
                stem.push(c.to_ascii_lowercase());
            } else if !stem.is_empty() && !stem.ends_with('-') {
                stem.push('-');
            }
            if stem.len() == 32 {
                break;
            }
        }
        let stem = stem.trim_end_matches('-');
        let stem = if stem.is_empty() { "application" } else { stem };
        ApplicationId(format!("{stem}-{random:016x}").into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What an executor of this application is called at its manager: `<application>-<n>`, safe as a file, host or container
    /// name, never over 63 bytes for the first 10^13 executors.
    #[must_use]
    pub fn native(&self, executor: ExecutorId) -> String {
        format!("{self}-{executor}")
    }

    /// The executor of this application that is called so at the manager, or `None` for anything else's name.
    #[must_use]
    pub fn executor(&self, native: &str) -> Option<ExecutorId> {
        let number = native.strip_prefix(self.as_str())?.strip_prefix('-')?;
        let executor = number.parse().ok().map(ExecutorId)?;
        (executor.to_string() == number).then_some(executor) // no second spelling, such as 007
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for ApplicationId {
    type Err = Error;
    fn from_str(text: &str) -> Result<ApplicationId> {
        let valid = text.rsplit_once('-').is_some_and(|(stem, hex)| {
            !stem.is_empty() && hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        }) && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(ApplicationId(text.into()))
        } else {
            Err(Error::invalid("application", "not an application id").with("text", format!("{text:?}")))
        }
    }
}
impl TryFrom<String> for ApplicationId {
    type Error = Error;
    fn try_from(text: String) -> Result<ApplicationId> {
        text.parse()
    }
}
impl From<ApplicationId> for String {
    fn from(id: ApplicationId) -> String {
        id.0.as_ref().to_owned()
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0.to_string())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_id! {
    /// One executor of one application: given by core when it is *wanted*, never used again (L4). Printed at the
    /// manager as `<application>-<n>`.
    ExecutorId(u64), "executor-"
}
number_id! {
    /// One resource profile of an application. A profile never changes under its id (R2).
    ProfileId(u32), "profile-"
}
number_id! {
    /// Which driver of the application this is: 1 for the first, one more each time that a driver takes it back.
    Incarnation(u32), "incarnation-"
}
number_id! {
    /// One job: the tasks of one submission.
    JobId(u64), "job-"
}
number_id! {
    /// One task of an application, unique among all of its jobs.
    TaskId(u64), "task-"
}

/// The driver of an application in cluster mode, in its manager's own words (C1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DriverId(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_id_is_safe_everywhere_and_parses_back() {
        let id = ApplicationId::from_parts(&Name::new("Wörd Count! v2").unwrap(), 7);
        assert_eq!(id.as_str(), "w-rd-count-v2-0000000000000007");
        assert_eq!(id.as_str().parse::<ApplicationId>().unwrap(), id);
        let empty = ApplicationId::from_parts(&Name::new("日本").unwrap(), 1);
        assert_eq!(empty.as_str(), "application-0000000000000001");
        let executor = ExecutorId(12);
        assert_eq!(id.native(executor), "w-rd-count-v2-0000000000000007-12");
        assert_eq!(id.executor(&id.native(executor)), Some(executor));
        assert_eq!(id.executor("w-rd-count-v2-0000000000000007-012"), None);
        assert_eq!(id.executor("other-0000000000000007-12"), None);
        assert!("../../etc-0000000000000001".parse::<ApplicationId>().is_err());
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", " a", "a\n", "a\0b", &"x".repeat(256)] {
            assert_eq!(Name::new(bad).unwrap_err().field(), Some("name"), "{bad:?}");
        }
        assert!(Name::new("Käse & Brot \"x\"").is_ok());
    }
}
