//! Random schedules against the scheduler: executors that run, fail, lose, return, vanish and come back, and are asked for
//! more only when the scheduler said that it is worth it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::clock::Moment;
use crate::ids::JobId;
use crate::manager::ExitCause;

const SLOTS: u32 = 2;

#[derive(Default)]
struct Executor {
    held: VecDeque<(TaskId, u32)>,
    /// Over, but not out of their slots.
    lingering: Vec<(TaskId, u32)>,
    awake: bool,
    attached: bool,
}

struct World {
    scheduler: Scheduler<u64>,
    now: Moment,
    executors: BTreeMap<u64, Executor>,
    last_executor: u64,
    jobs: Vec<JobId>,
    submitted: u64,
    /// How each task ended: by position, how often, and whether with a value.
    ended: HashMap<u64, (u32, bool)>,
    /// The task's position, as long as it may be asked for.
    positions: HashMap<TaskId, u64>,
    condemned: Vec<u64>,
}

impl World {
    fn new(executors: u64) -> World {
        let mut world = World {
            scheduler: Scheduler::new(Settings::default()),
            now: Moment::ZERO,
            executors: BTreeMap::new(),
            last_executor: 0,
            jobs: Vec::new(),
            submitted: 0,
            ended: HashMap::new(),
            positions: HashMap::new(),
            condemned: Vec::new(),
        };
        for _ in 0..executors {
            world.join();
        }
        for job in 0..3 {
            let limits = JobLimits { lost: 1000, ..JobLimits::new(ProfileId(0)) };
            world.jobs.push(world.scheduler.open_job(limits, job));
        }
        world
    }

    fn turn<R>(
        &mut self,
        change: impl FnOnce(&mut Scheduler<u64>, Moment, &mut Vec<Command<u64>>) -> R,
    ) -> R {
        let mut out = Vec::new();
        let result = change(&mut self.scheduler, self.now, &mut out);
        let by_job: usize = self.jobs.iter().map(|job| self.scheduler.sent_of(*job)).sum();
        assert_eq!(by_job, self.scheduler.counts().sent);
        for command in out {
            match command {
                Command::Wake(executor) => {
                    if let Some(executor) = self.executors.get_mut(&executor.0) {
                        executor.awake = true;
                    }
                }
                Command::Over { position, .. } => self.over(position, false),
                Command::Condemn(executor) => self.condemned.push(executor.0),
                Command::Retried { .. } => {}
            }
        }
        result
    }

    fn over(&mut self, position: u64, value: bool) {
        let ended = self.ended.entry(position).or_default();
        ended.0 += 1;
        ended.1 = value;
    }

    fn join(&mut self) {
        self.last_executor += 1;
        let id = self.last_executor;
        self.executors.insert(id, Executor { awake: true, attached: true, ..Executor::default() });
        self.turn(|scheduler, now, out| {
            scheduler.executor_joined(now, ExecutorId(id), ProfileId(0), SLOTS);
            assert!(scheduler.executor_attached(now, ExecutorId(id), &[], out));
        });
    }

    fn submit(&mut self, job: usize, count: u64) {
        let job = self.jobs[job % 3];
        let first = self.submitted;
        self.submitted += count;
        let ids = self.turn(|scheduler, _, out| {
            let ids: Vec<_> = (first..first + count)
                .filter_map(|position| {
                    let arguments = Arguments::Inline(Bytes::from_static(b"argument"));
                    Some((scheduler.submit(job, position, 0, arguments)?, position))
                })
                .collect();
            scheduler.submitted(job, count as usize, out);
            ids
        });
        self.positions.extend(ids);
    }

    /// Every executor that was woken takes what there is.
    fn pump(&mut self) {
        let mut turns = 0;
        while let Some((&id, _)) =
            self.executors.iter().find(|(_, executor)| executor.awake && executor.attached)
        {
            turns += 1;
            assert!(turns < 3_000, "it wakes for ever: {:?}", self.scheduler.counts());
            let mut sent = Vec::new();
            let orders = self.turn(|scheduler, now, out| {
                scheduler.dispatch(now, ExecutorId(id), out, &mut |task| sent.push((task.task, task.attempt)))
            });
            let executor = self.executors.get_mut(&id).unwrap();
            executor.held.extend(sent);
            assert!(executor.held.len() + executor.lingering.len() <= 1024, "more in flight than credits");
            if orders.is_empty() {
                executor.awake = false;
            }
            let mut freed = Vec::new();
            for cancelled in &orders.cancels {
                executor.held.retain(|held| held != cancelled);
                executor.lingering.retain(|held| held != cancelled);
                freed.push(*cancelled);
            }
            let mut returned = Vec::new();
            while returned.len() < orders.recall as usize && executor.held.len() > SLOTS as usize {
                returned.extend(executor.held.pop_back());
            }
            if freed.is_empty() && orders.recall == 0 {
                continue; // an executor with nothing to tell says nothing
            }
            self.turn(|scheduler, now, out| {
                for (task, attempt) in freed {
                    scheduler.attempt_ended(now, ExecutorId(id), task, attempt, Ending::Freed);
                }
                for (task, attempt) in returned {
                    scheduler.attempt_returned(ExecutorId(id), task, attempt);
                }
                let nothing = (0, Duration::ZERO, 0);
                scheduler.settled(now, ExecutorId(id), nothing, orders.recall > 0, out);
            });
        }
    }

