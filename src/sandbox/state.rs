//! The cluster's state and its verbs, for HTTP as for everyone else in the process: one revision over all resources,
//! objects as trees with their bytes, and a bounded history for watches.
//!
//! Resources are named as `kubectl` names them: `pods`, `deployments.apps`. Every verb is one short critical section; what
//! it gives out are shared versions that never change. A change is in the journal before anyone can see it.

use super::object::{Encoded, Object, key_of, text_at};
use super::origin::Origin;
use super::resource::Resource;
use super::status::Status;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod admission;
pub(super) mod data;
mod defaults;
mod deletion;
mod garbage;
mod history;
mod managers;
mod network;
mod table;
mod validation;
mod watch;

use data::{Data, Record};
pub use deletion::{Deleted, Deletion, Propagation};
pub use table::Change;
pub use watch::Watch;

/// Who writes, what part of the object, and whether for real.
#[derive(Debug, Clone)]
pub struct Write {
    /// Stands in `managedFields`.
    pub manager: String,
    /// `Update`, or `Apply`.
    pub operation: Operation,
    /// Which part of the object is written.
    pub part: Part,
    /// Answer as if, and leave everything as it is.
    pub dry_run: bool,
}

/// How `managedFields` calls a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// POST, PUT and the older patches.
    Update,
    /// Server-side apply.
    Apply,
}

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where the kind keeps that apart.
    Main,
    /// The status alone.
    Status,
    /// `spec.replicas`, by way of `/scale`.
    Scale,
}

impl Write {
    /// A write of the main part.
    pub fn by(manager: impl Into<String>) -> Self {
        Self { manager: manager.into(), operation: Operation::Update, part: Part::Main, dry_run: false }
    }

    /// The same, of the status.
    pub fn status(mut self) -> Self {
        self.part = Part::Status;
        self
    }
}

/// What a list gives.
#[derive(Debug, Clone)]
pub struct Listed {
    /// In the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// The revision at which it was so: a watch can begin there.
    pub revision: u64,
}

/// The state. Cheap to clone; clones are the same state.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    data: Mutex<Data>,
    origin: Origin,
    chores: tokio::sync::Notify,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// How often a read-change-write is begun anew because somebody else was faster.
const RETRIES: usize = 100;

impl State {
    /// A state in memory, with what a fresh cluster holds.
    pub fn new(origin: Origin) -> Self {
        let state = Self::from_data(Data::new(), origin);
        state.furnish().expect("an empty state takes the first objects");
        state
    }

    /// A state over what was replayed from a journal, which goes on being written.
    pub(super) fn resume(mut data: Data, journal: Box<dyn Record>, origin: Origin) -> Result<Self, Status> {
        origin.resumed_at(data.revision);
        data.chores.clear();
        data.journal = Some(journal);
        let state = Self::from_data(data, origin);
        state.furnish()?;
        state.find_chores();
        Ok(state)
    }

    /// Lets go of the journal: from here on every write is refused.
    pub(super) fn close(&self) {
        let mut data = self.lock();
        if data.journal.is_some() {
            data.journal = Some(Box::new(data::Closed));
        }
    }

    fn from_data(data: Data, origin: Origin) -> Self {
        Self(Arc::new(Inner { data: Mutex::new(data), origin, chores: tokio::sync::Notify::new() }))
    }

    /// Creates what every cluster has and this one lacks.
    pub(super) fn furnish(&self) -> Result<(), Status> {
        let write = Write::by("kube-apiserver");
        let mut first = Vec::new();
        for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
            first.push(("namespaces", json!({"metadata": {"name": name}})));
        }
        first.push(("serviceaccounts", json!({"metadata": {"name": "default", "namespace": "default"}})));
        let labels = json!({"component": "apiserver", "provider": "kubernetes"});
        let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
        first.push((
            "services",
            json!({
                "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
                "spec": {"clusterIP": "10.96.0.1", "ports": ports, "sessionAffinity": "None", "type": "ClusterIP"},
            }),
        ));
        for (resource, object) in first {
            let namespace = text_at(&object, "/metadata/namespace");
            if self.get(resource, namespace, text_at(&object, "/metadata/name")).is_err() {
                self.create(resource, object, &write)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.0.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where time and chance come from.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// Identity of the cluster: uid of namespace kube-system.
    pub fn cluster_uid(&self) -> String {
        self.get("namespaces", "", "kube-system").map(|n| n.uid().to_owned()).unwrap_or_default()
    }

    /// What is served, built-in and custom, by name.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.lock().tables.values().map(|t| t.resource.clone()).collect()
    }

    /// The resource of that name (`pods`, `deployments.apps`).
    pub fn resource(&self, resource: &str) -> Result<Arc<Resource>, Status> {
        Ok(self.lock().table(resource)?.resource.clone())
    }

    /// An object. `namespace` is empty where the resource has none.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.lock().object(resource, &key_of(namespace, name)).cloned()
    }

    /// The objects of a namespace, or of all (`""`).
    pub fn list(&self, resource: &str, namespace: &str) -> Result<Listed, Status> {
        let data = self.lock();
        let objects = data.table(resource)?.within(namespace).map(|(_, o)| o.clone()).collect();
        Ok(Listed { objects, revision: data.revision })
    }

