//! The task of one framework: it subscribes, reads events, makes calls, and tells the core.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::clock;
use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Exit, ExitCause, Outcome};
use convoke_core::units::HostPort;
use tokio::sync::oneshot;

use super::{Handle, Shared, Subscribed};
use crate::launch;
use crate::logs;
use crate::state::scheduler::{CallFailure, Scheduler, SchedulerCommand, SchedulerEvent, Told};
use crate::v1::http::{EventStream, SubscribeFailure};
use crate::v1::scheduler::Call;

/// A master that answers "not yet" is waited for so long by `open`; one that doesn't answer at all, not.
const STARTING: Duration = Duration::from_secs(10);

/// The end of a task's log is waited for so long.
const LOG_TIME: Duration = Duration::from_secs(3);

type Boxed<A> = Pin<Box<dyn Future<Output = A> + Send>>;

/// The task of one framework. Dropping it drops its connections: the master then gives the framework one lease.
pub(super) struct Actor {
    shared: Arc<Shared>,
    connecting: Option<Boxed<(HostPort, Connected)>>,
    stream: Option<Box<EventStream>>,
    queue: VecDeque<Box<Call>>,
    /// One call at a time: on connections of their own they would overtake each other.
    in_flight: Option<Boxed<Answer>>,
}

/// What became of a subscription.
type Connected = Result<Box<EventStream>, SubscribeFailure>;
/// A call with what became of it.
type Answer = (Box<Call>, Result<(), CallFailure>);

/// The next answer of a future that may not be there.
async fn next_of<A>(future: &mut Option<Boxed<A>>) -> A {
    match future {
        Some(running) => {
            let answer = running.as_mut().await;
            *future = None;
            answer
        }
        None => std::future::pending().await,
    }
}

