//! A driver that does as it is told, and executors of this very test binary.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convoke_core::executor::environment as names;
use convoke_core::manager::ExitCause;
use convoke_core::process::table::{ProcessId, Table};
use convoke_core::process::tree::kill_trees;
use convoke_core::rpc::v1::driver_server::{Driver, DriverServer};
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::rpc::v1::supervisor_report::Report;
use convoke_core::rpc::{limits, v1};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Bounds everything that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A driver whose join is scripted, and which says nothing that it isn't told to, but answers heartbeats.
#[derive(Clone)]
pub struct ScriptedDriver {
    pub address: SocketAddr,
    script: Arc<Script>,
    reports: Arc<AsyncMutex<mpsc::Receiver<Report>>>,
}

struct Script {
    assignment: v1::Assignment,
    refusal: Option<Status>,
    reports: mpsc::Sender<Report>,
    orders: Mutex<Option<mpsc::Sender<Result<v1::SupervisorOrder, Status>>>>,
    answers: std::sync::atomic::AtomicBool,
}

impl ScriptedDriver {
    pub async fn start(assignment: v1::Assignment, refusal: Option<Status>) -> ScriptedDriver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, reports) = mpsc::channel(1024);
        let script = Arc::new(Script {
            assignment,
            refusal,
            reports: sender,
            orders: Mutex::new(None),
            answers: true.into(),
        });
        let service = DriverServer::new(Served(Arc::clone(&script)));
        tokio::spawn(
            tonic::transport::Server::builder()
                .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        ScriptedDriver { address, script, reports: Arc::new(AsyncMutex::new(reports)) }
    }

    /// The next report that `wanted` takes; others are passed over.
    pub async fn report<T>(&self, mut wanted: impl FnMut(Report) -> Option<T>) -> T {
        let mut reports = self.reports.lock().await;
        let mut passed = Vec::new();
        let found = async {
            loop {
                let report = reports.recv().await.expect("the driver serves on");
                if !matches!(report, Report::Heartbeat(_)) {
                    passed.push(format!("{report:?}"));
                }
                if let Some(found) = wanted(report) {
                    return found;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("no such report came, only {passed:#?}"),
        }
    }

    pub async fn ready(&self) -> v1::ProgramReady {
        self.report(|report| match report {
            Report::Ready(ready) => Some(ready),
            _ => None,
        })
        .await
    }

    pub async fn supervisor(&self) -> u32 {
        self.report(|report| match report {
            Report::Hello(hello) => Some(hello.process),
            _ => None,
        })
        .await
    }

    /// The account of the end: its cause, its message, the end of its log.
    pub async fn ended(&self) -> (ExitCause, String, String) {
        let ended = self
            .report(|report| match report {
                Report::Ended(ended) => Some(ended),
                _ => None,
            })
            .await;
        let cause = serde_json::from_str(&ended.cause).unwrap();
        (cause, ended.message, String::from_utf8_lossy(&ended.log_tail).into_owned())
    }

    pub async fn order(&self, order: Order) {
        let orders = self.script.orders.lock().unwrap().clone().expect("a supervisor");
        orders.send(Ok(v1::SupervisorOrder { order: Some(order) })).await.unwrap();
    }

    /// Answers no heartbeat any more, and takes no new link.
    pub fn fall_silent(&self) {
        self.script.answers.store(false, Ordering::Relaxed);
    }
}

struct Served(Arc<Script>);

#[async_trait]
impl Driver for Served {
    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        if let Some(refusal) = &self.0.refusal {
            return Err(refusal.clone());
        }
        Ok(Response::new(v1::JoinResponse {
            session: b"session".to_vec().into(),
            assignment: Some(self.0.assignment.clone()),
            ..Default::default()
        }))
    }

    type SuperviseStream = ReceiverStream<Result<v1::SupervisorOrder, Status>>;

    async fn supervise(
        &self,
        request: Request<Streaming<v1::SupervisorReport>>,
    ) -> Result<Response<Self::SuperviseStream>, Status> {
        let script = Arc::clone(&self.0);
        if !script.answers.load(Ordering::Relaxed) {
            return Err(Status::unavailable("silent"));
        }
        let (orders, down) = mpsc::channel(16);
        *script.orders.lock().unwrap() = Some(orders.clone());
        let mut up = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(report)) = up.message().await {
                let Some(report) = report.report else { continue };
                if let (Report::Heartbeat(beat), true) = (&report, script.answers.load(Ordering::Relaxed)) {
                    let order = Some(Order::Renewed(beat.number));
                    let _ = orders.send(Ok(v1::SupervisorOrder { order })).await;
                }
                let last = matches!(report, Report::Ended(_));
                let _ = script.reports.send(report).await;
                if last {
                    break;
                }
            }
            // Hangs up once the other side has.
            script.orders.lock().unwrap().take();
        });
        Ok(Response::new(ReceiverStream::new(down)))
    }

    type AttachStream = ReceiverStream<Result<v1::DriverMessage, Status>>;
    async fn attach(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        // Takes what comes and gives no task.
        let (keep, down) = mpsc::channel(1);
        let mut up = request.into_inner();
        tokio::spawn(async move {
            let _keep = keep;
            while let Ok(Some(_)) = up.message().await {}
        });
        Ok(Response::new(ReceiverStream::new(down)))
    }

    type FetchStream = ReceiverStream<Result<v1::Chunk, Status>>;
    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::not_found("nothing is served"))
    }

    async fn upload(
        &self,
        _: Request<Streaming<v1::UploadChunk>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        Err(Status::not_found("nothing is awaited"))
    }
}

