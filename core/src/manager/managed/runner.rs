//! The task that makes the calls to the backend.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::{LogFrom, LogRequest, LogStream, Outcome, Provisioning};
use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ExecutorId;
use crate::state::allocation::{AllocationCommand, AllocationEvent};

/// A call that hasn't answered by then is dropped, and counts as one that found the manager out of reach.
const CALL_DEADLINE: Duration = Duration::from_secs(120);
/// What `close` may be late beyond its own deadline, so that its own words reach the caller.
const CLOSE_SLACK: Duration = Duration::from_secs(1);
/// How long running calls may take to let go when the application closes.
const DROP_DEADLINE: Duration = Duration::from_secs(1);
/// How much of a log is read for an exit, and how long that may take.
const TAIL_BYTES: u64 = 4096;
const TAIL_DEADLINE: Duration = Duration::from_secs(4);

/// How far the closing of an application has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Closing {
    /// How many calls of `close` were answered.
    pub(super) answered: u64,
    /// One of them said that nothing is left.
    pub(super) done: bool,
    /// What the last one said.
    pub(super) last: Option<Error>,
}

/// Runs commands until the application is closed or abandoned.
pub(super) struct Runner {
    pub(super) shared: Arc<Shared>,
    pub(super) provisioning: Arc<dyn Provisioning>,
    pub(super) closing: watch::Sender<Closing>,
}

impl Drop for Runner {
    /// However it ends, also with its runtime: nobody runs commands any more.
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl Runner {
    pub(super) async fn run(self) {
        // dropped with this future, and with it every running call (T3)
        let mut calls = JoinSet::new();
        let clock = self.shared.clock();
        loop {
            let (commands, deadline) = self.shared.take_commands();
            for command in commands {
                if matches!(command, AllocationCommand::Close { .. })
                    && timeout(DROP_DEADLINE, calls.shutdown()).await.is_err()
                {
                    tracing::warn!("a call to the manager's backend doesn't let go; closing all the same");
                }
                calls.spawn(call(self.provisioning.clone(), command));
            }
            tokio::select! {
                () = self.shared.changed() => {}
                Some(answer) = calls.join_next(), if !calls.is_empty() => {
                    // a call that was dropped has no answer
                    if let Ok(event) = answer && self.answer(event) {
                        return;
                    }
                }
                () = clock.sleep_until(deadline) => self.shared.handle(AllocationEvent::Tick),
            }
        }
    }

    /// Answers whether nothing is left.
    fn answer(&self, event: AllocationEvent) -> bool {
        let closed = match &event {
            AllocationEvent::CloseAnswered(answer) => Some(answer.clone()),
            _ => None,
        };
        self.shared.handle(event);
        let Some(answer) = closed else { return false };
        let done = answer.is_ok();
        self.closing.send_modify(|closing| {
            closing.answered += 1;
            closing.done |= done;
            closing.last = answer.err();
        });
        done
    }
}

/// Makes one call and gives its answer, whatever happens in the backend.
async fn call(provisioning: Arc<dyn Provisioning>, command: AllocationCommand) -> AllocationEvent {
    match command {
        AllocationCommand::Start(wanted) => {
            let ids = wanted.iter().map(|wanted| wanted.executor).collect();
            AllocationEvent::StartAnswered(ids, guarded(CALL_DEADLINE, provisioning.start(wanted)).await)
        }
        AllocationCommand::Stop(ids) => {
            let answer = guarded(CALL_DEADLINE, provisioning.stop(ids.clone())).await;
            AllocationEvent::StopAnswered(ids, answer)
        }
        AllocationCommand::List => AllocationEvent::Listed(guarded(CALL_DEADLINE, provisioning.list()).await),
        AllocationCommand::ReadTail(executor) => {
            let tail = guarded(TAIL_DEADLINE, read_tail(&*provisioning, executor)).await;
            let tail = tail.unwrap_or_else(|error| {
                tracing::debug!(%executor, %error, "no tail of its log");
                Bytes::new()
            });
            AllocationEvent::TailRead(executor, tail)
        }
        AllocationCommand::Close { outcome, deadline } => {
            AllocationEvent::CloseAnswered(close(&*provisioning, outcome, deadline).await)
        }
    }
}

async fn close(provisioning: &dyn Provisioning, outcome: Outcome, deadline: Duration) -> Result<()> {
    guarded(deadline.saturating_add(CLOSE_SLACK), provisioning.close(outcome, deadline)).await
}

/// Bounds a call of the backend, and makes an error of its panic.
pub(super) async fn guarded<T>(deadline: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(deadline, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => {
            let words = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message")
                .to_owned();
            tracing::error!(panic = words, "the manager's backend panicked");
            Err(Error::internal("the manager's backend panicked").with("panic", words))
        }
        Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "the manager's backend didn't answer in time")
            .with("deadline", crate::units::format_duration(deadline))),
    }
}

async fn read_tail(provisioning: &dyn Provisioning, executor: ExecutorId) -> Result<Bytes> {
    let request = LogRequest { stream: LogStream::Stderr, from: LogFrom::Last(TAIL_BYTES), follow: false };
    let mut chunks = provisioning.logs(executor, request).await?;
    let mut tail = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        tail.extend_from_slice(&chunk?.bytes);
        if tail.len() as u64 >= 2 * TAIL_BYTES {
            break; // it gives more than it was asked for
        }
    }
    Ok(tail.freeze())
}
