//! Registration and allocation: R2, A1 to A12, and how work grows (S1).

use super::*;

#[test]
fn a2_the_target_is_reached_with_one_call() {
    let mut bench = Bench::new();
    bench.target(3);
    assert_eq!(bench.commands.len(), 1);
    assert_eq!(bench.answer(), (vec![1, 2, 3], vec![]));
    for id in 1..=3 {
        bench.run(id);
    }
    assert_eq!(
        bench.events(),
        ["granted 1", "launched 1", "granted 2", "launched 2", "granted 3", "launched 3"]
    );
    assert_eq!(bench.state.snapshot().executors.len(), 3);
    assert_eq!(bench.state.snapshot().seq, 6);
    assert!(bench.state.shortfalls(bench.now).is_empty());
}

#[test]
fn a1_the_same_wish_again_changes_nothing_and_a_burst_collapses() {
    let mut bench = Bench::new();
    bench.target(3);
    let generation = bench.state.generation();
    bench.target(3);
    assert_eq!(bench.state.generation(), generation);
    for executors in [50, 0, 7, 90, 2] {
        bench.target(executors);
    }
    assert!(bench.commands.len() <= 4, "{:?}", bench.commands);
    bench.answer();
    assert_eq!(bench.state.roster.len(), 2);
}

#[test]
fn a3_whatever_exits_unasked_is_replaced_under_a_new_id() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.crash(1, ExitCause::Code(0));
    assert_eq!(bench.answer(), (vec![2], vec![]));
    assert_eq!(bench.events(), ["granted 1", "launched 1", "exited 1: exit code 0"]);
}

#[test]
fn a4_lowering_withdraws_what_is_not_granted_and_ends_nothing_that_runs() {
    let mut bench = Bench::new();
    bench.target(4);
    bench.answer();
    bench.run(1);
    bench.run(2);
    bench.target(1);
    assert_eq!(bench.answer(), (vec![], vec![3, 4]));
    bench.pass(seconds(600));
    assert_eq!(bench.state.snapshot().executors.len(), 2);
    bench.crash(1, ExitCause::Preempted);
    assert_eq!(bench.answer().0, Vec::<u64>::new(), "one is left, and one is wanted");
}

#[test]
fn a7_release_answers_for_each_and_replaces_or_lowers() {
    let mut bench = Bench::new();
    bench.target(3);
    bench.answer();
    for id in 1..=3 {
        bench.run(id);
    }
    let release = Release {
        executors: [1, 1, 9].map(ExecutorId).to_vec(),
        grace: Duration::ZERO,
        then: Then::Replace,
        why: ExitCause::Released,
    };
    let answers: Vec<_> =
        bench.state.release_answers(&release).into_iter().map(|(_, answer)| answer).collect();
    use ReleaseAnswer::{Accepted, AlreadyExited, AlreadyReleasing, NeverHeardOf};
    assert_eq!(answers, [Accepted, AlreadyReleasing, NeverHeardOf]);
    bench.handle(AllocationEvent::Released(release));
    assert_eq!(bench.answer(), (vec![4], vec![1]), "replaced at once, stopped at once");
    bench.exit(1, ExitCause::Signal(9));
    bench.release(&[2], Duration::ZERO, Then::LowerTarget, ExitCause::Released);
    assert_eq!(bench.answer(), (vec![], vec![2]));
    bench.exit(2, ExitCause::Signal(15));
    let again = Release {
        executors: vec![ExecutorId(2)],
        grace: Duration::ZERO,
        then: Then::Replace,
        why: ExitCause::Released,
    };
    assert_eq!(
        bench.state.release_answers(&again),
        [(ExecutorId(2), AlreadyExited)],
        "an account may still come"
    );
    bench.hear(1, Heard::HungUp);
    bench.hear(2, Heard::HungUp);
    let events = bench.events();
    assert_eq!(events[6..], ["exited 1: released", "exited 2: released"]);
    assert_eq!(bench.state.target.profiles[&ProfileId(0)].executors, 2);
}

