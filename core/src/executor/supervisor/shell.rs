//! The loop: events in, commands out.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::ahead::Ahead;
use super::assignment;
use super::driver::{self, JoinAddress, LinkIdentity};
use super::foreign;
use super::input;
use super::output::Output;
use super::program::{self, Program};
use super::start::ExecutorStart;
use super::watch::{self, Signals};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::fetch::{self, Fetched};
use crate::executor::link::{ProgramSetup, ToProgram};
use crate::manager::{ExitCause, LaunchFailure};
use crate::process::exit::ProcessExit;
use crate::process::spawn::NotStarted;
use crate::process::tree;
use crate::rpc::client::{JoinAsk, Joined};
use crate::rpc::v1;
use crate::state::supervision::{Supervision, SupervisionCommand, SupervisionEvent};
use crate::units::MiB;

/// While a tree is being killed it is looked at so often.
const KILL_PAUSE: Duration = Duration::from_millis(5);
/// So often a program is started with other ports, because one was taken meanwhile.
const MOST_PORT_LOSSES: u32 = 3;
/// The kernel's count of kills for memory is looked at so often.
const KILLS_WATCH: Duration = Duration::from_millis(500);
/// What is still in the pipes when the tree is gone is read for so long.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(250);

/// What comes to the loop.
pub(super) enum ShellEvent {
    /// For the decisions as it is.
    Decide(SupervisionEvent),
    /// The join was answered.
    Joined(Box<Joined>),
    /// From the link with this number; an older one's is late.
    Link(u64, LinkEvent),
    /// What the program needs was fetched, or can't be had.
    Fetched(Result<Fetched, NotStarted>),
}

/// What comes from a link.
pub(super) enum LinkEvent {
    /// It stands; reports go in here.
    Opened(mpsc::Sender<v1::SupervisorReport>),
    Decide(SupervisionEvent),
}

impl From<SupervisionEvent> for ShellEvent {
    fn from(event: SupervisionEvent) -> ShellEvent {
        ShellEvent::Decide(event)
    }
}

/// Supervises until the end; says how this process is to end.
///
/// # Errors
/// What keeps it from even beginning.
pub(super) async fn run(mut start: ExecutorStart, ahead: Option<Ahead>) -> Result<ProcessExit> {
    let mut signals = Signals::listen()?;
    let (events, mut inbox) = mpsc::channel(64);
    watch::guard(start.guard, events.clone())?;
    let source = std::mem::replace(&mut start.ticket, super::start::TicketSource::Input);
    let ticket = tokio::select! {
        ticket = input::ticket(source, events.clone()) => ticket?,
        // Nothing runs yet.
        () = terminated(&mut signals) => return Ok(ProcessExit::Signal(Signal::TERM.as_raw())),
        () = tokio::time::sleep(start.lease) => {
            return Err(Error::new(ErrorKind::DeadlineExceeded, "no ticket came for a lease"));
        }
    };
    let (output, unwritable) = match Output::open(start.logs.as_deref(), &start.log_limits) {
        Ok(output) => (output, None),
        // The driver is to hear of it, as of any failure to start.
        Err(error) => (Output::open(None, &start.log_limits)?, Some(error)),
    };
    let seed = start.executor.0 ^ (u64::from(std::process::id()) << 32);
    let supervision = Supervision::new(clock::now(), start.lease, seed);
    let kills_seen = start.cgroup.as_ref().and_then(|cgroup| cgroup.memory_kills().ok()).unwrap_or(0);
    let mut shell = Shell {
        ask: driver::ask(&start, ticket),
        start,
        output,
        unwritable,
        supervision,
        events,
        joined: None,
        link: None,
        links: 0,
        reports: None,
        ahead,
        program: None,
        running: None,
        fetched: None,
        ending: false,
        killing: false,
        kills_seen,
        port_losses: 0,
        todo: VecDeque::new(),
        exit: None,
    };
    let mut commands = Vec::new();
    shell.supervision.start(clock::now(), &mut commands);
    shell.todo.extend(commands);
    let mut kills_watch = tokio::time::interval(KILLS_WATCH);
    loop {
        shell.work().await;
        if let Some(exit) = shell.exit {
            return Ok(exit);
        }
        let wait = shell.supervision.next_deadline().map(|deadline| deadline.since(clock::now()));
        tokio::select! {
            Some(event) = inbox.recv() => shell.take(event),
            asked = signals.next() => {
                if asked {
                    shell.decide(SupervisionEvent::Terminated);
                } else {
                    shell.reap().await;
                }
            }
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                shell.decide(SupervisionEvent::Deadline);
            }
            () = tokio::time::sleep(KILL_PAUSE), if shell.killing => shell.kill().await,
            _ = kills_watch.tick(), if shell.keeps_memory() => shell.look_at_kills(),
        }
    }
}

