//! How often the API server is asked: the bound on requests a second, and what a process needs in an hour of calm.

use std::time::Duration;

/// A token bucket over time since any fixed point. A request that finds it empty reserves its place and waits, so that
/// order is kept and nothing is refused.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Between two tokens.
    every: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Duration,
}

impl Bucket {
    /// `per_second` requests on average, `burst` at once; both at least 1.
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { every: Duration::from_secs(1) / per_second.max(1), burst: burst.max(1), full_at: Duration::ZERO }
    }

    /// Takes a token; how long to wait before it may be used.
    pub fn take(&mut self, now: Duration) -> Duration {
        self.full_at = self.full_at.max(now) + self.every;
        (self.full_at - now).saturating_sub(self.every * self.burst)
    }
}

/// What one watcher asks for when nothing goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calm {
    /// [`super::target::Target::id`].
    pub id: String,
    /// Objects of the kind in that scope, as far as known: they make pages.
    pub objects: u64,
    /// Whether it is audited: Kubernetes Events are not.
    pub audited: bool,
}

/// The knobs that cost requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knobs {
    /// The shortest life of a watch.
    pub watch_life: Duration,
    /// Period of the light audit.
    pub light: Duration,
    /// Shortest period of the full audit: its interval less the jitter.
    pub full: Duration,
    /// Objects a page.
    pub page: u32,
    /// Period of the discovery; `None` where every kind is known without.
    pub discovery: Option<Duration>,
}

/// Requests of one hour, by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hour {
    /// Watches opened again at their timeout, and the question behind each that said nothing.
    pub watches: u64,
    /// Light audits.
    pub light: u64,
    /// Pages of full audits.
    pub full: u64,
    /// Discovery.
    pub discovery: u64,
}

impl Hour {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.watches + self.light + self.full + self.discovery
    }
}

/// Requests of one discovery: `/api` and `/apis`, aggregated.
const DISCOVERY: u64 = 2;

/// What an hour of calm costs at most. The start (identity, rights, first lists) and what follows a failure come on top.
pub fn an_hour(watchers: &[Calm], knobs: &Knobs) -> Hour {
    let mut hour = Hour { discovery: knobs.discovery.map_or(0, |every| DISCOVERY * times(every)), ..Hour::default() };
    for watcher in watchers {
        // Of Events there are no bookmarks: whether the version is still known is asked behind each watch of a quiet hour.
        hour.watches += times(knobs.watch_life) * if watcher.audited { 1 } else { 2 };
        if watcher.audited {
            hour.light += times(knobs.light);
            hour.full += times(knobs.full) * watcher.objects.div_ceil(u64::from(knobs.page.max(1))).max(1);
        }
    }
    hour
}

/// How often something with that period happens in an hour, rounded up.
fn times(every: Duration) -> u64 {
    let every = every.as_millis().max(1);
    u64::try_from(Duration::from_secs(3600).as_millis().div_ceil(every)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_in_order_at_the_rate() {
        let mut bucket = Bucket::new(20, 40);
        let now = Duration::from_secs(100);
        assert!((0..40).all(|_| bucket.take(now).is_zero()));
        assert_eq!(bucket.take(now), Duration::from_millis(50));
        assert_eq!(bucket.take(now), Duration::from_millis(100));
        assert_eq!(bucket.take(now + Duration::from_secs(1)), Duration::ZERO, "two waiters were served meanwhile");
    }

    proptest! {
        #[test]
        fn no_second_sees_more_than_burst_and_rate(gaps in prop::collection::vec(0u64..200, 1..300)) {
            let (mut bucket, mut now) = (Bucket::new(20, 40), Duration::ZERO);
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                sent.push(now + bucket.take(now));
            }
            prop_assert!(sent.is_sorted());
            for (i, from) in sent.iter().enumerate() {
                let within = sent[i..].iter().filter(|at| **at < *from + Duration::from_secs(1)).count();
                prop_assert!(within <= 60, "{within} requests in one second");
            }
        }
    }

    #[test]
    fn an_hour_counts_what_every_watcher_needs() {
        let watcher = |id: &str, objects, audited| Calm { id: id.into(), objects, audited };
        let knobs = Knobs {
            watch_life: Duration::from_secs(200),
            light: Duration::from_secs(30),
            full: Duration::from_secs(150),
            page: 500,
            discovery: Some(Duration::from_secs(600)),
        };
        let hour = an_hour(&[watcher("pods", 1001, true), watcher("events", 9, false)], &knobs);
        assert_eq!(hour, Hour { watches: 54, light: 120, full: 72, discovery: 12 });
        assert_eq!(hour.total(), 258);
        assert_eq!(an_hour(&[watcher("pods", 0, true)], &Knobs { discovery: None, ..knobs }).full, 24, "an empty page");
    }
}
