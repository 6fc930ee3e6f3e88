//! The line between the backend and its master: it can be cut, and what goes over it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use convoke_conformance::Traffic;
use convoke_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Line {
    /// Where the master is reached over it.
    pub(crate) address: String,
    cut: watch::Sender<bool>,
    counts: Arc<Counts>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Line {
    pub(crate) async fn listen(master: String) -> Result<Line> {
        let failed = |error| Error::host("can't listen for the backend", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?.to_string();
        let (cut, watching) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let serving = tokio::spawn(serve(listener, master, watching, counts.clone()));
        Ok(Line { address, cut, counts, serving })
    }

    pub(crate) fn cut(&self, yes: bool) {
        self.cut.send_replace(yes);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            calls: self.counts.calls.load(Ordering::Relaxed),
            bytes: self.counts.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut(true);
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, master: String, cut: watch::Receiver<bool>, counts: Arc<Counts>) {
    while let Ok((near, _)) = listener.accept().await {
        let (master, mut cut, counts) = (master.clone(), cut.clone(), counts.clone());
        tokio::spawn(async move {
            // a connection that breaks is what a cut line looks like
            tokio::select! {
                _ = cut.wait_for(|cut| *cut) => {}
                () = join(near, &master, &counts) => {}
            }
        });
    }
}

async fn join(near: TcpStream, master: &str, counts: &Counts) {
    let Ok(far) = TcpStream::connect(master).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    let up = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count @ 1..) = near_in.read(&mut piece).await {
            let calls = piece[..count].windows(10).filter(|window| window.starts_with(b"POST /api/")).count();
            counts.calls.fetch_add(calls as u64, Ordering::Relaxed);
            counts.bytes.fetch_add(count as u64, Ordering::Relaxed);
            if far_out.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count @ 1..) = far_in.read(&mut piece).await {
            counts.bytes.fetch_add(count as u64, Ordering::Relaxed);
            if near_out.write_all(&piece[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
