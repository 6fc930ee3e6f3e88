//! HTTP/1.1 to masters and agents: one stream of events, and short calls beside it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use convoke_core::error::{Error, ErrorKind, Result, Retry};
use convoke_core::units::HostPort;
use prost::{Message, Name};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Response, StatusCode};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::json;
use super::recordio::Decoder;
use crate::settings::{Settings, Wire};
use crate::state::scheduler::CallFailure;
use crate::v1::FrameworkId;
use crate::v1::scheduler::{Call, Event, call, event};

/// The bodies that are sent; exactly so: a parameter behind it is refused.
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const STREAM_ID: &str = "Mesos-Stream-Id";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest record and the longest answer that are taken. An OFFERS of ten thousand agents has about 4 MiB.
const MOST_RECORD_BYTES: usize = 64 << 20;
/// As much of a refusal's text is kept.
const MOST_WORDS: usize = 2000;

/// A client for the masters and agents of one cluster.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    settings: Arc<Settings>,
}

/// The stream of a subscription. Dropping it gives the subscription up.
#[derive(Debug)]
pub struct EventStream {
    /// What the calls of this subscription are marked with.
    pub id: HeaderValue,
    /// Its first record.
    pub subscribed: event::Subscribed,
    records: Records,
}

#[derive(Debug)]
struct Records {
    response: Response,
    decoder: Decoder,
    wire: Wire,
}

/// Why there is no subscription.
#[derive(Debug)]
pub enum SubscribeFailure {
    /// Another master leads.
    Redirected(HostPort),
    /// Not now: out of reach, starting, without a leader. `starting`: somebody answered.
    Unavailable {
        /// What was seen.
        error: Error,
        /// Whether a master answered that it can't yet.
        starting: bool,
    },
    /// Not with these credentials, or not at all.
    Fatal(Error),
    /// An ERROR event, in these words.
    Refused(String),
}

