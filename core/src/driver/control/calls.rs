//! What executors ask and report: joins, streams, accounts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Control, Order};
use crate::clock;
use crate::driver::program::ExecutorProgram;
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::manager::{Exit, ExitCause, Heard};
use crate::resource::ResourceProfile;
use crate::rpc::refusal::Refusal;
use crate::rpc::{status, v1, version};
use crate::state::executors::ExecutorEvent;
use crate::units::HostPort;

/// Orders that may wait for a supervisor that doesn't read. With more it is hung up on.
const ORDERS_WAITING: usize = 64;
/// Kept of what an executor says of its end, or of why it will go.
const MESSAGE_BYTES: usize = 4 << 10;
/// The longest path of Linux.
const PATH_BYTES: usize = 4 << 10;
/// Kept of the end of an executor's standard error.
const LOG_TAIL_BYTES: usize = 16 << 10;

impl Control {
    /// A join: each way to be refused is a reason of its own (D1, D2).
    pub(in crate::driver) fn join(
        &self,
        ask: &v1::JoinRequest,
    ) -> Result<v1::JoinResponse, (Refusal, Status)> {
        let refuse = |refusal: Refusal| (refusal, Status::from(refusal));
        version::check(ask.protocol, &ask.version)
            .map_err(|error| (Refusal::OtherProtocol, status::to_status(&error)))?;
        if ask.application != self.application_id.as_str() {
            return Err(refuse(Refusal::OtherApplication));
        }
        if ask.incarnation != self.incarnation.0 {
            return Err(refuse(Refusal::OtherIncarnation));
        }
        let (executor, profile) = (ExecutorId(ask.executor), ProfileId(ask.profile));
        if !self.office.is_ticket(&ask.ticket, executor, profile) {
            return Err(refuse(Refusal::WrongTicket));
        }
        let mut assignment = {
            let inner = self.inner();
            inner.table.may_join(executor).map_err(refuse)?;
            let profile = inner.profiles.get(&profile).cloned();
            // A genuine ticket of a profile that was never wished for: the launcher was asked by somebody else.
            let profile = profile.ok_or_else(|| refuse(Refusal::WithdrawnTicket))?;
            self.assignment(&profile)
        };
        self.artifacts.assign(&ask.platform, &mut assignment);
        let mut answer = v1::JoinResponse { assignment: Some(assignment), ..Default::default() };
        match &self.authority {
            Some(authority) => {
                let certificate = authority
                    .executor(&ask.certificate_request, executor, self.incarnation)
                    .map_err(|error| (Refusal::BadCertificateRequest, status::to_status(&error)))?;
                answer.certificate = certificate.to_vec().into();
                answer.authority = authority.certificate().to_vec().into();
            }
            None => answer.session = self.office.session(executor).expose().to_vec().into(),
        }
        let application = self.application().ok_or_else(|| refuse(Refusal::NotServing))?;
        if !application.heard(executor, Heard::Joined) {
            self.inner().table.withdrawn(executor);
            return Err(refuse(Refusal::WithdrawnTicket));
        }
        let host = Name::new(&ask.host).ok(); // only for people; a host that says nonsense of itself has no name
        self.inner().connections.entry(executor).or_default().process = Some(ask.process);
        self.feed(|table, out| table.join(clock::now(), executor, profile, host, out));
        Ok(answer)
    }

    fn assignment(&self, profile: &ResourceProfile) -> v1::Assignment {
        let settings = &self.settings;
        let program = settings.executor_program.as_ref();
        let own = program.map(ExecutorProgram::environment).into_iter().flatten();
        let environment = settings.executor_env.iter().chain(own);
        let environment = environment.map(|(name, value)| (name.clone(), value.clone())).collect();
        v1::Assignment {
            slots: profile.slots(),
            cpus_millis: profile.each.cpus.millis(),
            memory_mib: profile.each.memory.0,
            heartbeat_interval_ms: millis(settings.heartbeat_interval),
            lost_after_ms: millis(settings.lost_after),
            lease_ms: millis(settings.lease),
            end_grace_ms: millis(settings.end_grace),
            environment,
            foreign: program.map(ExecutorProgram::assignment),
            program_sha256: String::new(),
            program_missing: String::new(),
            files: Vec::new(),
            inline_bytes: u32::try_from(settings.inline_payload_bytes).unwrap_or(0),
        }
    }

