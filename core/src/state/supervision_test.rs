use super::ending::ACCOUNT_PATIENCE;
use super::*;
use crate::manager::LaunchFailure;
use crate::process::exit::ProcessExit;
use SupervisionCommand as Do;
use SupervisionEvent as On;

const BEAT: Duration = Duration::from_secs(2);
const LOST: Duration = Duration::from_secs(9);
const LEASE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(1);

fn terms() -> Terms {
    Terms {
        heartbeat_interval: BEAT,
        lost_after: LOST,
        lease: LEASE,
        end_grace: GRACE,
        memory: Some(MiB(256)),
        watch_memory: true,
        ready_deadline: None,
        foreign: None,
    }
}

fn foreign() -> Option<ForeignTerms> {
    Some(ForeignTerms { stop_signal: 15, awaited: "its port HTTP didn't answer".into() })
}

/// A supervisor with a made-up clock.
struct Rig {
    now: Moment,
    supervision: Supervision,
}

impl Rig {
    fn new() -> Rig {
        let now = Moment::ZERO + Duration::from_secs(1000);
        let mut rig = Rig { now, supervision: Supervision::new(now, LEASE, 7) };
        let mut out = Vec::new();
        rig.supervision.start(rig.now, &mut out);
        assert_eq!(out, [Do::Join]);
        rig
    }

    fn running() -> Rig {
        Rig::running_with(terms())
    }

    fn running_with(terms: Terms) -> Rig {
        let mut rig = Rig::new();
        assert_eq!(rig.on(On::Joined(terms)), [Do::StartProgram, Do::OpenLink]);
        assert_eq!(rig.on(On::LinkOpened).len(), 1);
        assert_eq!(rig.on(On::Renewed(1)), []);
        assert_eq!(rig.on(On::ProgramStarted(42)), []);
        rig
    }

    fn on(&mut self, event: SupervisionEvent) -> Vec<SupervisionCommand> {
        let mut out = Vec::new();
        self.supervision.handle(self.now, event, &mut out);
        out
    }

    /// Lets `time` pass, with all deadlines on the way.
    fn pass(&mut self, time: Duration) -> Vec<SupervisionCommand> {
        let end = self.now + time;
        let mut out = Vec::new();
        for _ in 0..10_000 {
            match self.supervision.next_deadline() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.supervision.handle(self.now, On::Deadline, &mut out);
                }
                _ => {
                    self.now = end;
                    return out;
                }
            }
        }
        panic!("it spins: {:?}", self.supervision);
    }

    /// Plays the shell at the end of the tree; says what the account and the exit were.
    fn finish(&mut self) -> (ExitCause, ProcessExit) {
        let told = self.on(On::TreeGone);
        let [Do::ReportEnd { cause, .. }] = &told[..] else { panic!("no account, but {told:?}") };
        let cause = cause.clone();
        let exit = self.on(On::LinkLost("the driver hung up".into()));
        let [Do::Exit(exit)] = exit[..] else { panic!("no exit, but {exit:?}") };
        assert!(self.supervision.is_over());
        assert_eq!(self.supervision.next_deadline(), None);
        (cause, exit)
    }
}

fn beats(commands: &[SupervisionCommand]) -> Vec<(u64, Duration)> {
    let beats = commands.iter().filter_map(|command| match command {
        Do::Heartbeat { number, program_silent, .. } => Some((*number, *program_silent)),
        _ => None,
    });
    beats.collect()
}

#[test]
fn a_program_that_ends_gives_its_own_cause() {
    for (exit, cause) in [
        (ProcessExit::Code(0), ExitCause::Code(0)),
        (ProcessExit::Code(7), ExitCause::Code(7)),
        (ProcessExit::Signal(11), ExitCause::Signal(11)),
        (ProcessExit::Signal(9), ExitCause::Signal(9)),
    ] {
        let mut rig = Rig::running();
        assert_eq!(rig.on(On::ProgramExited(exit)), [Do::TerminateTree]);
        assert_eq!(rig.finish(), (cause, exit));
    }
}

#[test]
fn heartbeats_tell_how_long_the_program_is_silent_and_go_on_without_it() {
    let mut rig = Rig::running();
    let mut number = 1;
    for silent in [2, 4, 6] {
        let out = rig.pass(BEAT);
        number += 1;
        assert_eq!(beats(&out), [(number, Duration::from_secs(silent))]);
        rig.on(On::Renewed(number));
    }
    rig.on(On::ProgramAlive);
    assert_eq!(beats(&rig.pass(BEAT)), [(5, BEAT)]);
}

