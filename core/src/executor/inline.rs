//! An executor on threads of its driver's own process, for debuggers: breakpoints in tasks, one process to look at.
//!
//! It joins over loopback and runs tasks as any other, but nothing stands between it and its driver: a task that exits or
//! overflows its stack takes the driver along, nobody limits its memory, and a task that ignores its end goes on.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::environment as names;
use super::fetch;
use super::link::{LineReader, ProgramSetup, ToProgram, ToSupervisor};
use super::supervisor::start::ExecutorStart;
use super::supervisor::{assignment, driver};
use crate::clock;
use crate::error::{Error, Result};
use crate::manager::{Exit, ExitCause, LaunchFailure};
use crate::process::spawn::NotStarted;
use crate::rpc::client::{self, Joined};
use crate::rpc::v1;
use crate::rpc::v1::supervisor_order::Order;
use crate::rpc::v1::supervisor_report::Report;
use crate::secret::{Secret, to_hex};

/// How long threads may take to end.
const GRACE: Duration = Duration::from_secs(1);
/// Between tries to join.
const AGAIN: Duration = Duration::from_millis(200);

/// Plays an executor until its driver ends it, hangs up, or `stop` is cancelled; says how it ended.
///
/// `environment` holds what the [`LaunchCommand`](crate::manager::LaunchCommand) says; this process's own isn't looked at.
///
/// # Cancel safety
/// A dropped call leaves the executor's threads to see that their link has ended.
pub async fn run(environment: &BTreeMap<String, String>, ticket: &Secret, stop: CancellationToken) -> Exit {
    let variable = |name: &str| match name {
        names::TICKET => Some(format!("hex:{}", to_hex(ticket.expose()))),
        // Nothing that a process has of its own.
        names::LOGS | names::CGROUPS | names::GUARD => None,
        name => environment.get(name).cloned(),
    };
    let start = match ExecutorStart::from_environment(&variable) {
        Ok(start) => start,
        Err(error) => return Exit::new(ExitCause::LaunchFailed(LaunchFailure::Other), error.to_string()),
    };
    let joined = tokio::select! {
        joined = join(&start, ticket) => joined,
        () = stop.cancelled() => return Exit::new(ExitCause::Released, "it had not joined yet"),
    };
    let joined = match joined {
        Ok(joined) => joined,
        Err(exit) => return exit,
    };
    live(&start, joined, stop)
        .await
        .unwrap_or_else(|error| Exit::new(ExitCause::LaunchFailed(LaunchFailure::Other), error.to_string()))
}

fn not_launched(not_started: NotStarted) -> Exit {
    Exit::new(ExitCause::LaunchFailed(not_started.failure), not_started.message)
}

