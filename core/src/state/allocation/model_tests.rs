//! A random schedule against a simulated backend: calls are answered late, in any order, with errors that may or may not
//! have had their effect; news are delivered in any order, some twice; executors die; the manager goes away and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::bench::*;
use super::executor::Role;
use super::*;
use crate::error::ErrorKind;
use crate::manager::{ExitCause, Then, What};

const HOSTS: [&str; 3] = ["node-1", "node-2", "node-3"];
const MOST: u32 = 12;

/// An executor as the backend has it.
#[derive(Debug, Clone)]
struct Real {
    host: &'static str,
    launched: bool,
    joined: bool,
}

/// What the reader of events has seen of an executor.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Seen {
    Granted,
    Launched,
    Exited,
}

struct Model {
    bench: Bench,
    running: Vec<AllocationCommand>,
    news: Vec<ManagerNews>,
    wishes: BTreeMap<ExecutorId, Wanted>,
    real: BTreeMap<ExecutorId, Real>,
    ever_granted: BTreeSet<ExecutorId>,
    /// Those that the machine has seen something of.
    live: BTreeSet<ExecutorId>,
    outage: bool,
    lists: bool,
    last_seq: u64,
    seen: BTreeMap<ExecutorId, Seen>,
    wish: BTreeMap<u32, u32>,
}

impl Model {
    fn new(lists: bool) -> Model {
        Model {
            bench: Bench::with(AllocationSettings { max_executors: MOST, ..settings() }),
            running: Vec::new(),
            news: Vec::new(),
            wishes: BTreeMap::new(),
            real: BTreeMap::new(),
            ever_granted: BTreeSet::new(),
            live: BTreeSet::new(),
            outage: false,
            lists,
            last_seq: 0,
            seen: BTreeMap::new(),
            wish: BTreeMap::new(),
        }
    }

    fn step(&mut self, (action, a, b): (u8, u8, u8)) {
        match action {
            0 => {
                self.wish = BTreeMap::from([(0, u32::from(a % 10)), (1, u32::from(b % 8))]);
                self.set_target((a.is_multiple_of(5)).then(|| HOSTS[b as usize % 3]));
            }
            1..=3 => self.answer_one(a, b),
            4..=6 => self.deliver_one(a, b),
            7 | 8 => self.grant_one(a, b),
            9 => self.launch_one(a),
            10 => self.join_one(a),
            11 => self.kill_one(a, b),
            12 => {
                let ids: Vec<_> = self.bench.state.roster.ids();
                if let Some(id) = pick(&ids, a) {
                    let then = if b.is_multiple_of(2) { Then::Replace } else { Then::LowerTarget };
                    if then == Then::LowerTarget {
                        self.note_lowered(id);
                    }
                    let grace = Duration::from_secs(u64::from(b % 40));
                    self.bench.release(&[id.0], grace, then, ExitCause::Released);
                }
            }
            13 => self.bench.pass(Duration::from_millis(u64::from(a) * u64::from(b) * 2)),
            14 => self.outage = a.is_multiple_of(2),
            _ => {
                for _ in 0..a % 8 {
                    self.read_one();
                }
            }
        }
        self.running.append(&mut self.bench.commands);
        self.end_what_hung_up();
        self.check();
    }

    fn set_target(&mut self, excluded: Option<&str>) {
        let mut target = Target::default();
        for (id, executors) in &self.wish {
            target = target.and(profile(*id), *executors);
        }
        target.excluded = excluded.into_iter().map(|host| Name::new(host).unwrap()).collect();
        self.bench.state.check(&target).unwrap();
        self.bench.handle(AllocationEvent::Wished(target));
    }

    fn note_lowered(&mut self, id: ExecutorId) {
        let executor = self.bench.state.roster.get(id).unwrap();
        if executor.leaving.is_none() && executor.reported.is_none() {
            let wish = self.wish.entry(executor.wanted.profile.id.0).or_default();
            *wish = wish.saturating_sub(1);
        }
    }

    fn answer_one(&mut self, a: u8, b: u8) {
        if self.running.is_empty() {
            return;
        }
        let call = self.running.remove(a as usize % self.running.len());
        let ok = !self.outage && !b.is_multiple_of(8);
        let effect = ok || b.is_multiple_of(2);
        let answer = || if ok { Ok(()) } else { Err(Error::new(ErrorKind::Unavailable, "simulated")) };
        match call {
            AllocationCommand::Start(wanted) => {
                let ids = wanted.iter().map(|wanted| wanted.executor).collect();
                for wanted in wanted.into_iter().filter(|_| effect) {
                    if !self.ever_granted.contains(&wanted.executor) {
                        self.wishes.insert(wanted.executor, wanted);
                    }
                }
                self.bench.handle(AllocationEvent::StartAnswered(ids, answer()));
            }
            AllocationCommand::Stop(ids) => {
                for id in ids.iter().filter(|_| effect) {
                    self.wishes.remove(id);
                    if self.real.remove(id).is_some() {
                        self.news.push(ManagerNews::Exited(*id, Exit::new(ExitCause::Signal(15), "")));
                    }
                }
                self.bench.handle(AllocationEvent::StopAnswered(ids, answer()));
            }
            AllocationCommand::List => {
                let all = self.wishes.keys().chain(self.real.keys()).copied().collect();
                let list = if self.lists { Some(all) } else { None };
                self.bench.handle(AllocationEvent::Listed(answer().map(|()| list)));
            }
            AllocationCommand::ReadTail(id) => {
                self.bench.handle(AllocationEvent::TailRead(id, Bytes::from_static(b"tail")));
            }
            AllocationCommand::Close { .. } => panic!("nobody unregisters here"),
        }
    }

