//! The gRPC service: who calls, whether he counts, and then to the control or the task plane.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::control::{Control, Order};
use super::task_plane::TaskPlane;
use crate::ids::ExecutorId;
use crate::rpc::identity::{Peer, caller};
use crate::rpc::refusal::Refusal;
use crate::rpc::watch::is_oversize;
use crate::rpc::{limits, v1};
use crate::state::executors::ExecutorEvent;

/// Serves one driver.
#[derive(Debug, Clone)]
pub(super) struct DriverService(pub(super) Arc<Control>);

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl DriverService {
    /// Counts a refusal and makes its status.
    fn refused<T>(&self, request: &Request<T>, refusal: Refusal, about: impl std::fmt::Display) -> Status {
        self.note(request, refusal, about);
        refusal.into()
    }

    fn note<T>(&self, request: &Request<T>, refusal: Refusal, about: impl std::fmt::Display) {
        match request.extensions().get::<Peer>() {
            Some(peer) => self.0.refusals.note(refusal, peer.address, about),
            None => self.0.refusals.note(refusal, "nowhere", about),
        }
    }

    fn executor<T>(&self, request: &Request<T>, what: &str) -> Result<ExecutorId, Status> {
        let insecure = self.0.authority.is_none().then_some(&*self.0.office);
        let executor = caller(request.extensions(), request.metadata(), insecure, self.0.incarnation)
            .map_err(|refusal| self.refused(request, refusal, what))?;
        if self.0.counts(executor)
            && let Some(peer) = request.extensions().get::<Peer>()
        {
            peer.seat.leave();
        }
        Ok(executor)
    }

    fn plane(&self) -> Result<&Arc<dyn TaskPlane>, Status> {
        self.0.plane().ok_or_else(|| Refusal::NotServing.into())
    }
}

#[async_trait]
impl v1::driver_server::Driver for DriverService {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let ask = request.get_ref();
        match self.0.join(ask) {
            Ok(answer) => {
                tracing::info!(executor = ask.executor, host = ?ask.host, "joined");
                Ok(Response::new(answer))
            }
            Err((refusal, status)) => {
                let about = format!("a join as executor {} of {:.64?}", ask.executor, ask.application);
                self.note(&request, refusal, about);
                Err(status)
            }
        }
    }

    type SuperviseStream = Guarded<tokio_stream::wrappers::ReceiverStream<Order>>;

    async fn supervise(
        &self,
        request: Request<Streaming<v1::SupervisorReport>>,
    ) -> Result<Response<Self::SuperviseStream>, Status> {
        let executor = self.executor(&request, "supervise")?;
        let calling = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
        let (orders, cancel) = self.0.supervise(executor, calling).map_err(|refusal| {
            self.refused(&request, refusal, format!("the supervisor of executor {executor}"))
        })?;
        let control = self.0.clone();
        let peer = request.extensions().get::<Peer>();
        let from = peer.map_or_else(|| "nowhere".to_owned(), |peer| peer.address.to_string());
        let mut reports = request.into_inner();
        let hung_up = cancel.clone();
        tokio::spawn(async move {
            let all = async {
                loop {
                    match reports.message().await {
                        Ok(Some(report)) => control.report(executor, report),
                        Ok(None) => break,
                        Err(status) => {
                            if is_oversize(&status) {
                                let about = format!("a report of executor {executor}'s supervisor");
                                control.refusals.note(Refusal::Oversize, &from, about);
                            }
                            tracing::info!(%executor, %status, "its supervisor's connection broke");
                            break;
                        }
                    }
                }
            };
            // Cancelled: it is gone, and nothing more of it counts.
            if hung_up.run_until_cancelled(all).await.is_some() {
                control.handle(executor, ExecutorEvent::HungUp);
            }
        });
        // What was ordered last must still be sent, so the end of the orders ends this stream, not the cancellation.
        let orders = tokio_stream::wrappers::ReceiverStream::new(orders);
        Ok(Response::new(Guarded::new(orders, None, None)))
    }

    type AttachStream = Guarded<Boxed<v1::DriverMessage>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let executor = self.executor(&request, "attach")?;
        let about = format!("the program of executor {executor}");
        let (cancel, number) =
            self.0.attaching(executor).map_err(|refusal| self.refused(&request, refusal, &about))?;
        let mut inbound = request.into_inner();
        let first = tokio::time::timeout(limits::HANDSHAKE_FOR, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello came"))??;
        let Some(v1::executor_message::Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if cancel.is_cancelled() {
            return Err(Refusal::Fenced.into());
        }
        let down = self.plane()?.attach(executor, hello, inbound)?;
        self.0.handle(executor, ExecutorEvent::Ready);
        let detach = Detach { control: self.0.clone(), executor, number };
        Ok(Response::new(Guarded::new(down, Some(cancel), Some(detach))))
    }

    type FetchStream = Guarded<Boxed<v1::Chunk>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let executor = self.executor(&request, "fetch")?;
        let cancel = self
            .0
            .transfer(executor)
            .map_err(|refusal| self.refused(&request, refusal, format!("a fetch by executor {executor}")))?;
        let request = request.into_inner();
        match request.what {
            Some(v1::fetch_request::What::Blob(blob)) => {
                let chunks = self.plane()?.fetch(executor, blob, request.offset)?;
                Ok(Response::new(Guarded::new(chunks, Some(cancel), None)))
            }
            Some(v1::fetch_request::What::Artifact(digest)) => {
                let chunks = self.0.artifacts.fetch(&digest, request.offset)?;
                Ok(Response::new(Guarded::new(Box::pin(chunks), Some(cancel), None)))
            }
            None => Err(Status::invalid_argument("what is to be fetched isn't said")),
        }
    }

    async fn upload(
        &self,
        request: Request<Streaming<v1::UploadChunk>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        let executor = self.executor(&request, "upload")?;
        let cancel = self.0.transfer(executor).map_err(|refusal| {
            self.refused(&request, refusal, format!("an upload by executor {executor}"))
        })?;
        let upload = self.plane()?.upload(executor, request.into_inner());
        match cancel.run_until_cancelled(upload).await {
            Some(done) => done.map(Response::new),
            None => Err(Refusal::Fenced.into()),
        }
    }
}

/// A stream that ends when its executor is gone, and says when it is dropped.
pub(super) struct Guarded<S> {
    inner: S,
    cancelled: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Says so when it is dropped.
    _detach: Option<Detach>,
}

impl<S> Guarded<S> {
    fn new(inner: S, cancel: Option<CancellationToken>, detach: Option<Detach>) -> Guarded<S> {
        let cancelled = cancel.map(|cancel| Box::pin(cancel.cancelled_owned()));
        Guarded { inner, cancelled, _detach: detach }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for Guarded<S> {
    type Item = Result<T, Status>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.as_mut().poll(cx).is_ready()
        {
            self.cancelled = None;
            return Poll::Ready(Some(Err(Refusal::Fenced.into())));
        }
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

struct Detach {
    control: Arc<Control>,
    executor: ExecutorId,
    number: u64,
}

impl Drop for Detach {
    fn drop(&mut self) {
        self.control.detached(self.executor, self.number);
    }
}
