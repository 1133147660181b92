//! What is not a Secret, and has canaries where values must go.

use super::{CANARY, SHOWN};
use crate::kit::{Ends, Parts, eventually};
use base64::Engine as _;
use serde_json::{Value, json};

fn canary(what: &str) -> String {
    format!("{CANARY}{what}")
}

fn applied() -> Value {
    json!({"kubectl.kubernetes.io/last-applied-configuration": canary("Applied")})
}

fn container() -> Value {
    json!({"name": "c", "image": "i", "command": ["run", "--password", canary("Flag")],
        "args": [format!("--token={}", canary("Arg")), format!("postgres://app:{}@db/x", canary("Url"))],
        "env": [{"name": "TOKEN", "value": canary("Env")}],
        "livenessProbe": {"httpGet": {"port": 80, "path": "/", "httpHeaders": [{"name": "Authorization", "value": canary("Header")}]}}})
}

/// Of one nobody has said anything, of the other that all is wanted but two fields.
pub const CUSTOM: &[&str] = &["masks", "fulls"];

/// A custom resource with canaries in spec, status, conditions and annotations, and in what the server keeps of who set what.
pub fn create_custom(parts: &Parts, plural: &str) {
    crate::kinds::define(parts, plural, "leak.test");
    let mut object = json!({"apiVersion": "leak.test/v1", "kind": plural.trim_end_matches('s').to_uppercase(),
        "metadata": {"name": "x", "labels": {"seen": SHOWN}, "annotations": applied()},
        "spec": {"password": canary("Password"), "template": {"spec": {"containers": [container()]}}},
        "status": {"url": format!("https://app:{}@db/x", canary("Status"))}});
    if plural == "masks" {
        object["spec"]["nested"] = json!([{"key": canary("Spec"), "list": [canary("List")]}]);
        object["spec"]["set"] = json!([canary("Member")]);
        object["status"]["observed"] = canary("Observed").into();
        object["status"]["conditions"] = json!([{
            "type": "Ready", "status": "False", "reason": "Tried", "token": canary("Condition"),
            "message": format!("login with password={} refused, Authorization: Bearer {}", canary("Text"), canary("Bearer"))}]);
    }
    let path = format!("/apis/leak.test/v1/namespaces/canaries/{plural}");
    eventually("the object is taken", || {
        let (status, answer) = parts.ask("POST", &path, &object);
        assert!(matches!(status, 201 | 404 | 429 | 500..), "{path}: {status} {answer}");
        (status == 201).then_some(())
    });
    if matches!(parts.ends, Ends::Real { .. }) && plural == "masks" {
        let kept = parts.api("GET", &format!("{path}/x"), &Value::Null)["metadata"]["managedFields"].to_string();
        assert!(kept.contains(&canary("Member")), "a member of a set stands there by its value: {kept}");
    }
}

/// What is not a Secret and has canaries where values must go.
pub fn create_others(parts: &Parts) {
    let (applied, container) = (applied(), container());
    let core = "/api/v1/namespaces/canaries";
    let pod = json!({"metadata": {"name": "p", "annotations": applied, "labels": {"seen": SHOWN}}, "spec": {"containers": [container]}});
    parts.api("POST", &format!("{core}/pods"), &pod);
    let config = json!({"metadata": {"name": "m", "annotations": applied}, "data": {"k": canary("Config")},
        "binaryData": {"b": base64::engine::general_purpose::STANDARD.encode(canary("Binary"))}});
    parts.api("POST", &format!("{core}/configmaps"), &config);
    let deployment = json!({"metadata": {"name": "d", "annotations": applied}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}, "annotations": applied}, "spec": {"containers": [container]}}}});
    parts.api("POST", "/apis/apps/v1/namespaces/canaries/deployments", &deployment);
    let event = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "Tried",
        "message": format!("login with password={} refused, Authorization: Bearer {}", canary("Event"), canary("Bearer")),
        "involvedObject": {"kind": "Pod", "namespace": "canaries", "name": "p", "apiVersion": "v1"}});
    parts.api("POST", &format!("{core}/events"), &event);
}
