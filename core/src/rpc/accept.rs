//! The driver's acceptor. Who hasn't shown that it is an executor which counts sits in a bounded lobby: for a bounded time, in windows of his
//! own size, and the oldest makes room for the newest, so that a thousand half-open connections keep nobody out.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::identity::{Peer, subject};
use super::limits;
use super::refusal::{Refusal, Refusals};

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The places for connections that haven't shown who they are.
#[derive(Debug)]
pub struct Lobby {
    most: usize,
    seats: Mutex<Seats>,
    refusals: Arc<Refusals>,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    /// By age.
    taken: BTreeMap<u64, (CancellationToken, SocketAddr)>,
}

impl Lobby {
    /// A lobby for `most` connections.
    #[must_use]
    pub fn new(most: usize, refusals: Arc<Refusals>) -> Arc<Lobby> {
        Arc::new(Lobby { most, seats: Mutex::default(), refusals })
    }

    /// Takes a seat, away from its oldest holder where none is free.
    pub(crate) fn enter(self: &Arc<Lobby>, address: SocketAddr) -> Seat {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.taken.len() >= self.most
            && let Some((_, (oldest, address))) = seats.taken.pop_first()
        {
            oldest.cancel();
            self.refusals.note(Refusal::LobbyFull, address, "its connection was the oldest");
        }
        let number = seats.next;
        seats.next += 1;
        let evicted = CancellationToken::new();
        seats.taken.insert(number, (evicted.clone(), address));
        Seat(Arc::new(SeatInner { lobby: self.clone(), number, evicted }))
    }

    /// How many connections sit there.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).taken.len()
    }

    fn is_taken(&self, number: u64) -> bool {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).taken.contains_key(&number)
    }

    fn leave(&self, number: u64) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&number);
    }
}

/// A place in the lobby, given up when all holders drop it or one leaves.
#[derive(Clone)]
pub(crate) struct Seat(Arc<SeatInner>);

struct SeatInner {
    lobby: Arc<Lobby>,
    number: u64,
    evicted: CancellationToken,
}

impl Seat {
    /// Its holder has shown who it is.
    pub(crate) fn leave(&self) {
        self.0.lobby.leave(self.0.number);
    }

    /// Completes when somebody newer has taken it.
    pub(crate) fn evicted(&self) -> WaitForCancellationFutureOwned {
        self.0.evicted.clone().cancelled_owned()
    }

    fn waits(&self) -> bool {
        self.0.lobby.is_taken(self.0.number)
    }
}

impl Drop for SeatInner {
    fn drop(&mut self) {
        self.lobby.leave(self.number);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.0.number)
    }
}

/// Where accepted connections go.
#[derive(Debug, Clone)]
pub struct Hall {
    /// Those that have shown a certificate; where the driver runs insecure, all.
    pub known: mpsc::Sender<io::Result<Connection>>,
    /// Those that haven't: only a join is served there.
    pub anonymous: mpsc::Sender<io::Result<Connection>>,
}

/// Accepts until it is dropped. Each connection has a task of its own, so none holds up another.
pub async fn accept(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    lobby: Arc<Lobby>,
    hall: Hall,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((tcp, address)) => {
                let seat = lobby.enter(address);
                tasks.spawn(admit(tcp, address, acceptor.clone(), seat, hall.clone()));
            }
            Err(error) => {
                // Out of descriptors, or a caller that is gone already. Spinning would make the first worse.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn admit(tcp: TcpStream, address: SocketAddr, acceptor: Option<TlsAcceptor>, seat: Seat, hall: Hall) {
    let refusals = seat.0.lobby.refusals.clone();
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%address, %error, "gone at once");
        return;
    }
    let handshake = async {
        match acceptor {
            None => plain(tcp, address, seat.clone()).await.map(|connection| (connection, true)),
            Some(acceptor) => encrypted(tcp, address, acceptor, seat.clone()).await,
        }
    };
    let evicted = seat.0.evicted.clone();
    let outcome = tokio::select! {
        biased;
        () = evicted.cancelled() => return, // noted by whoever took its seat
        outcome = tokio::time::timeout(limits::HANDSHAKE_FOR, handshake) => outcome,
    };
    match outcome {
        Err(_) => refusals.note(Refusal::SlowHandshake, address, "gave up"),
        Ok(Err((refusal, error))) => refusals.note(refusal, address, error),
        Ok(Ok((connection, known))) => {
            let to = if known { hall.known } else { hall.anonymous };
            if to.send(Ok(connection)).await.is_err() {
                tracing::debug!(%address, "a connection came as the driver ends");
            }
        }
    }
}

