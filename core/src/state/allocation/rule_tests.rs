//! Examples for each rule, named after it or after the symptom.

use std::time::Duration;

use super::bench::*;
use super::*;
use crate::error::ErrorKind;
use crate::manager::{Blame, ExitCause, LaunchFailure, Reason, ReleaseAnswer, Then, What};
use crate::units::MiB;

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "connection refused")
}

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

#[test]
fn l1_news_in_any_order_and_repetition_become_ordered_events() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.hear(1, Heard::Joined);
    bench.news(ManagerNews::Launched(ExecutorId(1), vec![]));
    bench.news(ManagerNews::Reachable(ExecutorId(1), false));
    assert_eq!(bench.events(), Vec::<String>::new());
    for _ in 0..2 {
        bench.grant(1);
        bench.news(ManagerNews::Launched(ExecutorId(1), vec![]));
    }
    bench.hear(1, Heard::HungUp);
    bench.exit(1, ExitCause::Code(3));
    bench.exit(1, ExitCause::Code(4));
    bench.news(ManagerNews::Draining(vec![ExecutorId(1)], None, "late".into()));
    assert_eq!(bench.events(), ["granted 1", "launched 1", "unreachable 1", "exited 1: exit code 3"]);
}

#[test]
fn l1_an_exit_without_its_grant_is_still_granted_first() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.exit(1, ExitCause::LaunchFailed(LaunchFailure::NoSuchProgram));
    assert_eq!(bench.events(), ["granted 1", "exited 1: launch failed: no such program"]);
    bench.answer();
    bench.grant(1);
    assert_eq!(bench.events(), Vec::<String>::new());
    assert_eq!(bench.answer().1, [1], "late news of a grant: given back");
}

#[test]
fn l1_replacing_pauses_while_nobody_reads() {
    let mut bench = Bench::new();
    bench.target(1);
    let mut next = 1;
    for _ in 0..1000 {
        let Some(id) = bench.answer().0.last().copied() else { break };
        next = id;
        bench.run(id);
        bench.crash(id, ExitCause::Preempted);
    }
    assert_eq!(next as usize, ledger::MOST_UNREAD_EXITS);
    let shortfall = bench.state.shortfalls(bench.now).remove(0);
    assert!(shortfall.reasons[0].to_string().contains("wait to be read"), "{shortfall:?}");
    assert_eq!(bench.events().len(), 3 * ledger::MOST_UNREAD_EXITS);
    assert_eq!(bench.answer().0.len(), 1);
}

#[test]
fn l1_a_flapping_node_fills_no_memory_and_the_last_state_is_told() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    for _ in 0..1000 {
        for yes in [false, true] {
            bench.news(ManagerNews::Reachable(ExecutorId(1), yes));
            bench.news(ManagerNews::Reach(if yes { Ok(()) } else { Err(unavailable()) }));
            bench.news(ManagerNews::Draining(vec![ExecutorId(1)], None, format!("{yes}")));
        }
    }
    bench.news(ManagerNews::Reachable(ExecutorId(1), false));
    let events = bench.events();
    assert!(events.len() < 12, "{events:?}");
    let last = |word: &str| events.iter().rfind(|event| event.contains(word)).unwrap().clone();
    assert_eq!(last("reachable 1"), "unreachable 1");
    assert_eq!(last("manager"), "manager recovered");
    let seq = bench.state.snapshot().seq;
    assert_eq!(seq as usize, events.len());
}

#[test]
fn l1_with_a_dropped_reader_replacing_goes_on() {
    let mut bench = Bench::new();
    bench.handle(AllocationEvent::ReaderDropped);
    bench.target(1);
    for _ in 0..1000 {
        let id = bench.answer().0[0];
        bench.run(id);
        bench.crash(id, ExitCause::Preempted);
    }
    assert!(!bench.state.has_unread());
}

#[test]
fn l2_a_bare_signal_waits_for_the_supervisors_account() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.exit(1, ExitCause::Signal(9));
    assert_eq!(bench.answer().0, Vec::<u64>::new());
    assert_eq!(bench.events(), ["granted 1", "launched 1"]);
    bench.hear(1, Heard::Ended(Exit::new(ExitCause::OutOfMemory { limit: MiB(64) }, "")));
    assert_eq!(bench.events(), ["exited 1: out of memory (its limit is 64MiB)"]);
}

#[test]
fn l2_the_wait_for_an_account_ends() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.exit(1, ExitCause::Code(1));
    assert!(!bench.hear(1, Heard::Joined), "the manager said that it has exited: hang up (F5)");
    bench.pass(seconds(5));
    assert_eq!(bench.events().last().unwrap(), "exited 1: exit code 1");
}

