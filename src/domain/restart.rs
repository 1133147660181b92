//! The rules of supervision: may it be restarted, after how long, who goes down with it, and is it hung?
//!
//! Nothing here reads a clock or draws a random number. `src/actors/rt` carries the rules out.
//! The window and the strategies are those of Erlang/OTP's `supervisor`; the backoff is what OTP lacks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many restarts are borne within which time. More means: this does not heal, hand it upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are still borne; one more within [`Self::within`] is too many.
    pub restarts: u32,
    /// Length of the sliding window.
    pub within: Duration,
}

impl Intensity {
    /// `restarts` in any `within` are borne.
    pub const fn new(restarts: u32, within: Duration) -> Self {
        Self { restarts, within }
    }
}

/// The restarts of the last [`Intensity::within`], in the manner of OTP's `add_restart`: a true sliding window, so that
/// restarts further apart than the window never add up.
#[derive(Debug, Clone)]
pub struct RestartWindow {
    intensity: Intensity,
    recent: VecDeque<Instant>,
}

impl RestartWindow {
    /// An empty window.
    pub fn new(intensity: Intensity) -> Self {
        Self { intensity, recent: VecDeque::new() }
    }

    /// Notes a restart at `now` and answers whether it is still borne. `now` never goes backwards.
    pub fn bears(&mut self, now: Instant) -> bool {
        self.recent.push_back(now);
        let within = self.intensity.within;
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) > within) {
            self.recent.pop_front();
        }
        // Whatever is borne is no longer than the limit, so the queue is bounded by it, plus the one that is too many.
        let borne = self.recent.len() <= self.intensity.restarts as usize;
        if !borne {
            self.recent.pop_front();
        }
        borne
    }

    /// What a fresh supervisor starts with: nothing counted.
    pub fn clear(&mut self) {
        self.recent.clear();
    }

    /// The limit this window applies.
    pub fn intensity(&self) -> Intensity {
        self.intensity
    }
}

/// Exponential backoff with full jitter: the n-th wait in a row is uniform in `0 ..= min(max, min × factor^n)`.
///
/// Full jitter, because actors that died of one cause would otherwise come back, and die, in step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub min: Duration,
    /// Ceiling of every wait.
    pub max: Duration,
    /// Growth of the ceiling; below 1 counts as 1.
    pub factor: f64,
    /// An actor that was up this long is healthy: its next failure is a first one again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    /// Ceilings 100, 200, 400 ms...: the first three restarts in a row stay under a second whatever the jitter (G8).
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2.0,
            reset_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The longest wait after `failures` earlier failures in a row.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
        let grown = self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // An overflowing power is infinite, which no Duration holds: the maximum is what is meant.
        Duration::try_from_secs_f64(grown).unwrap_or(self.max).min(self.max)
    }

    /// The wait after `failures` earlier failures in a row; `jitter` is uniform in 0..1 (anything else is clamped).
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let jitter = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
        self.ceiling(failures).mul_f64(jitter)
    }
}

/// Failures in a row of one actor (or group), as far as its [`Backoff`] counts them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failures {
    in_a_row: u32,
    up_since: Option<Instant>,
}

impl Failures {
    /// It is up, from `now` on.
    pub fn came_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// It failed at `now`: how long to wait before the next attempt.
    pub fn failed(&mut self, now: Instant, backoff: &Backoff, jitter: f64) -> Duration {
        let stable =
            self.up_since.take().is_some_and(|since| now.saturating_duration_since(since) >= backoff.reset_after);
        if stable {
            self.in_a_row = 0;
        }
        let delay = backoff.delay(self.in_a_row, jitter);
        self.in_a_row = self.in_a_row.saturating_add(1);
        delay
    }
}

/// Is an actor that ended started again?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Always. It is meant to live as long as the process.
    #[default]
    Permanent,
    /// Only when it did not end by its own wish.
    Transient,
    /// Never.
    Temporary,
}

impl RestartPolicy {
    /// Whether an end is followed by a restart; `by_its_own_wish` is an orderly stop, not a panic and not a kill.
    pub fn restarts(self, by_its_own_wish: bool) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => !by_its_own_wish,
            Self::Temporary => false,
        }
    }
}