type Refused = (Refusal, io::Error);

async fn plain(mut tcp: TcpStream, address: SocketAddr, seat: Seat) -> Result<Connection, Refused> {
    let mut preface = [0_u8; PREFACE.len()];
    let mut read = 0;
    while read < preface.len() {
        let more = tcp.read(&mut preface[read..]).await.map_err(|error| (Refusal::Garbage, error))?;
        if more == 0 || preface[read..read + more] != PREFACE[read..read + more] {
            let error = io::Error::new(io::ErrorKind::InvalidData, "not an HTTP/2 client");
            return Err((Refusal::Garbage, error));
        }
        read += more;
    }
    let peer = Peer { address, subject: None, seat: seat.clone(), calls: Arc::default() };
    Ok(Connection::new(Io::Plain { tcp, unread: PREFACE }, peer, seat))
}

async fn encrypted(
    tcp: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    seat: Seat,
) -> Result<(Connection, bool), Refused> {
    let tls = acceptor.accept(tcp).await.map_err(|error| {
        let refusal = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(_)) => Refusal::ForeignCertificate,
            _ => Refusal::Garbage,
        };
        (refusal, error)
    })?;
    let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let subject = shown
        .map(subject)
        .transpose()
        .map_err(|error| (Refusal::ForeignCertificate, io::Error::other(error)))?;
    let known = subject.is_some();
    // A certificate of ours may be that of an executor which doesn't count any more: its seat is left at its first call.
    let peer = Peer { address, subject, seat: seat.clone(), calls: Arc::default() };
    Ok((Connection::new(Io::Tls(Box::new(tls)), peer, seat), known))
}

enum Io {
    /// What was read of it to look at comes again.
    Plain {
        tcp: TcpStream,
        unread: &'static [u8],
    },
    Tls(Box<TlsStream<TcpStream>>),
}

/// An accepted connection. While it sits in the lobby it can be evicted, and its time is bounded.
pub struct Connection {
    io: Io,
    peer: Peer,
    waiting: Option<Waiting>,
}

struct Waiting {
    seat: Seat,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    until: Pin<Box<Sleep>>,
}

impl Connection {
    fn new(io: Io, peer: Peer, seat: Seat) -> Connection {
        let waiting = Waiting {
            evicted: Box::pin(seat.evicted()),
            until: Box::pin(tokio::time::sleep(limits::ANONYMOUS_FOR)),
            seat,
        };
        Connection { io, peer, waiting: Some(waiting) }
    }

    /// Ends a connection that was evicted, or has sat in the lobby for too long.
    fn check_seat(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        if waiting.evicted.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, Refusal::LobbyFull.words()));
        }
        if waiting.until.as_mut().poll(cx).is_ready() {
            if waiting.seat.waits() {
                let refusals = &waiting.seat.0.lobby.refusals;
                refusals.note(Refusal::Idle, self.peer.address, "hung up");
                return Err(io::Error::new(io::ErrorKind::TimedOut, Refusal::Idle.words()));
            }
            self.waiting = None;
        }
        Ok(())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_seat(cx)?;
        match &mut self.io {
            Io::Plain { tcp, unread } => {
                if unread.is_empty() {
                    return Pin::new(tcp).poll_read(cx, buffer);
                }
                let (now, later) = unread.split_at(buffer.remaining().min(unread.len()));
                buffer.put_slice(now);
                *unread = later;
                Poll::Ready(Ok(()))
            }
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain { tcp, .. } => Pin::new(tcp).poll_write(cx, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain { tcp, .. } => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain { tcp, .. } => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain { tcp, .. } => Pin::new(tcp).poll_write_vectored(cx, slices),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain { tcp, .. } => tcp.is_write_vectored(),
            Io::Tls(tls) => tls.is_write_vectored(),
        }
    }
}
