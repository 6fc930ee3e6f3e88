//! The program: what runs tasks.

use std::os::unix::net::UnixStream;

use super::link::{LineReader, ProgramSetup, ToProgram, ToSupervisor};
use crate::error::{Error, Result};

/// Runs as the program of an executor until it is drained or its supervisor is gone; says the exit code.
///
/// Called on a thread of its own with no runtime. `link` is all that ties it to its supervisor: its end means the end.
pub(crate) fn run(setup: ProgramSetup, link: UnixStream) -> i32 {
    match live(&setup, link) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("convoke: the executor's program can't go on: {error:#}");
            1
        }
    }
}

fn live(setup: &ProgramSetup, link: UnixStream) -> Result<()> {
    let failed = |error| Error::host("the link failed", error);
    link.set_nonblocking(true).map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let (inbound, outbound) = tokio::net::UnixStream::from_std(link).map_err(failed)?.into_split();
        let mut orders = LineReader::new(inbound);
        say(&outbound, &ToSupervisor::Attached).await?;
        let mut interval = tokio::time::interval(setup.heartbeat_interval);
        loop {
            tokio::select! {
                order = orders.next::<ToProgram>() => match order? {
                    Some(ToProgram::Setup(_)) => {}
                    Some(ToProgram::Drain) | None => return Ok(()),
                },
                _ = interval.tick() => say(&outbound, &ToSupervisor::Alive).await?,
            }
        }
    })
}

async fn say(outbound: &tokio::net::unix::OwnedWriteHalf, message: &ToSupervisor) -> Result<()> {
    let mut line = serde_json::to_vec(message).map_err(|error| Error::internal("a message").source(error))?;
    line.push(b'\n');
    let mut rest = &line[..];
    while !rest.is_empty() {
        outbound.writable().await.map_err(|error| Error::host("the link failed", error))?;
        match outbound.try_write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::host("the link failed", error)),
        }
    }
    Ok(())
}