enum Happened {
    Connected(HostPort, Connected),
    Event(SchedulerEvent),
    Woken,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>) -> Actor {
        Actor { shared, connecting: None, stream: None, queue: VecDeque::new(), in_flight: None }
    }

    /// Subscribes for the first time, answers, and goes on until the handle is dropped or the application closed.
    pub(super) async fn run(mut self, mut opened: oneshot::Sender<Result<Subscribed>>) {
        let began = clock::now();
        loop {
            self.execute();
            tokio::select! {
                () = opened.closed(), if self.connecting.is_none() => return,
                happened = self.happens() => match happened {
                    Happened::Connected(master, Ok(stream)) => {
                        self.connected(master.clone(), stream);
                        return self.serve(opened, master).await;
                    }
                    Happened::Connected(master, Err(failure)) => {
                        let error = match failure {
                            SubscribeFailure::Fatal(error) => Some(error),
                            SubscribeFailure::Refused(words) => Some(refused(&master, &words)),
                            SubscribeFailure::Unavailable { error, starting } => {
                                let all = self.shared.read(|it| it.subscription().failures() + 1) as usize;
                                let masters = self.shared.http.masters();
                                let patience = if starting { clock::now().since(began) < STARTING } else { all < masters };
                                self.shared.input(SchedulerEvent::Lost(error.clone()));
                                (!patience).then_some(error)
                            }
                            SubscribeFailure::Redirected(leader) => {
                                self.shared.input(SchedulerEvent::Redirected(leader));
                                None
                            }
                        };
                        if let Some(error) = error {
                            let _ = opened.send(Err(error)); // where nobody waits, nobody is told
                            return;
                        }
                    }
                    Happened::Event(event) => self.shared.input(event),
                    Happened::Woken => {}
                },
            }
        }
    }

    async fn serve(mut self, opened: oneshot::Sender<Result<Subscribed>>, master: HostPort) {
        let (guard, mut dropped) = oneshot::channel();
        let framework = self.shared.read(|it| it.framework().map(|id| id.value.clone())).unwrap_or_default();
        let handle = Handle { shared: self.shared.clone(), _guard: guard };
        if let Err(unwanted) = opened.send(Ok(Subscribed { handle, framework, master })) {
            // `open` was dropped: what it made is taken back, within the lease or by it
            self.shared.input(SchedulerEvent::TearDown);
            let lease = self.shared.spec.lease;
            let closing = async { while !self.step().await {} };
            if tokio::time::timeout(lease, closing).await.is_err() {
                tracing::warn!(
                    "a framework that nobody wants any more could not be torn down; its lease ends it"
                );
            }
            drop(unwanted);
            return;
        }
        loop {
            tokio::select! {
                // nobody sends: this is the handle's end
                _ = &mut dropped => return,
                closed = self.step() => if closed { return },
            }
        }
    }

    /// One event; answers whether the application is closed.
    async fn step(&mut self) -> bool {
        self.execute();
        if self.shared.read(Scheduler::closed).is_some() {
            return true;
        }
        match self.happens().await {
            Happened::Woken => {}
            Happened::Event(event) => self.shared.input(event),
            Happened::Connected(master, Ok(stream)) => self.connected(master, stream),
            Happened::Connected(_, Err(failure)) => self.shared.input(match failure {
                SubscribeFailure::Redirected(leader) => SchedulerEvent::Redirected(leader),
                SubscribeFailure::Refused(words) => SchedulerEvent::Refused(words),
                // credentials may be mended while our executors go on
                SubscribeFailure::Fatal(error) | SubscribeFailure::Unavailable { error, .. } => {
                    SchedulerEvent::Lost(error)
                }
            }),
        }
        false
    }

    fn connected(&mut self, master: HostPort, stream: Box<EventStream>) {
        self.shared.lock().master = Some(master);
        let subscribed = stream.subscribed.clone();
        self.stream = Some(stream);
        self.shared.input(SchedulerEvent::Subscribed(subscribed));
    }

    /// Does what is to be done, in order.
    fn execute(&mut self) {
        loop {
            let command = self.shared.lock().commands.pop_front();
            match command {
                None => break,
                Some(SchedulerCommand::Connect(master)) => self.connect(master),
                Some(SchedulerCommand::Disconnect) => self.disconnect(),
                Some(SchedulerCommand::Call(call)) => self.queue.push_back(call),
                Some(SchedulerCommand::Tell(Told::Exited(executor, exit))) => self.exited(executor, exit),
                Some(SchedulerCommand::Tell(told)) => tell(self.shared.report.as_ref(), told),
            }
        }
        self.send_next();
    }

    /// Tells an exit; one that our prologue may have made is looked at first, because its words are in the task's log only.
    fn exited(&self, executor: ExecutorId, exit: Exit) {
        if exit.cause != ExitCause::Code(launch::NOT_LAUNCHED) {
            return self.shared.report.exited(executor, exit);
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let log = tokio::time::timeout(LOG_TIME, logs::tail(shared.clone(), executor)).await;
            let words = log.ok().and_then(|log| log.ok()).unwrap_or_default();
            let failure = launch::prologue_failure(&String::from_utf8_lossy(&words));
            shared.report.exited(executor, failure.unwrap_or(exit));
        });
    }

    fn disconnect(&mut self) {
        (self.connecting, self.stream, self.in_flight) = (None, None, None);
        self.queue.clear();
    }

    fn connect(&mut self, master: HostPort) {
        self.disconnect();
        let call = self.shared.read(|scheduler| scheduler.subscribe_call(&self.shared.user));
        let http = self.shared.http.clone();
        self.connecting = Some(Box::pin(async move {
            let result = http.subscribe(&master, &call).await.map(Box::new);
            (master, result)
        }));
    }

    fn send_next(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        let Some(id) = self.stream.as_ref().map(|stream| stream.id.clone()) else { return };
        let (Some(call), Some(master)) = (self.queue.pop_front(), self.shared.master()) else { return };
        let http = self.shared.http.clone();
        self.in_flight = Some(Box::pin(async move {
            let result = http.call(&master, &id, &call).await;
            (call, result)
        }));
    }

    async fn happens(&mut self) -> Happened {
        let deadline = self.shared.read(Scheduler::next_deadline);
        let due = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline.since(clock::now())).await,
                None => std::future::pending().await,
            }
        };
        let record = async {
            match &mut self.stream {
                Some(stream) => stream.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (master, result) = next_of(&mut self.connecting) => Happened::Connected(master, result),
            (call, result) = next_of(&mut self.in_flight) => {
                Happened::Event(SchedulerEvent::Answered(call, result))
            }
            record = record => Happened::Event(match record {
                Ok(record) => SchedulerEvent::Record(Box::new(record)),
                Err(error) => SchedulerEvent::Lost(error),
            }),
            () = self.shared.wake.notified() => Happened::Woken,
            () = due => Happened::Event(SchedulerEvent::Tick),
        }
    }
}

fn tell(report: &dyn convoke_core::manager::Report, told: Told) {
    match told {
        Told::Manager(reach) => report.manager(reach),
        Told::Granted(grant) => report.granted(grant),
        Told::Launched(executor) => report.launched(executor, Vec::new()),
        Told::Reachable(executor, yes) => report.reachable(executor, yes),
        Told::Draining(executor, why) => report.draining(vec![executor], None, why),
        Told::Exited(executor, exit) => report.exited(executor, exit), // see `Actor::exited`
        // Mesos keeps no outcome of a framework
        Told::Ended(by) => report.ended(Outcome::Killed, by),
    }
}

/// A subscription that the master refuses for good, as the answer of `register`.
fn refused(master: &HostPort, words: &str) -> Error {
    let kind = if words.to_ascii_lowercase().contains("authorized") {
        ErrorKind::PermissionDenied
    } else {
        ErrorKind::Rejected
    };
    Error::new(kind, words.to_owned()).with("master", master)
}
