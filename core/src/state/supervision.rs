//! What an executor's supervisor does, and when: joining, the lease, draining, the end and its true cause.
//!
//! The lease is kept from the executor's side: it runs from the moment that an answered heartbeat was *sent*, so that it
//! never ends later than the driver believes (rules F5, A7).

mod contact;
mod ending;
mod messages;

use std::collections::BTreeMap;
use std::time::Duration;

use contact::{Contact, Link};
pub use ending::exit_of;
use ending::{Account, SIGKILL};
pub use messages::{ForeignTerms, SupervisionCommand, SupervisionEvent, Terms};

use crate::clock::Moment;
use crate::manager::ExitCause;
use crate::units::{MiB, format_duration};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Joined,
    /// Every process is to go; at this moment by force.
    Ending(Moment),
    Killing,
    /// Nothing is left but to tell the driver, until this moment.
    Accounting(Moment),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draining {
    No,
    /// The driver ordered it: what exits well was released.
    Ordered,
    /// A SIGTERM that nobody had announced.
    Evicted,
}

/// The decisions of one supervisor.
#[derive(Debug)]
pub struct Supervision {
    phase: Phase,
    contact: Contact,
    terms: Option<Terms>,
    driver_gone: bool,
    process: Option<u32>,
    alive_at: Option<Moment>,
    /// The driver knows of the silence since then.
    silence_told: bool,
    ready: Option<BTreeMap<String, u32>>,
    ready_by: Option<Moment>,
    resident: MiB,
    draining: Draining,
    drain_told: bool,
    program_message: Option<String>,
    killed_for_memory: bool,
    account: Option<Account>,
}

impl Supervision {
    /// A supervisor that starts now, with the lease that holds until the driver names one. `seed` spreads its retries.
    #[must_use]
    pub fn new(now: Moment, lease: Duration, seed: u64) -> Supervision {
        Supervision {
            phase: Phase::Joining,
            contact: Contact::new(now, lease, seed),
            terms: None,
            driver_gone: false,
            process: None,
            alive_at: None,
            silence_told: false,
            ready: None,
            ready_by: None,
            resident: MiB(0),
            draining: Draining::No,
            drain_told: false,
            program_message: None,
            killed_for_memory: false,
            account: None,
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        self.contact.join_sent(now);
        out.push(SupervisionCommand::Join);
    }

    /// When [`SupervisionEvent::Deadline`] is due; `None` while only events from outside matter.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let (retry, beat) = (self.contact.retry_at(), self.contact.beat_at());
        let lease_end = Some(self.contact.lease_end());
        let first = |moments: [Option<Moment>; 5]| moments.into_iter().flatten().min();
        match self.phase {
            Phase::Joining => first([retry, lease_end, None, None, None]),
            Phase::Joined => {
                let ready_by = self.ready_by.filter(|_| self.ready.is_none());
                first([retry, lease_end, beat, ready_by, self.silent_at()])
            }
            // Heartbeats go on, so that the driver knows that it is being ended.
            Phase::Ending(at) => first([Some(at), beat, None, None, None]),
            Phase::Killing => beat,
            Phase::Accounting(until) => first([Some(until), retry, None, None, None]),
            Phase::Over => None,
        }
    }

    /// When the program's silence makes it lost, and the driver hasn't heard of it.
    fn silent_at(&self) -> Option<Moment> {
        let untold = self.contact.link() == Link::Up && !self.silence_told;
        let terms = self.terms.as_ref().filter(|_| untold)?;
        Some(self.alive_at? + terms.lost_after)
    }

