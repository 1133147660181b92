//! Deletion: what it answers, what a watch tells of it, and what holds it up.

use super::api::{Api, Ask, MERGE, assert_like, names, version_of};
use super::listing::config_maps;
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    deleting_a_config_map_answers_a_status_with_its_uid,
    deleting_a_pod_answers_the_pod_and_is_told_twice,
    deleting_a_pod_with_grace_zero_takes_it_at_once,
    deleting_what_is_not_there_is_not_found,
    a_precondition_that_does_not_hold_conflicts,
    a_precondition_that_holds_deletes,
    a_finalizer_holds_an_object_until_it_is_removed,
    a_put_that_removes_the_last_finalizer_takes_the_object,
    a_terminating_object_gets_no_new_finalizer,
    deleting_twice_changes_nothing,
    a_collection_is_deleted_by_selector,
    dependents_go_with_their_owner_in_the_background,
    dependents_go_before_their_owner_in_the_foreground,
    orphans_lose_their_owner_and_stay,
    a_deleted_namespace_takes_everything_with_it,
    a_terminating_namespace_takes_nothing_new,
    the_default_namespace_cannot_be_deleted,
    a_dry_delete_deletes_nothing,
    options_that_make_no_sense_are_refused,
    options_of_garbage_are_refused,
    options_may_stand_in_the_query,
];

fn deleting_a_config_map_answers_a_status_with_its_uid(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let status = api.delete(&path, &Value::Null).ok();
    assert_eq!(
        status,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
        })
    );
    api.get(&path).refused_with(404, "NotFound");
}

fn deleting_a_pod_answers_the_pod_and_is_told_twice(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let made = api.post(&path, &pod("p")).created();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={}", version_of(&made)));
    let answered = api.delete(&format!("{path}/p"), &Value::Null).ok();
    assert_like(
        &answered,
        &json!({"kind": "Pod", "metadata": {"uid": made["metadata"]["uid"], "deletionGracePeriodSeconds": 0}}),
    );
    // No node has it, so nobody has to agree.
    let marked = watch.expect("MODIFIED");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let gone = watch.expect("DELETED");
    assert!(version_of(&made) < version_of(&marked) && version_of(&marked) < version_of(&gone));
    api.get(&format!("{path}/p")).refused_with(404, "NotFound");
}

fn deleting_a_pod_with_grace_zero_takes_it_at_once(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["spec"]["nodeName"] = "of-the-suite".into();
    let made = api.post(&path, &body).created();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={}", version_of(&made)));
    let grace = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    assert_eq!(api.delete(&format!("{path}/p"), &grace).ok()["kind"], "Pod");
    let marked = watch.expect("MODIFIED");
    let gone = watch.expect("DELETED");
    assert!(version_of(&made) < version_of(&marked) && version_of(&marked) < version_of(&gone));
    api.get(&format!("{path}/p")).refused_with(404, "NotFound");
}

fn deleting_what_is_not_there_is_not_found(api: &Api<'_>) {
    let ns = api.namespace();
    let status = api.delete(&format!("/api/v1/namespaces/{ns}/secrets/nope"), &Value::Null);
    let status = status.refused(404, "NotFound", "secrets \"nope\" not found");
    assert_eq!(status["details"], json!({"name": "nope", "kind": "secrets"}));
}

fn a_precondition_that_does_not_hold_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let uid = made["metadata"]["uid"].as_str().expect("a uid");
    let message = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in record \
         ({uid}). The object might have been deleted and then recreated"
    );
    api.delete(&path, &json!({"preconditions": {"uid": "x"}})).refused_saying(409, "Conflict", &message);
    let message = format!(
        "Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not match the \
         ResourceVersion in record ({}). The object might have been modified",
        version_of(&made)
    );
    api.delete(&path, &json!({"preconditions": {"resourceVersion": "1"}})).refused_saying(409, "Conflict", &message);
    api.get(&path).ok();
}

fn a_precondition_that_holds_deletes(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let of = |key: &str| made["metadata"][key].clone();
    let options = json!({"preconditions": {"uid": of("uid"), "resourceVersion": of("resourceVersion")}});
    api.delete(&format!("/api/v1/namespaces/{ns}/configmaps/a"), &options).ok();
}

