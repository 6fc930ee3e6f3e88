use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::super::{
    Application, ApplicationInfo, Generation, Heard, LogChunk, LogRequest, Outcome, Provisioning, Reason,
    Release, ReleaseAnswer, Shortfall, Snapshot, Stream, Target,
};
use super::runner::{Closing, Runner, guarded};
use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ExecutorId, Name};
use crate::state::allocation::{AllocationEvent, OpenShortfall};

/// How long the backend may think about a reason.
const EXPLAIN_DEADLINE: Duration = Duration::from_secs(10);
/// What an answer to `close` may take on its way beyond the caller's deadline and the backend's slack.
const UNREGISTER_SLACK: Duration = Duration::from_secs(3);

/// The handle of an application behind [`Managed`](super::Managed). Its drop abandons the application (T3).
#[derive(Debug)]
pub(super) struct ManagedApplication {
    shared: Arc<Shared>,
    provisioning: Arc<dyn Provisioning>,
    info: ApplicationInfo,
    closing: watch::Receiver<Closing>,
    runner: AbortHandle,
}

impl ManagedApplication {
    pub(super) fn start(
        runtime: &Handle,
        shared: Arc<Shared>,
        provisioning: Arc<dyn Provisioning>,
        info: ApplicationInfo,
    ) -> ManagedApplication {
        let (sender, closing) = watch::channel(Closing::default());
        let runner = Runner { shared: shared.clone(), provisioning: provisioning.clone(), closing: sender };
        let runner = runtime.spawn(runner.run()).abort_handle();
        ManagedApplication { shared, provisioning, info, closing, runner }
    }

    /// Asks the backend why what is short is short.
    async fn close_shortfall(&self, mut open: OpenShortfall) -> Option<Shortfall> {
        let mut more = Vec::new();
        if open.is_for_the_backend() {
            match guarded(EXPLAIN_DEADLINE, self.provisioning.explain(open.like.as_ref())).await {
                Ok(reasons) => more = reasons,
                Err(error)
                    if open.reasons.iter().any(|reason| matches!(reason, Reason::ManagerUnreachable)) =>
                {
                    tracing::debug!(%error, "the manager gives no reasons while it is out of reach");
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::DeadlineExceeded) =>
                {
                    open.reasons.push(Reason::ManagerUnreachable);
                }
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                Err(error) => {
                    more.push(Reason::Other {
                        code: Name::new(error.kind().words()).ok()?,
                        text: error.to_string(),
                    });
                }
            }
        }
        open.close(more)
    }
}

impl Drop for ManagedApplication {
    fn drop(&mut self) {
        self.shared.abandon();
        self.runner.abort();
    }
}

#[async_trait]
impl Application for ManagedApplication {
    fn info(&self) -> ApplicationInfo {
        let mut info = self.info.clone();
        if let Some(page) = self.shared.page() {
            info.page = Some(page);
        }
        info
    }

    fn set_target(&self, target: Target) -> Result<Generation> {
        self.shared.with(|state, now, out| {
            state.check(&target)?;
            state.handle(now, AllocationEvent::Wished(target), out);
            Ok(state.generation())
        })
    }

    fn release(&self, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        self.shared.with(|state, now, out| {
            let answers = state.release_answers(release);
            state.handle(now, AllocationEvent::Released(release.clone()), out);
            answers
        })
    }

    fn snapshot(&self) -> Snapshot {
        self.shared.look(|state, _| state.snapshot())
    }

    fn heard(&self, executor: ExecutorId, news: Heard) -> bool {
        self.shared.with(|state, now, out| {
            let known = state.knows(executor, &news);
            state.handle(now, AllocationEvent::Heard(executor, news), out);
            known
        })
    }

    async fn explain(&self) -> Result<Vec<Shortfall>> {
        let open = self.shared.look(|state, now| state.shortfalls(now));
        let closed = join_all(open.into_iter().map(|open| self.close_shortfall(open))).await;
        Ok(closed.into_iter().flatten().collect())
    }

    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        if !self.shared.look(|state, _| state.was_wanted(executor)) {
            return Err(Error::new(ErrorKind::NotFound, "this application never had such an executor")
                .with("executor", executor));
        }
        self.provisioning.logs(executor, request).await
    }

    async fn unregister(&self, outcome: Outcome, deadline: Duration) -> Result<()> {
        let mut closing = self.closing.clone();
        if closing.borrow().done {
            return Ok(());
        }
        let ours = self.shared.with(|state, now, out| {
            state.handle(now, AllocationEvent::Unregister { outcome, deadline }, out);
            state.closes_begun() // the one that runs, whoever began it
        });
        let answer = closing.wait_for(|closing| closing.done || closing.answered >= ours);
        match timeout(deadline.saturating_add(UNREGISTER_SLACK), answer).await {
            Ok(Ok(closing)) if closing.done => Ok(()),
            Ok(Ok(closing)) => Err(closing
                .last
                .clone()
                .unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "the application could not be ended"))
                .help("what is left ends with the lease")),
            Ok(Err(_)) => Err(Error::new(
                ErrorKind::Unavailable,
                "the runtime that the application was registered on has ended",
            )
            .help("keep that runtime until `unregister` has answered; what is left ends with the lease")),
            Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "the application didn't end in time")
                .help("what is left ends with the lease")),
        }
    }
}
