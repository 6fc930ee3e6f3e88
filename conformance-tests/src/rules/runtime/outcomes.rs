//! D3: each task ends exactly once for its caller.

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::driver::jobs::TaskOptions;
use convoke_core::rpc::v1;
use convoke_core::task::{TaskErrorKind, codec};
use rustix::process::Signal;

use crate::context::Context;
use crate::runtime::hand::{Beating, Sent};
use crate::runtime::subject::{Runtime, Setup, signal};
use crate::runtime::tasks::{Act, Call, Played, play};
use crate::verdict::{Checked, Evidence, Finding};

const TASKS: u64 = 300;

pub(super) async fn each_once(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        let values = all(runtime, TASKS).await?;
        let runs = runtime.tally.all();
        let twice = counted(&runs).into_iter().find(|(_, runs)| *runs != 1);
        if let Some((key, runs)) = twice {
            return Err(Finding::failed(
                "ran twice",
                format!("task {key} ran {runs} times, and no attempt was lost"),
            ));
        }
        let executors: std::collections::BTreeSet<_> = runs.iter().map(|run| run.executor).collect();
        Ok(Evidence::new().with("tasks", values).with("runs", runs.len()).with("executors", executors.len()))
    })
    .await
}

pub(super) async fn across_a_kill(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(2), async |runtime| {
        runtime.apart().await?;
        let there = runtime.where_they_are(2, 1 << 32).await?;
        let killing = async {
            let half = usize::try_from(TASKS).unwrap_or_default() / 2;
            runtime
                .settles("half of the tasks began", async || {
                    let began = runtime.tally.all().len();
                    if began > half { Ok(()) } else { Err(format!("{began} began")) }
                })
                .await?;
            signal(runtime, there[0].process, Signal::KILL).await
        };
        let (values, killed) = tokio::join!(all(runtime, TASKS), killing);
        killed?;
        let values = values?;
        let (_, exit) = runtime
            .loss_of(convoke_core::ids::ExecutorId(there[0].executor), Duration::from_secs(30))
            .await?;
        let runs: Vec<_> = runtime.tally.all().into_iter().filter(|run| run.key < TASKS).collect();
        let again = runs.iter().filter(|run| run.attempt > 1).count();
        if let Some((key, _)) = counted(&runs).iter().find(|(key, runs_of)| {
            let attempts: std::collections::BTreeSet<_> =
                runs.iter().filter(|run| run.key == **key).map(|run| run.attempt).collect();
            attempts.len() != **runs_of
        }) {
            return Err(Finding::failed("ran twice", format!("one attempt of task {key} ran twice")));
        }
        Ok(Evidence::new()
            .with("tasks", values)
            .with("runs", runs.len())
            .with("attempts_again", again)
            .with("exit", exit.to_string()))
    })
    .await
}

