//! What waits for the executors of one profile, and which of them wait for work.

use std::collections::VecDeque;

use super::table::List;
use crate::ids::ProfileId;

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) profile: ProfileId,
    /// Jobs with queued tasks, each at its turn.
    pub(super) ring: VecDeque<u32>,
    /// Tasks to be tried again, elsewhere where there is an elsewhere.
    pub(super) again: List,
    /// Tasks that were in flight when an executor died of the application's doing.
    pub(super) suspects: List,
    /// Tasks in the queues of jobs that aren't paused, and in `again`.
    pub(super) runnable: usize,
    /// Executors that take tasks.
    pub(super) usable: u32,
    /// Their free slots, together.
    pub(super) free_slots: u32,
    /// Attempts that they hold ahead of a slot, together.
    pub(super) ahead: u32,
    /// Executors that wait with a free slot; may hold stale entries.
    pub(super) idle: VecDeque<u32>,
    /// Executors that wait with credits only; may hold stale entries.
    pub(super) roomy: VecDeque<u32>,
    /// The executor that is emptied for the suspects, or runs them.
    pub(super) held: Option<u32>,
}

impl Pool {
    pub(super) fn new(profile: ProfileId) -> Pool {
        Pool {
            profile,
            ring: VecDeque::new(),
            again: List::default(),
            suspects: List::default(),
            runnable: 0,
            usable: 0,
            free_slots: 0,
            ahead: 0,
            idle: VecDeque::new(),
            roomy: VecDeque::new(),
            held: None,
        }
    }
}
