//! An HTTP listener that serves the bootstrap's builds and nothing else, for fetchers that can no more than GET (Mesos',
//! YARN's, `curl`). They check no digest; who starts the file does, before it runs.
//!
//! The path of a file holds 128 random bits and its digest: nobody guesses it, a fetcher that caches by URL never serves an
//! old one, and any other path, however near, is answered alike. It runs on a thread of its own, so that hundreds of nodes that
//! fetch at once hold up no heartbeat.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::opened::OpenedFile;
use crate::error::{Error, Result};
use crate::rpc::accept::{Lobby, Seat};
use crate::rpc::limits;
use crate::rpc::refusal::{Refusal, Refusals};
use crate::secret::{Digest, to_hex};

/// A listener that serves until this is dropped.
#[derive(Debug)]
pub(crate) struct BootstrapListener {
    _stop: DropGuard,
}

/// The files by the digest of their path: how long looking one up takes says nothing of how near a guess was.
type Paths = BTreeMap<Digest, Arc<OpenedFile>>;

impl BootstrapListener {
    /// Serves `files` on `listener`; gives each one's path, in their order.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(crate) fn start(
        listener: TcpListener,
        files: &[Arc<OpenedFile>],
        refusals: Arc<Refusals>,
    ) -> Result<(BootstrapListener, Vec<String>)> {
        let failed = |error| Error::host("the bootstrap's listener can't start", error);
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| failed(std::io::Error::other(error)))?;
        let path = |file: &OpenedFile| format!("/{}/{}/convoke-bootstrap", to_hex(&secret), file.sha256());
        let paths: Vec<String> = files.iter().map(|file| path(file)).collect();
        let digests = paths.iter().map(|path| Digest::of(path.as_bytes()));
        let served = Served {
            paths: digests.zip(files.iter().cloned()).collect(),
            places: Arc::new(Semaphore::new(limits::FETCHERS_SERVED)),
            refusals,
        };
        let listener = listener.into_std().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("convoke-bootstrap".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => {
                            stopped.run_until_cancelled(accept(listener, Arc::new(served))).await;
                        }
                        Err(error) => tracing::error!(%error, "the bootstrap can't be served"),
                    }
                });
                // A read of a slow disk holds nobody up.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok((BootstrapListener { _stop: stop.drop_guard() }, paths))
    }
}

#[derive(Debug)]
struct Served {
    paths: Paths,
    places: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

async fn accept(listener: TcpListener, served: Arc<Served>) {
    let lobby = Lobby::new(limits::FETCHERS_UNKNOWN, served.refusals.clone());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((tcp, address)) => {
                let seat = lobby.enter(address);
                connections.spawn(serve(tcp, address, seat, served.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for the bootstrap");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one request, the connection's only one.
async fn serve(tcp: TcpStream, address: std::net::SocketAddr, seat: Seat, served: Arc<Served>) {
    let moved = Arc::new(AtomicBool::new(true));
    let evicted = seat.evicted();
    let refusals = served.refusals.clone();
    let service = {
        let moved = moved.clone();
        hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let answer = answer(&request, &served, &moved);
            match &answer {
                Ok(_) => seat.leave(),
                Err(why) => served.refusals.note(Refusal::NotServedThere, address, why),
            }
            let answer = answer.unwrap_or_else(|why| why.answer(&moved));
            std::future::ready(Ok::<_, Infallible>(answer))
        })
    };
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(limits::FETCHER_HEAD_FOR)
        .max_buf_size(limits::FETCHER_HEAD_BYTES)
        .max_headers(64)
        .serve_connection(TokioIo::new(tcp), service);
    let stalled = async {
        while moved.swap(false, Ordering::Relaxed) {
            tokio::time::sleep(limits::FETCHER_STALLS_FOR).await;
        }
    };
    tokio::select! {
        ended = connection => match ended {
            Ok(()) => {}
            Err(error) if error.is_timeout() => refusals.note(Refusal::SlowHandshake, address, error),
            Err(error) if error.is_parse() => refusals.note(Refusal::Garbage, address, error),
            Err(error) => tracing::debug!(%address, %error, "a fetcher's connection broke"),
        },
        () = evicted => {} // noted by whoever took its seat
        () = stalled => tracing::warn!(%address, "a fetcher of the bootstrap took nothing for a minute: hung up"),
    }
}

/// Why a request isn't served.
#[derive(Debug, Clone, Copy)]
enum Unserved {
    Method,
    Path,
    Busy,
}

impl std::fmt::Display for Unserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Unserved::Method => "neither GET nor HEAD",
            Unserved::Path => "another path",
            Unserved::Busy => "too many are being served",
        })
    }
}

impl Unserved {
    fn answer(self, moved: &Arc<AtomicBool>) -> Response<FileBody> {
        let mut response = Response::new(FileBody::empty(moved.clone()));
        let headers = response.headers_mut();
        let status = match self {
            Unserved::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                StatusCode::METHOD_NOT_ALLOWED
            }
            Unserved::Path => StatusCode::NOT_FOUND,
            Unserved::Busy => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        *response.status_mut() = status;
        response
    }
}

fn answer<B>(
    request: &Request<B>,
    served: &Served,
    moved: &Arc<AtomicBool>,
) -> Result<Response<FileBody>, Unserved> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Unserved::Method);
    }
    let asked = Digest::of(request.uri().path().as_bytes());
    let file = served.paths.get(&asked).ok_or(Unserved::Path)?;
    let mut response = if request.method() == Method::GET {
        let place = served.places.clone().try_acquire_owned().map_err(|_| Unserved::Busy)?;
        tracing::debug!(path = file.shown(), bytes = file.bytes(), "a node fetches the bootstrap");
        Response::new(FileBody::of(file.clone(), place, moved.clone()))
    } else {
        Response::new(FileBody::empty(moved.clone()))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, file.bytes().into());
    Ok(response)
}

/// A file's bytes as they are asked for: one chunk of it in memory at a time.
#[derive(Debug)]
struct FileBody {
    file: Option<(Arc<OpenedFile>, OwnedSemaphorePermit)>,
    offset: u64,
    reading: Option<JoinHandle<Result<Bytes>>>,
    /// Set whenever more was asked for: the other side takes what it gets.
    moved: Arc<AtomicBool>,
}

impl FileBody {
    fn empty(moved: Arc<AtomicBool>) -> FileBody {
        FileBody { file: None, offset: 0, reading: None, moved }
    }

    fn of(file: Arc<OpenedFile>, place: OwnedSemaphorePermit, moved: Arc<AtomicBool>) -> FileBody {
        FileBody { file: Some((file, place)), offset: 0, reading: None, moved }
    }

    fn left(&self) -> u64 {
        self.file.as_ref().map_or(0, |(file, _)| file.bytes() - self.offset)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.moved.store(true, Ordering::Relaxed);
        if self.left() == 0 {
            return Poll::Ready(None);
        }
        let Some((file, _)) = &self.file else { return Poll::Ready(None) };
        let (file, offset) = (file.clone(), self.offset);
        let reading = self.reading.get_or_insert_with(|| {
            tokio::task::spawn_blocking(move || file.read_at(offset, limits::FETCHER_CHUNK_BYTES))
        });
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let read = read.unwrap_or_else(|error| Err(Error::internal("the read failed").source(error)));
        Poll::Ready(Some(match read {
            Ok(bytes) => {
                self.offset += bytes.len() as u64;
                Ok(Frame::data(bytes))
            }
            Err(error) => {
                tracing::error!(%error, "the bootstrap can't be served");
                Err(error)
            }
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}
