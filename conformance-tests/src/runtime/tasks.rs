//! What the kit's own drivers run: functions that call the kit when they begin, and do what they are told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use convoke_core::secret::Digest;
use convoke_core::task::TaskContext;
use serde::{Deserialize, Serialize};

/// One task of the kit's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Where the kit counts.
    pub(crate) kit: String,
    /// Of which case it is.
    pub(crate) token: String,
    /// Which task it is, in the kit's own numbers.
    pub(crate) key: u64,
    /// What it does.
    pub(crate) act: Act,
}

/// What a task does once the kit knows that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// Returns its value.
    Return,
    /// Returns an error.
    Fail,
    Panic,
    Exit(i32),
    Abort,
    /// Recurses until its stack is full.
    Overflow,
    /// Kills its own process (signal 9).
    Kill,
    /// Goes on whatever it is told.
    Ignore,
    /// Returns when it is cancelled.
    Cooperate,
    /// Returns when the kit says so.
    Wait,
}

/// What a task gives, and what the kit is told when it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Played {
    pub(crate) token: String,
    pub(crate) key: u64,
    pub(crate) attempt: u32,
    pub(crate) executor: u64,
    pub(crate) process: u32,
    pub(crate) boot: String,
}

/// Calls the kit, and plays its part. The connection is open for as long as the task runs.
#[convoke::task]
pub(crate) fn play(context: &TaskContext, call: Call) -> Result<Played, String> {
    let played = Played {
        token: call.token.clone(),
        key: call.key,
        attempt: context.attempt(),
        executor: context.executor().0,
        process: std::process::id(),
        boot: crate::probe::boot(),
    };
    let stream = tell(&call.kit, &played).map_err(|error| format!("can't call the kit: {error}"))?;
    match call.act {
        Act::Return => {}
        Act::Fail => return Err(format!("task {} fails, as it was told", call.key)),
        Act::Panic => panic!("task {} panics, as it was told", call.key),
        Act::Exit(code) => std::process::exit(code),
        Act::Abort => std::process::abort(),
        Act::Overflow => drop(overflow(call.key)),
        Act::Kill => {
            let killed =
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            return Err(format!("task {} lives on: {killed:?}", call.key));
        }
        Act::Ignore => loop {
            std::thread::sleep(Duration::from_millis(5));
        },
        Act::Cooperate => {
            while !context.is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Act::Wait => {
            let mut line = String::new();
            // the kit hangs up at the end of its case: that ends the wait too
            let _ = BufReader::new(&stream).read_line(&mut line);
        }
    }
    Ok(played)
}

fn tell(kit: &str, played: &Played) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(kit)?;
    stream.set_nodelay(true)?;
    let mut line = serde_json::to_string(played).map_err(std::io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    Ok(stream)
}

#[allow(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> u64 {
    let frame = [depth; 512];
    std::hint::black_box(&frame);
    overflow(depth + 1) + std::hint::black_box(frame[7])
}

/// The length of its argument: what a task of no account costs.
#[convoke::task]
pub(crate) fn measure(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

/// A result of so many bytes, each the number's last.
#[convoke::task]
pub(crate) fn fill(count: u32) -> Vec<u8> {
    vec![(count % 256) as u8; count as usize]
}

/// The digest of its argument, in hex.
#[convoke::task]
pub(crate) fn digest(bytes: Vec<u8>) -> String {
    Digest::of(&bytes).to_string()
}
