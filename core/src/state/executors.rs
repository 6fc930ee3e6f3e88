//! The driver's table of its executors: who may join, who still counts, who is lost, and what to do about it.
//!
//! ```text
//!             join               ready
//! granted ──▶ launched ──▶ joined ──▶ attached ──▶ gone ──▶ ended
//!    └───────────┴───────────────── exited ────────────────▶ ended
//! ```
//!
//! *Gone* means that nothing of it counts any more: its tasks run elsewhere at once. *Ended* comes when the manager has told
//! the cause, or the wait for it is over; whose account lost attempts go on is told then (L2). There is no way back from
//! gone (fencing, F5).

mod leaving;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::ids::{ExecutorId, Name, ProfileId};
use crate::manager::{Exit, ExitCause, Heard, Then};
use crate::rpc::refusal::Refusal;
use crate::units::format_duration;

use leaving::release_now;
pub use news::{ExecutorCommand, ExecutorEvent, ExecutorPhase, ExecutorTimes};

/// One executor in the table.
#[derive(Debug, Clone)]
pub struct ExecutorEntry {
    /// Its profile, once known.
    pub profile: Option<ProfileId>,
    /// Its host: as the manager spells it, else as it says itself.
    pub host: Option<Name>,
    state: State,
    /// When it was last heard of.
    heard: Moment,
    /// Why it drains.
    draining: Option<String>,
    /// When it is to begin to drain, and why.
    drain_at: Option<(Moment, String)>,
    /// The deadline that stands in the table's set for it.
    scheduled: Option<Moment>,
}

#[derive(Debug, Clone)]
enum State {
    Granted,
    Launched,
    Joined { supervised: bool, ready: bool, detached: Option<Moment> },
    Gone { account: Option<Exit>, until: Moment, released: bool },
}

impl ExecutorEntry {
    fn new(now: Moment, state: State) -> ExecutorEntry {
        ExecutorEntry {
            profile: None,
            host: None,
            state,
            heard: now,
            draining: None,
            drain_at: None,
            scheduled: None,
        }
    }

    /// How it is.
    #[must_use]
    pub fn phase(&self) -> ExecutorPhase {
        match self.state {
            State::Granted => ExecutorPhase::Granted,
            State::Launched => ExecutorPhase::Launched,
            State::Gone { .. } => ExecutorPhase::Gone,
            State::Joined { .. } if self.draining.is_some() => ExecutorPhase::Draining,
            State::Joined { ready: true, .. } => ExecutorPhase::Ready,
            State::Joined { ready: false, .. } => ExecutorPhase::Joined,
        }
    }

    fn deadline(&self, times: &ExecutorTimes) -> Option<Moment> {
        match &self.state {
            State::Granted | State::Launched => None,
            State::Gone { until, .. } => Some(*until),
            State::Joined { supervised, detached, .. } => {
                let silence = self.heard + times.lost_after;
                let detached = detached.map(|at| at + times.lost_after);
                let drain = self.drain_at.as_ref().filter(|_| *supervised).map(|(at, _)| *at);
                [Some(silence), detached, drain].into_iter().flatten().min()
            }
        }
    }
}

/// The table.
#[derive(Debug)]
pub struct ExecutorTable {
    times: ExecutorTimes,
    entries: BTreeMap<ExecutorId, ExecutorEntry>,
    /// Who has ended, and whether its ticket was used. Ids are never used again, so this only grows: by two words each.
    ended: BTreeMap<ExecutorId, bool>,
    /// A lower bound of each executor's next deadline.
    deadlines: BTreeSet<(Moment, ExecutorId)>,
}