    /// The oldest attempt of an executor ends so. `doubled`: it is told twice.
    fn end(&mut self, id: u64, ending: Ending, took: Duration, doubled: bool) -> bool {
        let Some(executor) = self.executors.get_mut(&id).filter(|executor| executor.attached) else {
            return false;
        };
        let Some((task, attempt)) = executor.held.pop_front() else { return false };
        if ending == Ending::TimedOut {
            executor.lingering.push((task, attempt));
        }
        for _ in 0..=u32::from(doubled) {
            let verdict = self.turn(|scheduler, now, out| {
                let verdict = scheduler.attempt_ended(now, ExecutorId(id), task, attempt, ending);
                scheduler.settled(now, ExecutorId(id), (1, took, 8), false, out);
                verdict
            });
            if let Verdict::Over { position, .. } = verdict {
                self.over(position, ending == Ending::Done);
            }
        }
        true
    }

    fn lose(&mut self, id: u64, cause: ExitCause) {
        if self.executors.remove(&id).is_some() {
            self.turn(|scheduler, _, out| scheduler.executor_gone(ExecutorId(id), out));
            self.pump();
            self.turn(|scheduler, now, out| {
                scheduler.executor_lost(now, ExecutorId(id), &Exit::new(cause, ""), out);
            });
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.turn(|scheduler, now, out| {
            if scheduler.next_deadline().is_some_and(|deadline| deadline <= now) {
                scheduler.tick(now, out);
            }
        });
        for id in std::mem::take(&mut self.condemned) {
            self.lose(id, ExitCause::Released);
        }
    }

    fn nth(&self, which: u8) -> Option<u64> {
        let count = self.executors.len().max(1);
        self.executors.keys().nth(usize::from(which) % count).copied()
    }

    /// Everything goes well from here on: all must end.
    fn finish(&mut self) {
        if self.executors.is_empty() {
            self.join();
        }
        let detached: Vec<_> =
            self.executors.iter().filter(|(_, it)| !it.attached).map(|(id, _)| *id).collect();
        for id in detached {
            self.attach(id);
        }
        for round in 0.. {
            self.pump();
            if self.scheduler.counts().tasks == 0 {
                break;
            }
            assert!(round < 3_000, "starved: {:?} after {} ends", self.scheduler.counts(), self.ended.len());
            let ids: Vec<_> = self.executors.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                moved |= self.end(id, Ending::Done, Duration::from_micros(10), false);
            }
            self.wait(if moved { Duration::from_micros(100) } else { Duration::from_millis(500) });
            if self.executors.is_empty() {
                self.join();
            }
        }
        for position in 0..self.submitted {
            let (times, _) = self.ended.get(&position).copied().unwrap_or_default();
            assert_eq!(times, 1, "task {position} ended {times} times");
        }
    }

    fn attach(&mut self, id: u64) {
        let Some(executor) = self.executors.get_mut(&id) else { return };
        executor.attached = true;
        executor.awake = true;
        let held: Vec<_> = executor.held.iter().chain(&executor.lingering).copied().collect();
        self.turn(|scheduler, now, out| scheduler.executor_attached(now, ExecutorId(id), &held, out));
    }
}

#[derive(Debug, Clone)]
enum Action {
    Submit { job: u8, count: u8 },
    Pump,
    End { executor: u8, how: u8, took_us: u32, doubled: bool },
    Lose { executor: u8, application: bool },
    Join,
    Break { executor: u8, forgets: bool },
    Cancel { position: u16 },
    CancelJob { job: u8 },
    Pause { job: u8, paused: bool },
    Wait { ms: u16 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0_u8..3, 1_u8..60).prop_map(|(job, count)| Action::Submit { job, count }),
        6 => Just(Action::Pump),
        12 => (any::<u8>(), 0_u8..12, 1_u32..20_000, any::<bool>())
            .prop_map(|(executor, how, took_us, doubled)| Action::End { executor, how, took_us, doubled }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(executor, application)| Action::Lose { executor, application }),
        1 => Just(Action::Join),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(executor, forgets)| Action::Break { executor, forgets }),
        1 => (0_u16..200).prop_map(|position| Action::Cancel { position }),
        1 => (0_u8..30).prop_map(|job| Action::CancelJob { job }),
        1 => (0_u8..3, any::<bool>()).prop_map(|(job, paused)| Action::Pause { job, paused }),
        2 => (0_u16..3000).prop_map(|ms| Action::Wait { ms }),
    ]
}

