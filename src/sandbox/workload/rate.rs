//! How many changes there may be now: counted in the cluster's own revisions, whoever makes them.

use jiff::{SignedDuration, Timestamp};

/// The allowance. A busy moment is paid back by quieter ones after it.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    allowance: f64,
    at: Timestamp,
    revision: u64,
}

impl Rate {
    pub fn new(per_second: u32, now: Timestamp, revision: u64) -> Self {
        Self { per_second: f64::from(per_second), allowance: 0.0, at: now, revision }
    }

    /// Counts what happened since the last time; gives how many changes may be made now.
    #[allow(clippy::cast_precision_loss)] // a difference of some thousands
    pub fn allowed(&mut self, now: Timestamp, revision: u64) -> f64 {
        let passed = now.duration_since(self.at).as_secs_f64().max(0.0);
        let changes = revision.saturating_sub(self.revision) as f64;
        // Half a second may be made up for, so that a process that was stopped does not come back as a flood; and a debt is
        // forgotten after 20 s, so that a busy opening is not followed by silence.
        let most = (self.per_second / 2.0).max(2.0);
        self.allowance = (self.allowance + passed * self.per_second - changes).clamp(-20.0 * self.per_second, most);
        self.at = now;
        self.revision = revision;
        self.allowance
    }

    /// When the next change is allowed.
    pub fn next(&self) -> Timestamp {
        let wait = ((1.0 - self.allowance) / self.per_second).clamp(0.002, 60.0);
        self.at + SignedDuration::from_secs_f64(wait)
    }

    /// Whether more happened than was allowed.
    pub fn is_overdrawn(&self) -> bool {
        self.allowance < 0.0
    }

    pub fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).expect("a time")
    }

    #[test]
    fn changes_of_others_count_and_a_pause_is_no_flood() {
        let mut rate = Rate::new(10, at(0), 0);
        assert!((rate.allowed(at(300), 0) - 3.0).abs() < 1e-6);
        assert!(rate.allowed(at(300), 5) < 0.0, "somebody else used it up");
        assert!(rate.next() > at(300));
        assert!(rate.allowed(at(3_600_000), 5) <= 5.0);
        rate.allowed(at(3_600_000), 1_000_000);
        assert!(rate.allowed(at(3_625_000), 1_000_000) > 0.0, "an old debt is forgotten");
    }
}
