//! What executors report, into the scheduler and on to the jobs' sinks: one lock and one wake for a message.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::plane::{Afterwards, Core, Tasks};
use super::sink::{RawFailure, RawKind};
use crate::clock::{self, Moment};
use crate::driver::{DriverEvent, TaskReport};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ExecutorId, TaskId};
use crate::rpc::v1::{Ending as Told, TaskUpdates};
use crate::state::tasks::{Ending, Verdict};
use crate::task::TaskErrorKind;
use crate::task::codec;
use crate::task::error::Report;
use crate::units::format_duration;

impl Tasks {
    /// Takes in one message.
    ///
    /// # Errors
    /// `Protocol` where it contradicts itself; nothing of it has then happened.
    pub(super) fn updates(&self, executor: ExecutorId, stream: u64, updates: TaskUpdates) -> Result<()> {
        check(&updates)?;
        self.turn(|core, out, afterwards| {
            // Nothing that a replaced or gone executor says counts.
            if core.streams.get(&executor).is_none_or(|attached| attached.stream != stream) {
                return;
            }
            let now = clock::now();
            for progress in &updates.progress {
                core.scheduler.with_running(
                    executor,
                    TaskId(progress.task),
                    progress.attempt,
                    |sink, position| {
                        let (fraction, message) = (progress.fraction, progress.message.clone());
                        sink.note_report(TaskReport { position, fraction, message });
                        afterwards.changed(Arc::clone(sink));
                    },
                );
            }
            for (task, attempt) in updates.returned_tasks.iter().zip(&updates.returned_attempts) {
                core.scheduler.attempt_returned(executor, TaskId(*task), *attempt);
            }
            let bytes = updates.payload.len() as u64;
            let mut start = 0;
            let mut ended = 0;
            for (index, task) in updates.tasks.iter().enumerate() {
                let part = start..start + updates.lengths[index] as usize;
                start = part.end;
                let attempt = updates.attempts.get(index).copied().unwrap_or(1);
                let told = updates.endings.get(index).copied().unwrap_or(0);
                let told = Told::try_from(i32::try_from(told).unwrap_or(-1)).unwrap_or(Told::Unrunnable);
                ended += u32::from(told != Told::TimedOut);
                let payload = (&updates.payload, part);
                self.one(core, afterwards, now, executor, TaskId(*task), attempt, told, payload);
            }
            let run = Duration::from_nanos(updates.run_ns);
            core.scheduler.settled(now, executor, (ended, run, bytes), updates.recalled, out);
        });
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one entry of a message")]
    fn one(
        &self,
        core: &mut Core,
        afterwards: &mut Afterwards,
        now: Moment,
        executor: ExecutorId,
        task: TaskId,
        attempt: u32,
        told: Told,
        (all, part): (&Bytes, Range<usize>),
    ) {
        if told == Told::Value {
            let verdict = core.scheduler.attempt_ended(now, executor, task, attempt, Ending::Done);
            if let Verdict::Over { job, position, blob, .. } = verdict {
                afterwards.batch(job).value(position, all, part);
                afterwards.spent(blob);
            }
            return;
        }
        let payload = &all[part];
        let mut uploaded = None;
        let mut failure = None;
        let mut why = String::new();
        let ending = match told {
            Told::Value => Ending::Done,
            Told::Uploaded => match self.uploaded(payload) {
                Some(value) => {
                    uploaded = Some(value);
                    Ending::Done
                }
                None => {
                    let error = Error::new(ErrorKind::Protocol, "a result's upload is missing");
                    why = error.to_string();
                    failure = Some((RawKind::Other(TaskErrorKind::Undeliverable(error)), Bytes::new()));
                    Ending::Failed { again: true }
                }
            },
            Told::TimedOut => Ending::TimedOut,
            Told::Cancelled | Told::Freed => Ending::Freed,
            Told::Failed | Told::Panicked | Told::Unrunnable => {
                let (kind, log_tail, permanent, words) = failed(told, payload);
                failure = Some((kind, log_tail));
                why = words;
                Ending::Failed { again: !permanent }
            }
        };
        let limit = core.scheduler.time_limit(task);
        let verdict = core.scheduler.attempt_ended(now, executor, task, attempt, ending);
        let again = matches!(verdict, Verdict::Again { .. });
        if let Verdict::Over { job, position, .. } | Verdict::Again { job, position } = &verdict
            && ending != Ending::Done
            && self.teller.tells_failure(now)
        {
            if ending == Ending::TimedOut {
                why = format!("ran longer than {}", format_duration(limit.unwrap_or_default()));
            }
            let (job, position) = (job.id(), *position);
            tracing::info!(%job, position, attempt, %executor, why, again, "an attempt failed");
            afterwards.event(DriverEvent::AttemptFailed { job, position, attempt, executor, why, again });
        }
        if let Verdict::Again { job, .. } = verdict {
            job.retried(1);
            afterwards.changed(job);
        } else if let Verdict::Over { job, position, attempts, blob } = verdict {
            let batch = afterwards.batch(Arc::clone(&job));
            if let Some(value) = uploaded {
                batch.large.push((position, value));
            } else {
                let timed_out =
                    || (RawKind::Other(TaskErrorKind::TimedOut(limit.unwrap_or_default())), Bytes::new());
                let (kind, log_tail) = failure.unwrap_or_else(timed_out);
                let executor = Some(executor);
                batch.failures.push(RawFailure { task, position, attempts, executor, log_tail, kind });
            }
            afterwards.spent(blob);
        }
    }

    fn uploaded(&self, payload: &[u8]) -> Option<Bytes> {
        self.blobs.take(u64::from_le_bytes(payload.try_into().ok()?))
    }
}

fn check(updates: &TaskUpdates) -> Result<()> {
    let count = updates.tasks.len();
    let fits = |len: usize| len == 0 || len == count;
    let total: u64 = updates.lengths.iter().map(|length| u64::from(*length)).sum();
    let whole = updates.lengths.len() == count
        && fits(updates.attempts.len())
        && fits(updates.endings.len())
        && total == updates.payload.len() as u64
        && updates.returned_tasks.len() == updates.returned_attempts.len();
    if whole {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Protocol, "a message of updates contradicts itself"))
    }
}

/// A failed attempt's kind, its executor's log, whether trying again is vain, and why it failed in words.
fn failed(told: Told, payload: &[u8]) -> (RawKind, Bytes, bool, String) {
    let report: Report = match codec::decode(payload) {
        Ok(report) => report,
        Err(error) => {
            let why = error.to_string();
            return (RawKind::Other(TaskErrorKind::Undeliverable(error)), Bytes::new(), false, why);
        }
    };
    let why = match told {
        Told::Panicked => format!("panicked at {}: {}", report.location, report.message),
        _ => report.message.clone(),
    };
    let kind = match told {
        Told::Failed => RawKind::Error(report.error.into()),
        Told::Panicked => {
            RawKind::Other(TaskErrorKind::Panicked { message: report.message, location: report.location })
        }
        _ => {
            let error = Error::new(ErrorKind::Internal, report.message);
            RawKind::Other(TaskErrorKind::Undeliverable(error))
        }
    };
    (kind, report.log_tail.into(), report.permanent, why)
}
