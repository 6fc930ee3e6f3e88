//! How executors leave: exited, lost, drained, condemned.

use super::*;

impl ExecutorTable {
    pub(super) fn exited(&mut self, executor: ExecutorId, mut exit: Exit, out: &mut Vec<ExecutorCommand>) {
        let mut used = false;
        match self.entries.get_mut(&executor).map(|entry| &mut entry.state) {
            Some(State::Joined { .. }) => {
                // Its manager gave it up, though it may live: it gets nothing more, and counts no more (F5).
                used = true;
                out.push(ExecutorCommand::OrderEnd(executor, exit.clone()));
                out.push(ExecutorCommand::Gone(executor));
            }
            Some(State::Gone { account, .. }) => {
                used = true;
                if let Some(account) = account.take().filter(|_| exit.log_tail.is_empty()) {
                    exit.log_tail = account.log_tail;
                }
            }
            Some(State::Granted | State::Launched) | None => {}
        }
        out.push(ExecutorCommand::Lost(executor, exit));
        self.remove(executor, used);
    }

    /// The verdict: contact lost. It ends nothing by itself, but releases and replaces.
    pub(super) fn lose(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        why: String,
        out: &mut Vec<ExecutorCommand>,
    ) {
        self.end(now, executor, Exit::new(ExitCause::LostContact, why), out);
    }

    pub(super) fn end(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        exit: Exit,
        out: &mut Vec<ExecutorCommand>,
    ) {
        out.push(ExecutorCommand::OrderEnd(executor, exit.clone()));
        out.push(ExecutorCommand::Gone(executor));
        out.push(release_now(executor, exit.cause.clone()));
        out.push(ExecutorCommand::Hear(executor, Heard::HungUp));
        self.gone(now, executor, Some(exit), true);
    }

    pub(super) fn gone(&mut self, now: Moment, executor: ExecutorId, account: Option<Exit>, released: bool) {
        let until = now + self.times.cause_wait;
        if let Some(entry) = self.entries.get_mut(&executor) {
            entry.state = State::Gone { account, until, released };
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one place for the three ways to drain")]
    pub(super) fn drain(
        &mut self,
        executor: ExecutorId,
        why: String,
        order: bool,
        grace: Duration,
        then: Then,
        cause: ExitCause,
        out: &mut Vec<ExecutorCommand>,
    ) {
        let Some(entry) = self.entries.get_mut(&executor) else { return };
        if entry.draining.is_some() {
            return;
        }
        entry.draining = Some(why.clone());
        if order {
            out.push(ExecutorCommand::OrderDrain(executor, why.clone()));
        }
        out.push(ExecutorCommand::Draining(executor, why));
        out.push(ExecutorCommand::Release { executor, grace, then, why: cause });
    }

    pub(super) fn remove(&mut self, executor: ExecutorId, ticket_used: bool) {
        if let Some(at) = self.entries.remove(&executor).and_then(|entry| entry.scheduled) {
            self.deadlines.remove(&(at, executor));
        }
        self.ended.insert(executor, ticket_used);
    }
}

pub(super) fn release_now(executor: ExecutorId, why: ExitCause) -> ExecutorCommand {
    ExecutorCommand::Release { executor, grace: Duration::ZERO, then: Then::Replace, why }
}
