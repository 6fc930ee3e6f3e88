//! The life of executors: L1 to L7.

use super::*;

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
fn long_messages_and_tails_are_cut() {
    let exit = Exit::new(ExitCause::Code(1), "ä".repeat(9000)).with_log_tail(vec![b'x'; 1 << 20]);
    let exit = endings::bounded(exit);
    assert!(exit.message.len() < 5000 && exit.log_tail.len() == 16 << 10);
    assert_eq!(exit.blame, Blame::Application);
}
