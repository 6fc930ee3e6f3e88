//! The application's program for its executors: its builds, and whether the bootstrap is it.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::opened::OpenedFile;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::manager::{Artifact, Bootstrap, Platform, Source};

/// Builds of a program, by platform.
pub(super) type Builds = Vec<(Platform, Arc<OpenedFile>)>;

/// What the settings say of programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProgramSettings {
    /// `executor.binary`.
    pub(crate) binary: Option<PathBuf>,
    /// `executor.builds`.
    pub(crate) builds: Vec<(Platform, PathBuf)>,
    /// `bootstrap.binary`.
    pub(crate) bootstrap: Option<PathBuf>,
}

/// The programs of an application, held open.
#[derive(Debug, Default)]
pub(super) struct Programs {
    /// What is to be the bootstrap; no build: this very program.
    pub(super) bootstrap: Bootstrap,
    /// The bootstrap's files.
    pub(super) held: Builds,
    /// What executors fetch and run; none where the bootstrap is it.
    pub(super) shipped: Builds,
}

/// Opens the programs. Blocks.
///
/// # Errors
/// `InvalidRequest` for what can't be read, or is for another platform than is said.
pub(super) fn open(settings: &ProgramSettings, bootstrap: Bootstrap) -> Result<Programs> {
    let mut builds = Vec::new();
    for (platform, path) in &settings.builds {
        builds.push(open_build("executor.builds", path, Some(platform))?);
    }
    if let Some(path) = &settings.binary {
        builds.push(open_build("executor.binary", path, None)?);
    }
    let (bootstrap, held) = match &settings.bootstrap {
        Some(path) => {
            let held = vec![open_build("bootstrap.binary", path, None)?];
            (as_bootstrap(&held)?, held)
        }
        None => (bootstrap, Vec::new()),
    };
    if bootstrap.builds.is_empty() {
        return Ok(Programs { bootstrap: as_bootstrap(&builds)?, held: builds, shipped: Vec::new() });
    }
    if builds.is_empty() {
        builds.push((Platform::current(), Arc::new(OpenedFile::own_program()?)));
    }
    let is_it = |(platform, build): &(Platform, Artifact)| {
        builds.iter().any(|(of, file)| of == platform && file.sha256() == build.sha256)
    };
    let shipped = if bootstrap.builds.iter().all(is_it) { Vec::new() } else { builds };
    Ok(Programs { bootstrap, held, shipped })
}

fn open_build(
    field: &'static str,
    path: &Path,
    said: Option<&Platform>,
) -> Result<(Platform, Arc<OpenedFile>)> {
    let file = OpenedFile::open(path).map_err(|error| error.with("setting", field))?;
    let read = || File::open(path).and_then(|file| Platform::of_program(&file));
    let found = read()
        .map_err(|error| Error::host("can't read a build's header", error).with("path", path.display()))?;
    let Some(found) = found else {
        return Err(Error::invalid(field, "this is no program of a machine").with("path", path.display()));
    };
    let platform = said.unwrap_or(&found);
    if !found.runs_on(platform) {
        return Err(Error::invalid(field, "this build is for another platform than is said")
            .with("path", path.display())
            .with("said", platform)
            .with("found", &found));
    }
    Ok((found, Arc::new(file)))
}

/// Builds that this process holds open, and that its own host finds also where their files were deleted or replaced.
fn as_bootstrap(builds: &[(Platform, Arc<OpenedFile>)]) -> Result<Bootstrap> {
    let artifact = |file: &OpenedFile| {
        let held = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Ok::<_, Error>(Artifact {
            name: Name::new("convoke-bootstrap")?,
            sha256: file.sha256(),
            bytes: file.bytes(),
            executable: true,
            sources: vec![Source::DriverPath(held)],
        })
    };
    let builds = builds.iter().map(|(platform, file)| Ok((platform.clone(), artifact(file)?)));
    Ok(Bootstrap { builds: builds.collect::<Result<_>>()? })
}
