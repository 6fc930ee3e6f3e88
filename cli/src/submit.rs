//! `convoke submit`: runs a program built with convoke, with its settings, and is out of its way.

mod display;
mod program;

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use convoke::driver::progress;
use convoke::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::arguments::{DeployMode, FILES, Submit};
use crate::interruptions::{self, Interruption};
use crate::leftovers;
use crate::settings::Chosen;
use display::Display;

/// What a shell shows for a program that was interrupted.
const INTERRUPTED: u8 = 130;
/// How long executors of a program that has ended may take to end.
const LEFTOVERS_END: Duration = Duration::from_secs(5);
/// How often a terminal is drawn anew.
const DRAW: Duration = Duration::from_millis(100);

/// Checks settings and master, then runs the program.
pub fn run(command: &Submit) -> Result<ExitCode> {
    let mut chosen =
        Chosen::collect(&command.configuration, &command.place, Some(&command.executors), std::env::vars())?;
    chosen.add_lines("executor.env", "--executor-env", &command.executor_env);
    chosen.add_lines(FILES, "--file", &command.files);
    let settings = chosen.settings()?;
    let manager = chosen.manager(&settings)?;
    if command.deploy_mode == DeployMode::Cluster && manager.drivers().is_none() {
        return Err(Error::unsupported("this master doesn't run drivers (cluster mode)")
            .with("master", settings.master_or_local())
            .with("backend", manager.describe().kind)
            .help("leave --deploy-mode out: the driver runs here, and its executors there"));
    }
    if command.deploy_mode == DeployMode::Cluster {
        return Err(Error::unsupported("this command line can't hand drivers to a master yet")
            .with("master", settings.master_or_local())
            .help("leave --deploy-mode out: the driver runs here, and its executors there"));
    }
    drop(manager);
    let Some((program, arguments)) = command.program.split_first() else {
        return Err(Error::invalid("program", "there is no program to run"));
    };
    let mut child = Command::new(program);
    child.args(arguments).envs(chosen.variables());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't start a runtime", error))?;
    runtime.block_on(async {
        leftovers::adopt()?;
        // Before the program starts: an interruption from its first moment on is to be passed on.
        let heard = interruptions::hear()?;
        let display = Display::new(command.progress, &program.to_string_lossy());
        let news = display.is_some().then(News::open).flatten();
        if let Some(news) = &news {
            child.env(progress::VARIABLE, news.path());
        }
        let child = child.spawn().map_err(|error| program::cannot_start(program, &error))?;
        Attendance { child, heard, interrupted: 0, display, news }.until_ended().await
    })
}

/// What the program's driver tells of its progress.
///
/// It writes into a pipe that it finds as this process's: nothing is inherited that its executors could inherit, and nothing
/// lies around when this process is killed.
struct News {
    /// By whose number it is found.
    sender: pipe::Sender,
    lines: tokio::io::Lines<BufReader<pipe::Receiver>>,
}

impl News {
    /// `None` where this system can't: then there is no progress to see.
    fn open() -> Option<News> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let (sender, receiver) = pipe::pipe().ok()?;
        Some(News { sender, lines: BufReader::new(receiver).lines() })
    }

    fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.sender.as_raw_fd())
    }

    /// The next line. A line that can't be read is one of another version of convoke.
    async fn next(news: &mut Option<News>) -> progress::Progress {
        loop {
            let Some(open) = news else { return std::future::pending().await };
            match open.lines.next_line().await {
                Ok(Some(line)) => {
                    if let Ok(progress) = serde_json::from_str(&line) {
                        return progress;
                    }
                }
                Ok(None) | Err(_) => *news = None,
            }
        }
    }
}

/// A program that runs, and those who wait for it.
struct Attendance {
    child: Child,
    heard: mpsc::UnboundedReceiver<Interruption>,
    interrupted: u32,
    display: Option<Display>,
    news: Option<News>,
}

impl Attendance {
    async fn until_ended(mut self) -> Result<ExitCode> {
        let mut draw = tokio::time::interval(DRAW);
        let mut reminder = Box::pin(std::future::pending()) as std::pin::Pin<Box<dyn Future<Output = ()>>>;
        let status = loop {
            tokio::select! {
                biased;
                Some(interruption) = self.heard.recv() => {
                    self.pass_on(interruption);
                    if self.interrupted == 1 {
                        reminder = Box::pin(tokio::time::sleep(interruptions::PATIENCE));
                    }
                }
                progress = News::next(&mut self.news) => self.show(progress),
                status = self.child.wait() => break status,
                () = &mut reminder => {
                    reminder = Box::pin(std::future::pending());
                    self.say("interrupted; waiting for the program to end (once more ends it at once)");
                }
                _ = draw.tick(), if self.display.is_some() => {
                    if let Some(display) = &mut self.display {
                        display.draw();
                    }
                }
            }
        };
        let status = status.map_err(|error| Error::host("can't wait for the program", error))?;
        // What its driver said last may still lie in the pipe.
        while let Ok(progress) = tokio::time::timeout(Duration::ZERO, News::next(&mut self.news)).await {
            self.show(progress);
        }
        if let Some(display) = &mut self.display {
            display.ended(status.success());
        }
        self.see_executors_off().await;
        Ok(code(status, self.interrupted > 0))
    }

    /// The first is the program's own affair, the second ends it at once.
    fn pass_on(&mut self, interruption: Interruption) {
        if interruption.signal != Signal::INT {
            if !interruption.typed {
                self.tell(interruption.signal);
            }
            return;
        }
        self.interrupted += 1;
        if self.interrupted > 1 {
            self.tell(Signal::KILL);
        } else if !interruption.typed {
            self.tell(Signal::INT);
        }
    }

    fn tell(&self, signal: Signal) {
        let process = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(process) = process {
            let _ = kill_process(process, signal); // it has just ended: fine
        }
    }

    /// Whoever gets the prompt back finds none; who interrupts once more doesn't wait for them to end by themselves.
    async fn see_executors_off(&mut self) {
        if self.interrupted > 1 {
            leftovers::end();
        }
        let gone = leftovers::wait(LEFTOVERS_END);
        tokio::pin!(gone);
        loop {
            tokio::select! {
                () = &mut gone => return,
                Some(interruption) = self.heard.recv() => {
                    self.interrupted += u32::from(interruption.signal == Signal::INT);
                    leftovers::end();
                }
            }
        }
    }

    fn show(&mut self, progress: progress::Progress) {
        if let Some(display) = &mut self.display {
            display.take(progress);
        }
    }

    fn say(&mut self, text: &str) {
        match &mut self.display {
            Some(display) => display.say(text),
            None => eprintln!("convoke: {text}"),
        }
    }
}

/// The program's exit code; one that a signal ended has what a shell shows for it.
fn code(status: ExitStatus, interrupted: bool) -> ExitCode {
    match (status.code(), status.signal()) {
        (_, Some(_)) if interrupted => ExitCode::from(INTERRUPTED),
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        (None, Some(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)),
        (None, None) => ExitCode::FAILURE,
    }
}
