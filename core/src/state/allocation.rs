//! The allocation side of one application: what is wanted, what there is, and what to ask the manager for.
//!
//! [`AllocationState`] takes the application's wishes, the manager's news and the answers to calls, and gives calls to make
//! and events to read. It is the whole of [`Managed`](crate::manager::Managed) but for the moving of bytes.

mod brake;
mod calls;
mod causes;
mod census;
mod endings;
mod executor;
mod jitter;
mod ledger;
mod lifecycle;
mod news;
mod reach;
mod reasons;
mod reconciler;
mod roster;
mod wishes;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod rule_tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use ledger::Entry;
pub use reasons::OpenShortfall;

use self::brake::Brake;
use self::calls::Calls;
use self::census::Census;
use self::jitter::Jitter;
use self::ledger::Ledger;
use self::lifecycle::Phase;
use self::reach::Reach;
use self::roster::Roster;
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::manager::{
    EndedBy, ExecutorPolicy, Exit, Generation, Grant, Heard, Outcome, Page, Release, Target, Wanted,
};
use crate::resource::ResourceProfile;
use crate::units::HostPort;

/// What stays the same for one application.
#[derive(Debug, Clone)]
pub struct AllocationSettings {
    /// Hard cap of executors (A12).
    pub max_executors: u32,
    /// With no driver for so long, an executor has ended itself.
    pub lease: Duration,
    /// How executors are given up and replaced.
    pub policy: ExecutorPolicy,
    /// Where executors were told to join (L6 names it).
    pub driver: Vec<HostPort>,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What reaches the machine.
#[derive(Debug)]
pub enum AllocationEvent {
    /// The manager has taken the application.
    Opened {
        /// Whether logs can be read (E2): tails then go into exits.
        logs: bool,
    },
    /// The application's whole wish; [`AllocationState::check`]ed.
    Wished(Target),
    /// The application asks for the end of executors.
    Released(Release),
    /// The driver heard something of an executor.
    Heard(ExecutorId, Heard),
    /// The manager's news.
    News(ManagerNews),
    /// A `start` of these was answered.
    StartAnswered(Vec<ExecutorId>, Result<()>),
    /// A `stop` of these was answered.
    StopAnswered(Vec<ExecutorId>, Result<()>),
    /// A `list` was answered; `None`: the backend pushes it all.
    Listed(Result<Option<Vec<ExecutorId>>>),
    /// A log's tail was read, as far as it could be.
    TailRead(ExecutorId, Bytes),
    /// The application wants its end.
    Unregister {
        /// How it ended.
        outcome: Outcome,
        /// How long the manager may take.
        deadline: Duration,
    },
    /// A `close` was answered.
    CloseAnswered(Result<()>),
    /// Events were read.
    EventsRead,
    /// Nobody will read events any more.
    ReaderDropped,
    /// Time has passed.
    Tick,
}

/// What a backend reports, in any order and repetition.
#[derive(Debug, Clone)]
pub enum ManagerNews {
    /// Whether the manager is in reach.
    Reach(Result<()>),
    /// Resources were granted.
    Granted(Grant),
    /// A supervisor runs.
    Launched(ExecutorId, Vec<Page>),
    /// Whether the manager sees an executor.
    Reachable(ExecutorId, bool),
    /// These will go.
    Draining(Vec<ExecutorId>, Option<SystemTime>, String),
    /// Nothing of it will count again.
    Exited(ExecutorId, Exit),
    /// Somebody else ended the application.
    Ended(Outcome, EndedBy),
}

/// What the shell is to do. Every call but `Close` may overlap with others; none names an executor that a running one names.
#[derive(Debug, Clone)]
pub enum AllocationCommand {
    /// Call `start`; answer with [`AllocationEvent::StartAnswered`].
    Start(Vec<Wanted>),
    /// Call `stop`; answer with [`AllocationEvent::StopAnswered`].
    Stop(Vec<ExecutorId>),
    /// Call `list`; answer with [`AllocationEvent::Listed`].
    List,
    /// Read the tail of an executor's standard error; answer with [`AllocationEvent::TailRead`].
    ReadTail(ExecutorId),
    /// Drop all running calls, then call `close`; answer with [`AllocationEvent::CloseAnswered`].
    Close {
        /// How the application ended.
        outcome: Outcome,
        /// How long it may take.
        deadline: Duration,
    },
}

/// The allocation side of one application, as a pure machine.
#[derive(Debug)]
pub struct AllocationState {
    settings: AllocationSettings,
    jitter: Jitter,
    phase: Phase,
    closes_begun: u64,
    logs: bool,
    /// The wish in force.
    target: Target,
    excluded: Arc<[Name]>,
    generation: u64,
    /// The generation that what waits was last compared with.
    restated: u64,
    profiles: BTreeMap<ProfileId, Profile>,
    next_id: u64,
    roster: Roster,
    calls: Calls,
    census: Census,
    reach: Reach,
    ledger: Ledger,
    /// Something changed that the reconciler looks at.
    unsettled: bool,
    /// The end of the first pause that holds something back.
    held_until: Option<Moment>,
}

/// What is remembered of a profile.
#[derive(Debug)]
struct Profile {
    profile: Arc<ResourceProfile>,
    /// For exits on the application's blame (L5).
    brake: Brake,
    /// For other exits before the join (L5).
    pace: Brake,
    /// Granted and neither released nor exited.
    granted: u32,
    short_since: Option<Moment>,
}

impl AllocationState {
    /// An application that wants nothing yet.
    #[must_use]
    pub fn new(settings: AllocationSettings) -> AllocationState {
        AllocationState {
            jitter: Jitter::new(settings.seed),
            settings,
            phase: Phase::Open,
            closes_begun: 0,
            logs: false,
            target: Target::default(),
            excluded: Arc::from([]),
            generation: 0,
            restated: 0,
            profiles: BTreeMap::new(),
            next_id: 1,
            roster: Roster::default(),
            calls: Calls::default(),
            census: Census::default(),
            reach: Reach::default(),
            ledger: Ledger::new(),
            unsettled: false,
            held_until: None,
        }
    }

