//! What a schedule may do to a cluster: each kind can be left out, which is how a failing schedule is shrunk.

/// One thing that happens to a simulated cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    MasterCrashes,
    WorkerCrashes,
    WorkerStopsForLong,
    LinkBreaks,
    MessageTwice,
    LateMessages,
    ProcessDies,
    LaunchFails,
    DriverDies,
    Drain,
}

impl Fault {
    pub(crate) const ALL: [Fault; 10] = [
        Fault::MasterCrashes,
        Fault::WorkerCrashes,
        Fault::WorkerStopsForLong,
        Fault::LinkBreaks,
        Fault::MessageTwice,
        Fault::LateMessages,
        Fault::ProcessDies,
        Fault::LaunchFails,
        Fault::DriverDies,
        Fault::Drain,
    ];
}

/// A schedule: all that happens follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    /// How many steps have faults; after them the cluster is left in peace.
    pub(crate) steps: u32,
    pub(crate) faults: Vec<Fault>,
    /// Tells each message and crash on standard error.
    pub(crate) trace: bool,
}

impl Schedule {
    pub(crate) fn of_seed(seed: u64) -> Schedule {
        Schedule { seed, steps: 400, faults: Fault::ALL.to_vec(), trace: false }
    }
}

/// The smallest schedule that still fails as `fails` says: fewer steps, then fewer kinds of faults.
pub(crate) fn shrink(schedule: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let mut least = schedule.clone();
    let mut step = least.steps / 2;
    while step > 0 {
        let shorter = Schedule { steps: least.steps - step, ..least.clone() };
        if fails(&shorter) {
            least = shorter;
        } else {
            step /= 2;
        }
        step = step.min(least.steps);
    }
    for kind in Fault::ALL {
        let fewer = Schedule {
            faults: least.faults.iter().copied().filter(|fault| *fault != kind).collect(),
            ..least.clone()
        };
        if fewer.faults.len() < least.faults.len() && fails(&fewer) {
            least = fewer;
        }
    }
    least
}
