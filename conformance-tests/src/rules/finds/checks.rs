//! E1, E4: what an executor finds.

use std::sync::Arc;

use convoke_core::ids::Name;
use convoke_core::manager::Artifact;
use convoke_core::secret::Digest;
use convoke_core::{Error, executor::environment};

use crate::application::Setup;
use crate::context::Context;
use crate::verdict::{Checked, Evidence, Finding};

const ODD: [&str; 8] =
    ["two words", "quo\"te", "apo'strophe", "$HOME", "`id`", "Größe→ß", "a\\b;c|d&e*?", " lead and trail "];

/// E1: arguments, environment and files arrive byte for byte.
pub(super) async fn byte_for_byte(context: Context) -> Checked {
    let could_not = |error: std::io::Error| Finding::CouldNotRun(Error::host("a file of the kit's", error));
    let folder = tempfile::tempdir().map_err(could_not)?;
    let mut files = Vec::new();
    for (name, executable) in [("plain data.txt", false), ("it's a \"tool\" für uns", true)] {
        let bytes = format!("the bytes of {name}\n\0\u{1}").into_bytes();
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes).map_err(could_not)?;
        files.push(Artifact {
            name: Name::new(name).map_err(Finding::CouldNotRun)?,
            sha256: Digest::of(&bytes),
            bytes: bytes.len() as u64,
            executable,
            sources: context.sources(&path),
        });
    }
    let sent = files.clone();
    let setup = Setup {
        tweak: Some(Arc::new(move |_, mut command| {
            command.args.extend(ODD.map(str::to_owned));
            for (number, value) in ODD.iter().enumerate() {
                command.env.insert(format!("ODD_{number}"), (*value).to_owned());
            }
            command.files = sent.clone();
            command
        })),
        ..Setup::default()
    };
    let application = context.register_as(setup).await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let found = application.found(executors[0]).await?;
    let tail = found.arguments.len().saturating_sub(ODD.len());
    if found.arguments[tail..] != ODD {
        return Err(Finding::failed("arguments", format!("{:?}", &found.arguments[tail..])));
    }
    for (number, value) in ODD.iter().enumerate() {
        let got = found.environment.get(&format!("ODD_{number}"));
        if got.map(String::as_str) != Some(*value) {
            return Err(Finding::failed("environment", format!("{value:?} became {got:?}")));
        }
    }
    for file in &files {
        let there = found.files.iter().find(|there| there.name == file.name.as_str());
        let there = there.ok_or_else(|| {
            Finding::failed("files", format!("{} is not in {}: {:?}", file.name, found.folder, found.files))
        })?;
        if there.sha256 != file.sha256.to_string() || there.executable != file.executable {
            return Err(Finding::failed("files", format!("{there:?}, not {file:?}")));
        }
    }
    Ok(Evidence::new().with("arguments", ODD.len()).with("files", files.len()))
}

/// E4: the standard names say who it is.
pub(super) async fn names(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executors = application.settled(1).await?;
    let found = application.found(executors[0]).await?;
    for (name, expected) in [
        (environment::DRIVER, context.driver_address().to_owned()),
        (environment::APPLICATION, application.id().to_string()),
        (environment::EXECUTOR, executors[0].0.to_string()),
        (environment::PROFILE, "0".to_owned()),
        (environment::INCARNATION, "1".to_owned()),
    ] {
        let got = found.environment.get(name);
        if got != Some(&expected) {
            return Err(Finding::failed("environment", format!("{name} is {got:?}, not {expected:?}")));
        }
    }
    Ok(Evidence::new().with("names", 5))
}
