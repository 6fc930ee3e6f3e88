//! Large values that executors fetch or upload, by number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Blobs in memory. Each goes with what it belongs to: the task of an argument, the last handle of a broadcast value, the
/// result that names it.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    last: AtomicU64,
    kept: Mutex<HashMap<u64, Bytes>>,
}

impl Blobs {
    fn kept(&self) -> MutexGuard<'_, HashMap<u64, Bytes>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, bytes: Bytes) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.kept().insert(number, bytes);
        number
    }

    pub(super) fn find(&self, number: u64) -> Option<Bytes> {
        self.kept().get(&number).cloned()
    }

    pub(super) fn take(&self, number: u64) -> Option<Bytes> {
        self.kept().remove(&number)
    }
}
