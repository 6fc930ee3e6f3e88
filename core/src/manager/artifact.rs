use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::secret::Digest;

/// The program that becomes an executor's supervisor: its builds by platform. Public bytes: any channel may carry them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bootstrap {
    /// Digest, size and every place it can be had, per platform.
    pub builds: Vec<(Platform, Artifact)>,
}

/// A processor and C library, such as `x86_64-linux-gnu`; `static` where it needs no C library of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform(pub String);

impl Platform {
    /// The platform that this program was built for.
    #[must_use]
    pub fn current() -> Platform {
        let libc = if cfg!(target_feature = "crt-static") {
            "static"
        } else if cfg!(target_env = "musl") {
            "musl"
        } else if cfg!(target_env = "gnu") {
            "gnu"
        } else {
            "unknown"
        };
        Platform(format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS))
    }

    /// The platform that a program was built for, by its ELF header; `None` for what is no such program (a script).
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn of_program(file: &std::fs::File) -> std::io::Result<Option<Platform>> {
        let Some(elf) = crate::process::elf::Elf::read(file)? else { return Ok(None) };
        let libc = match &elf.interpreter {
            None => "static",
            Some(loader) if loader.contains("ld-musl") => "musl",
            Some(_) => "gnu",
        };
        Ok(Some(Platform(format!("{}-linux-{libc}", elf.processor()))))
    }

    /// Whether a program built for this runs on a node of that platform: the same, or without need of a C library.
    #[must_use]
    pub fn runs_on(&self, node: &Platform) -> bool {
        self == node || self.0.strip_suffix("-static").is_some_and(|machine| node.is_of(machine))
    }

    /// Whether it is of the same processor and system.
    #[must_use]
    pub fn is_like(&self, other: &Platform) -> bool {
        self.0.rsplit_once('-').is_some_and(|(machine, _)| other.is_of(machine))
    }

    fn is_of(&self, machine: &str) -> bool {
        self.0.rsplit_once('-').is_some_and(|(own, _)| own == machine)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of the application (D8): whole under its digest, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The name that it gets in the executor's folder.
    pub name: Name,
    /// Of its bytes.
    pub sha256: Digest,
    /// How many bytes it has.
    pub bytes: u64,
    /// Whether it may be executed.
    pub executable: bool,
    /// Where it can be had.
    pub sources: Vec<Source>,
}

/// A place that an artifact can be had from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Source {
    /// A path on the driver's host, which the driver serves.
    DriverPath(String),
    /// A path that is there on every node.
    NodePath(String),
    /// A URL that a GET answers.
    Url(String),
}
