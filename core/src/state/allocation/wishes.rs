//! What the application asks for: targets, releases, and what its driver heard.

use std::collections::BTreeSet;

use super::executor::{Leaving, Role, Stop};
use super::lifecycle::Phase;
use super::{AllocationCommand, AllocationState, Brake, Profile, check_target};
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::ids::{ExecutorId, ProfileId};
use crate::manager::{Exit, Heard, LiveExecutor, Release, ReleaseAnswer, Snapshot, Target, Then};

impl AllocationState {
    /// Refuses a target that can't be right, or that changes a profile under its id (R2).
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field.
    pub fn check(&self, target: &Target) -> Result<()> {
        check_target(target)?;
        for (id, want) in &target.profiles {
            if self.profiles.get(id).is_some_and(|known| known.profile != want.profile) {
                return Err(Error::invalid("profiles", "a profile never changes under its id")
                    .with("profile", id)
                    .help("give the changed profile an id of its own"));
            }
        }
        Ok(())
    }

    /// Records the whole wish (A1). Reconciling follows.
    pub(super) fn wish(&mut self, target: Target) {
        if target == self.target {
            return;
        }
        for (id, want) in &target.profiles {
            self.profiles.entry(*id).or_insert_with(|| Profile {
                profile: want.profile.clone(),
                brake: Brake::default(),
                pace: Brake::default(),
                granted: 0,
                short_since: None,
            });
        }
        if target.excluded != self.target.excluded {
            self.excluded = target.excluded.as_slice().into();
        }
        self.target = target;
        self.generation += 1;
        self.unsettled = true;
    }

    /// What a release would be answered, executor by executor, in the order asked (A7).
    #[must_use]
    pub fn release_answers(&self, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        let mut seen = BTreeSet::new();
        let answer = |id: &ExecutorId| match self.roster.get(*id) {
            Some(executor) if executor.reported.is_some() => ReleaseAnswer::AlreadyExited,
            Some(executor) if executor.leaving.is_some() || !seen.insert(*id) => {
                ReleaseAnswer::AlreadyReleasing
            }
            Some(_) => ReleaseAnswer::Accepted,
            None if self.was_wanted(*id) => ReleaseAnswer::AlreadyExited,
            None => ReleaseAnswer::NeverHeardOf,
        };
        release
            .executors
            .iter()
            .map(answer)
            .collect::<Vec<_>>()
            .into_iter()
            .zip(&release.executors)
            .map(|(answer, id)| (*id, answer))
            .collect()
    }

    /// Lets executors go (A7): nothing of them is ended before the grace is over (A8).
    pub(super) fn release(&mut self, now: Moment, release: &Release) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        let stop_at = now + release.grace;
        let why = Exit::new(release.why.clone(), "");
        let asked = why.blame == crate::manager::Blame::Nobody;
        for (id, answer) in self.release_answers(release) {
            let Some(executor) = self.roster.get(id) else { continue };
            match answer {
                ReleaseAnswer::Accepted => {
                    if release.then == Then::LowerTarget {
                        let profile = executor.wanted.profile.id;
                        self.lower(profile);
                    }
                    self.let_go(id, Leaving { stop_at, why: why.clone(), asked });
                }
                ReleaseAnswer::AlreadyReleasing => {
                    self.roster.update(&self.settings, id, |executor| {
                        if let Some(leaving) =
                            executor.leaving.as_mut().filter(|_| executor.stop == Stop::Not)
                        {
                            leaving.stop_at = leaving.stop_at.min(stop_at);
                        }
                    });
                }
                ReleaseAnswer::AlreadyExited | ReleaseAnswer::NeverHeardOf => {}
            }
        }
        self.unsettled = true;
    }

    fn lower(&mut self, profile: ProfileId) {
        if let Some(want) = self.target.profiles.get_mut(&profile).filter(|want| want.executors > 0) {
            want.executors -= 1;
            self.generation += 1;
        }
    }

    /// Begins the end of an executor, or withdraws it where nothing of it was seen yet.
    pub(super) fn let_go(&mut self, id: ExecutorId, leaving: Leaving) {
        match self.roster.get(id).map(|executor| (executor.role(), executor.granted_at.is_some())) {
            None | Some((Role::Leaving, _)) => {}
            Some((Role::Waiting, _)) => self.withdraw(id),
            Some((Role::Live, granted)) => {
                let profile = self.roster.update(&self.settings, id, |executor| {
                    executor.leaving = Some(leaving);
                    executor.wanted.profile.id
                });
                self.calls.forget_start(id);
                if let Some(profile) = profile.and_then(|id| self.profile(id)).filter(|_| granted) {
                    profile.granted = profile.granted.saturating_sub(1);
                }
            }
        }
        self.unsettled = true;
    }

    /// Whether an executor is this application's and not over: its driver may keep the connection (F5, F8).
    #[must_use]
    pub fn knows(&self, executor: ExecutorId, news: &Heard) -> bool {
        match self.roster.get(executor) {
            Some(executor) => executor.reported.is_none() || !matches!(news, Heard::Joined),
            None => false,
        }
    }

    /// Takes in what the driver heard itself; it may overtake the manager's news (L1).
    pub(super) fn hear(
        &mut self,
        now: Moment,
        id: ExecutorId,
        news: Heard,
        out: &mut Vec<AllocationCommand>,
    ) {
        if !self.roster.contains(id) {
            if matches!(news, Heard::Joined) && self.was_wanted(id) {
                self.stop_stranger(id);
            }
            return;
        }
        match news {
            Heard::Joined => {
                let profile = self.roster.update(&self.settings, id, |executor| {
                    executor.joined_at.get_or_insert(now);
                    executor.hung_up = false;
                    executor.wanted.profile.id
                });
                self.calls.forget_start(id);
                if let Some(profile) = profile.and_then(|id| self.profile(id)) {
                    profile.pace.ease(id);
                }
                self.unsettled = true;
            }
            Heard::Ended(exit) => {
                let wait_until = now + self.settings.policy.cause_wait;
                self.roster.update(&self.settings, id, |executor| {
                    if executor.account.is_none() {
                        executor.account = Some(super::endings::bounded(exit));
                        // the manager's word is still to come; without it, the account becomes a verdict
                        if executor.reported.is_none() {
                            executor.wait_until = Some(wait_until);
                        }
                    }
                });
                self.settle(now, id, out);
            }
            Heard::HungUp => {
                self.roster.update(&self.settings, id, |executor| executor.hung_up = true);
                self.settle(now, id, out);
            }
        }
    }

    /// The live executors as of the last event.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let executors = self.roster.iter().filter(|(_, executor)| executor.granted_at.is_some());
        Snapshot {
            seq: self.ledger.last_seq(),
            executors: executors
                .map(|(id, executor)| {
                    let live = LiveExecutor {
                        profile: executor.wanted.profile.id,
                        host: executor.host.clone(),
                        launched: executor.launched_told,
                        releasing: executor.leaving.is_some(),
                        reachable: executor.told_reachable,
                    };
                    (id, live)
                })
                .collect(),
        }
    }
}
