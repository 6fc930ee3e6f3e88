//! Counts the words in every text file below some paths, in separate executor processes.
//!
//! ```text
//! cargo run --release --example word_count -- PATH…
//! ```
//!
//! `corpus.rs` finds the files and cuts them into pieces, `count.rs` is what a task does, and this file brings the two together:
//! start a driver, `map` the task over the pieces, add up what comes back.

#![allow(unreachable_pub, reason = "the modules of a program have no outside")]

mod corpus;
mod count;
mod options;
mod progress;
mod report;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use convoke::Driver;
use convoke::driver::{DriverEvent, ExecutorPhase};
use convoke::manager::{Blame, Outcome};

use corpus::{Corpus, Piece};
use count::Counts;
use options::Options;
use progress::Progress;

/// How long the end of the executors may take.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// What a shell shows for a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// What an executor runs: a plain function, found by its name.
#[convoke::task]
fn count_words(pieces: Vec<Piece>) -> Counts {
    count::count(pieces)
}

fn main() -> ExitCode {
    // the same program is driver and executor: an executor goes no further
    convoke::init();
    let options = Options::parse();
    let corpus = match Corpus::find(&options.paths) {
        Ok(corpus) => corpus,
        Err((path, error)) => {
            eprintln!("word_count: {}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    for (path, why) in &corpus.skipped {
        eprintln!("word_count: {} is left out: {why}", path.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&options, corpus)),
        Err(error) => Err(convoke::Error::host("can't start a runtime", error)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("word_count: {error:#}");
        match error.kind() {
            convoke::ErrorKind::InvalidRequest | convoke::ErrorKind::Unsupported => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

/// Counts on a cluster, from the start of the driver to its end.
async fn run(options: &Options, corpus: Corpus) -> convoke::Result<ExitCode> {
    let (master, executors) = options.place(std::env::var("CONVOKE_MASTER").ok())?;
    let driver = Driver::builder().master(master).executors(executors).start().await?;
    let mut progress = Progress::new(corpus.bytes);
    let counted = tokio::select! {
        counted = count_all(&driver, &corpus, &mut progress) => counted.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    drop(progress);
    let outcome = match &counted {
        Ok(Some(_)) => Outcome::Succeeded,
        Ok(None) => Outcome::Killed,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    tokio::select! {
        // the counts are whole all the same: what could not be seen to end (its node is gone) ends with the lease
        ended = driver.shutdown(outcome, END_DEADLINE) => if let Err(error) = ended {
            eprintln!("word_count: {error:#}");
        },
        // a second Ctrl-C doesn't wait: the executors see that their driver is gone
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    let Some(Counted { words, problems }) = counted? else {
        eprintln!("word_count: interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let mut out = std::io::stdout().lock();
    let printed = if options.json {
        report::json(&words, &mut out)
    } else {
        report::table(&words, options.top, &mut out)
    };
    match printed.and_then(|()| out.flush()) {
        // whoever read it has had enough (`| head`)
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => return Err(convoke::Error::host("can't print the counts", error)),
        Ok(()) => {}
    }
    let problems = corpus.problems.iter().chain(&problems);
    let complained = problems.map(|(path, why)| eprintln!("word_count: {}: {why}", path.display())).count();
    Ok(if complained == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All words of the corpus, and what could not be read.
#[derive(Debug, Default)]
struct Counted {
    words: HashMap<String, u64>,
    problems: Vec<(PathBuf, String)>,
}

/// Runs the task over all pieces, and adds up what comes back.
async fn count_all(driver: &Driver, corpus: &Corpus, progress: &mut Progress) -> convoke::Result<Counted> {
    let mut events = driver.events();
    let mut job = driver.map(count_words, corpus.tasks.clone()).unordered();
    let mut counted = Counted::default();
    loop {
        tokio::select! {
            result = job.next() => {
                let Some((position, counts)) = result else { return Ok(counted) };
                let Counts { words, problems } = counts?;
                for (word, count) in words {
                    *counted.words.entry(word).or_default() += count;
                }
                let problems = problems.into_iter().map(|(path, why)| (PathBuf::from(OsString::from_vec(path)), why));
                counted.problems.extend(problems);
                let task = usize::try_from(position).ok().and_then(|position| corpus.tasks.get(position));
                progress.counted(task.into_iter().flatten().map(|piece| piece.end - piece.start).sum());
            }
            Some(event) = events.next() => tell(driver, &event, progress)?,
        }
    }
}

/// Says what a person wants to know of the executors, and gives up where waiting for them is vain.
fn tell(driver: &Driver, event: &DriverEvent, progress: &mut Progress) -> convoke::Result<()> {
    match event {
        DriverEvent::ExecutorsMissing { ready: 0, shortfalls, .. } => {
            let reasons: Vec<_> = shortfalls.iter().flat_map(|shortfall| &shortfall.reasons).collect();
            let text = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            if reasons.iter().any(|reason| reason.permanent()) {
                return Err(convoke::Error::new(
                    convoke::ErrorKind::ResourcesExhausted,
                    "no executor can come",
                )
                .with("why", text)
                .help("ask for smaller executors, or take another master"));
            }
            progress.say(&format!("no executor yet: {text}"));
        }
        DriverEvent::ExecutorLost { executor, exit } if exit.blame != Blame::Nobody => {
            progress.say(&format!("executor {executor} is gone ({exit}); its tasks run elsewhere"));
        }
        DriverEvent::ExecutorsFailing { recent, next_try, .. } => {
            progress.say(&format!("{recent} executors failed in a row; the next try is in {next_try:?}"));
        }
        _ => {}
    }
    let ready = driver.executors().iter().filter(|executor| executor.phase == ExecutorPhase::Ready).count();
    progress.executors(ready);
    Ok(())
}
