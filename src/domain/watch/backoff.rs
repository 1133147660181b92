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

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
