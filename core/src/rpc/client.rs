//! How supervisors and programs reach their driver.
//!
//! A connection that breaks stays broken: nothing here dials again behind its user's back, since who may come back is the
//! fence's to decide.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::codegen::InterceptedService;
use tonic::metadata::{BinaryMetadataValue, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::identity::SESSION_METADATA;
use super::status::from_status;
use super::v1::driver_client::DriverClient;
use super::{authority, limits, tls, v1, version};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::executor::link::IdentityParts;
use crate::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use crate::secret::{Digest, Secret};
use crate::units::HostPort;

/// How an executor knows its driver before it has joined: the value of `CONVOKE_TRUST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// SHA-256 of the certificate of the application's authority.
    Pin(Digest),
    /// No encryption, no proof: the driver was told to run so.
    Insecure,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::Pin(pin) => pin.fmt(f),
            Trust::Insecure => f.write_str("insecure"),
        }
    }
}

impl FromStr for Trust {
    type Err = Error;
    fn from_str(text: &str) -> Result<Trust> {
        if text == "insecure" { Ok(Trust::Insecure) } else { text.parse().map(Trust::Pin) }
    }
}

/// What a supervisor says of itself when it joins.
#[derive(Debug, Clone)]
pub struct JoinAsk {
    /// The application.
    pub application: ApplicationId,
    /// Which of its executors this is.
    pub executor: ExecutorId,
    /// Its profile.
    pub profile: ProfileId,
    /// Which driver of the application started it.
    pub incarnation: Incarnation,
    /// Its single-use ticket.
    pub ticket: Secret,
    /// What it was built for.
    pub platform: String,
    /// Its host, as it knows itself.
    pub host: String,
    /// The supervisor's process.
    pub process: u32,
}

/// What a join gives.
#[derive(Debug, Clone)]
pub struct Joined {
    /// How it proves who it is from now on.
    pub identity: IdentityParts,
    /// What it is to run.
    pub assignment: v1::Assignment,
    /// The address that worked.
    pub address: HostPort,
}

/// A client of the driver over one connection. Messages of up to [`limits::MESSAGE_BYTES`] pass.
pub type Client = DriverClient<InterceptedService<Channel, ShowSession>>;

/// The stream of a supervisor: what it reports, and what it is ordered.
pub type Supervised = (mpsc::Sender<v1::SupervisorReport>, Streaming<v1::SupervisorOrder>);

/// Spends the ticket at the first of `addresses` that answers.
///
/// # Errors
/// `Unavailable` where none answers (each address and why is named); what the driver says where it refuses, with
/// [`Retry::Never`] where trying again is vain.
///
/// # Cancel safety
/// A dropped call may have spent the ticket.
pub async fn join(addresses: &[HostPort], trust: Trust, ask: &JoinAsk) -> Result<Joined> {
    let (key, certificate_request, config) = match trust {
        Trust::Insecure => (None, Vec::new(), None),
        Trust::Pin(pin) => {
            let (key, request) = authority::request()?;
            (Some(key), request, Some(tls::executor_config(ask.application.clone(), pin, None)?))
        }
    };
    let (channel, address) = dial(addresses, config).await?;
    let mut client = DriverClient::new(channel);
    let request = v1::JoinRequest {
        protocol: version::PROTOCOL,
        version: version::VERSION.to_owned(),
        application: ask.application.to_string(),
        executor: ask.executor.0,
        profile: ask.profile.0,
        incarnation: ask.incarnation.0,
        ticket: ask.ticket.expose().to_vec().into(),
        certificate_request: certificate_request.into(),
        platform: ask.platform.clone(),
        host: ask.host.clone(),
        process: ask.process,
    };
    let answer = within(limits::JOIN_FOR, "the driver did not answer the join", client.join(request))
        .await?
        .map_err(|status| from_status(&status).with("driver", &address))?
        .into_inner();
    let broken = |what: &'static str| {
        Error::new(ErrorKind::Protocol, what).with("driver", &address).retry(Retry::Never)
    };
    let identity = match (key, trust) {
        (Some(key), Trust::Pin(pin)) => {
            if Digest::of(&answer.authority) != pin {
                return Err(broken("the driver answered with another authority than it was known by"));
            }
            IdentityParts::Certificate {
                certificate: answer.certificate.into(),
                authority: answer.authority.into(),
                key: key.expose().to_vec(),
            }
        }
        _ => IdentityParts::Session(answer.session.into()),
    };
    let assignment = answer.assignment.ok_or_else(|| broken("the driver gave no assignment"))?;
    Ok(Joined { identity, assignment, address })
}

