//! An executor as the driver sees it: it joins, has a supervisor's stream that beats, and a program's stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use convoke_core::Result;
use convoke_core::executor::environment;
use convoke_core::executor::link::IdentityParts;
use convoke_core::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use convoke_core::manager::LaunchCommand;
use convoke_core::rpc::client::{self, Client, JoinAsk, Joined, Trust};
use convoke_core::rpc::v1;
use convoke_core::units::HostPort;
use tokio::sync::mpsc;
use tonic::Streaming;

/// What its environment says.
#[derive(Debug, Clone)]
pub struct Found {
    pub addresses: Vec<HostPort>,
    pub trust: Trust,
    pub ask: JoinAsk,
}

impl Found {
    pub fn of(command: &LaunchCommand) -> Found {
        let at = |name: &str| command.env[name].clone();
        Found {
            addresses: at(environment::DRIVER).split(',').map(|text| text.parse().unwrap()).collect(),
            trust: at(environment::TRUST).parse().unwrap(),
            ask: JoinAsk {
                application: at(environment::APPLICATION).parse().unwrap(),
                executor: ExecutorId(at(environment::EXECUTOR).parse().unwrap()),
                profile: ProfileId(at(environment::PROFILE).parse().unwrap()),
                incarnation: Incarnation(at(environment::INCARNATION).parse().unwrap()),
                ticket: command.ticket.clone(),
                platform: "test".to_owned(),
                host: "test-host".to_owned(),
                process: 4242,
            },
        }
    }

    pub fn application(&self) -> &ApplicationId {
        &self.ask.application
    }

    pub async fn join(&self) -> Result<Joined> {
        client::join(&self.addresses, self.trust, &self.ask).await
    }

    pub async fn connect(&self, identity: &IdentityParts) -> Result<Client> {
        client::connect(&self.addresses, self.application(), identity).await
    }
}

/// A well-behaved executor, as far as the test lets it be.
pub struct FakeExecutor {
    pub found: Found,
    pub joined: Joined,
    pub reports: mpsc::Sender<v1::SupervisorReport>,
    pub orders: Streaming<v1::SupervisorOrder>,
    beats: u64,
}

impl FakeExecutor {
    pub async fn join(command: &LaunchCommand) -> FakeExecutor {
        let found = Found::of(command);
        let joined = found.join().await.unwrap();
        let (reports, orders) =
            client::supervise(&found.addresses, found.application(), &joined.identity).await.unwrap();
        let hello = v1::SupervisorHello { process: 4242, directory: "/somewhere".to_owned() };
        let executor = FakeExecutor { found, joined, reports, orders, beats: 0 };
        executor.report(v1::supervisor_report::Report::Hello(hello)).await;
        executor
    }

    pub fn id(&self) -> ExecutorId {
        self.found.ask.executor
    }

    pub async fn report(&self, report: v1::supervisor_report::Report) {
        let _ = self.reports.send(v1::SupervisorReport { report: Some(report) }).await;
    }

    /// One heartbeat; whether the lease was renewed.
    pub async fn beat(&mut self, program_silent: Duration) -> bool {
        self.beats += 1;
        let number = self.beats;
        let program_silent_ms = program_silent.as_millis() as u64;
        let beat = v1::Heartbeat { number, program_silent_ms, resident_mib: 1 };
        self.report(v1::supervisor_report::Report::Heartbeat(beat)).await;
        loop {
            match self.order().await {
                Some(v1::supervisor_order::Order::Renewed(renewed)) if renewed == number => return true,
                Some(v1::supervisor_order::Order::Renewed(_)) => {}
                _ => return false,
            }
        }
    }

    /// The next order, or `None` when the driver has hung up.
    pub async fn order(&mut self) -> Option<v1::supervisor_order::Order> {
        let next =
            tokio::time::timeout(super::SOON, self.orders.message()).await.expect("an order or an end");
        next.ok().flatten().and_then(|order| order.order)
    }

    /// The program attaches.
    pub async fn attach(&self) -> Result<Attached, tonic::Status> {
        attach(&self.found, &self.joined.identity).await
    }

    /// Beats on its own at the interval it was assigned, until the driver hangs up or it is stopped.
    pub fn beat_on(mut self) -> Beating {
        let every = Duration::from_millis(self.joined.assignment.heartbeat_interval_ms);
        let id = self.id();
        let renewals = Arc::new(AtomicU64::new(0));
        let counted = renewals.clone();
        let task = tokio::spawn(async move {
            while self.beat(Duration::ZERO).await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(every).await;
            }
        });
        Beating { id, task, renewals }
    }
}

/// An executor that beats on; dropping it is its death.
pub struct Beating {
    pub id: ExecutorId,
    task: tokio::task::JoinHandle<()>,
    renewals: Arc<AtomicU64>,
}

impl Beating {
    /// How often its lease was renewed.
    pub fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }

    pub fn lives(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A program's stream.
pub struct Attached {
    pub updates: mpsc::Sender<v1::ExecutorMessage>,
    pub messages: Streaming<v1::DriverMessage>,
}

pub async fn attach(found: &Found, identity: &IdentityParts) -> Result<Attached, tonic::Status> {
    let mut client = found.connect(identity).await.unwrap();
    let (updates, outbound) = mpsc::channel(16);
    let hello = v1::ExecutorHello { slots: 1, ..Default::default() };
    let hello = v1::ExecutorMessage { message: Some(v1::executor_message::Message::Hello(hello)) };
    updates.send(hello).await.unwrap();
    let messages = client.attach(tokio_stream::wrappers::ReceiverStream::new(outbound)).await?.into_inner();
    Ok(Attached { updates, messages })
}
