//! Outages, what nobody wants, and the end: F4, F8, R6, T1.

use super::*;

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