/// Who else is restarted when one member of a group fails. Members stand in start order, sinks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody else.
    OneForOne,
    /// All that were started after it: they hold what they learned from it.
    RestForOne,
}

/// What a failure asks for: `stop` in this order, each ended before the next; then `start` in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Members to stop, last started first. Never the failed one: it is down already.
    pub stop: Vec<usize>,
    /// Members to start, in start order, the failed one among them.
    pub start: Vec<usize>,
}

/// The plan when member `failed` of a group went down. `lives(i)` is false for members that ended for good
/// (see [`RestartPolicy`]): they are left alone.
pub fn plan(strategy: Strategy, failed: usize, members: usize, lives: impl Fn(usize) -> bool) -> Plan {
    let affected = match strategy {
        Strategy::OneForOne => failed..failed + 1,
        Strategy::RestForOne => failed..members,
    };
    let start: Vec<usize> = affected.filter(|member| *member == failed || lives(*member)).collect();
    let stop = start.iter().rev().copied().filter(|member| *member != failed).collect();
    Plan { stop, start }
}

/// What is known of one actor's progress. Hung is: a ping unanswered **and** no message handled for the limit. The
/// first alone is a backlog, the second alone is idleness.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    handled: u64,
    advanced_at: Instant,
    ping_since: Option<Instant>,
}

impl Progress {
    /// Of an actor that came up at `now`, having handled `handled` messages in earlier lives.
    pub fn new(now: Instant, handled: u64) -> Self {
        Self { handled, advanced_at: now, ping_since: None }
    }

    /// Its counter stands at `handled`.
    pub fn counter_seen(&mut self, now: Instant, handled: u64) {
        if self.handled != handled {
            self.handled = handled;
            self.advanced_at = now;
        }
    }

    /// Whether a ping is due; none is while one is under way.
    pub fn wants_ping(&self) -> bool {
        self.ping_since.is_none()
    }

    /// A ping left at `now`.
    pub fn pinged(&mut self, now: Instant) {
        self.ping_since = Some(now);
    }

    /// The ping was answered.
    pub fn answered(&mut self) {
        self.ping_since = None;
    }

