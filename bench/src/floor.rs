//! A bare tonic stream to two processes, without TLS or scheduler: what the transport alone allows.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use convoke::rpc::limits;
use convoke::rpc::v1::driver_client::DriverClient;
use convoke::rpc::v1::driver_server::{Driver, DriverServer};
use convoke::rpc::v1::{self, executor_message::Message};
use tokio::sync::{Barrier, mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::figures::quantile;
use crate::measure::now;

pub(crate) const ADDRESS: &str = "CONVOKE_BENCH_FLOOR";
const A_MESSAGE: u64 = 64;
const IN_FLIGHT: usize = 16;
const PING_PONGS: usize = 2000;

pub(crate) struct Floor {
    pub(crate) tasks_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) connected_ms: f64,
}

struct Measured {
    flood: Duration,
    ping_pongs: Vec<f64>,
}

struct Served {
    tasks: u64,
    connected: Arc<Barrier>,
    done: mpsc::Sender<Measured>,
}

type Boxed<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

fn batch(count: u64) -> v1::DriverMessage {
    let tasks = (0..count).collect();
    let batch = v1::TaskBatch {
        tasks,
        functions: vec![0],
        lengths: vec![1; count as usize],
        payload: vec![7; count as usize].into(),
        ..v1::TaskBatch::default()
    };
    v1::DriverMessage { tasks: Some(batch), ..v1::DriverMessage::default() }
}

#[async_trait]
impl Driver for Served {
    type AttachStream = ReceiverStream<Result<v1::DriverMessage, Status>>;
    type SuperviseStream = Boxed<v1::SupervisorOrder>;
    type FetchStream = Boxed<v1::Chunk>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let mut inbound = request.into_inner();
        let (sender, receiver) = mpsc::channel(IN_FLIGHT + 1);
        let (messages, connected, done) =
            (self.tasks / A_MESSAGE, Arc::clone(&self.connected), self.done.clone());
        tokio::spawn(async move {
            connected.wait().await;
            let mut ping_pongs = Vec::new();
            for _ in 0..PING_PONGS {
                let start = now();
                let _ = sender.send(Ok(batch(1))).await;
                let Some(Ok(_)) = inbound.next().await else { return };
                ping_pongs.push(start.elapsed().as_secs_f64() * 1e6);
            }
            connected.wait().await;
            let start = now();
            let mut sent = 0;
            let mut received = 0;
            while received < messages {
                while sent < messages && sent - received < IN_FLIGHT as u64 {
                    let _ = sender.send(Ok(batch(A_MESSAGE))).await;
                    sent += 1;
                }
                let Some(Ok(_)) = inbound.next().await else { return };
                received += 1;
            }
            let _ = done.send(Measured { flood: start.elapsed(), ping_pongs }).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn supervise(
        &self,
        _: Request<Streaming<v1::SupervisorReport>>,
    ) -> Result<Response<Self::SuperviseStream>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("a floor"))
    }
    async fn upload(
        &self,
        _: Request<Streaming<v1::UploadChunk>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        Err(Status::unimplemented("a floor"))
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Half of `tasks` to each of two processes.
pub(crate) fn measure(tasks: u64) -> Result<Floor, Box<dyn std::error::Error>> {
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (done, mut measured) = mpsc::channel(2);
        let connected = Arc::new(Barrier::new(3));
        // The barrier's third waits for the connections alone.
        let both = Arc::clone(&connected);
        let (at, connected_at) = oneshot::channel();
        tokio::spawn(async move {
            both.wait().await;
            let _ = at.send(now());
            both.wait().await;
        });
        let service = DriverServer::new(Served { tasks: tasks / 2, connected, done });
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener)
            .map(|stream| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
        let served = tonic::transport::Server::builder()
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            .add_service(service)
            .serve_with_incoming(incoming);
        let server = tokio::spawn(served);
        let start = now();
        let program = std::env::current_exe()?;
        let peer = || Command::new(&program).env(ADDRESS, address.to_string()).stdin(Stdio::null()).spawn();
        let mut peers = [peer()?, peer()?];
        let connected_ms = connected_at.await?.duration_since(start).as_secs_f64() * 1e3;
        let mut slowest = Duration::ZERO;
        let mut ping_pongs = Vec::new();
        for _ in 0..2 {
            let one = measured.recv().await.ok_or("a peer ended early")?;
            slowest = slowest.max(one.flood);
            ping_pongs.extend(one.ping_pongs);
        }
        server.abort();
        for peer in &mut peers {
            peer.kill()?;
            peer.wait()?;
        }
        Ok(Floor {
            tasks_per_second: tasks as f64 / slowest.as_secs_f64(),
            p50_us: quantile(&ping_pongs, 0.5),
            p99_us: quantile(&ping_pongs, 0.99),
            connected_ms,
        })
    })
}

/// Answers each batch with its results.
pub(crate) fn peer(address: &str) -> ExitCode {
    let served = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
                .map_err(|error| error.to_string())?
                .tcp_nodelay(true)
                .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES);
            let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
            let (sender, receiver) = mpsc::channel(IN_FLIGHT + 1);
            let mut inbound = DriverClient::new(channel)
                .attach(ReceiverStream::new(receiver))
                .await
                .map_err(|status| status.to_string())?
                .into_inner();
            while let Some(Ok(message)) = inbound.next().await {
                let batch = message.tasks.unwrap_or_default();
                let updates = v1::TaskUpdates {
                    tasks: batch.tasks,
                    lengths: batch.lengths,
                    payload: batch.payload,
                    ..v1::TaskUpdates::default()
                };
                let message = v1::ExecutorMessage { message: Some(Message::Updates(updates)) };
                if sender.send(message).await.is_err() {
                    break;
                }
            }
            Ok(())
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoke-bench: a peer of the floor: {error}");
            ExitCode::FAILURE
        }
    }
}
