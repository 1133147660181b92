//! What makes an object impossible. Not a schema: the mistakes that people make, in Kubernetes' words.

use crate::domain::selector::{LabelSelector, Test};
use crate::sandbox::object::text_at;
use crate::sandbox::resource::{DEFINITIONS, Resource};
use crate::sandbox::status::Cause;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
    with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// Bytes that a ConfigMap or a Secret may hold.
const MOST: usize = 1 << 20;
const IMMUTABLE: &str = "field is immutable";

/// The faults of `new`, which is to be created or (`old`) to replace another version.
pub(super) fn faults(kind: &Resource, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if old.is_none() {
        name(kind, new, &mut causes);
    }
    if old.and_then(|o| o.pointer("/metadata/labels")) != new.pointer("/metadata/labels") {
        labels(new.pointer("/metadata/labels"), "metadata.labels", &mut causes);
    }
    match kind.qualified.as_str() {
        "pods" => {
            if old.is_none() {
                pod_spec(new.get("spec"), "spec", &mut causes);
            }
            if let Some(old) = old {
                pod_update(&old["spec"], &new["spec"], &mut causes);
            }
        }
        "deployments.apps" | "statefulsets.apps" | "replicasets.apps" => workload(new, old, &mut causes),
        "configmaps" => strings(new, "data", old, &mut causes),
        "secrets" => {
            strings(new, "data", old, &mut causes);
            if let Some(old) = old.filter(|o| o["type"] != new["type"]) {
                causes.push(Cause::invalid("type", &old["type"], IMMUTABLE));
            }
        }
        "services" => service(new, old, &mut causes),
        DEFINITIONS => definition(new, &mut causes),
        _ => {}
    }
    causes
}

fn name(kind: &Resource, object: &Value, causes: &mut Vec<Cause>) {
    let name = text_at(object, "/metadata/name");
    let single = matches!(kind.qualified.as_str(), "namespaces" | "services");
    let (most, rule) = if single { (63, LABEL) } else { (253, SUBDOMAIN) };
    let part = |part: &str| {
        let inner = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    let fits = if single { part(name) } else { name.split('.').all(part) };
    if !fits {
        causes.push(Cause::invalid("metadata.name", &json!(name), rule));
    } else if name.len() > most {
        causes.push(Cause::invalid("metadata.name", &json!(name), &format!("must be no more than {most} characters")));
    }
}

fn labels(labels: Option<&Value>, field: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let understood = LabelSelector::parse(&format!("{key}={text}"));
        let exactly = understood.map(|s| match s.requirements() {
            [one] => one.key == *key && one.test == Test::In([text.to_owned()].into()),
            _ => false,
        });
        match exactly {
            Ok(true) => {}
            Ok(false) => causes.push(Cause::invalid(field, &json!(format!("{key}={text}")), "not a valid label")),
            Err(error) => causes.push(Cause::invalid(field, &json!(format!("{key}={text}")), &error.message)),
        }
    }
}

fn pod_spec(spec: Option<&Value>, path: &str, causes: &mut Vec<Cause>) {
    let lists = ["initContainers", "containers"];
    let containers = |list: &str| spec.and_then(|s| s.get(list)).and_then(Value::as_array);
    if containers("containers").is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in lists {
        for (i, container) in containers(list).into_iter().flatten().enumerate() {
            let field = |field: &str| format!("{path}.{list}[{i}].{field}");
            let name = text_at(container, "/name");
            if name.is_empty() {
                causes.push(Cause::required(field("name"), ""));
            } else if !names.insert(name) {
                let message = format!("Duplicate value: {name:?}");
                causes.push(Cause { field: field("name"), reason: "FieldValueDuplicate", message });
            }
            if text_at(container, "/image").is_empty() {
                causes.push(Cause::required(field("image"), ""));
            }
        }
    }
}

