//! One kind: its rows by name, and the index over them.

use super::facts::{Facts, Found, Tag};
use super::lock;
use super::row::Row;
use crate::domain::fold::Ledger;
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use dashmap::DashMap;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How far a partition was applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Offset of the next record.
    pub(super) next: i64,
    /// Current writer epoch.
    pub(super) epoch: u64,
}

pub(super) struct Table {
    pub(super) kind: Kind,
    pub(super) kind_id: String,
    pub(super) topic: Arc<str>,
    /// For point reads, which so never meet the lock of a list.
    rows: DashMap<Arc<Name>, Arc<Row>>,
    index: RwLock<Index>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) progress: Mutex<BTreeMap<i32, Progress>>,
    /// Why questions may not be answered yet.
    pub(super) missing: Mutex<Option<Arc<str>>>,
}

/// What lists and counts are answered from. Written under one lock together with the ring of changes, so that whoever
/// holds it sees exactly the state of one version.
#[derive(Default)]
pub(super) struct Index {
    /// In the order of pages.
    pub(super) names: BTreeMap<Arc<Name>, Arc<Row>>,
    /// Objects per namespace; its keys are the one copy of each namespace's name.
    pub(super) namespaces: HashMap<Arc<str>, usize>,
    /// Which objects have a label, a field's value, an owner; its keys are the one copy of each tag.
    pub(super) tagged: BTreeMap<Arc<Tag>, BTreeSet<Arc<Name>>>,
    /// Of a stream: arrival by time and version, oldest first; entries of replaced rows are stale.
    pub(super) arrivals: VecDeque<(i64, u64, Arc<Name>)>,
    /// Sum of the rows' costs.
    pub(super) bytes: usize,
}

impl Table {
    pub(super) fn new(kind: &Kind, topic: &Arc<str>, shards: usize) -> Self {
        Self {
            kind: kind.clone(),
            kind_id: kind.id(),
            topic: topic.clone(),
            // dashmap wants a power of two above one.
            rows: DashMap::with_shard_amount(shards.next_power_of_two().max(2)),
            index: RwLock::default(),
            ledger: Mutex::default(),
            progress: Mutex::default(),
            missing: Mutex::new(Some("its log has not been read yet".into())),
        }
    }

    pub(super) fn row(&self, at: &Name) -> Option<Arc<Row>> {
        self.rows.get(at).map(|row| row.value().clone())
    }

    pub(super) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name as it is in memory already, or a new one.
    pub(super) fn name(&self, namespace: &str, name: &str) -> Arc<Name> {
        let index = self.index();
        let namespace = match index.namespaces.get_key_value(namespace) {
            Some((known, _)) => known.clone(),
            None => namespace.into(),
        };
        let at = Name { namespace, name: name.into() };
        match index.names.get_key_value(&at) {
            Some((known, _)) => known.clone(),
            None => Arc::new(at),
        }
    }

    /// The facts as they are in memory already, as far as they are.
    pub(super) fn facts(&self, found: &[Found<'_>], old: Option<&Row>) -> Arc<Facts> {
        if let Some(old) = old.filter(|old| old.facts.are(found)) {
            return old.facts.clone();
        }
        let index = self.index();
        let tag = |found: &Found<'_>| {
            let tag = found.tag();
            index.tagged.get_key_value(&tag).map_or_else(|| Arc::new(tag), |(known, _)| known.clone())
        };
        Arc::new(Facts::new(found.iter().map(tag).collect()))
    }

    /// As it was made: nothing of it was read.
    pub(super) fn clear(&self) {
        *self.index_mut() = Index::default();
        self.rows.clear();
        *lock(&self.ledger) = Ledger::default();
        lock(&self.progress).clear();
    }

    pub(super) fn progress(&self, partition: i32) -> Progress {
        lock(&self.progress).get(&partition).copied().unwrap_or_default()
    }

    /// Puts a row. Doing it again changes nothing, also after it was done in part.
    pub(super) fn put(&self, index: &mut Index, row: &Arc<Row>, old: Option<&Arc<Row>>) {
        // The same facts are in the index since the row before, which is the one to be found until the last step.
        if old.is_none_or(|old| !Arc::ptr_eq(&old.facts, &row.facts)) {
            if let Some(old) = old {
                index.untag(old);
            }
            for tag in row.facts.tags() {
                index.tagged.entry(tag.clone()).or_default().insert(row.at.clone());
            }
        }
        let replaced = index.names.insert(row.at.clone(), row.clone());
        index.bytes = index.bytes + row.cost() - replaced.as_ref().map_or(0, |r| r.cost());
        if replaced.is_none() {
            *index.namespaces.entry(row.at.namespace.clone()).or_default() += 1;
        }
        self.rows.insert(row.at.clone(), row.clone());
    }

    /// Takes a row away. Doing it again changes nothing.
    pub(super) fn remove(&self, index: &mut Index, row: &Arc<Row>) {
        index.untag(row);
        if let Some(removed) = index.names.remove(&row.at) {
            index.bytes -= removed.cost();
            if let Some(count) = index.namespaces.get_mut(&row.at.namespace) {
                *count -= 1;
                if *count == 0 {
                    index.namespaces.remove(&row.at.namespace);
                }
            }
        }
        self.rows.remove(&row.at);
    }
}

impl Index {
    fn untag(&mut self, row: &Row) {
        for tag in row.facts.tags() {
            if let Some(names) = self.tagged.get_mut(tag) {
                names.remove(&row.at);
                if names.is_empty() {
                    self.tagged.remove(tag);
                }
            }
        }
    }
}
