//! How long to wait before the next try: exponential, full jitter, reset by success only.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// The next delay: uniform between half the floor and the exponential ceiling, so that many clients spread out and none
    /// hammers.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let ceiling = self.min.saturating_mul(1 << self.failures.min(16)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        let floor = self.min / 2;
        floor + ceiling.saturating_sub(floor).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// Whether it was asked for a delay since it was reset.
    pub(super) fn is_raised(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// How often a kind may be listed again: two at once, then one in 30 seconds. A list of 20,000 objects costs the API server
/// more than an hour of their watch.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// Lists that may be made at once; below zero: that many are promised for later.
    tokens: f64,
    at: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: Self::BURST, at: Duration::ZERO }
    }
}

impl Budget {
    const BURST: f64 = 2.0;
    const EVERY: Duration = Duration::from_secs(30);

    /// How long a list would have to wait for its turn now.
    pub(super) fn turn(&self, now: Duration) -> Duration {
        self.clone().reserve(now)
    }

    /// Takes one list, and says how long it must wait for its turn.
    pub(super) fn reserve(&mut self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed / Self::EVERY.as_secs_f64()).min(Self::BURST) - 1.0;
        self.at = now;
        Self::EVERY.mul_f64((-self.tokens).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_are_free_and_then_one_in_30_seconds() {
        let mut budget = Budget::default();
        let mut now = Duration::from_secs(1000);
        assert_eq!((budget.reserve(now), budget.reserve(now)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(budget.reserve(now).as_secs(), 30);
        now += Duration::from_secs(40);
        assert_eq!(budget.reserve(now).as_secs_f64().round() as u64, 20);
        now += Duration::from_secs(3600);
        assert_eq!((budget.reserve(now), budget.reserve(now)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn it_grows_to_its_ceiling_and_only_success_resets_it() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(60));
        let ceilings: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
        assert_eq!(backoff.next(0.0), Duration::from_millis(250));
        backoff.reset();
        assert_eq!(backoff.next(1.0), Duration::from_millis(500));
    }
}
