//! One slot: a thread that runs one task after the other. A panic costs its task alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::engine::{Argument, Inside, Queued, Running, lock};
use super::panics;
use crate::clock::{self, Moment};
use crate::error::{Error, ErrorKind};
use crate::ids::TaskId;
use crate::rpc::limits;
use crate::rpc::v1::Ending;
use crate::task::codec;
use crate::task::context::{self, Host, TaskContext};
use crate::task::error::Report;
use crate::task::function::{Code, Failure};

/// A slot takes so many tasks at once, at most; what it took can still be taken from it.
const MOST_SHARE: usize = 64;

pub(super) fn run(inside: &Arc<Inside>, number: usize) {
    panics::watch();
    let host: Arc<dyn Host> = Arc::clone(inside) as Arc<dyn Host>;
    let mut mine =
        Mine { inside, number, context: TaskContext::new(TaskId(0), 0, "", Arc::clone(&host)), host };
    let mut output = Vec::new();
    while let Some(first) = mine.next_of_all() {
        let mut next = Some(first);
        while let Some(queued) = next {
            let ending = run_one(inside, &queued, &mine.context, &mut output);
            let ended;
            (ended, next) = mine.next_of_share();
            if let Some(ended) = ended {
                tell(inside, &queued, &ended, ending, &mut output);
            }
            if output.capacity() > 1 << 20 {
                output = Vec::new();
            }
        }
    }
}

struct Mine<'a> {
    inside: &'a Inside,
    number: usize,
    context: TaskContext,
    host: Arc<dyn Host>,
}

/// What is left of an attempt that has run.
struct Ended {
    since: Moment,
    timed_out: bool,
    cancelled: bool,
}

impl Mine<'_> {
    /// The next task of this slot's own share. One lock ends one task and begins the next, so that none is ever out of
    /// sight for who cancels.
    fn next_of_share(&mut self) -> (Option<Ended>, Option<Queued>) {
        let mut slot = lock(&self.inside.slots[self.number]);
        let cancelled = self.context.is_cancelled();
        let ended =
            slot.running.take().map(|Running { since, timed_out, .. }| Ended { since, timed_out, cancelled });
        let next = slot.queue.pop_front();
        if let Some(queued) = &next {
            slot.running = Some(self.begin(queued));
        }
        (ended, next)
    }

    /// The next task from the common queue or another slot's share. Waits for one; `None`: it is time to end.
    fn next_of_all(&mut self) -> Option<Queued> {
        let mut queue = lock(&self.inside.queue);
        loop {
            let mut found = queue.tasks.pop_front();
            let mut share = 0;
            if found.is_some() {
                // Where another slot has nothing to do, one at a time.
                let fair = if queue.parked > 0 { 0 } else { queue.tasks.len() / self.inside.slots.len() };
                share = fair.min(MOST_SHARE);
            } else {
                found = self.inside.slots.iter().find_map(|other| lock(other).queue.pop_back());
            }
            if let Some(queued) = found {
                let running = self.begin(&queued);
                let mut slot = lock(&self.inside.slots[self.number]);
                slot.queue.extend(queue.tasks.drain(..share));
                slot.running = Some(running);
                return Some(queued);
            }
            if queue.stopping {
                return None;
            }
            queue.parked += 1;
            queue = self.inside.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.parked -= 1;
        }
    }

    fn begin(&mut self, queued: &Queued) -> Running {
        renew(&mut self.context, queued, self.inside, &self.host);
        let since = clock::now();
        Running {
            task: queued.task,
            attempt: queued.attempt,
            context: self.context.clone(),
            since,
            until: queued.time_limit.map(|limit| since + limit),
            timed_out: false,
        }
    }
}

/// Makes the slot's context that of the next task, without an allocation where the last task kept no clone of it.
fn renew(context: &mut TaskContext, queued: &Queued, inside: &Inside, host: &Arc<dyn Host>) {
    let function = inside.code(queued.function).map_or("", |(name, _)| name);
    match Arc::get_mut(&mut context.attempt) {
        Some(attempt) => {
            attempt.task = queued.task;
            attempt.number = queued.attempt;
            attempt.function = function;
            *attempt.cancelled.get_mut() = false;
        }
        None => *context = TaskContext::new(queued.task, queued.attempt, function, Arc::clone(host)),
    }
}

