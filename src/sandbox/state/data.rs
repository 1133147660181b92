//! What stands behind the lock: the tables, the one revision, who owns whom, and what is left to be tidied up.

use super::table::{Change, Table};
use crate::sandbox::object::{Encoded, Object};
use crate::sandbox::resource::{self, DEFINITIONS, Resource};
use crate::sandbox::status::Status;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::watch;

/// Largest object: what a body may bring, and room for what the server adds.
const OBJECT_BYTES: usize = 4 << 20;

/// Where an object stands: resource (`pods`, `deployments.apps`) and key.
pub(in crate::sandbox) type Place = (Arc<str>, Arc<str>);

/// Writes a change down before it becomes true. An error refuses the change.
pub(in crate::sandbox) trait Record: Send {
    /// An object's new version, or its end.
    fn record(&mut self, entry: Entry<'_>) -> Result<(), String>;
    /// Whether so much is written down that it is time for [`Record::start_over`].
    fn is_long(&self) -> bool;
    /// From here on only what follows `revision` counts, and these objects. Must not take long: the state waits.
    fn start_over(&mut self, revision: u64, objects: Vec<Kept>, at_once: bool) -> Result<(), String>;
}

/// An object that is to be kept: its resource, key and bytes.
pub(in crate::sandbox) type Kept = (Arc<str>, Arc<str>, Arc<Encoded>);

/// One line of the journal.
pub(in crate::sandbox) struct Entry<'a> {
    pub revision: u64,
    pub resource: &'a str,
    pub key: &'a str,
    /// `None`: it is gone.
    pub json: Option<&'a [u8]>,
}

/// The journal of a sandbox that was stopped.
pub(in crate::sandbox) struct Closed;

impl Record for Closed {
    fn record(&mut self, _: Entry<'_>) -> Result<(), String> {
        Err("the sandbox was stopped".to_owned())
    }

    fn is_long(&self) -> bool {
        false
    }

    fn start_over(&mut self, _: u64, _: Vec<Kept>, _: bool) -> Result<(), String> {
        Err("the sandbox was stopped".to_owned())
    }
}

/// Something to tidy up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) enum Chore {
    /// An owner with that uid is gone.
    Dependents(Arc<str>),
    /// It names owners: are they there?
    Owned(Place),
    /// Its deletion waits for its dependents.
    Foreground(Place),
    /// It is to be emptied, and then to go.
    Namespace(Arc<str>),
    /// Its objects are to go, then itself.
    Definition(Arc<str>),
}

pub(in crate::sandbox) struct Data {
    pub revision: u64,
    pub tables: BTreeMap<Arc<str>, Table>,
    /// Resources that are served no more, for those who still read their last changes.
    pub retired: BTreeMap<Arc<str>, Table>,
    /// Owner's uid → those who name it.
    pub dependents: HashMap<Box<str>, BTreeSet<Place>>,
    /// uid → where it is.
    pub uids: HashMap<Box<str>, Place>,
    pub chores: BTreeSet<Chore>,
    /// Carries the latest revision of all.
    pub latest: watch::Sender<u64>,
    pub journal: Option<Box<dyn Record>>,
    /// How often history was rewound: who followed it before has to begin anew.
    pub rewinds: u64,
}

impl Data {
    /// Without any object.
    pub fn new() -> Self {
        let mut data = Self {
            revision: 0,
            tables: BTreeMap::new(),
            retired: BTreeMap::new(),
            dependents: HashMap::new(),
            uids: HashMap::new(),
            chores: BTreeSet::new(),
            latest: watch::Sender::new(0),
            journal: None,
            rewinds: 0,
        };
        resource::builtin().into_iter().for_each(|r| data.define(r));
        data
    }

    /// Makes true again what the journal says. Objects of a resource that is not served are an error of the journal.
    pub fn replay(&mut self, revision: u64, resource: &str, key: &str, json: Option<&[u8]>) -> Result<(), String> {
        if resource.is_empty() {
            self.revision = self.revision.max(revision);
            return Ok(());
        }
        let object = match json.map(serde_json::from_slice::<Value>) {
            None => None,
            Some(Ok(value)) if value.get("metadata").is_some_and(Value::is_object) => {
                Some(Arc::new(Object::new(value)))
            }
            Some(_) => return Err(format!("{resource} {key}: no object")),
        };
        let ends = object.is_none();
        match self.apply(resource, key, revision, object) {
            None if !ends => Err(format!("{resource} {key}: no such resource")),
            _ => Ok(()),
        }
    }

