//! The actors: thin carriers between rules (`domain`), adapters (`kubernetes`, `log`) and the store. One file an actor;
//! how they are kept alive is in [`rt`].

pub mod checkpoints;
pub mod overlay;
pub mod publisher;
pub mod query;
pub mod restore;
pub mod rt;
pub mod shared_state;
pub mod stream_processor;
pub mod watcher;

use crate::domain::lane::Lane;
use crate::messages::life::Drained;
use std::time::Duration;
use tokio::time::Instant;

/// Waits until everything in the lane is acked, or the deadline; gives how many records are left.
async fn await_drained<P: Clone + Send + 'static>(lane: &std::sync::Arc<Lane<P>>, deadline: Instant) -> Drained {
    // Looks again every few milliseconds: the lane's bell belongs to the pump.
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !lane.is_drained() && Instant::now() < deadline {
        look.tick().await;
    }
    Drained { left: lane.usage().records as u64 }
}