fn act(world: &mut World, action: Action) {
    match action {
        Action::Submit { job, count } => {
            let before = world.submitted;
            world.submit(usize::from(job), u64::from(count));
            // What a cancelled job refuses has ended for its caller.
            for position in before..world.submitted {
                if !world.positions.values().any(|known| *known == position) {
                    world.over(position, false);
                }
            }
        }
        Action::Pump => world.pump(),
        Action::End { executor, how, took_us, doubled } => {
            if let Some(id) = world.nth(executor) {
                let ending = match how {
                    0 => Ending::Failed { again: false },
                    1 | 2 => Ending::Failed { again: true },
                    3 => Ending::TimedOut,
                    4 => Ending::Freed,
                    _ => Ending::Done,
                };
                world.end(id, ending, Duration::from_micros(u64::from(took_us)), doubled);
            }
        }
        Action::Lose { executor, application } => {
            if let Some(id) = world.nth(executor) {
                world.lose(id, if application { ExitCause::Signal(6) } else { ExitCause::NodeLost });
            }
        }
        Action::Join => world.join(),
        Action::Break { executor, forgets } => {
            if let Some(id) = world.nth(executor) {
                world.turn(|scheduler, _, _| scheduler.executor_detached(ExecutorId(id)));
                if let Some(executor) = world.executors.get_mut(&id) {
                    executor.attached = false;
                    if forgets {
                        executor.held.pop_back();
                    }
                }
                if !forgets {
                    world.attach(id);
                }
            }
        }
        Action::Cancel { position } => {
            let found =
                world.positions.iter().find(|(_, known)| **known == u64::from(position)).map(|(id, _)| *id);
            if let Some(task) = found {
                world.turn(|scheduler, now, out| scheduler.cancel_task(now, task, out));
            }
        }
        Action::CancelJob { job } => {
            if let Some(job) = world.jobs.get(usize::from(job)).copied() {
                world.turn(|scheduler, now, out| scheduler.cancel_job(now, job, out));
            }
        }
        Action::Pause { job, paused } => {
            let job = world.jobs[usize::from(job)];
            world.turn(|scheduler, _, out| scheduler.pause_job(job, paused, out));
        }
        Action::Wait { ms } => world.wait(Duration::from_millis(u64::from(ms))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_exactly_once(executors in 0_u64..4, actions in proptest::collection::vec(action(), 1..150)) {
        let mut world = World::new(executors);
        for action in actions {
            act(&mut world, action);
        }
        for job in world.jobs.clone() {
            world.turn(|scheduler, _, out| scheduler.pause_job(job, false, out));
        }
        world.finish();
    }
}

#[test]
fn a_poisonous_task_fails_alone() {
    let mut world = World::new(2);
    world.submit(0, 200);
    for _ in 0..10_000 {
        world.pump();
        if world.scheduler.counts().tasks == 0 {
            break;
        }
        let ids: Vec<_> = world.executors.keys().copied().collect();
        for id in ids {
            let slots = world.executors[&id].held.iter().take(SLOTS as usize);
            let poisoned = slots.clone().any(|(task, _)| world.positions.get(task) == Some(&13));
            if poisoned {
                world.lose(id, ExitCause::Signal(6));
                world.join();
            } else {
                world.end(id, Ending::Done, Duration::from_micros(1), false);
            }
        }
    }
    assert_eq!(world.ended.len(), 200);
    for (position, (times, value)) in &world.ended {
        assert_eq!((*times, *value), (1, *position != 13), "task {position}");
    }
}

#[test]
fn two_tasks_go_to_two_executors() {
    let mut world = World::new(2);
    world.pump();
    world.submit(0, 4);
    world.pump();
    assert!(world.executors.values().all(|executor| executor.held.len() == 2));
}

#[test]
fn what_waits_behind_a_long_task_is_run_by_an_idle_executor() {
    let mut world = World::new(1);
    world.submit(0, 4); // two in slots, two ahead
    world.pump();
    assert_eq!(world.executors[&1].held.len(), 4);
    world.join();
    world.pump();
    world.pump();
    assert_eq!(world.executors[&1].held.len(), 2);
    assert_eq!(world.executors[&2].held.len(), 2);
}

#[test]
fn what_comes_back_runs_although_its_job_is_paused() {
    let mut world = World::new(1);
    world.submit(0, 4); // two in slots, two ahead
    world.pump();
    let job = world.jobs[0];
    world.turn(|scheduler, _, out| scheduler.pause_job(job, true, out));
    world.submit(0, 1);
    world.lose(1, ExitCause::NodeLost);
    world.join();
    world.pump();
    // The four may be what the caller waits for; the fifth is what the pause is about.
    assert_eq!(world.executors[&2].held.len(), 4);
    for _ in 0..4 {
        world.end(2, Ending::Done, Duration::from_micros(10), false);
        world.pump();
    }
    assert_eq!((world.ended.len(), world.scheduler.counts().tasks), (4, 1));
}

#[test]
fn code_that_ignores_its_end_costs_its_executor() {
    let mut world = World::new(1);
    world.submit(0, 1);
    world.pump();
    world.end(1, Ending::TimedOut, Duration::from_secs(1), false);
    world.now = world.now + Duration::from_secs(4);
    world.turn(|scheduler, now, out| scheduler.tick(now, out));
    assert!(world.condemned.is_empty());
    world.now = world.now + Duration::from_secs(2);
    world.turn(|scheduler, now, out| scheduler.tick(now, out));
    assert_eq!(world.condemned, [1]);
}