/// A ConfigMap that nobody lets go; its path.
fn held(api: &Api<'_>) -> (String, Value) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let made = api.post(&path, &json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).created();
    (path, made)
}

fn a_finalizer_holds_an_object_until_it_is_removed(api: &Api<'_>) {
    let (path, made) = held(api);
    let from = version_of(&made);
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={from}&fieldSelector=metadata.name%3Dheld"));
    let answered = api.delete(&format!("{path}/held"), &Value::Null).ok();
    assert_like(&answered, &json!({"kind": "ConfigMap", "metadata": {"deletionGracePeriodSeconds": 0}}));
    let marked = watch.expect("MODIFIED");
    assert_eq!(marked, answered);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(api.get(&format!("{path}/held")).ok(), marked);
    let let_go = api.patch(&format!("{path}/held"), MERGE, &json!({"metadata": {"finalizers": null}})).ok();
    assert_eq!(let_go["metadata"].get("finalizers"), None);
    let gone = watch.expect("DELETED");
    assert!(version_of(&gone) > version_of(&marked));
    api.get(&format!("{path}/held")).refused_with(404, "NotFound");
}

fn a_put_that_removes_the_last_finalizer_takes_the_object(api: &Api<'_>) {
    let (path, _) = held(api);
    let mut marked = api.delete(&format!("{path}/held"), &Value::Null).ok();
    marked["metadata"]["finalizers"] = json!([]);
    api.put(&format!("{path}/held"), &marked).ok();
    api.get(&format!("{path}/held")).refused_with(404, "NotFound");
}

fn a_terminating_object_gets_no_new_finalizer(api: &Api<'_>) {
    let (path, _) = held(api);
    api.delete(&format!("{path}/held"), &Value::Null).ok();
    let patch = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let status = api.patch(&format!("{path}/held"), MERGE, &patch).refused_with(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.finalizers");
    let patched = api.patch(&format!("{path}/held"), MERGE, &json!({"metadata": {"labels": {"still": "mine"}}})).ok();
    assert_eq!(patched["metadata"]["labels"]["still"], "mine");
}

fn deleting_twice_changes_nothing(api: &Api<'_>) {
    let (path, _) = held(api);
    let first = api.delete(&format!("{path}/held"), &Value::Null).ok();
    let again = api.delete(&format!("{path}/held"), &Value::Null).ok();
    assert_eq!(first, again);
}

fn a_collection_is_deleted_by_selector(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for (name, group) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.post(&path, &json!({"metadata": {"name": name, "labels": {"group": group}}})).created();
    }
    let deleted = api.delete(&format!("{path}?labelSelector=group%3Dx"), &Value::Null).ok();
    assert_eq!(deleted["kind"], "SecretList");
    assert_eq!(names(&deleted), ["a", "c"]);
    assert_eq!(names(&api.get(&path).ok()), ["b"]);
    let answer = api.delete(&format!("{path}?labelSelector=a%3D%3D%3D"), &Value::Null);
    answer.refused_saying(400, "BadRequest", "unable to parse requirement: found '=', expected: identifier");
    api.delete(&path, &Value::Null).ok();
    assert_eq!(names(&api.get(&path).ok()), [""; 0]);
}

/// An owner and a dependent, both ConfigMaps; their collection.
fn family(api: &Api<'_>) -> String {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let owner = api.post(&path, &json!({"metadata": {"name": "owner"}})).created();
    let reference = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": true,
    });
    api.post(&path, &json!({"metadata": {"name": "child", "ownerReferences": [reference]}})).created();
    path
}

fn gone(api: &Api<'_>, path: &str) {
    api.eventually("it is gone", |api| (api.get(path).status == 404).then_some(()));
}

fn dependents_go_with_their_owner_in_the_background(api: &Api<'_>) {
    let path = family(api);
    api.delete(&format!("{path}/owner"), &json!({"propagationPolicy": "Background"})).ok();
    api.get(&format!("{path}/owner")).refused_with(404, "NotFound");
    gone(api, &format!("{path}/child"));
}

