use std::time::Duration;

use bytes::Bytes;
use convoke::clock::Moment;
use convoke::ids::{ExecutorId, ProfileId, TaskId};
use convoke::rpc::v1::{self, executor_message::Message as Up};
use convoke::state::tasks::{Arguments, Ending, JobLimits, Scheduler, Settings, Verdict};
use convoke::task::codec;
use prost::Message as _;

use super::{Checked, same};

/// Tasks that are encoded and submitted at once.
const CHUNK: u64 = 256;

/// The way of so many tasks through one executor, all that isn't threads and sockets: an argument is encoded, scheduled, packed
/// into a message, unpacked, its value goes back in another, and is decoded for its caller.
///
/// # Errors
/// Where a value is missing or wrong.
pub fn carry(tasks: u64) -> Checked {
    let words = |error: convoke::Error| error.to_string();
    let (executor, profile) = (ExecutorId(1), ProfileId(0));
    let mut now = Moment::ZERO;
    let mut scheduler = Scheduler::new(Settings::default());
    let mut out = Vec::new();
    scheduler.executor_joined(now, executor, profile, 1);
    scheduler.executor_attached(now, executor, &[], &mut out);
    let job = scheduler.open_job(JobLimits::new(profile), ());
    let (mut submitted, mut done, mut sum) = (0, 0, 0);
    while done < tasks {
        while submitted < tasks && submitted - done < 16 * CHUNK {
            submitted +=
                submit(&mut scheduler, job, submitted, CHUNK.min(tasks - submitted)).map_err(words)?;
        }
        scheduler.submitted(job, CHUNK as usize, &mut out);

        // Down: what the driver's stream packs, and the executor's unpacks.
        let mut batch = v1::TaskBatch { functions: vec![0], ..v1::TaskBatch::default() };
        let mut payload = Vec::new();
        scheduler.dispatch(now, executor, &mut out, &mut |dispatch| {
            if let Arguments::Inline(bytes) = dispatch.arguments {
                payload.extend_from_slice(bytes);
                batch.lengths.push(bytes.len() as u32);
            }
            batch.tasks.push(dispatch.task.0);
        });
        batch.payload = payload.into();
        let message = v1::DriverMessage { tasks: Some(batch), ..v1::DriverMessage::default() };
        let message = v1::DriverMessage::decode(Bytes::from(message.encode_to_vec()));
        let batch = message.map_err(|error| error.to_string())?.tasks.unwrap_or_default();
        if batch.tasks.is_empty() {
            return Err("nothing is sent".to_owned());
        }

        // Up: the function gives back its argument.
        let mut updates = v1::TaskUpdates::default();
        let (mut arguments, mut values) = (batch.payload, Vec::new());
        for (task, length) in batch.tasks.iter().zip(&batch.lengths) {
            let value: u64 = codec::decode(&arguments.split_to(*length as usize)).map_err(words)?;
            let before = values.len();
            codec::encode_into(&value, &mut values).map_err(words)?;
            updates.tasks.push(*task);
            updates.lengths.push((values.len() - before) as u32);
        }
        updates.payload = values.into();
        let message = v1::ExecutorMessage { message: Some(Up::Updates(updates)) };
        let message = v1::ExecutorMessage::decode(Bytes::from(message.encode_to_vec()));
        let Some(Up::Updates(updates)) = message.map_err(|error| error.to_string())?.message else {
            return Err("no updates came".to_owned());
        };

        now = now + Duration::from_micros(1);
        let (count, bytes) = (updates.tasks.len() as u32, updates.payload.len() as u64);
        let (values, mut start) = (updates.payload, 0);
        for (task, length) in updates.tasks.iter().zip(&updates.lengths) {
            let value = &values[start..start + *length as usize];
            start += value.len();
            match scheduler.attempt_ended(now, executor, TaskId(*task), 1, Ending::Done) {
                Verdict::Over { .. } => done += 1,
                other => return Err(format!("{other:?}")),
            }
            sum += codec::decode::<u64>(value).map_err(words)?;
        }
        scheduler.settled(now, executor, (count, Duration::from_nanos(500) * count, bytes), false, &mut out);
        out.clear();
    }
    same("the results' sum", sum, (0..tasks).sum())
}

fn submit(
    scheduler: &mut Scheduler<()>,
    job: convoke::ids::JobId,
    first: u64,
    count: u64,
) -> convoke::Result<u64> {
    let mut encoded = Vec::new();
    let mut ends = Vec::new();
    for x in first..first + count {
        codec::encode_into(&x, &mut encoded)?;
        ends.push(encoded.len());
    }
    let encoded = Bytes::from(encoded);
    let mut start = 0;
    for (position, end) in (first..).zip(ends) {
        scheduler.submit(job, position, 0, Arguments::Inline(encoded.slice(start..end)));
        start = end;
    }
    Ok(count)
}
