//! The only reader of time. Decisions take a [`Moment`] as an argument, so that tests can make it up.

use std::ops::{Add, Sub};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// A point of this process's monotonic clock, in nanoseconds since an arbitrary start.
///
/// Unlike [`Instant`] it can be made up, which is what makes the state machines of `core/src/state` testable
/// without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The start of all made-up time.
    pub const ZERO: Moment = Moment(0);

    /// The moment `since_start` after [`Moment::ZERO`].
    #[must_use]
    pub const fn from_nanos(since_start: u64) -> Moment {
        Moment(since_start)
    }

    /// Time passed since `earlier`; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Nanoseconds since [`Moment::ZERO`].
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, later: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, earlier: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)))
    }
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    *ORIGIN.get_or_init(Instant::now)
}

/// The present moment. Shells read it and hand it to the state machines.
#[must_use]
pub fn now() -> Moment {
    Moment(u64::try_from(origin().elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The wall clock, for what people read; never for a decision.
#[must_use]
pub fn wall_time() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    SystemTime::now()
}
