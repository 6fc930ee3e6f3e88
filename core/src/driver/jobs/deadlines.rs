//! The clock of the scheduler: a thread that sleeps until the next deadline. It belongs to no runtime, so that neither the
//! driver's thread nor a caller's is needed for time to pass.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};

use super::plane::Tasks;
use crate::clock::{self, Moment};
use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    shared: Arc<Shared>,
    tasks: OnceLock<Weak<Tasks>>,
}

#[derive(Debug, Default)]
struct Shared {
    next: Mutex<Next>,
    earlier: Condvar,
}

#[derive(Debug, Default)]
struct Next {
    at: Option<Moment>,
    stopped: bool,
}

impl Deadlines {
    pub(super) fn start(&self, tasks: &Arc<Tasks>) -> Result<()> {
        // Set once, by who made the tasks.
        let _ = self.tasks.set(Arc::downgrade(tasks));
        let (shared, tasks) = (Arc::clone(&self.shared), Arc::downgrade(tasks));
        let thread = std::thread::Builder::new().name("convoke-clock".into());
        let thread = thread.spawn(move || run(&shared, &tasks));
        thread.map(drop).map_err(|error| Error::host("can't start a thread", error))
    }

    /// The tasks that these deadlines are of, unless they are being dropped.
    pub(super) fn tasks(&self) -> Option<Arc<Tasks>> {
        self.tasks.get().and_then(Weak::upgrade)
    }

    /// Makes sure that the thread looks at this moment at the latest.
    pub(super) fn at_latest(&self, at: Option<Moment>) {
        let Some(at) = at else { return };
        let mut next = self.shared.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.at.is_none_or(|planned| at < planned) {
            next.at = Some(at);
            drop(next);
            self.shared.earlier.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.shared.next.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.earlier.notify_one();
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared, tasks: &Weak<Tasks>) {
    let mut next = shared.next.lock().unwrap_or_else(PoisonError::into_inner);
    while !next.stopped {
        let now = clock::now();
        next = match next.at {
            None => shared.earlier.wait(next).unwrap_or_else(PoisonError::into_inner),
            Some(at) if at > now => {
                shared.earlier.wait_timeout(next, at.since(now)).unwrap_or_else(PoisonError::into_inner).0
            }
            Some(_) => {
                next.at = None;
                drop(next);
                match tasks.upgrade() {
                    Some(tasks) => tasks.tick(),
                    None => return,
                }
                shared.next.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
    }
}
