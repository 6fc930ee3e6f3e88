use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use convoke::clock::Moment;
use convoke::ids::{ExecutorId, ProfileId, TaskId};
use convoke::state::tasks::{Arguments, Command, Ending, JobLimits, Scheduler, Settings, Verdict};

use super::{Checked, same};

/// Tasks that are submitted at once.
const CHUNK: u64 = 256;
/// How long a task runs, as its executor tells.
const EACH: Duration = Duration::from_millis(1);

/// Schedules so many tasks, all of them submitted before the first ends, on an executor of one slot for each hundred: a million
/// on 10,000.
///
/// # Errors
/// Where the scheduler does other work.
pub fn schedule(tasks: u64) -> Checked {
    let mut now = Moment::ZERO;
    let mut scheduler = Scheduler::new(Settings::default());
    let mut out = Vec::new();
    let executors = (tasks / 100).max(1);
    for executor in (1..=executors).map(ExecutorId) {
        scheduler.executor_joined(now, executor, ProfileId(0), 1);
        scheduler.executor_attached(now, executor, &[], &mut out);
        scheduler.dispatch(now, executor, &mut out, &mut |_| {}); // there is nothing yet: it waits
    }
    let mut awake = VecDeque::new();
    let job = scheduler.open_job(JobLimits::new(ProfileId(0)), ());
    let mut position = 0;
    while position < tasks {
        let chunk = CHUNK.min(tasks - position);
        for _ in 0..chunk {
            let argument = Arguments::Inline(Bytes::from_static(&[7]));
            scheduler.submit(job, position, 0, argument).ok_or("the job is over")?;
            position += 1;
        }
        scheduler.submitted(job, chunk as usize, &mut out);
        woken(&mut out, &mut awake)?;
    }
    scheduler.close_job(job);

    // Each executor runs what it is given and asks again: one message up, one down.
    let mut batch: Vec<(TaskId, u32)> = Vec::new();
    let mut working: VecDeque<(ExecutorId, Vec<(TaskId, u32)>)> = VecDeque::new();
    let mut done = 0;
    loop {
        while let Some(executor) = awake.pop_front() {
            scheduler.dispatch(now, executor, &mut out, &mut |dispatch| {
                batch.push((dispatch.task, dispatch.attempt));
            });
            if !batch.is_empty() {
                working.push_back((executor, std::mem::take(&mut batch)));
            }
            woken(&mut out, &mut awake)?;
        }
        let Some((executor, batch)) = working.pop_front() else { break };
        now = now + Duration::from_micros(1);
        let count = batch.len() as u32;
        for (task, attempt) in batch {
            let verdict = scheduler.attempt_ended(now, executor, task, attempt, Ending::Done);
            done += u64::from(matches!(verdict, Verdict::Over { .. }));
        }
        scheduler.settled(now, executor, (count, EACH * count, u64::from(count)), false, &mut out);
        woken(&mut out, &mut awake)?;
        awake.push_back(executor);
    }
    same("tasks that are done", done, tasks)?;
    same("tasks that are left", scheduler.counts().tasks as u64, 0)
}

fn woken(out: &mut Vec<Command<()>>, awake: &mut VecDeque<ExecutorId>) -> Checked {
    for command in out.drain(..) {
        match command {
            Command::Wake(executor) => awake.push_back(executor),
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(())
}
