use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Moment;

/// Time as the runtime sees it, so that a test that pauses the runtime's clock pauses ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuntimeClock {
    origin: Instant,
}

/// No timer is set for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

impl RuntimeClock {
    pub(super) fn new() -> RuntimeClock {
        RuntimeClock { origin: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        Moment::ZERO + Instant::now().saturating_duration_since(self.origin)
    }

    /// Sleeps until then, or for a day: the sleeper looks again.
    pub(super) async fn sleep_until(&self, moment: Option<Moment>) {
        let pause = moment.map_or(LONGEST_SLEEP, |moment| moment.since(self.now()).min(LONGEST_SLEEP));
        tokio::time::sleep(pause).await;
    }
}
