//! The patches of the API server: JSON patch, merge patch, strategic merge, and apply as create-or-merge.

use super::status::Status;
use serde_json::{Map, Value};

/// How a PATCH's body is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`, RFC 6902.
    Json,
    /// `application/merge-patch+json`, RFC 7396.
    Merge,
    /// `application/strategic-merge-patch+json`: lists merge by key.
    Strategic,
    /// `application/apply-patch+yaml`.
    Apply,
}

impl PatchKind {
    /// By content type, without parameters.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            "application/apply-patch+yaml" => Some(Self::Apply),
            _ => None,
        }
    }
}

/// A patch, understood. Applying it costs no parsing, for it may be applied more than once.
#[derive(Debug, Clone)]
pub enum Patch {
    /// Operations.
    Json(json_patch::Patch),
    /// A tree to merge.
    Merge(Value),
    /// A tree to merge, lists by key.
    Strategic(Value),
}

impl Patch {
    /// Understands a body. `by_key`: whether the kind has lists that merge by key, which custom ones have not.
    pub fn parse(kind: PatchKind, body: Value, by_key: bool) -> Result<Self, Status> {
        if kind == PatchKind::Json {
            let operations = serde_json::from_value(body);
            return operations.map(Self::Json).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")));
        }
        if !body.is_object() {
            return Err(Status::bad_request("a merge patch must be a JSON object"));
        }
        Ok(match kind {
            PatchKind::Strategic => Self::Strategic(body),
            PatchKind::Apply if by_key => Self::Strategic(body),
            _ => Self::Merge(body),
        })
    }

    /// Changes `object`.
    pub fn apply(&self, object: &mut Value) -> Result<(), Status> {
        match self {
            Self::Json(operations) => json_patch::patch(object, operations).map_err(|error| {
                let why = "the server rejected our request due to an error in our request";
                Status::new(422, "Invalid", format!("{why}: {error}"))
            }),
            Self::Merge(patch) => {
                json_patch::merge(object, patch);
                Ok(())
            }
            Self::Strategic(patch) => merge(object, patch),
        }
    }
}

/// Whether a list of that name holds single values that merge as a set.
fn is_set(list: &str) -> bool {
    matches!(list, "finalizers" | "podCIDRs")
}

/// What tells the elements of a list apart; `None`: the list is replaced as a whole.
fn keys_of(list: &str, elements: &[Value]) -> Option<&'static [&'static str]> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets"
        | "resourceClaims" => &["name"],
        "ports" if elements.iter().any(|e| e.get("containerPort").is_some()) => &["containerPort", "protocol"],
        "ports" => &["port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "conditions" | "addresses" => &["type"],
        "ownerReferences" => &["uid"],
        "hostAliases" | "podIPs" | "hostIPs" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => return None,
    })
}

fn merge(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("replace") => *target = Value::Object(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(Status::bad_request(format!("unknown $patch {other:?}: merge, replace or delete"))),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().expect("made an object above");
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        map.retain(|k, _| kept.iter().any(|kept| kept == k));
    }
    for (key, value) in patch.iter().filter(|(k, _)| !k.starts_with('$')) {
        let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
        match value {
            Value::Null => drop(map.remove(key)),
            Value::Object(inner) if inner.get("$patch").is_some_and(|p| p == "delete") => drop(map.remove(key)),
            Value::Array(elements) => {
                merge_list(map.entry(key).or_insert_with(|| Value::Array(vec![])), key, elements)?
            }
            value => merge(map.entry(key).or_insert(Value::Null), value)?,
        }
        if let (Some(order), Some(Value::Array(list))) = (order, map.get_mut(key)) {
            put_in_order(list, key, order);
        }
    }
    for (directive, values) in patch {
        if let Some(key) = directive.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = values.as_array().cloned().unwrap_or_default();
            if let Some(list) = map.get_mut(key).and_then(Value::as_array_mut) {
                list.retain(|v| !gone.contains(v));
            }
        }
        // An order alone, without elements, also counts.
        if let (Some(key), Some(order)) = (directive.strip_prefix("$setElementOrder/"), values.as_array())
            && !patch.contains_key(key)
            && let Some(Value::Array(list)) = map.get_mut(key)
        {
            put_in_order(list, key, order);
        }
    }
    Ok(())
}

