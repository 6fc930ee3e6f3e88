use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::manager::Blame;

const E: ExecutorId = ExecutorId(1);
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Moment {
    Moment::ZERO + SECOND * u32::try_from(seconds).unwrap()
}

fn table() -> ExecutorTable {
    ExecutorTable::new(ExecutorTimes::default())
}

/// A table with one executor that joined, is supervised and takes tasks at second 0.
fn ready() -> ExecutorTable {
    let (mut table, mut out) = (table(), Vec::new());
    table.handle(at(0), E, ExecutorEvent::Granted { profile: ProfileId(0), host: None }, &mut out);
    table.handle(at(0), E, ExecutorEvent::Launched, &mut out);
    table.may_join(E).unwrap();
    table.join(at(0), E, ProfileId(0), None, &mut out);
    table.handle(at(0), E, ExecutorEvent::Supervised, &mut out);
    table.handle(at(0), E, ExecutorEvent::Ready, &mut out);
    assert_eq!(out, [ExecutorCommand::Joined(E), ExecutorCommand::Ready(E)]);
    assert_eq!(table.ready(), 1);
    table
}

fn step(table: &mut ExecutorTable, now: Moment, event: ExecutorEvent) -> Vec<ExecutorCommand> {
    let mut out = Vec::new();
    table.handle(now, E, event, &mut out);
    out
}

fn tick(table: &mut ExecutorTable, now: Moment) -> Vec<ExecutorCommand> {
    let mut out = Vec::new();
    table.tick(now, &mut out);
    out
}

fn beat(number: u64, silent: u64) -> ExecutorEvent {
    ExecutorEvent::Heartbeat { number, program_silent: SECOND * u32::try_from(silent).unwrap() }
}

fn release(why: ExitCause) -> ExecutorCommand {
    release_now(E, why)
}

fn lost_as(commands: &[ExecutorCommand]) -> Option<&Exit> {
    commands.iter().find_map(|command| match command {
        ExecutorCommand::Lost(_, exit) => Some(exit),
        _ => None,
    })
}

#[test]
fn each_way_to_misuse_a_ticket_has_its_reason() {
    let mut table = ready();
    assert_eq!(table.may_join(E), Err(Refusal::SpentTicket));
    assert_eq!(table.may_supervise(E), Err(Refusal::SecondSupervisor));
    step(&mut table, at(1), ExecutorEvent::HungUp);
    assert_eq!(table.may_join(E), Err(Refusal::ReplayedTicket));
    assert_eq!(table.may_supervise(E), Err(Refusal::Fenced));
    step(&mut table, at(1), ExecutorEvent::Exited(Exit::new(ExitCause::Signal(9), "")));
    assert_eq!(table.may_join(E), Err(Refusal::ReplayedTicket));
    table.withdrawn(ExecutorId(2));
    assert_eq!(table.may_join(ExecutorId(2)), Err(Refusal::WithdrawnTicket));
    let mut out = Vec::new();
    let exit = Exit::new(ExitCause::NeverStarted, "");
    table.handle(at(1), ExecutorId(3), ExecutorEvent::Exited(exit), &mut out);
    assert_eq!(table.may_join(ExecutorId(3)), Err(Refusal::WithdrawnTicket));
}

#[test]
fn a_join_may_overtake_the_managers_news() {
    let (mut table, mut out) = (table(), Vec::new());
    table.may_join(E).unwrap();
    table.join(at(0), E, ProfileId(3), Name::new("itself").ok(), &mut out);
    let granted = ExecutorEvent::Granted { profile: ProfileId(3), host: Name::new("spelled").ok() };
    table.handle(at(0), E, granted, &mut out);
    table.handle(at(0), E, ExecutorEvent::Launched, &mut out);
    let entry = table.entry(E).unwrap();
    assert_eq!(entry.phase(), ExecutorPhase::Joined);
    assert_eq!(entry.host.as_ref().map(Name::as_str), Some("spelled"));
}

#[test]
fn heartbeats_keep_it_and_silence_loses_it() {
    let mut table = ready();
    assert_eq!(step(&mut table, at(2), beat(1, 0)), [ExecutorCommand::Renew(E, 1)]);
    assert_eq!(tick(&mut table, at(11)), []);
    let commands = tick(&mut table, at(12));
    assert!(
        matches!(&commands[..], [
            ExecutorCommand::OrderEnd(_, exit),
            ExecutorCommand::Gone(_),
            ExecutorCommand::Release { why: ExitCause::LostContact, then: Then::Replace, .. },
            ExecutorCommand::Hear(_, Heard::HungUp),
        ] if exit.cause == ExitCause::LostContact),
        "{commands:?}"
    );
    // Fenced: nothing of it counts, and its lease is renewed no more.
    assert_eq!(step(&mut table, at(13), beat(2, 0)), []);
    assert_eq!(table.counts(E), Err(Refusal::Fenced));
    // The wait for the manager's cause is bounded.
    assert_eq!(tick(&mut table, at(16)), []);
    let commands = tick(&mut table, at(17));
    assert_eq!(lost_as(&commands).unwrap().blame, Blame::Infrastructure);
    assert_eq!(commands.len(), 1, "released already: {commands:?}");
    assert_eq!(table.next_deadline(), None);
}

