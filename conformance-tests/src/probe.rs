//! The probe: what the kit runs on the subject, as a mode of the program that the kit is linked into. It calls the kit, and
//! does what it is told.

mod act;
mod escape;
mod find;
mod supervised;
pub mod wire;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use convoke_core::executor::{environment, role};
use wire::{CHILD, FORK, FromProbe, Hello, PROBE};

/// Who a probe is and whom it calls: its arguments behind [`PROBE`].
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) token: String,
    /// The kit's addresses, comma-separated.
    pub(crate) kit: String,
    pub(crate) application: String,
    pub(crate) executor: u64,
    /// Ends itself so long after the kit hung up.
    pub(crate) lease_ms: u64,
}

impl Identity {
    /// `argv[1..]` of a probe; what the kit adds comes behind.
    pub(crate) fn arguments(&self, mode: &str) -> Vec<String> {
        vec![
            mode.to_owned(),
            self.token.clone(),
            self.kit.clone(),
            self.application.clone(),
            self.executor.to_string(),
            self.lease_ms.to_string(),
        ]
    }

    fn parse(arguments: &[String]) -> Option<Identity> {
        let [token, kit, application, executor, lease_ms, ..] = arguments else { return None };
        Some(Identity {
            token: token.clone(),
            kit: kit.clone(),
            application: application.clone(),
            executor: executor.parse().ok()?,
            lease_ms: lease_ms.parse().ok()?,
        })
    }

    fn hello(&self, kind: Kind) -> Hello {
        Hello {
            token: self.token.clone(),
            application: self.application.clone(),
            executor: self.executor,
            process: std::process::id(),
            boot: boot(),
            child: kind == Kind::Child,
            supervised: kind == Kind::Supervised,
        }
    }
}

/// What a process of a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Started by the manager itself, with no supervisor between.
    Plain,
    /// The program under a supervisor.
    Supervised,
    /// A child that tried to escape.
    Child,
}

/// Identifies the host since it started: equal where two processes share it.
pub(crate) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Plays the probe, its supervisor or its guard, and never returns, where this process was started for that. Call it first
/// in `main`, outside of any runtime.
pub fn become_probe_if_asked() {
    crate::reference::become_daemon_if_asked();
    crate::runtime::become_executor_if_asked();
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let Some(mode) = arguments.get(1).filter(|mode| [PROBE, FORK, CHILD].contains(&mode.as_str())) else {
        return;
    };
    if mode == PROBE {
        role::supervise(); // the guard and the supervisor are any executor's
    }
    let role = std::env::var(environment::ROLE).unwrap_or_default();
    let code = match Identity::parse(&arguments[2..]) {
        None => {
            eprintln!(
                "convoke-conformance: a probe needs its token, address, application, executor and lease"
            );
            64
        }
        Some(identity) => match mode.as_str() {
            FORK => escape::pass_on(&identity),
            CHILD => escape::stay(&identity),
            _ if role == "program" => supervised::run(&identity),
            _ => serve(&identity, Kind::Plain),
        },
    };
    std::process::exit(code);
}

/// Calls the kit and carries out its orders until it hangs up for a lease. Answers the exit code.
fn serve(identity: &Identity, kind: Kind) -> i32 {
    let Some(stream) = dial(&identity.kit) else {
        eprintln!("convoke-conformance: no address of the kit answers: {}", identity.kit);
        return 69;
    };
    let mut answers = match stream.try_clone() {
        Ok(answers) => answers,
        Err(error) => {
            eprintln!("convoke-conformance: {error}");
            return 71;
        }
    };
    if say(&mut answers, &FromProbe::Hello(identity.hello(kind))).is_err() {
        return 69;
    }
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        let answer = match serde_json::from_str(&line) {
            Ok(order) => act::carry_out(&order, identity),
            Err(error) => FromProbe::Trouble(format!("not an order: {error}")),
        };
        if say(&mut answers, &answer).is_err() {
            break;
        }
    }
    // the kit is gone: as any executor, this one ends itself within the lease
    std::thread::sleep(Duration::from_millis(identity.lease_ms));
    0
}

fn dial(addresses: &str) -> Option<TcpStream> {
    addresses.split(',').find_map(|address| {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        Some(stream)
    })
}

fn say(stream: &mut TcpStream, answer: &FromProbe) -> std::io::Result<()> {
    let mut line = serde_json::to_string(answer).map_err(std::io::Error::other)?;
    line.push('\n');
    stream.write_all(line.as_bytes())
}