impl ExecutorTable {
    /// An empty table.
    #[must_use]
    pub fn new(times: ExecutorTimes) -> ExecutorTable {
        ExecutorTable { times, entries: BTreeMap::new(), ended: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// Whether an executor whose ticket is genuine may join now.
    ///
    /// # Errors
    /// A ticket that is spent (its executor lives), replayed (it has ended) or withdrawn (it ended before it joined).
    pub fn may_join(&self, executor: ExecutorId) -> Result<(), Refusal> {
        if let Some(used) = self.ended.get(&executor) {
            return Err(if *used { Refusal::ReplayedTicket } else { Refusal::WithdrawnTicket });
        }
        match self.entries.get(&executor).map(|entry| &entry.state) {
            None | Some(State::Granted | State::Launched) => Ok(()),
            Some(State::Joined { .. }) => Err(Refusal::SpentTicket),
            Some(State::Gone { .. }) => Err(Refusal::ReplayedTicket),
        }
    }

    /// It joined: its ticket is spent. Called where [`may_join`](Self::may_join) allows it and the manager wants it.
    pub fn join(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        profile: ProfileId,
        host: Option<Name>,
        out: &mut Vec<ExecutorCommand>,
    ) {
        let entry = self.entries.entry(executor).or_insert_with(|| ExecutorEntry::new(now, State::Granted));
        entry.state = State::Joined { supervised: false, ready: false, detached: None };
        entry.profile = Some(profile);
        entry.host = entry.host.take().or(host);
        entry.heard = now;
        out.push(ExecutorCommand::Joined(executor));
        self.schedule(executor);
    }

    /// The manager doesn't want it: its ticket is void.
    pub fn withdrawn(&mut self, executor: ExecutorId) {
        self.remove(executor, false);
    }

    /// Whether what comes from this executor counts.
    ///
    /// # Errors
    /// `Fenced` for one that never joined, is gone or has ended.
    pub fn counts(&self, executor: ExecutorId) -> Result<(), Refusal> {
        match self.entries.get(&executor).map(|entry| &entry.state) {
            Some(State::Joined { .. }) => Ok(()),
            _ => Err(Refusal::Fenced),
        }
    }

    /// Whether a supervisor's stream may open: one that counts and has none.
    ///
    /// # Errors
    /// `Fenced`, or `SecondSupervisor`.
    pub fn may_supervise(&self, executor: ExecutorId) -> Result<(), Refusal> {
        match self.entries.get(&executor).map(|entry| &entry.state) {
            Some(State::Joined { supervised: false, .. }) => Ok(()),
            Some(State::Joined { supervised: true, .. }) => Err(Refusal::SecondSupervisor),
            _ => Err(Refusal::Fenced),
        }
    }

    /// Takes in what happened to one executor.
    pub fn handle(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        event: ExecutorEvent,
        out: &mut Vec<ExecutorCommand>,
    ) {
        if self.ended.contains_key(&executor) {
            return; // late or doubled news changes nothing (F8)
        }
        match event {
            ExecutorEvent::Granted { profile, host } => {
                let entry =
                    self.entries.entry(executor).or_insert_with(|| ExecutorEntry::new(now, State::Granted));
                entry.profile = Some(profile);
                entry.host = host.or(entry.host.take());
            }
            ExecutorEvent::Launched => {
                let entry =
                    self.entries.entry(executor).or_insert_with(|| ExecutorEntry::new(now, State::Launched));
                if matches!(entry.state, State::Granted) {
                    entry.state = State::Launched;
                }
            }
            ExecutorEvent::Exited(exit) => self.exited(executor, exit, out),
            event => self.heard_of(now, executor, event, out),
        }
        self.schedule(executor);
    }

    /// What comes from or concerns an executor that has joined.
    fn heard_of(
        &mut self,
        now: Moment,
        executor: ExecutorId,
        event: ExecutorEvent,
        out: &mut Vec<ExecutorCommand>,
    ) {
        let (lost_after, drain_grace) = (self.times.lost_after, self.times.drain_grace);
        let Some(entry) = self.entries.get_mut(&executor) else { return };
        if let ExecutorEvent::WillGo { within, why } = &event {
            // Its grace before the time named, at once where none is (D12). One that hasn't joined is told when it has.
            let wait = within.map_or(Duration::ZERO, |within| within.saturating_sub(drain_grace));
            entry.drain_at = Some((now + wait, why.clone()));
            return self.act(now, executor, out);
        }
        let State::Joined { supervised, ready, detached } = &mut entry.state else { return };
        match event {
            ExecutorEvent::Supervised => {
                *supervised = true;
                entry.heard = now;
                self.act(now, executor, out);
            }
            ExecutorEvent::Heartbeat { number, program_silent } => {
                entry.heard = now;
                if program_silent >= lost_after {
                    let silent = format_duration(program_silent);
                    self.lose(now, executor, format!("its program hasn't answered for {silent}"), out);
                } else {
                    out.push(ExecutorCommand::Renew(executor, number));
                }
            }
            ExecutorEvent::Ready => {
                *detached = None;
                if !std::mem::replace(ready, true) {
                    out.push(ExecutorCommand::Ready(executor));
                }
            }
            ExecutorEvent::Detached => *detached = Some(now),
            ExecutorEvent::Ended(exit) => {
                out.push(ExecutorCommand::Gone(executor));
                out.push(ExecutorCommand::Hear(executor, Heard::Ended(exit.clone())));
                self.gone(now, executor, Some(exit), false);
            }
            ExecutorEvent::HungUp => {
                // Killed, or cut off: its manager may know which, and its word is waited for before a verdict.
                out.push(ExecutorCommand::Gone(executor));
                out.push(ExecutorCommand::Hear(executor, Heard::HungUp));
                self.gone(now, executor, None, false);
            }
            ExecutorEvent::Evicted { why } => {
                self.drain(executor, why, false, drain_grace, Then::Replace, ExitCause::NodeDrained, out);
            }
            ExecutorEvent::Drain { why, grace, then } => {
                self.drain(executor, why, true, grace, then, ExitCause::Released, out);
            }
            ExecutorEvent::Condemned { why } => {
                self.end(now, executor, Exit::new(ExitCause::Released, why), out);
            }
            ExecutorEvent::Granted { .. }
            | ExecutorEvent::Launched
            | ExecutorEvent::Exited(_)
            | ExecutorEvent::WillGo { .. } => {}
        }
    }

    /// Acts on every deadline that has passed.
    pub fn tick(&mut self, now: Moment, out: &mut Vec<ExecutorCommand>) {
        while let Some((at, executor)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, executor));
            if let Some(entry) = self.entries.get_mut(&executor) {
                entry.scheduled = None;
            }
            self.act(now, executor, out);
            self.schedule(executor);
        }
    }