/// A pod's spec is fixed, but for what the API server lets through, and its node, which is set once.
fn pod_update(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let fixed = |spec: &Value| {
        let mut spec = spec.clone();
        if let Some(spec) = spec.as_object_mut() {
            for free in ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates"] {
                spec.remove(free);
            }
            if text_at(old, "/nodeName").is_empty() {
                spec.remove("nodeName");
            }
            for list in ["containers", "initContainers"] {
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    container.as_object_mut().map(|c| c.remove("image"));
                }
            }
            spec.remove("ephemeralContainers");
        }
        spec
    };
    if old != new && fixed(old) != fixed(new) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
                   `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
                   `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn workload(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    if spec["replicas"].as_i64().is_none_or(|n| n < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &spec["replicas"], why));
    }
    if let Some(old) = old {
        if old["spec"]["selector"] != spec["selector"] {
            causes.push(Cause::invalid("spec.selector", &spec["selector"], IMMUTABLE));
        }
        if old["spec"]["template"] == spec["template"] {
            return;
        }
    }
    let nothing = Map::new();
    let selector = spec.pointer("/selector/matchLabels").and_then(Value::as_object).unwrap_or(&nothing);
    let labels = spec.pointer("/template/metadata/labels").and_then(Value::as_object).unwrap_or(&nothing);
    if spec.get("selector").and_then(Value::as_object).is_none_or(Map::is_empty) {
        causes.push(Cause::required("spec.selector", ""));
    } else if selector.iter().any(|(k, v)| labels.get(k) != Some(v)) {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &json!(labels), why));
    }
    pod_spec(spec.pointer("/template/spec"), "spec.template.spec", causes);
}

fn strings(new: &Value, field: &str, old: Option<&Value>, causes: &mut Vec<Cause>) {
    if let Some(old) = old.filter(|o| o["immutable"] == true) {
        let changed = ["data", "binaryData", "immutable"].iter().find(|f| old.get(**f) != new.get(**f));
        causes.extend(changed.map(|f| Cause::forbidden(*f, "field is immutable when `immutable` is set")));
    }
    // A Secret's values are counted as the bytes they stand for.
    let decoded = |text: &str| if new["kind"] == "Secret" { text.len() / 4 * 3 } else { text.len() };
    let content = new.get(field).and_then(Value::as_object).into_iter().flatten();
    if content.filter_map(|(_, value)| value.as_str()).map(decoded).sum::<usize>() > MOST {
        let message = format!("Too long: may not be more than {MOST} bytes");
        causes.push(Cause { field: field.to_owned(), reason: "FieldValueTooLong", message });
    }
    for (key, _) in new.get(field).and_then(Value::as_object).into_iter().flatten() {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if key.is_empty() || key.len() > 253 || !key.bytes().all(fits) {
            let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
                       'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
            causes.push(Cause::invalid(format!("{field}[{key}]"), &json!(key), why));
        }
    }
}

fn service(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    let ports = new.pointer("/spec/ports").and_then(Value::as_array);
    let address = text_at(new, "/spec/clusterIP");
    let kind = text_at(new, "/spec/type");
    if ports.is_none_or(Vec::is_empty) && address != "None" && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (i, port) in ports.into_iter().flatten().enumerate() {
        if port["port"].as_i64().is_none_or(|p| !(1..=65535).contains(&p)) {
            let why = "must be between 1 and 65535, inclusive";
            causes.push(Cause::invalid(format!("spec.ports[{i}].port"), &port["port"], why));
        }
    }
    let was = old.map_or("", |o| text_at(o, "/spec/clusterIP"));
    if !was.is_empty() && was != address && kind != "ExternalName" {
        causes.push(Cause::invalid("spec.clusterIP", &json!(address), IMMUTABLE));
    }
}

fn definition(new: &Value, causes: &mut Vec<Cause>) {
    for field in ["group", "scope", "names/plural", "names/kind"] {
        if text_at(new, &format!("/spec/{field}")).is_empty() {
            causes.push(Cause::required(format!("spec.{}", field.replace('/', ".")), ""));
        }
    }
    let versions = new.pointer("/spec/versions").and_then(Value::as_array);
    let stored = versions.into_iter().flatten().filter(|v| v["storage"] == true).count();
    if versions.is_none_or(Vec::is_empty) || stored != 1 {
        let why = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", &new["spec"]["versions"], why));
    }
    let expected = format!("{}.{}", text_at(new, "/spec/names/plural"), text_at(new, "/spec/group"));
    if text_at(new, "/metadata/name") != expected {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &new["metadata"]["name"], why));
    }
    let group = text_at(new, "/spec/group");
    let builtin = ["apps", "coordination.k8s.io", "apiextensions.k8s.io", "events.k8s.io", "authorization.k8s.io"];
    if builtin.contains(&group) {
        causes.push(Cause::invalid("spec.group", &json!(group), "this group is built in"));
    }
}
