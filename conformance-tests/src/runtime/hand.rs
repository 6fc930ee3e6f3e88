//! An executor made by hand: the kit joins with a real ticket, over the real socket, and says what it likes.

use std::time::Duration;

use convoke_core::executor::environment;
use convoke_core::executor::link::IdentityParts;
use convoke_core::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use convoke_core::manager::LaunchCommand;
use convoke_core::rpc::client::{self, JoinAsk, Joined, Trust};
use convoke_core::rpc::status::from_status;
use convoke_core::rpc::v1;
use convoke_core::task::registry::Registry;
use convoke_core::units::HostPort;
use convoke_core::{Error, Result};
use tokio::sync::mpsc;
use tonic::Streaming;

/// What an executor's environment says, and its ticket.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) driver: Vec<HostPort>,
    pub(crate) trust: Trust,
    pub(crate) ask: JoinAsk,
}

impl Ticket {
    /// Reads a command as its driver wrote it.
    pub(crate) fn of(command: &LaunchCommand) -> Result<Ticket> {
        let at = |name: &'static str| {
            command
                .env
                .get(name)
                .map(String::as_str)
                .ok_or_else(|| Error::internal("no such variable").with("name", name))
        };
        let number = |name: &'static str| {
            at(name)?
                .parse::<u64>()
                .map_err(|error| Error::internal("not a number").with("name", name).source(error))
        };
        let driver =
            at(environment::DRIVER)?.split(',').map(str::parse).collect::<Result<Vec<HostPort>>>()?;
        Ok(Ticket {
            driver,
            trust: at(environment::TRUST)?.parse()?,
            ask: JoinAsk {
                application: at(environment::APPLICATION)?.parse()?,
                executor: ExecutorId(number(environment::EXECUTOR)?),
                profile: ProfileId(u32::try_from(number(environment::PROFILE)?).unwrap_or_default()),
                incarnation: Incarnation(
                    u32::try_from(number(environment::INCARNATION)?).unwrap_or_default(),
                ),
                ticket: command.ticket.clone(),
                platform: convoke_core::manager::Platform::current().to_string(),
                host: "by-hand".to_owned(),
                process: std::process::id(),
            },
        })
    }

    pub(crate) async fn join(&self) -> Result<Joined> {
        client::join(&self.driver, self.trust, &self.ask).await
    }

    fn application(&self) -> &ApplicationId {
        &self.ask.application
    }

    /// Opens a supervisor's stream, as one that has joined.
    pub(crate) async fn supervise(&self, identity: &IdentityParts) -> Result<client::Supervised> {
        client::supervise(&self.driver, self.application(), identity).await
    }

    /// Opens a program's stream, as one that has joined.
    pub(crate) async fn attach(&self, identity: &IdentityParts) -> Result<Attached> {
        let registry = Registry::of_this_program()?;
        let mut client = client::connect(&self.driver, self.application(), identity).await?;
        let (updates, outbound) = mpsc::channel(64);
        let hello = v1::ExecutorHello {
            process: std::process::id(),
            slots: 1,
            functions: registry.digest().0.to_vec().into(),
            function_names: registry.names().map(str::to_owned).collect(),
            ..Default::default()
        };
        let hello = v1::ExecutorMessage { message: Some(v1::executor_message::Message::Hello(hello)) };
        let _ = updates.send(hello).await; // room for 64
        let orders = client
            .attach(tokio_stream::wrappers::ReceiverStream::new(outbound))
            .await
            .map_err(|status| from_status(&status))?
            .into_inner();
        Ok(Attached { updates, orders })
    }
}

/// The stream of an executor made by hand.
#[derive(Debug)]
pub(crate) struct Attached {
    updates: mpsc::Sender<v1::ExecutorMessage>,
    orders: Streaming<v1::DriverMessage>,
}

/// One attempt that was sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) task: u64,
    pub(crate) attempt: u32,
}

impl Attached {
    /// The attempts of the next message that has any, or `None` where the driver hung up.
    pub(crate) async fn next(&mut self) -> Option<Vec<(Sent, Vec<u8>)>> {
        loop {
            let batch = self.orders.message().await.ok().flatten()?.tasks.unwrap_or_default();
            if batch.tasks.is_empty() {
                continue;
            }
            let mut rest = &batch.payload[..];
            let sent = batch.tasks.iter().enumerate().map(|(place, task)| {
                let length = batch.lengths.get(place).copied().unwrap_or_default() as usize;
                let (argument, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                let attempt = batch.attempts.get(place).copied().unwrap_or(1);
                (Sent { task: *task, attempt }, argument.to_vec())
            });
            return Some(sent.collect());
        }
    }

    /// Says that these attempts gave these values.
    pub(crate) async fn answer(&self, answers: &[(Sent, Vec<u8>)]) {
        let updates = v1::TaskUpdates {
            tasks: answers.iter().map(|(sent, _)| sent.task).collect(),
            attempts: answers.iter().map(|(sent, _)| sent.attempt).collect(),
            lengths: answers
                .iter()
                .map(|(_, value)| u32::try_from(value.len()).unwrap_or_default())
                .collect(),
            payload: answers.iter().flat_map(|(_, value)| value.iter().copied()).collect::<Vec<u8>>().into(),
            ..Default::default()
        };
        self.say(updates).await;
    }

    /// Says this.
    pub(crate) async fn say(&self, updates: v1::TaskUpdates) {
        let message = v1::ExecutorMessage { message: Some(v1::executor_message::Message::Updates(updates)) };
        let _ = self.updates.send(message).await; // a driver that hung up hears nothing
    }

    /// Whether the driver hangs up within this.
    pub(crate) async fn is_hung_up_on(&mut self, within: Duration) -> bool {
        tokio::time::timeout(within, async { while self.next().await.is_some() {} }).await.is_ok()
    }
}

/// A supervisor's stream made by hand, that beats by itself until it is dropped or the driver hangs up.
#[derive(Debug)]
pub(crate) struct Beating(tokio::task::JoinHandle<()>);

impl Beating {
    pub(crate) fn start((reports, mut orders): client::Supervised, every: Duration) -> Beating {
        Beating(tokio::spawn(async move {
            let report = |report| v1::SupervisorReport { report: Some(report) };
            let hello = v1::SupervisorHello { process: std::process::id(), directory: String::new() };
            let mut said = reports.send(report(v1::supervisor_report::Report::Hello(hello))).await;
            let mut number = 0;
            while said.is_ok() {
                number += 1;
                let beat = v1::Heartbeat { number, program_silent_ms: 0, resident_mib: 1 };
                said = reports.send(report(v1::supervisor_report::Report::Heartbeat(beat))).await;
                match tokio::time::timeout(every, orders.message()).await {
                    Err(_) => {}
                    Ok(Ok(Some(_))) => tokio::time::sleep(every).await,
                    Ok(_) => return,
                }
            }
        }))
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}
