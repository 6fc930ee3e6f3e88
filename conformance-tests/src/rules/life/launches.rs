//! L3: launches that fail, each in its own way.

use std::sync::Arc;

use convoke_core::Error;
use convoke_core::ids::Name;
use convoke_core::manager::{Artifact, Exit, ExitCause, LaunchFailure, Program};
use convoke_core::secret::Digest;

use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::launcher::Tweak;
use crate::verdict::{Checked, Evidence, Finding};

async fn launched(context: &Context, tweak: Tweak) -> Result<Exit, Finding> {
    let application = context.register_as(Setup { tweak: Some(tweak), ..Setup::default() }).await?;
    application.target(1)?;
    first_exit(context, &application, context.deadline(DeadlineName::Launch)).await
}

/// A program that isn't there is a launch failure that names it.
pub(super) async fn no_such_program(context: Context) -> Checked {
    let program = "/nonexistent/convoke-no-such-program";
    let exit = launched(
        &context,
        Arc::new(move |_, mut command| {
            command.program = Program::OnNode(program.to_owned());
            command
        }),
    )
    .await?;
    expect(&exit, "no such program", &LaunchFailure::NoSuchProgram, program)
}

/// A file that can't be executed is one too.
pub(super) async fn not_executable(context: Context) -> Checked {
    let exit = launched(
        &context,
        Arc::new(|_, mut command| {
            command.program = Program::OnNode("/etc/passwd".to_owned());
            command
        }),
    )
    .await?;
    expect(&exit, "a text file", &LaunchFailure::NotExecutable, "/etc/passwd")
}

/// A program of another kind of machine is one that says so.
pub(super) async fn wrong_platform(context: Context) -> Checked {
    // an ELF header, and nothing that any machine could run
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(4096, 0);
    let (_folder, file) = file(&context, "for-another-machine", &bytes)?;
    let name = file.name.clone();
    let exit = launched(
        &context,
        Arc::new(move |_, mut command| {
            command.program = Program::File(file.name.clone());
            command.files = vec![file.clone()];
            command
        }),
    )
    .await?;
    expect(&exit, "a program for another machine", &LaunchFailure::WrongPlatform, name.as_str())
}

/// A file that is gone by the time that it is needed is named.
pub(super) async fn artifact_gone(context: Context) -> Checked {
    let (folder, file) = file(&context, "gone.dat", b"soon gone")?;
    let name = file.name.clone();
    drop(folder); // with the file
    let exit = launched(
        &context,
        Arc::new(move |_, mut command| {
            command.files = vec![file.clone()];
            command
        }),
    )
    .await?;
    expect(&exit, "a file that is gone", &LaunchFailure::ArtifactUnavailable(name.clone()), name.as_str())
}

fn file(context: &Context, name: &str, bytes: &[u8]) -> Result<(tempfile::TempDir, Artifact), Finding> {
    let could_not = |error: std::io::Error| Finding::CouldNotRun(Error::host("a file of the kit's", error));
    let folder = tempfile::tempdir().map_err(could_not)?;
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).map_err(could_not)?;
    let artifact = Artifact {
        name: Name::new(name).map_err(Finding::CouldNotRun)?,
        sha256: Digest::of(bytes),
        bytes: bytes.len() as u64,
        executable: true,
        sources: context.sources(&path),
    };
    Ok((folder, artifact))
}

fn expect(exit: &Exit, what: &str, failure: &LaunchFailure, named: &str) -> Checked {
    match &exit.cause {
        ExitCause::LaunchFailed(found) if found == failure => {}
        // A manager whose own fetcher failed may know of the file only what that printed.
        ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(_))
            if matches!(failure, LaunchFailure::ArtifactUnavailable(_)) => {}
        _ => return Err(Finding::failed("wrong cause", format!("{what}, and it exited with {exit:?}"))),
    }
    let log = String::from_utf8_lossy(&exit.log_tail);
    if !exit.to_string().contains(named) && !log.contains(named) {
        return Err(Finding::failed("unhelpful", format!("the message does not name {named}: {exit}")));
    }
    Ok(Evidence::new().with("exit", exit.to_string()))
}

/// The first exit of an application.
pub(super) async fn first_exit(
    context: &Context,
    application: &Driven,
    within: std::time::Duration,
) -> Result<Exit, Finding> {
    context
        .eventually("an exit", within, async || {
            application.told(|v| {
                v.executors.values().find_map(|told| told.exited.clone()).ok_or_else(|| v.summary())
            })
        })
        .await
}
