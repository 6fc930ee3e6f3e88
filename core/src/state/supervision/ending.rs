//! The end: what brings it about, and the account of it.

use std::time::Duration;

use super::contact::Link;
use super::{Draining, Phase, Supervision, SupervisionCommand};
use crate::clock::Moment;
use crate::manager::{ExitCause, LaunchFailure};
use crate::process::exit::ProcessExit;

pub(super) const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// How long the account of the end may take to reach the driver.
pub(super) const ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);
/// The exit code of a supervisor that ended itself, for a cause that no code or signal of its program tells.
const NOT_DONE: i32 = 125;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Account {
    pub(super) cause: ExitCause,
    pub(super) message: String,
}

impl Supervision {
    /// Why it ends or ended, in words; `None` while nothing speaks for an end.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        let account = self.account.as_ref()?;
        let separator = if account.message.is_empty() { "" } else { ": " };
        Some(format!("executor ended: {}{separator}{}", account.cause, account.message))
    }

    pub(super) fn terminated(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        match (self.phase, self.draining) {
            (Phase::Joined, Draining::No) => {
                if self.contact.link() == Link::Up {
                    out.push(SupervisionCommand::ReportEviction);
                }
                self.drain(Draining::Evicted, "SIGTERM came", out);
            }
            // The manager ends what its driver released.
            (Phase::Joined, Draining::Ordered) => {
                self.end(now, ExitCause::Released, "ended at the end of its drain".into(), out);
            }
            (Phase::Joining | Phase::Joined, _) => {
                self.end(now, ExitCause::Signal(SIGTERM), "SIGTERM came".into(), out);
            }
            _ => {}
        }
    }

    pub(super) fn over_memory(&mut self, how: &str, out: &mut Vec<SupervisionCommand>) {
        if self.killed_for_memory || matches!(self.phase, Phase::Accounting(_) | Phase::Over) {
            return;
        }
        self.killed_for_memory = true;
        let limit = self.terms.as_ref().and_then(|terms| terms.memory).unwrap_or_default();
        self.account = Some(Account {
            cause: ExitCause::OutOfMemory { limit },
            message: format!("{how}; its limit is {limit}"),
        });
        // No grace: it would go on growing.
        if self.phase != Phase::Killing {
            self.phase = Phase::Killing;
            self.contact.stop_retrying();
            out.push(SupervisionCommand::KillTree);
        }
    }

    pub(super) fn program_exited(
        &mut self,
        now: Moment,
        exit: ProcessExit,
        out: &mut Vec<SupervisionCommand>,
    ) {
        match (&self.account, self.phase) {
            // We were ending it: the reason stands, for all that it does now is an answer to that.
            (Some(_), _) => {}
            (None, _) => {
                let well = exit == ProcessExit::Code(0);
                let foreign = self.terms.as_ref().and_then(|terms| terms.foreign.as_ref());
                // A foreign program is drained by a signal, and dying of it is a fair answer, also as shells tell it.
                let of_signal = foreign.is_some_and(|foreign| {
                    let signal = foreign.stop_signal;
                    matches!(exit, ProcessExit::Signal(of) if of == signal || of == SIGKILL)
                        || exit == ProcessExit::Code(128 + signal)
                });
                let drained = well || (self.drain_told && of_signal);
                let cause = match (self.draining, exit) {
                    (Draining::Ordered, _) if drained => ExitCause::Released,
                    (Draining::Evicted, _) if drained => ExitCause::Signal(SIGTERM),
                    (_, ProcessExit::Code(code)) => ExitCause::Code(code),
                    (_, ProcessExit::Signal(signal)) => ExitCause::Signal(signal),
                };
                let message = self.program_message.take().unwrap_or_default();
                self.end(now, cause, message, out);
            }
        }
    }

    /// Ends the tree for this cause, unless it is being ended already: the first cause is the true one.
    pub(super) fn end(
        &mut self,
        now: Moment,
        cause: ExitCause,
        message: String,
        out: &mut Vec<SupervisionCommand>,
    ) {
        if self.account.is_some() {
            return;
        }
        let message = match self.program_message.take() {
            Some(own) if message.is_empty() => own,
            _ => message,
        };
        self.account = Some(Account { cause, message });
        self.contact.stop_retrying();
        let grace = self.terms.as_ref().map_or(Duration::from_secs(1), |terms| terms.end_grace);
        self.phase = Phase::Ending(now + grace);
        out.push(SupervisionCommand::TerminateTree);
    }

    pub(super) fn tree_gone(&mut self, now: Moment, out: &mut Vec<SupervisionCommand>) {
        if !matches!(self.phase, Phase::Ending(_) | Phase::Killing) {
            return;
        }
        self.phase = Phase::Accounting(now + ACCOUNT_PATIENCE);
        self.contact.stop_retrying();
        match self.contact.link() {
            Link::Up => self.report_end(out),
            Link::Opening => {}
            Link::Down if self.driver_gone || self.terms.is_none() => self.exit(out),
            Link::Down => self.open_link(out),
        }
    }

    pub(super) fn report_end(&mut self, out: &mut Vec<SupervisionCommand>) {
        if let Some(account) = &self.account {
            out.push(SupervisionCommand::ReportEnd {
                cause: account.cause.clone(),
                message: account.message.clone(),
            });
        }
    }

    pub(super) fn exit(&mut self, out: &mut Vec<SupervisionCommand>) {
        self.phase = Phase::Over;
        let exit =
            self.account.as_ref().map_or(ProcessExit::Code(NOT_DONE), |account| exit_of(&account.cause));
        out.push(SupervisionCommand::Exit(exit));
    }
}

/// How the supervisor's own process ends: as its program did, so that a manager that sees only this sees the truth; as
/// a shell would for a program that can't be started; well where somebody wished the end.
#[must_use]
pub fn exit_of(cause: &ExitCause) -> ProcessExit {
    match cause {
        ExitCause::Code(code) => ProcessExit::Code(*code),
        ExitCause::Signal(signal) => ProcessExit::Signal(*signal),
        ExitCause::OutOfMemory { .. } => ProcessExit::Signal(SIGKILL),
        ExitCause::LaunchFailed(LaunchFailure::NoSuchProgram) => ProcessExit::Code(127),
        ExitCause::LaunchFailed(LaunchFailure::NotExecutable | LaunchFailure::WrongPlatform) => {
            ProcessExit::Code(126)
        }
        ExitCause::Released
        | ExitCause::Unregistered
        | ExitCause::Withdrawn
        | ExitCause::KilledByOperator
        | ExitCause::NodeDrained => ProcessExit::Code(0),
        _ => ProcessExit::Code(NOT_DONE),
    }
}
