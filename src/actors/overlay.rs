//! Versions that were emitted and are not folded into the store yet: where the next change's `before` comes from.

use crate::domain::index::Name;
use crate::domain::redact::{Object, Redacted};
use crate::domain::rv::Rv;
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

struct Version {
    uid: Arc<str>,
    rv: Rv,
    json: Bytes,
}

/// A bounded map from name to the newest version emitted. When it is full the oldest goes: its next change is an `op=r`
/// if the fold has not caught up by then. Capture never waits for the fold.
pub struct Overlay {
    limit: usize,
    bytes: usize,
    versions: HashMap<Name, Version>,
    order: VecDeque<(Name, Rv)>,
}

impl Overlay {
    /// At most `limit` bytes of objects.
    pub fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, versions: HashMap::new(), order: VecDeque::new() }
    }

    /// Takes versions, newest last.
    pub fn extend(&mut self, versions: Vec<Redacted<Object>>) {
        for version in versions {
            let object = version.get();
            let at = Name { namespace: object.namespace.clone(), name: object.name.clone() };
            self.remove(&at);
            self.bytes += object.json.len();
            self.order.push_back((at.clone(), object.rv.clone()));
            let kept = Version { uid: object.uid.clone(), rv: object.rv.clone(), json: object.json.clone() };
            self.versions.insert(at, kept);
        }
        while self.bytes > self.limit && self.pop_oldest() {}
    }

    /// The bytes of exactly that version.
    pub fn get(&self, at: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        let version = self.versions.get(at)?;
        (&*version.uid == uid && version.rv == *rv).then(|| version.json.clone())
    }

    /// Drops from the front what the store holds by now.
    pub fn drop_folded(&mut self, holds: impl Fn(&Name, &str, &Rv) -> bool) {
        while let Some((at, rv)) = self.order.front() {
            let folded = match self.versions.get(at) {
                Some(version) if version.rv == *rv => holds(at, &version.uid, rv),
                // Overwritten since: its place in the order is void.
                _ => true,
            };
            if !folded || !self.pop_oldest() {
                return;
            }
        }
    }

    fn pop_oldest(&mut self) -> bool {
        let Some((at, rv)) = self.order.pop_front() else { return false };
        if self.versions.get(&at).is_some_and(|version| version.rv == rv) {
            self.remove(&at);
        }
        true
    }

    fn remove(&mut self, at: &Name) {
        if let Some(version) = self.versions.remove(at) {
            self.bytes -= version.json.len();
        }
    }
}
