//! The daemon's books: nodes, applications, who is where. No process is touched here.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::clock::Moment;
use convoke_core::ids::{ApplicationId, ExecutorId, Name, ProfileId};
use convoke_core::manager::{Blame, ExitCause};
use convoke_core::resource::Resources;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::wire::{FromDaemon, ReasonOnWire, WantedOnWire};

/// All that the daemon knows.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<Name, Node>,
    pub(super) applications: BTreeMap<ApplicationId, Booked>,
    /// What ended applications came to, by native id.
    pub(super) outcomes: BTreeMap<String, String>,
    /// Taken away by a hook, by node.
    pub(super) taken: Vec<(Name, Resources)>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) total: Resources,
    pub(super) free: Resources,
    /// Indexes of the devices that nobody holds.
    free_devices: BTreeMap<Name, BTreeSet<u64>>,
    pub(super) alive: bool,
    pub(super) draining: bool,
    pub(super) disk_full: bool,
    /// Launches that failed here in a row, through no fault of the application: others are tried first (F7).
    pub(super) failures: u32,
}

impl Node {
    pub(super) fn new(total: Resources) -> Node {
        let free_devices =
            total.named.iter().map(|(name, count)| (name.clone(), (0..*count).collect())).collect();
        Node {
            free: total.clone(),
            free_devices,
            total,
            alive: true,
            draining: false,
            disk_full: false,
            failures: 0,
        }
    }

    /// Takes what one needs, which must be there; answers the indexes of its devices.
    fn take(&mut self, need: &Resources) -> BTreeMap<Name, Vec<String>> {
        let _fits = self.free.take(need);
        let take = |(name, count): (&Name, &u64)| {
            let free = self.free_devices.entry(name.clone()).or_default();
            let taken = (0..*count).filter_map(|_| free.pop_first()).map(|index| index.to_string()).collect();
            (name.clone(), taken)
        };
        need.named.iter().filter(|(_, count)| **count > 0).map(take).collect()
    }

    fn give_back(&mut self, placed: &Placed) {
        self.free.give_back(&placed.each);
        for (name, indexes) in &placed.devices {
            let indexes = indexes.iter().filter_map(|index| index.parse::<u64>().ok());
            self.free_devices.entry(name.clone()).or_default().extend(indexes);
        }
    }
}

/// One application.
#[derive(Debug, Default)]
pub(super) struct Booked {
    pub(super) native: String,
    pub(super) lease_ms: u64,
    pub(super) waiting: Vec<WantedOnWire>,
    /// The last that was wanted: a hook grants one more like it.
    pub(super) last: Option<WantedOnWire>,
    /// Stopped, granted or not: a late `start` of one means nothing.
    pub(super) burnt: BTreeSet<ExecutorId>,
    pub(super) executors: BTreeMap<ExecutorId, Placed>,
    pub(super) client: Option<mpsc::UnboundedSender<FromDaemon>>,
    /// Since when it has had no driver.
    pub(super) alone_since: Moment,
    /// The number of its connection: an older one that ends means nothing.
    pub(super) connection: u64,
}

/// One executor that was granted: what the daemon's file keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Placed {
    pub(super) profile: ProfileId,
    pub(super) node: Name,
    pub(super) each: Resources,
    /// Indexes of its devices.
    pub(super) devices: BTreeMap<Name, Vec<String>>,
    /// What the manager did to it, which explains its end.
    pub(super) act: Option<(ExitCause, String)>,
    /// Its guard's process number and start, once it runs.
    pub(super) guard: Option<(i32, u64)>,
    pub(super) exit: Option<(ExitCause, String, Vec<u8>)>,
}

impl Booked {
    pub(super) fn tell(&self, news: FromDaemon) {
        if let Some(client) = &self.client {
            let _ = client.send(news); // a client that has gone is told all of it when it is back
        }
    }

    /// All that a client has to know, in order.
    pub(super) fn replay(&self) -> Vec<FromDaemon> {
        let mut news = Vec::new();
        for (executor, placed) in &self.executors {
            let executor = *executor;
            news.push(self.granted(executor, placed));
            if placed.guard.is_some() {
                news.push(FromDaemon::Launched { executor });
            }
            if let Some((cause, message, log_tail)) = placed.exit.clone() {
                news.push(FromDaemon::Exited { executor, cause, message, log_tail });
            }
        }
        news
    }

    pub(super) fn granted(&self, executor: ExecutorId, placed: &Placed) -> FromDaemon {
        FromDaemon::Granted {
            executor,
            profile: placed.profile,
            native: format!("{}-{executor}", self.native),
            host: placed.node.clone(),
            actual: placed.each.clone(),
            devices: placed.devices.clone(),
        }
    }

    /// Executors that have not exited.
    pub(super) fn live(&self) -> Vec<ExecutorId> {
        self.executors.iter().filter(|(_, placed)| placed.exit.is_none()).map(|(id, _)| *id).collect()
    }
}

