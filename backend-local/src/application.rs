//! One application on the simulated nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, EndedBy, LimitScope, LogChunk, LogRequest, Outcome, Provisioning, Reason, Reporter,
    Stream, Wanted,
};
use convoke_core::process::logs::LogReader;
use convoke_core::units::format_duration;
use convoke_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::executor::{Executor, Order, StopCause};
use crate::folder::ApplicationFolder;
use crate::requests;
use crate::state::nodes::{ApplicationKey, Granted, NodesEvent, Request};

/// What an application's handle and its executors share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) key: ApplicationKey,
    pub(crate) spec: Arc<ApplicationSpec>,
    pub(crate) report: Reporter,
    pub(crate) folder: ApplicationFolder,
    runtime: Handle,
    executors: Mutex<Executors>,
    /// How many executors are granted and not gone.
    live: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Executors {
    known: BTreeMap<ExecutorId, Known>,
    closing: bool,
    /// It is ended from outside: what is wanted from now on isn't refused, and comes to nothing.
    killed: bool,
}

#[derive(Debug)]
struct Known {
    wanted: Arc<Wanted>,
    state: State,
    /// Cancelled when it prints no more.
    ended: CancellationToken,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[derive(Debug)]
enum State {
    Waiting,
    Granted(watch::Sender<Order>),
    Gone,
}

impl Shared {
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        spec: Arc<ApplicationSpec>,
        report: Reporter,
        folder: ApplicationFolder,
    ) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            key: cluster.new_key(),
            cluster,
            spec,
            report,
            folder,
            runtime: Handle::current(),
            executors: Mutex::default(),
            live: watch::Sender::new(0),
        });
        shared.cluster.opened(&shared);
        shared
    }

    fn executors(&self) -> MutexGuard<'_, Executors> {
        self.executors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, wanted: &Wanted) -> Request {
        Request {
            need: self.cluster.charged(&wanted.profile.each),
            placement: wanted.placement.clone(),
            excluded: wanted.excluded.to_vec(),
        }
    }

    fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        for wanted in wanted {
            {
                let mut executors = self.executors();
                if executors.killed {
                    return Ok(());
                }
                if executors.closing {
                    return Err(Error::new(ErrorKind::Cancelled, "the application is closing"));
                }
                if executors.known.contains_key(&wanted.executor) {
                    continue;
                }
                let known = Known {
                    wanted: Arc::new(wanted.clone()),
                    state: State::Waiting,
                    ended: CancellationToken::new(),
                };
                executors.known.insert(wanted.executor, known);
            }
            let request = self.request(&wanted);
            self.cluster.handle(NodesEvent::Wanted((self.key, wanted.executor), request));
        }
        Ok(())
    }

    /// Starts an executor that was granted a place; `false` where it is wanted no more.
    pub(crate) fn begin(self: &Arc<Self>, granted: Granted) -> bool {
        let mut executors = self.executors();
        if executors.closing {
            return false;
        }
        let id = granted.key.1;
        let Some(known) = executors.known.get_mut(&id) else { return false };
        if !matches!(known.state, State::Waiting) {
            return false;
        }
        let (give, orders) = watch::channel(Order::Run);
        known.state = State::Granted(give);
        let executor = Executor {
            shared: Arc::clone(self),
            actual: self.cluster.charged(&known.wanted.profile.each),
            wanted: Arc::clone(&known.wanted),
            granted,
            orders,
        };
        self.live.send_modify(|live| *live += 1);
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            let life = tokio::spawn(executor.live());
            if let Err(error) = life.await {
                tracing::error!(executor = %id, %error, "an executor's keeper failed");
            }
            if let Some(known) = shared.executors().known.get_mut(&id) {
                known.state = State::Gone;
                known.ended.cancel();
            }
            shared.cluster.handle(NodesEvent::Gone((shared.key, id)));
            shared.live.send_modify(|live| *live -= 1);
        });
        true
    }

    /// Ends these, or wants them no more.
    pub(crate) fn stop(&self, ids: &[ExecutorId], cause: StopCause) {
        for id in ids {
            let withdrawn = {
                let mut executors = self.executors();
                match executors.known.get(id).map(|known| &known.state) {
                    Some(State::Waiting) => executors.known.remove(id).is_some(),
                    Some(State::Granted(orders)) => {
                        // The first cause stays.
                        orders.send_if_modified(|order| {
                            let running = *order == Order::Run;
                            if running {
                                *order = Order::Stop(cause);
                            }
                            running
                        });
                        false
                    }
                    Some(State::Gone) | None => false,
                }
            };
            if withdrawn {
                self.cluster.handle(NodesEvent::Gone((self.key, *id)));
            }
        }
    }

    /// Takes no more wishes and gives `order` to all.
    fn end_all(&self, order: Order) {
        let mut withdrawn = Vec::new();
        {
            let mut executors = self.executors();
            executors.closing = true;
            for (id, known) in &executors.known {
                match &known.state {
                    State::Waiting => withdrawn.push(*id),
                    State::Granted(orders) => {
                        orders.send_if_modified(|now| {
                            let running = *now == Order::Run;
                            if running {
                                *now = order;
                            }
                            running
                        });
                    }
                    State::Gone => {}
                }
            }
            executors.known.retain(|_, known| !matches!(known.state, State::Waiting));
        }
        for id in withdrawn {
            self.cluster.handle(NodesEvent::Gone((self.key, id)));
        }
    }

    /// Somebody at a terminal ends it: all of it goes, then its driver is told (R6).
    pub(crate) async fn killed_by(&self, who: String) {
        tracing::warn!(application = %self.spec.id, %who, "the application is ended from outside");
        self.folder.ends(&Outcome::Killed);
        self.executors().killed = true;
        self.end_all(Order::Stop(StopCause::Killed));
        self.all_gone().await;
        self.folder.has_ended();
        self.report.ended(Outcome::Killed, EndedBy::Operator(who));
    }

    async fn all_gone(&self) {
        // The sender is our own: it can't be gone.
        let _ = self.live.subscribe().wait_for(|live| *live == 0).await;
    }
}

