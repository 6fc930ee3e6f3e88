//! The end of an executor: verdicts, waiting for the other witness, the one exit, and what it counts for.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::causes::{Witnesses, is_act_of_the_manager};
use super::executor::{Executor, Leaving, Stop, Tail};
use super::{AllocationCommand, AllocationState, Phase};
use crate::clock::Moment;
use crate::ids::ExecutorId;
use crate::manager::{Blame, Exit, ExitCause, Grant, LaunchFailure, What};
use crate::units::format_duration;

/// So much of a log's end is kept in an exit.
const MOST_TAIL_BYTES: usize = 16 << 10;
/// So much of a message is kept in an exit.
const MOST_MESSAGE_BYTES: usize = 4 << 10;

/// The exit, with what it carries bounded: events wait in memory.
pub(super) fn bounded(mut exit: Exit) -> Exit {
    if exit.log_tail.len() > MOST_TAIL_BYTES {
        // copied, so that a slice doesn't pin what it was cut from
        exit.log_tail = Bytes::copy_from_slice(&exit.log_tail[exit.log_tail.len() - MOST_TAIL_BYTES..]);
    }
    if exit.message.len() > MOST_MESSAGE_BYTES {
        let end = (0..=MOST_MESSAGE_BYTES).rev().find(|at| exit.message.is_char_boundary(*at)).unwrap_or(0);
        exit.message.truncate(end);
        exit.message.push('…');
    }
    exit
}

impl AllocationState {
    /// Something of this executor is due.
    pub(super) fn alarm(&mut self, now: Moment, id: ExecutorId, out: &mut Vec<AllocationCommand>) {
        let Some(executor) = self.roster.get(id) else { return };
        let due = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if due(executor.wait_until) {
            return self.waited(now, id, out);
        }
        if due(executor.gone_at(self.settings.lease)) {
            return self.conclude(now, id, true, out);
        }
        let reachable = executor.reachable;
        let (launch, join, health) = (
            due(executor.launch_due(&self.settings)),
            due(executor.join_due(&self.settings)),
            due(executor.health_due(&self.settings)),
        );
        if due(executor.stop_due()) {
            self.roster.update(&self.settings, id, |executor| {
                let attempts = match executor.stop {
                    Stop::Sent { attempts, .. } => attempts,
                    _ => 0,
                };
                executor.stop = Stop::Due { attempts };
            });
            self.calls.want_stop(id);
        }
        if health {
            let profile = self.roster.update(&self.settings, id, |executor| {
                executor.healthy = true;
                executor.wanted.profile.id
            });
            if let Some(profile) = profile.and_then(|id| self.profile(id)) {
                profile.brake.ease(id);
                self.unsettled = true;
            }
        }
        if launch && (self.reach.is_lost() || !reachable) {
            // an outage hides news of a launch, and costs nothing (F4)
            self.roster.update(&self.settings, id, |executor| executor.launch_clock = Some(now));
        } else if launch || join {
            self.give_up(now, id, join, out);
        }
    }

    /// The verdict on one that was granted and never launched (L3), or launched and never joined (L6).
    fn give_up(&mut self, now: Moment, id: ExecutorId, launched: bool, out: &mut Vec<AllocationCommand>) {
        let Some(executor) = self.roster.get(id) else { return };
        let policy = &self.settings.policy;
        let place = executor.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        let why = if launched {
            let addresses: Vec<_> = self.settings.driver.iter().map(ToString::to_string).collect();
            let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") };
            Exit::new(
                ExitCause::NeverJoined,
                format!(
                    "it was launched{place}, but didn't join its driver within {}; it tried {addresses}",
                    format_duration(policy.join_deadline)
                ),
            )
        } else {
            Exit::new(
                ExitCause::LaunchFailed(LaunchFailure::Other),
                format!(
                    "it was granted{place}, but its supervisor didn't start within {}",
                    format_duration(policy.launch_deadline)
                ),
            )
        };
        tracing::warn!(executor = %id, %why, "giving up an executor");
        self.let_go(id, Leaving { stop_at: now, why, asked: false });
        if self.logs {
            self.roster.update(&self.settings, id, |executor| executor.tail = Tail::Asked);
            out.push(AllocationCommand::ReadTail(id));
        }
    }