    fn deliver_one(&mut self, a: u8, b: u8) {
        if self.news.is_empty() {
            return;
        }
        let news = self.news.remove(a as usize % self.news.len());
        if b.is_multiple_of(8) {
            self.news.push(news.clone());
        }
        self.bench.news(news);
    }

    fn grant_one(&mut self, a: u8, b: u8) {
        let ids: Vec<_> = self.wishes.keys().copied().collect();
        let Some(id) = pick(&ids, a) else { return };
        let wanted = self.wishes.remove(&id).unwrap();
        // a backend that keeps exclusions, mostly
        let free: Vec<_> = HOSTS
            .into_iter()
            .filter(|host| {
                b.is_multiple_of(16) || wanted.excluded.iter().all(|excluded| excluded.as_str() != *host)
            })
            .collect();
        let host = free[b as usize % free.len()];
        assert!(self.ever_granted.insert(id), "an id is granted twice");
        self.real.insert(id, Real { host, launched: false, joined: false });
        self.news.push(ManagerNews::Granted(Grant {
            executor: id,
            profile: wanted.profile.id,
            native: String::new(),
            host: Some(Name::new(host).unwrap()),
            actual: wanted.profile.each.clone(),
            devices: BTreeMap::new(),
        }));
    }

    fn launch_one(&mut self, a: u8) {
        let ids: Vec<_> = self.real.iter().filter(|(_, real)| !real.launched).map(|(id, _)| *id).collect();
        if let Some(id) = pick(&ids, a) {
            self.real.get_mut(&id).unwrap().launched = true;
            self.news.push(ManagerNews::Launched(id, vec![]));
        }
    }

    fn join_one(&mut self, a: u8) {
        let ids: Vec<_> =
            self.real.iter().filter(|(_, real)| real.launched && !real.joined).map(|(id, _)| *id).collect();
        if let Some(id) = pick(&ids, a) {
            let known = self.bench.hear(id.0, Heard::Joined);
            self.real.get_mut(&id).unwrap().joined = known;
        }
    }

    fn kill_one(&mut self, a: u8, b: u8) {
        let ids: Vec<_> = self.real.keys().copied().collect();
        let Some(id) = pick(&ids, a) else { return };
        let real = self.real.remove(&id).unwrap();
        let cause = [ExitCause::Code(1), ExitCause::Preempted, ExitCause::Signal(9)][b as usize % 3].clone();
        if real.joined && b.is_multiple_of(2) {
            self.bench.hear(id.0, Heard::Ended(Exit::new(cause.clone(), real.host)));
        }
        if real.joined {
            self.bench.hear(id.0, Heard::HungUp);
        }
        self.news.push(ManagerNews::Exited(id, Exit::new(cause, "")));
    }

    /// What was declared over by the lease has ended itself: its driver has hung up.
    fn end_what_hung_up(&mut self) {
        let state = &self.bench.state;
        self.live.extend(
            state.roster.iter().filter(|(_, executor)| executor.role() != Role::Waiting).map(|(id, _)| id),
        );
        self.real.retain(|id, _| !self.live.contains(id) || state.roster.contains(*id));
    }

    fn read_one(&mut self) -> bool {
        let Some(entry) = self.bench.state.read(self.bench.now) else { return false };
        self.bench.handle(AllocationEvent::EventsRead);
        assert_eq!(entry.seq, self.last_seq + 1, "L1: gap-free");
        self.last_seq = entry.seq;
        match entry.what {
            What::Granted(grant) => {
                assert_eq!(
                    self.seen.insert(grant.executor, Seen::Granted),
                    None,
                    "L1, L4: granted once, first"
                );
            }
            What::Launched { executor, .. } => {
                assert_eq!(
                    self.seen.insert(executor, Seen::Launched),
                    Some(Seen::Granted),
                    "L1: then launched"
                );
            }
            What::Exited { executor, .. } => {
                let before = self.seen.insert(executor, Seen::Exited);
                assert!(
                    matches!(before, Some(Seen::Granted | Seen::Launched)),
                    "L1: one exit, last: {before:?}"
                );
            }
            _ => {}
        }
        true
    }

