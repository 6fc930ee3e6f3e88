//! The shell of one framework: a task that subscribes, reads events, makes calls one after another, and tells the core. All
//! that it decides, [`Scheduler`](crate::state::scheduler::Scheduler) decides.

mod actor;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::clock;
use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    ApplicationSpec, LogChunk, LogRequest, Outcome, Provisioning, Reason, Reporter, Stream, Wanted,
};
use convoke_core::units::HostPort;
use tokio::sync::{Notify, oneshot, watch};

use self::actor::Actor;
use crate::explain::explain;
use crate::logs;
use crate::state::scheduler::{Scheduler, SchedulerCommand, SchedulerEvent};
use crate::v1::http::Http;

/// What TEARDOWN and its confirmation are left of a deadline.
const TEARDOWN_TIME: Duration = Duration::from_secs(2);

/// What the handle and the task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) http: Http,
    pub(crate) spec: Arc<ApplicationSpec>,
    report: Reporter,
    /// Whom the tasks run as where the application doesn't say.
    user: String,
    state: Mutex<State>,
    /// There are commands to execute.
    wake: Notify,
    /// Whether the application is closed, and if so, cleanly.
    closed: watch::Sender<Option<bool>>,
}

#[derive(Debug)]
struct State {
    scheduler: Scheduler,
    /// What is to be done, in order; only the task does it.
    commands: VecDeque<SchedulerCommand>,
    /// Who was subscribed to last, to ask him.
    master: Option<HostPort>,
}

/// What `open` answers with.
#[derive(Debug)]
pub(crate) struct Subscribed {
    pub(crate) handle: Handle,
    pub(crate) framework: String,
    pub(crate) master: HostPort,
}

/// Makes a framework of an application.
///
/// # Cancel safety
/// The handshake is seen through in a task of its own, because one that is cut off can leave a framework which the master
/// never gives up; where nobody waits for it any more, it is torn down.
pub(crate) async fn open(
    http: Http,
    scheduler: Scheduler,
    spec: Arc<ApplicationSpec>,
    report: Reporter,
    user: String,
) -> Result<Subscribed> {
    let state = State { scheduler, commands: VecDeque::new(), master: None };
    let shared = Arc::new(Shared {
        http,
        spec,
        report,
        user,
        state: Mutex::new(state),
        wake: Notify::new(),
        closed: watch::Sender::new(None),
    });
    let (opened, answer) = oneshot::channel();
    tokio::spawn(Actor::new(shared).run(opened));
    answer.await.map_err(|_| Error::internal("the framework's task ended without an answer"))?
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn input(&self, event: SchedulerEvent) {
        let mut state = self.lock();
        let mut out = Vec::new();
        state.scheduler.handle(clock::now(), event, &mut out);
        state.commands.extend(out);
        let closed = state.scheduler.closed();
        drop(state);
        if closed.is_some() {
            self.closed.send_replace(closed);
        }
        self.wake.notify_one();
    }

    /// Reads something of the scheduler.
    pub(crate) fn read<A>(&self, read: impl FnOnce(&Scheduler) -> A) -> A {
        read(&self.lock().scheduler)
    }

    /// The master that was subscribed to last.
    pub(crate) fn master(&self) -> Option<HostPort> {
        self.lock().master.clone()
    }

    fn in_reach(&self) -> Result<()> {
        if self.read(|scheduler| scheduler.subscription().live()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "there is no subscription to the Mesos master at the moment"))
    }
}

/// Starts and stops the executors of one framework.
#[derive(Debug)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
    /// Dropped with the handle, which ends the task.
    _guard: oneshot::Sender<()>,
}

#[async_trait]
impl Provisioning for Handle {
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        self.shared.input(SchedulerEvent::Start(wanted));
        Ok(()) // kept across an outage
    }

    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()> {
        self.shared.input(SchedulerEvent::Stop(executors));
        self.shared.in_reach()
    }

    async fn close(&self, _outcome: Outcome, deadline: Duration) -> Result<()> {
        let mut closed = self.shared.closed.subscribe();
        self.shared.input(SchedulerEvent::Close);
        let reserve = TEARDOWN_TIME.min(deadline / 4);
        let over = |closed: &mut watch::Receiver<Option<bool>>, within| {
            let mut closed = closed.clone();
            async move {
                let waited = tokio::time::timeout(within, closed.wait_for(Option::is_some)).await;
                waited.ok().and_then(|known| known.ok().and_then(|known| *known))
            }
        };
        let mut clean = over(&mut closed, deadline - reserve).await;
        if clean.is_none() {
            self.shared.input(SchedulerEvent::TearDown);
            clean = over(&mut closed, reserve).await;
        }
        let left = self.shared.read(Scheduler::live);
        match clean {
            Some(true) => Ok(()),
            Some(false) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the framework was torn down before the end of all of its tasks was seen",
            )
            .with("left", left)),
            None => Err(self.shared.in_reach().err().unwrap_or_else(|| {
                Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the Mesos master did not confirm the end of the framework",
                )
                .with("left", left)
            })),
        }
    }

    async fn explain(&self, like: Option<&Wanted>) -> Result<Vec<Reason>> {
        explain(&self.shared, like).await
    }

    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        logs::read(self.shared.clone(), executor, request).await
    }
}
