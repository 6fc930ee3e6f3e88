use std::time::Duration;

/// Randomness from a seed, for spreading retries. Not for secrets.
///
/// # Source
/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Debug, Clone)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `about` ±20 %.
    pub(super) fn around(&mut self, about: Duration) -> Duration {
        let thousandths = 800 + u32::try_from(self.next() % 401).unwrap_or(0);
        about.saturating_mul(thousandths) / 1000
    }

    /// The pause number `level` (from 1) of a row that begins at `first`, doubles, and never passes `most`.
    pub(super) fn pause(&mut self, level: u32, first: Duration, most: Duration) -> Duration {
        let doubled = first.saturating_mul(1 << level.saturating_sub(1).min(20));
        self.around(doubled.min(most)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_a_fifth_and_end_at_the_most() {
        let mut jitter = Jitter::new(7);
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let pauses: Vec<_> = (1..=40).map(|level| jitter.pause(level, first, most)).collect();
        for (index, pause) in pauses.iter().enumerate().take(4) {
            let about = first * (1 << index);
            assert!(*pause >= about * 4 / 5 && *pause <= about * 6 / 5, "{index}: {pause:?}");
        }
        assert!(pauses.iter().all(|pause| *pause <= most));
        assert!(pauses.iter().skip(10).any(|pause| *pause != most), "also the longest pauses are spread");
    }
}
