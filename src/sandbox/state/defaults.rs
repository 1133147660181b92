//! What Kubernetes fills in where a manifest says nothing, as far as people and controllers look at it.

use crate::sandbox::object::text_at;
use crate::sandbox::origin::Origin;
use crate::sandbox::resource::{DEFINITIONS, Resource};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// What only a new object gets, its first status above all.
pub(super) fn at_creation(kind: &Resource, object: &mut Value, origin: &Origin) {
    match kind.qualified.as_str() {
        "namespaces" => {
            let name = text_at(object, "/metadata/name").to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"] = json!({"phase": "Active"});
        }
        "pods" => {
            let quality = quality_of_service(object);
            object["status"] = json!({"phase": "Pending", "qosClass": quality});
            let Some(spec) = spec_of(object) else { return };
            let account = spec.entry("serviceAccountName").or_insert_with(|| "default".into()).clone();
            spec.insert("serviceAccount".into(), account);
            let wait = |condition: &str| {
                json!({"key": format!("node.kubernetes.io/{condition}"), "operator": "Exists", "effect": "NoExecute",
                       "tolerationSeconds": 300})
            };
            spec.entry("tolerations").or_insert_with(|| json!([wait("not-ready"), wait("unreachable")]));
            set(spec, &[("priority", json!(0)), ("preemptionPolicy", json!("PreemptLowerPriority"))]);
        }
        "services" => object["status"] = json!({"loadBalancer": {}}),
        "deployments.apps" => object["status"] = json!({}),
        "replicasets.apps" => object["status"] = json!({"replicas": 0}),
        "statefulsets.apps" => object["status"] = json!({"replicas": 0, "availableReplicas": 0}),
        DEFINITIONS => definition(object, &origin.now_text()),
        _ => {}
    }
}

/// What every version has.
pub(super) fn fill(kind: &Resource, object: &mut Value) {
    match kind.qualified.as_str() {
        "pods" => {
            let Some(spec) = spec_of(object) else { return };
            pod_spec(spec);
        }
        "deployments.apps" => {
            let Some(spec) = spec_of(object) else { return };
            let rolling = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
            set(
                spec,
                &[
                    ("replicas", json!(1)),
                    ("revisionHistoryLimit", json!(10)),
                    ("progressDeadlineSeconds", json!(600)),
                    ("strategy", json!({})),
                ],
            );
            strategy(spec, "strategy", &rolling);
            template(spec);
        }
        "statefulsets.apps" => {
            let Some(spec) = spec_of(object) else { return };
            set(
                spec,
                &[
                    ("replicas", json!(1)),
                    ("revisionHistoryLimit", json!(10)),
                    ("podManagementPolicy", json!("OrderedReady")),
                    ("updateStrategy", json!({})),
                    ("persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
                ],
            );
            strategy(spec, "updateStrategy", &json!({"partition": 0}));
            template(spec);
        }
        "replicasets.apps" => {
            let Some(spec) = spec_of(object) else { return };
            set(spec, &[("replicas", json!(1))]);
            template(spec);
        }
        "services" => {
            let Some(spec) = spec_of(object) else { return };
            set(
                spec,
                &[
                    ("sessionAffinity", json!("None")),
                    ("type", json!("ClusterIP")),
                    ("internalTrafficPolicy", json!("Cluster")),
                ],
            );
            for port in items(spec, "ports") {
                let number = port.get("port").cloned().unwrap_or_default();
                set(port, &[("protocol", json!("TCP")), ("targetPort", number)]);
            }
        }
        "secrets" => secret(object),
        _ => {}
    }
}

/// What a PUT that does not mention it leaves as it was.
pub(super) fn keep(kind: &Resource, before: &Value, new: &mut Value) {
    let kept: &[&str] = match kind.qualified.as_str() {
        "services" => &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
        "namespaces" => &["finalizers"],
        _ => return,
    };
    let Some(spec) = spec_of(new) else { return };
    for field in kept {
        let old = before.pointer(&format!("/spec/{field}")).cloned();
        if let (true, Some(old)) = (spec.get(*field).is_none_or(|v| v == ""), old) {
            spec.insert((*field).to_owned(), old);
        }
    }
}

fn spec_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    if object.get("spec").is_none() {
        object["spec"] = json!({});
    }
    object["spec"].as_object_mut()
}