    /// Whether it has said its last word.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Takes an event; what is to be done goes to `out`, in order.
    pub fn handle(&mut self, now: Moment, event: SupervisionEvent, out: &mut Vec<SupervisionCommand>) {
        match event {
            SupervisionEvent::Deadline => {}
            SupervisionEvent::Joined(terms) => self.joined(now, terms, out),
            SupervisionEvent::JoinFailed(why) => {
                if self.phase == Phase::Joining {
                    self.contact.retry(now, why);
                }
            }
            SupervisionEvent::JoinRefused(why) => self.end(now, ExitCause::NeverJoined, why, out),
            SupervisionEvent::LinkOpened => self.link_opened(now, out),
            SupervisionEvent::LinkLost(why) => self.link_lost(now, why, out),
            SupervisionEvent::LinkRefused(why) => {
                self.contact.lost(why.clone());
                self.driver_gone = true;
                self.end(now, ExitCause::LostContact, format!("its driver refuses it: {why}"), out);
            }
            SupervisionEvent::Renewed(number) => self.contact.renewed(number),
            SupervisionEvent::DrainOrdered(why) => self.drain(Draining::Ordered, &why, out),
            SupervisionEvent::EndOrdered(why, cause) => {
                self.end(now, cause, why, out);
            }
            SupervisionEvent::ProgramStarted(process) => self.program_started(now, process, out),
            SupervisionEvent::ProgramNotStarted(failure, why) => {
                self.end(now, ExitCause::LaunchFailed(failure), why, out);
            }
            SupervisionEvent::ProgramReady(ports) => {
                self.alive(now);
                self.ready = Some(ports);
                self.report_ready(out);
            }
            SupervisionEvent::ProgramAlive => self.alive(now),
            SupervisionEvent::ProgramFailed(why) => self.program_message = Some(why),
            SupervisionEvent::ProgramExited(exit) => self.program_exited(now, exit, out),
            SupervisionEvent::KilledForMemory => self.over_memory("the kernel ended a process of it", out),
            SupervisionEvent::MemorySeen(resident) => {
                self.resident = resident;
                let watched = self.terms.as_ref().filter(|terms| terms.watch_memory);
                let limit = watched.and_then(|terms| terms.memory);
                if limit.is_some_and(|limit| resident > limit) {
                    self.over_memory(&format!("its processes held {resident}"), out);
                }
            }
            SupervisionEvent::TreeGone => self.tree_gone(now, out),
            SupervisionEvent::DriverGone => {
                self.driver_gone = true;
                self.end(now, ExitCause::LeaseExpired, "its driver is gone: its input ended".into(), out);
            }
            SupervisionEvent::GuardGone => {
                // The guard passes on what it can catch: what ended it was SIGKILL, or as good as that.
                self.end(now, ExitCause::Signal(SIGKILL), "its guard was killed".into(), out);
            }
            SupervisionEvent::Terminated => self.terminated(now, out),
        }
        self.on_time(now, out);
    }

    fn on_time(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        if matches!(self.phase, Phase::Joining | Phase::Joined) && now >= self.contact.lease_end() {
            let mut message = format!("no driver for {}", format_duration(now.since(self.contact.last())));
            if !self.contact.failure().is_empty() {
                message = format!("{message}: {}", self.contact.failure());
            }
            self.driver_gone = true;
            self.end(now, ExitCause::LeaseExpired, message, out);
        }
        if self.phase == Phase::Joined
            && self.ready.is_none()
            && self.ready_by.is_some_and(|deadline| now >= deadline)
        {
            let message = self.never_ready();
            self.end(now, ExitCause::NeverReady, message, out);
        }
        if self.contact.take_retry(now) {
            match self.phase {
                Phase::Joining => {
                    self.contact.join_sent(now);
                    out.push(SupervisionCommand::Join);
                }
                Phase::Over => {}
                _ => self.open_link(out),
            }
        }
        let beats = matches!(self.phase, Phase::Joined | Phase::Ending(_) | Phase::Killing);
        let silent = self.phase == Phase::Joined && self.silent_at().is_some_and(|at| now >= at);
        if silent || beats && self.contact.beat_at().is_some_and(|at| now >= at) {
            self.silence_told |= silent;
            self.heartbeat(now, out);
        }
        match self.phase {
            Phase::Ending(by) if now >= by => {
                self.phase = Phase::Killing;
                out.push(SupervisionCommand::KillTree);
            }
            Phase::Accounting(until) if now >= until => self.exit(out),
            _ => {}
        }
    }