#[test]
fn l2_an_account_that_the_manager_never_confirms_becomes_a_verdict() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.events();
    bench.hear(1, Heard::Ended(Exit::new(ExitCause::Signal(11), "")));
    bench.pass(seconds(4));
    assert_eq!(bench.answer(), (vec![], vec![]));
    bench.pass(seconds(1));
    assert_eq!(bench.answer(), (vec![2], vec![1]));
    bench.pass(seconds(30));
    assert_eq!(bench.events(), ["exited 1: ended by signal 11 (SIGSEGV)"]);
}

#[test]
fn l3_what_is_granted_and_not_launched_in_time_is_given_up() {
    let mut bench = Bench::new();
    bench.handle(AllocationEvent::Opened { logs: false });
    bench.target(1);
    bench.answer();
    bench.grant(1);
    bench.pass(seconds(60));
    assert_eq!(bench.answer(), (vec![2], vec![1]));
    bench.exit(1, ExitCause::Code(137));
    assert_eq!(bench.events(), ["granted 1", "exited 1: launch failed: it could not be started"]);
}

#[test]
fn f4_an_outage_hides_a_launch_and_costs_nothing() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.grant(1);
    bench.news(ManagerNews::Reach(Err(unavailable())));
    bench.pass(seconds(100));
    bench.news(ManagerNews::Reach(Ok(())));
    bench.news(ManagerNews::Launched(ExecutorId(1), vec![]));
    bench.hear(1, Heard::Joined);
    bench.pass(seconds(100));
    assert_eq!(bench.answer(), (vec![], vec![]));
    assert_eq!(bench.events(), ["granted 1", "manager unreachable", "manager recovered", "launched 1"]);
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
fn l6_what_is_launched_and_does_not_join_is_ended_and_says_what_it_tried() {
    let mut bench = Bench::new();
    bench.handle(AllocationEvent::Opened { logs: true });
    bench.target(1);
    bench.answer();
    bench.grant(1);
    bench.news(ManagerNews::Launched(ExecutorId(1), vec![]));
    bench.pass(seconds(120));
    assert!(
        bench.commands.iter().any(|command| matches!(command, AllocationCommand::ReadTail(ExecutorId(1))))
    );
    assert_eq!(bench.answer(), (vec![2], vec![1]));
    bench.exit(1, ExitCause::Signal(9));
    bench.events();
    assert!(!bench.state.has_unread(), "it waits for the log's tail");
    bench.handle(AllocationEvent::TailRead(ExecutorId(1), Bytes::from_static(b"no route to host")));
    let entry = bench.state.read(bench.now).unwrap();
    let What::Exited { exit, .. } = entry.what else { panic!("{entry:?}") };
    assert_eq!(exit.cause, ExitCause::NeverJoined);
    assert!(exit.message.contains("driver:7077") && exit.message.contains("node-1"), "{exit}");
    assert_eq!(exit.log_tail, "no route to host");
}

#[test]
fn l5_a_crash_loop_is_braked_told_and_explained() {
    let mut bench = Bench::new();
    bench.target(1);
    let mut starts = 0;
    for _ in 0..600 {
        if let Some(id) = bench.answer().0.last().copied() {
            starts += 1;
            bench.run(id);
            bench.crash(id, ExitCause::Code(1));
        }
        bench.pass(Duration::from_millis(100));
    }
    assert!((6..=10).contains(&starts), "{starts} starts in a minute");
    let failing = bench.events().iter().filter(|event| event.starts_with("failing")).count();
    assert_eq!(failing, starts - 2);
    let shortfall = bench.state.shortfalls(bench.now).remove(0);
    assert!(matches!(shortfall.reasons[0], Reason::Braked { .. }), "{shortfall:?}");
}

#[test]
fn l5_preemption_and_lost_nodes_never_trip_the_brake() {
    let mut bench = Bench::new();
    bench.target(1);
    for _ in 0..50 {
        let id = bench.answer().0[0];
        bench.run(id);
        bench.crash(id, if id.is_multiple_of(2) { ExitCause::Preempted } else { ExitCause::NodeLost });
    }
    assert!(!bench.events().iter().any(|event| event.starts_with("failing")));
}

#[test]
fn l5_what_ends_before_it_joins_is_replaced_at_a_growing_pace_and_not_told_as_failing() {
    let mut bench = Bench::new();
    bench.target(1);
    let mut starts = 0;
    for _ in 0..600 {
        for id in bench.answer().0 {
            starts += 1;
            bench.grant(id);
            bench.exit(id, ExitCause::NeverStarted);
        }
        bench.pass(Duration::from_millis(100));
    }
    assert!((6..=10).contains(&starts), "{starts} starts in a minute");
    assert!(!bench.events().iter().any(|event| event.starts_with("failing")));
    bench.pass(seconds(30));
    let id = bench.answer().0[0];
    bench.run(id);
    bench.crash(id, ExitCause::Preempted);
    assert_eq!(bench.answer().0.len(), 1, "a join ends the pace");
}