    /// Opens a supervisor's stream: where its orders come from, and what ends it.
    pub(in crate::driver) fn supervise(
        &self,
        executor: ExecutorId,
        calling: Option<IpAddr>,
    ) -> Result<(mpsc::Receiver<Order>, CancellationToken), Refusal> {
        let (sender, orders) = mpsc::channel(ORDERS_WAITING);
        let cancel = {
            let mut inner = self.inner();
            inner.table.may_supervise(executor)?;
            let connections = inner.connections.entry(executor).or_default();
            connections.orders = Some(sender);
            connections.calling = calling;
            connections.cancel.clone()
        };
        self.handle(executor, ExecutorEvent::Supervised);
        Ok((orders, cancel))
    }

    /// Takes in a supervisor's report.
    pub(in crate::driver) fn report(&self, executor: ExecutorId, report: v1::SupervisorReport) {
        use v1::supervisor_report::Report;
        let event = match report.report {
            Some(Report::Hello(hello)) => {
                if let Some(connections) = self.inner().connections.get_mut(&executor) {
                    connections.process = Some(hello.process);
                    connections.directory = Some(bounded(hello.directory, PATH_BYTES));
                }
                return;
            }
            Some(Report::Heartbeat(beat)) => ExecutorEvent::Heartbeat {
                number: beat.number,
                program_silent: Duration::from_millis(beat.program_silent_ms),
            },
            Some(Report::Ready(ready)) => {
                self.program_is_ready(executor, ready);
                ExecutorEvent::Ready
            }
            Some(Report::Ended(ended)) => ExecutorEvent::Ended(account(ended)),
            Some(Report::Eviction(notice)) => {
                ExecutorEvent::Evicted { why: bounded(notice.why, MESSAGE_BYTES) }
            }
            None => return, // of a newer minor version: nothing that we could know
        };
        self.handle(executor, event);
    }

    /// Its process is known, and where it can be dialled if it doesn't link convoke.
    fn program_is_ready(&self, executor: ExecutorId, ready: v1::ProgramReady) {
        let mut inner = self.inner();
        let host = inner.table.entry(executor).and_then(|entry| entry.host.clone());
        let Some(connections) = inner.connections.get_mut(&executor) else { return };
        connections.program = Some(ready.process);
        if let Some(program) = &self.settings.executor_program {
            let ports = ready.ports.into_iter().collect();
            connections.addresses = program.addresses(&ports, connections.calling, host.as_ref());
        }
    }

    /// Where its program can be dialled.
    pub(super) fn addresses(&self, executor: ExecutorId) -> BTreeMap<String, HostPort> {
        let inner = self.inner();
        inner.connections.get(&executor).map(|connections| connections.addresses.clone()).unwrap_or_default()
    }

    /// A program's stream of tasks is about to open: what ends it, and its number.
    pub(in crate::driver) fn attaching(
        &self,
        executor: ExecutorId,
    ) -> Result<(CancellationToken, u64), Refusal> {
        let mut inner = self.inner();
        inner.table.counts(executor)?;
        let connections = inner.connections.entry(executor).or_default();
        connections.attach += 1;
        Ok((connections.cancel.clone(), connections.attach))
    }

    /// A program's stream of tasks broke; only the newest matters.
    pub(in crate::driver) fn detached(&self, executor: ExecutorId, number: u64) {
        let newest =
            self.inner().connections.get(&executor).is_some_and(|connections| connections.attach == number);
        if newest {
            self.handle(executor, ExecutorEvent::Detached);
        }
    }

    /// What ends the transfers of an executor.
    pub(in crate::driver) fn transfer(&self, executor: ExecutorId) -> Result<CancellationToken, Refusal> {
        let mut inner = self.inner();
        inner.table.counts(executor)?;
        Ok(inner.connections.entry(executor).or_default().cancel.clone())
    }
}

/// A supervisor's account; what can't be read of it is unknown.
fn account(ended: v1::ExecutorEnded) -> Exit {
    let cause = serde_json::from_str(&ended.cause).unwrap_or_else(|error| {
        let cause = bounded(ended.cause, 200);
        tracing::warn!(%error, ?cause, "an account with a cause that isn't one");
        ExitCause::Unknown
    });
    let tail = ended.log_tail.slice(ended.log_tail.len().saturating_sub(LOG_TAIL_BYTES)..);
    Exit::new(cause, bounded(ended.message, MESSAGE_BYTES)).with_log_tail(tail)
}

/// What an executor says of itself is kept and printed: never much of it.
fn bounded(mut text: String, most_bytes: usize) -> String {
    if text.len() > most_bytes {
        let end = (0..=most_bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