    fn check(&self) {
        let state = &self.bench.state;
        let most = MOST as usize;
        assert!(state.roster.len() <= most, "A12: as wanted");
        assert!(self.wishes.len() + self.real.len() <= most, "A12: {:?} {:?}", self.wishes.keys(), self.real);

        let (mut starting, mut stopping) = (BTreeSet::new(), BTreeSet::new());
        for call in &self.running {
            match call {
                AllocationCommand::Start(wanted) => {
                    assert!(
                        wanted.iter().all(|wanted| starting.insert(wanted.executor)),
                        "started twice at once"
                    );
                }
                AllocationCommand::Stop(ids) => {
                    assert!(ids.iter().all(|id| stopping.insert(*id)), "stopped twice at once");
                }
                _ => {}
            }
        }
        assert!(starting.is_disjoint(&stopping), "two calls name the same executor");
        if let Some(at) = state.next_deadline() {
            assert!(at > self.bench.now, "a deadline in the past makes the shell spin");
        }
        self.check_counts();
    }

    /// The counts that are kept are those that counting gives.
    fn check_counts(&self) {
        let state = &self.bench.state;
        for (id, profile) in &state.profiles {
            let granted = state.roster.iter().filter(|(_, executor)| {
                executor.wanted.profile.id == *id
                    && executor.granted_at.is_some()
                    && executor.leaving.is_none()
            });
            assert_eq!(profile.granted as usize, granted.count());
        }
    }

    /// Peace: everything answers and comes at once, until nothing changes any more.
    fn settle(&mut self) {
        self.outage = false;
        for _ in 0..400 {
            for n in 0..200 {
                self.answer_one(n, 1);
                self.deliver_one(0, 1);
                self.grant_one(0, 1);
                self.launch_one(0);
                self.join_one(0);
                while self.read_one() {}
                self.running.append(&mut self.bench.commands);
                self.end_what_hung_up();
                if self.running.is_empty() && self.news.is_empty() && self.wishes.is_empty() {
                    break;
                }
            }
            self.check();
            self.bench.pass(Duration::from_secs(3));
            self.running.append(&mut self.bench.commands);
        }
    }

    /// The application ends, by its own hand or somebody else's, whatever state things are in.
    fn end(&mut self, by_others: bool) {
        if by_others {
            self.bench.news(ManagerNews::Ended(Outcome::Killed, EndedBy::Manager("queue limit".into())));
        } else {
            let deadline = Duration::from_secs(5);
            self.bench.handle(AllocationEvent::Unregister { outcome: Outcome::Succeeded, deadline });
            assert!(matches!(self.bench.commands[..], [AllocationCommand::Close { .. }]));
            self.bench.handle(AllocationEvent::CloseAnswered(Ok(())));
        }
        // the shell drops running calls; news that were on their way still come
        self.running.clear();
        self.bench.commands.clear();
        for n in 0..100 {
            self.deliver_one(n, 1);
        }
        while self.read_one() {}
        assert!(
            self.seen.values().all(|seen| *seen == Seen::Exited),
            "R6: after every exit: {:?}",
            self.seen
        );
        assert!(self.bench.state.has_ended() && self.bench.commands.is_empty());
        assert_eq!(self.bench.state.next_deadline(), None);
    }

    fn check_peace(&self) {
        let state = &self.bench.state;
        let live: BTreeSet<_> = state.snapshot().executors.into_keys().collect();
        let real: BTreeSet<_> = self.real.keys().copied().collect();
        assert_eq!(live, real, "surplus is given back, and nothing is forgotten");
        let seen: BTreeSet<_> =
            self.seen.iter().filter(|(_, seen)| **seen != Seen::Exited).map(|(id, _)| *id).collect();
        assert_eq!(live, seen, "the stream tells the same");
        assert_eq!(state.calls.strays_that_count(), 0);
        let wanted: u32 = self.wish.values().sum();
        if wanted <= MOST {
            for (id, executors) in &self.wish {
                let live = state.profiles[&ProfileId(*id)].granted;
                assert!(live >= *executors, "A2: profile {id} has {live} of {executors}");
            }
        } else {
            assert_eq!(live.len(), MOST as usize, "A12: the maximum is used");
        }
    }
}

fn pick(ids: &[ExecutorId], a: u8) -> Option<ExecutorId> {
    (!ids.is_empty()).then(|| ids[a as usize % ids.len()])
}

proptest! {
    #[test]
    fn once_quiet_the_last_wish_holds_whatever_happened(
        steps in proptest::collection::vec((0_u8..16, any::<u8>(), any::<u8>()), 1..250),
        lists in any::<bool>(),
    ) {
        let mut model = Model::new(lists);
        for step in steps {
            model.step(step);
        }
        model.settle();
        model.check_peace();
    }

    #[test]
    fn r6_the_end_comes_last_whatever_happened(
        steps in proptest::collection::vec((0_u8..16, any::<u8>(), any::<u8>()), 1..150),
        by_others in any::<bool>(),
    ) {
        let mut model = Model::new(false);
        for step in steps {
            model.step(step);
        }
        model.end(by_others);
    }
}