#[test]
fn a_silence_that_makes_the_program_lost_is_told_at_once_and_once() {
    let mut rig = Rig::running();
    rig.pass(Duration::from_secs(1));
    rig.on(On::ProgramAlive);
    let told = beats(&rig.pass(LOST));
    assert_eq!(told.last(), Some(&(6, LOST)), "{told:?}");
    assert_eq!(beats(&rig.pass(BEAT)).len(), 1, "and then at each interval");
    rig.on(On::ProgramAlive);
    assert_eq!(beats(&rig.pass(LOST)).last().map(|(_, silent)| *silent), Some(LOST));
}

#[test]
fn without_a_driver_it_ends_at_the_end_of_the_lease() {
    let mut rig = Rig::running();
    let contact = rig.now;
    rig.on(On::LinkLost("connection reset".into()));
    let mut out = Vec::new();
    while out.is_empty() || !out.contains(&Do::TerminateTree) {
        let at = rig.supervision.next_deadline().unwrap();
        assert!(at <= contact + LEASE);
        rig.now = at;
        out = rig.on(On::Deadline);
        if out.contains(&Do::OpenLink) {
            rig.on(On::LinkLost("refused".into()));
        }
    }
    assert_eq!(rig.now, contact + LEASE);
    assert!(rig.pass(GRACE).contains(&Do::KillTree));
    assert_eq!(rig.on(On::TreeGone), [Do::Exit(ProcessExit::Code(125))]);
}

#[test]
fn a_lost_link_is_opened_again_and_costs_nothing_within_the_lease() {
    let mut rig = Rig::running();
    rig.on(On::ProgramReady(BTreeMap::new()));
    assert_eq!(rig.on(On::LinkLost("reset".into())), []);
    assert_eq!(rig.pass(Duration::from_millis(30)), [Do::OpenLink]);
    // The driver hears again what it may have missed.
    let out = rig.on(On::LinkOpened);
    assert!(matches!(out[..], [Do::ReportReady { process: 42, .. }, Do::Heartbeat { .. }]), "{out:?}");
    // And a link that is being opened is not opened twice.
    rig.on(On::LinkLost("reset".into()));
    let tries = rig.pass(Duration::from_secs(5));
    assert_eq!(tries, [Do::OpenLink]);
}

#[test]
fn a_link_without_answers_is_kept_for_a_driver_that_only_pauses() {
    let mut rig = Rig::running();
    let out = rig.pass(LEASE - BEAT);
    assert_eq!(beats(&out).len(), out.len(), "nothing but heartbeats: {out:?}");
    let (last, _) = beats(&out)[out.len() - 1];
    rig.on(On::Renewed(last));
    assert!(!rig.pass(LEASE - BEAT * 2).contains(&Do::TerminateTree));
}

#[test]
fn joining_is_tried_again_and_ends_with_the_lease_naming_the_last_failure() {
    let mut rig = Rig::new();
    let start = rig.now;
    let mut tries = 1;
    let mut out = Vec::new();
    while !out.contains(&Do::TerminateTree) {
        out = rig.on(On::JoinFailed("192.0.2.1:7077: connection refused".into()));
        out.extend(rig.pass(rig.supervision.next_deadline().unwrap().since(rig.now)));
        tries += usize::from(out.contains(&Do::Join));
    }
    assert_eq!(rig.now, start + LEASE);
    assert!((25..50).contains(&tries), "{tries} tries in 30 s");
    let account = rig.supervision.account.clone().unwrap();
    assert_eq!(account.cause, ExitCause::LeaseExpired);
    assert!(account.message.contains("192.0.2.1:7077"), "{}", account.message);
    assert_eq!(rig.on(On::TreeGone), [Do::Exit(ProcessExit::Code(125))]);
}

#[test]
fn a_refused_join_ends_at_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.on(On::JoinRefused("the ticket is spent".into())), [Do::TerminateTree]);
    assert_eq!(rig.on(On::TreeGone), [Do::Exit(ProcessExit::Code(125))]);
}

#[test]
fn an_order_to_end_has_the_drivers_cause_whatever_our_signals_do() {
    for exit in [ProcessExit::Signal(15), ProcessExit::Signal(9), ProcessExit::Code(0)] {
        let mut rig = Rig::running();
        let out = rig.on(On::EndOrdered("no longer needed".into(), ExitCause::Released));
        assert_eq!(out, [Do::TerminateTree]);
        assert!(rig.pass(GRACE).contains(&Do::KillTree));
        rig.on(On::ProgramExited(exit));
        assert_eq!(rig.finish(), (ExitCause::Released, ProcessExit::Code(0)));
    }
}

#[test]
fn what_ended_before_the_order_keeps_its_own_cause() {
    let mut rig = Rig::running();
    rig.on(On::ProgramExited(ProcessExit::Signal(11)));
    assert_eq!(rig.on(On::EndOrdered(String::new(), ExitCause::Released)), []);
    assert_eq!(rig.finish().0, ExitCause::Signal(11));
}

