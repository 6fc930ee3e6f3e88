//! E2: what executors print.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::ids::ExecutorId;
use convoke_core::manager::{LogChunk, LogFrom, LogLimits, LogPosition, LogRequest, LogStream, Missing};
use convoke_core::units::MiB;
use futures_util::StreamExt;

use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::probe::wire::ToProbe;
use crate::verdict::{Checked, Evidence, Finding};

fn print(text: &str, to_stderr: bool) -> ToProbe {
    ToProbe::Print { to_stderr, text: text.to_owned(), times: 1 }
}

/// Output can be read while it runs, from a position, its end, and after its end.
pub(super) async fn positions(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    application.ask(executor, print("first line\n", false)).await?;
    application.ask(executor, print("trouble\n", true)).await?;
    let read = async |stream, from, expected| {
        read_until(&context, &application, executor, stream, from, expected).await
    };
    let whole = read(LogStream::Stdout, LogFrom::Start, "first line\n").await?;
    application.ask(executor, print("second line\n", false)).await?;
    read(LogStream::Stdout, LogFrom::After(whole), "second line\n").await?;
    read(LogStream::Stdout, LogFrom::Last(5), "line\n").await?;
    read(LogStream::Stderr, LogFrom::Start, "trouble\n").await?;
    application.target(0)?;
    application.order(executor, ToProbe::Exit(0))?;
    application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    let all = "first line\nsecond line\n";
    read(LogStream::Stdout, LogFrom::Start, all).await?;
    Ok(Evidence::new().with("bytes", all.len()))
}

/// Who follows reads what is printed later, up to the executor's end, and then the stream ends.
pub(super) async fn followed(context: Context) -> Checked {
    let application = context.register().await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    application.ask(executor, print("before\n", false)).await?;
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow: true };
    let chunks = application.handle()?.logs(executor, request).await?;
    let following = tokio::spawn(chunks.map(|chunk| chunk.map(|chunk| chunk.bytes)).collect::<Vec<_>>());
    for line in ["then\n", "at last\n"] {
        application.ask(executor, print(line, false)).await?;
    }
    application.target(0)?;
    application.order(executor, ToProbe::Exit(0))?;
    application.exit_of(executor, context.deadline(DeadlineName::Exit)).await?;
    let within = context.deadline(DeadlineName::Exit);
    let followed = tokio::time::timeout(within, following)
        .await
        .map_err(|_| Finding::failed("never ends", "it has exited, and following its log goes on"))?
        .map_err(|error| Finding::failed("logs", format!("following a log: {error}")))?;
    let mut text = Vec::new();
    for bytes in followed {
        text.extend_from_slice(&bytes?);
    }
    let text = String::from_utf8_lossy(&text);
    if text != "before\nthen\nat last\n" {
        return Err(Finding::failed("logs", format!("who followed read {text:?}")));
    }
    Ok(Evidence::new().with("followed_bytes", text.len()))
}

/// So many lines of this length are printed, in several files' worth.
const LINES: u32 = 30_000;
const LINE_BYTES: u64 = 100;

/// Output that was rolled over reads on without a seam, and what is no longer kept is said, with its size where known.
pub(super) async fn rotated(context: Context) -> Checked {
    let limits = LogLimits { file: MiB(1), rolled: 1 };
    let setup = Setup {
        tweak: Some(Arc::new(move |_, mut command| {
            command.logs = limits.clone();
            command
        })),
        ..Setup::default()
    };
    let application = context.register_as(setup).await?;
    application.target(1)?;
    let executor = application.settled(1).await?[0];
    let mut text = String::new();
    for number in 0..LINES {
        text.push_str(&format!("{number:0>width$}\n", width = LINE_BYTES as usize - 1));
    }
    application.ask(executor, print(&text, false)).await?;
    let last = &text[text.len() - LINE_BYTES as usize..];
    // what was printed may be on its way still
    read_until(&context, &application, executor, LogStream::Stdout, LogFrom::Last(LINE_BYTES), last).await?;
    let chunks = read(&application, executor, LogStream::Stdout, LogFrom::Start).await.map_err(logs)?;
    let (mut place, mut missing, mut unknown) = (0_u64, 0_u64, false);
    for chunk in &chunks {
        match chunk.missing {
            Missing::Nothing => {}
            Missing::Bytes(bytes) => {
                missing += bytes;
                place += bytes;
            }
            Missing::Unknown => unknown = true,
        }
        if unknown {
            // where it goes on, the text itself says
            place = text
                .find(&*String::from_utf8_lossy(&chunk.bytes[..chunk.bytes.len().min(300)]))
                .unwrap_or(0) as u64;
        }
        let end = place + chunk.bytes.len() as u64;
        let printed = text.as_bytes().get(place as usize..end as usize);
        if printed != Some(&chunk.bytes[..]) {
            return Err(Finding::failed(
                "logs",
                format!("bytes {place} to {end} are not what was printed there"),
            ));
        }
        place = end;
    }
    if place != text.len() as u64 {
        return Err(Finding::failed("logs", format!("{place} of {} bytes are accounted for", text.len())));
    }
    Ok(Evidence::new()
        .with("printed_bytes", text.len())
        .with("no_longer_kept_bytes", if unknown { "unknown".to_owned() } else { missing.to_string() }))
}

async fn read(
    application: &Driven,
    executor: ExecutorId,
    stream: LogStream,
    from: LogFrom,
) -> Result<Vec<LogChunk>, String> {
    let handle = application.handle().map_err(|finding| format!("{finding:?}"))?;
    let request = LogRequest { stream, from, follow: false };
    let mut chunks = handle.logs(executor, request).await.map_err(|error| format!("{error:#}"))?;
    let mut read = Vec::new();
    while let Some(chunk) = chunks.next().await {
        read.push(chunk.map_err(|error| format!("{error:#}"))?);
    }
    Ok(read)
}

fn logs(seen: String) -> Finding {
    Finding::failed("logs", seen)
}

/// Reads until exactly `expected` was read; answers the position behind it.
async fn read_until(
    context: &Context,
    application: &Driven,
    executor: ExecutorId,
    stream: LogStream,
    from: LogFrom,
    expected: &str,
) -> Result<LogPosition, Finding> {
    let within: Duration = context.deadline(DeadlineName::Settle);
    let what =
        format!("{stream:?} of {executor:?} from {from:?} is {:?}", &expected[..expected.len().min(80)]);
    context
        .eventually(&what, within, async || {
            let chunks = read(application, executor, stream, from.clone()).await?;
            let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
            let text = String::from_utf8_lossy(&text).into_owned();
            match chunks.last() {
                Some(last) if text == expected => Ok(last.end.clone()),
                _ => Err(format!("{:?}", text.chars().take(200).collect::<String>())),
            }
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => logs(seen),
            other => other,
        })
}
