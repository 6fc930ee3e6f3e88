use super::*;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = SupervisionEvent> {
    prop_oneof![
        Just(On::Deadline),
        Just(On::Joined(terms())),
        Just(On::JoinFailed("x".into())),
        Just(On::JoinRefused("x".into())),
        Just(On::LinkOpened),
        Just(On::LinkLost("x".into())),
        Just(On::LinkRefused("x".into())),
        (0_u64..9).prop_map(On::Renewed),
        Just(On::DrainOrdered("x".into())),
        Just(On::EndOrdered("x".into(), ExitCause::Released)),
        Just(On::ProgramStarted(42)),
        Just(On::ProgramNotStarted(LaunchFailure::Other, "x".into())),
        Just(On::ProgramReady(BTreeMap::new())),
        Just(On::ProgramAlive),
        Just(On::ProgramExited(ProcessExit::Signal(9))),
        Just(On::KilledForMemory),
        (0_u64..300).prop_map(|mib| On::MemorySeen(MiB(mib))),
        Just(On::TreeGone),
        Just(On::DriverGone),
        Just(On::GuardGone),
        Just(On::Terminated),
    ]
}

proptest! {
    /// Whatever comes, in whatever order: it exits once, only when the tree is gone, and never without a driver for
    /// more than a lease, a grace and the patience of the account.
    #[test]
    fn it_always_comes_to_an_end(
        events in proptest::collection::vec((event(), 0_u64..3_000), 0..60),
    ) {
        let mut rig = Rig::new();
        let mut exits = 0;
        let mut tree_gone_told = false;
        let mut count = |out: Vec<SupervisionCommand>, gone: bool| {
            for command in out {
                if let Do::Exit(_) = command {
                    exits += 1;
                    assert!(gone, "it went before its tree");
                }
            }
            assert!(exits <= 1);
        };
        for (event, pause) in events {
            tree_gone_told |= event == On::TreeGone;
            let out = rig.on(event);
            count(out, tree_gone_told);
            let out = rig.pass(Duration::from_millis(pause));
            count(out, tree_gone_told);
        }
        rig.on(On::LinkLost("cut off".into()));
        let out = rig.pass(LEASE + GRACE);
        count(out, tree_gone_told);
        let out = rig.on(On::TreeGone);
        count(out, true);
        let out = rig.pass(ACCOUNT_PATIENCE);
        count(out, true);
        prop_assert!(rig.supervision.is_over());
    }
}