/// Runs one attempt; `output` is then the payload of its ending.
fn run_one(inside: &Inside, queued: &Queued, context: &TaskContext, output: &mut Vec<u8>) -> Ending {
    output.clear();
    let Some((name, code)) = inside.code(queued.function) else {
        let error = Error::new(ErrorKind::Protocol, "no such function").with("index", queued.function);
        return unrunnable(inside, error, output);
    };
    let fetched: Bytes;
    let argument: &[u8] = match &queued.argument {
        Argument::Here(bytes) => bytes,
        Argument::Coming(coming) => {
            let gone = || Error::new(ErrorKind::Unavailable, "the argument's fetch ended");
            match coming.recv().unwrap_or_else(|_| Err(gone())) {
                Ok(bytes) => {
                    fetched = bytes;
                    &fetched
                }
                Err(error) => return unrunnable(inside, error.with("function", name), output),
            }
        }
    };
    let entered = context::enter(context);
    let result = catch_unwind(AssertUnwindSafe(|| match code {
        Code::Sync(body) => body(argument, context, output).map(|()| Ending::Value),
        Code::Async(start) => {
            let runtime = inside.runtime().ok_or_else(|| {
                Failure::Unrunnable(Error::new(ErrorKind::Host, "async functions have no runtime here"))
            })?;
            let future = {
                let _inside_it = runtime.enter();
                start(argument, context.clone())?
            };
            runtime.block_on(async {
                let value = tokio::select! {
                    biased;
                    value = future => value?,
                    () = context.cancelled() => return Ok(Ending::Cancelled),
                };
                *output = value;
                Ok(Ending::Value)
            })
        }
    }));
    drop(entered);
    match result {
        Ok(Ok(ending)) => ending,
        Ok(Err(Failure::Error(report))) => {
            output.clear();
            encode_report(inside, *report, output);
            Ending::Failed
        }
        Ok(Err(Failure::Unrunnable(error))) => unrunnable(inside, error.with("function", name), output),
        Err(payload) => {
            // A payload whose drop panics in turn is forgotten.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            let (message, location) = panics::take();
            output.clear();
            let report =
                Report { message, location, error: Vec::new(), permanent: false, log_tail: Vec::new() };
            encode_report(inside, report, output);
            Ending::Panicked
        }
    }
}

fn tell(inside: &Inside, queued: &Queued, ended: &Ended, ending: Ending, output: &mut Vec<u8>) {
    let (task, attempt) = (queued.task, queued.attempt);
    let run = clock::now().since(ended.since);
    // Nobody waits for more than the slot.
    if ended.timed_out {
        return inside.outbox.ended(task, attempt, Ending::Freed, &[], run);
    }
    if ended.cancelled {
        return inside.outbox.ended(task, attempt, Ending::Cancelled, &[], run);
    }
    // Of a failure's report, only the error's own length is the application's doing.
    let most = if ending == Ending::Value { inside.inline_bytes } else { limits::INLINE_BYTES };
    if output.len() <= most {
        return inside.outbox.ended(task, attempt, ending, output, run);
    }
    if ending != Ending::Value {
        let error = Error::new(ErrorKind::ResourcesExhausted, "the task's error is too large to be sent")
            .with("bytes", output.len());
        let mut short = Vec::new();
        let ending = unrunnable(inside, error, &mut short);
        return inside.outbox.ended(task, attempt, ending, &short, run);
    }
    match inside.carrier.upload(task, attempt, std::mem::take(output).into()) {
        Ok(blob) => inside.outbox.ended(task, attempt, Ending::Uploaded, &blob.to_le_bytes(), run),
        Err(error) => {
            let mut payload = Vec::new();
            let ending = unrunnable(inside, error, &mut payload);
            inside.outbox.ended(task, attempt, ending, &payload, run);
        }
    }
}

fn unrunnable(inside: &Inside, error: Error, output: &mut Vec<u8>) -> Ending {
    output.clear();
    let permanent =
        matches!(error.kind(), ErrorKind::Protocol | ErrorKind::InvalidRequest | ErrorKind::NotFound);
    let report = Report {
        message: format!("{error:#}"),
        location: String::new(),
        error: Vec::new(),
        permanent,
        log_tail: Vec::new(),
    };
    encode_report(inside, report, output);
    Ending::Unrunnable
}

fn encode_report(inside: &Inside, mut report: Report, output: &mut Vec<u8>) {
    report.log_tail = inside.carrier.log_tail();
    if let Err(error) = codec::encode_into(&report, output) {
        tracing::error!(%error, "a failure report can't be encoded");
    }
}
