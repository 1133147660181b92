//! The one wait of all suites: for a condition, with a deadline. A sleep is too short on a busy machine and too long on an
//! idle one.
#![allow(dead_code, reason = "each suite takes the form that it needs")]

use std::convert::Infallible;
use std::time::Duration;

/// Between two looks at what is asked over HTTP.
pub const POLL: Duration = Duration::from_millis(50);

/// Waits until `probe` gives something; panics after that long.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    match testbed::wait_until(patience, || Ok::<_, Infallible>(probe())) {
        Ok(Some(found)) => found,
        _ => panic!("{what}: not within {patience:?}"),
    }
}

/// Waits on tokio's clock, also where that is paused, until `probe` gives something; `None` after that long, though a probe
/// be still under way.
pub async fn looked<T>(patience: Duration, every: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let looking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(every).await;
        }
    };
    tokio::time::timeout(patience, looking).await.ok()
}

/// Waits until `probe` gives something; panics after that long.
pub async fn eventually<T>(what: &str, patience: Duration, probe: impl AsyncFnMut() -> Option<T>) -> T {
    looked(patience, POLL, probe).await.unwrap_or_else(|| panic!("{what}: not within {patience:?}"))
}
