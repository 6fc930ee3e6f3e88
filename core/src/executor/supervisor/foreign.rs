//! Programs that don't link convoke (D14): their ports, their start, and when they are ready.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::output::Output;
use super::ports::Ports;
use super::program::{self, Program};
use super::shell::ShellEvent;
use crate::executor::environment::{PRIVATE, ROLE};
use crate::process::limits::ProcessLimits;
use crate::process::spawn::{self, ExecPlan, NotStarted};
use crate::process::table::Entry;
use crate::rpc::v1;
use crate::rpc::v1::foreign_program::Ready;
use crate::state::supervision::SupervisionEvent;

/// How often the port of a program that is coming up is tried, and how often it is seen whether the program is stopped.
const LOOK: Duration = Duration::from_millis(50);
/// A line of output longer than this is not searched as a whole.
const LONGEST_LINE: usize = 64 * 1024;

/// Starts it, and looks out for its being ready.
///
/// # Errors
/// Why it can't be started, for the account.
pub(super) fn start(
    foreign: &v1::ForeignProgram,
    environment: BTreeMap<String, String>,
    output: &Output,
    events: &mpsc::Sender<ShellEvent>,
) -> Result<Program, NotStarted> {
    let ports = Ports::find(&foreign.ports).map_err(|error| NotStarted {
        failure: crate::manager::LaunchFailure::from_io(&error),
        message: format!("no free port: {error}"),
    })?;
    let numbers = ports.numbers.clone();
    let mut plan = ExecPlan {
        program: foreign.program.clone(),
        arguments: foreign.arguments.clone(),
        environment,
        without: PRIVATE.map(str::to_owned).to_vec(),
        limits: ProcessLimits::default(),
    };
    plan.environment.extend(numbers.iter().map(|(name, port)| (name.clone(), port.to_string())));
    let line = match &foreign.ready {
        Some(Ready::Line(line)) => Some(line.clone().into_bytes()),
        _ => None,
    };
    let mut watch = LineWatch {
        wanted: line.filter(|line| !line.is_empty()),
        line: Vec::new(),
        ready: numbers.clone(),
        events: events.clone(),
    };
    let mut shim = spawn::own_command();
    for name in PRIVATE {
        shim.env_remove(name);
    }
    shim.env(ROLE, "exec");
    let reservation = ports.release();
    let (process, outputs) = spawn::start_with(shim, &plan, |shim| {
        program::spawn_piped(shim, output, move |bytes| watch.see(bytes))
    })?;
    let (orders, _) = mpsc::channel(1); // nobody to tell anything
    let probe = match &foreign.ready {
        Some(Ready::Port(name)) => numbers.get(name).copied(),
        _ => None,
    };
    let at_once = matches!(&foreign.ready, None | Some(Ready::Port(_))) && probe.is_none();
    tokio::task::spawn_local(look_after(process, probe, at_once, numbers, reservation, events.clone()));
    Ok(Program { process, orders, outputs })
}

/// Tells when it is ready (its port answers), and that it isn't stopped, until it ends.
async fn look_after(
    process: u32,
    probe: Option<u32>,
    at_once: bool,
    ports: BTreeMap<String, u32>,
    _reservation: Vec<UnixListener>,
    events: mpsc::Sender<ShellEvent>,
) {
    let mut waiting = probe.and_then(|port| u16::try_from(port).ok());
    if at_once {
        let _ = events.send(SupervisionEvent::ProgramReady(ports.clone()).into()).await;
    }
    let Ok(number) = i32::try_from(process) else { return };
    while let Some(entry) = Entry::read(number).filter(Entry::is_alive) {
        if !entry.is_stopped() && events.send(SupervisionEvent::ProgramAlive.into()).await.is_err() {
            return;
        }
        if let Some(port) = waiting
            && answers(port).await
        {
            waiting = None;
            let _ = events.send(SupervisionEvent::ProgramReady(ports.clone()).into()).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn answers(port: u16) -> bool {
    for host in ["127.0.0.1", "::1"] {
        let dial = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect((host, port)));
        if matches!(dial.await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// Waits for a line that contains what is wanted.
#[derive(Clone)]
struct LineWatch {
    wanted: Option<Vec<u8>>,
    line: Vec<u8>,
    ready: BTreeMap<String, u32>,
    events: mpsc::Sender<ShellEvent>,
}

impl LineWatch {
    fn see(&mut self, bytes: &[u8]) {
        if self.found(bytes) {
            let ready = SupervisionEvent::ProgramReady(std::mem::take(&mut self.ready));
            let _ = self.events.blocking_send(ready.into()); // on the thread of the output
        }
    }

    /// Whether what is wanted is in a line that these bytes go on with or hold; says so once.
    fn found(&mut self, bytes: &[u8]) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        self.line.extend_from_slice(bytes);
        let found = self
            .line
            .split(|byte| *byte == b'\n')
            .any(|line| line.windows(wanted.len()).any(|window| window == wanted));
        if found {
            self.wanted = None;
            self.line = Vec::new();
            return true;
        }
        if let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') {
            self.line.drain(..=end);
        }
        let over = self.line.len().saturating_sub(LONGEST_LINE);
        self.line.drain(..over);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_in_pieces_and_only_once() {
        let (events, _inbox) = mpsc::channel(1);
        let wanted = Some(b"is ready".to_vec());
        let mut watch = LineWatch { wanted, line: Vec::new(), ready: BTreeMap::new(), events };
        assert!(!watch.found(b"it is\nready\nnow it is rea"));
        assert!(watch.found(b"dy to serve\n"));
        assert!(!watch.found(b"is ready\n"));
    }
}
