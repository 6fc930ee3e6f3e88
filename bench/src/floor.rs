//! A bare tonic stream to so many processes, without TLS or scheduler: what the transport alone allows.

use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use convoke::rpc::limits;
use convoke::rpc::v1::driver_client::DriverClient;
use convoke::rpc::v1::driver_server::{Driver, DriverServer};
use convoke::rpc::v1::{self, executor_message::Message};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::figures::quantile;
use crate::{Result, now};

/// Messages that are on their way to one process.
const IN_FLIGHT: usize = 16;
pub(crate) const MEBIBYTE: usize = 1 << 20;

/// What a peer answers: as much as came, a mebibyte for each task, or a byte for each.
const ECHO: u32 = 0;
const LARGE: u32 = 1;
const SMALL: u32 = 2;

/// What is sent down one stream, a message at a time.
#[derive(Clone)]
struct Load {
    messages: u64,
    in_flight: usize,
    tasks: u64,
    payload: Bytes,
    function: u32,
    pause: Duration,
}

impl Load {
    fn message(&self) -> v1::DriverMessage {
        let each = self.payload.len() as u64 / self.tasks;
        let batch = v1::TaskBatch {
            tasks: (0..self.tasks).collect(),
            functions: vec![self.function],
            lengths: vec![each as u32; self.tasks as usize],
            payload: self.payload.clone(),
            ..v1::TaskBatch::default()
        };
        v1::DriverMessage { tasks: Some(batch), ..v1::DriverMessage::default() }
    }
}

/// One connected process.
struct Connection {
    down: mpsc::Sender<std::result::Result<v1::DriverMessage, Status>>,
    up: Streaming<v1::ExecutorMessage>,
}