#[test]
fn a7_the_exit_comes_after_grace_and_lease_though_nobody_confirms_it() {
    let mut bench = Bench::new();
    bench.target(2);
    bench.answer();
    bench.run(1);
    bench.run(2);
    bench.events();
    bench.news(ManagerNews::Reachable(ExecutorId(2), false));
    bench.release(&[1, 2], seconds(10), Then::Replace, ExitCause::LostContact);
    assert_eq!(bench.answer().0, [3, 4], "a silent node doesn't block the replacement");
    bench.pass(seconds(39));
    assert_eq!(bench.events(), ["unreachable 2"]);
    bench.pass(seconds(1));
    assert_eq!(bench.events(), ["exited 1: its driver lost contact with it", "exited 2: its node was lost"]);
    assert!(!bench.hear(1, Heard::Joined), "it can't come back");
}

#[test]
fn a8_a_release_with_grace_ends_nothing_before_its_deadline() {
    let mut bench = Bench::new();
    bench.target(2);
    bench.answer();
    bench.run(1);
    bench.run(2);
    bench.release(&[1, 2], seconds(30), Then::LowerTarget, ExitCause::Released);
    bench.pass(Duration::from_millis(29_999));
    assert_eq!(bench.answer().1, Vec::<u64>::new());
    bench.hear(1, Heard::Ended(Exit::new(ExitCause::Code(0), "drained")));
    bench.exit(1, ExitCause::Code(0));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.answer().1, [2]);
    assert_eq!(bench.events().last().unwrap(), "exited 1: released");
}

#[test]
fn a8_an_earlier_deadline_wins() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.release(&[1], seconds(30), Then::LowerTarget, ExitCause::Released);
    bench.release(&[1], seconds(5), Then::LowerTarget, ExitCause::Released);
    bench.pass(seconds(5));
    assert_eq!(bench.answer().1, [1]);
    assert_eq!(bench.state.target.profiles[&ProfileId(0)].executors, 0, "lowered once");
}

#[test]
fn a9_a_starving_profile_does_not_block_another_under_the_hard_maximum() {
    let mut bench = Bench::with(AllocationSettings { max_executors: 4, ..settings() });
    bench.target(10);
    assert_eq!(bench.answer().0, [1, 2, 3, 4]);
    bench.handle(AllocationEvent::Wished(Target::of(profile(0), 10).and(profile(1), 10)));
    let (started, stopped) = bench.answer();
    assert_eq!((started.len(), stopped), (2, vec![4, 3].into_iter().rev().collect()));
    assert!(bench.state.roster.tally(ProfileId(1)).unwrap().waiting.len() == 2);
}

#[test]
fn a10_an_exclusion_withdraws_what_is_not_granted_and_wants_anew() {
    let mut bench = Bench::new();
    bench.target(2);
    bench.answer();
    bench.run(1);
    let mut target = Target::of(profile(0), 2);
    target.excluded = vec![Name::new("node-1").unwrap()];
    bench.handle(AllocationEvent::Wished(target));
    let starts: Vec<_> = bench
        .commands
        .iter()
        .filter_map(|command| match command {
            AllocationCommand::Start(wanted) => Some(wanted[0].excluded.to_vec()),
            _ => None,
        })
        .collect();
    assert_eq!(starts, [vec![Name::new("node-1").unwrap()]]);
    assert_eq!(bench.answer(), (vec![3], vec![2]));
    bench.events();
    bench.grant(2);
    bench.grant(3);
    assert_eq!(bench.events(), Vec::<String>::new(), "neither is told");
    assert_eq!(bench.answer(), (vec![4], vec![2, 3]), "both are given back, and the wish stands");
    bench.grant_on(4, "node-2");
    assert_eq!(bench.events(), ["granted 4"]);
}

