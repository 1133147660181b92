//! Small rules that several controllers share: conditions, hashes, readiness, quantities.

use crate::sandbox::{Object, text_at};
use serde_json::{Map, Value, json};

/// Sets a condition; its transition time moves only when its status does.
pub(in crate::sandbox) fn set_condition(
    status: &mut Value,
    kind: &str,
    is: &str,
    reason: &str,
    message: &str,
    now: &str,
) {
    if !status.is_object() {
        *status = json!({});
    }
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let mut condition = json!({"type": kind, "status": is, "lastTransitionTime": now});
    if !reason.is_empty() {
        condition["reason"] = reason.into();
    }
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(old) => {
            if old["status"] == is {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            for time in ["lastUpdateTime", "lastHeartbeatTime", "observedGeneration"] {
                if let Some(value) = old.get(time) {
                    condition[time] = value.clone();
                }
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

/// The status of a condition; empty where there is none.
pub(in crate::sandbox) fn condition<'v>(object: &'v Value, kind: &str) -> &'v str {
    condition_of(object, kind).map_or("", |c| text_at(c, "/status"))
}

/// A condition.
pub(in crate::sandbox) fn condition_of<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|c| c["type"] == kind)
}

pub(in crate::sandbox) fn is_ready(pod: &Object) -> bool {
    condition(pod.value(), "Ready") == "True"
}

/// Whether a pod has ended for good.
pub(in crate::sandbox) fn has_ended(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Ten letters that stand for a pod template, in Kubernetes' alphabet. Equal templates, equal letters.
pub(in crate::sandbox) fn template_hash(template: &Value) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = xxhash_rust::xxh3::xxh3_64(template.to_string().as_bytes());
    let letter = |_| {
        let letter = ALPHABET[usize::try_from(hash % 27).unwrap_or_default()];
        hash /= 27;
        char::from(letter)
    };
    (0..10).map(letter).collect()
}

/// A pod of a template: what ReplicaSets and StatefulSets create.
pub(in crate::sandbox) fn pod_of(owner: &Object, template: &Value) -> Value {
    let metadata = &template["metadata"];
    let mut pod = json!({
        "metadata": {"namespace": owner.namespace(), "ownerReferences": [reference(owner)]},
        "spec": template["spec"],
    });
    for part in ["labels", "annotations", "finalizers"] {
        if let Some(value) = metadata.get(part) {
            pod["metadata"][part] = value.clone();
        }
    }
    pod
}

/// A reference to the controlling owner.
pub(in crate::sandbox) fn reference(owner: &Object) -> Value {
    let text = |pointer| text_at(owner.value(), pointer);
    json!({"apiVersion": text("/apiVersion"), "kind": text("/kind"), "name": owner.name(), "uid": owner.uid(),
           "controller": true, "blockOwnerDeletion": true})
}

/// A map in `value`, made where it is not there or no map.
pub(in crate::sandbox) fn map_at<'v>(value: &'v mut Value, path: &[&str]) -> &'v mut Map<String, Value> {
    let mut at = value;
    for step in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[*step];
    }
    if !at.is_object() {
        *at = json!({});
    }
    at.as_object_mut().expect("it was made a map on the line above")
}

/// `250m`, `2`, `512Mi` in thousandths; what is no quantity counts nothing.
pub(in crate::sandbox) fn thousandths(quantity: &Value) -> i64 {
    let text = match quantity {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1e3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "Ki" => 1024.0 * 1e3,
        "Mi" => 1024.0 * 1024.0 * 1e3,
        "Gi" => 1024.0 * 1024.0 * 1024.0 * 1e3,
        _ => return 0,
    };
    // A float becomes the nearest number there is: nothing a user writes overflows.
    #[allow(clippy::cast_possible_truncation)]
    number.parse::<f64>().map_or(0, |n| (n * factor) as i64)
}

/// A number or a percentage of `of` (`25%`), rounded up or down; what is neither counts as 0.
pub(in crate::sandbox) fn share(value: Option<&Value>, of: i64, up: bool) -> i64 {
    match value {
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0).clamp(0, 1000);
            let parts = of.saturating_mul(percent);
            if up { parts.saturating_add(99) / 100 } else { parts / 100 }
        }
        Some(number) => number.as_i64().unwrap_or(0).max(0),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_shares_are_read_as_kubernetes_reads_them() {
        assert_eq!(thousandths(&json!("250m")), 250);
        assert_eq!(thousandths(&json!("2")), 2000);
        assert_eq!(thousandths(&json!(1.5)), 1500);
        assert_eq!(thousandths(&json!("1Ki")), 1_024_000);
        assert_eq!(thousandths(&json!("lots")), 0);
        assert_eq!(share(Some(&json!("25%")), 3, true), 1);
        assert_eq!(share(Some(&json!("25%")), 3, false), 0);
        assert_eq!(share(Some(&json!(2)), 3, false), 2);
        assert_eq!(share(Some(&json!({"odd": true})), 3, false), 0);
    }

    #[test]
    fn a_condition_keeps_its_transition_time_until_its_status_changes() {
        let mut status = json!({});
        set_condition(&mut status, "Ready", "False", "Waiting", "", "t1");
        set_condition(&mut status, "Ready", "False", "Other", "", "t2");
        assert_eq!(status["conditions"][0]["lastTransitionTime"], "t1");
        assert_eq!(status["conditions"][0]["reason"], "Other");
        set_condition(&mut status, "Ready", "True", "", "", "t3");
        assert_eq!(status["conditions"], json!([{"type": "Ready", "status": "True", "lastTransitionTime": "t3"}]));
    }
}