impl Connection {
    /// Sends all of it and hears the answers; the time of each message where one is in flight at a time.
    async fn carry(&mut self, load: &Load) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        let (mut sent, mut received) = (0, 0);
        let mut start = now();
        while received < load.messages {
            while sent < load.messages && sent - received < load.in_flight as u64 {
                if !load.pause.is_zero() {
                    tokio::time::sleep(load.pause).await;
                }
                start = now();
                self.down.send(Ok(load.message())).await?;
                sent += 1;
            }
            let answer = self.up.next().await.ok_or("a bare process ended")??;
            let Some(Message::Updates(updates)) = answer.message else { return Err("an odd answer".into()) };
            if updates.tasks.len() as u64 != load.tasks {
                return Err("an answer lacks tasks".into());
            }
            received += 1;
            if load.in_flight == 1 {
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        Ok(times)
    }
}

struct Served(mpsc::Sender<Connection>);

type Boxed<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = std::result::Result<T, Status>> + Send>>;

#[async_trait]
impl Driver for Served {
    type AttachStream = ReceiverStream<std::result::Result<v1::DriverMessage, Status>>;
    type SuperviseStream = Boxed<v1::SupervisorOrder>;
    type FetchStream = Boxed<v1::Chunk>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> std::result::Result<Response<Self::AttachStream>, Status> {
        let (down, receiver) = mpsc::channel(IN_FLIGHT + 1);
        let connection = Connection { down, up: request.into_inner() };
        self.0.send(connection).await.map_err(|_| Status::cancelled("measured"))?;
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn join(
        &self,
        _: Request<v1::JoinRequest>,
    ) -> std::result::Result<Response<v1::JoinResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn supervise(
        &self,
        _: Request<Streaming<v1::SupervisorReport>>,
    ) -> std::result::Result<Response<Self::SuperviseStream>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn fetch(
        &self,
        _: Request<v1::FetchRequest>,
    ) -> std::result::Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn upload(
        &self,
        _: Request<Streaming<v1::UploadChunk>>,
    ) -> std::result::Result<Response<v1::UploadResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Bare processes that are connected, and how long that took.
struct Floor {
    connections: Vec<Connection>,
    connected_ms: f64,
    processes: Vec<Child>,
    _served: oneshot::Sender<()>,
}

impl Drop for Floor {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// From nothing (no listener yet) until the first message of each of `count` processes has come.
async fn connect(count: usize) -> Result<Floor> {
    let start = now();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, mut connected) = mpsc::channel(count);
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener)
        .map(|stream| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
    let (served, ended) = oneshot::channel::<()>();
    tokio::spawn(
        tonic::transport::Server::builder()
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .add_service(DriverServer::new(Served(sender)).max_decoding_message_size(limits::MESSAGE_BYTES))
            .serve_with_incoming_shutdown(incoming, async { drop(ended.await) }),
    );
    let program = std::env::current_exe()?;
    let mut floor =
        Floor { connections: Vec::new(), connected_ms: 0.0, processes: Vec::new(), _served: served };
    for _ in 0..count {
        let mut command = Command::new(&program);
        command.args(["floor-peer", &address.to_string()]).stdin(Stdio::null());
        floor.processes.push(command.spawn()?);
    }
    for _ in 0..count {
        let mut connection = connected.recv().await.ok_or("a bare process ended early")?;
        let hello = connection.up.next().await.ok_or("a bare process ended early")??;
        if !matches!(hello.message, Some(Message::Hello(_))) {
            return Err("a bare process said no hello".into());
        }
        floor.connections.push(connection);
    }
    floor.connected_ms = start.elapsed().as_secs_f64() * 1e3;
    Ok(floor)
}

/// Milliseconds until so many processes have been started and said something.
pub(crate) fn start(processes: usize) -> Result<f64> {
    runtime()?.block_on(async { Ok(connect(processes).await?.connected_ms) })
}

pub(crate) struct Streams {
    pub(crate) tasks_per_second: f64,
    pub(crate) ping_pong: (f64, f64),
    pub(crate) after_a_pause: (f64, f64),
    pub(crate) results: f64,
    pub(crate) arguments: f64,
}

/// What two processes' streams carry. The sizes are MB/s, the ping-pongs p50 and p99 in microseconds.
pub(crate) fn streams(tasks: u64, mebibytes: u64) -> Result<Streams> {
    runtime()?.block_on(async {
        let mut floor = connect(2).await?;
        let ping = Load {
            messages: 1000,
            in_flight: 1,
            tasks: 1,
            payload: Bytes::from_static(&[7]),
            function: ECHO,
            pause: Duration::ZERO,
        };
        let mut ping_pong = Vec::new();
        let mut after_a_pause = Vec::new();
        for connection in &mut floor.connections {
            connection.carry(&Load { messages: 100, ..ping.clone() }).await?;
            ping_pong.extend(connection.carry(&ping).await?);
            let paused = Load { messages: 150, pause: Duration::from_millis(2), ..ping.clone() };
            after_a_pause.extend(connection.carry(&paused).await?);
        }
        let flood = Load {
            messages: tasks / 2 / 64,
            in_flight: IN_FLIGHT,
            tasks: 64,
            payload: Bytes::from_static(&[7; 64]),
            ..ping.clone()
        };
        let seconds = all(&mut floor, &flood).await?;
        let carried = flood.messages * 2 * 64;
        let results = Load { messages: mebibytes / 2, in_flight: 4, function: LARGE, ..ping.clone() };
        let results_seconds = all(&mut floor, &results).await?;
        let arguments = Load { payload: vec![7; MEBIBYTE].into(), function: SMALL, ..results.clone() };
        let arguments_seconds = all(&mut floor, &arguments).await?;
        let megabytes = (mebibytes / 2 * 2) as f64 * MEBIBYTE as f64 / 1e6;
        let percentiles = |times: &[f64]| (quantile(times, 0.5), quantile(times, 0.99));
        Ok(Streams {
            tasks_per_second: carried as f64 / seconds,
            ping_pong: percentiles(&ping_pong),
            after_a_pause: percentiles(&after_a_pause),
            results: megabytes / results_seconds,
            arguments: megabytes / arguments_seconds,
        })
    })
}

/// The seconds in which all connections carry this load, side by side.
async fn all(floor: &mut Floor, load: &Load) -> Result<f64> {
    let start = now();
    let problem = Arc::new(Mutex::new(None));
    let carrying = floor.connections.iter_mut().map(|connection| {
        let problem = Arc::clone(&problem);
        async move {
            if let Err(error) = connection.carry(load).await {
                *problem.lock().await = Some(error.to_string());
            }
        }
    });
    let mut carrying: Vec<_> = carrying.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        carrying.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if carrying.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let taken = start.elapsed().as_secs_f64();
    let problem = problem.lock().await.take();
    problem.map_or(Ok(taken), |problem| Err(problem.into()))
}

/// Answers each batch with its results, in a process of its own.
pub(crate) fn peer(address: &str) -> ExitCode {
    let served = runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(answer(address)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoke-bench: a bare process: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn answer(address: &str) -> Result<()> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES);
    let channel = endpoint.connect().await?;
    let (sender, receiver) = mpsc::channel(IN_FLIGHT + 1);
    let hello = v1::ExecutorMessage { message: Some(Message::Hello(v1::ExecutorHello::default())) };
    sender.send(hello).await?;
    let mut inbound = DriverClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .attach(ReceiverStream::new(receiver))
        .await?
        .into_inner();
    let large = Bytes::from(vec![7; MEBIBYTE]);
    while let Some(Ok(message)) = inbound.next().await {
        let batch = message.tasks.unwrap_or_default();
        let count = batch.tasks.len();
        let (lengths, payload) = match batch.functions.first() {
            Some(&LARGE) => (vec![MEBIBYTE as u32; count], large.clone()),
            Some(&SMALL) => (vec![1; count], Bytes::from(vec![7; count])),
            _ => (batch.lengths, batch.payload),
        };
        let updates = v1::TaskUpdates { tasks: batch.tasks, lengths, payload, ..v1::TaskUpdates::default() };
        let message = v1::ExecutorMessage { message: Some(Message::Updates(updates)) };
        if sender.send(message).await.is_err() {
            break;
        }
    }
    Ok(())
}