    /// The manager says that it has exited.
    pub(super) fn reported(
        &mut self,
        now: Moment,
        id: ExecutorId,
        exit: Exit,
        out: &mut Vec<AllocationCommand>,
    ) {
        let first = self.roster.update(&self.settings, id, |executor| {
            if executor.reported.is_some() {
                return false;
            }
            executor.reported = Some(bounded(exit));
            executor.wait_until = None;
            true
        });
        match first {
            Some(true) => self.settle(now, id, out),
            _ => tracing::debug!(executor = %id, "doubled news of an exit"),
        }
    }

    /// Concludes where both witnesses have spoken, or the one that hasn't won't; else waits for it a while (L2).
    pub(super) fn settle(&mut self, now: Moment, id: ExecutorId, out: &mut Vec<AllocationCommand>) {
        let Some(executor) = self.roster.get(id) else { return };
        let Some(reported) = &executor.reported else { return };
        if executor.may_account() && !is_act_of_the_manager(&reported.cause) {
            let until = now + self.settings.policy.cause_wait;
            self.roster.update(&self.settings, id, |executor| {
                executor.wait_until.get_or_insert(until);
            });
        } else {
            self.conclude(now, id, false, out);
        }
    }

    fn waited(&mut self, now: Moment, id: ExecutorId, out: &mut Vec<AllocationCommand>) {
        let account = self.roster.update(&self.settings, id, |executor| {
            executor.wait_until = None;
            executor.reported.is_none().then(|| executor.account.clone()).flatten()
        });
        match account {
            Some(Some(account)) => {
                // its supervisor said that it ended, and the manager says nothing: a verdict, as any other
                self.let_go(id, Leaving { stop_at: now, why: account, asked: false });
            }
            Some(None) => self.conclude(now, id, true, out),
            None => {}
        }
    }

    pub(super) fn tail_read(
        &mut self,
        now: Moment,
        id: ExecutorId,
        tail: Bytes,
        out: &mut Vec<AllocationCommand>,
    ) {
        let over = self.roster.update(&self.settings, id, |executor| {
            executor.tail = Tail::Read(tail);
            executor.reported.is_some() && !executor.may_account()
        });
        if over == Some(true) {
            self.roster.update(&self.settings, id, |executor| executor.wait_until = None);
            self.conclude(now, id, false, out);
        }
    }

    /// Makes the one exit, after a look at the log where only that explains it and there is time (L3, L6).
    fn conclude(&mut self, now: Moment, id: ExecutorId, waited: bool, out: &mut Vec<AllocationCommand>) {
        let Some(executor) = self.roster.get(id) else { return };
        let mut exit = Witnesses {
            reported: executor.reported.as_ref(),
            account: executor.account.as_ref(),
            leaving: executor.leaving.as_ref(),
            stop_sent: executor.stop_sent(),
            reachable: executor.reachable,
        }
        .exit();
        if exit.log_tail.is_empty() && matches!(self.phase, Phase::Open) {
            match &executor.tail {
                Tail::Read(tail) => {
                    exit.log_tail = tail.clone();
                    exit = bounded(exit);
                }
                Tail::NotAsked | Tail::Asked if waited || !self.logs || !wants_tail(&exit.cause) => {}
                tail => {
                    if *tail == Tail::NotAsked {
                        out.push(AllocationCommand::ReadTail(id));
                    }
                    let until = now + self.settings.policy.cause_wait;
                    self.roster.update(&self.settings, id, |executor| {
                        executor.tail = Tail::Asked;
                        executor.wait_until = Some(until);
                    });
                    return;
                }
            }
        }
        self.finish(now, id, exit);
    }

