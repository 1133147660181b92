//! The store: live state of every captured kind, built only from the log (G5), kept as compressed bytes.
//!
//! ```text
//! log ── records ──▶ apply (one writer) ──▶ rows (dashmap, by name)     ──▶ get, before
//!                                       ──▶ index (ordered, by tag)     ──▶ list, count
//!                                       ──▶ ring of changes             ──▶ subscribe
//!                                       ──▶ ledger (owed, dead, shadow) ──▶ restored (capture at its start)
//!                                       ──▶ positions                   ──▶ where a reader goes on
//! ```
//!
//! It outlives the actor that applies. Everything that actor must know after a panic stands in here: what was applied
//! ([`Store::positions`]), what must be published again ([`Store::restored`]), whether a newer writer was seen
//! ([`Store::superseded`]). Applying a record again is harmless.
//!
//! No guard ever leaves this module: callers get clones of `Arc`s. Lock order: writer, index, ring; readers take one lock
//! at a time (a subscription: indexes in the order of their tables, then the ring).

mod apply;
mod changes;
mod facts;
mod read;
mod row;
mod save;
mod table;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use changes::{Change, Cursor, Lagged, Operation, Subscription};
pub use read::{AsOf, Filter, KindMemory, Memory, Page, Position, Restored, Stats};
pub use row::Object;
pub use save::{Identity, Loaded, SavedFold, Written};

use crate::domain::fold::Death;
use crate::domain::index::Name;
use crate::domain::kind::{Kind, Tracking};
use crate::domain::rv::Rv;
use apply::Writer;
use bytes::Bytes;
use changes::Changes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use table::Table;

/// What a store is made of.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The configured name of the cluster: keys of another are foreign.
    pub cluster: String,
    /// The kinds, each with its topic (prefix included). More may join later ([`Store::add`]).
    pub tables: Vec<(Kind, Arc<str>)>,
    /// Shards of each built-in kind's map; a power of two. Many, because a reader that is preempted holds one of them.
    pub shards: usize,
    /// What rows may take in compressed bytes. Current state is never cut for it: see [`Store::over_cap`].
    pub max_bytes: usize,
    /// How long a Kubernetes Event is kept.
    pub events_ttl: Duration,
    /// How many of them are kept.
    pub events_max: usize,
    /// Changes kept for subscribers that are behind or come back.
    pub ring: usize,
    /// Whether the dead are kept for a saved fold: its reader must know them as whoever reads the whole log does.
    pub keep_dead: bool,
    /// Names this life of the store in cursors: a cursor of another life cannot be resumed. Random by default; a
    /// simulation gives its own.
    pub instance: u64,
}

impl StoreOptions {
    /// The defaults for these kinds and topics.
    pub fn new(cluster: &str, tables: Vec<(Kind, Arc<str>)>) -> Self {
        Self {
            cluster: cluster.to_owned(),
            tables,
            shards: 1024,
            max_bytes: 256 << 20,
            events_ttl: Duration::from_secs(3600),
            events_max: 20_000,
            ring: 4096,
            keep_dead: false,
            instance: rand::random(),
        }
    }
}

/// The state. Shared by everyone; written by one actor at a time.
pub struct Store {
    cluster: String,
    tables: RwLock<Arc<Tables>>,
    shards: usize,
    max_bytes: usize,
    events_ttl: Duration,
    events_max: usize,
    keep_dead: bool,
    writer: Mutex<Writer>,
    changes: Changes,
    /// Our own writer epoch; 0 as long as we have none.
    own_epoch: AtomicU64,
    /// A higher epoch than our own that was seen; 0 for none.
    superseded: AtomicU64,
    counters: Mutex<read::Counters>,
}

/// The tables of one moment. Tables are only ever added, so whoever holds an older set misses the newest kinds and nothing
/// else.
#[derive(Default, Clone)]
struct Tables {
    /// In the order in which they came.
    all: Vec<Arc<Table>>,
    by_topic: HashMap<Arc<str>, Arc<Table>>,
    by_kind: HashMap<Kind, Arc<Table>>,
    by_id: HashMap<String, Arc<Table>>,
}

impl Tables {
    fn add(&mut self, table: Table) {
        let table = Arc::new(table);
        self.all.push(table.clone());
        self.by_topic.insert(table.topic.clone(), table.clone());
        self.by_kind.insert(table.kind.clone(), table.clone());
        self.by_id.insert(table.kind_id.clone(), table);
    }
}

/// The seven built-in kinds are what a cluster has most of; of a hundred others each is small, and a shard takes 128 bytes.
const SHARES_OF_OTHERS: usize = 16;

fn table(kind: &Kind, topic: &Arc<str>, shards: usize) -> Table {
    let shards = if Kind::builtin(kind.plural()).as_ref() == Some(kind) { shards } else { shards / SHARES_OF_OTHERS };
    Table::new(kind, topic, shards)
}