    /// The versions that were there at `revision` (`None`: now), from key `start` on, and that revision. `Expired` where
    /// history does not reach back so far.
    pub(super) fn list_at(
        &self,
        resource: &str,
        namespace: &str,
        start: &str,
        revision: Option<u64>,
    ) -> Result<(Vec<Arc<Encoded>>, u64), Status> {
        let data = self.lock();
        let at = revision.unwrap_or(data.revision);
        let versions = data.table(resource)?.snapshot(at, namespace, start);
        let versions = versions.ok_or_else(|| Status::expired(format!("too old resource version: {at}")))?;
        Ok((versions, at))
    }

    /// Creates an object. Its namespace is the one in its metadata, else `default`.
    pub fn create(&self, resource: &str, mut object: Value, write: &Write) -> Result<Arc<Object>, Status> {
        let mut data = self.lock();
        let table = data.table(resource)?;
        let kind = table.resource.clone();
        admission::before_create(&kind, &mut object, write, self.origin())?;
        let name = text_at(&object, "/metadata/name").to_owned();
        let namespace = text_at(&object, "/metadata/namespace").to_owned();
        let key = key_of(&namespace, &name);
        if table.objects.contains_key(key.as_str()) {
            return Err(Status::already_exists(&kind, &name));
        }
        if kind.namespaced {
            let home = data.object("namespaces", &namespace)?;
            if home.is_terminating() {
                let why =
                    format!("unable to create new content in namespace {namespace} because it is being terminated");
                return Err(Status::forbidden(&kind, &name, &why).terminating(&namespace));
            }
        }
        if kind.qualified == "services" {
            network::assign_cluster_ip(&mut object, &table.objects, self.origin());
        }
        admission::complete(&kind, &object, None)?;
        if write.dry_run {
            return Ok(Arc::new(Object::new(object)));
        }
        let object = data.put(resource, &key, object)?;
        self.done(data);
        Ok(object)
    }

    /// Replaces an object, or its status (`write.part`). With a `resourceVersion` in it, only if that is the current one. A
    /// change of nothing leaves everything as it is.
    pub fn update(&self, resource: &str, object: Value, write: &Write) -> Result<Arc<Object>, Status> {
        let mut data = self.lock();
        let kind = data.table(resource)?.resource.clone();
        let name = text_at(&object, "/metadata/name").to_owned();
        let namespace = if kind.namespaced { text_at(&object, "/metadata/namespace") } else { "" };
        let key = key_of(namespace, &name);
        let old = data.object(resource, &key)?.clone();
        let Some(new) = admission::before_update(&kind, &old, object, write, self.origin())? else { return Ok(old) };
        admission::complete(&kind, &new, Some(old.value()))?;
        if write.dry_run {
            return Ok(Arc::new(Object::new(new)));
        }
        let last_finalizer_went = deletion::is_over(&new) && !deletion::is_over(old.value());
        // One change, as in etcd: the version without finalizers is answered and never stored.
        let new = if last_finalizer_went {
            data.remove(resource, &key)?;
            Arc::new(Object::new(new))
        } else {
            data.put(resource, &key, new)?
        };
        self.done(data);
        Ok(new)
    }

    /// Reads an object, lets `change` change it, and writes it back; begins anew where somebody else was faster, so `change`
    /// may run more than once. It must not call the state.
    pub fn modify(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        write: &Write,
        mut change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, Status> {
        self.try_modify(resource, namespace, name, write, |value| {
            change(value);
            Ok(())
        })
    }

    /// The same with a change that can be refused. Where the change sets another `resourceVersion` than it was given, that
    /// is a precondition, and a conflict is not retried.
    pub fn try_modify(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        write: &Write,
        mut change: impl FnMut(&mut Value) -> Result<(), Status>,
    ) -> Result<Arc<Object>, Status> {
        for _ in 0..RETRIES {
            let old = self.get(resource, namespace, name)?;
            let mut value = old.value().clone();
            change(&mut value)?;
            let own_precondition =
                value.pointer("/metadata/resourceVersion") != old.value().pointer("/metadata/resourceVersion");
            match self.update(resource, value, write) {
                Err(status) if status.code == 409 && !own_precondition => {}
                other => return other,
            }
        }
        Err(Status::modified(&*self.resource(resource)?, name))
    }

    /// A merge patch (RFC 7396).
    pub fn patch_merge(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        write: &Write,
    ) -> Result<Arc<Object>, Status> {
        self.modify(resource, namespace, name, write, |value| json_patch::merge(value, patch))
    }

    /// Changes of a resource after `revision`; see [`Watch`].
    pub fn watch(&self, resource: &str, revision: u64) -> Result<Watch, Status> {
        Watch::new(self.clone(), resource, revision)
    }

    /// Forgets all history: watches and continue tokens from before now get 410.
    pub fn compact(&self) {
        let mut data = self.lock();
        let revision = data.revision;
        data.tables.values_mut().for_each(|t| t.compact(revision));
    }

    /// Waits until the state has reached `revision`, for `patience` at most; whether it has.
    pub(super) async fn reached(&self, revision: u64, patience: std::time::Duration) -> bool {
        let mut latest = self.lock().latest.subscribe();
        let reached = async { latest.wait_for(|now| *now >= revision).await.is_ok() };
        tokio::time::timeout(patience, reached).await.unwrap_or(false)
    }

    /// Ends a critical section that changed something.
    fn done(&self, data: MutexGuard<'_, Data>) {
        let chores = !data.chores.is_empty();
        drop(data);
        if chores {
            self.0.chores.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
