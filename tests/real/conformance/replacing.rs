//! Replace: what it needs, what it leaves alone, and what it counts.

use super::api::{Api, JSON_PATCH, MERGE, assert_like, version_of};
use super::creating::deployment;
use super::listing::config_maps;
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_put_replaces_and_raises_the_version,
    a_put_of_a_stale_version_conflicts,
    a_put_without_a_version_replaces,
    a_put_of_nothing_new_keeps_the_version,
    a_put_of_another_name_is_refused,
    a_put_of_something_missing_is_not_found,
    a_put_with_another_uid_conflicts,
    a_dry_put_changes_nothing,
    generation_counts_changes_of_the_spec_alone,
    the_main_path_leaves_the_status_alone_and_status_leaves_the_spec,
    an_image_of_a_pod_can_be_changed_and_its_node_cannot,
];

fn a_put_replaces_and_raises_the_version(api: &Api<'_>) {
    let ns = api.namespace();
    let mut object = config_maps(api, &ns, &["a"]).remove(0);
    let before = version_of(&object);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    object["data"] = json!({"other": "x"});
    let put = api.put(&path, &object).ok();
    assert_eq!((&put["data"], &put["metadata"]["uid"]), (&object["data"], &object["metadata"]["uid"]));
    assert_eq!(put["metadata"]["creationTimestamp"], object["metadata"]["creationTimestamp"]);
    assert!(version_of(&put) > before);
    assert_eq!(api.get(&path).ok(), put);
}

fn a_put_of_a_stale_version_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    let object = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    api.patch(&path, MERGE, &json!({"data": {"other": "x"}})).ok();
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    let status = api.put(&path, &object).refused(409, "Conflict", message);
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    api.post(&path, &body).created();
    body["metadata"]["resourceVersion"] = "1".into();
    let status = api.put(&format!("{path}/d"), &body).refused_with(409, "Conflict");
    assert_eq!(status["details"], json!({"name": "d", "group": "apps", "kind": "deployments"}));
}

fn a_put_without_a_version_replaces(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let put = api.put(&path, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).ok();
    assert_eq!((&put["data"], &put["metadata"]["uid"]), (&json!({"k": "v"}), &before["metadata"]["uid"]));
    assert!(version_of(&put) > version_of(&before));
}

fn a_put_of_nothing_new_keeps_the_version(api: &Api<'_>) {
    let ns = api.namespace();
    let object = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    assert_eq!(api.put(&path, &object).ok(), object);
    assert_eq!(api.patch(&path, MERGE, &json!({"data": {"key": "value"}})).ok(), object);
    assert_eq!(api.patch(&path, MERGE, &json!({})).ok(), object);
}

fn a_put_of_another_name_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "the name of the object (b) does not match the name on the URL (a)";
    api.put(&path, &json!({"metadata": {"name": "b"}})).refused(400, "BadRequest", message);
    let message = "the name of the object (a based on URL) was undeterminable: name must be provided";
    api.put(&path, &json!({"metadata": {}})).refused(400, "BadRequest", message);
}

fn a_put_of_something_missing_is_not_found(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/nope");
    for body in [json!({"metadata": {"name": "nope"}}), json!({"metadata": {"name": "nope", "resourceVersion": "5"}})] {
        api.put(&path, &body).refused(404, "NotFound", "configmaps \"nope\" not found");
    }
}

fn a_put_with_another_uid_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let status = api.put(&path, &json!({"metadata": {"name": "a", "uid": "5"}})).refused_with(409, "Conflict");
    let message = status["message"].as_str().expect("a message");
    assert!(message.contains("Precondition failed: UID in precondition: 5, UID in object meta: "), "{message}");
}

fn a_dry_put_changes_nothing(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(api.put(&format!("{path}?dryRun=All"), &body).ok()["data"], body["data"]);
    let patched = api.patch(&format!("{path}?dryRun=All"), MERGE, &json!({"data": {"k": "v"}})).ok();
    assert_eq!(patched["data"], json!({"key": "value", "k": "v"}));
    assert_eq!(api.get(&path).ok(), before);
}

fn generation_counts_changes_of_the_spec_alone(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    body["spec"]["paused"] = true.into();
    assert_eq!(api.post(&path, &body).created()["metadata"]["generation"], 1);
    let path = format!("{path}/d");
    let patch = |patch: Value| api.patch(&path, MERGE, &patch).ok()["metadata"]["generation"].clone();
    assert_eq!(patch(json!({"metadata": {"labels": {"a": "b"}}})), 1);
    assert_eq!(patch(json!({"spec": {"revisionHistoryLimit": 3}})), 2);
    assert_eq!(patch(json!({"spec": {"revisionHistoryLimit": 3}})), 2);
    let status =
        api.patch(&format!("{path}/status"), MERGE, &json!({"status": {"readyReplicas": 0, "collisionCount": 1}}));
    assert_eq!(status.ok()["metadata"]["generation"], 2);
    assert_eq!(patch(json!({"metadata": {"generation": 7}})), 2);
}

fn the_main_path_leaves_the_status_alone_and_status_leaves_the_spec(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["status"] = json!({"phase": "Running", "message": "by the client"});
    let made = api.post(&path, &body).created();
    assert_eq!((&made["status"]["phase"], made["status"].get("message")), (&json!("Pending"), None));
    let path = format!("{path}/p");
    let same = api.patch(&path, MERGE, &json!({"status": {"message": "by the client"}})).ok();
    assert_eq!(same["status"], made["status"]);
    let mut changed = made.clone();
    changed["status"]["message"] = "by a kubelet".into();
    changed["spec"]["containers"][0]["image"] = "image:2".into();
    changed["metadata"]["labels"] = json!({"not": "here"});
    let put = api.put(&format!("{path}/status"), &changed).ok();
    assert_eq!(put["status"]["message"], "by a kubelet");
    assert_eq!(put["spec"]["containers"][0]["image"], "image:1");
    assert_eq!(api.get(&format!("{path}/status")).ok(), put);
    let mut stale = made;
    stale["status"]["message"] = "too late".into();
    api.put(&format!("{path}/status"), &stale).refused_with(409, "Conflict");
}

fn an_image_of_a_pod_can_be_changed_and_its_node_cannot(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["spec"]["nodeName"] = "of-the-suite".into();
    api.post(&path, &body).created();
    let path = format!("{path}/p");
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "image:2"}]);
    let changed = api.patch(&path, JSON_PATCH, &image).ok();
    assert_like(&changed, &json!({"metadata": {"generation": 2}, "spec": {"containers": [{"image": "image:2"}]}}));
    let status = api.patch(&path, MERGE, &json!({"spec": {"nodeName": "other"}})).refused_with(422, "Invalid");
    assert_like(&status["details"]["causes"][0], &json!({"reason": "FieldValueForbidden", "field": "spec"}));
}
