//! The ring of recent changes, and subscriptions to it.
//!
//! A subscription is a snapshot and a place in the ring. Both are taken while the index cannot change, and every change
//! enters the ring in the same locked step that changes the index: so there is no gap between the two and no repeat, by
//! construction. A subscriber costs nothing but its place; one that falls behind the ring is told so and starts again.

use super::facts::Facts;
use super::read::Filter;
use super::row::{Object, Row};
use super::{Store, lock};
use crate::domain::kind::Kind;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Compressed bytes of rows that the ring may keep alive: some thousand Pods. Counted in full, though most of them are
/// still the current rows.
const RING_BYTES: usize = 16 << 20;
/// Changes looked at before the ring is let go again.
const LOOK: usize = 256;

/// What a change does to the state that a subscriber sees. A label or field that brings an object into its filter adds
/// it, one that takes it out deletes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// There was none.
    Added,
    /// There was one.
    Modified,
    /// It is gone; the object is its last known state.
    Deleted,
}

/// One change as a subscriber sees it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The store's version behind it; grows by one with every change of any kind.
    pub version: u64,
    /// What it does.
    pub operation: Operation,
    /// The object.
    pub object: Object,
}

/// A place in the changes of one life of the store: `<instance>-<version>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which life.
    pub instance: u64,
    /// Everything up to this version was seen.
    pub version: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.instance, self.version)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (instance, version) = text.split_once('-')?;
            Some(Self { instance: u64::from_str_radix(instance, 16).ok()?, version: version.parse().ok()? })
        };
        parse().ok_or_else(|| format!("{text:?} is no cursor: pass one back as it was given, or none"))
    }
}

/// The subscriber was slower than the ring is long: what lies between is lost to it. Subscribe again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fell behind by {missed} changes, which are no longer kept: subscribe again")]
pub struct Lagged {
    /// Changes of all kinds that it has not seen.
    pub missed: u64,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) operation: Operation,
    pub(super) kind: Kind,
    pub(super) row: Arc<Row>,
    /// The facts before, where they were others: whoever filters by them must know.
    pub(super) was: Option<Arc<Facts>>,
}

#[derive(Default)]
struct Ring {
    /// Versions `latest - len + 1 ..= latest`, without a hole.
    entries: VecDeque<Entry>,
    latest: u64,
    bytes: usize,
}

impl Ring {
    fn oldest(&self) -> u64 {
        self.latest + 1 - self.entries.len() as u64
    }
}

pub(super) struct Changes {
    pub(super) instance: u64,
    capacity: usize,
    ring: Mutex<Ring>,
    /// Told once a batch, not once a change: a wake-up costs more than a change.
    wake: watch::Sender<u64>,
}

impl Changes {
    pub(super) fn new(instance: u64, capacity: usize) -> Self {
        Self { instance, capacity: capacity.max(1), ring: Mutex::default(), wake: watch::Sender::new(0) }
    }

    /// The newest version.
    pub(super) fn latest(&self) -> u64 {
        lock(&self.ring).latest
    }

    pub(super) fn bytes(&self) -> usize {
        lock(&self.ring).bytes
    }

    /// Appends, unless it was appended before.
    pub(super) fn push(&self, entry: Entry) {
        let mut ring = lock(&self.ring);
        if entry.version <= ring.latest {
            return;
        }
        debug_assert_eq!(entry.version, ring.latest + 1, "versions have no holes");
        ring.latest = entry.version;
        ring.bytes += entry.row.packed.bytes.len();
        ring.entries.push_back(entry);
        while ring.entries.len() > self.capacity || (ring.bytes > RING_BYTES && ring.entries.len() > 1) {
            if let Some(gone) = ring.entries.pop_front() {
                ring.bytes -= gone.row.packed.bytes.len();
            }
        }
    }

    /// Wakes subscribers, if there is something new for them.
    pub(super) fn wake(&self) {
        let latest = self.latest();
        self.wake.send_if_modified(|seen| std::mem::replace(seen, latest) != latest);
    }

