//! The manager's news, in any order and repetition: made into events in order and exactly once (L1).

use std::time::SystemTime;

use super::executor::{Notice, Role};
use super::{AllocationCommand, AllocationState, ManagerNews, Phase};
use crate::clock::Moment;
use crate::ids::ExecutorId;
use crate::manager::{Exit, ExitCause, Grant, Page, What};

impl AllocationState {
    pub(super) fn take_news(&mut self, now: Moment, news: ManagerNews, out: &mut Vec<AllocationCommand>) {
        if matches!(self.phase, Phase::Over { .. }) {
            tracing::debug!(?news, "news of an application that is over");
            return;
        }
        match news {
            ManagerNews::Reach(Ok(())) => self.manager_found(now, true),
            ManagerNews::Reach(Err(error)) => self.manager_lost(now, error, true),
            ManagerNews::Granted(grant) => self.granted(now, grant),
            ManagerNews::Launched(executor, pages) => self.launched(now, executor, pages),
            ManagerNews::Reachable(executor, yes) => {
                if self.roster.update(&self.settings, executor, |known| known.reachable = yes).is_some() {
                    self.tell_executor_reach(now, executor);
                } else if yes {
                    self.stop_stranger(executor);
                }
            }
            ManagerNews::Draining(executors, until, why) => self.draining(now, executors, until, &why),
            ManagerNews::Exited(executor, exit) => {
                if self.roster.contains(executor) {
                    self.reported(now, executor, exit, out);
                } else {
                    tracing::debug!(%executor, %exit, "late or doubled news of an exit");
                    self.unsettled |= self.calls.forget_stray(executor);
                }
            }
            ManagerNews::Ended(outcome, by) => self.ended_by_others(now, outcome, by),
        }
    }

    fn granted(&mut self, now: Moment, grant: Grant) {
        let id = grant.executor;
        let Some(executor) = self.roster.get(id) else {
            return self.stop_stranger(id); // F8
        };
        if executor.granted_at.is_some() {
            tracing::debug!(executor = %id, "doubled news of a grant");
            return;
        }
        let excluded = grant.host.as_ref().filter(|host| self.excluded.contains(host));
        if let Some(host) = excluded.filter(|_| executor.role() == Role::Waiting) {
            // wanted with this exclusion, and granted there all the same: given back, and not in a spin (A10, L5)
            tracing::warn!(executor = %id, %host, "granted on an excluded host: giving it back");
            let exit = Exit::new(ExitCause::Withdrawn, format!("granted on {host}, which is excluded"));
            self.count_unjoined(now, id, &exit);
            self.withdraw(id);
            self.calls.stop_stray(id, true);
            return;
        }
        let update = self.roster.update(&self.settings, id, |executor| {
            executor.granted_at = Some(now);
            executor.launch_clock = Some(now);
            executor.host.clone_from(&grant.host);
            executor.taken = true;
            executor.tried = true;
            let launched = executor.launch_to_tell.take();
            executor.launched_told = launched.is_some();
            (executor.wanted.profile.id, executor.leaving.is_some(), launched)
        });
        let Some((profile, leaving, launched)) = update else { return };
        self.calls.forget_start(id);
        if let Some(profile) = self.profile(profile).filter(|_| !leaving) {
            profile.granted += 1;
        }
        self.ledger.write(now, What::Granted(Grant { profile, ..grant }));
        if let Some(pages) = launched {
            self.ledger.write(now, What::Launched { executor: id, pages });
        }
        self.tell_executor_reach(now, id);
        self.tell_drains(now, vec![id]);
    }

    fn launched(&mut self, now: Moment, id: ExecutorId, pages: Vec<Page>) {
        let Some(executor) = self.roster.get(id) else { return self.stop_stranger(id) };
        if executor.launched_at.is_some() {
            tracing::debug!(executor = %id, "doubled news of a launch");
            return;
        }
        let granted = executor.granted_at.is_some();
        self.calls.forget_start(id);
        self.roster.update(&self.settings, id, |executor| {
            executor.launched_at = Some(now);
            if granted {
                executor.launched_told = true;
            } else {
                executor.launch_to_tell = Some(pages.clone());
            }
        });
        if granted {
            self.ledger.write(now, What::Launched { executor: id, pages });
        } else {
            self.unsettled = true; // it counts as live from now on
        }
    }

    fn draining(&mut self, now: Moment, executors: Vec<ExecutorId>, until: Option<SystemTime>, why: &str) {
        for id in &executors {
            self.roster.update(&self.settings, *id, |executor| {
                executor.drain = Some(Notice { until, why: why.to_owned() });
            });
        }
        self.tell_drains(now, executors);
    }

    /// Tells the notices that aren't told yet (L7), those alike in one event.
    pub(super) fn tell_drains(&mut self, now: Moment, executors: Vec<ExecutorId>) {
        let mut alike: Vec<(Notice, Vec<ExecutorId>)> = Vec::new();
        for id in executors {
            let Some(executor) = self.roster.get(id) else { continue };
            let Some(notice) = executor.drain.clone() else { continue };
            if executor.granted_at.is_none()
                || executor.told_drain.as_ref() == Some(&notice)
                || !self.ledger.takes_drain(id)
            {
                continue;
            }
            self.roster.update(&self.settings, id, |executor| executor.told_drain = Some(notice.clone()));
            match alike.iter_mut().find(|(told, _)| *told == notice) {
                Some((_, executors)) => executors.push(id),
                None => alike.push((notice, vec![id])),
            }
        }
        for (Notice { until, why }, executors) in alike {
            self.ledger.write(now, What::Draining { executors, until, why });
        }
    }
}
