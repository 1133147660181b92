//! The one place that sleeps and reads the clock: waiting for a condition with a deadline.

use std::time::{Duration, Instant};

/// Short enough that nobody waits for the poll rather than for the process; long enough to cost nothing.
const POLL: Duration = Duration::from_millis(50);

/// A running clock, so that no other module reads it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods, reason = "a test tool at the edge measures real processes in real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Asks `probe` until it says `Ok(Some(_))`, at least once and then every 50 ms. `Err` ends the wait at once. After
/// `deadline` the answer is `Ok(None)`: the caller knows what to say about it.
#[allow(clippy::disallowed_methods, reason = "real processes are waited for; the test bed runs no actors")]
pub fn until<T, E>(deadline: Duration, mut probe: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let clock = Stopwatch::start();
    loop {
        if let Some(found) = probe()? {
            return Ok(Some(found));
        }
        if clock.elapsed() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_already_met_is_not_waited_for() {
        let clock = Stopwatch::start();
        assert_eq!(until(Duration::ZERO, || Ok::<_, ()>(Some(7))), Ok(Some(7)));
        assert!(clock.elapsed() < POLL);
    }

    #[test]
    fn an_unmet_condition_ends_at_its_deadline() {
        let mut asked = 0;
        let answer = until(Duration::from_millis(120), || {
            asked += 1;
            Ok::<Option<()>, ()>(None)
        });
        assert_eq!(answer, Ok(None));
        assert!(asked >= 2, "asked {asked} times");
    }
}
