//! What the server makes of an object before it is stored: the metadata it sets itself, the parts a write may not touch.

use super::{Part, Write, defaults, managers, validation};
use crate::sandbox::object::{Object, set_type, text_at};
use crate::sandbox::origin::Origin;
use crate::sandbox::resource::{DEFINITIONS, Resource};
use crate::sandbox::status::{Cause, Status};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Deepest nesting. What is written must be readable again, and readers stop at 128.
const DEPTH: usize = 100;
/// Longest name made from a `generateName`.
const GENERATED: usize = 63;

/// Completes an object that is to be created.
pub(super) fn before_create(kind: &Resource, object: &mut Value, write: &Write, origin: &Origin) -> Result<(), Status> {
    normalise(kind, object)?;
    let metadata = metadata_of(object)?;
    if metadata.get("resourceVersion").is_some_and(|rv| rv != "") {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    for ours in
        ["resourceVersion", "selfLink", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"]
    {
        metadata.remove(ours);
    }
    if metadata.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let Some(base) = metadata.get("generateName").and_then(Value::as_str).filter(|b| !b.is_empty()) else {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(kind, "", vec![cause]));
        };
        let mut name: String = base.chars().take(GENERATED - 5).collect();
        name.push_str(&origin.suffix(5));
        metadata.insert("name".into(), name.into());
    }
    if !kind.namespaced {
        metadata.remove("namespace");
    } else if metadata.get("namespace").and_then(Value::as_str).unwrap_or_default().is_empty() {
        metadata.insert("namespace".into(), "default".into());
    }
    metadata.insert("uid".into(), origin.uid().into());
    metadata.insert("creationTimestamp".into(), origin.now_text().into());
    if kind.has_generation {
        metadata.insert("generation".into(), 1.into());
    } else {
        metadata.remove("generation");
    }
    // A kubelet registers its node with its status; everyone else's begins empty.
    if kind.has_status && kind.qualified != "nodes" {
        object.as_object_mut().map(|o| o.remove("status"));
    }
    defaults::at_creation(kind, object, origin);
    defaults::fill(kind, object);
    managers::enter(None, object, write, &origin.now_text());
    Ok(())
}

/// The version that `new` makes of `old`; `None` where nothing changes.
pub(super) fn before_update(
    kind: &Resource,
    old: &Object,
    mut new: Value,
    write: &Write,
    origin: &Origin,
) -> Result<Option<Value>, Status> {
    normalise(kind, &mut new)?;
    let before = old.value();
    check_identity(kind, old, &new)?;
    let mut after = match write.part {
        Part::Main | Part::Scale => main_part(kind, before, new)?,
        Part::Status => {
            let mut after = before.clone();
            match new.get_mut("status").map(Value::take) {
                Some(status) => after["status"] = status,
                None => drop(after.as_object_mut().and_then(|o| o.remove("status"))),
            }
            after
        }
    };
    defaults::fill(kind, &mut after);
    if wanted(kind, &after) != wanted(kind, before) && kind.has_generation && write.part != Part::Status {
        let generation = before.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        after["metadata"]["generation"] = (generation + 1).into();
    }
    if same(before, &after) {
        return Ok(None);
    }
    managers::enter(Some(before), &mut after, write, &origin.now_text());
    Ok(Some(after))
}

/// The last word before it is stored.
pub(super) fn complete(kind: &Resource, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let causes = validation::faults(kind, new, old);
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(kind, text_at(new, "/metadata/name"), causes)) }
}

fn check_identity(kind: &Resource, old: &Object, new: &Value) -> Result<(), Status> {
    let name = old.name();
    let uid = text_at(new, "/metadata/uid");
    if !uid.is_empty() && uid != old.uid() {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", old.uid());
        return Err(Status::conflict(kind, name, &why));
    }
    let revision = text_at(new, "/metadata/resourceVersion");
    if revision.is_empty() || revision == "0" {
        if kind.unconditional_update {
            return Ok(());
        }
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Status::invalid(kind, name, vec![cause]));
    }
    if revision != text_at(old.value(), "/metadata/resourceVersion") {
        return Err(Status::modified(kind, name));
    }
    Ok(())
}

/// `new` with what a writer may not change taken from `before`.
fn main_part(kind: &Resource, before: &Value, mut new: Value) -> Result<Value, Status> {
    let old = &before["metadata"];
    let metadata = metadata_of(&mut new)?;
    const OURS: [&str; 10] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
        "resourceVersion",
    ];
    for ours in OURS {
        match old.get(ours) {
            Some(value) => metadata.insert(ours.into(), value.clone()),
            None => metadata.remove(ours),
        };
    }
    if old.get("deletionTimestamp").is_some() {
        let had = |f: &Value| old.get("finalizers").and_then(Value::as_array).is_some_and(|o| o.contains(f));
        let wants = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        if wants.iter().any(|f| !had(f)) {
            let why = "no new finalizers can be added if the object is being deleted";
            let name = text_at(before, "/metadata/name");
            return Err(Status::invalid(kind, name, vec![Cause::forbidden("metadata.finalizers", why)]));
        }
    }
    if kind.has_status {
        match before.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => drop(new.as_object_mut().and_then(|o| o.remove("status"))),
        }
    }
    defaults::keep(kind, before, &mut new);
    Ok(new)
}