    /// What is replayed up to here is a snapshot: how it came to be is not known.
    pub fn forget_history(&mut self) {
        let revision = self.revision;
        self.tables.values_mut().for_each(|t| t.compact(revision));
    }

    /// Serves a resource from now on, or as it is described now.
    pub fn define(&mut self, resource: Resource) {
        let resource = Arc::new(resource);
        match self.tables.get_mut(resource.qualified.as_str()) {
            Some(table) => table.resource = resource,
            None => {
                let name = Arc::from(resource.qualified.as_str());
                self.retired.remove(&name);
                self.tables.insert(name, Table::new(resource, self.revision));
            }
        }
    }

    pub fn table(&self, resource: &str) -> Result<&Table, Status> {
        self.tables.get(resource).ok_or_else(Status::no_such_resource)
    }

    pub fn object(&self, resource: &str, key: &str) -> Result<&Arc<Object>, Status> {
        let table = self.table(resource)?;
        let name = key.rsplit('/').next().unwrap_or_default();
        table.objects.get(key).ok_or_else(|| Status::not_found(&table.resource, name))
    }

    /// Makes `value` the object's version. Its metadata is complete but for the resourceVersion.
    pub fn put(&mut self, resource: &str, key: &str, mut value: Value) -> Result<Arc<Object>, Status> {
        let revision = self.revision + 1;
        value["metadata"]["resourceVersion"] = revision.to_string().into();
        let object = Arc::new(Object::new(value));
        if object.encoded().json.len() > OBJECT_BYTES {
            let why = format!("Request entity too large: limit is {OBJECT_BYTES}, also for what patches add up to");
            return Err(Status::new(413, "RequestEntityTooLarge", why));
        }
        self.write_down(Entry { revision, resource, key, json: Some(&object.encoded().json) })?;
        self.apply(resource, key, revision, Some(object.clone()));
        Ok(object)
    }

    /// Ends an object. Gives its last version, at the deletion's revision.
    pub fn remove(&mut self, resource: &str, key: &str) -> Result<Arc<Object>, Status> {
        self.object(resource, key)?;
        let revision = self.revision + 1;
        self.write_down(Entry { revision, resource, key, json: None })?;
        self.apply(resource, key, revision, None).ok_or_else(|| Status::internal("it was there a moment ago"))
    }

    pub fn write_down(&mut self, entry: Entry<'_>) -> Result<(), Status> {
        if self.journal.as_ref().is_some_and(|j| j.is_long()) {
            self.start_over_with(false)?;
        }
        match &mut self.journal {
            Some(journal) => journal.record(entry).map_err(Status::internal),
            None => Ok(()),
        }
    }

    /// Makes what is written down say what is true now, and nothing else.
    pub fn start_over(&mut self) -> Result<(), Status> {
        self.start_over_with(true)
    }

