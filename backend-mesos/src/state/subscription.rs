//! Where to subscribe, when to try again, and when the stream counts as lost.

use std::time::Duration;

use convoke_core::Error;
use convoke_core::clock::Moment;
use convoke_core::manager::EndedBy;
use convoke_core::units::HostPort;

/// Mesos sends a heartbeat every 15 s and lets nobody choose; a stream that was silent for so long is lost. The usual five
/// missed ones (75 s) would outlast our lease.
pub const SILENCE: Duration = Duration::from_secs(20);
/// From asking for a subscription to its first record.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// So often one after another a master may send us on to another.
const MOST_REDIRECTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The subscription of one framework.
#[derive(Debug)]
pub struct Subscription {
    /// Those that were configured, and behind them the last other one that a redirect named.
    masters: Vec<HostPort>,
    configured: usize,
    /// Which of them is asked next.
    next: usize,
    phase: Phase,
    /// Since when there is none, once it is told.
    lost: Option<Moment>,
    failures: u32,
    redirects: u32,
    /// Whether one was ever there: from then on the framework has an id.
    established: bool,
    lease: Duration,
    random: Random,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Waiting { until: Moment },
    Connecting { until: Moment },
    Live { silent_at: Moment },
    Over,
}

/// What happened to the stream.
#[derive(Debug, Clone)]
pub enum SubscriptionEvent {
    /// SUBSCRIBED was its first record.
    Subscribed,
    /// Any later record.
    Record,
    /// The master said where the leader is.
    Redirected(HostPort),
    /// It could not be had, or ended, or a call showed that it is void.
    Lost(Error),
    /// The master ended it for good, with an ERROR in these words.
    Refused(String),
    /// The deadline may have come.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum SubscriptionCommand {
    /// Subscribe at this master; a stream that is there is dropped.
    Connect(HostPort),
    /// Drop the stream, and all calls that were made for it.
    Disconnect,
    /// Tell that the manager is out of reach.
    Unreachable(Error),
    /// Tell that it is back.
    Recovered,
    /// The application is over.
    Ended(EndedBy),
}

impl Subscription {
    /// One that begins at the first of these masters.
    #[must_use]
    pub fn new(masters: Vec<HostPort>, lease: Duration, seed: u64, now: Moment) -> Subscription {
        Subscription {
            configured: masters.len(),
            masters,
            next: 0,
            phase: Phase::Waiting { until: now },
            lost: None,
            failures: 0,
            redirects: 0,
            established: false,
            lease,
            random: Random(seed),
        }
    }

    /// Whether calls can be made.
    #[must_use]
    pub fn live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Whether it will never be again.
    #[must_use]
    pub fn over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// How many attempts in a row came to nothing.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The master that was asked last, or is asked next.
    #[must_use]
    pub fn master(&self) -> Option<&HostPort> {
        self.masters.get(self.next)
    }

