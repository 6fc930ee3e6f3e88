//! A wrapper around any cluster manager, on the public traits alone, that breaks one thing.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    Application, ApplicationInfo, ApplicationSpec, ClusterManager, ClusterReport, Descriptor, Event, Events,
    Generation, Heard, LogChunk, LogRequest, Operator, Outcome, Registration, Release, ReleaseAnswer,
    Shortfall, Snapshot, Stream, Target,
};
use convoke_core::{Error, Result};
use futures_util::StreamExt;

/// What a mutant does differently. Each method does as it should unless it is overridden.
#[async_trait]
#[allow(unused_variables, reason = "the defaults break nothing")]
pub(super) trait Breakage: std::fmt::Debug + Send + Sync + 'static {
    /// Changes a specification on its way in.
    fn specification(&self, spec: &mut ApplicationSpec) {}
    /// Changes what a refused registration answers.
    fn refused(&self, error: Error) -> Error {
        error
    }
    /// Notes that an application was registered.
    fn registered(&self, inner: &Arc<dyn Application>) {}
    /// Something that lives as long as an application is registered here, and is dropped in an orderly end alone.
    fn companion(&self, spec: &ApplicationSpec) -> Option<Box<dyn Any + Send>> {
        None
    }
    fn snapshot(&self, snapshot: Snapshot) -> Snapshot {
        snapshot
    }
    fn info(&self, info: ApplicationInfo) -> ApplicationInfo {
        info
    }
    fn set_target(&self, inner: &Arc<dyn Application>, target: Target) -> Result<Generation> {
        inner.set_target(target)
    }
    fn release(&self, inner: &Arc<dyn Application>, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        inner.release(release)
    }
    /// Changes an event on its way out, leaves it out, or doubles it.
    fn event(&self, inner: &Arc<dyn Application>, event: Event) -> Vec<Event> {
        vec![event]
    }
    fn heard(&self, inner: &Arc<dyn Application>, executor: ExecutorId, news: Heard) -> bool {
        inner.heard(executor, news)
    }
    fn explain(&self, shortfalls: Vec<Shortfall>) -> Vec<Shortfall> {
        shortfalls
    }
    async fn logs(
        &self,
        inner: &Arc<dyn Application>,
        executor: ExecutorId,
        request: LogRequest,
    ) -> Result<Stream<Result<LogChunk>>> {
        inner.logs(executor, request).await
    }
    async fn unregister(
        &self,
        inner: &Arc<dyn Application>,
        outcome: Outcome,
        deadline: Duration,
    ) -> Result<()> {
        inner.unregister(outcome, deadline).await
    }
    /// Whether a dropped handle keeps the application alive for ever.
    fn survives_its_driver(&self) -> bool {
        false
    }
}

/// Applications that a mutant keeps though their handles were dropped, until the mutant itself is.
type Kept = Arc<Mutex<Vec<Arc<dyn Application>>>>;

/// A manager that is broken in one way.
#[derive(Debug)]
pub(super) struct Broken<B> {
    inner: Arc<dyn ClusterManager>,
    breakage: Arc<B>,
    kept: Kept,
}

impl<B: Breakage> Broken<B> {
    pub(super) fn new(inner: Arc<dyn ClusterManager>, breakage: B) -> Broken<B> {
        Broken { inner, breakage: Arc::new(breakage), kept: Kept::default() }
    }
}

#[async_trait]
impl<B: Breakage> ClusterManager for Broken<B> {
    fn describe(&self) -> Descriptor {
        self.inner.describe()
    }

    async fn register(&self, mut spec: ApplicationSpec) -> Result<Registration> {
        self.breakage.specification(&mut spec);
        let companion = Companion(Mutex::new(self.breakage.companion(&spec)));
        let registered = self.inner.register(spec).await.map_err(|error| self.breakage.refused(error))?;
        let inner: Arc<dyn Application> = Arc::from(registered.application);
        self.breakage.registered(&inner);
        if self.breakage.survives_its_driver() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(inner.clone());
        }
        // the stream must not keep the application: its drop is the driver's end
        let (breakage, weak) = (self.breakage.clone(), Arc::downgrade(&inner));
        let events = registered.events.flat_map(move |event| {
            let events = match weak.upgrade() {
                Some(inner) => breakage.event(&inner, event),
                None => vec![event],
            };
            futures_util::stream::iter(events)
        });
        let application = Box::new(BrokenApplication { inner, breakage: self.breakage.clone(), companion });
        Ok(Registration { application, events: Events::new(events) })
    }

    fn operator(&self) -> Option<&dyn Operator> {
        self.inner.operator()
    }

    fn fetches_bootstrap(&self) -> bool {
        self.inner.fetches_bootstrap()
    }

    async fn cluster(&self) -> Result<ClusterReport> {
        self.inner.cluster().await
    }
}

#[derive(Debug)]
struct BrokenApplication<B> {
    inner: Arc<dyn Application>,
    breakage: Arc<B>,
    companion: Companion,
}

/// What a mutant keeps beside an application.
struct Companion(Mutex<Option<Box<dyn Any + Send>>>);

impl std::fmt::Debug for Companion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Companion")
    }
}

#[async_trait]
impl<B: Breakage> Application for BrokenApplication<B> {
    fn info(&self) -> ApplicationInfo {
        self.breakage.info(self.inner.info())
    }
    fn set_target(&self, target: Target) -> Result<Generation> {
        self.breakage.set_target(&self.inner, target)
    }
    fn release(&self, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        self.breakage.release(&self.inner, release)
    }
    fn snapshot(&self) -> Snapshot {
        self.breakage.snapshot(self.inner.snapshot())
    }
    fn heard(&self, executor: ExecutorId, news: Heard) -> bool {
        self.breakage.heard(&self.inner, executor, news)
    }
    async fn explain(&self) -> Result<Vec<Shortfall>> {
        self.inner.explain().await.map(|shortfalls| self.breakage.explain(shortfalls))
    }
    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        self.breakage.logs(&self.inner, executor, request).await
    }
    async fn unregister(&self, outcome: Outcome, deadline: Duration) -> Result<()> {
        drop(self.companion.0.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.breakage.unregister(&self.inner, outcome, deadline).await
    }
}