impl Http {
    /// A client. Reads the certificate authorities.
    ///
    /// # Errors
    /// `NotFound` or `InvalidRequest` for certificate authorities that can't be read.
    pub fn new(settings: Arc<Settings>) -> Result<Http> {
        let client = reqwest::Client::builder()
            // a redirect must not carry credentials to another host unseen
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls(&settings)?)
            .build()
            .map_err(|error| Error::internal("the HTTP client can't be made").source(error))?;
        Ok(Http { client, settings })
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.settings.tls { "https" } else { "http" }
    }

    /// How many masters are configured.
    #[must_use]
    pub fn masters(&self) -> usize {
        self.settings.masters.len()
    }

    fn post<M: Message + Name>(
        &self,
        host: &HostPort,
        path: &str,
        body: &M,
    ) -> Result<reqwest::RequestBuilder> {
        let (kind, body) = match self.settings.wire {
            Wire::Protobuf => (PROTOBUF, body.encode_to_vec()),
            Wire::Json => (JSON, json::write(body)?),
        };
        let request = self
            .client
            .post(format!("{}://{host}{path}", self.scheme()))
            .header(CONTENT_TYPE, &kind)
            .header(ACCEPT, kind)
            .body(body);
        Ok(match (&self.settings.principal, &self.settings.secret) {
            (Some(principal), secret) => {
                let secret =
                    secret.as_ref().map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
                request.basic_auth(principal, secret)
            }
            (None, _) => request,
        })
    }

    /// Subscribes, and answers with the stream once its first record is SUBSCRIBED.
    ///
    /// # Cancel safety
    /// Not cancel safe: a SUBSCRIBE that is cut off may leave a framework behind that the master never gives up.
    ///
    /// # Errors
    /// See [`SubscribeFailure`].
    pub async fn subscribe(&self, master: &HostPort, call: &Call) -> Result<EventStream, SubscribeFailure> {
        let request = self.post(master, "/api/v1/scheduler", call).map_err(SubscribeFailure::Fatal)?;
        let response = request.send().await.map_err(|error| SubscribeFailure::Unavailable {
            error: unreachable(master, error),
            starting: false,
        })?;
        if response.status() != StatusCode::OK {
            return Err(refusal(master, response).await);
        }
        let protocol = |message: &'static str| {
            SubscribeFailure::Fatal(Error::new(ErrorKind::Protocol, message).with("master", master))
        };
        let id = response.headers().get(STREAM_ID).cloned().ok_or_else(|| {
            protocol("the answer to a subscription has no stream id: is this a Mesos master of 1.4 or later?")
        })?;
        let mut records =
            Records { response, decoder: Decoder::new(MOST_RECORD_BYTES), wire: self.settings.wire };
        let first = records.next().await.map_err(|error| SubscribeFailure::Unavailable {
            error: error.with("master", master),
            starting: true,
        })?;
        match (event::Type::try_from(first.r#type.unwrap_or(0)), first.subscribed, first.error) {
            (Ok(event::Type::Subscribed), Some(subscribed), _)
                if !subscribed.framework_id.value.is_empty() =>
            {
                Ok(EventStream { id, subscribed, records })
            }
            (Ok(event::Type::Error), _, Some(error)) => Err(SubscribeFailure::Refused(error.message)),
            _ => Err(protocol("the first record of a subscription is neither SUBSCRIBED nor ERROR")),
        }
    }

    /// Makes one call of a subscription; answers once the master has queued it.
    ///
    /// # Errors
    /// See [`CallFailure`].
    pub async fn call(
        &self,
        master: &HostPort,
        stream: &HeaderValue,
        call: &Call,
    ) -> Result<(), CallFailure> {
        let response = self
            .post(master, "/api/v1/scheduler", call)
            .map_err(CallFailure::Bad)?
            .header(STREAM_ID, stream)
            .timeout(CALL_TIMEOUT)
            .send()
            .await
            .map_err(|error| CallFailure::Void(unreachable(master, error)))?;
        let status = response.status();
        if status == StatusCode::ACCEPTED {
            return Ok(());
        }
        let words = words(response).await;
        let error = Error::new(ErrorKind::Unavailable, "the Mesos master did not take a call")
            .with("master", master)
            .with("status", status.as_u16())
            .with("words", &words);
        let of_the_call = status == StatusCode::BAD_REQUEST
            && !["stream", "Framework", "framework", "subscribe"].iter().any(|word| words.contains(word));
        Err(if of_the_call || status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            CallFailure::Bad(Error::new(ErrorKind::Rejected, words).with("master", master))
        } else {
            CallFailure::Void(error)
        })
    }

    /// Sees whether a master lets frameworks of ours in, and makes none: a call of a framework that there isn't is refused as
    /// such only after the credentials were looked at.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `PermissionDenied`.
    pub(crate) async fn greet(&self, master: &HostPort) -> Result<()> {
        let framework_id = Some(FrameworkId { value: "convoke-doctor".to_owned() });
        let call = Call { framework_id, r#type: Some(call::Type::Revive as i32), ..Default::default() };
        let send = async |host: &HostPort| {
            let request = self.post(host, "/api/v1/scheduler", &call)?.timeout(CALL_TIMEOUT);
            request.send().await.map_err(|error| unreachable(host, error))
        };
        let mut response = send(master).await?;
        if let Some(leader) = leader(&response) {
            response = send(&leader).await?;
        }
        match response.status() {
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Ok(()),
            _ => match refusal(master, response).await {
                SubscribeFailure::Fatal(error) | SubscribeFailure::Unavailable { error, .. } => Err(error),
                _ => {
                    Err(Error::new(ErrorKind::Unavailable, "the masters send us around")
                        .with("master", master))
                }
            },
        }
    }

    /// Asks a master or an agent something by its operator API, following a redirect once.
    ///
    /// # Errors
    /// `Unavailable`, `Unauthenticated`, `PermissionDenied`, `NotFound`, `Protocol`.
    pub async fn ask<A: Message + Name + Default>(&self, host: &HostPort, question: &impl Name) -> Result<A> {
        let mut response = self.exchange(host, question).await?;
        let bytes = body(&mut response, MOST_RECORD_BYTES).await.map_err(|error| error.with("host", host))?;
        let answer = match self.settings.wire {
            Wire::Protobuf => A::decode(bytes).map_err(|error| {
                Error::new(ErrorKind::Protocol, "an answer of Mesos can't be read").source(error)
            }),
            Wire::Json => json::read(&bytes),
        };
        answer.map_err(|error| error.with("host", host))
    }

    /// Has a master do something by its operator API.
    ///
    /// # Errors
    /// As [`Http::ask`].
    pub(crate) async fn tell(&self, host: &HostPort, what: &impl Name) -> Result<()> {
        self.exchange(host, what).await.map(drop)
    }

    async fn exchange(&self, host: &HostPort, question: &impl Name) -> Result<Response> {
        let send = async |host: &HostPort| {
            let request = self.post(host, "/api/v1", question)?.timeout(CALL_TIMEOUT);
            request.send().await.map_err(|error| unreachable(host, error))
        };
        let mut response = send(host).await?;
        if let Some(leader) = leader(&response) {
            response = send(&leader).await?;
        }
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let kind = match status {
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::BAD_REQUEST => ErrorKind::Rejected,
            _ => ErrorKind::Unavailable,
        };
        Err(Error::new(kind, words(response).await).with("host", host).with("status", status.as_u16()))
    }
}

