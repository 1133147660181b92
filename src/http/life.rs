//! What happens in the supervision tree, told to whoever watches it at this moment. Nobody is waited for.

use crate::messages::life::LifeFact;
use crate::observe::clock::wall_ms;
use serde::Serialize;
use tokio::sync::broadcast;

/// Facts that a reader may be behind: a whole tree that goes down and comes back, several times.
const KEPT: usize = 256;

/// One fact and its time.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LifeNote {
    /// When, in ms since 1970.
    pub at: i64,
    /// What.
    #[serde(flatten)]
    pub fact: LifeFact,
}

/// The way from the supervisor to the pages that are open; clones are the same.
#[derive(Debug, Clone)]
pub struct LifeFeed(broadcast::Sender<LifeNote>);

impl Default for LifeFeed {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl LifeFeed {
    /// Tells a fact, to nobody if nobody listens.
    pub fn tell(&self, fact: &LifeFact) {
        if self.0.receiver_count() > 0 {
            drop(self.0.send(LifeNote { at: wall_ms(), fact: fact.clone() }));
        }
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<LifeNote> {
        self.0.subscribe()
    }
}
