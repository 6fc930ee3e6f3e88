//! The shell around the table of executors: feeds it, runs its commands, keeps each executor's connections.
//!
//! Everything here runs on the driver's own thread. Commands are queued and run one after another, so that a call from
//! within one (the task plane condemns an executor that it is just told of) can't overtake the rest.

mod calls;
mod commands;
mod manager;
mod wish;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::artifacts::ArtifactStore;
use super::events::{DriverEvent, EventSource};
use super::settings::DriverSettings;
use super::task_plane::{ExecutorControl, TaskPlane};
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ApplicationId, ExecutorId, Incarnation, Name, ProfileId};
use crate::manager::{Application, EndedBy, Outcome, Target};
use crate::resource::ResourceProfile;
use crate::rpc::authority::Authority;
use crate::rpc::refusal::{RefusalNote, Refusals};
use crate::rpc::ticket::TicketOffice;
use crate::rpc::v1;
use crate::state::executors::{ExecutorCommand, ExecutorEvent, ExecutorPhase, ExecutorTable, ExecutorTimes};
use crate::units::HostPort;

/// An order on its way to a supervisor.
pub(super) type Order = Result<v1::SupervisorOrder, Status>;

pub(super) struct Control {
    pub(super) application_id: ApplicationId,
    pub(super) incarnation: Incarnation,
    pub(super) settings: DriverSettings,
    pub(super) office: Arc<TicketOffice>,
    /// Absent where the driver runs insecure.
    pub(super) authority: Option<Authority>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) artifacts: ArtifactStore,
    pub(super) events: EventSource,
    /// Notified when the next deadline came nearer.
    pub(super) nearer: Notify,
    pub(super) standing: watch::Sender<Standing>,
    inner: Mutex<Inner>,
    application: Mutex<Option<Arc<dyn Application>>>,
    plane: OnceLock<Arc<dyn TaskPlane>>,
}

/// How the application stands, for those who wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    /// Executors that take tasks.
    pub(super) ready: usize,
    /// Executors whose connections are open.
    pub(super) connected: usize,
    /// Set when the application is over.
    pub(super) ended: Option<(Outcome, EndedBy)>,
}

struct Inner {
    table: ExecutorTable,
    commands: VecDeque<ExecutorCommand>,
    /// Somebody up the stack runs the commands.
    running: bool,
    ending: bool,
    connections: BTreeMap<ExecutorId, Connections>,
    target: Target,
    profiles: BTreeMap<ProfileId, Arc<ResourceProfile>>,
}

/// What an executor has open here.
#[derive(Debug)]
struct Connections {
    orders: Option<mpsc::Sender<Order>>,
    /// Ends all of its streams.
    cancel: CancellationToken,
    /// The number of the newest attach.
    attach: u64,
    process: Option<u32>,
    program: Option<u32>,
    directory: Option<String>,
    /// Where its supervisor calls from.
    calling: Option<IpAddr>,
    /// Where its program can be dialled, once that is ready.
    addresses: BTreeMap<String, HostPort>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            orders: None,
            cancel: CancellationToken::new(),
            attach: 0,
            process: None,
            program: None,
            directory: None,
            calling: None,
            addresses: BTreeMap::new(),
        }
    }
}

/// How one executor is, for people and progress displays.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExecutorStatus {
    /// Which.
    pub executor: ExecutorId,
    /// Its profile, once known.
    pub profile: Option<ProfileId>,
    /// Its host.
    pub host: Option<Name>,
    /// How it is.
    pub phase: ExecutorPhase,
    /// Its supervisor's process on that host.
    pub process: Option<u32>,
    /// Its program's process on that host, once that is ready.
    pub program: Option<u32>,
    /// Its folder on that host.
    pub directory: Option<String>,
    /// Where the ports of a program that doesn't link convoke can be dialled, by name, once it is ready (D14).
    pub addresses: BTreeMap<String, HostPort>,
}

