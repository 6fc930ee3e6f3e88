use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use tokio::sync::Notify;

use super::super::{EndedBy, Exit, Grant, Outcome, Page, Report};
use super::clock::RuntimeClock;
use crate::clock::Moment;
use crate::error::Result;
use crate::ids::ExecutorId;
use crate::state::allocation::{
    AllocationCommand, AllocationEvent, AllocationSettings, AllocationState, ManagerNews,
};

/// What the handle, the runner, the reader of events and the backend's reporter share. It doesn't hold the backend, so that
/// a backend that holds its reporter makes no cycle.
pub(super) struct Shared {
    clock: RuntimeClock,
    inner: Mutex<Inner>,
    runner: Notify,
}

struct Inner {
    state: AllocationState,
    commands: Vec<AllocationCommand>,
    reader: Option<Waker>,
    page: Option<String>,
    /// Nobody runs commands any more.
    abandoned: bool,
}

impl Shared {
    pub(super) fn new(settings: AllocationSettings) -> Shared {
        Shared {
            clock: RuntimeClock::new(),
            inner: Mutex::new(Inner {
                state: AllocationState::new(settings),
                commands: Vec::new(),
                reader: None,
                page: None,
                abandoned: false,
            }),
            runner: Notify::new(),
        }
    }

    pub(super) fn clock(&self) -> RuntimeClock {
        self.clock
    }

    /// Waits until there may be commands, or another deadline.
    pub(super) async fn changed(&self) {
        self.runner.notified().await;
    }

    /// Gives an event to the machine.
    pub(super) fn handle(&self, event: AllocationEvent) {
        self.with(|state, now, out| state.handle(now, event, out));
    }

    /// Does something to the machine in one piece; then wakes whom it concerns.
    pub(super) fn with<R>(
        &self,
        what: impl FnOnce(&mut AllocationState, Moment, &mut Vec<AllocationCommand>) -> R,
    ) -> R {
        let mut inner = self.lock();
        let Inner { state, commands, reader, abandoned, .. } = &mut *inner;
        let answer = what(state, self.clock.now(), commands);
        if *abandoned {
            commands.clear();
        }
        let reader = if state.has_unread() || state.has_ended() { reader.take() } else { None };
        drop(inner);
        self.runner.notify_one();
        if let Some(reader) = reader {
            reader.wake();
        }
        answer
    }

    /// Looks at the machine without changing it.
    pub(super) fn look<R>(&self, what: impl FnOnce(&AllocationState, Moment) -> R) -> R {
        what(&self.lock().state, self.clock.now())
    }

    /// The commands to run, and when to look again.
    pub(super) fn take_commands(&self) -> (Vec<AllocationCommand>, Option<Moment>) {
        let mut inner = self.lock();
        (std::mem::take(&mut inner.commands), inner.state.next_deadline())
    }

    /// Remembers whom to wake; answers `false` where nothing will come.
    pub(super) fn wait_for_event(&self, reader: &Waker) -> bool {
        let mut inner = self.lock();
        if inner.state.has_unread() {
            reader.wake_by_ref();
        } else if inner.state.has_ended() || inner.abandoned {
            return false;
        }
        inner.reader = Some(reader.clone());
        true
    }

    /// Nobody runs commands any more: the stream ends after what it has.
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.abandoned = true;
        inner.commands = Vec::new();
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn page(&self) -> Option<String> {
        self.lock().page.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // the machine doesn't panic half-way through a change that matters more than going on
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self, news: ManagerNews) {
        self.handle(AllocationEvent::News(news));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

impl Report for Shared {
    fn page(&self, page: String) {
        self.lock().page = Some(page);
    }
    fn manager(&self, reach: Result<()>) {
        self.news(ManagerNews::Reach(reach));
    }
    fn granted(&self, grant: Grant) {
        self.news(ManagerNews::Granted(grant));
    }
    fn launched(&self, executor: ExecutorId, pages: Vec<Page>) {
        self.news(ManagerNews::Launched(executor, pages));
    }
    fn reachable(&self, executor: ExecutorId, yes: bool) {
        self.news(ManagerNews::Reachable(executor, yes));
    }
    fn draining(&self, executors: Vec<ExecutorId>, until: Option<SystemTime>, why: String) {
        self.news(ManagerNews::Draining(executors, until, why));
    }
    fn exited(&self, executor: ExecutorId, exit: Exit) {
        self.news(ManagerNews::Exited(executor, exit));
    }
    fn ended(&self, outcome: Outcome, by: EndedBy) {
        self.news(ManagerNews::Ended(outcome, by));
    }
}
