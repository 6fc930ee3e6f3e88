//! One executor as the scheduler sees it: what it holds, and how much it may hold.

use std::time::Duration;

use super::table::List;
use crate::clock::Moment;
use crate::ids::{ExecutorId, TaskId};

/// How much an executor may hold at once: enough that it never waits for the wire, little enough that nothing it holds
/// waits long, and never more than bounded memory.
#[derive(Debug, Clone)]
pub struct Credits {
    /// About so much work for each slot, by the moving average of its tasks' times.
    pub work: Duration,
    /// At most so many tasks (or one for each slot, where there are more slots).
    pub tasks: u32,
    /// At most so many bytes of arguments and expected results on the stream (a task for each slot always passes).
    pub bytes: u64,
    /// At most so many bytes of arguments that it fetches (a task for each slot always passes).
    pub blob_bytes: u64,
}

impl Default for Credits {
    fn default() -> Credits {
        Credits { work: Duration::from_millis(4), tasks: 1024, bytes: 1 << 20, blob_bytes: 16 << 20 }
    }
}

/// An attempt that is over for its task but may still occupy its slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overdue {
    pub(super) task: TaskId,
    pub(super) attempt: u32,
}

/// Tasks on their way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recall {
    None,
    /// So many are to be asked for.
    Wanted(u32),
    /// It was asked, and has not answered.
    Asked,
}

#[derive(Debug)]
pub(super) struct Executor {
    pub(super) id: ExecutorId,
    pub(super) pool: usize,
    pub(super) slots: u32,
    pub(super) attached: bool,
    pub(super) leaving: bool,
    /// In the order sent.
    pub(super) sent: List,
    pub(super) sent_bytes: u64,
    pub(super) sent_blob_bytes: u64,
    pub(super) overdue: Vec<Overdue>,
    pub(super) cancels: Vec<(TaskId, u32)>,
    pub(super) recall: Recall,
    /// Of one task; 0 while unknown.
    pub(super) average_ns: f64,
    pub(super) average_result_bytes: f64,
    pub(super) last_progress: Moment,
    /// What it was sent ahead was called back because nothing moved: nothing ahead until something does.
    pub(super) stuck: bool,
    /// Its stream found nothing to take: it has to be woken.
    pub(super) waiting: bool,
    pub(super) listed_idle: bool,
    pub(super) listed_roomy: bool,
    /// It runs suspects, and nothing is sent beside them.
    pub(super) careful: bool,
}

impl Executor {
    pub(super) fn new(id: ExecutorId, pool: usize, slots: u32, now: Moment) -> Executor {
        Executor {
            id,
            pool,
            slots: slots.max(1),
            attached: false,
            leaving: false,
            sent: List::default(),
            sent_bytes: 0,
            sent_blob_bytes: 0,
            overdue: Vec::new(),
            cancels: Vec::new(),
            recall: Recall::None,
            average_ns: 0.0,
            average_result_bytes: 0.0,
            last_progress: now,
            stuck: false,
            waiting: false,
            listed_idle: false,
            listed_roomy: false,
            careful: false,
        }
    }

    /// Whether it takes tasks at all.
    pub(super) fn usable(&self) -> bool {
        self.attached && !self.leaving
    }

    /// What occupies it: attempts that it holds, and those that are over but not out of their slots.
    pub(super) fn in_flight(&self) -> u32 {
        (self.sent.len() + self.overdue.len()) as u32
    }

    pub(super) fn free_slots(&self) -> u32 {
        if self.usable() { self.slots.saturating_sub(self.in_flight()) } else { 0 }
    }

    /// Attempts sent ahead of a free slot.
    pub(super) fn ahead(&self) -> u32 {
        self.in_flight().saturating_sub(self.slots).min(self.sent.len() as u32)
    }

    /// How many attempts it may hold.
    pub(super) fn credits(&self, credits: &Credits) -> u32 {
        let slots = u64::from(self.slots);
        let most = u64::from(credits.tasks).max(slots);
        let by_time = if self.stuck {
            slots
        } else if self.average_ns <= 0.0 {
            slots * 2
        } else {
            let each = (credits.work.as_nanos() as f64 / self.average_ns) as u64;
            slots.saturating_mul(each.clamp(2, most))
        };
        let by_bytes = if self.average_result_bytes > 64.0 {
            ((credits.bytes as f64 / self.average_result_bytes) as u64).max(slots)
        } else {
            most
        };
        by_time.min(by_bytes).min(most) as u32
    }

    pub(super) fn room(&self, credits: &Credits) -> u32 {
        if self.usable() && !self.careful {
            self.credits(credits).saturating_sub(self.in_flight())
        } else {
            0
        }
    }

    /// Whether it is worth a message: a slot is free, or a good part of its credits is. A nearly full executor has
    /// milliseconds of work in hand, so that waiting for an eighth of it costs nothing and saves seven messages of eight.
    pub(super) fn wants(&self, credits: &Credits) -> bool {
        let room = self.room(credits);
        room > 0 && (self.in_flight() < self.slots * 2 || room * 8 >= self.credits(credits))
    }

    /// How long until what it holds ahead has a slot, by its average; `None` while that is unknown.
    pub(super) fn backlog(&self) -> Option<Duration> {
        (self.average_ns > 0.0).then(|| {
            Duration::from_nanos((f64::from(self.ahead()) * self.average_ns / f64::from(self.slots)) as u64)
        })
    }

    /// Takes `ended` attempts' times and sizes into the averages.
    pub(super) fn measured(&mut self, now: Moment, ended: u32, run: Duration, bytes: u64) {
        if ended == 0 {
            return;
        }
        let ended = f64::from(ended);
        let weight = (ended / 64.0).clamp(0.125, 0.5);
        let each_ns = (run.as_nanos() as f64 / ended).max(1.0);
        let each_bytes = bytes as f64 / ended;
        if self.average_ns <= 0.0 {
            self.average_ns = each_ns;
            self.average_result_bytes = each_bytes;
        } else {
            self.average_ns += (each_ns - self.average_ns) * weight;
            self.average_result_bytes += (each_bytes - self.average_result_bytes) * weight;
        }
        self.last_progress = now;
        self.stuck = false;
    }
}
