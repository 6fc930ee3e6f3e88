use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use convoke::{Error, Result};

/// Prints to standard output; a reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::host("can't write to standard output", error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