/// What `generation` counts the changes of.
fn wanted<'v>(kind: &Resource, object: &'v Value) -> Vec<(&'v String, &'v Value)> {
    let parts = object.as_object().into_iter().flatten();
    let part = |key: &str| if kind.custom { !matches!(key, "metadata" | "status") } else { key == "spec" };
    parts.filter(|(k, _)| part(k)).collect()
}

/// Whether two versions differ in nothing but who wrote them when.
fn same(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return false };
    let metadata = |m: &Value| -> Map<String, Value> {
        let fields = m.as_object().into_iter().flatten();
        let own = fields.filter(|(k, _)| !matches!(k.as_str(), "managedFields" | "resourceVersion"));
        own.map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    a.len() == b.len()
        && a.iter().all(|(k, v)| match (k.as_str(), b.get(k)) {
            (_, None) => false,
            ("metadata", Some(other)) => metadata(v) == metadata(other),
            (_, Some(other)) => v == other,
        })
}

/// Kind and version are the resource's; null means absent; empty maps of labels are none.
fn normalise(kind: &Resource, object: &mut Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request("the object is no JSON object"));
    }
    if kind.custom || kind.qualified == DEFINITIONS {
        object.get_mut("metadata").map(drop_nulls);
    } else {
        drop_nulls(object);
        for part in ["spec", "status", "data", "stringData", "binaryData"] {
            if object.get(part).is_some_and(|v| !v.is_object()) {
                let why = format!("{0} cannot be handled as a {0}: {part} must be an object", kind.kind);
                return Err(Status::bad_request(why));
            }
        }
    }
    if matches!(kind.qualified.as_str(), "configmaps" | "secrets") {
        texts(kind, object)?;
    }
    if is_deeper_than(object, DEPTH) {
        return Err(Status::bad_request(format!("the object is nested deeper than {DEPTH} levels")));
    }
    set_type(object, kind);
    let metadata = metadata_of(object)?;
    for map in ["labels", "annotations"] {
        match metadata.get(map) {
            Some(Value::Object(content)) => {
                if let Some((key, _)) = content.iter().find(|(_, v)| !v.is_string()) {
                    let why = format!("metadata.{map}.{key} must be a string: write it in quotes");
                    return Err(Status::bad_request(why));
                }
                if content.is_empty() {
                    metadata.remove(map);
                }
            }
            Some(_) => return Err(Status::bad_request(format!("metadata.{map} must be a map of strings"))),
            None => {}
        }
    }
    for list in ["finalizers", "ownerReferences"] {
        match metadata.get(list) {
            Some(Value::Array(content)) if content.is_empty() => drop(metadata.remove(list)),
            Some(Value::Array(_)) | None => {}
            Some(_) => return Err(Status::bad_request(format!("metadata.{list} must be a list"))),
        }
    }
    for text in ["name", "generateName", "namespace", "resourceVersion", "uid"] {
        if metadata.get(text).is_some_and(|v| !v.is_string()) {
            return Err(Status::bad_request(format!("metadata.{text} must be a string")));
        }
    }
    Ok(())
}

/// What a ConfigMap or a Secret holds is text; bytes are in base64.
fn texts(kind: &Resource, object: &Value) -> Result<(), Status> {
    let of_bytes = if kind.qualified == "secrets" { "data" } else { "binaryData" };
    for part in ["data", "stringData", "binaryData"] {
        for (key, value) in object.get(part).and_then(Value::as_object).into_iter().flatten() {
            let refused = |why: &str| {
                let (kind, version) = (&kind.kind, kind.storage_version());
                let why = format!("{kind} in version {version:?} cannot be handled as a {kind}: {part}[{key}] {why}");
                Err(Status::bad_request(why))
            };
            let Some(text) = value.as_str() else { return refused("must be a string: write it in quotes") };
            if part == of_bytes && STANDARD.decode(text).is_err() {
                return refused("must be base64; stringData takes plain text");
            }
        }
    }
    Ok(())
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(map) => levels == 0 || map.values().any(|v| is_deeper_than(v, levels - 1)),
        Value::Array(list) => levels == 0 || list.iter().any(|v| is_deeper_than(v, levels - 1)),
        _ => false,
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn metadata_of(object: &mut Value) -> Result<&mut Map<String, Value>, Status> {
    if object.get("metadata").is_none_or(Value::is_null) {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().ok_or_else(|| Status::bad_request("metadata must be an object"))
}
