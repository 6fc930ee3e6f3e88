//! Fetching a status page: plain HTTP, as the daemons serve it on their own host.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A page larger than this isn't read to its end.
const MOST_BYTES: u64 = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// What the server answers to a GET, headers and all, whatever its status. `address` is `host:port`. Blocks.
///
/// # Errors
/// Where it can't be reached, or doesn't answer within five seconds.
pub fn fetch(address: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_write_timeout(Some(PATIENCE))?;
    write!(server, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n")?;
    let mut answer = Vec::new();
    server.take(MOST_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}
