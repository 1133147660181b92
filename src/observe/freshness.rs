//! How long it takes until what was reported can be read: the age of records at the moment they are folded.

use serde::Serialize;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Ages that are remembered, one a batch: at 100 batches a second the last few seconds, on a calm cluster some minutes.
const AGES: usize = 256;
/// An age that is not there yet.
const NONE: u32 = u32::MAX;

/// Records folded, and how old they were. Written by the fold with two atomic stores a batch.
#[derive(Debug)]
pub struct Freshness {
    records: AtomicU64,
    ages: [AtomicU32; AGES],
    next: AtomicUsize,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            records: AtomicU64::new(0),
            ages: std::array::from_fn(|_| AtomicU32::new(NONE)),
            next: AtomicUsize::new(0),
        }
    }
}

impl Freshness {
    /// `records` were folded; the oldest of them was reported `age_ms` ago. What is read back at a start has no age that
    /// means anything: `None`.
    pub fn folded(&self, records: u64, age_ms: Option<i64>) {
        self.records.fetch_add(records, Ordering::Relaxed);
        if let Some(age) = age_ms {
            let place = self.next.fetch_add(1, Ordering::Relaxed) % AGES;
            // Clocks that disagree give ages below zero: as fresh as can be.
            self.ages[place].store(u32::try_from(age.max(0)).unwrap_or(NONE - 1), Ordering::Relaxed);
        }
    }

    /// As it is shown.
    pub fn show(&self) -> FreshnessView {
        let ages = self.ages.iter().map(|age| age.load(Ordering::Relaxed));
        let mut ages: Vec<u32> = ages.filter(|age| *age != NONE).collect();
        ages.sort_unstable();
        let at = |part: f64| ages.get(((ages.len() as f64 * part) as usize).min(ages.len().saturating_sub(1))).copied();
        FreshnessView { records: self.records.load(Ordering::Relaxed), p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// The fold as it is shown; ages are of the last batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct FreshnessView {
    pub records: u64,
    pub p50_ms: Option<u32>,
    pub p99_ms: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_the_last_batches_and_a_replay_has_none() {
        let fresh = Freshness::default();
        fresh.folded(1000, None);
        assert_eq!(fresh.show(), FreshnessView { records: 1000, p50_ms: None, p99_ms: None });
        for age in 1..=100 {
            fresh.folded(1, Some(age));
        }
        assert_eq!(fresh.show(), FreshnessView { records: 1100, p50_ms: Some(51), p99_ms: Some(100) });
        for _ in 0..AGES {
            fresh.folded(1, Some(-5));
        }
        assert_eq!((fresh.show().p50_ms, fresh.show().p99_ms), (Some(0), Some(0)));
    }
}