#[test]
fn a_program_that_is_silent_behind_a_live_supervisor_is_lost() {
    let mut table = ready();
    assert_eq!(step(&mut table, at(2), beat(1, 9)), [ExecutorCommand::Renew(E, 1)]);
    let commands = step(&mut table, at(4), beat(2, 10));
    assert!(commands.contains(&ExecutorCommand::Gone(E)), "{commands:?}");
    assert!(commands.contains(&release(ExitCause::LostContact)), "{commands:?}");
    assert!(!commands.iter().any(|command| matches!(command, ExecutorCommand::Renew(..))));
}

#[test]
fn tasks_move_at_once_and_blame_waits_for_the_manager() {
    let mut table = ready();
    let commands = step(&mut table, at(1), ExecutorEvent::HungUp);
    assert_eq!(commands, [ExecutorCommand::Gone(E), ExecutorCommand::Hear(E, Heard::HungUp)]);
    let exit = Exit::new(ExitCause::Preempted, "for somebody else");
    let commands = step(&mut table, at(3), ExecutorEvent::Exited(exit.clone()));
    assert_eq!(commands, [ExecutorCommand::Lost(E, exit)]);
    // Doubled and late news changes nothing.
    assert_eq!(step(&mut table, at(3), ExecutorEvent::Exited(Exit::new(ExitCause::Code(1), ""))), []);
    assert_eq!(tick(&mut table, at(100)), []);
}

#[test]
fn a_manager_that_says_nothing_is_not_waited_for_longer() {
    let mut table = ready();
    step(&mut table, at(1), ExecutorEvent::HungUp);
    assert_eq!(tick(&mut table, at(5)), []);
    let commands = tick(&mut table, at(6));
    assert_eq!(commands[0], release(ExitCause::LostContact));
    assert_eq!(lost_as(&commands).unwrap().cause, ExitCause::LostContact);
}

#[test]
fn the_supervisors_account_goes_to_the_manager_and_its_log_is_kept() {
    let mut table = ready();
    let account = Exit::new(ExitCause::Signal(11), "crashed").with_log_tail(&b"segfault"[..]);
    let commands = step(&mut table, at(1), ExecutorEvent::Ended(account.clone()));
    assert_eq!(commands, [ExecutorCommand::Gone(E), ExecutorCommand::Hear(E, Heard::Ended(account))]);
    let commands = step(&mut table, at(2), ExecutorEvent::Exited(Exit::new(ExitCause::Signal(11), "")));
    assert_eq!(&lost_as(&commands).unwrap().log_tail[..], b"segfault");
}

#[test]
fn an_exit_that_the_manager_declares_while_the_connection_lives_is_final() {
    let mut table = ready();
    let commands = step(&mut table, at(1), ExecutorEvent::Exited(Exit::new(ExitCause::NodeLost, "")));
    assert!(matches!(
        &commands[..],
        [ExecutorCommand::OrderEnd(..), ExecutorCommand::Gone(_), ExecutorCommand::Lost(..)]
    ));
    assert_eq!(step(&mut table, at(2), beat(1, 0)), []);
    assert_eq!(table.counts(E), Err(Refusal::Fenced));
}

#[test]
fn a_program_that_lets_go_may_come_back_in_time() {
    let mut table = ready();
    step(&mut table, at(1), ExecutorEvent::Detached);
    step(&mut table, at(8), beat(1, 0));
    assert_eq!(step(&mut table, at(9), ExecutorEvent::Ready), []);
    step(&mut table, at(16), beat(2, 0));
    assert_eq!(tick(&mut table, at(16)), []);
    step(&mut table, at(17), ExecutorEvent::Detached);
    step(&mut table, at(26), beat(3, 0));
    assert_eq!(tick(&mut table, at(26)), []);
    assert!(tick(&mut table, at(27)).contains(&ExecutorCommand::Gone(E)));
}

#[test]
fn a_notice_drains_its_grace_before_the_time_named() {
    let mut table = ready();
    let notice =
        |seconds| ExecutorEvent::WillGo { within: Some(SECOND * seconds), why: "maintenance".to_owned() };
    assert_eq!(step(&mut table, at(0), notice(35)), []);
    step(&mut table, at(4), beat(1, 0));
    assert_eq!(tick(&mut table, at(4)), []);
    let commands = tick(&mut table, at(5));
    assert!(matches!(
        &commands[..],
        [
            ExecutorCommand::OrderDrain(..),
            ExecutorCommand::Draining(..),
            ExecutorCommand::Release { then: Then::Replace, why: ExitCause::NodeDrained, .. }
        ]
    ));
    assert_eq!(table.ready(), 0);
    // At once where no time is named; and once is enough.
    let mut table = ready();
    let now = ExecutorEvent::WillGo { within: None, why: "spot".to_owned() };
    assert_eq!(step(&mut table, at(0), now.clone()).len(), 3);
    assert_eq!(step(&mut table, at(0), now), []);
}

