//! D8: what travels besides tasks arrives whole or not at all.

use std::sync::Arc;

use convoke_core::Error;
use convoke_core::ids::Name;
use convoke_core::manager::{Artifact, ExitCause, LaunchFailure, Source};
use convoke_core::secret::Digest;

use crate::application::Setup as Application;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::runtime::subject::{Runtime, Setup};
use crate::runtime::tasks::{digest, fill};
use crate::verdict::{Checked, Evidence, Finding};

pub(super) async fn large(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        let mut bytes = 0;
        for size in [300 << 10, (1 << 20) + 1, 3 << 20] {
            let argument: Vec<u8> = (0..size).map(|place: usize| (place % 251) as u8).collect();
            let meant = Digest::of(&argument).to_string();
            let arrived =
                runtime.within("a large argument arrives", runtime.driver.submit(digest, argument)).await?;
            let arrived = arrived.map_err(|error| Finding::failed("not whole", format!("{error:#}")))?;
            if arrived != meant {
                return Err(Finding::failed(
                    "not whole",
                    format!("an argument of {size} bytes arrived as another"),
                ));
            }
            let count = u32::try_from(size).unwrap_or(u32::MAX);
            let result = runtime.within("a large result arrives", runtime.driver.submit(fill, count)).await?;
            let result = result.map_err(|error| Finding::failed("not whole", format!("{error:#}")))?;
            if result.len() != size || result.iter().any(|byte| u32::from(*byte) != count % 256) {
                return Err(Finding::failed(
                    "not whole",
                    format!("a result of {size} bytes arrived as another"),
                ));
            }
            bytes += 2 * size;
        }
        Ok(Evidence::new().with("bytes", bytes))
    })
    .await
}

pub(super) async fn wrong_digest(context: Context) -> Checked {
    let could_not = |error: std::io::Error| Finding::CouldNotRun(Error::host("a file of the kit's", error));
    let folder = tempfile::tempdir().map_err(could_not)?;
    let path = folder.path().join("data");
    std::fs::write(&path, b"other bytes than were meant").map_err(could_not)?;
    let file = Artifact {
        name: Name::new("data").map_err(Finding::CouldNotRun)?,
        sha256: Digest::of(b"the bytes that were meant"),
        bytes: 25,
        executable: false,
        sources: vec![Source::DriverPath(path.display().to_string())],
    };
    let setup = Application {
        tweak: Some(Arc::new(move |_, mut command| {
            command.files = vec![file.clone()];
            command
        })),
        ..Application::default()
    };
    let application = context.register_as(setup).await?;
    application.target(1)?;
    let within = context.deadline(DeadlineName::Launch);
    let exit = context
        .eventually("the launch fails", within, async || {
            application.told(|view| {
                let failed = view.executors.values().find_map(|executor| executor.exited.clone());
                failed.ok_or_else(|| view.summary())
            })
        })
        .await?;
    let began = context.witness().ever(application.id());
    if began > 0 {
        return Err(Finding::failed(
            "not whole",
            format!("{began} executors started with a file of another digest"),
        ));
    }
    if !matches!(exit.cause, ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(_))) {
        return Err(Finding::failed("wrong cause", format!("a file of another digest is told as {exit}")));
    }
    Ok(Evidence::new().with("exit", exit.to_string()).with("started", began))
}
