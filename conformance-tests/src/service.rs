//! The kit as a driver on the wire: executors' supervisors join here, keep their lease, and tell their own account of the end.
//!
//! No task is ever sent: the program is a probe, which the kit's [witness](crate::witness) speaks to on its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::manager::{Exit, ExitCause, Heard};
use convoke_core::rpc::v1::driver_server::{Driver, DriverServer};
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::rpc::v1::supervisor_report::Report;
use convoke_core::rpc::{limits, v1};
use convoke_core::{Error, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::application::Inner;
use crate::timeline::Timeline;
use crate::wait::Pulse;

/// From a supervisor's silence to the driver's verdict, as drivers have it by default.
const LOST_AFTER: std::time::Duration = std::time::Duration::from_secs(10);

/// The applications of a case, by which the service knows who may join.
pub(crate) type Applications = Mutex<Vec<Arc<Inner>>>;

/// Where the executors of one case join.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Service {
    pub(crate) async fn start(
        reached_at: &str,
        applications: Weak<Applications>,
        timeline: Arc<Timeline>,
        pulse: Pulse,
    ) -> Result<Service> {
        let host = if reached_at == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
        let listener = tokio::net::TcpListener::bind((host, 0))
            .await
            .map_err(|error| Error::host("can't listen for executors", error))?;
        let port =
            listener.local_addr().map_err(|error| Error::host("no address to be joined at", error))?.port();
        let served = DriverServer::new(Served { applications, timeline: timeline.clone(), pulse })
            .max_decoding_message_size(limits::ANONYMOUS_MESSAGE_BYTES);
        let serving = tokio::spawn(async move {
            let ended = tonic::transport::Server::builder()
                .add_service(served)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await;
            timeline.note(format!("the kit's driver service ended: {ended:?}"));
        });
        Ok(Service { address: format!("{reached_at}:{port}"), serving })
    }
}

#[derive(Debug)]
struct Served {
    applications: Weak<Applications>,
    timeline: Arc<Timeline>,
    pulse: Pulse,
}

impl Served {
    fn find(&self, application: &ApplicationId) -> Option<Arc<Inner>> {
        let applications = self.applications.upgrade()?;
        let applications = applications.lock().unwrap_or_else(PoisonError::into_inner);
        applications.iter().find(|inner| inner.id() == application).cloned()
    }
}

/// `<application>/<executor>`: enough where everybody is a friend.
fn parse_session(session: &[u8]) -> Option<(ApplicationId, ExecutorId)> {
    let (application, executor) = std::str::from_utf8(session).ok()?.split_once('/')?;
    Some((application.parse().ok()?, ExecutorId(executor.parse().ok()?)))
}

type Down<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Driver for Served {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let ask = request.into_inner();
        let executor = ExecutorId(ask.executor);
        let application =
            ask.application.parse().map_err(|_| Status::invalid_argument("no application id"))?;
        let inner = self
            .find(&application)
            .ok_or_else(|| Status::permission_denied("nobody knows this application"))?;
        self.timeline.note(format!("{executor:?} of {application} asks to join"));
        if inner.is_deaf() || inner.has_hung_up() {
            return Err(Status::unavailable("this driver takes nobody now"));
        }
        if !inner.is_ticket(executor, &ask.ticket) {
            self.timeline.note(format!("{executor:?} shows a ticket that isn't its own"));
            return Err(Status::unauthenticated("not this executor's ticket"));
        }
        if !inner.tell(executor, Heard::Joined) {
            return Err(Status::permission_denied("nobody wants this executor"));
        }
        self.pulse.ring();
        Ok(Response::new(v1::JoinResponse {
            session: format!("{application}/{executor}").into_bytes().into(),
            assignment: Some(inner.assignment(executor)),
            ..Default::default()
        }))
    }

    type SuperviseStream = Down<v1::SupervisorOrder>;

    async fn supervise(
        &self,
        request: Request<Streaming<v1::SupervisorReport>>,
    ) -> Result<Response<Self::SuperviseStream>, Status> {
        let session = request.metadata().get_bin("convoke-session-bin").and_then(|s| s.to_bytes().ok());
        let (application, executor) = session
            .and_then(|session| parse_session(&session))
            .ok_or_else(|| Status::unauthenticated("no session"))?;
        let inner =
            self.find(&application).ok_or_else(|| Status::permission_denied("no such application"))?;
        if inner.has_hung_up() {
            return Err(Status::unavailable("this driver is gone"));
        }
        let (orders, down) = mpsc::channel(16);
        let serving = serve(inner, executor, request.into_inner(), orders, self.pulse.clone());
        tokio::spawn(serving);
        Ok(Response::new(Box::pin(ReceiverStream::new(down))))
    }

    type AttachStream = Down<v1::DriverMessage>;

    async fn attach(
        &self,
        _: Request<Streaming<v1::ExecutorMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("a probe runs no tasks"))
    }

    type FetchStream = Down<v1::Chunk>;

    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("a probe fetches nothing"))
    }

    async fn upload(
        &self,
        _: Request<Streaming<v1::UploadChunk>>,
    ) -> Result<Response<v1::UploadResponse>, Status> {
        Err(Status::unimplemented("a probe has no results"))
    }
}

/// Renews the lease of one executor, passes on orders, and tells what is heard, until either side hangs up.
async fn serve(
    inner: Arc<Inner>,
    executor: ExecutorId,
    mut reports: Streaming<v1::SupervisorReport>,
    orders: mpsc::Sender<Result<v1::SupervisorOrder, Status>>,
    pulse: Pulse,
) {
    let mut told = inner.orders_for(executor);
    let mut account = false;
    loop {
        tokio::select! {
            report = reports.message() => {
                let Ok(Some(v1::SupervisorReport { report: Some(report) })) = report else { break };
                match report {
                    Report::Heartbeat(beat) => {
                        let order = v1::SupervisorOrder { order: Some(Order::Renewed(beat.number)) };
                        if orders.send(Ok(order)).await.is_err() { break }
                    }
                    Report::Ended(ended) => {
                        account = true;
                        let _ = inner.tell(executor, Heard::Ended(exit_of(&ended)));
                        break;
                    }
                    other => inner.timeline().note(format!("{executor:?} reports {other:?}")),
                }
            }
            order = told.recv() => match order {
                Some(order) => {
                    inner.timeline().note(format!("{executor:?} is ordered {order:?}"));
                    if orders.send(Ok(v1::SupervisorOrder { order: Some(order) })).await.is_err() { break }
                }
                None => break,
            },
            () = inner.hung_up() => break,
        }
    }
    if !account && inner.tell(executor, Heard::HungUp) {
        // as any driver: its manager may know more; after a while of silence it is given up
        let inner = Arc::downgrade(&inner);
        tokio::spawn(async move {
            tokio::time::sleep(LOST_AFTER).await;
            if let Some(inner) = inner.upgrade().filter(|inner| !inner.has_hung_up()) {
                inner.give_up(executor);
            }
        });
    }
    pulse.ring();
}

fn exit_of(ended: &v1::ExecutorEnded) -> Exit {
    let cause = serde_json::from_str(&ended.cause).unwrap_or(ExitCause::Unknown);
    Exit::new(cause, ended.message.clone()).with_log_tail(ended.log_tail.clone())
}
