//! A scanner for secrets that lie where others can read them (E3): command lines, environments, logs, readable files and
//! status pages; spelled raw, in hex, base64, URL-encoded, as a list of numbers, or escaped.
//!
//! Look first, search afterwards: tickets and keys become known while an application runs, and processes come and go.
//! So a [`Watch`] keeps all that it sees, and [`Seen::leaks`] searches that for secrets which may have been learnt since.
//!
//! ```
//! use convoke_conformance::scan::{Places, Secrets, Watch};
//! let watch = Watch::start(Places::new().processes().readable_files(std::env::temp_dir().join("nothing there")));
//! // … an application runs …
//! let seen = watch.finish();
//! let secrets = Secrets::new().secret("the ticket of executor 3", *b"32 bytes, of which nobody knows.").private_keys();
//! assert_eq!(seen.leaks(&secrets), []);
//! assert!(seen.processes() > 0, "it has looked");
//! ```

mod http;
mod places;
mod search;
mod spelling;
mod watch;

use std::fmt;
use std::path::PathBuf;

pub use http::fetch;
pub use places::{Places, Seen};
pub use search::{Hit, Secrets};
pub use spelling::Spelling;
pub use watch::Watch;

/// Where something was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Place {
    /// The command line of a process: everybody on the host can read it.
    CommandLine {
        /// Its number.
        process: i32,
        /// What it runs, for people: the beginning of its command line.
        command: String,
    },
    /// The environment of a process: it, its children and its user's other processes can read it.
    Environment {
        /// Its number.
        process: i32,
        /// What it runs, for people: the beginning of its command line.
        command: String,
    },
    /// A log, whoever may read it.
    Log(PathBuf),
    /// A file that others than its owner can read.
    ReadableFile(PathBuf),
    /// A status page, or whatever else was named.
    Page(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::CommandLine { process, command } => {
                write!(f, "the command line of process {process} ({command})")
            }
            Place::Environment { process, command } => {
                write!(f, "the environment of process {process} ({command})")
            }
            Place::Log(path) => write!(f, "the log {}", path.display()),
            Place::ReadableFile(path) => write!(f, "the file {}, which others can read", path.display()),
            Place::Page(name) => write!(f, "{name}"),
        }
    }
}

/// A secret where it must not be. Says which and where, never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leak {
    /// The secret's name.
    pub secret: String,
    /// How it is spelled there.
    pub spelling: Spelling,
    /// Where.
    pub place: Place,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) in {}", self.secret, self.spelling, self.place)
    }
}
