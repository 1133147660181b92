//! Following the changes of one resource.

use super::{Change, State};
use crate::sandbox::status::Status;
use tokio::sync::watch;

/// Changes taken at a time: bounds the critical section and what waits in memory.
const BATCH: usize = 256;

/// A place in the history of one resource, moved forward by reading. Costs nothing while nobody reads.
pub struct Watch {
    state: State,
    resource: String,
    position: u64,
    rewinds: u64,
    latest: watch::Receiver<u64>,
}

impl Watch {
    pub(super) fn new(state: State, resource: &str, position: u64) -> Result<Self, Status> {
        let (latest, rewinds) = {
            let data = state.lock();
            (data.table(resource)?.latest.subscribe(), data.rewinds)
        };
        Ok(Self { state, resource: resource.to_owned(), position, rewinds, latest })
    }

    /// Everything up to this revision has been read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the history that it followed is no more.
    pub fn is_rewound(&self) -> bool {
        self.state.lock().rewinds != self.rewinds
    }

    /// The next changes, oldest first; empty where there are none yet. `Expired` where history does not reach back to the
    /// position: list, and watch from there.
    pub fn ready(&mut self) -> Result<Vec<Change>, Status> {
        self.latest.mark_unchanged();
        let data = self.state.lock();
        let table = data.table(&self.resource)?;
        if data.rewinds != self.rewinds {
            return Err(Status::expired("the history was rewound"));
        }
        let too_old = || Status::expired(format!("too old resource version: {} ({})", self.position, table.floor));
        let changes = table.since(self.position, BATCH).ok_or_else(too_old)?;
        let all = changes.len() < BATCH;
        let last = changes.last().map_or(self.position, |c| c.revision);
        self.position = if all { last.max(data.revision).max(self.position) } else { last };
        Ok(changes)
    }

    /// The same, waiting for at least one. Cancel-safe. `NotFound` once the resource is served no more.
    pub async fn next(&mut self) -> Result<Vec<Change>, Status> {
        loop {
            let changes = self.ready()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            self.latest.changed().await.map_err(|_| Status::no_such_resource())?;
        }
    }

    /// Resolves when something may have happened since the last reading. Cancel-safe.
    pub async fn changed(&mut self) {
        // An ended resource counts as a change: reading says what happened.
        self.latest.changed().await.unwrap_or_default();
    }
}