#[test]
fn a10_a_backend_that_ignores_exclusions_is_not_asked_in_a_spin() {
    let mut bench = Bench::new();
    let mut target = Target::of(profile(0), 1);
    target.excluded = vec![Name::new("node-1").unwrap()];
    bench.handle(AllocationEvent::Wished(target));
    let mut starts = 0;
    for _ in 0..200 {
        for id in bench.answer().0 {
            starts += 1;
            bench.grant(id);
        }
        bench.pass(Duration::from_millis(100));
    }
    assert!((4..12).contains(&starts), "{starts} starts in 20 s");
}

#[test]
fn a12_those_being_released_count_for_the_hard_maximum() {
    let mut bench = Bench::with(AllocationSettings { max_executors: 2, ..settings() });
    bench.target(5);
    assert_eq!(bench.answer().0, [1, 2]);
    bench.run(1);
    bench.run(2);
    bench.release(&[1], seconds(10), Then::Replace, ExitCause::Released);
    assert_eq!(bench.answer().0, Vec::<u64>::new());
    let reasons = bench.state.shortfalls(bench.now).remove(0).reasons;
    assert!(matches!(reasons[..], [Reason::Limit { limit: 2, used: 2, .. }]), "{reasons:?}");
    bench.crash(1, ExitCause::Code(0));
    assert_eq!(bench.answer().0, [3]);
}

#[test]
fn r2_a_changed_profile_under_an_old_id_is_refused() {
    let mut bench = Bench::new();
    bench.target(1);
    let mut changed = (*profile(0)).clone();
    changed.each.memory = MiB(128);
    let error = bench.state.check(&Target::of(Arc::new(changed), 1)).unwrap_err();
    assert_eq!(error.field(), Some("profiles"));
    bench.state.check(&Target::of(profile(1), 1)).unwrap();
}

/// S1: calls and the executors named in them, at most 2.2 times for twice the target.
#[test]
fn s1_work_grows_linearly() {
    let work = |target: u32| {
        let mut bench = Bench::with(AllocationSettings { max_executors: 100_000, ..settings() });
        bench.handle(AllocationEvent::ReaderDropped);
        bench.target(target);
        let (mut calls, mut named) = (0, 0);
        let mut events = 0;
        for _ in 0..3 {
            loop {
                let commands = std::mem::take(&mut bench.commands);
                if commands.is_empty() {
                    break;
                }
                for command in commands {
                    calls += 1;
                    let AllocationCommand::Start(wanted) = command else { panic!("{command:?}") };
                    let ids: Vec<_> = wanted.iter().map(|wanted| wanted.executor).collect();
                    named += ids.len();
                    bench.handle(AllocationEvent::StartAnswered(ids, Ok(())));
                }
            }
            for id in bench.state.roster.ids() {
                bench.run(id.0);
                bench.crash(id.0, ExitCause::Preempted);
                events += 5;
            }
        }
        (calls, named, events)
    };
    let (small, large) = (work(500), work(1000));
    assert!(large.0 * 10 <= small.0 * 22 && large.1 * 10 <= small.1 * 22, "{small:?} {large:?}");
}

#[test]
fn a6_what_is_asked_for_and_nothing_speaks_against_says_so() {
    let mut bench = Bench::new();
    let application = bench.state.shortfalls(bench.now);
    assert_eq!((application.len(), application[0].profile), (1, None));
    bench.target(2);
    bench.answer();
    bench.pass(seconds(3));
    let shortfall = bench.state.shortfalls(bench.now).remove(0);
    assert_eq!(shortfall.like.as_ref().unwrap().executor, ExecutorId(1));
    let closed = shortfall.close(vec![]).unwrap();
    assert!(matches!(closed.reasons[..], [Reason::Asked { ago }] if ago == seconds(3)), "{closed:?}");
    assert_eq!((closed.wanted, closed.live), (2, 0));
}