    /// Takes in what happened and says what to do.
    pub fn handle(&mut self, now: Moment, event: AllocationEvent, out: &mut Vec<AllocationCommand>) {
        match event {
            AllocationEvent::Opened { logs } => self.logs = logs,
            AllocationEvent::Wished(target) => self.wish(target),
            AllocationEvent::Released(release) => self.release(now, &release),
            AllocationEvent::Heard(executor, news) => self.hear(now, executor, news, out),
            AllocationEvent::News(news) => self.take_news(now, news, out),
            AllocationEvent::StartAnswered(executors, answer) => self.start_answered(now, executors, answer),
            AllocationEvent::StopAnswered(executors, answer) => self.stop_answered(now, executors, answer),
            AllocationEvent::Listed(answer) => self.listed(now, answer, out),
            AllocationEvent::TailRead(executor, tail) => self.tail_read(now, executor, tail, out),
            AllocationEvent::Unregister { outcome, deadline } => {
                self.unregister(now, outcome, deadline, out);
            }
            AllocationEvent::CloseAnswered(answer) => self.close_answered(now, answer),
            AllocationEvent::EventsRead => self.unsettled = true,
            AllocationEvent::ReaderDropped => {
                self.ledger.drop_reader();
                self.unsettled = true;
            }
            AllocationEvent::Tick => {}
        }
        self.pass_deadlines(now, out);
        if matches!(self.phase, Phase::Open) {
            if self.unsettled || self.held_until.is_some_and(|until| until <= now) {
                self.reconcile(now);
            }
            self.make_calls(now, out);
        }
        self.note_shortfalls(now);
    }

    /// When the machine wants a [`AllocationEvent::Tick`] at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let alarm = self.roster.next_alarm().map(|(at, _)| at);
        match &self.phase {
            Phase::Open => [alarm, self.held_until, self.calls.next_deadline(), self.census_due()]
                .into_iter()
                .flatten()
                .min(),
            Phase::Closing { running, over_at, .. } => {
                [alarm, over_at.filter(|_| !running)].into_iter().flatten().min()
            }
            Phase::Over { .. } => None,
        }
    }

    fn pass_deadlines(&mut self, now: Moment, out: &mut Vec<AllocationCommand>) {
        while let Some((at, executor)) = self.roster.next_alarm()
            && at <= now
        {
            self.alarm(now, executor, out);
        }
        self.pass_lifecycle_deadline(now);
    }

    /// The number of the wish in force; it grows with each that changes something.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    /// The next event that waits, if any. [`AllocationEvent::EventsRead`] is due afterwards.
    pub fn read(&mut self, now: Moment) -> Option<Entry> {
        let entry = self.ledger.read()?;
        self.tell_what_collapsed(now, &entry.what);
        Some(entry)
    }

    /// Whether events wait to be read.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        !self.ledger.is_empty()
    }

    /// Whether the last event was written: nothing follows it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ledger.ended()
    }

    /// How many calls of `close` were begun; one at a time runs.
    #[must_use]
    pub fn closes_begun(&self) -> u64 {
        self.closes_begun
    }

    /// Whether this id was ever given to an executor.
    #[must_use]
    pub fn was_wanted(&self, executor: ExecutorId) -> bool {
        executor.0 >= 1 && executor.0 < self.next_id
    }

    fn profile(&mut self, id: ProfileId) -> Option<&mut Profile> {
        self.profiles.get_mut(&id)
    }
}

/// Refuses a target that can't be right, whatever the state.
fn check_target(target: &Target) -> Result<()> {
    for (id, want) in &target.profiles {
        if want.profile.id != *id {
            return Err(Error::invalid("profiles", "a profile stands under another id than its own")
                .with("key", id)
                .with("id", want.profile.id));
        }
        want.profile.check()?;
    }
    Ok(())
}