fn dependents_go_before_their_owner_in_the_foreground(api: &Api<'_>) {
    let path = family(api);
    let from = api.version();
    let select = "fieldSelector=metadata.name%21%3Dkube-root-ca.crt";
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={from}&{select}"));
    let answered = api.delete(&format!("{path}/owner"), &json!({"propagationPolicy": "Foreground"})).ok();
    assert_eq!(answered["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let mut deleted = Vec::new();
    while deleted.len() < 2 {
        let event = watch.event();
        if event.kind == "DELETED" {
            deleted.push(event.name().to_owned());
        }
    }
    assert_eq!(deleted, ["child", "owner"]);
}

fn orphans_lose_their_owner_and_stay(api: &Api<'_>) {
    let path = family(api);
    let answered = api.delete(&format!("{path}/owner"), &json!({"propagationPolicy": "Orphan"})).ok();
    assert_eq!(answered["metadata"]["finalizers"], json!(["orphan"]));
    gone(api, &format!("{path}/owner"));
    let child = api.get(&format!("{path}/child")).ok();
    assert_eq!(child["metadata"].get("ownerReferences"), None);
}

fn a_deleted_namespace_takes_everything_with_it(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a", "b"]);
    api.post(&format!("/api/v1/namespaces/{ns}/pods"), &pod("p")).created();
    let path = format!("/api/v1/namespaces/{ns}");
    let mut watch = api.watch(&format!("{path}/secrets?watch=1&resourceVersion={}", api.version()));
    api.post(&format!("{path}/secrets"), &json!({"metadata": {"name": "s"}})).created();
    let answered = api.delete(&path, &Value::Null).ok();
    assert_like(&answered, &json!({"kind": "Namespace", "status": {"phase": "Terminating"}}));
    watch.expect_about("ADDED", "s");
    watch.expect_about("DELETED", "s");
    gone(api, &path);
    for plural in ["configmaps", "pods", "secrets"] {
        assert_eq!(names(&api.get(&format!("{path}/{plural}")).ok()), [""; 0], "{plural}");
    }
}

fn a_terminating_namespace_takes_nothing_new(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}");
    // Something must keep it from going at once.
    let body = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    api.post(&format!("{path}/configmaps"), &body).created();
    api.delete(&path, &Value::Null).ok();
    let answer = api.post(&format!("{path}/secrets"), &json!({"metadata": {"name": "s"}}));
    let status = answer.refused_with(403, "Forbidden");
    let message = format!(
        "secrets \"s\" is forbidden: unable to create new content in namespace {ns} because it is being terminated"
    );
    assert_eq!(status["message"], message.as_str());
    assert_like(&status["details"]["causes"][0], &json!({"reason": "NamespaceTerminating"}));
    api.patch(&format!("{path}/configmaps/held"), MERGE, &json!({"metadata": {"finalizers": null}})).ok();
}

fn the_default_namespace_cannot_be_deleted(api: &Api<'_>) {
    let message = "namespaces \"default\" is forbidden: this namespace may not be deleted";
    api.delete("/api/v1/namespaces/default", &Value::Null).refused(403, "Forbidden", message);
}

fn a_dry_delete_deletes_nothing(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    assert_eq!(api.delete(&format!("{path}?dryRun=All"), &Value::Null).ok()["status"], "Success");
    api.delete(&path, &json!({"dryRun": ["All"]})).ok();
    assert_eq!(api.get(&path).ok(), made);
}

fn options_that_make_no_sense_are_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Foo\": supported values: \
                   \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    api.delete(&path, &json!({"propagationPolicy": "Foo"})).refused_saying(422, "Invalid", message);
    let message = "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Foreground\": \
                   orphanDependents and deletionPropagation cannot be both set";
    let both = json!({"propagationPolicy": "Foreground", "orphanDependents": true});
    api.delete(&path, &both).refused_saying(422, "Invalid", message);
    api.get(&path).ok();
}

fn options_of_garbage_are_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    for body in ["{garbage", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}"] {
        let answer = api.ask(Ask { method: "DELETE", path: &path, body: body.into(), ..Ask::default() });
        answer.refused_with(400, "BadRequest");
    }
    api.get(&path).ok();
}

fn options_may_stand_in_the_query(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["spec"]["nodeName"] = "of-the-suite".into();
    api.post(&path, &body).created();
    api.delete(&format!("{path}/p?gracePeriodSeconds=0&propagationPolicy=Background"), &Value::Null).ok();
    api.get(&format!("{path}/p")).refused_with(404, "NotFound");
}