/// The handle of an application. Dropping it abandons the application: its executors see the end of their standard input.
#[derive(Debug)]
pub(crate) struct LocalApplication {
    shared: Arc<Shared>,
    requests: AbortHandle,
}

impl LocalApplication {
    pub(crate) fn new(shared: Arc<Shared>) -> LocalApplication {
        let requests = requests::listen(&shared);
        LocalApplication { shared, requests }
    }
}

impl Drop for LocalApplication {
    fn drop(&mut self) {
        self.requests.abort();
        self.shared.end_all(Order::Abandon);
        self.shared.cluster.closed(self.shared.key);
    }
}

#[async_trait]
impl Provisioning for LocalApplication {
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        self.shared.start(wanted)
    }

    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()> {
        self.shared.stop(&executors, StopCause::Released);
        Ok(())
    }

    async fn close(&self, outcome: Outcome, deadline: Duration) -> Result<()> {
        self.shared.folder.ends(&outcome);
        self.shared.end_all(Order::Stop(StopCause::Unregistered));
        tokio::time::timeout(deadline, self.shared.all_gone()).await.map_err(|_| {
            Error::new(ErrorKind::DeadlineExceeded, "executors are still ending")
                .with("executors", *self.shared.live.borrow())
                .with("deadline", format_duration(deadline))
        })
    }

    async fn explain(&self, like: Option<&Wanted>) -> Result<Vec<Reason>> {
        let Some(like) = like else { return Ok(Vec::new()) };
        let shared = &self.shared;
        let request = shared.request(like);
        let (mut reasons, held) =
            shared.cluster.with_nodes(|nodes| (nodes.explain(&request), nodes.held_by(shared.key)));
        if let (Some(_), Ok(reasons), 1..) = (shared.cluster.master.only_executor(), &mut reasons, held) {
            let name =
                Name::new(format!("executors of {} (local-cluster holds several)", shared.cluster.master))?;
            reasons.insert(0, Reason::Limit { scope: LimitScope::Cluster, name, limit: 1, used: 1 });
        }
        reasons
    }
    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        let ended = self.shared.executors().known.get(&executor).map(|known| known.ended.clone());
        let ended = ended.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such executor").with("executor", executor)
        })?;
        LogReader::stream(&self.shared.folder.executor(executor).logs, &request, ended)
    }
}