async fn terminated(signals: &mut Signals) {
    while !signals.next().await {}
}

struct Shell {
    start: ExecutorStart,
    ask: JoinAsk,
    output: Output,
    unwritable: Option<Error>,
    supervision: Supervision,
    events: mpsc::Sender<ShellEvent>,
    joined: Option<Joined>,
    link: Option<JoinHandle<()>>,
    links: u64,
    reports: Option<mpsc::Sender<v1::SupervisorReport>>,
    /// What may become the program, until that is started or it has ended.
    ahead: Option<Ahead>,
    program: Option<Program>,
    /// The program's process, until its exit was taken: a number to send signals to.
    running: Option<i32>,
    fetched: Option<Fetched>,
    /// It is being ended: nothing is to be started any more.
    ending: bool,
    killing: bool,
    kills_seen: u64,
    /// How often a port of the program was taken between its finding and the program's start.
    port_losses: u32,
    todo: VecDeque<SupervisionCommand>,
    exit: Option<ProcessExit>,
}

impl Shell {
    fn take(&mut self, event: ShellEvent) {
        match event {
            ShellEvent::Decide(event) => self.decide(event),
            ShellEvent::Joined(joined) => {
                let terms = assignment::terms(&joined.assignment, self.keeps_memory());
                self.joined = Some(*joined);
                self.decide(SupervisionEvent::Joined(terms));
            }
            ShellEvent::Fetched(_) if self.ending => {}
            ShellEvent::Fetched(fetched) => match fetched {
                Ok(fetched) => {
                    self.fetched = Some(fetched);
                    self.start_program();
                }
                Err(not_started) => self.not_started(not_started),
            },
            ShellEvent::Link(number, _) if number != self.links => {}
            ShellEvent::Link(_, LinkEvent::Opened(reports)) => {
                self.reports = Some(reports);
                self.decide(SupervisionEvent::LinkOpened);
            }
            ShellEvent::Link(_, LinkEvent::Decide(event)) => {
                if matches!(event, SupervisionEvent::LinkLost(_) | SupervisionEvent::LinkRefused(_)) {
                    self.reports = None;
                }
                self.decide(event);
            }
        }
    }

    fn decide(&mut self, event: SupervisionEvent) {
        tracing::trace!(?event, "supervision");
        let mut commands = Vec::new();
        self.supervision.handle(clock::now(), event, &mut commands);
        self.todo.extend(commands);
    }

    /// Does what is to be done, and what comes of that at once.
    async fn work(&mut self) {
        while let Some(command) = self.todo.pop_front() {
            tracing::trace!(?command, "supervision");
            match command {
                SupervisionCommand::Join => {
                    let to = JoinAddress { addresses: self.start.driver.clone(), trust: self.start.trust };
                    let join = driver::join(self.ask.clone(), to, self.events.clone());
                    tokio::task::spawn_local(join);
                }
                SupervisionCommand::OpenLink => self.open_link(),
                SupervisionCommand::StartProgram => self.prepare_program(),
                SupervisionCommand::Heartbeat { number, program_silent, resident } => {
                    self.report(v1::supervisor_report::Report::Heartbeat(v1::Heartbeat {
                        number,
                        program_silent_ms: millis(program_silent),
                        resident_mib: resident.0,
                    }));
                }
                SupervisionCommand::ReportReady { process, ports } => {
                    let ports = ports.into_iter().collect();
                    self.report(v1::supervisor_report::Report::Ready(v1::ProgramReady { process, ports }));
                }
                SupervisionCommand::ReportEviction => {
                    let why = "SIGTERM came".to_owned();
                    self.report(v1::supervisor_report::Report::Eviction(v1::EvictionNotice { why }));
                }
                SupervisionCommand::ReportEnd { cause, message } => self.report_end(&cause, message),
                SupervisionCommand::DrainProgram => {
                    if let Some(program) = &self.program {
                        let _ = program.orders.try_send(ToProgram::Drain); // full or closed: it is going
                    }
                }
                SupervisionCommand::SignalProgram(signal) => {
                    if let (Some(pid), Some(signal)) =
                        (self.running.and_then(Pid::from_raw), Signal::from_named_raw(signal))
                    {
                        let _ = kill_process(pid, signal); // not reaped, so the number is its own
                    }
                }
                SupervisionCommand::TerminateTree => {
                    self.ending = true;
                    tell(tree::terminate_descendants(
                        self.running.zip(foreign::own_stop_signal(self.joined.as_ref())),
                    ));
                    self.reap().await;
                }
                SupervisionCommand::KillTree => {
                    self.ending = true;
                    self.killing = true;
                    self.kill().await;
                }
                SupervisionCommand::Exit(exit) => {
                    if let Some(account) = self.supervision.account() {
                        self.output.note(&account);
                    }
                    self.exit = Some(exit);
                }
            }
        }
    }

