//! E3: who can read a ticket.

use std::path::PathBuf;

use convoke_core::ids::ExecutorId;
use convoke_core::manager::{LogFrom, LogRequest, LogStream, SecretChannel};
use futures_util::StreamExt;

use crate::context::Context;
use crate::driven::Driven;
use crate::scan::{Leak, Place, Places, Secrets, Seen, Watch};
use crate::verdict::{Checked, Evidence, Finding};

/// No ticket is in a command line, in what the manager shows, in a log, or in a file that others can read.
pub(super) async fn tickets(context: Context) -> Checked {
    context.need_room(2)?;
    let watch = Watch::start(Places::new().processes());
    let application = context.register().await?;
    application.target(2)?;
    let settled = application.settled(2).await;
    let started = tokio::task::spawn_blocking(move || watch.finish());
    let started = started.await.map_err(|error| Finding::failed("panicked", error.to_string()))?;
    let executors = settled?;
    let channel = application.handle()?.info().capabilities.secret_channel;
    let mut secrets = Secrets::new();
    for executor in &executors {
        secrets =
            secrets.secret(format!("the ticket of {executor:?}"), application.ticket(*executor).expose());
    }
    let mut places = Places::new();
    for (name, shown) in shown(&context, &application, &executors).await? {
        places = places.page(name, move || Ok(shown.clone()));
    }
    let here = context.witness().on_this_host();
    if here {
        for executor in &executors {
            let folder = PathBuf::from(application.found(*executor).await?.folder);
            places = places.readable_files(folder.parent().unwrap_or(&folder));
        }
    }
    let mut seen = Seen::default();
    places.look(&mut seen);
    // an environment is its own user's affair: who can read it can read the ticket's file, too
    let is_breach = |leak: &Leak| !matches!(leak.place, Place::Environment { .. });
    let leaks: Vec<Leak> =
        started.leaks(&secrets).into_iter().chain(seen.leaks(&secrets)).filter(is_breach).collect();
    let evidence = Evidence::new()
        .with("channel", format!("{channel:?}"))
        .with("tickets", executors.len())
        .with("processes", if here { started.processes() } else { 0 })
        .with("files", seen.files())
        .with("pages_and_logs", seen.pages());
    match leaks.first() {
        // where there is no private channel they may travel in the open: each is good once, and was used
        Some(leak) if channel == SecretChannel::Visible => Ok(evidence.with("in_the_open", leak.to_string())),
        Some(leak) => Err(Finding::failed("ticket seen", leak.to_string())),
        None => Ok(evidence),
    }
}

/// What the manager shows of an application, to its driver and to others, and what is logged.
async fn shown(
    context: &Context,
    application: &Driven,
    executors: &[ExecutorId],
) -> Result<Vec<(String, Vec<u8>)>, Finding> {
    let mut shown = vec![
        (
            "what the manager says of the application".to_owned(),
            format!("{:?}", application.handle()?.info()),
        ),
        ("the stream of events".to_owned(), application.told(|v| format!("{:?}", v.events))),
        ("what `explain` says".to_owned(), format!("{:?}", application.explain().await?)),
    ];
    if let Ok(report) = context.manager().cluster().await {
        shown.push(("the report on the cluster".to_owned(), format!("{report:?}")));
    }
    if let Ok(lines) = context.hooks().list_existing(application.id().as_str()).await {
        shown.push(("what the manager shows to others".to_owned(), lines.join("\n")));
    }
    let mut shown: Vec<_> = shown.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    if application.handle()?.info().capabilities.logs {
        for executor in executors {
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let log = log(application, *executor, stream).await?;
                shown.push((format!("the {stream:?} of {executor:?}"), log));
            }
        }
    }
    Ok(shown)
}

async fn log(application: &Driven, executor: ExecutorId, stream: LogStream) -> Result<Vec<u8>, Finding> {
    let request = LogRequest { stream, from: LogFrom::Start, follow: false };
    let mut chunks = application.handle()?.logs(executor, request).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?.bytes);
    }
    Ok(bytes)
}
