//! The ticket, and what ties an executor to a driver on the same machine: the end of its standard input.

use std::io::{BufRead, Read};
use std::path::Path;

use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use super::shell::ShellEvent;
use super::start::TicketSource;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::{Secret, from_hex};
use crate::state::supervision::SupervisionEvent;

/// A ticket in hex is far shorter.
const LONGEST_LINE: u64 = 8 * 1024;

/// Reads the ticket. Where it comes from standard input, goes on to read that, and tells its end.
///
/// # Errors
/// `InvalidRequest` for something that is no ticket; `Unavailable` where the input ended before there was one.
pub(super) async fn ticket(source: TicketSource, events: mpsc::Sender<ShellEvent>) -> Result<Secret> {
    match source {
        TicketSource::Inline(ticket) => Ok(ticket),
        TicketSource::File(path) => from_file(&path),
        TicketSource::Input => {
            let (found, ticket) = oneshot::channel();
            // A thread of its own, that blocks: standard input may be anything (a pipe, a terminal, a file), and only
            // pipes and sockets can be waited for in a loop of events.
            std::thread::Builder::new()
                .name("convoke-input".into())
                .spawn(move || {
                    let mut input = std::io::stdin().lock();
                    let mut line = Zeroizing::new(String::new());
                    let read = input.by_ref().take(LONGEST_LINE).read_line(&mut line);
                    let _ = found.send(match read {
                        Err(error) => Err(Error::host("can't read the ticket", error)),
                        Ok(0) => {
                            Err(Error::new(ErrorKind::Unavailable, "its driver is gone: its input ended"))
                        }
                        Ok(_) => parse(&line),
                    });
                    // Whatever else comes is for nobody.
                    let mut rest = [0; 256];
                    while !matches!(input.read(&mut rest), Ok(0) | Err(_)) {}
                    let _ = events.blocking_send(SupervisionEvent::DriverGone.into());
                })
                .map_err(|error| Error::host("can't start a thread", error))?;
            ticket.await.map_err(|_| Error::internal("the reader of the input ended"))?
        }
    }
}

fn from_file(path: &Path) -> Result<Secret> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::host("can't read the ticket", error).with("file", path.display()))?;
    parse(&Zeroizing::new(text))
}

fn parse(line: &str) -> Result<Secret> {
    from_hex(line.trim())
        .filter(|ticket| !ticket.is_empty())
        .map(Secret::new)
        .ok_or_else(|| Error::invalid("ticket", "not a ticket in hexadecimal digits"))
}
