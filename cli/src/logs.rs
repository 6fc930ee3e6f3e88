//! `convoke logs`: what the executors of an application printed, and print.

mod printer;
mod source;

use std::process::ExitCode;
use std::time::Duration;

use convoke::ids::{ApplicationId, ExecutorId};
use convoke::manager::{ApplicationReport, ExecutorState, LogStream};
use convoke::{Error, ErrorKind, Result};
use tokio::sync::mpsc;

use crate::arguments::Logs;
use crate::operator::{Asked, is_alive, run as run_async};
use printer::Printer;
use source::{Piece, Source};

/// How often a follower looks for new executors.
const LOOK: Duration = Duration::from_millis(300);

/// Prints what there is, and follows where it was asked to.
pub fn run(command: &Logs) -> Result<ExitCode> {
    let asked = Asked::open(&command.configuration, &command.place)?;
    run_async(async {
        let application = match &command.application {
            Some(text) => asked.find(text).await?,
            None => {
                let youngest = youngest(asked.applications().await?, &asked.master)?;
                eprintln!("convoke: logs of {}", youngest.id);
                youngest
            }
        };
        show(asked, &application, command).await
    })
}

/// The youngest that lives, else the youngest.
fn youngest(all: Vec<ApplicationReport>, master: &str) -> Result<ApplicationReport> {
    let youngest = all.iter().find(|application| is_alive(application)).or(all.first());
    youngest.cloned().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "there is no application whose logs could be read")
            .with("master", master)
            .help("start one with convoke submit; --master asks another manager")
    })
}

async fn show(asked: Asked, application: &ApplicationReport, command: &Logs) -> Result<ExitCode> {
    let (sender, mut pieces) = mpsc::channel(16);
    let streams = match (command.stdout, command.stderr) {
        (true, false) => vec![LogStream::Stdout],
        (false, true) => vec![LogStream::Stderr],
        _ => vec![LogStream::Stdout, LogStream::Stderr],
    };
    let bare = command.executor.len() == 1 && streams.len() == 1;
    let mut reading = Reading {
        asked,
        application: application.id.clone(),
        command,
        streams,
        begun: Vec::new(),
        sender: Some(sender),
    };
    reading.begin_all(application);
    reading.check(application)?;
    if !(command.follow && is_alive(application)) {
        reading.sender = None;
    }
    let mut printer = Printer::new(bare);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            piece = pieces.recv() => match piece {
                Some(piece) => {
                    if !printer.take(piece?)? {
                        break; // whoever read it has had enough (`| head`)
                    }
                }
                None => break,
            },
            _ = look.tick(), if reading.sender.is_some() => reading.look().await?,
        }
    }
    printer.end()?;
    Ok(ExitCode::SUCCESS)
}

/// The logs that are being read.
struct Reading<'a> {
    asked: Asked,
    application: ApplicationId,
    command: &'a Logs,
    streams: Vec<LogStream>,
    begun: Vec<ExecutorId>,
    /// `None` once no further executor can come.
    sender: Option<mpsc::Sender<Result<Piece>>>,
}

impl Reading<'_> {
    /// Begins to read what isn't read yet.
    fn begin_all(&mut self, application: &ApplicationReport) {
        let Some(sender) = &self.sender else { return };
        for (executor, report) in &application.executors {
            let chosen = &self.command.executor;
            let is_chosen = chosen.is_empty() || chosen.contains(&executor.0);
            if !is_chosen || self.begun.contains(executor) || report.state == ExecutorState::Starting {
                continue;
            }
            self.begun.push(*executor);
            for stream in &self.streams {
                let application = self.application.clone();
                let source = Source { application, executor: *executor, stream: *stream };
                let (tail, follow) = (self.command.tail, self.command.follow);
                tokio::spawn(source.read(self.asked.clone(), tail, follow, sender.clone()));
            }
        }
    }

    /// Refuses to read of executors that there aren't, where none can come.
    fn check(&self, application: &ApplicationReport) -> Result<()> {
        if self.command.follow && is_alive(application) {
            return Ok(());
        }
        let known: Vec<_> = application.executors.keys().map(ToString::to_string).collect();
        let unknown = self
            .command
            .executor
            .iter()
            .find(|executor| !application.executors.contains_key(&ExecutorId(**executor)));
        if let Some(unknown) = unknown {
            return Err(Error::new(ErrorKind::NotFound, "the application has no such executor")
                .with("application", &self.application)
                .with("executor", unknown)
                .help(format!(
                    "it has: {}",
                    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
                )));
        }
        if known.is_empty() {
            eprintln!("convoke: {} has had no executor", self.application);
        }
        Ok(())
    }

    /// Looks for further executors, and whether any can come.
    async fn look(&mut self) -> Result<()> {
        match self.asked.find(self.application.as_str()).await {
            Ok(now) => {
                self.begin_all(&now);
                if !is_alive(&now) {
                    self.sender = None;
                }
            }
            // Gone, with its logs: what was read is all there is.
            Err(error) if error.kind() == ErrorKind::NotFound => self.sender = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