    /// The judgement at `now`.
    pub fn is_hung(&self, now: Instant, limit: Duration) -> bool {
        self.ping_since.is_some_and(|sent| now.saturating_duration_since(sent) >= limit)
            && now.saturating_duration_since(self.advanced_at) >= limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "an origin is needed; only differences from it matter")]
    fn origin() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_restart_more_than_the_intensity_is_too_many() {
        let mut window = RestartWindow::new(Intensity::new(2, SECOND));
        let start = origin();
        assert!(window.bears(start));
        assert!(window.bears(start));
        assert!(!window.bears(start));
    }

    #[test]
    fn restarts_further_apart_than_the_window_never_add_up() {
        let mut window = RestartWindow::new(Intensity::new(1, SECOND));
        let start = origin();
        assert!((0..100u32).all(|n| window.bears(start + (SECOND + Duration::from_millis(1)) * n)));
    }

    #[test]
    fn a_cleared_window_bears_again() {
        let mut window = RestartWindow::new(Intensity::new(1, SECOND));
        let start = origin();
        assert!(window.bears(start) && !window.bears(start));
        window.clear();
        assert!(window.bears(start));
    }

    #[test]
    fn the_first_three_restarts_in_a_row_wait_less_than_a_second_each() {
        let mut failures = Failures::default();
        let now = origin();
        let waits: Vec<Duration> = (0..3).map(|_| failures.failed(now, &Backoff::default(), 1.0)).collect();
        assert_eq!(waits, [100, 200, 400].map(Duration::from_millis));
    }

    #[test]
    fn a_stable_life_makes_the_next_failure_a_first_one() {
        let backoff = Backoff::default();
        let mut failures = Failures::default();
        let start = origin();
        for _ in 0..5 {
            failures.failed(start, &backoff, 1.0);
        }
        failures.came_up(start);
        let short_of_stable = start + backoff.reset_after - Duration::from_millis(1);
        assert_eq!(failures.failed(short_of_stable, &backoff, 1.0), backoff.ceiling(5));
        failures.came_up(start);
        assert_eq!(failures.failed(start + backoff.reset_after, &backoff, 1.0), backoff.min);
    }

    #[test]
    fn time_spent_down_is_not_time_spent_stable() {
        let backoff = Backoff::default();
        let mut failures = Failures::default();
        let start = origin();
        failures.failed(start, &backoff, 1.0);
        assert_eq!(failures.failed(start + backoff.reset_after * 2, &backoff, 1.0), backoff.ceiling(1));
    }

    #[test]
    fn rest_for_one_stops_the_later_ones_last_first_and_starts_them_in_order() {
        let all_live = |_| true;
        assert_eq!(plan(Strategy::RestForOne, 1, 4, all_live), Plan { stop: vec![3, 2], start: vec![1, 2, 3] });
        assert_eq!(plan(Strategy::OneForOne, 1, 4, all_live), Plan { stop: vec![], start: vec![1] });
    }

    #[test]
    fn a_member_that_ended_for_good_is_left_alone() {
        assert_eq!(plan(Strategy::RestForOne, 0, 3, |i| i != 1), Plan { stop: vec![2], start: vec![0, 2] });
    }

    #[test]
    fn an_idle_actor_that_answers_is_not_hung() {
        let start = origin();
        let mut progress = Progress::new(start, 0);
        progress.pinged(start);
        progress.answered();
        assert!(!progress.is_hung(start + SECOND * 100, SECOND));
    }

    #[test]
    fn a_backlog_that_moves_is_not_hung() {
        let start = origin();
        let mut progress = Progress::new(start, 0);
        progress.pinged(start);
        progress.counter_seen(start + SECOND * 9, 1);
        assert!(!progress.is_hung(start + SECOND * 18, SECOND * 10));
        assert!(progress.is_hung(start + SECOND * 19, SECOND * 10));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_its_ceiling_nor_the_maximum(
            failures in 0u32..10_000, jitter in -1.0f64..2.0, min_ms in 0u64..10_000, max_ms in 0u64..100_000, factor in 0.0f64..100.0
        ) {
            let backoff = Backoff {
                min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms), factor, reset_after: SECOND,
            };
            let delay = backoff.delay(failures, jitter);
            prop_assert!(delay <= backoff.ceiling(failures));
            prop_assert!(backoff.ceiling(failures) <= backoff.max);
            prop_assert!(backoff.ceiling(failures) <= backoff.ceiling(failures + 1));
        }

        /// Against the definition: too many exactly when more than the limit of the borne ones and this one lie within.
        #[test]
        fn the_window_counts_what_lies_within_it(gaps in prop::collection::vec(0u64..400, 1..60), limit in 0u32..6) {
            let mut window = RestartWindow::new(Intensity::new(limit, SECOND));
            let start = origin();
            let mut at = start;
            let mut times: Vec<Instant> = Vec::new();
            for gap in gaps {
                at += Duration::from_millis(gap);
                times.push(at);
                let within = times.iter().filter(|t| at.duration_since(**t) <= SECOND).count();
                prop_assert_eq!(window.bears(at), within <= limit as usize);
            }
        }

        #[test]
        fn every_stopped_member_is_started_again(failed in 0usize..8, more in 0usize..8, dead in prop::collection::vec(any::<bool>(), 16)) {
            let members = failed + 1 + more;
            for strategy in [Strategy::OneForOne, Strategy::RestForOne] {
                let plan = plan(strategy, failed, members, |i| !dead[i]);
                prop_assert!(plan.start.contains(&failed) && !plan.stop.contains(&failed));
                prop_assert!(plan.stop.iter().all(|i| plan.start.contains(i)));
                prop_assert!(plan.start.is_sorted() && plan.stop.iter().rev().is_sorted());
                prop_assert!(plan.start.iter().all(|i| *i == failed || !dead[*i]));
            }
        }
    }
}
