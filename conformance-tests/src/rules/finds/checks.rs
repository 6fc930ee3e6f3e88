//! E1, E2, E4: what an executor finds, and what it prints.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::ids::Name;
use convoke_core::manager::{Artifact, LogFrom, LogRequest, LogStream, Source};
use convoke_core::secret::Digest;
use convoke_core::{Error, executor::environment};
use futures_util::StreamExt;

use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::probe::wire::ToProbe;
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
            // whoever runs executors on this host may take it from there
            sources: vec![
                Source::DriverPath(path.display().to_string()),
                Source::NodePath(path.display().to_string()),
            ],
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

/// E2: output can be read while it runs, from a position, its end, and after its end.
pub(super) async fn logs(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    let print = |text: &str, to_stderr| ToProbe::Print { to_stderr, text: text.to_owned(), times: 1 };
    application.ask(executor, print("first line\n", false)).await?;
    application.ask(executor, print("trouble\n", true)).await?;
    let within = context.deadline(DeadlineName::Settle);
    let whole = read_until(
        &context,
        &application,
        executor,
        LogStream::Stdout,
        LogFrom::Start,
        "first line\n",
        within,
    )
    .await?;
    application.ask(executor, print("second line\n", false)).await?;
    read_until(
        &context,
        &application,
        executor,
        LogStream::Stdout,
        LogFrom::After(whole),
        "second line\n",
        within,
    )
    .await?;
    read_until(&context, &application, executor, LogStream::Stdout, LogFrom::Last(5), "line\n", within)
        .await?;
    read_until(&context, &application, executor, LogStream::Stderr, LogFrom::Start, "trouble\n", within)
        .await?;
    application.target(0)?;
    application.order(executor, ToProbe::Exit(0))?;
    application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    let all = "first line\nsecond line\n";
    read_until(&context, &application, executor, LogStream::Stdout, LogFrom::Start, all, within).await?;
    Ok(Evidence::new().with("bytes", all.len()))
}

/// Reads until exactly `expected` was read; answers the position behind it.
async fn read_until(
    context: &Context,
    application: &Driven,
    executor: convoke_core::ids::ExecutorId,
    stream: LogStream,
    from: LogFrom,
    expected: &str,
    within: Duration,
) -> Result<convoke_core::manager::LogPosition, Finding> {
    let handle = application.handle()?;
    let what = format!("{stream:?} of {executor:?} from {from:?} is {expected:?}");
    context
        .eventually(&what, within, async || {
            let request = LogRequest { stream, from: from.clone(), follow: false };
            let mut chunks = handle.logs(executor, request).await.map_err(|error| format!("{error:#}"))?;
            let (mut text, mut end) = (Vec::new(), None);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| format!("{error:#}"))?;
                text.extend_from_slice(&chunk.bytes);
                end = Some(chunk.end);
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            match end {
                Some(end) if text == expected => Ok(end),
                _ => Err(format!("{text:?}")),
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("logs", seen),
            other => other,
        })
}
