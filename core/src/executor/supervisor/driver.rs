//! The supervisor's side of the protocol: the join, and the connection for heartbeats.

use tokio::sync::mpsc;

use super::shell::{LinkEvent, ShellEvent};
use super::start::ExecutorStart;
use crate::error::{Error, ErrorKind};
use crate::executor::link::IdentityParts;
use crate::ids::ApplicationId;
use crate::manager::{ExitCause, Platform};
use crate::rpc::status::from_status;
use crate::rpc::{client, v1};
use crate::secret::Secret;
use crate::state::supervision::SupervisionEvent;
use crate::units::HostPort;

/// Spends the ticket, and tells what came of it.
pub(super) async fn join(ask: client::JoinAsk, start: JoinAddress, events: mpsc::Sender<ShellEvent>) {
    let event = match client::join(&start.addresses, start.trust, &ask).await {
        Ok(joined) => ShellEvent::Joined(Box::new(joined)),
        Err(error) if is_refusal(&error) => SupervisionEvent::JoinRefused(error.to_string()).into(),
        Err(error) => SupervisionEvent::JoinFailed(error.to_string()).into(),
    };
    let _ = events.send(event).await;
}

/// Where to join.
#[derive(Debug, Clone)]
pub(super) struct JoinAddress {
    pub(super) addresses: Vec<HostPort>,
    pub(super) trust: client::Trust,
}

/// What this supervisor says of itself.
pub(in crate::executor) fn ask(start: &ExecutorStart, ticket: Secret) -> client::JoinAsk {
    client::JoinAsk {
        application: start.application.clone(),
        executor: start.executor,
        profile: start.profile,
        incarnation: start.incarnation,
        ticket,
        platform: Platform::current().to_string(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        process: std::process::id(),
    }
}

/// Whether the driver's answer is final. All else (nobody listens, a name that isn't known yet, a broken connection) may
/// be over in a moment.
pub(in crate::executor) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unauthenticated
            | ErrorKind::PermissionDenied
            | ErrorKind::Stale
            | ErrorKind::Protocol
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidRequest
            | ErrorKind::Rejected
            | ErrorKind::Unsupported
    )
}

/// Who to be on the connection.
#[derive(Debug, Clone)]
pub(super) struct LinkIdentity {
    pub(super) addresses: Vec<HostPort>,
    pub(super) application: ApplicationId,
    pub(super) identity: IdentityParts,
}

/// Opens the connection for heartbeats and tells what comes down on it, until its end.
pub(super) async fn link(
    who: LinkIdentity,
    hello: v1::SupervisorHello,
    number: u64,
    events: mpsc::Sender<ShellEvent>,
) {
    let end = match serve(who, hello, number, &events).await {
        Ok(()) => SupervisionEvent::LinkLost("the driver hung up".into()),
        Err(error) if is_refusal(&error) => SupervisionEvent::LinkRefused(error.to_string()),
        Err(error) => SupervisionEvent::LinkLost(error.to_string()),
    };
    let _ = events.send(ShellEvent::Link(number, LinkEvent::Decide(end))).await;
}

async fn serve(
    who: LinkIdentity,
    hello: v1::SupervisorHello,
    number: u64,
    events: &mpsc::Sender<ShellEvent>,
) -> Result<(), Error> {
    let (reports, mut orders) = client::supervise(&who.addresses, &who.application, &who.identity).await?;
    let hello = v1::SupervisorReport { report: Some(v1::supervisor_report::Report::Hello(hello)) };
    if reports.send(hello).await.is_err() {
        return Ok(());
    }
    let _ = events.send(ShellEvent::Link(number, LinkEvent::Opened(reports))).await;
    while let Some(order) = orders.message().await.map_err(|status| from_status(&status))? {
        if let Some(event) = event_of(order) {
            let _ = events.send(ShellEvent::Link(number, LinkEvent::Decide(event))).await;
        }
    }
    Ok(())
}

fn event_of(order: v1::SupervisorOrder) -> Option<SupervisionEvent> {
    use v1::supervisor_order::Order;
    match order.order? {
        Order::Renewed(number) => Some(SupervisionEvent::Renewed(number)),
        Order::Drain(drain) => Some(SupervisionEvent::DrainOrdered(drain.why)),
        Order::End(end) => {
            // A cause that we can't read ends it none the less.
            let cause = serde_json::from_str(&end.cause).unwrap_or(ExitCause::Released);
            Some(SupervisionEvent::EndOrdered(end.why, cause))
        }
    }
}
