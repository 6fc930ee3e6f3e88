use std::collections::{BTreeMap, BTreeSet};

use super::AllocationSettings;
use super::executor::{Executor, Role};
use crate::clock::Moment;
use crate::ids::{ExecutorId, ProfileId};

/// The executors that aren't over, counted by profile and sorted by their next deadline.
///
/// Changed only through [`Roster::update`], so that counts and deadlines can't go astray.
#[derive(Debug, Default)]
pub(super) struct Roster {
    executors: BTreeMap<ExecutorId, Executor>,
    tallies: BTreeMap<ProfileId, Tally>,
    alarms: BTreeSet<(Moment, ExecutorId)>,
    leaving: usize,
}

/// How many executors of one profile there are.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Those that can be withdrawn.
    pub(super) waiting: BTreeSet<ExecutorId>,
    /// Those that count for the target.
    pub(super) live: usize,
}

impl Roster {
    pub(super) fn get(&self, id: ExecutorId) -> Option<&Executor> {
        self.executors.get(&id)
    }

    pub(super) fn contains(&self, id: ExecutorId) -> bool {
        self.executors.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ExecutorId, &Executor)> {
        self.executors.iter().map(|(id, executor)| (*id, executor))
    }

    pub(super) fn ids(&self) -> Vec<ExecutorId> {
        self.executors.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.executors.len()
    }

    /// Those being released.
    pub(super) fn leaving(&self) -> usize {
        self.leaving
    }

    pub(super) fn tally(&self, profile: ProfileId) -> Option<&Tally> {
        self.tallies.get(&profile)
    }

    pub(super) fn tallies(&self) -> impl Iterator<Item = (ProfileId, &Tally)> {
        self.tallies.iter().map(|(profile, tally)| (*profile, tally))
    }

    pub(super) fn insert(&mut self, settings: &AllocationSettings, executor: Executor) {
        let id = executor.wanted.executor;
        self.enter(id, executor.wanted.profile.id, executor.role());
        self.alarms.extend(executor.alarm(settings).map(|at| (at, id)));
        self.executors.insert(id, executor);
    }

    pub(super) fn remove(&mut self, settings: &AllocationSettings, id: ExecutorId) -> Option<Executor> {
        let executor = self.executors.remove(&id)?;
        self.leave(id, executor.wanted.profile.id, executor.role());
        if let Some(at) = executor.alarm(settings) {
            self.alarms.remove(&(at, id));
        }
        Some(executor)
    }

    /// Changes an executor; `None` where there is none.
    pub(super) fn update<R>(
        &mut self,
        settings: &AllocationSettings,
        id: ExecutorId,
        change: impl FnOnce(&mut Executor) -> R,
    ) -> Option<R> {
        let executor = self.executors.get_mut(&id)?;
        let (role, alarm) = (executor.role(), executor.alarm(settings));
        let answer = change(executor);
        let (profile, new_role, new_alarm) =
            (executor.wanted.profile.id, executor.role(), executor.alarm(settings));
        if role != new_role {
            self.leave(id, profile, role);
            self.enter(id, profile, new_role);
        }
        if alarm != new_alarm {
            self.alarms.extend(new_alarm.map(|at| (at, id)));
            if let Some(at) = alarm {
                self.alarms.remove(&(at, id));
            }
        }
        Some(answer)
    }

    /// The executor whose deadline comes first.
    pub(super) fn next_alarm(&self) -> Option<(Moment, ExecutorId)> {
        self.alarms.first().copied()
    }

    fn enter(&mut self, id: ExecutorId, profile: ProfileId, role: Role) {
        let tally = self.tallies.entry(profile).or_default();
        match role {
            Role::Waiting => {
                tally.waiting.insert(id);
            }
            Role::Live => tally.live += 1,
            Role::Leaving => self.leaving += 1,
        }
    }

    fn leave(&mut self, id: ExecutorId, profile: ProfileId, role: Role) {
        let tally = self.tallies.entry(profile).or_default();
        match role {
            Role::Waiting => {
                tally.waiting.remove(&id);
            }
            Role::Live => tally.live -= 1,
            Role::Leaving => self.leaving -= 1,
        }
    }
}