fn set(map: &mut Map<String, Value>, defaults: &[(&str, Value)]) {
    for (key, value) in defaults.iter().filter(|(_, v)| !v.is_null()) {
        map.entry(*key).or_insert_with(|| value.clone());
    }
}

fn items<'m>(map: &'m mut Map<String, Value>, list: &str) -> impl Iterator<Item = &'m mut Map<String, Value>> {
    let items = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut)
}

fn strategy(spec: &mut Map<String, Value>, field: &str, rolling: &Value) {
    let Some(strategy) = spec.get_mut(field).and_then(Value::as_object_mut) else { return };
    set(strategy, &[("type", json!("RollingUpdate"))]);
    if strategy["type"] == "RollingUpdate" {
        let given = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
        if let (Some(given), Some(rolling)) = (given.as_object_mut(), rolling.as_object()) {
            rolling.iter().for_each(|(k, v)| set(given, &[(k, v.clone())]));
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    let Some(template) = spec.get_mut("template") else { return };
    if let Some(spec) = template.is_object().then(|| spec_of(template)).flatten() {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set(
        spec,
        &[
            ("restartPolicy", json!("Always")),
            ("dnsPolicy", json!("ClusterFirst")),
            ("terminationGracePeriodSeconds", json!(30)),
            ("securityContext", json!({})),
            ("schedulerName", json!("default-scheduler")),
        ],
    );
    for list in ["containers", "initContainers"] {
        items(spec, list).for_each(container);
    }
    for volume in items(spec, "volumes") {
        for source in ["configMap", "secret", "downwardAPI", "projected"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                set(source, &[("defaultMode", json!(420))]);
            }
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let tag = image.rsplit('/').next().unwrap_or_default();
    let moving = !tag.contains('@') && tag.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    let policy = if moving { "Always" } else { "IfNotPresent" };
    set(
        container,
        &[
            ("imagePullPolicy", json!(policy)),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
            ("resources", json!({})),
        ],
    );
    items(container, "ports").for_each(|port| set(port, &[("protocol", json!("TCP"))]));
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            let numbers =
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)];
            numbers.iter().for_each(|(k, n)| set(probe, &[(k, json!(n))]));
            if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                set(get, &[("scheme", json!("HTTP")), ("path", json!("/"))]);
            }
        }
    }
}

fn quality_of_service(pod: &Value) -> &'static str {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let resources: Vec<_> =
        containers.map(|c| (c.pointer("/resources/requests"), c.pointer("/resources/limits"))).collect();
    let none = |v: Option<&Value>| v.and_then(Value::as_object).is_none_or(Map::is_empty);
    let whole = |v: Option<&Value>| v.is_some_and(|v| v.get("cpu").is_some() && v.get("memory").is_some());
    if resources.iter().all(|(r, l)| none(*r) && none(*l)) {
        "BestEffort"
    } else if resources.iter().all(|(r, l)| whole(*l) && (none(*r) || r == l)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// `stringData` is for writing only: its values go into `data`.
fn secret(object: &mut Value) {
    let Some(secret) = object.as_object_mut() else { return };
    set(secret, &[("type", json!("Opaque"))]);
    let Some(Value::Object(texts)) = secret.remove("stringData") else { return };
    let data = secret.entry("data").or_insert_with(|| json!({}));
    for (key, text) in texts {
        data[key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
    }
}

fn definition(object: &mut Value, now: &str) {
    let kind = text_at(object, "/spec/names/kind").to_owned();
    if let Some(names) = object.pointer_mut("/spec/names").and_then(Value::as_object_mut) {
        set(names, &[("listKind", json!(format!("{kind}List"))), ("singular", json!(kind.to_lowercase()))]);
    }
    if let Some(spec) = spec_of(object) {
        set(spec, &[("conversion", json!({"strategy": "None"}))]);
    }
    let cleanup = "customresourcecleanup.apiextensions.k8s.io";
    object["metadata"]["finalizers"] = json!([cleanup]);
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    let stored = object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
    let stored: Vec<Value> = stored.filter(|v| v["storage"] == true).map(|v| v["name"].clone()).collect();
    object["status"] = json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": object["spec"]["names"],
        "storedVersions": stored,
    });
}
