//! Beats: parts that must move say that they still do, and `/livez` reads it without asking them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// One part's sign of life. Beating is one atomic store.
#[derive(Debug)]
pub struct Beat {
    what: String,
    limit: Duration,
    origin: Instant,
    last_ms: AtomicU64,
}

impl Beat {
    /// Says: I still move.
    pub fn beat(&self) {
        let ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.fetch_max(ms, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        self.origin.elapsed().saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// All parts whose silence means that the process must be restarted: arbiters and the supervisor, never Kafka or the API
/// server.
#[derive(Debug, Default)]
pub struct Beats(RwLock<Vec<Arc<Beat>>>);

impl Beats {
    /// Adds a part that is dead after `limit` of silence; registering counts as its first beat.
    pub fn register(&self, what: &str, limit: Duration) -> Arc<Beat> {
        let beat = Arc::new(Beat { what: what.to_owned(), limit, origin: Instant::now(), last_ms: AtomicU64::new(0) });
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(beat.clone());
        beat
    }

    /// Each part: its name, and how long it has been silent where that is too long.
    pub fn silent(&self) -> Vec<(String, Option<Duration>)> {
        let beats = self.0.read().unwrap_or_else(PoisonError::into_inner);
        beats.iter().map(|b| (b.what.clone(), Some(b.silence()).filter(|silence| *silence > b.limit))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_is_dead_only_after_its_own_limit_of_silence() {
        let beats = Beats::default();
        let arbiter = beats.register("arbiter", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(beats.silent(), [("arbiter".to_owned(), None)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(beats.silent(), [("arbiter".to_owned(), Some(Duration::from_secs(11)))]);
        arbiter.beat();
        assert_eq!(beats.silent(), [("arbiter".to_owned(), None)]);
    }
}