#[test]
fn drained_by_its_driver_it_was_released() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::DrainOrdered("surplus".into())), [Do::DrainProgram]);
    assert_eq!(rig.on(On::DrainOrdered("surplus".into())), []);
    rig.on(On::ProgramExited(ProcessExit::Code(0)));
    assert_eq!(rig.finish(), (ExitCause::Released, ProcessExit::Code(0)));
    // But what fails while it drains, failed.
    let mut rig = Rig::running();
    rig.on(On::DrainOrdered("surplus".into()));
    rig.on(On::ProgramExited(ProcessExit::Code(101)));
    assert_eq!(rig.finish().0, ExitCause::Code(101));
}

#[test]
fn sigterm_out_of_the_blue_is_told_and_drains() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::Terminated), [Do::ReportEviction, Do::DrainProgram]);
    // A new link hears of it too.
    rig.on(On::LinkLost("reset".into()));
    rig.pass(Duration::from_millis(30));
    assert!(rig.on(On::LinkOpened).contains(&Do::ReportEviction));
    rig.on(On::ProgramExited(ProcessExit::Code(0)));
    assert_eq!(rig.finish(), (ExitCause::Signal(15), ProcessExit::Signal(15)));
}

#[test]
fn a_second_sigterm_ends_at_once_and_one_after_a_drain_is_the_release() {
    let mut rig = Rig::running();
    rig.on(On::Terminated);
    assert_eq!(rig.on(On::Terminated), [Do::TerminateTree]);
    assert_eq!(rig.finish().0, ExitCause::Signal(15));

    let mut rig = Rig::running();
    rig.on(On::DrainOrdered("surplus".into()));
    assert_eq!(rig.on(On::Terminated), [Do::TerminateTree]);
    assert_eq!(rig.finish().0, ExitCause::Released);
}

#[test]
fn a_foreign_program_is_drained_by_sigterm() {
    let mut rig = Rig::running_with(Terms { foreign: foreign(), ..terms() });
    assert_eq!(rig.on(On::DrainOrdered("surplus".into())), [Do::SignalProgram(15)]);
    rig.on(On::ProgramExited(ProcessExit::Signal(15)));
    assert_eq!(rig.finish().0, ExitCause::Released);
}

#[test]
fn a_foreign_program_is_drained_by_the_signal_that_it_asks_for() {
    let asked = |stop_signal| Some(ForeignTerms { stop_signal, awaited: "nothing came".into() });
    for (exit, cause) in [
        (ProcessExit::Signal(2), ExitCause::Released),
        // As a shell, or Python, tells it.
        (ProcessExit::Code(130), ExitCause::Released),
        (ProcessExit::Code(0), ExitCause::Released),
        (ProcessExit::Code(1), ExitCause::Code(1)),
        (ProcessExit::Signal(15), ExitCause::Signal(15)),
    ] {
        let mut rig = Rig::running_with(Terms { foreign: asked(2), ..terms() });
        assert_eq!(rig.on(On::DrainOrdered("surplus".into())), [Do::SignalProgram(2)]);
        rig.on(On::ProgramExited(exit));
        assert_eq!(rig.finish().0, cause, "{exit:?}");
    }
    // Not drained, the same exit is the program's own.
    let mut rig = Rig::running_with(Terms { foreign: asked(2), ..terms() });
    rig.on(On::ProgramExited(ProcessExit::Signal(2)));
    assert_eq!(rig.finish().0, ExitCause::Signal(2));
}

#[test]
fn a_foreign_program_that_is_not_ready_in_time_is_ended() {
    let ready_deadline = Some(Duration::from_secs(5));
    let mut rig = Rig::running_with(Terms { foreign: foreign(), ready_deadline, ..terms() });
    let out = rig.pass(Duration::from_secs(5));
    assert_eq!(out.last(), Some(&Do::TerminateTree));
    assert!(rig.supervision.account().unwrap().contains("not ready within 5s: its port HTTP didn't answer"));
    assert_eq!(rig.finish().0, ExitCause::NeverReady);

    let mut rig = Rig::running_with(Terms { foreign: foreign(), ready_deadline, ..terms() });
    let ports = BTreeMap::from([("PORT".to_owned(), 4000)]);
    assert!(matches!(&rig.on(On::ProgramReady(ports.clone()))[..],
        [Do::ReportReady { process: 42, ports: told }] if *told == ports));
    assert!(!rig.pass(Duration::from_secs(6)).contains(&Do::TerminateTree));
}

#[test]
fn memory_over_the_limit_kills_without_grace() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::MemorySeen(MiB(256))), []);
    assert_eq!(rig.on(On::MemorySeen(MiB(257))), [Do::KillTree]);
    assert_eq!(rig.on(On::MemorySeen(MiB(300))), []);
    rig.on(On::ProgramExited(ProcessExit::Signal(9)));
    assert_eq!(rig.finish(), (ExitCause::OutOfMemory { limit: MiB(256) }, ProcessExit::Signal(9)));
}

