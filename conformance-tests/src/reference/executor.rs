//! Starting one executor on a simulated node.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use convoke_core::executor::environment;
use convoke_core::ids::Name;
use convoke_core::manager::{Artifact, ExitCause, LaunchFailure, Source};
use convoke_core::secret::{Digest, to_hex};
use tokio::process::{Child, Command};

use super::wire::CommandOnWire;

/// Why an executor was not started.
pub(super) type Refusal = (ExitCause, String);

/// Makes the executor's folder and starts its guard, or the program itself where it isn't the bootstrap.
pub(super) fn start(
    folder: &Path,
    command: &CommandOnWire,
    devices: &BTreeMap<Name, Vec<String>>,
    disk_full: bool,
) -> Result<Child, Refusal> {
    if disk_full {
        let why = format!("can't write {}: the disk is full", folder.display());
        return Err((ExitCause::LaunchFailed(LaunchFailure::DiskFull), why));
    }
    let (work, logs) = (folder.join("work"), folder.join("logs"));
    for made in [&work, &logs] {
        fs::create_dir_all(made).map_err(|error| not_written(made, &error))?;
    }
    for artifact in &command.files {
        place(artifact, &work)?;
    }
    let ticket = folder.join("ticket");
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&ticket)
        .and_then(|mut file| file.write_all(to_hex(&command.ticket).as_bytes()))
        .map_err(|error| not_written(&ticket, &error))?;
    let is_file = command.files.iter().any(|artifact| artifact.name.as_str() == command.program);
    let program = if is_file { work.join(&command.program) } else { PathBuf::from(&command.program) };
    let mut started = Command::new(&program);
    started
        .args(&command.arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(&command.environment)
        .env(environment::TICKET, format!("file:{}", ticket.display()))
        .current_dir(&work)
        .stdin(Stdio::null())
        .process_group(0);
    if !devices.is_empty() {
        let devices = serde_json::to_string(devices)
            .map_err(|error| (ExitCause::LaunchFailed(LaunchFailure::Other), error.to_string()))?;
        started.env(environment::DEVICES, devices);
    }
    if command.supervised {
        started
            .env(environment::ROLE, "guard")
            .env(environment::LOGS, &logs)
            .env(environment::LOG_LIMITS, &command.log_limits)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    } else {
        let file = |name: &str| {
            let path = logs.join(name);
            fs::File::create(&path).map_err(|error| not_written(&path, &error))
        };
        started.stdout(file("stdout.0")?).stderr(file("stderr.0")?);
    }
    started.spawn().map_err(|error| {
        let failure = match LaunchFailure::from_io(&error) {
            LaunchFailure::NoSuchProgram if program.exists() => LaunchFailure::WrongPlatform,
            failure => failure,
        };
        (ExitCause::LaunchFailed(failure), format!("can't start {}: {error}", program.display()))
    })
}

/// The end of what an executor printed on standard error.
pub(super) fn log_tail(folder: &Path) -> Vec<u8> {
    let text = fs::read(folder.join("logs/stderr.0")).unwrap_or_default(); // none was printed
    text[text.len().saturating_sub(4096)..].to_vec()
}

fn place(artifact: &Artifact, work: &Path) -> Result<(), Refusal> {
    let refuse = |why: String| {
        (ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(artifact.name.clone())), why)
    };
    let source = artifact.sources.iter().find_map(|source| match source {
        Source::DriverPath(path) | Source::NodePath(path) => Some(path),
        _ => None,
    });
    let source = source.ok_or_else(|| refuse(format!("{} can be had nowhere", artifact.name)))?;
    let bytes = fs::read(source).map_err(|error| refuse(format!("can't read {source}: {error}")))?;
    let digest = Digest::of(&bytes);
    if digest != artifact.sha256 {
        return Err(refuse(format!("{source} has the SHA-256 {digest}, not {}", artifact.sha256)));
    }
    let to = work.join(artifact.name.as_str());
    let mode = if artifact.executable { 0o755 } else { 0o644 };
    fs::write(&to, bytes)
        .and_then(|()| fs::set_permissions(&to, fs::Permissions::from_mode(mode)))
        .map_err(|error| not_written(&to, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Refusal {
    let failure = match LaunchFailure::from_io(error) {
        LaunchFailure::DiskFull => LaunchFailure::DiskFull,
        _ => LaunchFailure::UnwritableDirectory,
    };
    (ExitCause::LaunchFailed(failure), format!("can't write {}: {error}", path.display()))
}
