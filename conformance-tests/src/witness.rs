//! The kit's own witness: every probe, and every child that it forks, holds a connection here for as long as it exists. Where
//! they run on this host, the process table is read too.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::{Error, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::probe::wire::{FromProbe, Hello, ToProbe};
use crate::timeline::Timeline;
use crate::verdict::Finding;
use crate::wait::Pulse;

/// Listens for the probes of one case.
#[derive(Debug)]
pub struct Witness {
    address: String,
    token: String,
    contacts: Arc<Mutex<Vec<Contact>>>,
    pulse: Pulse,
    listening: tokio::task::JoinHandle<()>,
}

/// One process that called.
#[derive(Debug)]
struct Contact {
    hello: Hello,
    open: bool,
    orders: Option<mpsc::UnboundedSender<Order>>,
}

type Order = (ToProbe, Option<oneshot::Sender<FromProbe>>);

/// What the kit, as a driver, learns from its witness.
#[derive(Debug)]
pub(crate) enum News {
    /// An executor's probe called.
    Called(ApplicationId, ExecutorId),
    /// Its connection closed.
    HungUp(ApplicationId, ExecutorId),
}

impl Witness {
    /// Listens on a port of its own; executors are told `reached_at`.
    pub(crate) async fn listen(
        reached_at: &str,
        token: &str,
        pulse: Pulse,
        timeline: Arc<Timeline>,
        news: mpsc::UnboundedSender<News>,
    ) -> Result<Witness> {
        let host = if reached_at == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
        let listener = TcpListener::bind((host, 0))
            .await
            .map_err(|error| Error::host("can't listen for probes", error))?;
        let port =
            listener.local_addr().map_err(|error| Error::host("no address to be called at", error))?.port();
        let contacts = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared {
            token: token.to_owned(),
            contacts: contacts.clone(),
            pulse: pulse.clone(),
            timeline,
            news,
        };
        let listening = tokio::spawn(async move {
            let mut calls = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => { calls.spawn(shared.clone().serve(stream)); }
                        Err(error) => {
                            shared.timeline.note(format!("witness: can't accept: {error}"));
                            tokio::task::yield_now().await;
                        }
                    },
                    Some(_) = calls.join_next() => {}
                }
            }
        });
        Ok(Witness {
            address: format!("{reached_at}:{port}"),
            token: token.to_owned(),
            contacts,
            pulse,
            listening,
        })
    }

    /// Where probes call.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the probes of this case say first.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The executors of an application whose probe is there now.
    #[must_use]
    pub fn connected(&self, application: &ApplicationId) -> BTreeSet<ExecutorId> {
        lock(&self.contacts)
            .iter()
            .filter(|c| c.open && !c.hello.child && c.hello.application == application.as_str())
            .map(|c| ExecutorId(c.hello.executor))
            .collect()
    }

    /// How many of its probes there are now; more than executors where one runs twice.
    #[must_use]
    pub fn probes(&self, application: &ApplicationId) -> usize {
        self.count(application, |c| c.open && !c.hello.child)
    }

    /// How many of its escaped children there are now.
    #[must_use]
    pub fn children(&self, application: &ApplicationId) -> usize {
        self.count(application, |c| c.open && c.hello.child)
    }

    /// How many of its probes ever called.
    #[must_use]
    pub fn ever(&self, application: &ApplicationId) -> usize {
        self.count(application, |c| !c.hello.child)
    }

    fn count(&self, application: &ApplicationId, which: impl Fn(&Contact) -> bool) -> usize {
        lock(&self.contacts)
            .iter()
            .filter(|c| which(c) && c.hello.application == application.as_str())
            .count()
    }

    /// Whether all that ever called runs on this host, so that the process table can be read.
    #[must_use]
    pub fn on_this_host(&self) -> bool {
        let boot = crate::probe::boot();
        let contacts = lock(&self.contacts);
        !boot.is_empty() && !contacts.is_empty() && contacts.iter().all(|c| c.hello.boot == boot)
    }

    /// The processes that carry this application's id in their arguments, by the process table of this host: guards,
    /// supervisors, probes and their children alike.
    #[must_use]
    pub fn in_process_table(&self, application: &ApplicationId) -> Vec<u32> {
        processes_with(application.as_str())
    }

    /// What of an application exists: open connections, and on this host the process table. `None`: nothing at all.
    #[must_use]
    pub fn remains(&self, application: &ApplicationId) -> Option<String> {
        let (probes, children) = (self.probes(application), self.children(application));
        let processes = self.in_process_table(application);
        (probes + children + processes.len() > 0).then(|| {
            format!(
                "{probes} probes and {children} escaped children are connected; process table: {processes:?}"
            )
        })
    }

    /// The process id that an executor's probe gave, as it sees it.
    #[must_use]
    pub fn process(&self, application: &ApplicationId, executor: ExecutorId) -> Option<u32> {
        lock(&self.contacts).iter().rev().find(|c| is(c, application, executor)).map(|c| c.hello.process)
    }

    /// Gives an order that has no answer (an exit, a signal).
    ///
    /// # Errors
    /// [`Finding::Failed`] where the executor is not there.
    pub fn order(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        order: ToProbe,
    ) -> Result<(), Finding> {
        self.send(application, executor, order, None)
    }

    /// Gives an order and waits for its answer.
    ///
    /// # Errors
    /// [`Finding::Failed`] where the executor is not there, or goes before it answers.
    pub async fn ask(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        order: ToProbe,
    ) -> Result<FromProbe, Finding> {
        let (answer, answered) = oneshot::channel();
        let text = format!("{order:?}");
        self.send(application, executor, order, Some(answer))?;
        match answered.await {
            Ok(FromProbe::Trouble(trouble)) => Err(Finding::CouldNotRun(
                Error::internal("a probe can't do what it was told").with("why", trouble),
            )),
            Ok(answer) => Ok(answer),
            Err(_) => {
                Err(Finding::failed("executor gone", format!("{executor:?} went before it answered {text}")))
            }
        }
    }

    fn send(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        order: ToProbe,
        answer: Option<oneshot::Sender<FromProbe>>,
    ) -> Result<(), Finding> {
        let contacts = lock(&self.contacts);
        let sent = contacts
            .iter()
            .rev()
            .find(|c| c.open && is(c, application, executor))
            .and_then(|c| c.orders.as_ref())
            .is_some_and(|orders| orders.send((order, answer)).is_ok());
        if sent {
            Ok(())
        } else {
            Err(Finding::failed("executor gone", format!("{executor:?} is not connected")))
        }
    }

    /// Closes the connection to an executor, as a driver hangs up.
    pub fn hang_up(&self, application: &ApplicationId, executor: ExecutorId) {
        for contact in lock(&self.contacts).iter_mut().filter(|c| is(c, application, executor)) {
            contact.orders = None;
        }
        self.pulse.ring();
    }
}

