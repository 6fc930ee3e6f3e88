//! From the target to wishes and withdrawals.

use std::collections::BTreeMap;

use super::executor::Executor;
use super::{AllocationState, Brake};
use crate::clock::Moment;
use crate::ids::{ExecutorId, ProfileId};
use crate::manager::Wanted;

/// Shares `room` among profiles that need so many each, one at a time in turn, so that none starves another (A9).
pub(super) fn shares(needs: &BTreeMap<ProfileId, usize>, mut room: usize) -> BTreeMap<ProfileId, usize> {
    let mut shares: BTreeMap<ProfileId, usize> = needs.keys().map(|profile| (*profile, 0)).collect();
    loop {
        let hungry: Vec<ProfileId> = needs
            .iter()
            .filter(|(profile, need)| shares[profile] < **need)
            .map(|(profile, _)| *profile)
            .collect();
        if hungry.is_empty() || room == 0 {
            return shares;
        }
        // all get what the least needy still lacks, or an even part of the room
        let least = hungry.iter().map(|profile| needs[profile] - shares[profile]).min().unwrap_or(0);
        let each = (room / hungry.len()).min(least);
        for profile in &hungry {
            let part = if each > 0 { each } else { usize::from(room > 0) };
            if let Some(share) = shares.get_mut(profile) {
                *share += part;
            }
            room -= part;
        }
    }
}

impl AllocationState {
    /// Brings what is wanted in line with the wish: withdraws what is too much or was wanted for elsewhere, and wants what
    /// lacks (A1 to A4, A9, A10, A12).
    pub(super) fn reconcile(&mut self, now: Moment) {
        self.unsettled = false;
        self.held_until = None;
        self.restate();

        let full = self.ledger.is_full();
        let most = self.settings.max_executors as usize;
        let mut needs = BTreeMap::new();
        let mut live = 0;
        let waiting_of: Vec<(ProfileId, usize)> = {
            self.roster
                .tallies()
                .map(|(profile, tally)| {
                    live += tally.live;
                    (profile, tally.waiting.len())
                })
                .collect()
        };
        for (profile, want) in &self.target.profiles {
            let tally = self.roster.tally(*profile);
            let waiting = tally.map_or(0, |tally| tally.waiting.len());
            let mut need = (want.executors as usize).saturating_sub(tally.map_or(0, |tally| tally.live));
            let pause = self.profiles.get(profile).and_then(|profile| pause_until(profile, now));
            if need > waiting && (full || pause.is_some()) {
                need = waiting; // what exits is not replaced for now (L1, L5)
                self.held_until = self.held_until.into_iter().chain(pause).min();
            }
            needs.insert(*profile, need);
        }
        let shares = shares(&needs, most.saturating_sub(live + self.roster.leaving()));

        for (profile, waiting) in waiting_of {
            let share = shares.get(&profile).copied().unwrap_or(0);
            for _ in share..waiting {
                let Some(id) = self.first_to_withdraw(profile) else { break };
                self.withdraw(id);
            }
        }
        // those being withdrawn count until the manager has said that they are (A12)
        let mut slack = most.saturating_sub(self.roster.len() + self.calls.strays_that_count());
        for (profile, share) in shares {
            let waiting = self.roster.tally(profile).map_or(0, |tally| tally.waiting.len());
            for _ in 0..share.saturating_sub(waiting).min(slack) {
                self.want(profile);
                slack -= 1;
            }
        }
    }

    /// What waits under another placement or exclusion than now wished is withdrawn, and wanted anew (A10).
    fn restate(&mut self) {
        if self.restated == self.generation {
            return;
        }
        self.restated = self.generation;
        let mut stale = Vec::new();
        for (profile, tally) in self.roster.tallies() {
            let Some(want) = self.target.profiles.get(&profile) else { continue };
            stale.extend(tally.waiting.iter().copied().filter(|id| {
                self.roster.get(*id).is_some_and(|executor| {
                    executor.wanted.placement != want.placement || executor.wanted.excluded != self.excluded
                })
            }));
        }
        for id in stale {
            self.withdraw(id);
        }
    }

    /// The one that was wanted last: the manager knows least of it.
    fn first_to_withdraw(&self, profile: ProfileId) -> Option<ExecutorId> {
        self.roster.tally(profile)?.waiting.last().copied()
    }

    fn want(&mut self, profile: ProfileId) {
        let Some(want) = self.target.profiles.get(&profile) else { return };
        let id = ExecutorId(self.next_id);
        self.next_id += 1; // never used again (L4)
        let wanted = Wanted {
            executor: id,
            profile: want.profile.clone(),
            placement: want.placement.clone(),
            excluded: self.excluded.clone(),
        };
        self.roster.insert(&self.settings, Executor::new(wanted));
        self.calls.want_start(id);
    }

    /// Takes back what nothing was seen of yet (A4); news of it that was on its way is then nobody's (F8).
    pub(super) fn withdraw(&mut self, id: ExecutorId) {
        let Some(executor) = self.roster.remove(&self.settings, id) else { return };
        self.calls.forget_start(id);
        if executor.tried {
            self.calls.stop_stray(id, true);
        }
        self.unsettled = true;
    }
}

/// The end of the pause before more of this profile is wanted (L5).
pub(super) fn pause_until(profile: &super::Profile, now: Moment) -> Option<Moment> {
    let until = |brake: &Brake| brake.until(now);
    until(&profile.brake).into_iter().chain(until(&profile.pace)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a9_shares_are_fair_and_waste_nothing(needs in proptest::collection::btree_map(0_u32..6, 0_usize..50, 0..5), room in 0_usize..120) {
            let needs: BTreeMap<ProfileId, usize> = needs.into_iter().map(|(p, n)| (ProfileId(p), n)).collect();
            let shares = shares(&needs, room);
            let total: usize = shares.values().sum();
            prop_assert_eq!(total, room.min(needs.values().sum()));
            for (profile, share) in &shares {
                prop_assert!(*share <= needs[profile]);
                for (other, more) in &shares {
                    // nobody has more than one above a neighbour that still lacks something
                    prop_assert!(*share == needs[profile] || *more <= share + 1, "{:?} {:?}", profile, other);
                }
            }
        }
    }
}
