use std::collections::VecDeque;
use std::time::Duration;

use super::jitter::Jitter;
use crate::clock::Moment;
use crate::ids::ExecutorId;
use crate::manager::{Exit, Pace};

/// Slows down the replacing of what keeps ending (L5): nothing for the first few exits, then a growing pause.
#[derive(Debug, Default)]
pub(super) struct Brake {
    recent: VecDeque<Moment>,
    /// How many pauses in a row; 0 where it isn't engaged.
    level: u32,
    until: Moment,
    last: Option<Exit>,
    /// The first executor that was wanted after the last counted exit: only one of these proves health.
    since: Option<ExecutorId>,
}

impl Brake {
    /// Counts an exit; answers with the pause where one begins.
    ///
    /// Exits during a pause belong to the burst that caused it and don't lengthen it.
    pub(super) fn count(
        &mut self,
        now: Moment,
        exit: &Exit,
        next: ExecutorId,
        pace: &Pace,
        jitter: &mut Jitter,
    ) -> Option<Duration> {
        while self.recent.front().is_some_and(|at| now.since(*at) > pace.within) || self.recent.len() >= 1024
        {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.last = Some(exit.clone());
        self.since = Some(next);
        let engaged = self.level > 0 || self.recent.len() >= pace.after.max(1) as usize;
        if !engaged || self.until > now {
            return None;
        }
        self.level = self.level.saturating_add(1);
        let pause = jitter.pause(self.level, pace.first, pace.most);
        self.until = now + pause;
        Some(pause)
    }

    /// Exits that were counted lately.
    pub(super) fn recent(&self) -> u32 {
        u32::try_from(self.recent.len()).unwrap_or(u32::MAX)
    }

    /// The end of the pause, while it lasts.
    pub(super) fn until(&self, now: Moment) -> Option<Moment> {
        (self.until > now).then_some(self.until)
    }

    /// The last exit that was counted.
    pub(super) fn last(&self) -> Option<&Exit> {
        self.last.as_ref()
    }

    /// `executor` is proof that it works again, if it was wanted after the last failure.
    pub(super) fn ease(&mut self, executor: ExecutorId) {
        if self.since.is_none_or(|since| executor >= since) {
            *self = Brake::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::ExitCause;

    fn pace() -> Pace {
        Pace {
            after: 3,
            within: Duration::from_secs(60),
            first: Duration::from_secs(1),
            most: Duration::from_secs(8),
        }
    }

    #[test]
    fn the_third_exit_in_a_minute_engages_and_each_further_one_doubles() {
        let (mut brake, mut jitter) = (Brake::default(), Jitter::new(1));
        let exit = Exit::new(ExitCause::Code(1), "");
        let mut now = Moment::ZERO;
        let mut pauses = Vec::new();
        for n in 1..=9 {
            now = brake.until(now).unwrap_or(now) + Duration::from_millis(1);
            pauses.extend(brake.count(now, &exit, ExecutorId(n), &pace(), &mut jitter));
        }
        assert_eq!(pauses.len(), 7);
        assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2] && pauses[6] <= pace().most);
        brake.ease(ExecutorId(8));
        assert!(brake.until(now).is_some(), "an executor from before the last failure proves nothing");
        brake.ease(ExecutorId(9));
        assert!(brake.until(now).is_none());
    }

    #[test]
    fn exits_far_apart_do_not_engage() {
        let (mut brake, mut jitter) = (Brake::default(), Jitter::new(1));
        let exit = Exit::new(ExitCause::Code(1), "");
        for minute in 0..20 {
            let now = Moment::ZERO + Duration::from_secs(31 * minute);
            assert_eq!(brake.count(now, &exit, ExecutorId(1), &pace(), &mut jitter), None);
        }
    }
}
