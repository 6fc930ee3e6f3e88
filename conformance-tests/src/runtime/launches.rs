//! The subject's manager with the kit beside it: it sees each executor's command, with its ticket, and can change where an
//! executor dials its driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use convoke_core::Result;
use convoke_core::executor::environment;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    ApplicationSpec, ClusterManager, ClusterReport, Descriptor, Event, Events, Exit, LaunchCommand, Launcher,
    Registration, What,
};
use convoke_core::resource::ResourceProfile;
use convoke_core::units::Cpus;
use tokio::sync::mpsc;

use super::meddle::Meddler;
use super::relay::Relay;
use crate::wait::Pulse;

/// What the kit knows of, and does to, the launches of one driver.
#[derive(Debug)]
pub(crate) struct Launches {
    state: Mutex<State>,
    declared: mpsc::UnboundedSender<(ExecutorId, Exit)>,
    declarations: Mutex<Option<mpsc::UnboundedReceiver<(ExecutorId, Exit)>>>,
    runtime: tokio::runtime::Handle,
    /// Executors dial through relays of the kit's.
    relayed: bool,
    /// Between executors and the driver, where the subject is a mutant.
    meddler: Option<Arc<Meddler>>,
    /// Where nobody answers.
    nowhere: std::net::TcpListener,
    pulse: Pulse,
}

#[derive(Debug, Default)]
struct State {
    /// As the driver wrote them.
    commands: BTreeMap<ExecutorId, LaunchCommand>,
    handed: BTreeSet<ExecutorId>,
    hand_over: bool,
    relays: BTreeMap<ExecutorId, Arc<Relay>>,
}

impl Launches {
    pub(crate) fn new(
        relayed: bool,
        meddler: Option<Arc<Meddler>>,
        pulse: Pulse,
    ) -> std::io::Result<Arc<Launches>> {
        let (declared, declarations) = mpsc::unbounded_channel();
        Ok(Arc::new(Launches {
            state: Mutex::default(),
            declared,
            declarations: Mutex::new(Some(declarations)),
            runtime: tokio::runtime::Handle::current(),
            relayed,
            meddler,
            nowhere: std::net::TcpListener::bind(("127.0.0.1", 0))?,
            pulse,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, what the manager starts does not find its driver: the kit joins in its place.
    pub(crate) fn hand_over(&self, yes: bool) {
        self.lock().hand_over = yes;
    }

    /// The executors that wait for the kit to join in their place.
    pub(crate) fn handed(&self) -> Vec<ExecutorId> {
        self.lock().handed.iter().copied().collect()
    }

    /// The command of an executor as its driver wrote it.
    pub(crate) fn command(&self, executor: ExecutorId) -> Option<LaunchCommand> {
        self.lock().commands.get(&executor).cloned()
    }

    /// What stands between an executor and its driver.
    pub(crate) fn relay(&self, executor: ExecutorId) -> Option<Arc<Relay>> {
        self.lock().relays.get(&executor).cloned()
    }

    /// The manager declares an exit, while the executor lives on.
    pub(crate) fn declare(&self, executor: ExecutorId, exit: Exit) {
        let _ = self.declared.send((executor, exit)); // nobody listens once its driver is gone
    }

    fn route(&self, executor: ExecutorId, command: LaunchCommand) -> LaunchCommand {
        let mut sent = command.clone();
        let mut state = self.lock();
        state.commands.insert(executor, command);
        if state.hand_over || state.handed.contains(&executor) {
            state.handed.insert(executor);
            if let Ok(nowhere) = self.nowhere.local_addr() {
                sent.env.insert(environment::DRIVER.to_owned(), nowhere.to_string());
            }
            // it waits for its end without a driver, for as long as the kit plays it
            sent.env.insert(environment::LEASE_MS.to_owned(), "600000".to_owned());
        } else {
            let driver = sent.env.get(environment::DRIVER).cloned().unwrap_or_default();
            let mut next = driver.split(',').next().unwrap_or_default().to_owned();
            if let Some(meddler) = &self.meddler {
                meddler.stand_before(&next);
                next = meddler.address().to_owned();
            }
            // an executor's own relay stands nearest to the driver's side that can be cut
            if self.relayed && !state.relays.contains_key(&executor) {
                let _within = self.runtime.enter();
                match Relay::start(&next, self.pulse.clone()) {
                    Ok(relay) => drop(state.relays.insert(executor, Arc::new(relay))),
                    Err(error) => tracing::error!(%error, "the kit has no relay"),
                }
            }
            if let Some(relay) = state.relays.get(&executor) {
                next = relay.address().to_owned();
            }
            sent.env.insert(environment::DRIVER.to_owned(), next);
        }
        drop(state);
        self.pulse.ring();
        sent
    }
}

/// The subject's manager, watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) inner: Arc<dyn ClusterManager>,
    pub(crate) launches: Arc<Launches>,
}

#[async_trait]
impl ClusterManager for Watched {
    fn describe(&self) -> Descriptor {
        self.inner.describe()
    }

    fn default_executor_cpus(&self) -> Option<Cpus> {
        self.inner.default_executor_cpus()
    }

    async fn cluster(&self) -> Result<ClusterReport> {
        self.inner.cluster().await
    }

    async fn register(&self, mut spec: ApplicationSpec) -> Result<Registration> {
        let launches = self.launches.clone();
        spec.launcher = Arc::new(Routed { inner: spec.launcher.clone(), launches: launches.clone() });
        let Registration { application, events } = self.inner.register(spec).await?;
        let taken = launches.declarations.lock().unwrap_or_else(PoisonError::into_inner).take();
        let declarations = taken.unwrap_or_else(|| mpsc::unbounded_channel().1);
        Ok(Registration { application, events: Events::new(retold(events, declarations)) })
    }
}

/// The manager's events with the kit's declarations among them; an executor that was declared exited is told no more of.
fn retold(
    events: Events,
    declarations: mpsc::UnboundedReceiver<(ExecutorId, Exit)>,
) -> impl tokio_stream::Stream<Item = Event> + Send + 'static {
    let declared: BTreeSet<ExecutorId> = BTreeSet::new();
    let start = (events, declarations, declared, 0_u64);
    futures_util::stream::unfold(start, |(mut events, mut declarations, mut declared, told)| async move {
        loop {
            let (at, what) = tokio::select! {
                event = events.next() => {
                    let Event { at, what, .. } = event?;
                    (at, what)
                }
                Some((executor, exit)) = declarations.recv() => {
                    (convoke_core::clock::wall_time(), What::Exited { executor, exit })
                }
            };
            let of = match &what {
                What::Exited { executor, .. } | What::Launched { executor, .. } => Some(*executor),
                _ => None,
            };
            if of.is_some_and(|executor| declared.contains(&executor)) {
                continue;
            }
            if let What::Exited { executor, .. } = &what {
                declared.insert(*executor);
            }
            let event = Event { seq: told + 1, at, what };
            return Some((event, (events, declarations, declared, told + 1)));
        }
    })
}

#[derive(Debug)]
struct Routed {
    inner: Arc<dyn Launcher>,
    launches: Arc<Launches>,
}

impl Launcher for Routed {
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand {
        self.launches.route(executor, self.inner.launch(executor, profile))
    }
}
