//! The objects of one resource and its latest changes.

use crate::sandbox::object::{Encoded, Object};
use crate::sandbox::resource::Resource;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::watch;

/// Changes kept for watches, per resource. A reader that is further behind gets 410 and lists again.
const RING_CHANGES: usize = 50_000;
/// The same in bytes of JSON: some seconds at 5,000 changes of 3 KB a second, an hour at a calm rate.
const RING_BYTES: usize = 32 << 20;

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its revision: the `resourceVersion` of `after`.
    pub revision: u64,
    /// `namespace/name`, or `name`.
    pub key: Arc<str>,
    /// What was there; `None`: it was created.
    pub before: Option<Arc<Encoded>>,
    /// What is there now; of a deletion the last version, at the deletion's revision.
    pub after: Arc<Encoded>,
    /// Whether it is gone.
    pub deleted: bool,
}

/// See the module.
pub(in crate::sandbox) struct Table {
    pub resource: Arc<Resource>,
    pub objects: BTreeMap<Arc<str>, Arc<Object>>,
    ring: VecDeque<Change>,
    ring_bytes: usize,
    /// A watch can begin at this revision or later.
    pub floor: u64,
    /// Carries the revision of the latest change here.
    pub latest: watch::Sender<u64>,
}

impl Table {
    pub fn new(resource: Arc<Resource>, floor: u64) -> Self {
        let latest = watch::Sender::new(floor);
        Self { resource, objects: BTreeMap::new(), ring: VecDeque::new(), ring_bytes: 0, floor, latest }
    }

    /// Remembers a change and wakes those who wait for it.
    pub fn remember(&mut self, change: Change) {
        let revision = change.revision;
        self.ring_bytes += change.after.json.len();
        self.ring.push_back(change);
        while self.ring.len() > RING_CHANGES || self.ring_bytes > RING_BYTES {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.after.json.len();
            self.floor = oldest.revision;
        }
        self.latest.send_replace(revision);
    }

    /// Forgets all changes up to `revision`.
    pub fn compact(&mut self, revision: u64) {
        while self.ring.front().is_some_and(|c| c.revision <= revision) {
            if let Some(oldest) = self.ring.pop_front() {
                self.ring_bytes -= oldest.after.json.len();
            }
        }
        self.floor = self.floor.max(revision);
    }

    /// Forgets changes up to `revision`. Unlike [`Table::compact`] this ends no watch that has read all there is.
    pub fn forget(&mut self, revision: u64) {
        while self.ring.front().is_some_and(|change| change.revision <= revision) {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.after.json.len();
            self.floor = oldest.revision;
        }
    }

    /// Up to `most` changes after `revision`, oldest first; `None` where some of them are forgotten.
    pub fn since(&self, revision: u64, most: usize) -> Option<Vec<Change>> {
        if revision < self.floor {
            return None;
        }
        let first = self.ring.partition_point(|c| c.revision <= revision);
        Some(self.ring.range(first..).take(most).cloned().collect())
    }

    /// The objects of a namespace; all for `""`.
    pub fn within(&self, namespace: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        let (first, last) = bounds(namespace, "");
        let last = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.objects.range::<str, _>((Bound::Included(first.as_str()), last))
    }

    /// What was there at `revision`, in order, from `start` on; `None` where that is forgotten.
    pub fn snapshot(&self, revision: u64, namespace: &str, start: &str) -> Option<Vec<Arc<Encoded>>> {
        if revision < self.floor {
            return None;
        }
        let (first, last) = bounds(namespace, start);
        let range = (Bound::Included(first.as_str()), last.as_deref().map_or(Bound::Unbounded, Bound::Excluded));
        let current = self.objects.range::<str, _>(range);
        let mut objects: BTreeMap<&str, &Arc<Encoded>> = current.map(|(k, o)| (&**k, o.encoded())).collect();
        let inside = |key: &str| key >= first.as_str() && last.as_deref().is_none_or(|last| key < last);
        for change in self.ring.iter().rev().take_while(|c| c.revision > revision).filter(|c| inside(&c.key)) {
            match &change.before {
                Some(before) => objects.insert(&change.key, before),
                None => objects.remove(&*change.key),
            };
        }
        Some(objects.into_values().cloned().collect())
    }

    /// Takes the latest change back, if it is newer than `revision`.
    pub fn pop_newer(&mut self, revision: u64) -> Option<Change> {
        self.ring.back().filter(|c| c.revision > revision)?;
        self.ring.pop_back().inspect(|c| self.ring_bytes -= c.after.json.len())
    }
}

/// First key, and the first one behind, of a namespace (empty: all) from `start` on.
fn bounds(namespace: &str, start: &str) -> (String, Option<String>) {
    if namespace.is_empty() {
        return (start.to_owned(), None);
    }
    // '0' is what follows '/'.
    let first = format!("{namespace}/");
    (if *start > *first { start.to_owned() } else { first }, Some(format!("{namespace}0")))
}
