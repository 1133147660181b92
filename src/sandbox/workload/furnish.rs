//! Builds what the catalogue names, as far as it is not there: a second start, or one after a half-finished first, adds
//! only what is missing.

use super::catalogue::{
    APPS, App, LOAD, LOAD_MAPS, LOAD_WORKER, NAMESPACES, NODES, PROMOTION_NAMES, PROMOTIONS, SECRETS, SETTINGS,
};
use crate::sandbox::controllers::node;
use crate::sandbox::controllers::{DEPLOYED, NODES as NODE, STATEFUL_SETS};
use crate::sandbox::{Operation, State, Write, text_at};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// A write by a manager, as that manager writes.
pub(super) fn written_by(manager: &str, operation: Operation) -> Write {
    Write { operation, ..Write::by(manager) }
}

/// Creates what is missing; `true` where it was.
fn ensure(state: &State, resource: &str, object: Value, write: &Write) -> bool {
    let (namespace, name) =
        (text_at(&object, "/metadata/namespace").to_owned(), text_at(&object, "/metadata/name").to_owned());
    if state.get(resource, &namespace, &name).is_ok() {
        return false;
    }
    match state.create(resource, object, write) {
        Ok(_) => true,
        Err(status) => {
            tracing::debug!(%status, resource, namespace, name, "the workload could not create an object");
            false
        }
    }
}

/// Nodes, where there is none: without them nothing runs, and what a user took away stays away.
pub(super) fn nodes(state: &State, count: usize) {
    let none = state.list(NODE, "").is_ok_and(|l| l.objects.is_empty());
    for (name, pool, zone, slots, cpu, memory) in NODES.iter().take(count).filter(|_| none) {
        let object = node::registration(name, pool, zone, *slots, *cpu, *memory, state.origin().now());
        ensure(state, NODE, object, &Write::by("kubelet"));
    }
}

/// Everything else. Gives how many objects were missing.
pub(super) fn cluster(state: &State) -> usize {
    let mut made = 0;
    let mut ensure =
        |resource: &str, object: Value, write: &Write| made += usize::from(ensure(state, resource, object, write));
    for (name, team) in NAMESPACES {
        let labels = json!({"acme.example/team": team, "pod-security.kubernetes.io/enforce": "baseline"});
        ensure("namespaces", json!({"metadata": {"name": name, "labels": labels}}), &Write::by("terraform"));
    }
    for setting in SETTINGS {
        let data = json!({setting.key: setting.values[0], "owner": "see acme.example/team", "revision": "1"});
        let object = json!({"metadata": {"name": setting.name, "namespace": setting.namespace}, "data": data});
        ensure("configmaps", object, &Write::by(setting.manager));
    }
    for (namespace, name, kind, keys, manager) in SECRETS {
        let object =
            json!({"metadata": {"name": name, "namespace": namespace}, "type": kind, "data": secret(state, keys)});
        ensure("secrets", object, &Write::by(*manager));
    }
    for app in APPS {
        install(app, &mut ensure);
    }
    ensure(DEFINITIONS, definition(), &Write::by("helm"));
    for (name, percent) in PROMOTION_NAMES {
        let object =
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"percent": percent, "channel": "web"}});
        ensure(PROMOTIONS, object, &Write::by("kubectl-client-side-apply"));
    }
    made
}

/// What a high rate needs.
pub(super) fn load(state: &State) {
    let write = Write::by("load-generator");
    ensure(state, "namespaces", json!({"metadata": {"name": LOAD}}), &write);
    for n in 0..LOAD_MAPS {
        let object =
            json!({"metadata": {"name": load_map(n), "namespace": LOAD}, "data": {"requests": "0", "owner": "load"}});
        ensure(state, "configmaps", object, &write);
    }
    install(&LOAD_WORKER, &mut |resource, object, write| {
        ensure(state, resource, object, write);
    });
}

pub(super) fn load_map(n: u64) -> String {
    format!("session-{n:02}")
}

fn install(app: &App, ensure: &mut dyn FnMut(&str, Value, &Write)) {
    let (manager, operation) = app.by.manager();
    let write = written_by(manager, operation);
    let ports = json!([{"name": "main", "port": app.port, "protocol": "TCP", "targetPort": "main"}]);
    let mut service = json!({
        "metadata": metadata(app),
        "spec": {"selector": selector(app), "ports": ports, "type": "ClusterIP"},
    });
    if app.stateful {
        service["spec"]["clusterIP"] = "None".into();
    }
    ensure("services", service, &write);
    let mut spec = json!({
        "replicas": app.replicas, "revisionHistoryLimit": 3, "selector": {"matchLabels": selector(app)}, "template": template(app),
    });
    if app.stateful {
        spec["serviceName"] = app.name.into();
        ensure(STATEFUL_SETS, json!({"metadata": metadata(app), "spec": spec}), &write);
    } else {
        spec["progressDeadlineSeconds"] = 120.into();
        ensure(DEPLOYED, json!({"metadata": metadata(app), "spec": spec}), &write);
    }
}

fn selector(app: &App) -> Value {
    json!({"app.kubernetes.io/name": app.name, "app.kubernetes.io/instance": app.name})
}

fn metadata(app: &App) -> Value {
    let mut labels = selector(app);
    labels["app.kubernetes.io/part-of"] = app.namespace.into();
    labels["app.kubernetes.io/managed-by"] = app.by.manager().0.into();
    json!({"name": app.name, "namespace": app.namespace, "labels": labels})
}

/// The pod template of an application as the catalogue has it.
pub(super) fn template(app: &App) -> Value {
    let mut labels = selector(app);
    labels["app.kubernetes.io/part-of"] = app.namespace.into();
    let env: Vec<Value> = app.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut container = json!({
        "name": app.name, "image": format!("{}:{}", app.image, app.tag),
        "ports": [{"name": "main", "containerPort": app.port}],
        "resources": {
            "requests": {"cpu": format!("{}m", app.cpu), "memory": format!("{}Mi", app.memory)},
            "limits": {"memory": format!("{}Mi", app.memory * 2)},
        },
        "securityContext": {"runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    if !env.is_empty() {
        container["env"] = env.into();
    }
    if app.stateful {
        container["readinessProbe"] = json!({"tcpSocket": {"port": "main"}, "periodSeconds": 5});
    } else {
        container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": "main"}, "periodSeconds": 5});
        container["livenessProbe"] = json!({"httpGet": {"path": "/live", "port": "main"}, "initialDelaySeconds": 10});
    }
    json!({
        "metadata": {"labels": labels, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": app.port.to_string()}},
        "spec": {"containers": [container], "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
    })
}

/// New values for a Secret's keys.
pub(super) fn secret(state: &State, keys: &[&str]) -> Value {
    let value = |_| STANDARD.encode(format!("sandbox-{:016x}", state.origin().random()));
    keys.iter().map(|key| ((*key).to_owned(), Value::from(value(())))).collect::<serde_json::Map<_, _>>().into()
}

fn definition() -> Value {
    let column = |name: &str, kind: &str, path: &str| json!({"name": name, "type": kind, "jsonPath": path});
    json!({
        "metadata": {"name": PROMOTIONS},
        "spec": {
            "group": "shop.acme.example", "scope": "Namespaced",
            "names": {"plural": "promotions", "singular": "promotion", "kind": "Promotion", "shortNames": ["promo"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "additionalPrinterColumns": [
                    column("Percent", "integer", ".spec.percent"), column("Phase", "string", ".status.phase"),
                    column("Redeemed", "integer", ".status.redeemed"), column("Age", "date", ".metadata.creationTimestamp"),
                ],
            }],
        },
    })
}
