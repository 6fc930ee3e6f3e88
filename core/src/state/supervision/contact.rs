//! Contact with the driver: the lease, heartbeats, and when to try again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// The first pause between two attempts to reach the driver, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Heartbeats on their way that are remembered; older ones renew nothing.
const REMEMBERED: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Down,
    Opening,
    Up,
}

#[derive(Debug)]
pub(super) struct Contact {
    lease: Duration,
    /// The sending of the last thing that the driver answered.
    last: Moment,
    /// When the join that is on its way was sent.
    asked: Moment,
    failure: String,
    pause: Duration,
    retry_at: Option<Moment>,
    link: Link,
    interval: Option<Duration>,
    beat_at: Option<Moment>,
    number: u64,
    sent: VecDeque<(u64, Moment)>,
    random: u64,
}

impl Contact {
    pub(super) fn new(now: Moment, lease: Duration, seed: u64) -> Contact {
        Contact {
            lease,
            last: now,
            asked: now,
            failure: String::new(),
            pause: FIRST_PAUSE,
            retry_at: None,
            link: Link::Down,
            interval: None,
            beat_at: None,
            number: 0,
            sent: VecDeque::new(),
            random: seed | 1,
        }
    }

    /// When it has been without a driver for a lease.
    pub(super) fn lease_end(&self) -> Moment {
        self.last + self.lease
    }

    /// The last that the driver answered.
    pub(super) fn last(&self) -> Moment {
        self.last
    }

    /// Why it could not be reached, the last time.
    pub(super) fn failure(&self) -> &str {
        &self.failure
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn join_sent(&mut self, now: Moment) {
        self.asked = now;
    }

    pub(super) fn joined(&mut self, lease: Duration, interval: Duration) {
        self.last = self.last.max(self.asked);
        self.lease = lease;
        self.interval = Some(interval);
        self.retry_at = None;
        self.pause = FIRST_PAUSE;
    }

    /// Something failed: remembers it, and when to try again.
    pub(super) fn retry(&mut self, now: Moment, why: String) {
        self.failure = why;
        self.retry_at = Some(now + self.next_pause());
    }

    pub(super) fn stop_retrying(&mut self) {
        self.retry_at = None;
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Moment> {
        self.retry_at
    }

    /// Whether it is time to try again; then it is so once.
    pub(super) fn take_retry(&mut self, now: Moment) -> bool {
        let due = self.retry_at.is_some_and(|at| now >= at);
        if due {
            self.retry_at = None;
        }
        due
    }

    /// Whether a link is to be opened: there is none, and none on its way.
    pub(super) fn open(&mut self) -> bool {
        let open = self.interval.is_some() && self.link == Link::Down;
        if open {
            self.link = Link::Opening;
        }
        open
    }

    pub(super) fn opened(&mut self) {
        self.link = Link::Up;
        self.pause = FIRST_PAUSE;
        self.sent.clear();
    }

    pub(super) fn lost(&mut self, why: String) {
        self.link = Link::Down;
        self.failure = why;
    }

    /// When a heartbeat is due.
    pub(super) fn beat_at(&self) -> Option<Moment> {
        self.beat_at.filter(|_| self.link == Link::Up)
    }

    /// The number of a heartbeat that is sent now.
    ///
    /// A link without answers is kept: a driver that only pauses answers later, while hanging up tells it that the executor
    /// is gone. The lease bounds how long.
    pub(super) fn beat(&mut self, now: Moment) -> u64 {
        self.beat_at = self.interval.map(|interval| now + interval);
        self.number += 1;
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((self.number, now));
        self.number
    }

    /// The driver answered the heartbeat of this number.
    pub(super) fn renewed(&mut self, number: u64) {
        while let Some((sent, at)) = self.sent.front().copied().filter(|(sent, _)| *sent <= number) {
            self.sent.pop_front();
            if sent == number {
                self.last = self.last.max(at);
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        // xorshift: retries of executors that lost their driver together need not come together.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        pause.mul_f64(0.8 + 0.4 * (self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const BEAT: Duration = Duration::from_secs(2);

    fn up() -> (Moment, Contact) {
        let now = Moment::ZERO + Duration::from_secs(1000);
        let mut contact = Contact::new(now, LEASE, 7);
        contact.joined(LEASE, BEAT);
        assert!(contact.open() && !contact.open());
        contact.opened();
        (now, contact)
    }

    #[test]
    fn the_lease_runs_from_the_sending_of_what_was_answered() {
        let (start, mut contact) = up();
        for beat in 1..=3 {
            assert_eq!(contact.beat(start + BEAT * beat), u64::from(beat));
        }
        contact.renewed(2);
        assert_eq!(contact.lease_end(), start + BEAT * 2 + LEASE);
        // An answer to an older one, or to one that was never sent, changes nothing.
        contact.renewed(1);
        contact.renewed(99);
        assert_eq!(contact.lease_end(), start + BEAT * 2 + LEASE);
    }

    #[test]
    fn an_answer_to_what_an_earlier_link_sent_renews_nothing() {
        let (start, mut contact) = up();
        assert_eq!(contact.beat(start + BEAT), 1);
        contact.lost("reset".into());
        contact.opened();
        contact.renewed(1);
        assert_eq!(contact.lease_end(), start + LEASE);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_never_alike() {
        let (now, mut contact) = up();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            contact.retry(now, String::new());
            pauses.push(contact.retry_at().unwrap().since(now));
        }
        assert!(pauses[0] < Duration::from_millis(25));
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE.mul_f64(1.2)));
        assert!(pauses[15..].windows(2).all(|pair| pair[0] != pair[1]));
    }
}