    /// When [`SubscriptionEvent::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Waiting { until } | Phase::Connecting { until } => Some(until),
            Phase::Live { silent_at } => Some(silent_at),
            Phase::Over => None,
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Moment, event: SubscriptionEvent, out: &mut Vec<SubscriptionCommand>) {
        if self.over() {
            return;
        }
        match event {
            SubscriptionEvent::Subscribed => {
                self.phase = Phase::Live { silent_at: now + SILENCE };
                (self.failures, self.redirects, self.established) = (0, 0, true);
                if self.lost.take().is_some() {
                    out.push(SubscriptionCommand::Recovered);
                }
            }
            SubscriptionEvent::Record => {
                if self.live() {
                    self.phase = Phase::Live { silent_at: now + SILENCE };
                }
            }
            SubscriptionEvent::Redirected(leader) => self.redirected(now, leader, out),
            SubscriptionEvent::Lost(error) => self.failed(now, error, out),
            SubscriptionEvent::Refused(words) => {
                let ended = self.verdict(now, words);
                self.phase = Phase::Over;
                out.extend([SubscriptionCommand::Disconnect, SubscriptionCommand::Ended(ended)]);
            }
            SubscriptionEvent::Tick => self.tick(now, out),
        }
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<SubscriptionCommand>) {
        match self.phase {
            Phase::Waiting { until } if until <= now => self.connect(now, out),
            Phase::Connecting { until } if until <= now => {
                self.failed(now, unavailable("the master did not answer in time"), out);
            }
            Phase::Live { silent_at } if silent_at <= now => {
                self.failed(now, unavailable("the master was silent for longer than its heartbeat"), out);
            }
            _ => {}
        }
    }

    fn connect(&mut self, now: Moment, out: &mut Vec<SubscriptionCommand>) {
        let Some(master) = self.master().cloned() else { return };
        self.phase = Phase::Connecting { until: now + HANDSHAKE };
        out.push(SubscriptionCommand::Connect(master));
    }

    fn redirected(&mut self, now: Moment, leader: HostPort, out: &mut Vec<SubscriptionCommand>) {
        if !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        self.redirects += 1;
        if self.redirects > MOST_REDIRECTS {
            self.redirects = 0;
            return self.failed(now, unavailable("the masters send us around in a circle"), out);
        }
        let known = self.masters.iter().position(|known| *known == leader);
        self.next = known.unwrap_or_else(|| {
            self.masters.truncate(self.configured);
            self.masters.push(leader);
            self.configured
        });
        self.connect(now, out);
    }

    fn failed(&mut self, now: Moment, error: Error, out: &mut Vec<SubscriptionCommand>) {
        let was_live = self.live();
        if self.lost.is_none() && self.established {
            self.lost = Some(now);
            out.push(SubscriptionCommand::Unreachable(error));
        }
        out.push(SubscriptionCommand::Disconnect);
        if was_live {
            // the same master first: mostly only the connection broke
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
            self.next = (self.next + 1) % self.masters.len().max(1);
        }
        let ceiling = (FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(10))).min(LONGEST_PAUSE);
        self.phase = Phase::Waiting { until: now + self.random.up_to(ceiling) };
    }

    /// Who ended the framework, as far as the master's words and the time tell.
    fn verdict(&self, now: Moment, words: String) -> EndedBy {
        let outage = self.lost.map_or(Duration::ZERO, |lost| now.since(lost));
        // its time to come back, which the lease sets, may have begun before we noticed
        if words.contains("removed") && outage + SILENCE >= self.lease && self.lost.is_some() {
            return EndedBy::Lease;
        }
        EndedBy::Manager(words)
    }
}

fn unavailable(message: &'static str) -> Error {
    Error::new(convoke_core::ErrorKind::Unavailable, message)
}