    /// Whether everything behind that version is still there.
    fn reaches(&self, version: u64) -> bool {
        let ring = lock(&self.ring);
        version <= ring.latest && version + 1 >= ring.oldest()
    }
}

/// A running subscription. Dropping it ends it.
pub struct Subscription {
    store: Arc<Store>,
    filter: Filter,
    snapshot: Vec<Object>,
    resumed: bool,
    version: u64,
    wake: watch::Receiver<u64>,
}

impl Subscription {
    /// Takes the state at the beginning: what the filter takes of the current objects, by kind, namespace and name. Empty
    /// when resumed.
    pub fn take_snapshot(&mut self) -> Vec<Object> {
        std::mem::take(&mut self.snapshot)
    }

    /// Whether it goes on where the given cursor ended. If not, forget what you know: the snapshot replaces it.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Where it stands: behind the snapshot and behind every change that was given.
    pub fn cursor(&self) -> Cursor {
        Cursor { instance: self.store.changes.instance, version: self.version }
    }

    /// Waits for the next change. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Change, Lagged> {
        loop {
            // Before looking, so that what comes while we look wakes us.
            self.wake.borrow_and_update();
            if let Some(change) = self.try_next()? {
                return Ok(change);
            }
            if self.wake.changed().await.is_err() {
                // The store, which we hold, holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The next change, if it is there.
    pub fn try_next(&mut self) -> Result<Option<Change>, Lagged> {
        loop {
            let ring = lock(&self.store.changes.ring);
            if self.version + 1 < ring.oldest() {
                return Err(Lagged { missed: ring.latest - self.version });
            }
            let start = (self.version + 1 - ring.oldest()) as usize;
            if start >= ring.entries.len() {
                return Ok(None);
            }
            for entry in ring.entries.range(start..).take(LOOK) {
                self.version = entry.version;
                if let Some(operation) = self.filter.sees(entry) {
                    let object = Object::new(entry.kind.clone(), entry.row.clone());
                    return Ok(Some(Change { version: entry.version, operation, object }));
                }
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({} of {:?})", self.cursor(), self.filter)
    }
}

impl Store {
    /// The newest version: of the last change of any kind.
    pub fn version(&self) -> u64 {
        self.changes.latest()
    }

    /// A snapshot and then every change behind it; or, from a cursor that is still within the ring, only the changes.
    pub fn subscribe(self: &Arc<Self>, filter: Filter, since: Option<Cursor>) -> Subscription {
        let wake = self.changes.wake.subscribe();
        let known = since.filter(|c| c.instance == self.changes.instance && self.changes.reaches(c.version));
        if let Some(cursor) = known {
            let version = cursor.version;
            return Subscription { store: self.clone(), filter, snapshot: Vec::new(), resumed: true, version, wake };
        }
        let (rows, version) = {
            // Held until the version is known: a table that joined meanwhile would be in neither.
            let all = self.tables.read().unwrap_or_else(PoisonError::into_inner);
            let tables: Vec<_> = all.all.iter().filter(|t| filter.has_kind(&t.kind)).collect();
            let indexes: Vec<_> = tables.iter().map(|t| (&t.kind, t.index())).collect();
            // No change can enter the ring of what we hold: this is the version of exactly this state.
            let version = self.changes.latest();
            let mut rows = Vec::new();
            for (kind, index) in &indexes {
                let named = index.within(filter.namespace.as_deref(), None);
                rows.extend(named.map(|(_, row)| ((*kind).clone(), row.clone())));
            }
            (rows, version)
        };
        let seen = rows.into_iter().filter(|(_, row)| filter.takes(row));
        let snapshot = seen.map(|(kind, row)| Object::new(kind, row)).collect();
        Subscription { store: self.clone(), filter, snapshot, resumed: false, version, wake }
    }
}
