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

    /// Gives it another bound; what is above it goes with the next versions.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
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
        // Places of versions that were overwritten weigh nothing above: a hot object must not pile them up behind a front
        // that waits for the fold.
        if self.order.len() > 2 * self.versions.len() + 64 {
            let versions = &self.versions;
            self.order.retain(|(at, rv)| versions.get(at).is_some_and(|version| version.rv == *rv));
        }
    }

    /// The bytes of exactly that version.
    pub fn get(&self, at: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        let version = self.versions.get(at)?;
        (&*version.uid == uid && version.rv == *rv).then(|| version.json.clone())
    }

    /// Drops from the front what `unneeded` says nobody will ask for any more. Whoever calls it must answer true for every
    /// version sooner or later, or the order of the versions behind it grows without end.
    pub fn drop_unneeded(&mut self, unneeded: impl Fn(&Name, &str, &Rv) -> bool) {
        while let Some((at, rv)) = self.order.front() {
            let done = match self.versions.get(at) {
                Some(version) if version.rv == *rv => unneeded(at, &version.uid, rv),
                // Overwritten since: its place in the order is void.
                _ => true,
            };
            if !done || !self.pop_oldest() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kind::Kind;
    use crate::domain::redact::{Identity, last_known};

    fn at(name: &str) -> Name {
        Name { namespace: "n".into(), name: name.into() }
    }

    fn version(name: &str, rv: u64) -> Redacted<Object> {
        let kind = Kind::builtin("configmaps").expect("built in");
        let rv = Rv::new(&rv.to_string());
        last_known(&kind, &Identity { namespace: "n", name, uid: name, rv: &rv }, None)
    }

    #[test]
    fn a_hot_object_behind_one_that_is_never_folded_does_not_grow_the_overlay() {
        let mut overlay = Overlay::new(1 << 20);
        overlay.extend(vec![version("died-before-it-was-folded", 1)]);
        for rv in 2..10_000 {
            overlay.extend(vec![version("hot", rv)]);
            overlay.drop_unneeded(|_, _, _| false);
        }
        assert!(overlay.order.len() < 100, "{} places for 2 versions", overlay.order.len());
        assert!(overlay.get(&at("hot"), "hot", &Rv::new("9999")).is_some());
        overlay.drop_unneeded(|_, _, _| true);
        assert_eq!((overlay.order.len(), overlay.versions.len(), overlay.bytes), (0, 0, 0));
    }

    #[test]
    fn above_its_limit_the_oldest_version_goes() {
        let size = version("a", 1).get().json.len();
        let mut overlay = Overlay::new(2 * size);
        overlay.extend(vec![version("a", 1), version("b", 2), version("c", 3)]);
        assert!(overlay.get(&at("a"), "a", &Rv::new("1")).is_none());
        assert!(overlay.get(&at("c"), "c", &Rv::new("3")).is_some());
    }
}