#[test]
fn l5_an_executor_that_stays_up_ends_the_brake() {
    let mut bench = Bench::new();
    bench.target(1);
    for _ in 0..4 {
        bench.pass(seconds(2));
        let id = bench.answer().0[0];
        bench.run(id);
        bench.crash(id, ExitCause::Code(1));
    }
    bench.pass(seconds(3));
    let id = bench.answer().0[0];
    bench.run(id);
    bench.pass(seconds(60));
    bench.crash(id, ExitCause::Code(1));
    assert_eq!(bench.answer().0.len(), 1);
}

#[test]
fn l7_notices_are_told_once() {
    let mut bench = Bench::new();
    bench.target(3);
    bench.answer();
    bench.run(1);
    bench.run(2);
    bench.events();
    for _ in 0..3 {
        bench.news(ManagerNews::Draining([1, 2, 3].map(ExecutorId).to_vec(), None, "maintenance".into()));
    }
    assert_eq!(bench.events(), ["draining [executor-1, executor-2]"]);
    bench.grant(3);
    assert_eq!(bench.events(), ["granted 3", "draining [executor-3]"]);
}

#[test]
fn f4_an_outage_is_told_and_calls_back_off() {
    let mut bench = Bench::new();
    bench.target(2);
    let mut calls = 0;
    for _ in 0..200 {
        for command in std::mem::take(&mut bench.commands) {
            match command {
                AllocationCommand::Start(wanted) => {
                    calls += 1;
                    let ids = wanted.iter().map(|wanted| wanted.executor).collect();
                    bench.handle(AllocationEvent::StartAnswered(ids, Err(unavailable())));
                }
                AllocationCommand::List => bench.handle(AllocationEvent::Listed(Err(unavailable()))),
                other => panic!("{other:?}"),
            }
        }
        bench.pass(Duration::from_millis(100));
    }
    assert!((5..=10).contains(&calls), "{calls} calls in 20 s");
    assert_eq!(bench.events(), ["manager unreachable"]);
    bench.target(3);
    let shortfall = bench.state.shortfalls(bench.now).remove(0);
    assert!(matches!(shortfall.reasons[..], [Reason::ManagerUnreachable]));
    bench.pass(seconds(10));
    let mut started = bench.answer().0;
    started.sort_unstable();
    started.dedup();
    assert_eq!(started, [1, 2, 3], "the wish made during the outage holds");
    assert_eq!(bench.events(), ["manager recovered"]);
}

#[test]
fn f4_what_the_backend_noticed_only_the_backend_ends() {
    let mut bench = Bench::new();
    bench.news(ManagerNews::Reach(Err(unavailable())));
    bench.target(1);
    bench.answer();
    assert_eq!(bench.events(), ["manager unreachable"]);
    bench.news(ManagerNews::Reach(Ok(())));
    assert_eq!(bench.events(), ["manager recovered"]);
    assert_eq!(bench.answer().0, [1], "what it may have forgotten is said again");
}

#[test]
fn a_refusal_is_no_outage_and_is_explained() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.commands.clear();
    let refusal = Error::new(ErrorKind::PermissionDenied, "no such queue for you");
    bench.handle(AllocationEvent::StartAnswered(vec![ExecutorId(1)], Err(refusal)));
    assert_eq!(bench.events(), Vec::<String>::new());
    let shortfall = bench.state.shortfalls(bench.now).remove(0);
    assert!(matches!(&shortfall.reasons[..], [Reason::Forbidden(words)] if words.contains("no such queue")));
    bench.pass(seconds(1));
    assert_eq!(bench.answer().0, [1]);
}

#[test]
fn f8_what_nobody_wants_is_stopped_and_makes_no_event() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.target(0);
    assert_eq!(bench.answer().1, [1]);
    bench.grant(1);
    bench.news(ManagerNews::Launched(ExecutorId(1), vec![]));
    assert!(!bench.hear(1, Heard::Joined));
    assert_eq!(bench.answer().1, [1]);
    bench.exit(1, ExitCause::Signal(9));
    assert_eq!(bench.events(), Vec::<String>::new());
}

#[test]
fn f8_a_withdrawal_waits_for_the_start_that_names_it() {
    let mut bench = Bench::new();
    bench.target(1);
    let Some(AllocationCommand::Start(wanted)) = bench.commands.pop() else { panic!() };
    bench.target(0);
    assert!(bench.commands.is_empty(), "never two calls that name the same executor");
    bench.handle(AllocationEvent::StartAnswered(vec![wanted[0].executor], Err(unavailable())));
    assert_eq!(bench.answer().1, [1], "an error doesn't say that it wasn't taken");
}