#[test]
fn where_the_kernel_keeps_the_limit_our_own_sum_ends_nothing() {
    let mut rig = Rig::running_with(Terms { watch_memory: false, ..terms() });
    assert_eq!(rig.on(On::MemorySeen(MiB(400))), []);
    assert!(matches!(rig.pass(BEAT)[..], [Do::Heartbeat { resident: MiB(400), .. }]));
}

#[test]
fn the_kernels_kill_is_out_of_memory_also_when_it_is_seen_late() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::ProgramExited(ProcessExit::Signal(9))), [Do::TerminateTree]);
    assert_eq!(rig.on(On::KilledForMemory), [Do::KillTree]);
    assert_eq!(rig.finish().0, ExitCause::OutOfMemory { limit: MiB(256) });
}

#[test]
fn a_program_that_cant_be_started_says_why() {
    let mut rig = Rig::new();
    rig.on(On::Joined(terms()));
    rig.on(On::LinkOpened);
    let failure = LaunchFailure::NoSuchProgram;
    assert_eq!(rig.on(On::ProgramNotStarted(failure.clone(), "no such file".into())), [Do::TerminateTree]);
    assert_eq!(rig.finish(), (ExitCause::LaunchFailed(failure), ProcessExit::Code(127)));
}

#[test]
fn the_drivers_death_ends_it_at_once_and_nobody_is_waited_for() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::DriverGone), [Do::TerminateTree]);
    assert_eq!(rig.on(On::LinkLost("reset".into())), []);
    assert_eq!(rig.on(On::TreeGone), [Do::Exit(ProcessExit::Code(125))]);
}

#[test]
fn the_guards_death_ends_it() {
    let mut rig = Rig::running();
    assert_eq!(rig.on(On::GuardGone), [Do::TerminateTree]);
    assert_eq!(rig.finish(), (ExitCause::Signal(9), ProcessExit::Signal(9)));
}

#[test]
fn a_program_that_comes_up_while_it_is_being_ended_is_ended_too() {
    let mut rig = Rig::new();
    rig.on(On::Joined(terms()));
    rig.on(On::DriverGone);
    assert_eq!(rig.on(On::ProgramStarted(42)), [Do::TerminateTree]);
    rig.pass(GRACE);
    assert_eq!(rig.on(On::ProgramStarted(42)), [Do::KillTree]);
}

#[test]
fn an_order_to_drain_before_the_program_is_there_is_kept() {
    let mut rig = Rig::new();
    rig.on(On::Joined(terms()));
    assert_eq!(rig.on(On::DrainOrdered("surplus".into())), []);
    assert_eq!(rig.on(On::ProgramStarted(42)), [Do::DrainProgram]);
}

#[test]
fn the_account_is_delivered_on_a_new_link_where_the_old_one_is_lost() {
    let mut rig = Rig::running();
    rig.on(On::ProgramExited(ProcessExit::Code(3)));
    rig.on(On::LinkLost("reset".into()));
    let out: Vec<_> = rig.on(On::TreeGone);
    assert_eq!(out, [Do::OpenLink]);
    assert!(matches!(rig.on(On::LinkOpened)[..], [Do::ReportEnd { cause: ExitCause::Code(3), .. }]));
    assert_eq!(rig.on(On::LinkLost("done".into())), [Do::Exit(ProcessExit::Code(3))]);
}

#[test]
fn an_account_that_nobody_takes_does_not_hold_up_the_end() {
    let mut rig = Rig::running();
    rig.on(On::ProgramExited(ProcessExit::Code(3)));
    rig.on(On::TreeGone);
    assert_eq!(rig.pass(ACCOUNT_PATIENCE), [Do::Exit(ProcessExit::Code(3))]);
}

#[test]
fn a_fenced_executor_ends() {
    let mut rig = Rig::running();
    rig.on(On::LinkLost("reset".into()));
    rig.pass(Duration::from_millis(30));
    assert_eq!(rig.on(On::LinkRefused("counted lost".into())), [Do::TerminateTree]);
    assert_eq!(rig.on(On::TreeGone), [Do::Exit(ProcessExit::Code(125))]);
}

#[test]
fn why_the_program_cant_go_on_is_in_the_account() {
    let mut rig = Rig::running();
    rig.on(On::ProgramFailed("another binary's functions".into()));
    rig.on(On::ProgramExited(ProcessExit::Code(1)));
    let out = rig.on(On::TreeGone);
    assert_eq!(
        out,
        [Do::ReportEnd { cause: ExitCause::Code(1), message: "another binary's functions".into() }]
    );
}

#[path = "supervision/anything_test.rs"]
mod anything;