fn merge_list(target: &mut Value, name: &str, elements: &[Value]) -> Result<(), Status> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let list = target.as_array_mut().expect("made a list above");
    if is_set(name) {
        let new: Vec<Value> = elements.iter().filter(|e| !list.contains(e)).cloned().collect();
        list.extend(new);
        return Ok(());
    }
    let directive = |e: &Value| e.get("$patch").and_then(Value::as_str).map(str::to_owned);
    let keys = keys_of(name, elements);
    let replaced = elements.iter().any(|e| directive(e).as_deref() == Some("replace"));
    let (Some(keys), true) = (keys, elements.iter().all(Value::is_object)) else {
        *list = elements.to_vec();
        return Ok(());
    };
    if replaced {
        list.clear();
    }
    for element in elements.iter().filter(|e| directive(e).as_deref() != Some("replace")) {
        if element.get(keys[0]).is_none() {
            let why = format!("map: {element} does not contain declared merge key: {}", keys[0]);
            return Err(Status::bad_request(why));
        }
        let place = list.iter().position(|old| alike(old, element, keys));
        match (place, directive(element).as_deref()) {
            (Some(place), Some("delete")) => drop(list.remove(place)),
            (None, Some("delete")) => {}
            (Some(place), _) => merge(&mut list[place], element)?,
            (None, _) => {
                let mut new = Value::Null;
                merge(&mut new, element)?;
                list.push(new);
            }
        }
    }
    Ok(())
}

/// The first key decides; a further one only where both sides name it.
fn alike(a: &Value, b: &Value, keys: &[&str]) -> bool {
    a.get(keys[0]) == b.get(keys[0])
        && keys[1..].iter().all(|k| match (a.get(k), b.get(k)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        })
}

/// Those that `order` names, in that order; the others behind, as they stood.
fn put_in_order(list: &mut [Value], name: &str, order: &[Value]) {
    let keys = keys_of(name, order);
    let place = |element: &Value| {
        let same = |o: &Value| match keys {
            Some(keys) if element.is_object() => alike(o, element, keys),
            _ => o == element,
        };
        order.iter().position(same).unwrap_or(usize::MAX)
    };
    list.sort_by_key(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strategic(mut object: Value, patch: Value) -> Value {
        Patch::parse(PatchKind::Strategic, patch, true).unwrap().apply(&mut object).unwrap();
        object
    }

    fn two() -> Value {
        json!({"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1", "args": ["x"]}]}})
    }

    #[test]
    fn containers_merge_by_name() {
        let patch = json!({"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}});
        let expected = json!({"spec": {"containers": [
            {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2", "args": ["x"]}, {"name": "c", "image": "c:1"}]}});
        assert_eq!(strategic(two(), patch), expected);
    }

    #[test]
    fn directives_delete_replace_and_order() {
        let patch = json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}});
        assert_eq!(
            strategic(two(), patch)["spec"]["containers"],
            json!([{"name": "b", "image": "b:1", "args": ["x"]}])
        );
        let patch = json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z", "image": "z"}]}});
        assert_eq!(strategic(two(), patch)["spec"]["containers"], json!([{"name": "z", "image": "z"}]));
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}});
        assert_eq!(strategic(two(), patch)["spec"]["containers"][0]["name"], "b");
        let patch = json!({"spec": {"$patch": "replace", "nodeName": "n"}});
        assert_eq!(strategic(two(), patch), json!({"spec": {"nodeName": "n"}}));
        let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}});
        let object = json!({"metadata": {"finalizers": ["x", "y"]}});
        assert_eq!(strategic(object, patch), json!({"metadata": {"finalizers": ["y"]}}));
        let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
        let object = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
        assert_eq!(strategic(object, patch), json!({"strategy": {"type": "Recreate"}}));
    }

    #[test]
    fn null_removes_and_other_lists_are_replaced() {
        let object = json!({"args": ["a", "b"], "labels": {"x": "1", "y": "2"}});
        let patch = json!({"args": ["c"], "labels": {"x": null}});
        assert_eq!(strategic(object, patch), json!({"args": ["c"], "labels": {"y": "2"}}));
    }

    #[test]
    fn no_directive_is_left_in_what_is_new() {
        let patch = json!({"env": [{"name": "A", "value": "1"}], "$setElementOrder/env": [{"name": "A"}],
                           "deep": {"$setElementOrder/env": [], "x": 1}});
        assert_eq!(strategic(json!({}), patch), json!({"env": [{"name": "A", "value": "1"}], "deep": {"x": 1}}));
    }

    #[test]
    fn a_failed_test_of_a_json_patch_is_refused() {
        let patch = json!([{"op": "test", "path": "/a", "value": 2}, {"op": "remove", "path": "/a"}]);
        let patch = Patch::parse(PatchKind::Json, patch, true).unwrap();
        let mut object = json!({"a": 1});
        assert_eq!(patch.apply(&mut object).unwrap_err().code, 422);
        assert_eq!(object, json!({"a": 1}), "and nothing of it is kept");
        assert_eq!(Patch::parse(PatchKind::Json, json!({"op": "x"}), true).unwrap_err().code, 400);
    }
}
