use std::collections::{BTreeMap, VecDeque};

use crate::clock::Moment;
use crate::ids::ExecutorId;
use crate::manager::What;

/// So many exits may wait for a reader before replacing pauses (L1).
pub(super) const MOST_UNREAD_EXITS: usize = 256;
/// So many changes of one thing's reach, or notices of its drain, may wait; after that only the last is kept.
const MOST_UNREAD_CHANGES: u8 = 2;

/// One event as the ledger keeps it; the shell adds the wall time, which is for people only.
#[derive(Debug, Clone)]
pub struct Entry {
    /// 1, 2, 3 … without a gap (L1).
    pub seq: u64,
    /// When it happened.
    pub at: Moment,
    /// What happened.
    pub what: What,
}

/// The events that wait for their one reader, numbered without a gap.
///
/// What waits is bounded by the number of executors: an executor gives at most one grant, launch and exit; changes of reach
/// and notices of drains beyond [`MOST_UNREAD_CHANGES`] each collapse to the last; and past [`MOST_UNREAD_EXITS`] no
/// executor is wanted any more. With nobody to read, nothing waits.
#[derive(Debug)]
pub(super) struct Ledger {
    unread: VecDeque<Entry>,
    last_seq: u64,
    unread_exits: usize,
    unread_drains: BTreeMap<ExecutorId, u8>,
    unread_changes: BTreeMap<Option<ExecutorId>, u8>,
    has_reader: bool,
    ended: bool,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        Ledger {
            unread: VecDeque::new(),
            last_seq: 0,
            unread_exits: 0,
            unread_drains: BTreeMap::new(),
            unread_changes: BTreeMap::new(),
            has_reader: true,
            ended: false,
        }
    }

    /// The number of the last event.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Whether the last event was written.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Whether too much waits for its reader to replace what exits.
    pub(super) fn is_full(&self) -> bool {
        self.unread_exits >= MOST_UNREAD_EXITS
    }

    pub(super) fn unread_exits(&self) -> usize {
        self.unread_exits
    }

    /// Whether one more change of reach, of an executor or (`None`) of the manager, has its place.
    pub(super) fn takes_change(&self, of: Option<ExecutorId>) -> bool {
        self.unread_changes.get(&of).is_none_or(|count| *count < MOST_UNREAD_CHANGES)
    }

    /// Whether one more notice of an executor's drain has its place.
    pub(super) fn takes_drain(&self, of: ExecutorId) -> bool {
        self.unread_drains.get(&of).is_none_or(|count| *count < MOST_UNREAD_CHANGES)
    }

    pub(super) fn write(&mut self, now: Moment, what: What) {
        if self.ended {
            tracing::debug!(?what, "nothing follows the end of the stream");
            return;
        }
        self.ended = matches!(what, What::Ended { .. });
        self.last_seq += 1;
        if !self.has_reader {
            return;
        }
        match &what {
            What::Exited { .. } => self.unread_exits += 1,
            What::Draining { executors, .. } => {
                for executor in executors {
                    *self.unread_drains.entry(*executor).or_default() += 1;
                }
            }
            other => {
                if let Some(of) = change_of(other) {
                    *self.unread_changes.entry(of).or_default() += 1;
                }
            }
        }
        self.unread.push_back(Entry { seq: self.last_seq, at: now, what });
    }

    pub(super) fn read(&mut self) -> Option<Entry> {
        let entry = self.unread.pop_front()?;
        match &entry.what {
            What::Exited { .. } => self.unread_exits -= 1,
            What::Draining { executors, .. } => {
                for executor in executors {
                    one_less(&mut self.unread_drains, executor);
                }
            }
            other => {
                if let Some(of) = change_of(other) {
                    one_less(&mut self.unread_changes, &of);
                }
            }
        }
        Some(entry)
    }

    /// Nobody will read any more.
    pub(super) fn drop_reader(&mut self) {
        self.has_reader = false;
        self.unread = VecDeque::new();
        self.unread_exits = 0;
        self.unread_drains.clear();
        self.unread_changes.clear();
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, u8>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Whose reach an event tells: an executor's, or (`None`) the manager's.
pub(super) fn change_of(what: &What) -> Option<Option<ExecutorId>> {
    match what {
        What::Unreachable { executor } | What::Reachable { executor } => Some(Some(*executor)),
        What::ManagerUnreachable { .. } | What::ManagerRecovered { .. } => Some(None),
        _ => None,
    }
}
