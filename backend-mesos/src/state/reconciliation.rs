//! What to ask the master about again: each task by name after every subscription and every quarter of an hour, until it was
//! answered; then all that the master has of ours, by an empty list.

use std::collections::BTreeSet;
use std::time::Duration;

use convoke_core::clock::Moment;
use convoke_core::ids::ExecutorId;

/// Between two reconciliations of a quiet application.
pub const EVERY: Duration = Duration::from_secs(15 * 60);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The reconciliation of one framework.
#[derive(Debug, Default)]
pub struct Reconciliation {
    phase: Phase,
}

#[derive(Debug, Default)]
enum Phase {
    /// No subscription.
    #[default]
    Off,
    /// All was answered.
    Idle { next: Moment },
    /// These are still to be heard of. A master that was just started stays silent about agents that aren't back yet: that is
    /// no answer, and asking again is all that can be done.
    Asking { pending: BTreeSet<ExecutorId>, again: Moment, wait: Duration },
}

/// What happened.
#[derive(Debug, Clone)]
pub enum ReconciliationEvent<'a> {
    /// A stream is there; these tasks may be alive.
    Subscribed(&'a [ExecutorId]),
    /// The stream is gone.
    Unsubscribed,
    /// A status of this one came.
    Heard(ExecutorId),
    /// The deadline may have come; these tasks may be alive.
    Tick(&'a [ExecutorId]),
}

/// What to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconciliationCommand {
    /// About exactly these.
    Explicit(Vec<ExecutorId>),
    /// About all that the master has of the framework.
    Implicit,
}

impl Reconciliation {
    /// When [`ReconciliationEvent::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Off => None,
            Phase::Idle { next } => Some(*next),
            Phase::Asking { again, .. } => Some(*again),
        }
    }

    /// Takes an event.
    pub fn handle(
        &mut self,
        now: Moment,
        event: ReconciliationEvent<'_>,
        out: &mut Vec<ReconciliationCommand>,
    ) {
        match event {
            ReconciliationEvent::Unsubscribed => self.phase = Phase::Off,
            ReconciliationEvent::Subscribed(tasks) => self.begin(now, tasks, out),
            ReconciliationEvent::Heard(executor) => {
                if let Phase::Asking { pending, .. } = &mut self.phase
                    && pending.remove(&executor)
                    && pending.is_empty()
                {
                    self.phase = Phase::Idle { next: now + EVERY };
                    out.push(ReconciliationCommand::Implicit);
                }
            }
            ReconciliationEvent::Tick(tasks) => self.tick(now, tasks, out),
        }
    }

    fn tick(&mut self, now: Moment, tasks: &[ExecutorId], out: &mut Vec<ReconciliationCommand>) {
        match &mut self.phase {
            Phase::Idle { next } if *next <= now => self.begin(now, tasks, out),
            Phase::Asking { pending, again, wait } if *again <= now => {
                // what ended meanwhile needs no answer
                pending.retain(|executor| tasks.contains(executor));
                if pending.is_empty() {
                    self.phase = Phase::Idle { next: now + EVERY };
                    out.push(ReconciliationCommand::Implicit);
                } else {
                    *wait = (*wait * 2).min(LONGEST_WAIT);
                    *again = now + *wait;
                    out.push(ReconciliationCommand::Explicit(pending.iter().copied().collect()));
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, now: Moment, tasks: &[ExecutorId], out: &mut Vec<ReconciliationCommand>) {
        if tasks.is_empty() {
            self.phase = Phase::Idle { next: now + EVERY };
            out.push(ReconciliationCommand::Implicit);
        } else {
            let pending = tasks.iter().copied().collect();
            self.phase = Phase::Asking { pending, again: now + FIRST_WAIT, wait: FIRST_WAIT };
            out.push(ReconciliationCommand::Explicit(tasks.to_vec()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(
        it: &mut Reconciliation,
        now: Moment,
        event: ReconciliationEvent<'_>,
    ) -> Vec<ReconciliationCommand> {
        let mut out = Vec::new();
        it.handle(now, event, &mut out);
        out
    }

    #[test]
    fn each_task_is_asked_about_until_it_was_answered_and_then_all_of_them_at_once() {
        let (one, two) = (ExecutorId(1), ExecutorId(2));
        let both = [one, two];
        let mut it = Reconciliation::default();
        let mut now = Moment::ZERO;
        assert_eq!(
            handle(&mut it, now, ReconciliationEvent::Subscribed(&both)),
            [ReconciliationCommand::Explicit(both.to_vec())]
        );
        assert!(handle(&mut it, now, ReconciliationEvent::Heard(one)).is_empty());
        let mut asked = 0;
        for _ in 0..10 {
            let due = it.next_deadline().unwrap();
            assert!(due.since(now) <= LONGEST_WAIT);
            now = due;
            asked += handle(&mut it, now, ReconciliationEvent::Tick(&both))
                .iter()
                .filter(|command| **command == ReconciliationCommand::Explicit(vec![two]))
                .count();
        }
        assert_eq!(asked, 10, "silence is no answer");
        assert_eq!(handle(&mut it, now, ReconciliationEvent::Heard(two)), [ReconciliationCommand::Implicit]);
        assert_eq!(it.next_deadline(), Some(now + EVERY));
        assert!(handle(&mut it, now, ReconciliationEvent::Tick(&both)).is_empty(), "quiet until then");
        let next = now + EVERY;
        assert_eq!(
            handle(&mut it, next, ReconciliationEvent::Tick(&[one])),
            [ReconciliationCommand::Explicit(vec![one])]
        );
    }

    #[test]
    fn what_ended_meanwhile_needs_no_answer() {
        let mut it = Reconciliation::default();
        handle(&mut it, Moment::ZERO, ReconciliationEvent::Subscribed(&[ExecutorId(1)]));
        let due = it.next_deadline().unwrap();
        assert_eq!(handle(&mut it, due, ReconciliationEvent::Tick(&[])), [ReconciliationCommand::Implicit]);
        handle(&mut it, due, ReconciliationEvent::Unsubscribed);
        assert_eq!(it.next_deadline(), None);
    }
}
