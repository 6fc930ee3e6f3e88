//! Starting the program, and its link.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fd::OwnedFd;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::ahead::Ahead;
use super::output::Output;
use super::shell::ShellEvent;
use crate::executor::environment::{PRIVATE, ROLE};
use crate::executor::link::{LineReader, ProgramSetup, ToProgram, ToSupervisor};
use crate::manager::LogStream;
use crate::process::spawn::{self, NotStarted};
use crate::state::supervision::SupervisionEvent;

/// Of its standard error, a failed task carries so much.
const TOLD_TAIL_BYTES: usize = 4 << 10;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    /// Its process.
    pub(super) process: u32,
    /// What it is told.
    pub(super) orders: mpsc::Sender<ToProgram>,
    /// Each closes when its stream of output has ended.
    pub(super) outputs: Vec<mpsc::Receiver<()>>,
    /// The ports that it was given, by name: of one that doesn't link convoke.
    pub(super) ports: BTreeMap<String, u32>,
}

/// Starts the program of an executor: `fetched`, or this very binary. That is the copy of this process that was made ahead, unless
/// the program is to find another environment, which what happens before `main` may read.
///
/// # Errors
/// Why it can't be started, for the account.
pub(super) fn start(
    fetched: Option<&Path>,
    setup: ProgramSetup,
    environment: BTreeMap<String, String>,
    ahead: Option<Ahead>,
    output: &Output,
    events: &mpsc::Sender<ShellEvent>,
) -> Result<Program, NotStarted> {
    let path = fetched.map_or_else(spawn::own_program, Path::to_path_buf);
    let failed = |error: std::io::Error| NotStarted::of(&path.to_string_lossy(), &error);
    let (process, link, outputs) = match ahead.filter(|_| fetched.is_none() && environment.is_empty()) {
        Some(Ahead { process, link, stdout, stderr }) => {
            let outputs = pump(Some(stdout), Some(stderr), output, |_| {}).map_err(failed)?;
            (process, link, outputs)
        }
        None => {
            let (link, theirs) = UnixStream::pair().map_err(failed)?;
            let mut command = spawn::command_of(&path);
            for name in PRIVATE {
                command.env_remove(name);
            }
            command.envs(environment).env(ROLE, "program").stdin(OwnedFd::from(theirs));
            let (process, outputs) = spawn_piped(&mut command, output, |_| {}).map_err(failed)?;
            // Closes our copy of its end: when it is gone, the link ends.
            drop(command);
            (process, link, outputs)
        }
    };
    link.set_nonblocking(true).map_err(failed)?;
    let link = tokio::net::UnixStream::from_std(link).map_err(failed)?;
    let (orders, queue) = mpsc::channel(8);
    tokio::task::spawn_local(converse(setup, link, queue, output.clone(), events.clone()));
    Ok(Program { process, orders, outputs, ports: BTreeMap::new() })
}

/// Starts `command` in a process group of its own (a signal to the supervisor's is no signal to it), with its output
/// going to `output`.
pub(super) fn spawn_piped(
    command: &mut Command,
    output: &Output,
    seen: impl FnMut(&[u8]) + Send + Clone + 'static,
) -> std::io::Result<(u32, Vec<mpsc::Receiver<()>>)> {
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let outputs = pump(child.stdout.take(), child.stderr.take(), output, seen)?;
    // Its exit is taken by whoever reaps all children.
    Ok((child.id(), outputs))
}

fn pump(
    stdout: Option<impl Into<OwnedFd>>,
    stderr: Option<impl Into<OwnedFd>>,
    output: &Output,
    seen: impl FnMut(&[u8]) + Send + Clone + 'static,
) -> std::io::Result<Vec<mpsc::Receiver<()>>> {
    let mut outputs = Vec::new();
    if let Some(stdout) = stdout {
        outputs.push(output.pump(stdout, LogStream::Stdout, seen.clone()).map_err(std::io::Error::other)?);
    }
    if let Some(stderr) = stderr {
        outputs.push(output.pump(stderr, LogStream::Stderr, seen).map_err(std::io::Error::other)?);
    }
    Ok(outputs)
}

/// Tells the program what it is and what to do, and hears it.
async fn converse(
    setup: ProgramSetup,
    link: tokio::net::UnixStream,
    mut orders: mpsc::Receiver<ToProgram>,
    output: Output,
    events: mpsc::Sender<ShellEvent>,
) {
    let (inbound, mut outbound) = link.into_split();
    let (asked, mut questions) = mpsc::channel(1);
    let telling = async move {
        let mut next = Some(ToProgram::Setup(Box::new(setup)));
        while let Some(message) = next {
            let Ok(mut line) = serde_json::to_vec(&message) else { return };
            line.push(b'\n');
            if outbound.write_all(&line).await.is_err() {
                return; // it is gone, or going
            }
            next = tokio::select! {
                order = orders.recv() => order,
                Some(()) = questions.recv() => Some(ToProgram::LogTail { text: output.tail_text(TOLD_TAIL_BYTES) }),
            };
        }
    };
    let hearing = async move {
        let mut lines = LineReader::new(inbound);
        loop {
            let event = match lines.next::<ToSupervisor>().await {
                Ok(Some(ToSupervisor::Attached)) => SupervisionEvent::ProgramReady(Default::default()),
                Ok(Some(ToSupervisor::Alive)) => SupervisionEvent::ProgramAlive,
                Ok(Some(ToSupervisor::LogTail)) => {
                    // One that is asked for and not sent yet answers this, too.
                    let _ = asked.try_send(());
                    continue;
                }
                Ok(Some(ToSupervisor::Failed { message })) => SupervisionEvent::ProgramFailed(message),
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "the program's link broke");
                    return;
                }
            };
            if events.send(event.into()).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(telling, hearing);
}