impl EventStream {
    /// The next event.
    ///
    /// # Errors
    /// When the stream ends or can't be read; it is of no use then.
    ///
    /// # Cancel safety
    /// Cancel safe: what has come stays for the next call.
    pub async fn next(&mut self) -> Result<Event> {
        self.records.next().await
    }
}

impl Records {
    async fn next(&mut self) -> Result<Event> {
        loop {
            let unreadable =
                |message: &'static str| Error::new(ErrorKind::Protocol, message).retry(Retry::Reconnect);
            match self.decoder.next_record() {
                Ok(Some(record)) => {
                    return match self.wire {
                        Wire::Protobuf => Event::decode(record)
                            .map_err(|error| unreadable("an event of Mesos can't be read").source(error)),
                        Wire::Json => json::read(&record).map_err(|error| error.retry(Retry::Reconnect)),
                    };
                }
                Ok(None) => {}
                Err(error) => return Err(unreadable("the event stream is not RecordIO").source(error)),
            }
            let ended =
                || Error::new(ErrorKind::Unavailable, "the event stream ended").retry(Retry::Reconnect);
            match self.response.chunk().await {
                Ok(Some(piece)) => self.decoder.push(&piece),
                Ok(None) => return Err(ended()),
                Err(error) => return Err(ended().source(error)),
            }
        }
    }
}

/// What a master means that answers a SUBSCRIBE with something else than a stream.
async fn refusal(master: &HostPort, response: Response) -> SubscribeFailure {
    if let Some(leader) = leader(&response) {
        return SubscribeFailure::Redirected(leader);
    }
    let status = response.status();
    let words = words(response).await;
    let error = |kind, message: &'static str| {
        Error::new(kind, message).with("master", master).with("status", status.as_u16()).with("words", &words)
    };
    match status {
        StatusCode::UNAUTHORIZED => SubscribeFailure::Fatal(
            error(ErrorKind::Unauthenticated, "the Mesos master doesn't know who we are")
                .help("set mesos.principal, and its secret by mesos.secret-file or CONVOKE_MESOS_SECRET"),
        ),
        StatusCode::FORBIDDEN => {
            SubscribeFailure::Fatal(error(ErrorKind::PermissionDenied, "the Mesos master refuses us"))
        }
        // 404: its routes aren't there yet; 429 and 5xx: not now
        StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS => SubscribeFailure::Unavailable {
            error: error(ErrorKind::Unavailable, "the Mesos master can't yet"),
            starting: true,
        },
        _ if status.is_server_error() || status.is_redirection() => SubscribeFailure::Unavailable {
            error: error(ErrorKind::Unavailable, "the Mesos master can't yet"),
            starting: true,
        },
        _ => {
            SubscribeFailure::Fatal(error(ErrorKind::Protocol, "this is not a Mesos master's scheduler API"))
        }
    }
}

/// Who leads, where the answer is a redirect: `//host:port/…`, with or without a scheme.
fn leader(response: &Response) -> Option<HostPort> {
    if response.status() != StatusCode::TEMPORARY_REDIRECT {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let (_, rest) = location.split_once("//")?;
    rest.split('/').next()?.parse().ok()
}

fn unreachable(host: &HostPort, error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "Mesos is out of reach").with("host", host).source(error.without_url())
}

async fn words(mut response: Response) -> String {
    let bytes = body(&mut response, MOST_WORDS).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The body, up to so many bytes; more is an error.
async fn body(response: &mut Response, most: usize) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    let broken = |error| Error::new(ErrorKind::Unavailable, "an answer of Mesos broke off").source(error);
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if bytes.len() + piece.len() > most {
            return Err(Error::new(ErrorKind::ResourcesExhausted, "an answer of Mesos is too long")
                .with("most", most));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

fn tls(settings: &Settings) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| Error::internal("TLS can't be set up").source(error);
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = &settings.ca_file {
        let bad =
            |message: &'static str| Error::invalid("mesos.ca-file", message).with("file", file.display());
        let read = CertificateDer::pem_file_iter(file)
            .map_err(|error| bad("the certificate authorities can't be read").source(error))?;
        for certificate in read {
            let certificate = certificate.map_err(|error| bad("not a PEM certificate").source(error))?;
            roots.add(certificate).map_err(|error| bad("not a certificate authority").source(error))?;
        }
        if roots.is_empty() {
            return Err(bad("there is no certificate in it"));
        }
    } else if settings.tls {
        use rustls_platform_verifier::BuilderVerifierExt;
        return Ok(builder.with_platform_verifier().map_err(failed)?.with_no_client_auth());
    }
    // without TLS nobody is trusted, because nobody is asked
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
