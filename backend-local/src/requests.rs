//! What an application's driver is asked by other processes of its user, over a pipe with a name: to end the application.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::task::AbortHandle;

use crate::application::Shared;

/// Before the name of whoever asks for the end.
const KILL: &str = "kill ";

/// Listens until the application is asked to end.
pub(crate) fn listen(shared: &Arc<Shared>) -> AbortHandle {
    let path = shared.folder.requests();
    let application = Arc::downgrade(shared);
    let listening = tokio::spawn(async move {
        match asked(&path).await {
            Ok(who) => {
                if let Some(application) = application.upgrade() {
                    application.killed_by(who).await;
                }
            }
            Err(error) => {
                tracing::warn!(pipe = %path.display(), %error, "the application can't be ended from outside");
            }
        }
    });
    listening.abort_handle()
}

async fn asked(path: &Path) -> io::Result<String> {
    let receiver = pipe::OpenOptions::new().open_receiver(path)?;
    // With a writer of our own the pipe has no end when others close theirs.
    let _open = pipe::OpenOptions::new().open_sender(path)?;
    let mut lines = BufReader::new(receiver).lines();
    while let Some(line) = lines.next_line().await? {
        match line.strip_prefix(KILL) {
            Some(who) => return Ok(who.to_owned()),
            None => tracing::warn!(line, "the application is asked for something unknown"),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Asks the driver that listens at `path` to end its application. `false`: nobody listens (yet).
pub(crate) fn ask_to_end(path: &Path, who: &str) -> io::Result<bool> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut pipe = match OpenOptions::new().write(true).custom_flags(nonblocking).open(path) {
        Ok(pipe) => pipe,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
            return Ok(false);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    pipe.write_all(format!("{KILL}{who}\n").as_bytes())?;
    Ok(true)
}