fn is(contact: &Contact, application: &ApplicationId, executor: ExecutorId) -> bool {
    !contact.hello.child
        && contact.hello.executor == executor.0
        && contact.hello.application == application.as_str()
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[derive(Clone)]
struct Shared {
    token: String,
    contacts: Arc<Mutex<Vec<Contact>>>,
    pulse: Pulse,
    timeline: Arc<Timeline>,
    news: mpsc::UnboundedSender<News>,
}

impl Shared {
    async fn serve(self, stream: TcpStream) {
        let _ = stream.set_nodelay(true); // costs time, not truth
        let (lines, mut orders_out) = stream.into_split();
        let mut lines = BufReader::new(lines).lines();
        let hello = match lines.next_line().await.ok().flatten().map(|line| serde_json::from_str(&line)) {
            Some(Ok(FromProbe::Hello(hello))) if hello.token == self.token => hello,
            other => {
                return self.timeline.note(format!("witness: a stranger called and was refused: {other:?}"));
            }
        };
        let who = format!(
            "{} {} of {} (process {})",
            if hello.child { "an escaped child of executor" } else { "executor" },
            hello.executor,
            hello.application,
            hello.process
        );
        let names = hello.application.parse::<ApplicationId>().ok().map(|a| (a, ExecutorId(hello.executor)));
        let (orders, mut ordered) = mpsc::unbounded_channel::<Order>();
        // a supervised one joins, and tells its end, at the kit's driver service
        let is_plain = !hello.child && !hello.supervised;
        let place = {
            let mut contacts = lock(&self.contacts);
            contacts.push(Contact { hello, open: true, orders: Some(orders) });
            contacts.len() - 1
        };
        self.timeline.note(format!("{who} calls"));
        self.tell(names.clone().filter(|_| is_plain).map(|(a, e)| News::Called(a, e)));
        let mut waiting = std::collections::VecDeque::new();
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        let answer = serde_json::from_str(&line)
                            .unwrap_or_else(|error| FromProbe::Trouble(format!("not an answer: {error}: {line}")));
                        if let Some(Some(waits)) = waiting.pop_front() {
                            let _ = oneshot::Sender::send(waits, answer); // whoever asked may have given up
                        }
                    }
                    _ => break,
                },
                order = ordered.recv() => match order {
                    Some((order, answer)) => {
                        self.timeline.note(format!("{who} is told {order:?}"));
                        waiting.push_back(answer);
                        let Ok(mut line) = serde_json::to_string(&order) else { break };
                        line.push('\n');
                        if orders_out.write_all(line.as_bytes()).await.is_err() { break }
                    }
                    None => {
                        self.timeline.note(format!("the kit hangs up on {who}"));
                        break;
                    }
                }
            }
        }
        if let Some(contact) = lock(&self.contacts).get_mut(place) {
            contact.open = false;
            contact.orders = None;
        }
        self.timeline.note(format!("{who} is gone"));
        self.tell(names.filter(|_| is_plain).map(|(a, e)| News::HungUp(a, e)));
    }

    fn tell(&self, news: Option<News>) {
        if let Some(news) = news {
            let _ = self.news.send(news); // nobody listens once the case is over
        }
        self.pulse.ring();
    }
}

/// The processes of this host with this text in their arguments.
pub(crate) fn processes_with(text: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| *process != std::process::id())
        .filter(|process| {
            std::fs::read(format!("/proc/{process}/cmdline"))
                .is_ok_and(|arguments| arguments.split(|b| *b == 0).any(|a| a == text.as_bytes()))
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