/// A small generator for jitter (SplitMix64); its seed comes from the shell.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        most.mul_f64((bits >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::ZERO + Duration::from_millis(millis)
    }

    fn master(port: u16) -> HostPort {
        format!("m{port}:{port}").parse().unwrap()
    }

    fn subscription(masters: &[u16]) -> Subscription {
        Subscription::new(
            masters.iter().map(|port| master(*port)).collect(),
            Duration::from_secs(30),
            7,
            Moment::ZERO,
        )
    }

    fn handle(
        subscription: &mut Subscription,
        now: Moment,
        event: SubscriptionEvent,
    ) -> Vec<SubscriptionCommand> {
        let mut out = Vec::new();
        subscription.handle(now, event, &mut out);
        out
    }

    fn connects(out: &[SubscriptionCommand]) -> Vec<HostPort> {
        out.iter()
            .filter_map(|command| match command {
                SubscriptionCommand::Connect(master) => Some(master.clone()),
                _ => None,
            })
            .collect()
    }

    fn lost() -> SubscriptionEvent {
        SubscriptionEvent::Lost(unavailable("test"))
    }

    #[test]
    fn it_asks_each_master_in_turn_and_follows_the_redirect() {
        let mut it = subscription(&[1, 2]);
        assert_eq!(connects(&handle(&mut it, at(0), SubscriptionEvent::Tick)), [master(1)]);
        handle(&mut it, at(1), lost());
        let due = it.next_deadline().unwrap();
        assert!(due <= at(1) + FIRST_PAUSE * 2);
        assert_eq!(connects(&handle(&mut it, due, SubscriptionEvent::Tick)), [master(2)]);
        assert_eq!(connects(&handle(&mut it, due, SubscriptionEvent::Redirected(master(3)))), [master(3)]);
        assert!(handle(&mut it, due, SubscriptionEvent::Subscribed).is_empty(), "the first is no recovery");
        assert!(it.live());
    }

    #[test]
    fn a_circle_of_redirects_ends() {
        let mut it = subscription(&[1, 2]);
        handle(&mut it, at(0), SubscriptionEvent::Tick);
        let mut connected = 0;
        for turn in 0..100 {
            connected +=
                connects(&handle(&mut it, at(0), SubscriptionEvent::Redirected(master(turn % 2 + 1)))).len();
        }
        assert_eq!(connected as u32, MOST_REDIRECTS);
    }

    #[test]
    fn silence_is_a_lost_stream_and_an_outage_is_told_once() {
        let mut it = subscription(&[1]);
        handle(&mut it, at(0), SubscriptionEvent::Tick);
        handle(&mut it, at(5), SubscriptionEvent::Subscribed);
        handle(&mut it, at(15_005), SubscriptionEvent::Record);
        assert!(handle(&mut it, at(35_004), SubscriptionEvent::Tick).is_empty());
        let out = handle(&mut it, at(35_005), SubscriptionEvent::Tick);
        assert!(
            matches!(out[..], [SubscriptionCommand::Unreachable(_), SubscriptionCommand::Disconnect]),
            "{out:?}"
        );
        let out = handle(&mut it, at(35_100), lost());
        assert!(matches!(out[..], [SubscriptionCommand::Disconnect]), "{out:?}");
        let due = it.next_deadline().unwrap();
        handle(&mut it, due, SubscriptionEvent::Tick);
        let out = handle(&mut it, due, SubscriptionEvent::Subscribed);
        assert!(matches!(out[..], [SubscriptionCommand::Recovered]), "{out:?}");
    }

    #[test]
    fn pauses_grow_and_stay_within_the_lease() {
        let mut it = subscription(&[1]);
        let (mut now, mut longest) = (at(0), Duration::ZERO);
        for _ in 0..200 {
            handle(&mut it, now, SubscriptionEvent::Tick);
            handle(&mut it, now, lost());
            let due = it.next_deadline().unwrap();
            longest = longest.max(due.since(now));
            now = due;
        }
        assert!(longest <= LONGEST_PAUSE && longest > LONGEST_PAUSE / 2, "{longest:?}");
    }

    #[test]
    fn a_removed_framework_is_over_by_the_lease_only_after_an_outage_that_long() {
        let removed = || SubscriptionEvent::Refused("Framework has been removed".into());
        let ended = |out: &[SubscriptionCommand]| match out.last() {
            Some(SubscriptionCommand::Ended(by)) => by.clone(),
            other => panic!("{other:?}"),
        };
        let mut it = subscription(&[1]);
        handle(&mut it, at(0), SubscriptionEvent::Tick);
        handle(&mut it, at(0), SubscriptionEvent::Subscribed);
        let out = handle(&mut it, at(1000), removed());
        assert!(matches!(ended(&out), EndedBy::Manager(_)));
        assert!(it.over() && it.next_deadline().is_none());
        assert!(handle(&mut it, at(1001), lost()).is_empty());

        let mut it = subscription(&[1]);
        handle(&mut it, at(0), SubscriptionEvent::Tick);
        handle(&mut it, at(0), SubscriptionEvent::Subscribed);
        handle(&mut it, at(10), lost());
        handle(&mut it, at(15_000), SubscriptionEvent::Tick);
        assert!(matches!(ended(&handle(&mut it, at(31_000), removed())), EndedBy::Lease));
    }
}
