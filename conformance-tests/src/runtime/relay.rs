use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::wait::Pulse;

/// A wire that can be cut: while it is, bytes vanish in both directions and no connection is closed, as behind a dead switch.
#[derive(Debug)]
pub(crate) struct Relay {
    address: String,
    cut: watch::Sender<bool>,
    lost: Arc<AtomicU64>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Relay {
    /// Relays to `upstream`, from a port of its own. Within a runtime.
    pub(crate) fn start(upstream: &str, pulse: Pulse) -> std::io::Result<Relay> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let listener = TcpListener::from_std(listener)?;
        let cut = watch::Sender::new(false);
        let lost = Arc::new(AtomicU64::new(0));
        let serving = tokio::spawn(serve(listener, upstream.to_owned(), cut.clone(), lost.clone(), pulse));
        Ok(Relay { address, cut, lost, serving })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Cuts the wire.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// New connections pass again; what lost bytes is broken.
    pub(crate) fn mend(&self) {
        self.cut.send_replace(false);
    }

    /// Bytes that vanished: that the cut bites.
    pub(crate) fn lost_bytes(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn serve(
    listener: TcpListener,
    upstream: String,
    cut: watch::Sender<bool>,
    lost: Arc<AtomicU64>,
    pulse: Pulse,
) {
    let mut calls = tokio::task::JoinSet::new();
    loop {
        let mut open = cut.subscribe();
        let _ = open.wait_for(|cut| !cut).await; // what dials meanwhile waits in the backlog
        tokio::select! {
            Ok((near, _)) = listener.accept() => {
                let (upstream, cut) = (upstream.clone(), cut.clone());
                let (lost, pulse) = (lost.clone(), pulse.clone());
                calls.spawn(async move {
                    let Ok(far) = TcpStream::connect(&upstream).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true)); // costs time, not truth
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    tokio::select! {
                        () = pass(near_read, far_write, cut.clone(), &lost, &pulse) => {}
                        () = pass(far_read, near_write, cut, &lost, &pulse) => {}
                    }
                });
            }
            Some(_) = calls.join_next() => {}
        }
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cut: watch::Sender<bool>,
    lost: &AtomicU64,
    pulse: &Pulse,
) {
    let mut buffer = vec![0_u8; 64 << 10];
    let mut broken = false;
    loop {
        let read = match from.read(&mut buffer).await {
            // an end is not seen through a cut either
            Ok(0) | Err(_) if *cut.borrow() => {
                let mut mended = cut.subscribe();
                let _ = mended.wait_for(|cut| !cut).await;
                return;
            }
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if *cut.borrow() {
            broken = true;
            lost.fetch_add(read as u64, Ordering::Relaxed);
            pulse.ring();
        } else if broken || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