    /// The driver itself was held up (stopped, starved): the silence of that time is nobody's.
    pub fn forgive(&mut self, now: Moment) {
        for entry in self.entries.values_mut() {
            entry.heard = entry.heard.max(now);
            if let State::Joined { detached: Some(at), .. } = &mut entry.state {
                *at = now;
            }
        }
    }

    /// When [`tick`](Self::tick) is due; it may find nothing to do then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Every executor that hasn't ended.
    pub fn iter(&self) -> impl Iterator<Item = (ExecutorId, &ExecutorEntry)> {
        self.entries.iter().map(|(executor, entry)| (*executor, entry))
    }

    /// One of them.
    #[must_use]
    pub fn entry(&self, executor: ExecutorId) -> Option<&ExecutorEntry> {
        self.entries.get(&executor)
    }

    /// How many take tasks.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.entries.values().filter(|entry| entry.phase() == ExecutorPhase::Ready).count()
    }

    fn act(&mut self, now: Moment, executor: ExecutorId, out: &mut Vec<ExecutorCommand>) {
        let lost_after = self.times.lost_after;
        let Some(entry) = self.entries.get_mut(&executor) else { return };
        match &mut entry.state {
            State::Granted | State::Launched => {}
            State::Gone { account, until, released } if *until <= now => {
                let exit = account.take().unwrap_or_else(|| {
                    Exit::new(ExitCause::LostContact, "its connection broke, and its manager didn't say why")
                });
                if !*released {
                    out.push(release_now(executor, exit.cause.clone()));
                }
                out.push(ExecutorCommand::Lost(executor, exit));
                self.remove(executor, true);
            }
            State::Gone { .. } => {}
            State::Joined { supervised, detached, .. } => {
                if now.since(entry.heard) >= lost_after {
                    let silent = format_duration(lost_after);
                    self.lose(now, executor, format!("nothing was heard of it for {silent}"), out);
                } else if detached.is_some_and(|at| now.since(at) >= lost_after) {
                    self.lose(
                        now,
                        executor,
                        "its program let go of its tasks and didn't come back".into(),
                        out,
                    );
                } else if *supervised && let Some((_, why)) = entry.drain_at.take_if(|(at, _)| *at <= now) {
                    let grace = self.times.drain_grace;
                    self.drain(executor, why, true, grace, Then::Replace, ExitCause::NodeDrained, out);
                }
            }
        }
    }

    /// Keeps a lower bound of the executor's deadline in the set; a heartbeat, which only moves it on, costs nothing.
    fn schedule(&mut self, executor: ExecutorId) {
        let Some(entry) = self.entries.get_mut(&executor) else { return };
        let Some(at) = entry.deadline(&self.times) else { return };
        match entry.scheduled {
            Some(scheduled) if scheduled <= at => {}
            scheduled => {
                if let Some(scheduled) = scheduled {
                    self.deadlines.remove(&(scheduled, executor));
                }
                self.deadlines.insert((at, executor));
                entry.scheduled = Some(at);
            }
        }
    }
}

#[cfg(test)]
#[path = "executors/test.rs"]
mod tests;
