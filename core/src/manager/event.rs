use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use super::{Exit, Outcome, Stream};
use crate::error::Error;
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::resource::Resources;

/// One event of an application's stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// 1, 2, 3 … without a gap (L1).
    pub seq: u64,
    /// When, for people only.
    pub at: SystemTime,
    /// What happened.
    pub what: What,
}

/// What happened to an application or one of its executors.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// The manager gave resources to an executor.
    Granted(Grant),
    /// Its supervisor runs.
    Launched {
        /// Which.
        executor: ExecutorId,
        /// Pages about it.
        pages: Vec<Page>,
    },
    /// Nothing of it will count again: exactly once, and its last event.
    Exited {
        /// Which.
        executor: ExecutorId,
        /// Why, and on whose account.
        exit: Exit,
    },
    /// The manager can't see it; no verdict (F4).
    Unreachable {
        /// Which.
        executor: ExecutorId,
    },
    /// The manager sees it again.
    Reachable {
        /// Which.
        executor: ExecutorId,
    },
    /// The manager's notice that these will go (L7).
    Draining {
        /// Which.
        executors: Vec<ExecutorId>,
        /// When, where the manager names a time.
        until: Option<SystemTime>,
        /// Why, in the manager's words.
        why: String,
    },
    /// Executors of this profile fail in a row; replacements are braked (L5).
    ExecutorsFailing {
        /// Of which profile.
        profile: ProfileId,
        /// How many exits on the application's blame lately.
        recent: u32,
        /// The last of them.
        last: Exit,
        /// How long until the next try.
        next_try: Duration,
    },
    /// The manager is out of reach (F4).
    ManagerUnreachable {
        /// As seen from here.
        error: Error,
    },
    /// The manager is back (F4).
    ManagerRecovered {
        /// How long it was away.
        outage: Duration,
    },
    /// The application is over: the last event of the stream (R6).
    Ended {
        /// How.
        outcome: Outcome,
        /// Who ended it.
        by: EndedBy,
    },
}

/// Resources that were granted to one executor.
#[derive(Debug, Clone)]
pub struct Grant {
    /// To which.
    pub executor: ExecutorId,
    /// Of which profile.
    pub profile: ProfileId,
    /// The manager's own id of it.
    pub native: String,
    /// On which host, spelled as exclusions and placements spell it.
    pub host: Option<Name>,
    /// At least the profile's, as the manager rounded it (A5).
    pub actual: Resources,
    /// Indexes or the devices' own ids; empty where the supervisor looks (A11).
    pub devices: BTreeMap<Name, Vec<String>>,
}

/// A page about an executor that a person can open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it shows (`log`).
    pub title: String,
    /// Where.
    pub url: String,
}

/// Who ended an application.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedBy {
    /// Its own driver.
    Application,
    /// A person, named where known.
    Operator(String),
    /// The manager, in its own words.
    Manager(String),
    /// Nobody in time: the lease ran out.
    Lease,
}

/// The events of one application: single-reader, lossless, in order.
///
/// The ledger is its buffer, so a slow reader costs memory in the number of executors only.
pub struct Events(Stream<Event>);

impl Events {
    /// Wraps a manager's own stream of events.
    pub fn new(stream: impl futures_core::Stream<Item = Event> + Send + 'static) -> Events {
        Events(Box::pin(stream))
    }

    /// The next event, or `None` after [`What::Ended`].
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes no event.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl futures_core::Stream for Events {
    type Item = Event;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