pub(super) async fn by_hand(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(0), async |runtime| {
        let executor = runtime.by_hand(1).await?;
        let ticket = runtime.ticket(executor)?;
        let joined = ticket.join().await.map_err(|error| refused("its join", &error))?;
        let supervised =
            ticket.supervise(&joined.identity).await.map_err(|error| refused("its stream", &error))?;
        let beating = Beating::start(supervised, Duration::from_millis(100));
        let mut hand =
            ticket.attach(&joined.identity).await.map_err(|error| refused("its program", &error))?;

        let submit = |key| runtime.driver.submit(play, runtime.tally.call(key, Act::Return));
        let sent = async |hand: &mut crate::runtime::hand::Attached, key: u64| {
            loop {
                let Some(batch) = runtime.within("a task is sent to it", hand.next()).await? else {
                    return Err(Finding::failed(
                        "hung up",
                        "the driver hung up on an executor that did no wrong",
                    ));
                };
                for (sent, argument) in batch {
                    let call: Call = codec::decode(&argument).map_err(|error| {
                        Finding::failed("not whole", format!("a task's argument: {error:#}"))
                    })?;
                    if call.key == key {
                        return Ok(sent);
                    }
                }
            }
        };
        let value = |key: u64, sent: Sent| Played {
            token: "by hand".into(),
            key,
            attempt: sent.attempt,
            executor: executor.0,
            process: 0,
            boot: String::new(),
        };
        let encoded = |played: &Played| codec::encode(played).map_err(Finding::CouldNotRun);

        // twice, in one message and in two; the first counts
        let task = submit(1);
        let one = sent(&mut hand, 1).await?;
        let (right, wrong) = (encoded(&value(1, one))?, encoded(&value(666, one))?);
        hand.answer(&[(one, right), (one, wrong.clone())]).await;
        hand.answer(&[(one, wrong.clone())]).await;
        own_value(1, runtime.within("a task that was answered thrice ends", task).await?)?;

        // of an attempt that it doesn't hold, of a task that nobody knows, and then rightly
        let task = submit(2);
        let two = sent(&mut hand, 2).await?;
        hand.answer(&[
            (Sent { attempt: two.attempt + 7, ..two }, wrong.clone()),
            (Sent { task: two.task + 1_000_000, ..two }, wrong.clone()),
        ])
        .await;
        hand.answer(&[(two, encoded(&value(2, two))?)]).await;
        own_value(2, runtime.within("a task that was answered rightly at last ends", task).await?)?;

        // bytes that are no value: that task fails, once, and nothing else does
        let task = submit(3);
        let three = sent(&mut hand, 3).await?;
        hand.answer(&[(three, vec![0xff; 64])]).await;
        match runtime.within("a task that was answered with garbage ends", task).await? {
            Err(error) if matches!(error.kind, TaskErrorKind::Undeliverable(_)) => {}
            other => return Err(Finding::failed("wrong ending", format!("garbage became {other:?}"))),
        }

        // a message that contradicts itself changes nothing; its attempt is tried elsewhere, or answered later
        let task = submit(4);
        let four = sent(&mut hand, 4).await?;
        hand.say(v1::TaskUpdates {
            tasks: vec![four.task],
            lengths: vec![1_000_000],
            payload: vec![1, 2, 3].into(),
            ..Default::default()
        })
        .await;
        // late: it is given up, and answers all the same
        drop(beating);
        let hung_up = hand.is_hung_up_on(Duration::from_secs(15)).await;
        runtime.loss_of(executor, Duration::from_secs(30)).await?;
        hand.answer(&[(four, wrong.clone())]).await;
        let again = ticket.attach(&joined.identity).await;
        let stream = ticket.supervise(&joined.identity).await;
        if again.is_ok() || stream.is_ok() {
            return Err(Finding::failed("let in", "an executor that was given up opens a stream again"));
        }
        // another executor, a real one, takes its task
        runtime.ready(1).await?;
        let ended = runtime.within("the lost attempt's task ends", task).await?;
        let played = own_value(4, ended)?;
        if played.attempt <= four.attempt || played.token == "by hand" {
            return Err(Finding::failed("late answer counted", format!("task 4 ended as {played:?}")));
        }
        let ran = runtime.tally.all();
        if ran.iter().any(|run| run.key != 4) {
            return Err(Finding::failed("ran twice", format!("tasks that had ended ran again: {ran:?}")));
        }
        Ok(Evidence::new()
            .with("answered_twice", 2)
            .with("foreign_or_unknown_answers", 2)
            .with("garbage_values", 1)
            .with("contradictory_messages", 1)
            .with("late_answers_and_streams_refused", 3)
            .with("hung_up", hung_up)
            .with("runs_elsewhere", ran.len()))
    })
    .await
}

fn refused(what: &str, error: &convoke_core::Error) -> Finding {
    Finding::failed("refused", format!("an executor made by hand, with a genuine ticket: {what}: {error:#}"))
}

/// Runs so many tasks by `map`, and sees that each gives its own value.
async fn all(runtime: &Runtime, tasks: u64) -> Result<u64, Finding> {
    let calls: Vec<_> = (0..tasks).map(|key| runtime.tally.call(key, Act::Return)).collect();
    let mut job = runtime.driver.with(TaskOptions::default()).map(play, calls);
    let mut ended = 0;
    while let Some(outcome) = runtime.within("the next of many tasks ends", job.next()).await? {
        own_value(ended, outcome)?;
        ended += 1;
    }
    if ended != tasks {
        return Err(Finding::failed("not once", format!("{ended} outcomes of {tasks} tasks")));
    }
    Ok(ended)
}

fn own_value(
    key: u64,
    outcome: Result<Played, convoke_core::task::TaskError<String>>,
) -> Result<Played, Finding> {
    match outcome {
        Ok(played) if played.key == key => Ok(played),
        Ok(played) => {
            Err(Finding::failed("wrong value", format!("task {key} was given the value of {}", played.key)))
        }
        Err(error) if matches!(error.kind, TaskErrorKind::Undeliverable(_)) => {
            Err(Finding::failed("wrong value", format!("task {key} was given no value: {error:#}")))
        }
        Err(error) => Err(Finding::failed("wrong ending", format!("task {key}: {error:#}"))),
    }
}

fn counted(runs: &[Played]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for run in runs {
        *counts.entry(run.key).or_default() += 1;
    }
    counts
}
