//! Brings the streams of several executors onto one standard output, line by line.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};

use convoke::ids::ExecutorId;
use convoke::manager::{LogStream, Missing};
use convoke::{Error, Result};

use super::source::Piece;

/// A line without an end is printed when it is so long.
const LONGEST_LINE: usize = 64 << 10;

/// Prints pieces.
pub struct Printer {
    /// One stream alone: byte for byte.
    bare: bool,
    /// What has no line end yet.
    begun: BTreeMap<(ExecutorId, bool), Vec<u8>>,
}

impl Printer {
    /// Prints the bytes themselves where they are `bare`, else whole lines, each with its origin.
    pub fn new(bare: bool) -> Printer {
        Printer { bare, begun: BTreeMap::new() }
    }

    /// Prints; `false`: nobody reads any more.
    pub fn take(&mut self, piece: Piece) -> Result<bool> {
        match piece.missing {
            Missing::Nothing => {}
            Missing::Bytes(bytes) => {
                eprintln!("convoke: {bytes} bytes of executor {} are no longer kept", piece.executor)
            }
            Missing::Unknown => {
                eprintln!("convoke: some of what executor {} printed is no longer kept", piece.executor)
            }
        }
        if self.bare {
            return written(&piece.bytes);
        }
        let error = piece.stream == LogStream::Stderr;
        let line = self.begun.entry((piece.executor, error)).or_default();
        let mut out = Vec::new();
        for byte in piece.bytes {
            line.push(byte);
            if byte == b'\n' || line.len() >= LONGEST_LINE {
                out.extend(prefix(piece.executor, error));
                out.append(line);
                if !out.ends_with(b"\n") {
                    out.push(b'\n');
                }
            }
        }
        written(&out)
    }

    /// Prints what had no line end.
    pub fn end(&mut self) -> Result<()> {
        for ((executor, error), line) in std::mem::take(&mut self.begun) {
            if !line.is_empty() {
                written(&[prefix(executor, error), line, b"\n".to_vec()].concat())?;
            }
        }
        Ok(())
    }
}

fn prefix(executor: ExecutorId, error: bool) -> Vec<u8> {
    format!("[{executor} {}] ", if error { "err" } else { "out" }).into_bytes()
}

fn written(bytes: &[u8]) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::host("can't write to standard output", error)),
    }
}