#[test]
fn a_stop_is_asked_again_until_the_exit_comes() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.release(&[1], Duration::ZERO, Then::LowerTarget, ExitCause::Released);
    let mut stops = 0;
    for _ in 0..29 {
        stops += bench.answer().1.len();
        bench.pass(seconds(1));
    }
    assert!((3..=6).contains(&stops), "{stops}");
}

fn list(bench: &mut Bench, listed: &[u64]) {
    for _ in 0..100 {
        if let Some(at) = bench.commands.iter().position(|command| matches!(command, AllocationCommand::List))
        {
            bench.commands.remove(at);
            let ids = listed.iter().map(|id| ExecutorId(*id)).collect();
            return bench.handle(AllocationEvent::Listed(Ok(Some(ids))));
        }
        bench.pass(Duration::from_millis(100));
    }
    panic!("no list was asked for in 10 s");
}

#[test]
fn what_two_lists_in_a_row_lack_has_exited_and_strangers_are_ended() {
    let mut bench = Bench::new();
    bench.target(2);
    let starts = bench.commands.len();
    assert_eq!(starts, 1);
    bench.commands.clear();
    bench.handle(AllocationEvent::StartAnswered(vec![ExecutorId(1), ExecutorId(2)], Ok(())));
    bench.run(1);
    bench.run(2);
    bench.hear(1, Heard::HungUp);
    bench.events();
    list(&mut bench, &[2, 77]);
    assert!(matches!(&bench.commands[..], [AllocationCommand::Stop(ids)] if ids == &[ExecutorId(77)]));
    bench.commands.clear();
    list(&mut bench, &[1, 2]);
    list(&mut bench, &[2]);
    assert_eq!(bench.events(), Vec::<String>::new());
    list(&mut bench, &[2]);
    assert_eq!(bench.events(), ["exited 1: ended for an unknown reason"]);
}

#[test]
fn t1_unregister_ends_all_and_the_stream() {
    let mut bench = Bench::new();
    bench.target(3);
    bench.answer();
    bench.run(1);
    bench.grant(2);
    bench.events();
    let unregister =
        || AllocationEvent::Unregister { outcome: Outcome::Succeeded, deadline: Duration::from_secs(5) };
    bench.handle(unregister());
    bench.handle(unregister());
    assert!(matches!(bench.commands[..], [AllocationCommand::Close { .. }]), "{:?}", bench.commands);
    bench.exit(1, ExitCause::Signal(15));
    bench.hear(1, Heard::HungUp);
    assert_eq!(bench.events(), ["exited 1: ended with its application"]);
    bench.handle(AllocationEvent::CloseAnswered(Ok(())));
    assert_eq!(bench.events(), ["exited 2: ended with its application", "ended by Application"]);
    bench.target(9);
    bench.grant(3);
    bench.pass(seconds(600));
    assert_eq!(bench.events(), Vec::<String>::new());
    assert_eq!(bench.answer(), (vec![], vec![]));
}

#[test]
fn t1_after_a_close_that_failed_the_lease_ends_the_rest() {
    let mut bench = Bench::new();
    bench.target(1);
    bench.answer();
    bench.run(1);
    bench.events();
    bench.handle(AllocationEvent::Unregister { outcome: Outcome::Killed, deadline: seconds(5) });
    bench.pass(seconds(5));
    bench.handle(AllocationEvent::CloseAnswered(Err(unavailable())));
    bench.commands.clear();
    bench.handle(AllocationEvent::Unregister { outcome: Outcome::Killed, deadline: seconds(5) });
    assert!(matches!(bench.commands[..], [AllocationCommand::Close { .. }]), "tried again");
    bench.handle(AllocationEvent::CloseAnswered(Err(unavailable())));
    bench.pass(seconds(30));
    assert_eq!(bench.events(), ["exited 1: ended with its application", "ended by Lease"]);
}

#[test]
fn r6_somebody_elses_end_comes_last_after_every_exit() {
    let mut bench = Bench::new();
    bench.target(3);
    bench.answer();
    bench.run(1);
    bench.run(2);
    bench.exit(2, ExitCause::Code(7));
    bench.events();
    bench.news(ManagerNews::Ended(Outcome::Killed, EndedBy::Operator("ann".into())));
    assert_eq!(
        bench.events(),
        ["exited 1: killed by an operator", "exited 2: exit code 7", "ended by Operator(\"ann\")"]
    );
    assert!(bench.state.has_ended());
    assert_eq!(bench.state.next_deadline(), None);
    assert!(!bench.hear(1, Heard::Joined));
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

#[test]
fn long_messages_and_tails_are_cut() {
    let exit = Exit::new(ExitCause::Code(1), "ä".repeat(9000)).with_log_tail(vec![b'x'; 1 << 20]);
    let exit = endings::bounded(exit);
    assert!(exit.message.len() < 5000 && exit.log_tail.len() == 16 << 10);
    assert_eq!(exit.blame, Blame::Application);
}
