//! Programs that don't link convoke (D14): their ports, their start, and when they are ready.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::output::Output;
use super::ports::{Owner, Ports, is_taken, listening_at};
use super::program::{self, Program};
use super::shell::ShellEvent;
use crate::executor::environment::{PRIVATE, ROLE};
use crate::process::limits::ProcessLimits;
use crate::process::spawn::{self, ExecPlan, NotStarted};
use crate::process::table::Entry;
use crate::process::tree;
use crate::rpc::client::Joined;
use crate::rpc::v1;
use crate::rpc::v1::foreign_program::Ready;
use crate::state::supervision::SupervisionEvent;

/// How often the port of a program that is coming up is tried, and how often it is seen whether the program is stopped.
const LOOK: Duration = Duration::from_millis(50);
/// What is left of a program that is started again is killed in so many rounds at the most, and so long after each other.
const KILL_ROUNDS: u32 = 200;
const KILL_PAUSE: Duration = Duration::from_millis(5);
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
    let ports = ports(foreign)?;
    let numbers = ports.numbers.clone();
    let mut plan = ExecPlan {
        program: foreign.program.clone(),
        arguments: foreign.arguments.iter().map(|argument| with_ports(argument, &numbers)).collect(),
        environment,
        without: PRIVATE.map(str::to_owned).to_vec(),
        directory: Some(PathBuf::from(&foreign.directory)).filter(|folder| !folder.as_os_str().is_empty()),
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
    tokio::task::spawn_local(look_after(
        process,
        probe,
        at_once,
        numbers.clone(),
        reservation,
        events.clone(),
    ));
    Ok(Program { process, orders, outputs, ports: numbers })
}

fn ports(foreign: &v1::ForeignProgram) -> Result<Ports, NotStarted> {
    Ports::find(&foreign.ports).map_err(|error| NotStarted {
        failure: crate::manager::LaunchFailure::from_io(&error),
        message: format!("no free port: {error}"),
    })
}

/// `$(NAME)` becomes the port of that name, `$$(NAME)` becomes `$(NAME)`; all else stays.
fn with_ports(argument: &str, ports: &BTreeMap<String, u32>) -> String {
    let mut text = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        let known = from[2..].split_once(')').and_then(|(name, after)| Some((ports.get(name)?, name, after)));
        let Some((port, name, after)) = known else {
            text.push_str(before);
            text.push_str("$(");
            rest = &from[2..];
            continue;
        };
        match before.strip_suffix('$') {
            Some(before) => text.push_str(&format!("{before}$({name})")),
            None => text.push_str(&format!("{before}{port}")),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The signal of this name, SIGTERM where it says nothing that we know.
pub(super) fn stop_signal(name: &str) -> Signal {
    match name {
        "" | "SIGTERM" => Signal::TERM,
        "SIGINT" => Signal::INT,
        "SIGQUIT" => Signal::QUIT,
        "SIGHUP" => Signal::HUP,
        "SIGUSR1" => Signal::USR1,
        "SIGUSR2" => Signal::USR2,
        other => {
            tracing::warn!(signal = ?other, "a stop signal of a newer driver: SIGTERM is sent in its place");
            Signal::TERM
        }
    }
}

/// How the program of this assignment is asked to end, where that isn't by SIGTERM.
pub(super) fn own_stop_signal(joined: Option<&Joined>) -> Option<Signal> {
    let foreign = joined?.assignment.foreign.as_ref()?;
    Some(stop_signal(&foreign.stop_signal)).filter(|signal| *signal != Signal::TERM)
}

/// The port of a program that has failed which somebody else took after it was found (D14). What is left of the program is
/// killed first: it may be who holds the port. Takes the exits of all children.
pub(super) async fn lost_port(ports: &BTreeMap<String, u32>) -> Option<(String, u32)> {
    let taken = || ports.iter().find(|(_, port)| is_taken(**port)).map(|(name, port)| (name.clone(), *port));
    taken()?;
    for _ in 0..KILL_ROUNDS {
        if let Err(error) = tree::signal_descendants(Signal::KILL) {
            tracing::warn!(%error, "not every process of the program could be signalled");
        }
        if tree::reap().is_ok_and(|reaped| reaped.none_left) {
            break;
        }
        tokio::time::sleep(KILL_PAUSE).await;
    }
    taken()
}

/// What must happen for it to be ready, in words.
pub(super) fn awaited(foreign: &v1::ForeignProgram) -> String {
    match &foreign.ready {
        Some(Ready::Port(name)) => format!("its port {name} didn't answer"),
        Some(Ready::Line(line)) => format!("it printed no line with {line:?}"),
        None => "it wasn't started".to_owned(),
    }
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
    let mut owner = Owner::default();
    while let Some(entry) = Entry::read(number).filter(Entry::is_alive) {
        if !entry.is_stopped() && events.send(SupervisionEvent::ProgramAlive.into()).await.is_err() {
            return;
        }
        if let Some(port) = waiting
            && answers(port).await
            && owner.is_ours(port)
        {
            waiting = None;
            let _ = events.send(SupervisionEvent::ProgramReady(ports.clone()).into()).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn answers(port: u16) -> bool {
    for host in listening_at(port) {
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
    fn ports_stand_in_arguments_and_nothing_else_is_touched() {
        let ports = BTreeMap::from([("HTTP".to_owned(), 80), ("RPC".to_owned(), 9000)]);
        for (argument, becomes) in [
            ("$(HTTP)", "80"),
            ("--listen=[::]:$(HTTP),$(RPC)!", "--listen=[::]:80,9000!"),
            ("$$(HTTP)", "$(HTTP)"),
            ("$$$(HTTP)", "$$(HTTP)"),
            ("$(OTHER) $(HTTP", "$(OTHER) $(HTTP"),
            ("$($(HTTP))", "$(80)"),
            ("$HOME ${HTTP} $ größe→", "$HOME ${HTTP} $ größe→"),
            ("", ""),
        ] {
            assert_eq!(with_ports(argument, &ports), becomes);
        }
    }

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
