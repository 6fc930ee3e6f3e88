use std::collections::BTreeMap;

use convoke_core::clock::Moment;
use convoke_core::ids::{ExecutorId, ProfileId};
use convoke_core::manager::{Event, Exit, Grant, What};

/// What the kit, as a driver, has been told of one application so far: its events, and what they come to.
#[derive(Debug, Default)]
pub struct View {
    /// Every event with the moment it was read.
    pub events: Vec<(Moment, Event)>,
    /// What became of each executor.
    pub executors: BTreeMap<ExecutorId, Told>,
    /// Whether the stream has ended.
    pub over: bool,
}

/// What was told of one executor.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// Its grant.
    pub granted: Option<Grant>,
    /// When the grant was read.
    pub granted_at: Moment,
    /// Whether it was launched.
    pub launched: bool,
    /// How it ended.
    pub exited: Option<Exit>,
    /// When that was read.
    pub exited_at: Moment,
}

impl View {
    pub(crate) fn add(&mut self, at: Moment, event: Event) {
        match &event.what {
            What::Granted(grant) => {
                let told = self.executors.entry(grant.executor).or_default();
                if told.exited.is_some() {
                    *told = Told::default(); // an id that is used again (L4)
                }
                told.granted = Some(grant.clone());
                told.granted_at = at;
            }
            What::Launched { executor, .. } => self.executors.entry(*executor).or_default().launched = true,
            What::Exited { executor, exit } => {
                let told = self.executors.entry(*executor).or_default();
                told.exited = Some(exit.clone());
                told.exited_at = at;
            }
            _ => {}
        }
        self.events.push((at, event));
    }

    /// Executors granted and not exited, in the order of their ids.
    #[must_use]
    pub fn live(&self) -> Vec<ExecutorId> {
        self.executors
            .iter()
            .filter(|(_, told)| told.granted.is_some() && told.exited.is_none())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The same, of one profile.
    #[must_use]
    pub fn live_of(&self, profile: ProfileId) -> Vec<ExecutorId> {
        self.live().into_iter().filter(|id| self.profile(*id) == Some(profile)).collect()
    }

    /// The profile that an executor was granted for.
    #[must_use]
    pub fn profile(&self, executor: ExecutorId) -> Option<ProfileId> {
        self.executors.get(&executor)?.granted.as_ref().map(|grant| grant.profile)
    }

    /// How an executor ended.
    #[must_use]
    pub fn exit(&self, executor: ExecutorId) -> Option<&Exit> {
        self.executors.get(&executor)?.exited.as_ref()
    }

    /// How many have exited.
    #[must_use]
    pub fn exits(&self) -> usize {
        self.executors.values().filter(|told| told.exited.is_some()).count()
    }

    /// Events of a kind, with the moment each was read.
    pub fn find<'a, T>(
        &'a self,
        which: impl Fn(&'a What) -> Option<T> + 'a,
    ) -> impl Iterator<Item = (Moment, T)> + 'a {
        self.events.iter().filter_map(move |(at, event)| Some((*at, which(&event.what)?)))
    }

    /// In short, for a failure's text.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} granted, {} live, {} exited of {} executors told of{}",
            self.executors.values().filter(|told| told.granted.is_some()).count(),
            self.live().len(),
            self.exits(),
            self.executors.len(),
            if self.over { "; the stream has ended" } else { "" }
        )
    }
}

/// An event in one line.
pub(crate) fn line(event: &Event) -> String {
    let what = match &event.what {
        What::Granted(grant) => format!(
            "granted {:?} {:?} on {} ({}) as {}",
            grant.executor,
            grant.profile,
            grant.host.as_ref().map_or("?", |host| host.as_str()),
            grant.actual,
            grant.native
        ),
        What::Launched { executor, .. } => format!("launched {executor:?}"),
        What::Exited { executor, exit } => format!("exited {executor:?}: {exit} (blame: {:?})", exit.blame),
        What::Unreachable { executor } => format!("unreachable {executor:?}"),
        What::Reachable { executor } => format!("reachable {executor:?}"),
        What::Draining { executors, until, why } => format!("draining {executors:?} until {until:?}: {why}"),
        What::ExecutorsFailing { profile, recent, last, next_try } => {
            format!(
                "executors of {profile:?} fail: {recent} lately, the last {last}; next try in {next_try:?}"
            )
        }
        What::ManagerUnreachable { error } => format!("manager unreachable: {error}"),
        What::ManagerRecovered { outage } => format!("manager recovered after {outage:?}"),
        What::Ended { outcome, by } => format!("ended {outcome:?} by {by:?}"),
        other => format!("{other:?}"),
    };
    format!("event {} {what}", event.seq)
}
