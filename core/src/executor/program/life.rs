//! The life of an executor's program: attach, obey, say that it is alive, drain, end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::engine::Engine;
use super::log_tail::LogTail;
use super::stream;
use crate::error::{Error, Result};
use crate::executor::link::{ProgramSetup, ToProgram, ToSupervisor};

/// What the supervisor wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    Drain,
    End,
}

/// One line of the link is never longer.
const MOST_LINE_BYTES: u64 = 64 << 10;

pub(super) fn live(setup: &ProgramSetup, link: UnixStream) -> Result<()> {
    let failed = |error| Error::host("the link to the supervisor failed", error);
    link.set_nonblocking(false).map_err(failed)?;
    let mut outbound = link.try_clone().map_err(failed)?;
    let (wishes, wish) = watch::channel(Wish::Run);
    let log_tail = Arc::new(LogTail::new(link.try_clone().map_err(failed)?));
    let hears = Arc::clone(&log_tail);
    std::thread::Builder::new()
        .name("convoke-link".into())
        .spawn(move || listen(link, &wishes, &hears))
        .map_err(|error| Error::host("can't start a thread", error))?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let pulse = Arc::new(Pulse::default());
    let result = runtime.block_on(async {
        let beats = Arc::clone(&pulse);
        tokio::spawn(async move { beats.answer().await });
        let attached = {
            let pulse = Arc::clone(&pulse);
            let interval = setup.heartbeat_interval;
            let outbound = outbound.try_clone().map_err(failed)?;
            move || beat(outbound, &pulse, interval)
        };
        stream::serve(setup, wish, setup.log_kept.then_some(log_tail), attached).await
    });
    if let Err(error) = &result {
        let message = format!("{error:#}");
        // Its supervisor may be gone; then nobody asks.
        let _ = say(&mut outbound, &ToSupervisor::Failed { message });
    }
    // Tasks that ignore their end, and whatever they started, don't keep the process.
    runtime.shutdown_background();
    result
}

fn listen(link: UnixStream, wishes: &watch::Sender<Wish>, log_tail: &LogTail) {
    let mut lines = BufReader::new(link);
    loop {
        let mut line = Vec::new();
        let read = lines.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line);
        if !matches!(read, Ok(1..)) || line.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(&line) {
            Ok(ToProgram::LogTail { text }) => log_tail.answered(text),
            Ok(ToProgram::Drain) => drop(wishes.send(Wish::Drain)),
            Ok(ToProgram::Setup(_)) => tracing::warn!("the supervisor sent a second setup"),
            Err(error) => tracing::warn!(%error, "the supervisor sent a line that is no order"),
        }
    }
    // The end of the link is the end of the supervisor.
    let _ = wishes.send(Wish::End);
}

/// Says that the stream is attached, and from then on that the control loop lives, from a thread of its own: neither tasks
/// nor a full window delay it.
fn beat(mut outbound: UnixStream, pulse: &Arc<Pulse>, interval: Duration) -> Result<()> {
    say(&mut outbound, &ToSupervisor::Attached).map_err(|error| Error::host("the link failed", error))?;
    let pulse = Arc::clone(pulse);
    let beating = move || {
        loop {
            let moved = pulse.moved_since_asked();
            pulse.ask();
            if moved && say(&mut outbound, &ToSupervisor::Alive).is_err() {
                return; // the supervisor is gone; the listener ends the program
            }
            std::thread::sleep(interval);
        }
    };
    let thread = std::thread::Builder::new().name("convoke-pulse".into()).spawn(beating);
    thread.map(drop).map_err(|error| Error::host("can't start a thread", error))
}

fn say(outbound: &mut UnixStream, message: &ToSupervisor) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    outbound.write_all(&line)
}

/// A question to the control loop, and its answer.
#[derive(Debug, Default)]
struct Pulse {
    asked: AtomicU64,
    answered: AtomicU64,
    question: Notify,
}

impl Pulse {
    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.question.notify_one();
    }

    fn moved_since_asked(&self) -> bool {
        self.answered.load(Ordering::Relaxed) == self.asked.load(Ordering::Relaxed)
    }

    async fn answer(&self) {
        loop {
            self.question.notified().await;
            self.answered.store(self.asked.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Waits until nothing runs and all is told.
pub(super) async fn idle(engine: &Engine) {
    // The one moment when a poll is good enough: a drain is rare and ends by itself.
    while !engine.is_idle() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.outbox().close();
}
