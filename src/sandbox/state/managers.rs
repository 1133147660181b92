//! `managedFields`, simply: who wrote last, how and when, and the top-level fields that were touched. No ownership.

use super::{Operation, Part, Write};
use serde_json::{Map, Value, json};

/// Entries of `Update` that are kept, as by a real API server.
const UPDATES: usize = 10;

/// Enters a write of `after` over `before`.
pub(super) fn enter(before: Option<&Value>, after: &mut Value, write: &Write, now: &str) {
    let touched = touched(before, after);
    if touched.is_empty() {
        return;
    }
    let operation = match write.operation {
        Operation::Update => "Update",
        Operation::Apply => "Apply",
    };
    let subresource = match write.part {
        Part::Main => None,
        Part::Status => Some("status"),
        Part::Scale => Some("scale"),
    };
    let api_version = after["apiVersion"].clone();
    let mut entries = match before.and_then(|b| b.pointer("/metadata/managedFields")).and_then(Value::as_array) {
        Some(entries) => entries.clone(),
        None => Vec::new(),
    };
    let same = |e: &Value| {
        e["manager"] == write.manager.as_str()
            && e["operation"] == operation
            && e.get("subresource").and_then(Value::as_str) == subresource
            && e["apiVersion"] == api_version
    };
    let mut entry = match entries.iter().position(same) {
        Some(place) => entries.remove(place),
        None => json!({
            "manager": write.manager, "operation": operation, "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": {},
        }),
    };
    entry["time"] = now.into();
    if let Some(subresource) = subresource {
        entry["subresource"] = subresource.into();
    }
    json_patch::merge(&mut entry["fieldsV1"], &Value::Object(touched));
    entries.push(entry);
    // A real one orders by operation, then time; entries of one time stay in the order of writing.
    entries.sort_by(|a, b| {
        let key = |e: &Value| (e["operation"] == "Update", e["time"].as_str().unwrap_or_default().to_owned());
        key(a).cmp(&key(b))
    });
    let updates = entries.iter().filter(|e| e["operation"] == "Update").count();
    let mut surplus = updates.saturating_sub(UPDATES);
    entries.retain(|e| {
        let oldest = surplus > 0 && e["operation"] == "Update";
        surplus -= usize::from(oldest);
        !oldest
    });
    after["metadata"]["managedFields"] = entries.into();
}

/// `f:spec`, `f:metadata: {f:labels}`: what differs, at the top.
fn touched(before: Option<&Value>, after: &Value) -> Map<String, Value> {
    let nothing = Map::new();
    let of = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let differing = |old: &Map<String, Value>, new: &Map<String, Value>, names: &dyn Fn(&str) -> bool| {
        let all = old.keys().chain(new.keys().filter(|k| !old.contains_key(*k)));
        let differs = all.filter(|k| names(k) && old.get(*k) != new.get(*k));
        differs.map(|k| (format!("f:{k}"), json!({}))).collect::<Map<_, _>>()
    };
    let (old, new) = (before.and_then(Value::as_object).unwrap_or(&nothing), after.as_object().unwrap_or(&nothing));
    let mut touched = differing(old, new, &|k| !matches!(k, "kind" | "apiVersion" | "metadata"));
    let own = |k: &str| matches!(k, "labels" | "annotations" | "finalizers" | "ownerReferences");
    let metadata = differing(&of(old.get("metadata")), &of(new.get("metadata")), &own);
    if !metadata.is_empty() {
        touched.insert("f:metadata".into(), metadata.into());
    }
    touched
}
