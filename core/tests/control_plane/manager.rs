//! A cluster manager whose every move is the test's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::clock::wall_time;
use convoke_core::ids::{ExecutorId, Name, ProfileId};
use convoke_core::manager::*;
use convoke_core::resource::Resources;
use convoke_core::{Error, Result};
use tokio::sync::mpsc;

/// Shared by the test and the driver.
#[derive(Debug, Clone, Default)]
pub struct TestManager(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    spec: Option<Arc<ApplicationSpec>>,
    events: Option<mpsc::UnboundedSender<Event>>,
    seq: u64,
    next: u64,
    wanted: BTreeMap<ExecutorId, LaunchCommand>,
    heard: Vec<(ExecutorId, Heard)>,
    released: Vec<(ExecutorId, ExitCause)>,
    shortfalls: Vec<Reason>,
    unregistered: Option<Outcome>,
    dropped: bool,
    /// `register` doesn't come back.
    hangs: bool,
    fetches: bool,
}

impl TestManager {
    pub fn new() -> Arc<TestManager> {
        Arc::default()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The commands of executors that are wanted and were not taken yet.
    pub fn wanted(&self) -> Vec<(ExecutorId, LaunchCommand)> {
        self.state().wanted.iter().map(|(executor, command)| (*executor, command.clone())).collect()
    }

    /// What the driver told of an executor.
    pub fn heard(&self, executor: ExecutorId) -> Vec<Heard> {
        self.state().heard.iter().filter(|(of, _)| *of == executor).map(|(_, news)| news.clone()).collect()
    }

    /// For what cause the driver asked for the end of an executor.
    pub fn released(&self, executor: ExecutorId) -> Option<ExitCause> {
        self.state().released.iter().find(|(of, _)| *of == executor).map(|(_, why)| why.clone())
    }

    pub fn unregistered(&self) -> Option<Outcome> {
        self.state().unregistered.clone()
    }

    pub fn dropped(&self) -> bool {
        self.state().dropped
    }

    pub fn was_asked(&self) -> bool {
        self.state().spec.is_some()
    }

    pub fn spec(&self) -> Arc<ApplicationSpec> {
        self.state().spec.clone().unwrap()
    }

    /// Registers nobody.
    pub fn hang(&self) {
        self.state().hangs = true;
    }

    /// Its nodes have the bootstrap from a URL.
    pub fn fetch(&self) {
        self.state().fetches = true;
    }

    /// Says this as the reason of every shortfall.
    pub fn set_reason(&self, reason: Reason) {
        self.state().shortfalls = vec![reason];
    }

    /// Tells an event to the driver.
    pub fn tell(&self, what: What) {
        let mut state = self.state();
        state.seq += 1;
        let event = Event { seq: state.seq, at: wall_time(), what };
        if let Some(events) = &state.events {
            let _ = events.send(event);
        }
    }

    pub fn grant(&self, executor: ExecutorId) {
        self.tell(What::Granted(Grant {
            executor,
            profile: ProfileId(0),
            native: format!("native-{executor}"),
            host: Some(Name::new("granted-host").unwrap()),
            actual: Resources::default(),
            devices: BTreeMap::new(),
        }));
    }

    /// It ends at the manager: its id is nobody's from now on.
    pub fn exit(&self, executor: ExecutorId, exit: Exit) {
        self.state().wanted.remove(&executor);
        self.tell(What::Exited { executor, exit });
    }

    /// Takes back what was wanted.
    pub fn withdraw(&self, executor: ExecutorId) {
        self.state().wanted.remove(&executor);
    }
}

#[async_trait]
impl ClusterManager for TestManager {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "test",
            version: "0".to_owned(),
            capabilities: Capabilities::default(),
            least_lease: Duration::ZERO,
        }
    }

    fn fetches_bootstrap(&self) -> bool {
        self.state().fetches
    }

    async fn register(&self, spec: ApplicationSpec) -> Result<Registration> {
        let (sender, receiver) = mpsc::unbounded_channel();
        // Made first, as a manager that has begun to register makes something that must go when it is dropped.
        let application = Box::new(TestApplication(self.clone()));
        if self.state().hangs {
            self.state().spec = Some(Arc::new(spec));
            std::future::pending::<()>().await;
            unreachable!("pending");
        }
        let mut state = self.state();
        state.spec = Some(Arc::new(spec));
        state.events = Some(sender);
        Ok(Registration {
            application,
            events: Events::new(tokio_stream::wrappers::UnboundedReceiverStream::new(receiver)),
        })
    }
}

#[derive(Debug)]
struct TestApplication(TestManager);

impl Drop for TestApplication {
    fn drop(&mut self) {
        self.0.state().dropped = true;
    }
}

#[async_trait]
impl Application for TestApplication {
    fn info(&self) -> ApplicationInfo {
        let spec = self.0.spec();
        ApplicationInfo {
            id: spec.id.clone(),
            native: "native".to_owned(),
            page: None,
            capabilities: Capabilities::default(),
        }
    }

    fn set_target(&self, target: Target) -> Result<Generation> {
        let mut state = self.0.state();
        let launcher = state.spec.as_ref().unwrap().launcher.clone();
        for want in target.profiles.values() {
            while state.next < u64::from(want.executors) {
                let executor = ExecutorId(state.next);
                state.next += 1;
                let command = launcher.launch(executor, &want.profile);
                state.wanted.insert(executor, command);
            }
        }
        Ok(Generation(state.next))
    }

    fn release(&self, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        let mut state = self.0.state();
        state.released.extend(release.executors.iter().map(|executor| (*executor, release.why.clone())));
        release.executors.iter().map(|executor| (*executor, ReleaseAnswer::Accepted)).collect()
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { seq: self.0.state().seq, executors: BTreeMap::new() }
    }

    fn heard(&self, executor: ExecutorId, news: Heard) -> bool {
        let mut state = self.0.state();
        state.heard.push((executor, news));
        state.wanted.contains_key(&executor)
    }

    async fn explain(&self) -> Result<Vec<Shortfall>> {
        let state = self.0.state();
        let reasons = state.shortfalls.clone();
        Ok(vec![Shortfall {
            profile: Some(ProfileId(0)),
            wanted: 2,
            live: 0,
            since: Duration::from_secs(1),
            reasons,
        }])
    }

    async fn logs(&self, _: ExecutorId, _: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        Err(Error::unsupported("no logs"))
    }

    async fn unregister(&self, outcome: Outcome, _: Duration) -> Result<()> {
        let mut state = self.0.state();
        state.unregistered = Some(outcome);
        state.events = None;
        Ok(())
    }
}
