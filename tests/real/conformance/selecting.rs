//! Label and field selectors, on lists and on watches.

use super::api::{Api, MERGE, names, version_of};
use super::listing::event;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    label_selectors_choose,
    a_label_selector_of_garbage_is_refused,
    every_kind_can_be_selected_by_name_and_namespace,
    pods_can_be_selected_by_phase_and_node,
    pods_can_be_selected_by_a_few_things_more,
    events_can_be_selected_by_what_they_are_about,
    an_unknown_field_is_refused,
    a_field_selector_of_garbage_is_refused,
    an_object_that_begins_to_match_is_added_and_one_that_ceases_to_is_deleted,
    a_watch_by_name_sees_that_object_alone,
    a_field_that_changes_takes_a_pod_into_a_watch_and_out_of_it,
];

/// Percent-encodes what a selector may hold.
pub fn encoded(selector: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    selector.bytes().map(one).collect()
}

/// A pod that no scheduler takes.
pub fn pod(name: &str) -> Value {
    let spec = json!({"schedulerName": "nobody", "containers": [{"name": "main", "image": "image:1"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn label_selectors_choose(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for (name, labels) in [
        ("both", json!({"app": "web", "tier": "front"})),
        ("db", json!({"app": "db"})),
        ("none", Value::Null),
        ("web", json!({"app": "web", "example.com/tier": "back"})),
    ] {
        api.post(&path, &json!({"metadata": {"name": name, "labels": labels}})).created();
    }
    for (selector, expected) in [
        ("app=web", &["both", "web"][..]),
        ("app==web", &["both", "web"]),
        ("app!=web", &["db", "none"]),
        ("app in (web,db)", &["both", "db", "web"]),
        ("app in (web)", &["both", "web"]),
        ("app notin (web)", &["db", "none"]),
        ("app", &["both", "db", "web"]),
        ("!app", &["none"]),
        ("app=web,tier=front", &["both"]),
        ("app=web,!tier", &["web"]),
        ("app,tier notin (front)", &["db", "web"]),
        (" app = web , tier", &["both"]),
        ("example.com/tier=back", &["web"]),
        ("app=", &[]),
        ("", &["both", "db", "none", "web"]),
    ] {
        let list = api.get(&format!("{path}?labelSelector={}", encoded(selector))).ok();
        assert_eq!(names(&list), expected, "{selector:?}");
    }
}

fn a_label_selector_of_garbage_is_refused(api: &Api<'_>) {
    for selector in ["a===", "app in web", "app in (", "=x", "a b", "app!web", "a,,b", "/x", "a=b c"] {
        for query in ["", "&watch=1"] {
            let answer = api.get(&format!("/api/v1/secrets?labelSelector={}{query}", encoded(selector)));
            answer.refused_with(400, "BadRequest");
        }
    }
    api.get(&format!("/api/v1/secrets?labelSelector={}", encoded("a==="))).refused_saying(
        400,
        "BadRequest",
        "unable to parse requirement: found '=', expected: identifier",
    );
}

fn every_kind_can_be_selected_by_name_and_namespace(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for name in ["a", "b", "c"] {
        api.post(&path, &json!({"metadata": {"name": name}})).created();
    }
    for (selector, expected) in [
        ("metadata.name=b", &["b"][..]),
        ("metadata.name==b", &["b"]),
        ("metadata.name!=b", &["a", "c"]),
        ("metadata.name=b,metadata.name!=b", &[]),
        ("metadata.name!=a,metadata.name!=b", &["c"]),
    ] {
        let list = api.get(&format!("{path}?fieldSelector={}", encoded(selector))).ok();
        assert_eq!(names(&list), expected, "{selector:?}");
    }
    let selector = encoded(&format!("metadata.namespace={ns},metadata.name!=c"));
    assert_eq!(names(&api.get(&format!("/api/v1/secrets?fieldSelector={selector}")).ok()), ["a", "b"]);
    let selector = encoded(&format!("metadata.name={ns}"));
    assert_eq!(names(&api.get(&format!("/api/v1/namespaces?fieldSelector={selector}")).ok()), [ns.as_str()]);
    let list = api.get(&format!("/apis/apps/v1/deployments?fieldSelector={}", encoded("metadata.name=nope"))).ok();
    assert_eq!(names(&list), [""; 0]);
}

fn pods_can_be_selected_by_phase_and_node(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    api.post(&path, &pod("waits")).created();
    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = "of-the-suite".into();
    api.post(&path, &bound).created();
    for (selector, expected) in [
        ("status.phase=Pending", &["bound", "waits"][..]),
        ("status.phase!=Pending", &[]),
        ("spec.nodeName=of-the-suite", &["bound"]),
        ("spec.nodeName=", &["waits"]),
        ("spec.nodeName!=of-the-suite", &["waits"]),
    ] {
        let list = api.get(&format!("{path}?fieldSelector={}", encoded(selector))).ok();
        assert_eq!(names(&list), expected, "{selector:?}");
    }
}

fn pods_can_be_selected_by_a_few_things_more(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    api.post(&path, &pod("always")).created();
    let mut never = pod("never");
    never["spec"]["restartPolicy"] = "Never".into();
    api.post(&path, &never).created();
    for selector in ["spec.restartPolicy=Never", "spec.schedulerName=nobody,metadata.name=never"] {
        let list = api.get(&format!("{path}?fieldSelector={}", encoded(selector))).ok();
        assert_eq!(names(&list), ["never"], "{selector:?}");
    }
}

fn events_can_be_selected_by_what_they_are_about(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/events");
    event(api, &ns, "about-pod");
    let other = json!({
        "metadata": {"name": "about-set"}, "reason": "Scaled", "type": "Warning",
        "involvedObject": {"kind": "ReplicaSet", "namespace": ns, "name": "set", "uid": "u-2"},
    });
    api.post(&path, &other).created();
    for (selector, expected) in [
        ("involvedObject.name=nobody", &["about-pod"][..]),
        ("involvedObject.kind=ReplicaSet", &["about-set"]),
        ("involvedObject.uid=u-2", &["about-set"]),
        ("involvedObject.uid=u-1,involvedObject.name=nobody", &["about-pod"]),
        ("reason=Tried", &["about-pod"]),
        ("type=Warning", &["about-set"]),
        ("type!=Warning", &["about-pod"]),
    ] {
        let list = api.get(&format!("{path}?fieldSelector={}", encoded(selector))).ok();
        assert_eq!(names(&list), expected, "{selector:?}");
    }
}

fn an_unknown_field_is_refused(api: &Api<'_>) {
    let refused = |path: &str, message: &str| {
        for query in ["", "&watch=1"] {
            api.get(&format!("{path}{query}")).refused_saying(400, "BadRequest", message);
        }
    };
    refused("/api/v1/pods?fieldSelector=foo%3Dbar", "field label not supported: foo");
    refused(
        "/api/v1/configmaps?fieldSelector=data.a%3Db",
        "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    refused("/api/v1/events?fieldSelector=foo%3Dbar", "field label not supported: foo");
    refused(
        "/apis/apps/v1/deployments?fieldSelector=foo%3Dbar",
        "\"foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
}

fn a_field_selector_of_garbage_is_refused(api: &Api<'_>) {
    let message = "invalid selector: 'foo'; can't understand 'foo'";
    api.get("/api/v1/pods?fieldSelector=foo").refused_saying(400, "BadRequest", message);
}

fn an_object_that_begins_to_match_is_added_and_one_that_ceases_to_is_deleted(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = api.post(&path, &json!({"metadata": {"name": "a", "labels": {"in": "no"}}})).created();
    let from = version_of(&made);
    let mut watch = api.watch(&format!("{path}?watch=1&labelSelector=in%3Dyes&resourceVersion={from}"));
    let label =
        |value: &str| api.patch(&format!("{path}/a"), MERGE, &json!({"metadata": {"labels": {"in": value}}})).ok();

    let entered = label("yes");
    assert_eq!(watch.expect("ADDED"), entered);
    let changed = api.patch(&format!("{path}/a"), MERGE, &json!({"data": {"k": "dg=="}})).ok();
    assert_eq!(watch.expect("MODIFIED"), changed);
    let left = label("no");
    let deleted = watch.expect("DELETED");
    // As it was when it still matched, but as of the version at which it left.
    assert_eq!(deleted["metadata"]["labels"]["in"], "yes");
    assert_eq!(deleted["data"]["k"], "dg==");
    assert_eq!(version_of(&deleted), version_of(&left));
    // What happens to it meanwhile is not seen.
    api.patch(&format!("{path}/a"), MERGE, &json!({"data": {"k": "eg=="}})).ok();
    let back = label("yes");
    assert_eq!(watch.expect("ADDED"), back);
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let deleted = watch.expect("DELETED");
    assert!(version_of(&deleted) > version_of(&back));
}

fn a_watch_by_name_sees_that_object_alone(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let from = api.version();
    let mut watch = api.watch(&format!("{path}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={from}"));
    for name in ["a", "b", "c"] {
        api.post(&path, &json!({"metadata": {"name": name}})).created();
    }
    watch.expect_about("ADDED", "b");
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    api.delete(&format!("{path}/b"), &Value::Null).ok();
    watch.expect_about("DELETED", "b");
}

fn a_field_that_changes_takes_a_pod_into_a_watch_and_out_of_it(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let from = version_of(&api.post(&path, &pod("a")).created());
    let query = format!("watch=1&resourceVersion={from}&fieldSelector={}", encoded("status.phase=Running"));
    let mut watch = api.watch(&format!("{path}?{query}"));
    let phase = |phase: &str| api.patch(&format!("{path}/a/status"), MERGE, &json!({"status": {"phase": phase}})).ok();
    let runs = phase("Running");
    assert_eq!(watch.expect("ADDED"), runs);
    let done = phase("Succeeded");
    let deleted = watch.expect("DELETED");
    assert_eq!((version_of(&deleted), &deleted["status"]["phase"]), (version_of(&done), &json!("Running")));
}