/// Opens a connection as a joined executor. Put the address that [`join`] reached first.
///
/// For `attach`, put the hello into the stream before you await the call: the driver answers only when it has it.
///
/// # Errors
/// `Unavailable` where no address answers. A driver that refuses the certificate shows it at the first call.
///
/// # Cancel safety
/// A dropped call leaves nothing behind.
pub async fn connect(
    addresses: &[HostPort],
    application: &ApplicationId,
    identity: &IdentityParts,
) -> Result<Client> {
    let (config, session) = match identity {
        IdentityParts::Certificate { certificate, authority, key } => {
            let certificate = CertificateDer::from(certificate.clone());
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
            let pin = Digest::of(authority);
            let config = tls::executor_config(application.clone(), pin, Some((certificate, key)))?;
            (Some(config), None)
        }
        IdentityParts::Session(session) => (None, Some(MetadataValue::from_bytes(session))),
    };
    let (channel, _) = dial(addresses, config).await?;
    Ok(DriverClient::with_interceptor(channel, ShowSession(session))
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES))
}

/// Opens the supervisor's own connection and stream. The first report is to be its hello.
///
/// The sender has room for 16 reports: a sender that waits longer than a heartbeat has a broken connection. The stream ends
/// when the driver hangs up, which is final.
///
/// # Errors
/// As [`connect`], and what the driver says where it refuses.
///
/// # Cancel safety
/// A dropped call closes the connection, and the driver then counts the executor as gone.
pub async fn supervise(
    addresses: &[HostPort],
    application: &ApplicationId,
    identity: &IdentityParts,
) -> Result<Supervised> {
    let mut client = connect(addresses, application, identity).await?;
    let (sender, reports) = mpsc::channel(16);
    let reports = tokio_stream::wrappers::ReceiverStream::new(reports);
    let orders =
        within(limits::JOIN_FOR, "the driver did not answer its supervisor", client.supervise(reports))
            .await?
            .map_err(|status| from_status(&status))?
            .into_inner();
    Ok((sender, orders))
}

/// Shows the session where the driver runs insecure.
#[derive(Debug, Clone)]
pub struct ShowSession(Option<BinaryMetadataValue>);

impl Interceptor for ShowSession {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(session) = &self.0 {
            request.metadata_mut().insert_bin(SESSION_METADATA, session.clone());
        }
        Ok(request)
    }
}

/// The first of `addresses` that answers, tried in order.
async fn dial(
    addresses: &[HostPort],
    config: Option<Arc<rustls::ClientConfig>>,
) -> Result<(Channel, HostPort)> {
    let mut tried = Vec::new();
    let mut last = None;
    for address in addresses {
        match dial_one(address, config.clone()).await {
            Ok(channel) => return Ok((channel, address.clone())),
            Err(error) => {
                tracing::debug!(%address, %error, "the driver does not answer there");
                tried.push(format!("{address}: {error}"));
                last = Some(error);
            }
        }
    }
    // A driver that answers but isn't ours is another failure than one that doesn't answer.
    let kind = last.map_or(ErrorKind::InvalidRequest, |error| error.kind());
    Err(Error::new(kind, "the driver can't be reached")
        .with("tried", if tried.is_empty() { "no address".to_owned() } else { tried.join("; ") })
        .help("the driver must advertise an address that this node can dial: see driver.advertise"))
}

async fn dial_one(address: &HostPort, config: Option<Arc<rustls::ClientConfig>>) -> Result<Channel> {
    let connecting = TcpStream::connect((address.host.as_str(), address.port));
    let tcp = within(limits::DIAL_FOR, "the connection took too long", connecting)
        .await?
        .map_err(|error| Error::host("can't connect", error))?;
    // Two small messages in a row cost 40 ms without it.
    tcp.set_nodelay(true).map_err(|error| Error::host("can't set TCP_NODELAY", error))?;
    match config {
        None => channel(tcp).await,
        Some(config) => {
            let name = ServerName::try_from("driver.convoke")
                .map_err(|error| Error::internal("the driver's name in TLS").source(error))?;
            let handshake = tokio_rustls::TlsConnector::from(config).connect(name, tcp);
            let stream = within(limits::DIAL_FOR, "the handshake took too long", handshake).await?.map_err(
                |error| {
                    let ours = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
                    let kind = if ours { ErrorKind::Unauthenticated } else { ErrorKind::Unavailable };
                    Error::new(kind, "the driver's handshake failed").source(error)
                },
            )?;
            channel(stream).await
        }
    }
}

/// A channel over one connection that is there already; when that breaks, the channel is broken.
async fn channel(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Channel> {
    let io = Arc::new(Mutex::new(Some(TokioIo::new(io))));
    let connector = tower::service_fn(move |_: tonic::transport::Uri| {
        let io = io.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            io.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotConnected, "the connection is gone"))
        }
    });
    Endpoint::from_static("http://driver.convoke")
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .connect_with_connector(connector)
        .await
        .map_err(|error| Error::new(ErrorKind::Unavailable, "the connection broke at once").source(error))
}

async fn within<T>(limit: Duration, what: &'static str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(limit, future).await.map_err(|_| {
        Error::new(ErrorKind::Unavailable, what).with("after", crate::units::format_duration(limit))
    })
}