#[test]
fn a_notice_before_the_join_is_told_after_it() {
    let (mut table, mut out) = (table(), Vec::new());
    table.handle(at(0), E, ExecutorEvent::Granted { profile: ProfileId(0), host: None }, &mut out);
    let notice = ExecutorEvent::WillGo { within: None, why: "spot".to_owned() };
    table.handle(at(0), E, notice, &mut out);
    table.join(at(1), E, ProfileId(0), None, &mut out);
    out.clear();
    table.handle(at(1), E, ExecutorEvent::Supervised, &mut out);
    assert!(matches!(out[0], ExecutorCommand::OrderDrain(..)), "{out:?}");
}

#[test]
fn silence_of_a_driver_that_was_held_up_is_nobodys() {
    let mut table = ready();
    table.forgive(at(60));
    assert_eq!(tick(&mut table, at(60)), []);
    assert_eq!(tick(&mut table, at(69)), []);
    assert!(tick(&mut table, at(70)).contains(&ExecutorCommand::Gone(E)));
}

fn events() -> impl Strategy<Value = ExecutorEvent> {
    let exit = || Exit::new(ExitCause::Code(1), "");
    prop_oneof![
        Just(ExecutorEvent::Granted { profile: ProfileId(0), host: None }),
        Just(ExecutorEvent::Launched),
        Just(ExecutorEvent::Exited(exit())),
        (0_u32..40).prop_map(|within| ExecutorEvent::WillGo {
            within: (within > 0).then_some(SECOND * within),
            why: String::new()
        }),
        Just(ExecutorEvent::Supervised),
        (0_u64..12).prop_map(|silent| beat(1, silent)),
        Just(beat(1, 0)),
        Just(ExecutorEvent::Ready),
        Just(ExecutorEvent::Detached),
        Just(ExecutorEvent::Ended(exit())),
        Just(ExecutorEvent::HungUp),
        Just(ExecutorEvent::Evicted { why: String::new() }),
        Just(ExecutorEvent::Drain { why: String::new(), grace: SECOND, then: Then::Replace }),
        Just(ExecutorEvent::Condemned { why: String::new() }),
    ]
}

proptest! {
    /// Whatever comes in whatever order: gone once and before lost, lost once and last, nothing given to one that is gone,
    /// no way back, and no deadline that is forgotten.
    #[test]
    fn no_order_of_news_breaks_the_life_of_an_executor(
        steps in proptest::collection::vec((0_u64..3, 0_u64..5, proptest::option::weighted(0.9, events())), 1..120)
    ) {
        let mut table = table();
        let mut now = 0;
        let (mut joined, mut gone, mut lost) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (executor, pause, event) in steps {
            let executor = ExecutorId(executor);
            now += pause;
            let mut out = Vec::new();
            table.tick(at(now), &mut out);
            match event {
                None => if table.may_join(executor).is_ok() {
                    table.join(at(now), executor, ProfileId(0), None, &mut out);
                },
                Some(event) => table.handle(at(now), executor, event, &mut out),
            }
            prop_assert!(table.next_deadline().is_none_or(|next| next >= at(now)), "a deadline in the past");
            for command in out {
                match command {
                    ExecutorCommand::Joined(e) => {
                        prop_assert!(joined.insert(e), "joined twice");
                        prop_assert!(!lost.contains(&e));
                    }
                    ExecutorCommand::Gone(e) => {
                        prop_assert!(joined.contains(&e) && gone.insert(e), "gone twice, or before it joined");
                        prop_assert!(!lost.contains(&e));
                        prop_assert!(table.counts(e).is_err());
                    }
                    ExecutorCommand::Lost(e, _) => {
                        prop_assert!(!joined.contains(&e) || gone.contains(&e), "lost before gone");
                        prop_assert!(lost.insert(e), "lost twice");
                    }
                    ExecutorCommand::Renew(e, _) | ExecutorCommand::Ready(e) | ExecutorCommand::Draining(e, _)
                    | ExecutorCommand::OrderDrain(e, _) | ExecutorCommand::OrderEnd(e, _) => {
                        prop_assert!(joined.contains(&e) && !gone.contains(&e), "given to one that is gone");
                    }
                    ExecutorCommand::Hear(e, _) => prop_assert!(!lost.contains(&e)),
                    ExecutorCommand::Release { .. } => {}
                }
            }
        }
        // With nothing more heard, every one that joined is lost in bounded time.
        let mut out = Vec::new();
        table.tick(at(now + 100), &mut out);
        table.tick(at(now + 200), &mut out);
        lost.extend(out.iter().filter_map(|command| match command {
            ExecutorCommand::Lost(e, _) => Some(*e),
            _ => None,
        }));
        prop_assert!(joined.is_subset(&lost), "{joined:?} {lost:?}");
        prop_assert_eq!(table.next_deadline(), None);
    }
}
