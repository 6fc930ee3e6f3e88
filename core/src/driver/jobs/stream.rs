//! The driver's end of one executor's stream of tasks: polled by its connection, it takes in what has come and gives out what
//! the scheduler has for this executor. In one poll, since what came is what makes room.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;

use super::plane::{Attached, Tasks};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ExecutorId, TaskId};
use crate::manager::Stream;
use crate::rpc::status::to_status;
use crate::rpc::v1::{self, executor_message::Message};
use crate::state::tasks::{Arguments, Dispatch};

/// Messages taken in before one is given out.
const MOST_INBOUND: u32 = 16;

pub(super) type Inbound = Stream<Result<v1::ExecutorMessage, Status>>;

pub(super) struct ExecutorStream {
    tasks: Arc<Tasks>,
    executor: ExecutorId,
    /// Which of the executor's streams this is: a newer one replaces it.
    stream: u64,
    inbound: Inbound,
}

impl ExecutorStream {
    pub(super) fn attach(
        tasks: &Arc<Tasks>,
        executor: ExecutorId,
        hello: &v1::ExecutorHello,
        inbound: Inbound,
    ) -> Result<ExecutorStream> {
        tasks.registry.check_same(&hello.functions, &hello.function_names)?;
        let held: Vec<_> = hello
            .held_tasks
            .iter()
            .zip(&hello.held_attempts)
            .map(|(task, attempt)| (TaskId(*task), *attempt))
            .collect();
        let stream = tasks.turn(|core, out, _| {
            if core.closed || !core.scheduler.executor_attached(clock::now(), executor, &held, out) {
                return Err(Error::new(ErrorKind::Stale, "this executor doesn't count any more")
                    .with("executor", executor)
                    .retry(crate::error::Retry::Never));
            }
            core.last_stream += 1;
            let stream = core.last_stream;
            let attached = Attached { stream, waker: None, forget: Vec::new() };
            let replaced = core.streams.insert(executor, attached);
            if let Some(waker) = replaced.and_then(|replaced| replaced.waker) {
                waker.wake();
            }
            Ok(stream)
        })?;
        Ok(ExecutorStream { tasks: Arc::clone(tasks), executor, stream, inbound })
    }

    /// The next message, or `None` where there is nothing to say now; `Err(())`: the stream has been replaced.
    fn outbound(&self, context: &mut Context<'_>) -> Result<Option<v1::DriverMessage>, ()> {
        let mut message = v1::DriverMessage::default();
        let mut batch = v1::TaskBatch::default();
        let mut payload = Vec::new();
        let mut limited = false;
        let present = self.tasks.turn(|core, out, _| {
            let attached =
                core.streams.get_mut(&self.executor).filter(|attached| attached.stream == self.stream);
            let Some(attached) = attached else { return false };
            message.forget_blobs = std::mem::take(&mut attached.forget);
            let orders = core.scheduler.dispatch(clock::now(), self.executor, out, &mut |dispatch| {
                limited |= dispatch.time_limit.is_some();
                pack(&mut batch, &mut payload, &dispatch);
            });
            message.recall = orders.recall;
            for (task, attempt) in orders.cancels {
                message.cancel_tasks.push(task.0);
                message.cancel_attempts.push(attempt);
            }
            if batch.tasks.is_empty()
                && message.recall == 0
                && message.cancel_tasks.is_empty()
                && message.forget_blobs.is_empty()
            {
                attached.waker = Some(context.waker().clone());
            }
            true
        });
        if !present {
            return Err(());
        }
        if !batch.tasks.is_empty() {
            batch.payload = payload.into();
            if !limited {
                batch.time_limits_ms.clear();
            }
            compact(&mut batch.functions);
            if batch.attempts.iter().all(|attempt| *attempt == 1) {
                batch.attempts.clear();
            }
            message.tasks = Some(batch);
        } else if message.recall == 0 && message.cancel_tasks.is_empty() && message.forget_blobs.is_empty() {
            return Ok(None);
        }
        Ok(Some(message))
    }
}

fn pack(batch: &mut v1::TaskBatch, payload: &mut Vec<u8>, dispatch: &Dispatch<'_>) {
    match dispatch.arguments {
        Arguments::Inline(bytes) => {
            payload.extend_from_slice(bytes);
            batch.lengths.push(bytes.len() as u32);
        }
        Arguments::Blob { blob, bytes } => {
            let position = batch.tasks.len() as u32;
            batch.large.push(v1::LargeArgument { position, blob: *blob, bytes: *bytes });
            batch.lengths.push(0);
        }
    }
    batch.tasks.push(dispatch.task.0);
    batch.attempts.push(dispatch.attempt);
    batch.functions.push(dispatch.function);
    let limit =
        dispatch.time_limit.map_or(0, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
    batch.time_limits_ms.push(limit);
}

/// One entry says the same as many equal ones.
fn compact(values: &mut Vec<u32>) {
    if values.iter().all(|value| Some(value) == values.first()) {
        values.truncate(1);
    }
}

impl futures_core::Stream for ExecutorStream {
    type Item = Result<v1::DriverMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut taken = 0;
        loop {
            match self.inbound.as_mut().poll_next(context) {
                Poll::Ready(Some(Ok(v1::ExecutorMessage { message: Some(Message::Updates(updates)) }))) => {
                    if let Err(error) = self.tasks.updates(self.executor, self.stream, updates) {
                        tracing::warn!(executor = %self.executor, %error, "an executor's stream is refused");
                        return Poll::Ready(Some(Err(to_status(&error))));
                    }
                }
                Poll::Ready(Some(Ok(_))) => {
                    let status = Status::invalid_argument("only updates are expected here");
                    return Poll::Ready(Some(Err(status)));
                }
                Poll::Ready(Some(Err(status))) => {
                    tracing::debug!(executor = %self.executor, %status, "an executor's stream broke");
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => break,
            }
            taken += 1;
            if taken == MOST_INBOUND {
                context.waker().wake_by_ref();
                break;
            }
        }
        match self.outbound(context) {
            Ok(Some(message)) => Poll::Ready(Some(Ok(message))),
            Ok(None) => Poll::Pending,
            Err(()) => Poll::Ready(None),
        }
    }
}

impl Drop for ExecutorStream {
    fn drop(&mut self) {
        self.tasks.turn(|core, _, _| {
            if core.streams.get(&self.executor).is_some_and(|attached| attached.stream == self.stream) {
                core.streams.remove(&self.executor);
                core.scheduler.executor_detached(self.executor);
            }
        });
    }
}
