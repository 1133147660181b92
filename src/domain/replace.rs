//! When a producer that died may be replaced: at once after a single death, later and later when they die in a row.

use std::time::{Duration, Instant};

/// Pause before a new producer after the second death in a row, doubled by each further one: a record that the log refuses
/// for good would otherwise kill several a second for ever. At most 5 s, for the other kinds wait as well.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Deaths that lie further apart are not in a row.
const WELL: Duration = Duration::from_secs(10);

/// The producers that died in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaths {
    row: u32,
    last: Option<Instant>,
}

impl Deaths {
    /// Another one has died.
    pub fn note(&mut self, now: Instant) {
        let row = if self.is_well(now) { 0 } else { self.row };
        *self = Self { row: row.saturating_add(1), last: Some(now) };
    }

    /// Whether the next one may be built.
    pub fn may_replace(&self, now: Instant) -> bool {
        self.last.is_none_or(|died| now.saturating_duration_since(died) >= self.pause())
    }

    /// Whether the last death is so long ago that the one in use can be trusted.
    pub fn is_well(&self, now: Instant) -> bool {
        self.last.is_none_or(|died| now.saturating_duration_since(died) > self.pause() + WELL)
    }

    fn pause(&self) -> Duration {
        match self.row {
            0 | 1 => Duration::ZERO,
            row => PAUSE.0.saturating_mul(1 << (row - 2).min(16)).min(PAUSE.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_death_costs_no_time_a_row_of_them_more_and_more_and_a_good_while_ends_the_row() {
        #[allow(clippy::disallowed_methods)] // any moment will do
        let begin = Instant::now();
        let mut deaths = Deaths::default();
        assert!(deaths.may_replace(begin) && deaths.is_well(begin));
        let mut now = begin;
        for pause in [0, 250, 500, 1000, 2000, 4000, 5000, 5000] {
            deaths.note(now);
            let pause = Duration::from_millis(pause);
            assert!(pause.is_zero() || !deaths.may_replace(now + pause - Duration::from_millis(1)), "{pause:?}");
            assert!(deaths.may_replace(now + pause) && !deaths.is_well(now + pause + WELL), "{pause:?}");
            now += pause;
        }
        now += PAUSE.1 + WELL + Duration::from_millis(1);
        assert!(deaths.is_well(now));
        deaths.note(now);
        assert!(deaths.may_replace(now), "the row has ended");
    }
}
