//! Counts the words of every text file below the given paths, in separate executor processes.
//!
//! ```text
//! cargo run --release --example word_count -- README.md docs
//! cargo run --release --example word_count -- --executors 8 --json docs >counts.json
//! cargo run --release --example word_count -- --master 'local[4]' docs
//! ```
//!
//! Executors open the files themselves: on another machine than the driver's, the paths must lead to the same files.

mod arguments;
mod counting;
mod files;
mod report;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use convoke::driver::Driver;
use convoke::manager::Outcome;

use arguments::Arguments;
use counting::count_words;

/// How long the first executor may take until somebody should be told why.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the executors may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The one line that makes this program its own executor, too.
    convoke::executor::role::init();
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("word_count: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> convoke::Result<ExitCode> {
    let (master, executors) = arguments.master_and_executors()?;
    let found = files::find(&arguments.paths);
    for problem in &found.problems {
        eprintln!("word_count: {problem}");
    }
    if found.pieces.is_empty() && !found.problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let driver = Driver::builder_with(convoke::registry())
        .name("word count")
        .master(master)
        .executors(executors)
        .executor_memory("512MiB")
        .start()
        .await?;
    let work = async {
        driver.wait_ready(1, READY_WITHIN).await?;
        count_all(&driver, &found).await
    };
    let (outcome, result) = tokio::select! {
        counted = work => match counted {
            Ok(counts) => (Outcome::Succeeded, Some(Ok(counts))),
            Err(error) => (Outcome::Failed(error.to_string()), Some(Err(error))),
        },
        () = interrupted() => (Outcome::Killed, None),
    };
    let ended = tokio::select! {
        ended = driver.shutdown(outcome, END_WITHIN) => ended,
        () = interrupted() => return Ok(ExitCode::from(130)), // twice: at once
    };
    let Some(result) = result else {
        eprintln!("word_count: interrupted");
        return Ok(ExitCode::from(130));
    };
    let counts = result?;
    if let Err(error) = ended {
        eprintln!("word_count: the count is complete, but its executors may not have ended: {error}");
    }
    report::print(&counts, &found, arguments.json, arguments.top)?;
    Ok(if found.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ctrl-C. A machine that can't tell of it never interrupts.
async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("word_count: Ctrl-C can't be caught here: {error}");
        std::future::pending::<()>().await;
    }
}

async fn count_all(driver: &Driver, found: &files::Found) -> convoke::Result<HashMap<String, u64>> {
    let progress = report::Progress::new(found.bytes);
    let mut results = driver.map(count_words, found.pieces.clone()).unordered();
    let mut totals = HashMap::new();
    while let Some((index, result)) = results.next().await {
        let piece = usize::try_from(index).ok().and_then(|index| found.pieces.get(index));
        let counts = result.map_err(|error| {
            let failed = convoke::Error::new(convoke::ErrorKind::Host, "a file could not be counted");
            failed.with("why", error).with("file", piece.map_or_else(String::new, |piece| piece.path.clone()))
        })?;
        for (word, count) in counts {
            *totals.entry(word).or_insert(0) += count;
        }
        progress.add(piece.map_or(0, |piece| piece.end - piece.start));
    }
    progress.finish();
    Ok(totals)
}
