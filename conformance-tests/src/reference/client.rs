//! The reference's client side: a [`Provisioner`] that speaks to the daemon, and goes on trying while it is away.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::clock;
use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, Capabilities, Constraint, Descriptor, EndedBy, Exit, Grant, LogChunk, LogRequest,
    Opened, Outcome, Program, Provisioner, Provisioning, Reason, Reporter, SecretChannel, Source, Stream,
    Wanted,
};
use convoke_core::process::logs::LogReader;
use convoke_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::daemon::executor_folder;
use super::wire::{CommandOnWire, FromDaemon, ReasonOnWire, ToDaemon, WantedOnWire};
use crate::harness::Traffic;

/// The reference manager, as a provisioner: [`Managed`](convoke_core::manager::Managed) makes a cluster manager of it.
#[derive(Debug)]
pub struct Reference {
    pub(super) folder: PathBuf,
    pub(super) line: Arc<Line>,
}

/// What lies between clients and the daemon: it can be cut, and what goes over it is counted.
#[derive(Debug, Default)]
pub(super) struct Line {
    cut: watch::Sender<bool>,
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Line {
    pub(super) fn cut(&self, yes: bool) {
        self.cut.send_replace(yes);
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic { calls: self.calls.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn count(&self, calls: u64, bytes: usize) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    async fn is_cut(&self) {
        let mut cut = self.cut.subscribe();
        let _ = cut.wait_for(|cut| *cut).await; // the sender is ours
    }
}

fn capabilities() -> Capabilities {
    Capabilities::default()
        .remote()
        .multi_node()
        .placement()
        .exclusion()
        .constraints()
        .devices()
        .memory_enforced()
        .logs()
        .draining()
        .survives_restart()
        .secret_channel(SecretChannel::OwnerOnlyFile)
}

#[async_trait]
impl Provisioner for Reference {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "reference",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capabilities(),
            least_lease: Duration::from_millis(500),
        }
    }

    async fn open(&self, spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened> {
        spec.check_options(&[])?;
        let shared = Arc::new(Shared {
            spec,
            report,
            folder: self.folder.clone(),
            line: self.line.clone(),
            connection: Mutex::new(Connection::default()),
            to_send: Notify::new(),
            questions: AtomicU64::new(0),
            ended: Mutex::default(),
        });
        let stream = shared.connect().await?;
        let (opened, is_open) = oneshot::channel();
        lock(&shared.connection).opened = Some(opened);
        let keeping = tokio::spawn(shared.clone().keep(stream));
        let handle = Handle { shared, keeping };
        let native = is_open.await.map_err(|_| away("the daemon hung up before it answered"))?;
        Ok(Opened { provisioning: Box::new(handle), native, page: None, capabilities: capabilities() })
    }
}

fn away(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

#[derive(Debug)]
struct Shared {
    spec: Arc<ApplicationSpec>,
    report: Reporter,
    folder: PathBuf,
    line: Arc<Line>,
    connection: Mutex<Connection>,
    to_send: Notify,
    questions: AtomicU64,
    /// Cancelled once an executor has exited: followers of its log end.
    ended: Mutex<HashMap<ExecutorId, CancellationToken>>,
}

/// What is under way on the connection; empty and closed while there is none.
#[derive(Debug, Default)]
struct Connection {
    up: bool,
    outgoing: Vec<u8>,
    opened: Option<oneshot::Sender<String>>,
    listed: BTreeMap<u64, oneshot::Sender<Vec<ExecutorId>>>,
    explained: BTreeMap<u64, oneshot::Sender<Vec<ReasonOnWire>>>,
    closed: Vec<oneshot::Sender<()>>,
}

impl Shared {
    async fn connect(&self) -> Result<UnixStream> {
        if *self.line.cut.borrow() {
            return Err(away("the network is cut"));
        }
        UnixStream::connect(self.folder.join("socket"))
            .await
            .map_err(|error| away("the reference's daemon is away").source(error))
    }

    fn send(&self, message: &ToDaemon) -> Result<()> {
        let mut line = serde_json::to_vec(message).map_err(|e| Error::internal("a message").source(e))?;
        line.push(b'\n');
        let mut connection = lock(&self.connection);
        if !connection.up {
            return Err(away("the reference's daemon is away"));
        }
        self.line.count(1, line.len());
        connection.outgoing.extend(line);
        drop(connection);
        self.to_send.notify_one();
        Ok(())
    }

    /// Keeps a connection, tries again while there is none.
    async fn keep(self: Arc<Self>, first: UnixStream) {
        let mut next = Some(first);
        let mut pause = Duration::from_millis(50);
        loop {
            match next.take() {
                Some(stream) => {
                    if self.converse(stream).await {
                        pause = Duration::from_millis(50);
                    }
                    *lock(&self.connection) = Connection::default();
                    self.report.manager(Err(away("the reference's daemon hung up")));
                }
                None => {
                    let random = clock::now().as_nanos() % 40;
                    tokio::time::sleep(pause.mul_f64(0.8 + random as f64 / 100.0)).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                    next = self.connect().await.ok();
                }
            }
        }
    }

    /// Answers whether the daemon took the application.
    async fn converse(&self, stream: UnixStream) -> bool {
        let (lines, mut out) = stream.into_split();
        let mut lines = BufReader::new(lines).lines();
        lock(&self.connection).up = true;
        let lease_ms = u64::try_from(self.spec.lease.as_millis()).unwrap_or(u64::MAX);
        let mut taken = false;
        if self.send(&ToDaemon::Open { application: self.spec.id.clone(), lease_ms }).is_err() {
            return false;
        }
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        self.line.count(0, line.len());
                        match serde_json::from_str(&line) {
                            Ok(news) => taken |= self.take(news),
                            Err(error) => tracing::warn!(%error, %line, "the daemon is not understood"),
                        }
                    }
                    _ => return taken,
                },
                () = self.to_send.notified() => {
                    let bytes = std::mem::take(&mut lock(&self.connection).outgoing);
                    if out.write_all(&bytes).await.is_err() {
                        return taken;
                    }
                }
                () = self.line.is_cut() => return taken,
            }
        }
    }

    fn take(&self, news: FromDaemon) -> bool {
        match news {
            FromDaemon::Opened { native } => {
                if let Some(opened) = lock(&self.connection).opened.take() {
                    let _ = opened.send(native); // `register` was dropped
                }
                self.report.manager(Ok(()));
                return true;
            }
            FromDaemon::Granted { executor, profile, native, host, actual, devices } => {
                self.report.granted(Grant { executor, profile, native, host: Some(host), actual, devices });
            }
            FromDaemon::Launched { executor } => self.report.launched(executor, Vec::new()),
            FromDaemon::Exited { executor, cause, message, log_tail } => {
                lock(&self.ended).entry(executor).or_default().cancel();
                self.report.exited(executor, Exit::new(cause, message).with_log_tail(log_tail));
            }
            FromDaemon::Draining { executors, until_ms, why } => {
                let until = clock::wall_time() + Duration::from_millis(until_ms);
                self.report.draining(executors, Some(until), why);
            }
            FromDaemon::Ended { by } => self.report.ended(Outcome::Killed, EndedBy::Operator(by)),
            FromDaemon::Closed => {
                for waits in std::mem::take(&mut lock(&self.connection).closed) {
                    let _ = waits.send(()); // it gave up waiting
                }
            }
            FromDaemon::Listed { question, executors } => {
                if let Some(asked) = lock(&self.connection).listed.remove(&question) {
                    let _ = asked.send(executors); // nobody asks any more
                }
            }
            FromDaemon::Explained { question, reasons } => {
                if let Some(asked) = lock(&self.connection).explained.remove(&question) {
                    let _ = asked.send(reasons); // nobody asks any more
                }
            }
            FromDaemon::Hooked { .. } => {}
        }
        false
    }

    fn on_wire(&self, wanted: &Wanted) -> Result<WantedOnWire> {
        let launch = self.spec.launcher.launch(wanted.executor, &wanted.profile);
        let supervised = launch.program == Program::Bootstrap;
        let program = match launch.program {
            Program::Bootstrap => bootstrap(&self.spec)?,
            Program::OnNode(path) => path,
            Program::File(name) => name.to_string(),
            other => {
                return Err(
                    Error::unsupported("the reference can't run this").with("program", format!("{other:?}"))
                );
            }
        };
        Ok(WantedOnWire {
            executor: wanted.executor,
            profile: wanted.profile.id,
            each: wanted.profile.each.clone(),
            preferred: wanted.placement.preferred.iter().map(|(host, _)| host.clone()).collect(),
            excluded: wanted.excluded.to_vec(),
            required: wanted.placement.required.iter().filter_map(on_wire).collect(),
            command: CommandOnWire {
                program,
                supervised,
                arguments: launch.args,
                environment: launch.env,
                ticket: launch.ticket.expose().to_vec(),
                files: launch.files,
                log_limits: format!("{}x{}", launch.logs.file.0, launch.logs.rolled),
            },
        })
    }
}

