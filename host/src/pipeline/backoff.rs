//! How long to wait before an outage is tried again: doubling, bounded, with jitter.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait: a server that is back is noticed within this time.
const LONGEST: Duration = Duration::from_secs(1);

/// Waits that grow from 50 ms to 1 s. Each is between a half and the whole of its bound, so that many pillows that
/// lost one server do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    state: u64,
}

impl Backoff {
    /// Begins with the shortest wait; `seed` makes the jitter of one caller differ from another's.
    pub fn new(seed: u64) -> Self {
        Self { next: FIRST, state: seed | 1 }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        // xorshift64: jitter needs no better randomness.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let bound = self.next;
        self.next = (bound * 2).min(LONGEST);
        let share = f64::from(u32::try_from(self.state >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        bound.mul_f64(0.5 + share / 2.0)
    }

    /// Begins again with the shortest wait, after a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_bound_and_differ_by_seed() {
        let mut backoff = Backoff::new(7);
        let waits: Vec<Duration> = (0..12).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST, "{waits:?}");
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
        assert_ne!(Backoff::new(8).wait(), Backoff::new(999).wait());
    }
}
