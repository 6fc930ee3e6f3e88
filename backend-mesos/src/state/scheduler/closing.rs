//! The end of a framework: its tasks are killed until all have ended, then it is torn down.

use std::time::Duration;

use convoke_core::clock::Moment;

use super::{Out, Scheduler, SchedulerCommand};
use crate::v1::scheduler::call;

pub(super) const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// How far the end has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// All tasks are killed, again and again.
    Killing {
        again: Moment,
        wait: Duration,
    },
    /// TEARDOWN, once for each stream until one ends by it; `clean` where every task had ended before.
    TearingDown {
        clean: bool,
        answered: bool,
    },
    Over {
        clean: bool,
    },
}

impl Scheduler {
    pub(super) fn close(&mut self, now: Moment, out: &mut Out) {
        if self.closing != Closing::No {
            return;
        }
        if self.subscription.over() {
            // somebody else ended it: what it had is being ended, and nobody will say so
            self.closing = Closing::Over { clean: true };
            return;
        }
        let waiting: Vec<_> = self.offers.waiting().map(|wanted| wanted.executor).collect();
        self.stop(now, waiting, out);
        self.closing = Closing::Killing { again: now, wait: FIRST_WAIT };
        self.kill_all(now, out);
    }

    /// While closing nobody else repeats the KILLs.
    pub(super) fn kill_all(&mut self, now: Moment, out: &mut Out) {
        let Closing::Killing { again, wait } = self.closing else { return };
        if again > now || !self.subscription.live() {
            return;
        }
        self.closing = Closing::Killing { again: now + wait, wait: (wait * 2).min(LONGEST_WAIT) };
        let live: Vec<_> = self.tasks.live().map(|(executor, _)| executor).collect();
        for executor in live {
            self.tell_tasks(now, out, |tasks, told| tasks.stop(executor, told));
        }
    }

    pub(super) fn tear_down(&mut self, out: &mut Out) {
        if let Closing::No | Closing::Killing { .. } = self.closing {
            self.closing = Closing::TearingDown { clean: self.live() == 0, answered: false };
            if self.subscription.live() {
                self.call(call::Type::Teardown, |_| {}, out);
            }
        }
    }

    pub(super) fn may_tear_down(&mut self, out: &mut Out) {
        if matches!(self.closing, Closing::Killing { .. }) && self.live() == 0 && self.subscription.live() {
            self.tear_down(out);
        }
    }

    pub(super) fn over(&mut self, out: &mut Out) {
        let clean = match self.closing {
            Closing::TearingDown { clean, .. } | Closing::Over { clean } => clean,
            _ => self.live() == 0,
        };
        self.closing = Closing::Over { clean };
        out.push(SchedulerCommand::Disconnect);
    }
}
