//! Deletion: preconditions, grace, finalizers, and what becomes of the dependents.

use super::data::{Data, has_finalizer};
use super::{State, managers};
use crate::sandbox::object::{Object, key_of, text_at};
use crate::sandbox::origin::text_of;
use crate::sandbox::resource::Resource;
use crate::sandbox::status::Status;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// How to delete.
#[derive(Debug, Clone, Default)]
pub struct Deletion {
    /// Seconds a pod is given; `None`: what the pod says.
    pub grace: Option<i64>,
    /// Only an object with this uid.
    pub uid: Option<String>,
    /// Only that version.
    pub revision: Option<String>,
    /// What becomes of those it owns.
    pub propagation: Propagation,
    /// Answer as if, and leave everything as it is.
    pub dry_run: bool,
}

impl Deletion {
    /// At once, without grace: what a kubelet asks for when a pod has ended.
    pub fn now() -> Self {
        Self { grace: Some(0), ..Self::default() }
    }
}

/// What becomes of the objects that name the deleted one as owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go soon after.
    #[default]
    Background,
    /// They go first.
    Foreground,
    /// They stay, without an owner.
    Orphan,
}

/// What a deletion did.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// It is gone; its last version.
    Gone(Arc<Object>),
    /// It is marked, and goes when its grace is over or its finalizers are gone.
    Marked(Arc<Object>),
}

impl Deleted {
    /// The object's version after it.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Marked(object) => object,
        }
    }
}

impl State {
    /// Deletes an object, or begins to.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str, how: &Deletion) -> Result<Deleted, Status> {
        let now = self.origin().now();
        let mut data = self.lock();
        let deleted = delete(&mut data, resource, &key_of(namespace, name), how, now)?;
        self.done(data);
        Ok(deleted)
    }
}

/// Whether a version is of an object that nothing keeps any more.
pub(super) fn is_over(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let finalizers = metadata.get("finalizers").and_then(Value::as_array);
    metadata.get("deletionTimestamp").is_some()
        && finalizers.is_none_or(Vec::is_empty)
        && metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default() == 0
        && object["kind"] != "Namespace"
}

pub(super) fn delete(
    data: &mut Data,
    resource: &str,
    key: &str,
    how: &Deletion,
    now: Timestamp,
) -> Result<Deleted, Status> {
    let object = data.object(resource, key)?.clone();
    let kind = data.table(resource)?.resource.clone();
    check(&kind, &object, how)?;
    let mut value = object.value().clone();
    let finalizer = match how.propagation {
        Propagation::Foreground if has_dependents(data, &object) => Some("foregroundDeletion"),
        _ => None,
    };
    if let Some(finalizer) = finalizer.filter(|f| !has_finalizer(&value, f)) {
        let metadata = value["metadata"].as_object_mut().expect("every object has metadata");
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(finalizer.into());
        }
    }
    let grace = grace(&kind, &object, how);
    mark(&mut value, grace, now);
    if how.dry_run {
        let object = Arc::new(Object::new(value));
        return Ok(if is_over(object.value()) { Deleted::Gone(object) } else { Deleted::Marked(object) });
    }
    if how.propagation == Propagation::Orphan {
        orphan(data, &object, now)?;
    }
    if kind.qualified == "namespaces" && object.text("/status/phase") != "Terminating" {
        value["status"]["phase"] = "Terminating".into();
    }
    let over = is_over(&value);
    // A pod passes through a last version that is marked, as with a real API server; anything else just goes.
    if over && kind.qualified != "pods" {
        return Ok(Deleted::Gone(data.remove(resource, key)?));
    }
    let marked = if value == *object.value() { object } else { data.put(resource, key, value)? };
    if !over {
        return Ok(Deleted::Marked(marked));
    }
    data.remove(resource, key)?;
    Ok(Deleted::Gone(marked))
}

fn check(kind: &Resource, object: &Object, how: &Deletion) -> Result<(), Status> {
    let name = object.name();
    if let Some(uid) = how.uid.as_deref().filter(|uid| *uid != object.uid()) {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", object.uid());
        return Err(Status::conflict(kind, name, &why));
    }
    let revision = object.text("/metadata/resourceVersion");
    if let Some(wanted) = how.revision.as_deref().filter(|wanted| *wanted != revision) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {revision}"
        );
        return Err(Status::conflict(kind, name, &why));
    }
    let kept = ["default", "kube-system", "kube-public", "kube-node-lease"];
    if kind.qualified == "namespaces" && kept.contains(&name) {
        return Err(Status::forbidden(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Seconds until it goes: only a pod that runs on a node has any.
fn grace(kind: &Resource, pod: &Object, how: &Deletion) -> i64 {
    let ended = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
    if kind.qualified != "pods" || pod.text("/spec/nodeName").is_empty() || ended {
        return 0;
    }
    let grace = how.grace.or_else(|| pod.number("/spec/terminationGracePeriodSeconds")).unwrap_or_default();
    // A year is more than any pod has, and a larger number must not leave the calendar.
    if grace < 0 { 1 } else { grace.min(365 * 86_400) }
}

/// Marks it. A grace that runs can only be shortened.
fn mark(value: &mut Value, grace: i64, now: Timestamp) {
    let metadata = &mut value["metadata"];
    let running = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    let since = text_at(metadata, "/deletionTimestamp").parse::<Timestamp>().ok();
    let until = match (since, running) {
        (Some(_), Some(running)) if grace >= running => return,
        (Some(until), Some(running)) => until - SignedDuration::from_secs(running - grace),
        (Some(_), None) => return,
        (None, _) => {
            if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
                metadata["generation"] = (generation + 1).into();
            }
            now + SignedDuration::from_secs(grace)
        }
    };
    metadata["deletionTimestamp"] = text_of(until).into();
    metadata["deletionGracePeriodSeconds"] = grace.into();
}

fn has_dependents(data: &Data, owner: &Object) -> bool {
    data.dependents.get(owner.uid()).is_some_and(|d| !d.is_empty())
}

/// Frees the dependents of their owner.
fn orphan(data: &mut Data, owner: &Object, now: Timestamp) -> Result<(), Status> {
    for (resource, key) in data.dependents.get(owner.uid()).cloned().unwrap_or_default() {
        let mut value = data.object(&resource, &key)?.value().clone();
        disown(&mut value, &[owner.uid()], now);
        data.put(&resource, &key, value)?;
    }
    Ok(())
}

/// Takes owners out of an object.
pub(super) fn disown(value: &mut Value, owners: &[&str], now: Timestamp) {
    let before = value.clone();
    if let Some(references) = value.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        references.retain(|r| !owners.contains(&text_at(r, "/uid")));
        if references.is_empty() {
            value["metadata"].as_object_mut().map(|m| m.remove("ownerReferences"));
        }
    }
    let write = super::Write::by("kube-controller-manager");
    managers::enter(Some(&before), value, &write, &text_of(now));
}
