use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::{Error, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::tasks::{Act, Call, Played};
use crate::timeline::Timeline;
use crate::wait::Pulse;

/// The kit's own count of what runs: every task calls here when it begins, and holds its connection while it runs.
#[derive(Debug)]
pub(crate) struct Tally {
    address: String,
    token: String,
    runs: Arc<Mutex<Vec<Run>>>,
    listening: tokio::task::JoinHandle<()>,
}

/// One attempt that began.
#[derive(Debug)]
struct Run {
    played: Played,
    open: bool,
    go: Option<oneshot::Sender<()>>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Tally {
    pub(crate) async fn listen(
        reached_at: &str,
        token: &str,
        pulse: Pulse,
        timeline: Arc<Timeline>,
    ) -> Result<Tally> {
        let host = if reached_at == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
        let listener = TcpListener::bind((host, 0))
            .await
            .map_err(|error| Error::host("can't listen for tasks", error))?;
        let port =
            listener.local_addr().map_err(|error| Error::host("no address to be called at", error))?.port();
        let runs: Arc<Mutex<Vec<Run>>> = Arc::default();
        let (shared, expected) = (runs.clone(), token.to_owned());
        let listening = tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            let (runs, expected) = (shared.clone(), expected.clone());
                            calls.spawn(serve(stream, expected, runs, pulse.clone(), timeline.clone()));
                        }
                        Err(error) => {
                            timeline.note(format!("tally: can't accept: {error}"));
                            tokio::task::yield_now().await;
                        }
                    },
                    Some(_) = calls.join_next() => {}
                }
            }
        });
        Ok(Tally { address: format!("{reached_at}:{port}"), token: token.to_owned(), runs, listening })
    }

    /// A task that calls here.
    pub(crate) fn call(&self, key: u64, act: Act) -> Call {
        Call { kit: self.address.clone(), token: self.token.clone(), key, act }
    }

    /// Every attempt that ever began, in that order.
    pub(crate) fn all(&self) -> Vec<Played> {
        lock(&self.runs).iter().map(|run| run.played.clone()).collect()
    }

    /// The attempts of one task that began.
    pub(crate) fn of(&self, key: u64) -> Vec<Played> {
        lock(&self.runs).iter().filter(|run| run.played.key == key).map(|run| run.played.clone()).collect()
    }

    /// How many attempts run now.
    pub(crate) fn running(&self) -> usize {
        lock(&self.runs).iter().filter(|run| run.open).count()
    }

    /// How many attempts of one task run now.
    pub(crate) fn running_of(&self, key: u64) -> usize {
        lock(&self.runs).iter().filter(|run| run.open && run.played.key == key).count()
    }

    /// Lets the waiting attempts of a task return.
    pub(crate) fn let_go(&self, key: u64) {
        for run in lock(&self.runs).iter_mut().filter(|run| run.played.key == key) {
            run.go = None;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    token: String,
    runs: Arc<Mutex<Vec<Run>>>,
    pulse: Pulse,
    timeline: Arc<Timeline>,
) {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read);
    let mut line = String::new();
    let hello =
        lines.read_line(&mut line).await.ok().and_then(|_| serde_json::from_str::<Played>(&line).ok());
    let Some(played) = hello.filter(|played| played.token == token) else {
        return timeline.note("tally: a stranger called and was refused");
    };
    let who = format!(
        "task {}, attempt {}, on {} (process {})",
        played.key, played.attempt, played.executor, played.process
    );
    let (go, told) = oneshot::channel();
    let place = {
        let mut runs = lock(&runs);
        runs.push(Run { played, open: true, go: Some(go) });
        runs.len() - 1
    };
    timeline.note(format!("{who} begins"));
    pulse.ring();
    let mut rest = Vec::new();
    tokio::select! {
        _ = lines.read_to_end(&mut rest) => {}
        _ = told => {
            timeline.note(format!("{who} is let go"));
            let _ = write.write_all(b"go\n").await; // it may be gone
            let _ = lines.read_to_end(&mut rest).await;
        }
    }
    if let Some(run) = lock(&runs).get_mut(place) {
        run.open = false;
        run.go = None;
    }
    timeline.note(format!("{who} is over"));
    pulse.ring();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
