//! A mutant that numbers executors by itself, and gives numbers again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use convoke_core::Result;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    Application, ApplicationSpec, Event, Heard, LaunchCommand, Launcher, LogChunk, LogRequest, Release,
    ReleaseAnswer, Snapshot, Stream, What,
};
use convoke_core::resource::ResourceProfile;

use super::wrapped::Breakage;

/// The number that each executor shows, by its true one.
#[derive(Debug, Default, Clone)]
struct Numbers(Arc<Mutex<BTreeMap<ExecutorId, ExecutorId>>>);

impl Numbers {
    fn shown(&self, executor: ExecutorId) -> ExecutorId {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = numbers.get(&executor) {
            return *shown;
        }
        let free = (1..).map(ExecutorId).find(|shown| !numbers.values().any(|taken| taken == shown));
        let shown = free.unwrap_or(executor);
        numbers.insert(executor, shown);
        shown
    }

    fn hidden(&self, shown: ExecutorId) -> ExecutorId {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.iter().find(|(_, taken)| **taken == shown).map_or(ExecutorId(u64::MAX), |(hidden, _)| *hidden)
    }

    /// Its number is free again: that is the mistake.
    fn forget(&self, executor: ExecutorId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&executor);
    }
}

/// Gives the number of an executor that has exited to the next one. For one application at a time.
#[derive(Debug, Default)]
pub(super) struct GivesNumbersAgain(Numbers);

#[derive(Debug)]
struct Renumbered(Arc<dyn Launcher>, Numbers);

impl Launcher for Renumbered {
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand {
        self.0.launch(self.1.shown(executor), profile)
    }
}

#[async_trait]
impl Breakage for GivesNumbersAgain {
    fn specification(&self, spec: &mut ApplicationSpec) {
        spec.launcher = Arc::new(Renumbered(spec.launcher.clone(), self.0.clone()));
    }
    fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
        match &mut event.what {
            What::Granted(grant) => grant.executor = self.0.shown(grant.executor),
            What::Launched { executor, .. }
            | What::Unreachable { executor }
            | What::Reachable { executor } => *executor = self.0.shown(*executor),
            What::Exited { executor, .. } => {
                let hidden = *executor;
                *executor = self.0.shown(hidden);
                self.0.forget(hidden);
            }
            What::Draining { executors, .. } => {
                executors.iter_mut().for_each(|executor| *executor = self.0.shown(*executor));
            }
            _ => {}
        }
        vec![event]
    }
    fn heard(&self, inner: &Arc<dyn Application>, executor: ExecutorId, news: Heard) -> bool {
        inner.heard(self.0.hidden(executor), news)
    }
    fn release(&self, inner: &Arc<dyn Application>, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        let hidden = release.executors.iter().map(|executor| self.0.hidden(*executor)).collect();
        let answers = inner.release(&Release { executors: hidden, ..release.clone() });
        release.executors.iter().copied().zip(answers.into_iter().map(|(_, answer)| answer)).collect()
    }
    fn snapshot(&self, mut snapshot: Snapshot) -> Snapshot {
        snapshot.executors =
            snapshot.executors.into_iter().map(|(id, live)| (self.0.shown(id), live)).collect();
        snapshot
    }
    async fn logs(
        &self,
        inner: &Arc<dyn Application>,
        executor: ExecutorId,
        request: LogRequest,
    ) -> Result<Stream<Result<LogChunk>>> {
        inner.logs(self.0.hidden(executor), request).await
    }
}