/// Plain data that is valid after every line: a panic elsewhere must not take the state away from everyone.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// An empty store. Every kind counts as incomplete until [`Store::complete`].
    pub fn new(options: StoreOptions) -> Arc<Self> {
        let mut tables = Tables::default();
        options.tables.iter().for_each(|(kind, topic)| tables.add(table(kind, topic, options.shards)));
        Arc::new(Self {
            cluster: options.cluster,
            tables: RwLock::new(Arc::new(tables)),
            shards: options.shards,
            max_bytes: options.max_bytes,
            events_ttl: options.events_ttl,
            events_max: options.events_max,
            keep_dead: options.keep_dead,
            writer: Mutex::new(Writer::default()),
            changes: Changes::new(options.instance, options.ring),
            own_epoch: AtomicU64::new(0),
            superseded: AtomicU64::new(0),
            counters: Mutex::new(read::Counters::default()),
        })
    }

    /// Adds a kind with its topic (prefix included). It is incomplete until [`Store::complete`]. One that is held already
    /// stays as it is: gives whether it is new. No kind ever leaves: what was there stands in the log.
    pub fn add(&self, kind: &Kind, topic: &Arc<str>) -> bool {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.by_kind.contains_key(kind) {
            return false;
        }
        let mut more = Tables::clone(&tables);
        more.add(table(kind, topic, self.shards));
        *tables = Arc::new(more);
        true
    }

    /// The kinds it holds, in the order in which they were given.
    pub fn kinds(&self) -> Vec<Kind> {
        self.tables().all.iter().map(|t| t.kind.clone()).collect()
    }

    /// The kind of that id (`pods`), if it is held.
    pub fn kind(&self, id: &str) -> Option<Kind> {
        self.tables().by_id.get(id).map(|table| table.kind.clone())
    }

    fn tables(&self) -> Arc<Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn table(&self, kind: &Kind) -> Option<Arc<Table>> {
        self.tables().by_kind.get(kind).cloned()
    }

    /// Says which writer epoch is ours: from now on a higher one in the log is reported as superseding us.
    pub fn set_writer_epoch(&self, epoch: u64) {
        self.own_epoch.store(epoch, Ordering::Release);
    }

    /// A writer epoch above our own that was read: another process writes, ours must stop (exit 70). Stays.
    pub fn superseded(&self) -> Option<u64> {
        Some(self.superseded.load(Ordering::Acquire)).filter(|epoch| *epoch > 0)
    }

    /// Says what is still missing before questions about a kind may be answered, for people.
    pub fn incomplete(&self, kind: &Kind, missing: &str) {
        if let Some(table) = self.table(kind) {
            *lock(&table.missing) = Some(missing.into());
        }
    }

    /// Questions about the kind may be answered: its log was read up to our own writer markers.
    pub fn complete(&self, kind: &Kind) {
        if let Some(table) = self.table(kind) {
            *lock(&table.missing) = None;
        }
    }

    /// What is missing before questions about the kind may be answered.
    pub fn missing(&self, kind: &Kind) -> Option<Arc<str>> {
        self.table(kind).and_then(|table| lock(&table.missing).clone())
    }

    /// The exact JSON bytes of the object if the row is that uid at that version. Never waits for the fold.
    pub fn before(&self, kind: &Kind, at: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        let row = self.table(kind)?.row(at)?;
        (*row.uid == *uid && row.rv == *rv).then(|| row.json())
    }

    /// One object.
    pub fn get(&self, kind: &Kind, at: &Name) -> Option<Object> {
        let table = self.table(kind)?;
        table.row(at).map(|row| Object::new(table.kind.clone(), row))
    }

    /// Capture has taken over the dead of a kind (see [`crate::domain::fold::Ledger::bury`]); where the fold is saved they
    /// are kept until [`Store::forget_dead`].
    pub fn bury(&self, kind: &Kind) {
        if let Some(table) = self.table(kind).filter(|_| !self.keep_dead) {
            lock(&table.ledger).bury();
        }
    }

    /// Forgets those of the dead whom no resume can bring back any more, as the caller knows them.
    pub fn forget_dead(&self, kind: &Kind, is_settled: impl Fn(&Name, &Death) -> bool) {
        if let Some(table) = self.table(kind) {
            lock(&table.ledger).forget(is_settled);
        }
    }

    /// Whether the key's last record in the log is not what readers hold.
    pub fn is_shadowed(&self, kind: &Kind, at: &Name) -> bool {
        self.table(kind).is_some_and(|table| lock(&table.ledger).is_shadowed(at))
    }

    /// Topic of a kind, with prefix.
    pub fn topic(&self, kind: &Kind) -> Option<Arc<str>> {
        self.table(kind).map(|table| table.topic.clone())
    }

    /// Whether a kind is kept by time instead of being folded.
    fn is_stream(kind: &Kind) -> bool {
        kind.tracking() == Tracking::Stream
    }
}