fn on_wire(constraint: &Constraint) -> Option<(Name, String, bool)> {
    match constraint {
        Constraint::Equals { attribute, value } => Some((attribute.clone(), value.clone(), true)),
        Constraint::NotEquals { attribute, value } => Some((attribute.clone(), value.clone(), false)),
        _ => None,
    }
}

fn bootstrap(spec: &ApplicationSpec) -> Result<String> {
    let here = convoke_core::manager::Platform::current();
    let build = spec.bootstrap.builds.iter().find(|(platform, _)| *platform == here);
    let paths = build.iter().flat_map(|(_, artifact)| &artifact.sources).filter_map(|source| match source {
        Source::DriverPath(path) | Source::NodePath(path) => Some(path.clone()),
        _ => None,
    });
    paths.into_iter().next().ok_or_else(|| Error::invalid("bootstrap", "no build for this host"))
}

/// What core holds of an application. Its drop closes the connection, which starts the lease.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    keeping: tokio::task::JoinHandle<()>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

#[async_trait]
impl Provisioning for Handle {
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        let wanted = wanted.iter().map(|wanted| self.shared.on_wire(wanted)).collect::<Result<_>>()?;
        self.shared.send(&ToDaemon::Start { wanted })
    }

    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()> {
        self.shared.send(&ToDaemon::Stop { executors })
    }

    async fn close(&self, outcome: Outcome, deadline: Duration) -> Result<()> {
        let (closed, is_closed) = oneshot::channel();
        lock(&self.shared.connection).closed.push(closed);
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded".to_owned(),
            Outcome::Failed(why) => format!("failed: {why}"),
            _ => "killed".to_owned(),
        };
        self.shared.send(&ToDaemon::Close { outcome })?;
        match tokio::time::timeout(deadline, is_closed).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(away("the daemon hung up while the application was being closed")),
            Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "executors still run")),
        }
    }

    async fn list(&self) -> Result<Option<Vec<ExecutorId>>> {
        let (asked, answer) = oneshot::channel();
        let question = self.shared.questions.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.connection).listed.insert(question, asked);
        self.shared.send(&ToDaemon::List { question })?;
        answer.await.map(Some).map_err(|_| away("the daemon hung up"))
    }

    async fn explain(&self, like: Option<&Wanted>) -> Result<Vec<Reason>> {
        let Some(like) = like else { return Ok(Vec::new()) };
        let (asked, answer) = oneshot::channel();
        let question = self.shared.questions.fetch_add(1, Ordering::Relaxed);
        lock(&self.shared.connection).explained.insert(question, asked);
        self.shared.send(&ToDaemon::Explain { question, like: Box::new(self.shared.on_wire(like)?) })?;
        let reasons = answer.await.map_err(|_| away("the daemon hung up"))?;
        Ok(reasons.into_iter().map(reason).collect())
    }

    async fn logs(&self, executor: ExecutorId, request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        let folder = executor_folder(&self.shared.folder, &self.shared.spec.id, executor).join("logs");
        let ended = lock(&self.shared.ended).entry(executor).or_default().clone();
        LogReader::stream(&folder, &request, ended)
    }
}

fn reason(reason: ReasonOnWire) -> Reason {
    match reason {
        ReasonOnWire::TooLarge { resource, needed, largest } => {
            Reason::NoNodeLargeEnough { resource, needed, largest_total: largest }
        }
        ReasonOnWire::NotFree { resource, needed, largest } => {
            Reason::NothingFreeNow { resource, needed, largest_free: largest }
        }
        ReasonOnWire::NoSuch(name) => Reason::NoSuchResource(name),
        ReasonOnWire::Excluded(hosts) => Reason::Excluded(hosts),
        ReasonOnWire::Unmatched { attribute, value } => {
            Reason::UnmatchedConstraint(Constraint::Equals { attribute, value })
        }
        ReasonOnWire::Draining(count) => Reason::NodesDraining(count),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
