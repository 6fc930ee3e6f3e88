//! What bounds single submits, of which each is a job of its own: past so many that aren't over, `submit` waits (D7).

use std::sync::{Arc, Condvar, Mutex, PoisonError};

const MOST_TASKS: u64 = 16_384;
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Flood {
    held: Mutex<(u64, u64)>,
    less: Condvar,
}

/// Room for one task until it is over.
#[derive(Debug)]
pub(super) struct Permit {
    flood: Arc<Flood>,
    bytes: u64,
}

impl Flood {
    /// Blocks while too many tasks, or bytes of arguments, aren't over. One task always passes.
    pub(super) fn enter(self: &Arc<Flood>, bytes: u64) -> Permit {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while held.0 >= MOST_TASKS || (held.0 > 0 && held.1 + bytes > MOST_BYTES) {
            held = self.less.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.0 += 1;
        held.1 += bytes;
        Permit { flood: Arc::clone(self), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.flood.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 -= 1;
        held.1 -= self.bytes;
        drop(held);
        self.flood.less.notify_one();
    }
}