    fn joined(&mut self, now: Moment, terms: Terms, out: &mut Vec<SupervisionCommand>) {
        if self.phase != Phase::Joining {
            return;
        }
        self.phase = Phase::Joined;
        self.contact.joined(terms.lease, terms.heartbeat_interval);
        self.ready_by = terms.ready_deadline.map(|deadline| now + deadline);
        self.terms = Some(terms);
        out.push(SupervisionCommand::StartProgram);
        self.open_link(out);
    }

    fn open_link(&mut self, out: &mut Vec<SupervisionCommand>) {
        if self.contact.open() {
            out.push(SupervisionCommand::OpenLink);
        }
    }

    fn link_opened(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        self.contact.opened();
        if let Phase::Accounting(_) = self.phase {
            self.report_end(out);
            return;
        }
        // What the driver may not have heard on an earlier link, it hears again.
        self.report_ready(out);
        if self.draining == Draining::Evicted {
            out.push(SupervisionCommand::ReportEviction);
        }
        self.heartbeat(now, out);
    }

    fn link_lost(&mut self, now: Moment, why: String, out: &mut Vec<SupervisionCommand>) {
        let was_up = self.contact.link() == Link::Up;
        self.contact.lost(why.clone());
        match self.phase {
            // The driver hangs up once it has the account.
            Phase::Accounting(_) if was_up => self.exit(out),
            Phase::Over | Phase::Joining => {}
            _ if self.driver_gone => {}
            _ => self.contact.retry(now, why),
        }
    }

    fn heartbeat(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        out.push(SupervisionCommand::Heartbeat {
            number: self.contact.beat(now),
            program_silent: self.alive_at.map_or(Duration::ZERO, |alive| now.since(alive)),
            resident: self.resident,
        });
    }

    fn program_started(&mut self, now: Moment, process: u32, out: &mut Vec<SupervisionCommand>) {
        self.process = Some(process);
        self.alive(now);
        match self.phase {
            // Ordered to end while it was being started: the tree has a process more.
            Phase::Ending(_) => out.push(SupervisionCommand::TerminateTree),
            Phase::Killing => out.push(SupervisionCommand::KillTree),
            _ if self.draining != Draining::No => self.tell_program_to_drain(out),
            _ => {}
        }
    }

    fn alive(&mut self, now: Moment) {
        self.alive_at = Some(now);
        self.silence_told = false;
    }

    fn report_ready(&self, out: &mut Vec<SupervisionCommand>) {
        if let (Link::Up, Some(process), Some(ports)) = (self.contact.link(), self.process, &self.ready) {
            out.push(SupervisionCommand::ReportReady { process, ports: ports.clone() });
        }
    }

    fn drain(&mut self, draining: Draining, why: &str, out: &mut Vec<SupervisionCommand>) {
        if !matches!(self.phase, Phase::Joined) {
            return;
        }
        // The driver's word counts for more than an eviction: it knows what it wants the executor for.
        if self.draining != Draining::Ordered {
            self.draining = draining;
        }
        if self.program_message.is_none() && !why.is_empty() {
            self.program_message = Some(format!("drained: {why}"));
        }
        self.tell_program_to_drain(out);
    }

    fn tell_program_to_drain(&mut self, out: &mut Vec<SupervisionCommand>) {
        if self.process.is_none() || self.drain_told {
            return;
        }
        self.drain_told = true;
        out.push(match self.terms.as_ref().and_then(|terms| terms.foreign.as_ref()) {
            Some(foreign) => SupervisionCommand::SignalProgram(foreign.stop_signal),
            None => SupervisionCommand::DrainProgram,
        });
    }

    /// Whether its program has been started, isn't ready, and nothing speaks for its end.
    #[must_use]
    pub fn awaits_readiness(&self) -> bool {
        self.phase == Phase::Joined && self.ready.is_none() && !self.drain_told && self.account.is_none()
    }

    fn never_ready(&self) -> String {
        let terms = self.terms.as_ref();
        let within = terms.and_then(|terms| terms.ready_deadline).map(format_duration).unwrap_or_default();
        let awaited = terms.and_then(|terms| terms.foreign.as_ref()).map(|foreign| foreign.awaited.as_str());
        format!("not ready within {within}: {}", awaited.unwrap_or("it didn't say so"))
    }
}

#[cfg(test)]
#[path = "supervision_test.rs"]
mod tests;