    fn start_over_with(&mut self, at_once: bool) -> Result<(), Status> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        // Definitions first: they make the tables for what follows.
        let mut tables: Vec<_> = self.tables.iter().collect();
        tables.sort_by_key(|(name, _)| name.as_ref() != DEFINITIONS);
        let objects = tables.into_iter().flat_map(|(name, table)| {
            table.objects.iter().map(|(key, object)| (name.clone(), key.clone(), object.encoded().clone()))
        });
        journal.start_over(self.revision, objects.collect(), at_once).map_err(Status::internal)
    }

    /// Makes it true; also how the journal is replayed. Of a deletion, the last version.
    pub fn apply(
        &mut self,
        resource: &str,
        key: &str,
        revision: u64,
        object: Option<Arc<Object>>,
    ) -> Option<Arc<Object>> {
        let (name, table) = self.tables.get_key_value(resource)?;
        let name = name.clone();
        let old_key = table.objects.get_key_value(key);
        let (key, before) =
            old_key.map_or_else(|| (Arc::from(key), None), |(k, o)| (k.clone(), Some(o.encoded().clone())));
        let deleted = object.is_none();
        let table = self.tables.get_mut(resource)?;
        let after = match object {
            Some(object) => {
                table.objects.insert(key.clone(), object.clone());
                object
            }
            None => {
                let mut value = table.objects.remove(&key)?.value().clone();
                value["metadata"]["resourceVersion"] = revision.to_string().into();
                Arc::new(Object::new(value))
            }
        };
        self.revision = self.revision.max(revision);
        let encoded = after.encoded().clone();
        table.remember(Change { revision, key: key.clone(), before: before.clone(), after: encoded.clone(), deleted });
        self.relate(&(name.clone(), key.clone()), before.as_deref(), (!deleted).then_some(&*encoded));
        self.note_chores(&(name, key), &after, deleted);
        self.latest.send_replace(self.revision);
        Some(after)
    }

    /// Keeps the indexes of uids and owners.
    pub fn relate(&mut self, place: &Place, before: Option<&Encoded>, after: Option<&Encoded>) {
        if before.map(|b| (&b.uid, &b.owners)) == after.map(|a| (&a.uid, &a.owners)) {
            return;
        }
        if let Some(before) = before {
            self.uids.remove(&before.uid);
            for owner in &before.owners {
                let empty = self.dependents.get_mut(owner).is_some_and(|d| d.remove(place) && d.is_empty());
                if empty {
                    self.dependents.remove(owner);
                }
            }
        }
        if let Some(after) = after {
            self.uids.insert(after.uid.clone(), place.clone());
            for owner in &after.owners {
                self.dependents.entry(owner.clone()).or_default().insert(place.clone());
            }
        }
    }

    fn note_chores(&mut self, place: &Place, object: &Arc<Object>, deleted: bool) {
        let (resource, key) = place;
        if resource.as_ref() == DEFINITIONS {
            self.note_definition(key, object, deleted);
        }
        let encoded = object.encoded();
        if deleted {
            if self.dependents.contains_key(&encoded.uid) {
                self.chores.insert(Chore::Dependents(Arc::from(&*encoded.uid)));
            }
            for owner in &encoded.owners {
                let waiting = self.uids.get(owner).filter(|p| self.is_waiting_for_dependents(p)).cloned();
                self.chores.extend(waiting.map(Chore::Foreground));
            }
            let namespace = object.namespace();
            let leaving = self.tables["namespaces"].objects.get(namespace).is_some_and(|n| n.is_terminating());
            if leaving {
                self.chores.insert(Chore::Namespace(Arc::from(namespace)));
            }
            return;
        }
        if !encoded.owners.is_empty() && !encoded.owners.iter().any(|o| self.uids.contains_key(o)) {
            self.chores.insert(Chore::Owned(place.clone()));
        }
        if object.is_terminating() {
            if resource.as_ref() == "namespaces" {
                self.chores.insert(Chore::Namespace(key.clone()));
            }
            if self.is_waiting_for_dependents(place) {
                self.chores.insert(Chore::Foreground(place.clone()));
            }
        }
    }

    fn note_definition(&mut self, key: &Arc<str>, object: &Object, deleted: bool) {
        if deleted {
            if let Some((name, table)) = self.tables.remove_entry(key) {
                table.latest.send_replace(self.revision);
                self.retired.insert(name, table);
            }
        } else if let Some(resource) = resource::from_definition(object.value()) {
            self.define(resource);
        }
        let leaving = object.is_terminating() || deleted;
        if leaving {
            self.chores.insert(Chore::Definition(key.clone()));
        }
    }

    fn is_waiting_for_dependents(&self, (resource, key): &Place) -> bool {
        let object = self.tables.get(resource).and_then(|t| t.objects.get(key));
        object.is_some_and(|o| o.is_terminating() && has_finalizer(o.value(), "foregroundDeletion"))
    }
}

pub(super) fn has_finalizer(value: &Value, finalizer: &str) -> bool {
    let finalizers = value.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|f| f.iter().any(|f| f == finalizer))
}
