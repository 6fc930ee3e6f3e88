//! The goals of `docs/performance.md`, and how far a run is from them.

use std::fmt;

use crate::figures::{Figures, short};

/// The systems that may be measured in the same rounds, by the prefix of their rows.
pub(crate) const PEERS: [&str; 3] = ["ray", "dask", "spark"];

/// What is held against a goal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Measure {
    /// A row's median.
    Value(&'static str),
    /// One row's median in those of another.
    Ratio(&'static str, &'static str),
    /// A row's median in that of the fastest peer: where less is better.
    LessThanPeers(&'static str),
    /// The same where more is better.
    MoreThanPeers(&'static str),
    /// In that of Ray, which shares memory.
    Ray(&'static str),
}

impl Measure {
    /// `None` where it wasn't measured in this run.
    pub(crate) fn of(self, figures: &Figures) -> Option<f64> {
        let value = |key: &str| figures.row(key).map(|row| row.median());
        let peers =
            |key: &'static str| figures.peers(key).map(|row| row.median()).filter(|value| *value > 0.0);
        match self {
            Measure::Value(key) => value(key),
            Measure::Ratio(of, to) => Some(value(of)? / value(to)?),
            Measure::LessThanPeers(key) => Some(value(key)? / peers(key).reduce(f64::min)?),
            Measure::MoreThanPeers(key) => Some(value(key)? / peers(key).reduce(f64::max)?),
            Measure::Ray(key) => Some(value(key)? / value(&format!("ray.{key}"))?),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = match self {
            Bound::AtMost(value) => ('≤', value),
            Bound::AtLeast(value) => ('≥', value),
        };
        f.pad(&format!("{sign} {}", short(*value)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Aim,
    Must,
    Short,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Aim => "aim",
            Verdict::Must => "must",
            Verdict::Short => "FALLS SHORT",
        })
    }
}

pub(crate) struct Goal {
    pub(crate) number: &'static str,
    pub(crate) what: &'static str,
    pub(crate) measure: Measure,
    pub(crate) must: Bound,
    pub(crate) aim: Option<Bound>,
}

impl Goal {
    pub(crate) fn verdict(&self, value: f64) -> Verdict {
        match (self.must.holds(value), self.aim) {
            (false, _) => Verdict::Short,
            (true, Some(aim)) if !aim.holds(value) => Verdict::Must,
            (true, _) => Verdict::Aim,
        }
    }
}

macro_rules! goals {
    ($($number:literal $what:literal: $measure:expr, $must:expr, $aim:expr;)*) => {
        /// Every goal that this benchmark measures.
        pub(crate) const GOALS: &[Goal] = &[$(
            Goal { number: $number, what: $what, measure: $measure, must: $must, aim: $aim },
        )*];
    };
}

use Bound::{AtLeast, AtMost};
use Measure::{LessThanPeers, MoreThanPeers, Ratio, Ray, Value};

goals! {
    "P1" "no-op tasks/s": Value("noop"), AtLeast(370_000.0), Some(AtLeast(1e6));
    "P1" "no-op tasks/s, of the floor with 64 a message": Ratio("noop", "floor.noop"), AtLeast(0.05), None;
    "P1" "no-op tasks/s, of the best peer": MoreThanPeers("noop"), AtLeast(250.0), None;
    "P2" "processor time a no-op, all processes, µs": Value("cpu"), AtMost(5.0), Some(AtMost(2.0));
    "P2" "processor time a no-op, of the best peer": LessThanPeers("cpu"), AtMost(1.0 / 200.0), None;
    "P3" "one task p50, of a ping-pong": Ratio("single.p50", "floor.p50"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "one task p99, of a ping-pong": Ratio("single.p99", "floor.p99"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "after a pause p50, of a ping-pong after a pause": Ratio("pause.p50", "floor.pause.p50"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "after a pause p99, of a ping-pong after a pause": Ratio("pause.p99", "floor.pause.p99"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "chained p50, of a ping-pong": Ratio("chain.p50", "floor.p50"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "chained p99, of a ping-pong": Ratio("chain.p99", "floor.p99"), AtMost(3.0), Some(AtMost(1.5));
    "P3" "one task p50, of the best peer": LessThanPeers("single.p50"), AtMost(0.2), None;
    "P4" "2 executors ready, of 2 bare processes": Ratio("start.2", "floor.start.2"), AtMost(8.0), Some(AtMost(4.0));
    "P4" "8 executors ready, of 8 bare processes": Ratio("start.8", "floor.start.8"), AtMost(8.0), Some(AtMost(4.0));
    "P4" "2 executors ready, of the best peer": LessThanPeers("start.2"), AtMost(1.0 / 15.0), None;
    "P6" "1 MiB results, of the floor": Ratio("results", "floor.results"), AtLeast(0.4), Some(AtLeast(0.7));
    "P6" "1 MiB arguments, of the floor": Ratio("arguments", "floor.arguments"), AtLeast(0.4), Some(AtLeast(0.7));
    "P6" "1 MiB results, of Ray": Ray("results"), AtLeast(1.0), None;
    "P6" "1 MiB arguments, of Ray": Ray("arguments"), AtLeast(1.0), None;
    "P7" "64 MiB to 2 executors, of 128 MiB of floor arguments": Ratio("broadcast", "floor.broadcast"), AtMost(2.0), None;
    "P7" "64 MiB to 2 executors, of Ray": Ray("broadcast"), AtMost(f64::INFINITY), Some(AtMost(1.0));
    "P8" "2,000 tasks of 10 ms on 2 slots, s": Value("slots"), AtMost(10.3), Some(AtMost(10.1));
    "P9" "the same with a program killed half-way": Ratio("killed", "slots"), AtMost(1.03), None;
    "P9" "until a replacement runs a task, of 1 bare process": Ratio("replaced", "floor.start.1"), AtMost(20.0), Some(AtMost(8.0));
    "P9" "tasks that began twice (1 slot was killed)": Value("killed.twice"), AtMost(1.0), None;
    "P10" "driver memory of a held result of 100,000, B": Value("held.100000"), AtMost(300.0), Some(AtMost(200.0));
    "P10" "driver memory of 1 million held results, MB": Value("held.1000000.mb"), AtMost(300.0), Some(AtMost(200.0));
    "P10" "the peak while they come": Ratio("held.1000000.peak", "held.1000000.mb"), AtMost(1.3), None;
    "P10" "what is left once they are dropped": Ratio("held.1000000.left", "held.1000000.mb"), AtMost(0.2), None;
    "P11" "broken streams in the soak": Value("soak.broken"), AtMost(0.0), None;
    "P13" "driver killed: all gone, s": Value("gone.driver"), AtMost(0.5), Some(AtMost(0.1));
    "P13" "supervisor killed: all gone, s": Value("gone.supervisor"), AtMost(0.5), Some(AtMost(0.1));
    "P13" "program killed: all gone, s": Value("gone.program"), AtMost(0.5), Some(AtMost(0.1));
    "P13" "driver killed, TERM ignored: all gone, s": Value("gone.ignoring"), AtMost(2.0), None;
    "P14" "a stopped program is known, of its 3 s time-out": Value("stopped.known"), AtMost(1.1), None;
    "P14" "its tasks have run elsewhere, s later": Value("stopped.rerun"), AtMost(1.0), None;
}