/// An assignment with short times.
pub fn assignment() -> v1::Assignment {
    v1::Assignment {
        slots: 1,
        cpus_millis: 1000,
        heartbeat_interval_ms: 50,
        lost_after_ms: 1000,
        lease_ms: 30_000,
        end_grace_ms: 300,
        ..Default::default()
    }
}

/// An executor of this test binary: its guard, and all that carries its mark.
pub struct Executor {
    guard: Child,
    input: Option<ChildStdin>,
    /// In the environment or the arguments of each process that it starts.
    pub mark: String,
    pub logs: tempfile::TempDir,
}

impl Executor {
    pub fn start(driver: SocketAddr) -> Executor {
        Executor::start_with(driver, &HashMap::new())
    }

    pub fn start_with(driver: SocketAddr, variables: &HashMap<&str, String>) -> Executor {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}{:04}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let logs = tempfile::tempdir().unwrap();
        let mut guard = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "convoke_executor", "--nocapture"])
            .env(names::ROLE, "guard")
            .env(names::DRIVER, driver.to_string())
            .env(names::TRUST, "insecure")
            .env(names::APPLICATION, "test-0000000000000001")
            .env(names::EXECUTOR, "7")
            .env(names::PROFILE, "0")
            .env(names::INCARNATION, "1")
            .env(names::LEASE_MS, "20000")
            .env(names::TICKET, "stdin")
            .env(names::LOGS, logs.path())
            .env("CONVOKE_TEST_MARK", &mark)
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut input = guard.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"00ff\n").unwrap();
        Executor { guard, input: Some(input), mark, logs }
    }

    pub fn guard_process(&self) -> u32 {
        self.guard.id()
    }

    /// What the driver's death does: the end of standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.guard), signal).unwrap();
    }

    /// How the guard ended, as its manager sees it.
    pub async fn exit(&mut self) -> ExitStatus {
        let guard = &mut self.guard;
        eventually("the guard's end", || guard.try_wait().unwrap()).await
    }

    pub async fn exit_signal(&mut self) -> Option<i32> {
        self.exit().await.signal()
    }

    pub async fn exit_code(&mut self) -> Option<i32> {
        self.exit().await.code()
    }

    /// All processes that carry the mark.
    pub fn processes(&self) -> Vec<ProcessId> {
        marked(&self.mark)
    }

    pub async fn nothing_left(&self) {
        let mark = self.mark.clone();
        eventually("the end of every process", || marked(&mark).is_empty().then_some(())).await;
    }

    /// What the program wrote on its standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.logs.path().join("stderr.0")).unwrap_or_default()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // A test that failed leaves nothing either.
        let _ = kill_trees(&self.processes());
        let _ = self.guard.wait();
    }
}

fn marked(mark: &str) -> Vec<ProcessId> {
    let carries = |number: i32, file: &str| {
        std::fs::read(format!("/proc/{number}/{file}"))
            .is_ok_and(|bytes| bytes.windows(mark.len()).any(|window| window == mark.as_bytes()))
    };
    let table = Table::read().unwrap();
    let alive = table.entries().iter().filter(|entry| entry.is_alive());
    alive
        .map(|entry| entry.id)
        .filter(|id| carries(id.number, "environ") || carries(id.number, "cmdline"))
        .filter(|id| id.number != std::process::id() as i32)
        .collect()
}

/// Waits until `found` finds something.
pub async fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// Starts what nobody likes: processes in sessions of their own, with an empty environment, whose parents are gone, and that
/// ignore SIGTERM. They carry the mark in their arguments.
pub fn start_strays(count: u32) {
    let mark = std::env::var("CONVOKE_TEST_MARK").unwrap();
    for number in 0..count {
        let stray = format!(r#"(env -i setsid sh -c 'trap "" TERM; exec sleep {mark}.{number}' &)"#);
        assert!(Command::new("sh").args(["-c", &stray]).status().unwrap().success());
    }
}

/// How many of [`start_strays`] run.
pub fn strays(mark: &str) -> usize {
    let is_stray = |id: &ProcessId| {
        std::fs::read(format!("/proc/{}/cmdline", id.number))
            .is_ok_and(|line| line.starts_with(format!("sleep\0{mark}.").as_bytes()))
    };
    marked(mark).iter().filter(|id| is_stray(id)).count()
}
