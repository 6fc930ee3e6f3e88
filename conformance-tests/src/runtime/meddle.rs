//! Something between executors and their driver that speaks the protocol: what makes an executor one that answers twice,
//! late, with another's id, with garbage, or not at all. For the mutants of the runtime profile.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use convoke_core::rpc::v1::driver_client::DriverClient;
use convoke_core::rpc::v1::driver_server::{Driver, DriverServer};
use convoke_core::rpc::{limits, v1};
use convoke_core::{Error, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

/// What is done to the messages of all executors of a driver. Everything passes as it is unless it is said otherwise here.
pub trait Meddle: Debug + Send + Sync + 'static {
    /// Who asks to join.
    fn join(&self, ask: &mut v1::JoinRequest) {
        let _ = ask;
    }
    /// Whoever the driver takes.
    fn joined(&self, answer: &mut v1::JoinResponse) {
        let _ = answer;
    }
    /// Whom the driver refuses.
    ///
    /// # Errors
    /// The refusal, unless this is to take him all the same.
    fn refused(&self, refusal: Status) -> Result<v1::JoinResponse, Status> {
        Err(refusal)
    }
    /// From a supervisor.
    fn report(&self, report: v1::SupervisorReport) -> Vec<v1::SupervisorReport> {
        vec![report]
    }
    /// To a supervisor.
    fn order(&self, order: v1::SupervisorOrder) -> Vec<v1::SupervisorOrder> {
        vec![order]
    }
    /// From a program.
    fn answer(&self, answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
        vec![answer]
    }
    /// How long an answer is kept back.
    fn lateness(&self, answer: &v1::ExecutorMessage) -> Duration {
        let _ = answer;
        Duration::ZERO
    }
    /// To a program.
    fn tasks(&self, message: v1::DriverMessage) -> Vec<v1::DriverMessage> {
        vec![message]
    }
    /// A piece of what an executor fetches.
    fn chunk(&self, chunk: &mut v1::Chunk) {
        let _ = chunk;
    }
}

/// Serves executors in the driver's place, and calls the driver in theirs.
#[derive(Debug)]
pub(crate) struct Meddler {
    address: String,
    upstream: Arc<OnceLock<String>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Meddler {
    /// Listens on a port of its own. Within a runtime.
    pub(crate) fn start(meddle: Arc<dyn Meddle>) -> Result<Meddler> {
        let failed = |error| Error::host("can't listen between executors and driver", error);
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?.to_string();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let upstream: Arc<OnceLock<String>> = Arc::default();
        let served = DriverServer::new(Between { meddle, upstream: upstream.clone() })
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        let incoming = TcpListenerStream::new(listener)
            .map(|stream| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
        let serving = tokio::spawn(async move {
            let ended = tonic::transport::Server::builder()
                .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
                .add_service(served)
                .serve_with_incoming(incoming)
                .await;
            tracing::debug!(?ended, "what was between executors and driver is gone");
        });
        Ok(Meddler { address, upstream, serving })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Stands before this driver from now on; the first one named stays.
    pub(crate) fn stand_before(&self, driver: &str) {
        let _ = self.upstream.set(driver.to_owned()); // named before: the same
    }
}

#[derive(Debug, Clone)]
struct Between {
    meddle: Arc<dyn Meddle>,
    upstream: Arc<OnceLock<String>>,
}

impl Between {
    async fn driver(&self) -> Result<DriverClient<Channel>, Status> {
        let upstream = self.upstream.get().ok_or_else(|| Status::unavailable("no driver yet"))?;
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{upstream}"))
            .map_err(|error| Status::internal(error.to_string()))?
            .tcp_nodelay(true)
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES);
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(DriverClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES))
    }
}

/// The same caller's metadata on another message.
fn as_caller<T, U>(request: Request<T>, message: impl FnOnce(T) -> U) -> Request<U> {
    let (metadata, extensions, body) = request.into_parts();
    Request::from_parts(metadata, extensions, message(body))
}

/// Passes messages on, each as what `each` makes of it.
fn passed<T: Send + 'static>(
    mut from: Streaming<T>,
    each: impl Fn(T) -> (Duration, Vec<T>) + Send + 'static,
) -> ReceiverStream<T> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok(Some(message)) = from.message().await {
            let (late, messages) = each(message);
            if !late.is_zero() {
                tokio::time::sleep(late).await;
            }
            for message in messages {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Driver for Between {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let mut request = request;
        self.meddle.join(request.get_mut());
        let mut answer = match self.driver().await?.join(request).await {
            Ok(answer) => answer.into_inner(),
            Err(refusal) => return self.meddle.refused(refusal).map(Response::new),
        };
        self.meddle.joined(&mut answer);
        Ok(Response::new(answer))
    }

    type SuperviseStream = Down<v1::SupervisorOrder>;

    async fn supervise(
        &self,
        request: Request<Streaming<v1::SupervisorReport>>,
    ) -> Result<Response<Self::SuperviseStream>, Status> {
        let (up, down) = (self.meddle.clone(), self.meddle.clone());
        let request =
            as_caller(request, |reports| passed(reports, move |report| (Duration::ZERO, up.report(report))));
        let orders = self.driver().await?.supervise(request).await?.into_inner();
        let orders = passed(orders, move |order| (Duration::ZERO, down.order(order)));
        Ok(Response::new(Box::pin(orders.map(Ok))))
    }

    type AttachStream = Down<v1::DriverMessage>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (up, down) = (self.meddle.clone(), self.meddle.clone());
        let request = as_caller(request, |answers| {
            passed(answers, move |answer| (up.lateness(&answer), up.answer(answer)))
        });
        let messages = self.driver().await?.attach(request).await?.into_inner();
        let messages = passed(messages, move |message| (Duration::ZERO, down.tasks(message)));
        Ok(Response::new(Box::pin(messages.map(Ok))))
    }

    type FetchStream = Down<v1::Chunk>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let meddle = self.meddle.clone();
        let chunks = self.driver().await?.fetch(request).await?.into_inner();
        let chunks = chunks.map(move |chunk| {
            chunk.map(|mut chunk| {
                meddle.chunk(&mut chunk);
                chunk
            })
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadChunk>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let request = as_caller(request, |chunks| passed(chunks, |chunk| (Duration::ZERO, vec![chunk])));
        self.driver().await?.upload(request).await
    }
}