impl Control {
    pub(super) fn new(
        application_id: ApplicationId,
        incarnation: Incarnation,
        settings: DriverSettings,
        office: Arc<TicketOffice>,
        authority: Option<Authority>,
        refusals: Arc<Refusals>,
        artifacts: ArtifactStore,
    ) -> Arc<Control> {
        let times = ExecutorTimes {
            lost_after: settings.lost_after,
            cause_wait: settings.cause_wait,
            drain_grace: settings.drain_grace,
        };
        let excluded = settings.excluded_hosts.clone();
        let events = EventSource::new();
        let told = events.clone();
        refusals.tell_with(move |note| {
            let RefusalNote { refusal, from, about, untold } = note;
            told.tell(DriverEvent::Refused { refusal, from, about, untold });
        });
        Arc::new(Control {
            application_id,
            incarnation,
            settings,
            office,
            authority,
            refusals,
            artifacts,
            events,
            nearer: Notify::new(),
            standing: watch::Sender::default(),
            inner: Mutex::new(Inner {
                table: ExecutorTable::new(times),
                commands: VecDeque::new(),
                running: false,
                ending: false,
                connections: BTreeMap::new(),
                target: Target { excluded, ..Target::default() },
                profiles: BTreeMap::new(),
            }),
            application: Mutex::new(None),
            plane: OnceLock::new(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_plane(&self, plane: Arc<dyn TaskPlane>) {
        let _ = self.plane.set(plane); // set once, before anything is served
    }

    pub(super) fn plane(&self) -> Option<&Arc<dyn TaskPlane>> {
        self.plane.get()
    }

    /// The handle at the manager: absent before it is registered and after the end.
    pub(super) fn application(&self) -> Option<Arc<dyn Application>> {
        self.application.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, or what to say where there is none.
    pub(super) fn registered(&self) -> Result<Arc<dyn Application>> {
        self.application().ok_or_else(|| Error::new(ErrorKind::Unavailable, "the driver has ended"))
    }

    pub(super) fn set_application(&self, application: Option<Arc<dyn Application>>) {
        *self.application.lock().unwrap_or_else(PoisonError::into_inner) = application;
    }

    pub(super) fn executors(&self) -> Vec<ExecutorStatus> {
        let inner = self.inner();
        inner
            .table
            .iter()
            .map(|(executor, entry)| {
                let connections = inner.connections.get(&executor);
                ExecutorStatus {
                    executor,
                    profile: entry.profile,
                    host: entry.host.clone(),
                    phase: entry.phase(),
                    process: connections.and_then(|connections| connections.process),
                    program: connections.and_then(|connections| connections.program),
                    directory: connections.and_then(|connections| connections.directory.clone()),
                    addresses: connections
                        .map(|connections| connections.addresses.clone())
                        .unwrap_or_default(),
                }
            })
            .collect()
    }

    /// Whether an executor has joined and still counts.
    pub(super) fn counts(&self, executor: ExecutorId) -> bool {
        self.inner().table.counts(executor).is_ok()
    }

    /// Feeds the table and runs what follows.
    pub(super) fn handle(&self, executor: ExecutorId, event: ExecutorEvent) {
        self.feed(|table, out| table.handle(clock::now(), executor, event, out));
    }

    /// Acts on deadlines. `late`: this very process was held up, so silence proves nothing.
    pub(super) fn tick(&self, late: bool) {
        self.feed(|table, out| {
            let now = clock::now();
            if late {
                table.forgive(now);
            }
            table.tick(now, out);
        });
    }

    pub(super) fn next_deadline(&self) -> Option<clock::Moment> {
        self.inner().table.next_deadline()
    }

    fn feed(&self, step: impl FnOnce(&mut ExecutorTable, &mut Vec<ExecutorCommand>)) {
        let mut inner = self.inner();
        let mut out = Vec::new();
        let before = inner.table.next_deadline();
        step(&mut inner.table, &mut out);
        let after = inner.table.next_deadline();
        inner.commands.extend(out);
        drop(inner);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.nearer.notify_one();
        }
        self.run_commands();
    }

    fn next_command(&self) -> Option<ExecutorCommand> {
        self.inner().commands.pop_front()
    }

    fn publish_standing(&self) {
        let (ready, connected) = {
            let inner = self.inner();
            (inner.table.ready(), inner.connections.len())
        };
        self.standing.send_if_modified(|standing| {
            let changed = (standing.ready, standing.connected) != (ready, connected);
            (standing.ready, standing.connected) = (ready, connected);
            changed
        });
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("application", &self.application_id).finish_non_exhaustive()
    }
}

/// What the task plane holds: it must not keep the driver alive.
#[derive(Debug)]
pub(super) struct WeakControl(pub(super) Weak<Control>);

impl ExecutorControl for WeakControl {
    fn condemn(&self, executor: ExecutorId, why: &str) {
        if let Some(control) = self.0.upgrade() {
            control.handle(executor, ExecutorEvent::Condemned { why: why.to_owned() });
        }
    }

    fn tell(&self, event: DriverEvent) {
        if let Some(control) = self.0.upgrade() {
            control.events.tell(event);
        }
    }
}