    fn open_link(&mut self) {
        let Some(joined) = &self.joined else { return };
        if let Some(link) = self.link.take() {
            link.abort();
        }
        self.reports = None;
        self.links += 1;
        let who = LinkIdentity {
            addresses: self.addresses(joined),
            application: self.start.application.clone(),
            identity: joined.identity.clone(),
        };
        let folder = self.start.logs.clone().or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        let hello =
            v1::SupervisorHello { process: std::process::id(), directory: folder.display().to_string() };
        let link = driver::link(who, hello, self.links, self.events.clone());
        self.link = Some(tokio::task::spawn_local(link));
    }

    /// The driver's addresses, the one that answered first.
    fn addresses(&self, joined: &Joined) -> Vec<crate::units::HostPort> {
        let others = self.start.driver.iter().filter(|address| **address != joined.address);
        std::iter::once(&joined.address).chain(others).cloned().collect()
    }

    /// Fetches what the program needs, where it needs anything, and then starts it.
    fn prepare_program(&mut self) {
        let order = match &self.joined {
            Some(joined) => {
                let (application, driver) = (&self.start.application, self.addresses(joined));
                fetch::Order::of(&joined.assignment, application, driver, &joined.identity)
            }
            None => Ok(None), // told when it is to be started
        };
        match order {
            Ok(None) => self.start_program(),
            Ok(Some(order)) => {
                let events = self.events.clone();
                // It writes and reads files, and waits for others that fetch the same.
                let thread = std::thread::Builder::new().name("convoke-fetch".into()).spawn(move || {
                    let directory = std::env::current_dir().ok();
                    let fetched = fetch::fetch(&order, directory.as_deref());
                    let _ = events.blocking_send(ShellEvent::Fetched(fetched)); // this process may be ending
                });
                if let Err(error) = thread {
                    let message = format!("can't start a thread: {error}");
                    self.not_started(NotStarted { failure: LaunchFailure::Other, message });
                }
            }
            Err(not_started) => self.not_started(not_started),
        }
    }

    fn not_started(&mut self, NotStarted { failure, message }: NotStarted) {
        self.decide(SupervisionEvent::ProgramNotStarted(failure, message));
    }

    fn start_program(&mut self) {
        match self.try_start() {
            Ok(program) => {
                let process = program.process;
                self.running = i32::try_from(process).ok();
                self.program = Some(program);
                let limit = self.joined.as_ref().map(|joined| MiB(joined.assignment.memory_mib));
                let limit = limit.filter(|limit| limit.0 > 0 && !self.keeps_memory());
                if self.port_losses == 0
                    && let Err(error) = watch::memory(limit, self.events.clone())
                {
                    tracing::warn!(%error, "memory is not watched");
                }
                self.decide(SupervisionEvent::ProgramStarted(process));
            }
            Err(not_started) => self.not_started(not_started),
        }
    }