impl Cluster {
    /// Grants what fits now; answers what is to be started.
    pub(super) fn place(&mut self) -> Vec<(ApplicationId, WantedOnWire)> {
        let mut starts = Vec::new();
        for (id, booked) in &mut self.applications {
            let mut waiting = Vec::new();
            for wanted in std::mem::take(&mut booked.waiting) {
                let Some(name) = choose(&self.nodes, &wanted) else {
                    waiting.push(wanted);
                    continue;
                };
                let devices = self.nodes.get_mut(&name).map(|node| node.take(&wanted.each));
                let placed = Placed {
                    profile: wanted.profile,
                    node: name,
                    each: wanted.each.clone(),
                    devices: devices.unwrap_or_default(),
                    act: None,
                    guard: None,
                    exit: None,
                };
                booked.tell(booked.granted(wanted.executor, &placed));
                booked.executors.insert(wanted.executor, placed);
                starts.push((id.clone(), wanted));
            }
            booked.waiting = waiting;
        }
        starts
    }

    /// Books the end of an executor, once.
    pub(super) fn exited(
        &mut self,
        application: &ApplicationId,
        executor: ExecutorId,
        cause: ExitCause,
        message: String,
        log_tail: Vec<u8>,
    ) {
        let Some(booked) = self.applications.get_mut(application) else { return };
        let Some(placed) = booked.executors.get_mut(&executor).filter(|placed| placed.exit.is_none()) else {
            return;
        };
        placed.exit = Some((cause.clone(), message.clone(), log_tail.clone()));
        if let Some(node) = self.nodes.get_mut(&placed.node) {
            node.give_back(placed);
            let refused =
                Blame::of(&cause) == Blame::Infrastructure && matches!(cause, ExitCause::LaunchFailed(_));
            node.failures = if refused { node.failures.saturating_add(1) } else { 0 };
        }
        booked.tell(FromDaemon::Exited { executor, cause, message, log_tail });
    }

    /// Takes what one executor holds off the books of its node: after a restart of the daemon.
    pub(super) fn occupy(&mut self, placed: &Placed) {
        if let Some(node) = self.nodes.get_mut(&placed.node) {
            let _fits = node.free.take(&placed.each);
            for (name, indexes) in &placed.devices {
                let free = node.free_devices.entry(name.clone()).or_default();
                free.retain(|index| !indexes.contains(&index.to_string()));
            }
        }
    }

    /// Why one like this is not granted.
    pub(super) fn reasons(&self, like: &WantedOnWire) -> Vec<ReasonOnWire> {
        let mut reasons = Vec::new();
        let usable = || self.nodes.values().filter(|node| node.alive && !node.draining);
        for (resource, needed) in like.each.amounts().filter(|(_, needed)| *needed > 0) {
            let Ok(name) = Name::new(resource) else { continue };
            let amount = |of: &Resources| of.amounts().find(|(r, _)| *r == resource).map_or(0, |(_, a)| a);
            let total = usable().map(|node| amount(&node.total)).max().unwrap_or(0);
            let free = usable().map(|node| amount(&node.free)).max().unwrap_or(0);
            if total == 0 {
                reasons.push(ReasonOnWire::NoSuch(name));
            } else if total < needed {
                reasons.push(ReasonOnWire::TooLarge { resource: name, needed, largest: total });
            } else if free < needed {
                reasons.push(ReasonOnWire::NotFree { resource: name, needed, largest: free });
            }
        }
        for required in &like.required {
            if !self.nodes.keys().any(|host| satisfies(host, required)) {
                let (attribute, value, _) = required.clone();
                reasons.push(ReasonOnWire::Unmatched { attribute, value });
            }
        }
        if self.nodes.keys().all(|host| like.excluded.contains(host)) {
            reasons.push(ReasonOnWire::Excluded(like.excluded.clone()));
        }
        let draining = self.nodes.values().filter(|node| node.draining).count();
        if draining > 0 {
            reasons.push(ReasonOnWire::Draining(u32::try_from(draining).unwrap_or(u32::MAX)));
        }
        reasons
    }
}

/// The node for one: a preferred one where it fits, else of those that launch well the one with most free memory.
fn choose(nodes: &BTreeMap<Name, Node>, wanted: &WantedOnWire) -> Option<Name> {
    let fits = |name: &Name, node: &Node| {
        node.alive
            && !node.draining
            && !wanted.excluded.contains(name)
            && wanted.required.iter().all(|required| satisfies(name, required))
            && node.free.fits(&wanted.each)
    };
    let preferred =
        wanted.preferred.iter().find(|name| nodes.get(*name).is_some_and(|node| fits(name, node)));
    preferred.cloned().or_else(|| {
        let candidates = nodes.iter().filter(|(name, node)| fits(name, node));
        candidates
            .max_by_key(|(_, node)| (std::cmp::Reverse(node.failures), node.free.memory))
            .map(|(name, _)| name.clone())
    })
}

fn satisfies(host: &Name, (attribute, value, equal): &(Name, String, bool)) -> bool {
    attribute.as_str() == "host" && (host.as_str() == value) == *equal
}
