//! Looking all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::places::{Places, Seen};

/// Between two looks: short against the life of a process, and long enough to leave the host to what it watches.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks again and again, on a thread of its own, until it is finished or dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    passes: Arc<AtomicU64>,
    thread: Option<JoinHandle<Seen>>,
}

impl Watch {
    /// Begins. The first look is over when this returns.
    #[must_use]
    pub fn start(mut places: Places) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let mut seen = Seen::default();
        places.look(&mut seen);
        let passes = Arc::new(AtomicU64::new(seen.passes()));
        let (stopped, passed) = (stop.clone(), passes.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                places.look(&mut seen);
                passed.store(seen.passes(), Ordering::Relaxed);
            }
            places.look(&mut seen);
            seen
        });
        Watch { stop, passes, thread: Some(thread) }
    }

    /// How often it has looked so far.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }

    /// Looks once more, and gives all that was seen.
    ///
    /// # Panics
    /// Where looking panicked: a page's reader, say.
    #[must_use]
    pub fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(seen)) => seen,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Seen::default(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