    fn try_start(&mut self) -> Result<Program, NotStarted> {
        // Dropped where it isn't the program: it sees that nobody wants it, and ends.
        let ahead = self.ahead.take();
        if let Some(error) = self.unwritable.take() {
            return Err(NotStarted {
                failure: super::output::unwritable(&error),
                message: error.to_string(),
            });
        }
        let Some(joined) = &self.joined else {
            return Err(NotStarted { failure: LaunchFailure::Other, message: "it has not joined".into() });
        };
        let assignment = &joined.assignment;
        let environment = assignment.environment.clone().into_iter().collect();
        if let Some(foreign) = &assignment.foreign {
            return foreign::start(foreign, environment, &self.output, &self.events);
        }
        let setup = ProgramSetup {
            application: self.start.application.clone(),
            executor: self.start.executor,
            profile: self.start.profile,
            incarnation: self.start.incarnation,
            driver: self.addresses(joined),
            identity: joined.identity.clone(),
            slots: assignment.slots,
            heartbeat_interval: assignment::at_least(assignment.heartbeat_interval_ms),
            devices: self.start.devices.clone(),
            files: self.fetched.as_ref().map(|fetched| fetched.files.clone()).unwrap_or_default(),
            inline_bytes: assignment::inline_bytes(&joined.assignment),
            log_kept: true,
        };
        let fetched = self.fetched.as_ref().and_then(|fetched| fetched.program.as_deref());
        program::start(fetched, setup, environment, ahead, &self.output, &self.events)
    }

    /// A program that failed before it was ready, since somebody took one of its ports: this is one start, not two.
    async fn port_was_taken(&mut self, exit: ProcessExit) -> bool {
        let again = exit != ProcessExit::Code(0) && self.port_losses < MOST_PORT_LOSSES;
        let Some(program) = self.program.as_ref().filter(|_| again && self.supervision.awaits_readiness())
        else {
            return false;
        };
        let Some((name, port)) = foreign::lost_port(&program.ports).await else { return false };
        self.output.note(&format!("port {port} ({name}) was taken meanwhile: it starts again with others"));
        self.port_losses += 1;
        true
    }

    fn report(&self, report: v1::supervisor_report::Report) {
        if let Some(reports) = &self.reports {
            // A full queue is a link without answers, which is opened anew soon.
            let _ = reports.try_send(v1::SupervisorReport { report: Some(report) });
        }
    }

    fn report_end(&mut self, cause: &ExitCause, message: String) {
        let cause = serde_json::to_string(cause).unwrap_or_default();
        let log_tail = self.output.tail().into();
        self.report(v1::supervisor_report::Report::Ended(v1::ExecutorEnded { cause, message, log_tail }));
        // The last word: our half of the stream ends behind it.
        self.reports = None;
    }

    fn keeps_memory(&self) -> bool {
        self.start.cgroup.as_ref().is_some_and(crate::process::cgroup::Cgroup::keeps_memory)
    }

    fn look_at_kills(&mut self) {
        let kills = self.start.cgroup.as_ref().and_then(|cgroup| cgroup.memory_kills().ok());
        if kills.is_some_and(|kills| kills > self.kills_seen) {
            self.kills_seen = kills.unwrap_or(self.kills_seen);
            self.decide(SupervisionEvent::KilledForMemory);
        }
    }

    async fn kill(&mut self) {
        tell(tree::signal_descendants(Signal::KILL));
        self.reap().await;
    }

    /// Takes the exits of all children, adopted ones too.
    async fn reap(&mut self) {
        let reaped = match tree::reap() {
            Ok(reaped) => reaped,
            Err(error) => {
                tracing::error!(%error, "can't wait for the program");
                return;
            }
        };
        let ended = |process: Option<i32>| {
            reaped.exits.iter().find(|(pid, _)| Some(*pid) == process).map(|(_, exit)| *exit)
        };
        if ended(self.ahead.as_ref().and_then(|ahead| i32::try_from(ahead.process).ok())).is_some() {
            self.ahead = None; // the program is started anew, then
        }
        let exit = ended(self.running);
        if let Some(exit) = exit {
            self.running = None;
            if self.port_was_taken(exit).await {
                self.todo.push_back(SupervisionCommand::StartProgram);
                return;
            }
            // What explains the exit comes before it.
            self.look_at_kills();
            self.decide(SupervisionEvent::ProgramExited(exit));
        }
        if reaped.none_left {
            if let Some(program) = &mut self.program {
                // All writers are gone: what they wrote last is still in the pipes.
                let rest = async {
                    for output in &mut program.outputs {
                        let _ = output.recv().await;
                    }
                };
                let _ = tokio::time::timeout(OUTPUT_PATIENCE, rest).await;
            }
            self.killing = false;
            self.decide(SupervisionEvent::TreeGone);
        }
    }
}

fn tell(signalled: io::Result<usize>) {
    if let Err(error) = signalled {
        tracing::warn!(%error, "not every process of the program could be signalled");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