async fn join(start: &ExecutorStart, ticket: &Secret) -> Result<Joined, Exit> {
    let ask = driver::ask(start, ticket.clone());
    let deadline = clock::now() + start.lease;
    loop {
        match client::join(&start.driver, start.trust, &ask).await {
            Ok(joined) => return Ok(joined),
            Err(error) if driver::is_refusal(&error) => {
                return Err(Exit::new(ExitCause::NeverJoined, error.to_string()));
            }
            Err(error) if clock::now() >= deadline => {
                return Err(Exit::new(ExitCause::LeaseExpired, error.to_string()));
            }
            Err(error) => {
                tracing::debug!(%error, "an inline executor tries again to join");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn live(start: &ExecutorStart, joined: Joined, stop: CancellationToken) -> Result<Exit> {
    if let Some(foreign) = &joined.assignment.foreign {
        let message = format!(
            "an executor inside its driver's process can't run {:?}: choose local[1]",
            foreign.program
        );
        return Ok(Exit::new(ExitCause::LaunchFailed(LaunchFailure::Other), message));
    }
    let failed = |error| Error::host("can't make an inline executor's link", error);
    let others = start.driver.iter().filter(|address| **address != joined.address);
    let addresses: Vec<_> = std::iter::once(&joined.address).chain(others).cloned().collect();
    let order = fetch::Order::of(&joined.assignment, &start.application, addresses.clone(), &joined.identity);
    let fetched = match order {
        Ok(None) => None,
        Ok(Some(order)) => {
            // Its working directory is the application's own: nothing is put there.
            let fetching = tokio::task::spawn_blocking(move || fetch::fetch(&order, None));
            match fetching.await.map_err(|error| Error::internal("fetching failed").source(error))? {
                Ok(fetched) => Some(fetched),
                Err(not_started) => return Ok(not_launched(not_started)),
            }
        }
        Err(not_started) => return Ok(not_launched(not_started)),
    };
    let (reports, orders) = client::supervise(&addresses, &start.application, &joined.identity).await?;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let (inbound, outbound) = tokio::net::UnixStream::from_std(ours).map_err(failed)?.into_split();
    let setup = ProgramSetup {
        application: start.application.clone(),
        executor: start.executor,
        profile: start.profile,
        incarnation: start.incarnation,
        driver: addresses,
        identity: joined.identity,
        slots: joined.assignment.slots,
        heartbeat_interval: assignment::at_least(joined.assignment.heartbeat_interval_ms),
        devices: start.devices.clone(),
        files: fetched.as_ref().map(|fetched| fetched.files.clone()).unwrap_or_default(),
        inline_bytes: assignment::inline_bytes(&joined.assignment),
        log_kept: false, // it is this process's own
    };
    let interval = setup.heartbeat_interval;
    let (ended, over) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("convoke-inline-{}", start.executor))
        .spawn(move || {
            let _ = ended.send(super::program::run(setup, theirs)); // nobody asks once it was given up
        })
        .map_err(failed)?;
    let supervision =
        Supervision { reports, inbound: LineReader::new(inbound), outbound, failure: None, stop };
    let exit = supervision.run(orders, interval, over).await;
    // The last one here removes what was fetched, and that takes a disk.
    tokio::task::spawn_blocking(move || drop(fetched));
    Ok(exit)
}

/// What a supervisor does, as far as it can be done from inside.
struct Supervision {
    reports: mpsc::Sender<v1::SupervisorReport>,
    inbound: LineReader<OwnedReadHalf>,
    outbound: OwnedWriteHalf,
    failure: Option<String>,
    stop: CancellationToken,
}

impl Supervision {
    async fn run(
        mut self,
        mut orders: Streaming<v1::SupervisorOrder>,
        interval: Duration,
        mut over: oneshot::Receiver<i32>,
    ) -> Exit {
        let process = std::process::id();
        self.report(Report::Hello(v1::SupervisorHello { process, directory: String::new() }));
        let mut beats = tokio::time::interval(interval);
        let mut number = 0;
        let mut heard = clock::now();
        let mut code = None;
        let exit = loop {
            tokio::select! {
                ended = &mut over => {
                    code = Some(ended.unwrap_or(101)); // its thread panicked
                    break Exit::new(ExitCause::Code(code.unwrap_or(101)), self.failure.take().unwrap_or_default());
                }
                () = self.stop.cancelled() => break Exit::new(ExitCause::Released, "its manager stopped it"),
                _ = beats.tick() => {
                    number += 1;
                    let silent = u64::try_from(clock::now().since(heard).as_millis()).unwrap_or(u64::MAX);
                    let beat = v1::Heartbeat { number, program_silent_ms: silent, resident_mib: 0 };
                    self.report(Report::Heartbeat(beat));
                }
                said = self.inbound.next::<ToSupervisor>(), if code.is_none() => match said {
                    Ok(Some(ToSupervisor::Attached)) => {
                        heard = clock::now();
                        self.report(Report::Ready(v1::ProgramReady { process, ..Default::default() }));
                    }
                    Ok(Some(ToSupervisor::Alive)) => heard = clock::now(),
                    // Its standard error is this process's own, which nobody keeps; it doesn't ask.
                    Ok(Some(ToSupervisor::LogTail)) => {}
                    Ok(Some(ToSupervisor::Failed { message })) => self.failure = Some(message),
                    // The link's end comes with the program's, which says more.
                    Ok(None) | Err(_) => {
                        let ended = tokio::time::timeout(GRACE, &mut over).await;
                        let ended = ended.ok().and_then(Result::ok).unwrap_or(101);
                        code = Some(ended);
                        break Exit::new(ExitCause::Code(ended), self.failure.take().unwrap_or_default());
                    }
                },
                order = orders.message() => match order.map(|order| order.and_then(|order| order.order)) {
                    Ok(Some(Order::Renewed(_))) => {}
                    Ok(Some(Order::Drain(_))) => self.tell(&ToProgram::Drain).await,
                    Ok(Some(Order::End(end))) => {
                        let cause = serde_json::from_str(&end.cause).unwrap_or(ExitCause::Released);
                        break Exit::new(cause, end.why);
                    }
                    Ok(None) => break Exit::new(ExitCause::LostContact, "its driver hung up"),
                    Err(status) => break Exit::new(ExitCause::LostContact, status.message()),
                },
            }
        };
        // The end of the link is the end of its tasks.
        drop((self.inbound, self.outbound));
        if code.is_none() && tokio::time::timeout(GRACE, over).await.is_err() {
            tracing::warn!("an inline executor's tasks go on after its end: there is no process to end");
        }
        let cause = serde_json::to_string(&exit.cause).unwrap_or_default();
        let ended = v1::ExecutorEnded { cause, message: exit.message.clone(), ..Default::default() };
        let ended = v1::SupervisorReport { report: Some(Report::Ended(ended)) };
        let _ = self.reports.try_send(ended); // its driver may be gone
        exit
    }

    fn report(&self, report: Report) {
        // A full queue is a driver that doesn't read: it will count this executor as lost.
        let _ = self.reports.try_send(v1::SupervisorReport { report: Some(report) });
    }

    async fn tell(&mut self, message: &ToProgram) {
        let line = serde_json::to_vec(message).map(|mut line| {
            line.push(b'\n');
            line
        });
        if let Ok(line) = line
            && let Err(error) = self.outbound.write_all(&line).await
        {
            tracing::debug!(%error, "an inline executor's program is gone");
        }
    }
}
