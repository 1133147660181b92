//! What the controllers know of the cluster: the current objects of a resource, kept by its watch, and who owns whom.

use crate::sandbox::{Object, State, Status, Watch, text_at};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One change of the cache: the version before, and the one now.
pub(in crate::sandbox) struct Seen {
    pub key: Arc<str>,
    pub before: Option<Arc<Object>>,
    pub after: Option<Arc<Object>>,
}

/// The objects of one resource, as an informer keeps them.
pub(in crate::sandbox) struct Cache {
    resource: &'static str,
    watch: Watch,
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    /// uid of the controlling owner → keys.
    owned: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    behind: bool,
}

impl Cache {
    pub fn new(state: &State, resource: &'static str) -> Result<Self, Status> {
        // Nothing is read yet: the first refresh lists.
        let watch = state.watch(resource, state.revision())?;
        Ok(Self { resource, watch, objects: BTreeMap::new(), owned: HashMap::new(), behind: true })
    }

    /// Catches up, and says what changed. A history that does not reach back makes it list anew: nothing is missed.
    pub fn refresh(&mut self, state: &State) -> Vec<Seen> {
        if self.behind {
            return self.list(state);
        }
        let mut touched = BTreeSet::new();
        loop {
            match self.watch.ready() {
                Ok(changes) if changes.is_empty() => break,
                Ok(changes) => touched.extend(changes.into_iter().map(|c| c.key)),
                Err(_) => return self.list(state),
            }
        }
        touched.into_iter().filter_map(|key| self.read(state, key)).collect()
    }

    fn list(&mut self, state: &State) -> Vec<Seen> {
        let Ok(listed) = state.list(self.resource, "") else { return Vec::new() };
        let Ok(watch) = state.watch(self.resource, listed.revision) else { return Vec::new() };
        self.watch = watch;
        self.behind = false;
        let mut keys: BTreeSet<Arc<str>> = self.objects.keys().cloned().collect();
        keys.extend(listed.objects.iter().map(|o| key(o)));
        keys.into_iter().filter_map(|key| self.read(state, key)).collect()
    }

    fn read(&mut self, state: &State, key: Arc<str>) -> Option<Seen> {
        let (namespace, name) = key.rsplit_once('/').unwrap_or(("", &key));
        let after = state.get(self.resource, namespace, name).ok();
        let before = match &after {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        if before.as_ref().map(|o| o.revision()) == after.as_ref().map(|o| o.revision()) {
            return None;
        }
        let (was, is) = (before.as_deref().and_then(controller_of), after.as_deref().and_then(controller_of));
        if was != is {
            if let Some(owned) = was.and_then(|uid| self.owned.get_mut(uid)) {
                owned.remove(&key);
            }
            if let Some(uid) = is {
                self.owned.entry(uid.into()).or_default().insert(key.clone());
            }
            if let Some(uid) = was.filter(|uid| self.owned.get(*uid).is_some_and(BTreeSet::is_empty)) {
                self.owned.remove(uid);
            }
        }
        Some(Seen { key, before, after })
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    pub fn all(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        self.objects.iter()
    }

    /// Those whose controller has that uid, in the order of their names.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Object>> {
        let keys = self.owned.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key).cloned()).collect()
    }

    /// Resolves when there may be something to refresh. Cancel-safe.
    pub async fn changed(&mut self) {
        self.watch.changed().await;
    }
}

/// `namespace/name`, or `name`.
pub(in crate::sandbox) fn key(object: &Object) -> Arc<str> {
    match object.namespace() {
        "" => object.name().into(),
        namespace => format!("{namespace}/{}", object.name()).into(),
    }
}

/// The owner that controls an object.
pub(in crate::sandbox) fn controller(object: &Object) -> Option<&Value> {
    let owners = object.value().pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|o| o["controller"] == true)
}

/// Its uid.
pub(in crate::sandbox) fn controller_of(object: &Object) -> Option<&str> {
    controller(object).map(|o| text_at(o, "/uid")).filter(|uid| !uid.is_empty())
}