    /// Writes the exit, once and last (L1), and counts it.
    fn finish(&mut self, now: Moment, id: ExecutorId, exit: Exit) {
        let Some(executor) = self.roster.remove(&self.settings, id) else { return };
        self.calls.forget(id);
        self.unsettled = true;
        let confirmed = executor.reported.is_some();
        if !confirmed && !matches!(executor.stop, Stop::Sent { .. }) && matches!(self.phase, Phase::Open) {
            // declared over by the lease while the manager was away: it still hears of it
            self.calls.stop_stray(id, false);
        }
        if executor.granted_at.is_none() {
            // the manager never told of the grant, or tells it too late: what ends was granted first (L1)
            self.ledger.write(now, What::Granted(untold_grant(&executor)));
        } else if executor.leaving.is_none()
            && let Some(profile) = self.profile(executor.wanted.profile.id)
        {
            profile.granted = profile.granted.saturating_sub(1);
        }
        tracing::debug!(executor = %id, %exit, blame = ?exit.blame, "exited");
        self.ledger.write(now, What::Exited { executor: id, exit: exit.clone() });
        if matches!(self.phase, Phase::Open)
            && !executor.leaving.as_ref().is_some_and(|leaving| leaving.asked)
        {
            self.count(now, &executor, &exit);
        }
    }

    /// Counts an exit that nobody asked for (L5): on the application's blame towards its brake, else, if it never joined,
    /// towards the pace.
    fn count(&mut self, now: Moment, executor: &Executor, exit: &Exit) {
        let next = ExecutorId(self.next_id);
        let id = executor.wanted.profile.id;
        let (policy, jitter) = (&self.settings.policy, &mut self.jitter);
        let Some(profile) = self.profiles.get_mut(&id) else { return };
        if exit.blame == Blame::Application {
            if let Some(next_try) = profile.brake.count(now, exit, next, &policy.brake, jitter) {
                let what = What::ExecutorsFailing {
                    profile: id,
                    recent: profile.brake.recent(),
                    last: exit.clone(),
                    next_try,
                };
                self.ledger.write(now, what);
            }
        } else if executor.joined_at.is_none() {
            profile.pace.count(now, exit, next, &policy.pace, jitter);
        }
    }

    /// Counts the end of one that will make no event.
    pub(super) fn count_unjoined(&mut self, now: Moment, id: ExecutorId, exit: &Exit) {
        let next = ExecutorId(self.next_id);
        let Some(profile) = self.roster.get(id).map(|executor| executor.wanted.profile.id) else { return };
        if let Some(profile) = self.profiles.get_mut(&profile) {
            profile.pace.count(now, exit, next, &self.settings.policy.pace, &mut self.jitter);
        }
    }

    /// Ends every executor's account: nothing of the application is left.
    pub(super) fn close_accounts(&mut self, now: Moment, why: &Exit) {
        let mut no_call = Vec::new(); // nothing is asked any more
        for id in self.roster.ids() {
            let seen =
                self.roster.get(id).is_some_and(|executor| executor.role() != super::executor::Role::Waiting);
            if !seen {
                self.roster.remove(&self.settings, id);
                continue;
            }
            let leaving = Leaving { stop_at: now, why: why.clone(), asked: true };
            self.let_go(id, leaving);
            self.roster.update(&self.settings, id, |executor| executor.reachable = true);
            self.conclude(now, id, true, &mut no_call);
        }
    }
}

/// Exits that a person can't mend without the log.
fn wants_tail(cause: &ExitCause) -> bool {
    matches!(cause, ExitCause::LaunchFailed(_) | ExitCause::NeverJoined | ExitCause::NeverReady)
}

/// A grant that the manager didn't tell, or not in time: at least the profile's resources, on no known host.
fn untold_grant(executor: &Executor) -> Grant {
    Grant {
        executor: executor.wanted.executor,
        profile: executor.wanted.profile.id,
        native: String::new(),
        host: None,
        actual: executor.wanted.profile.each.clone(),
        devices: BTreeMap::new(),
    }
}
