//! Watches: where they begin, in which order they tell, how they end.

use super::api::{Api, MERGE, assert_like, names, version_of};
use super::listing::{config_maps, event};
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_watch_from_no_version_first_adds_what_is_there,
    a_watch_from_version_zero_first_adds_what_is_there,
    a_watch_from_a_version_tells_what_came_after_it,
    changes_come_in_order_and_with_the_versions_that_the_writers_were_told,
    a_watch_of_all_namespaces_is_in_order_too,
    a_deleted_object_comes_with_a_version_of_its_own,
    a_watch_from_before_the_compaction_gets_410_in_the_stream,
    a_watch_from_a_version_to_come_waits,
    a_watch_of_garbage_versions_is_refused,
    a_watch_ends_when_its_time_is_up,
    a_watch_is_json_lines_in_chunks,
    a_streamed_list_adds_everything_and_then_marks_its_end,
    a_streamed_list_goes_on_as_a_watch,
    a_streamed_list_without_bookmarks_has_no_mark,
    initial_events_without_a_match_are_refused,
    a_match_without_initial_events_is_refused,
    initial_events_can_be_declined,
];

const LATEST: &str = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

fn a_watch_from_no_version_first_adds_what_is_there(api: &Api<'_>) {
    first_adds_what_is_there(api, "");
}

fn a_watch_from_version_zero_first_adds_what_is_there(api: &Api<'_>) {
    first_adds_what_is_there(api, "&resourceVersion=0");
}

fn first_adds_what_is_there(api: &Api<'_>, from: &str) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = |name: &str| api.post(&path, &json!({"metadata": {"name": name}})).created();
    // Not in the order of their names: what is there comes by name.
    let mut made = vec![made("b"), made("a")];
    made.reverse();
    // A watch cache may lag a moment behind, and version 0 lets it.
    api.eventually("both are seen", |api| {
        let list = api.get(&format!("{path}?resourceVersion=0")).ok();
        (names(&list).len() == 2).then_some(())
    });
    let mut watch = api.watch(&format!("{path}?watch=true{from}"));
    let mut seen = [watch.expect("ADDED"), watch.expect("ADDED")];
    seen.sort_by_key(|object| object["metadata"]["name"].as_str().map(str::to_owned));
    assert_eq!(seen.as_slice(), made, "whole objects, with kind and apiVersion");
    api.post(&path, &json!({"metadata": {"name": "c"}})).created();
    watch.expect_about("ADDED", "c");
}

fn a_watch_from_a_version_tells_what_came_after_it(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a", "b", "c"]);
    let from = version_of(&made[0]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let select = "fieldSelector=metadata.name%21%3Dkube-root-ca.crt";
    let mut watch = api.watch(&format!("{path}?watch=true&resourceVersion={from}&{select}"));
    assert_eq!(watch.expect("ADDED"), made[1]);
    assert_eq!(watch.expect("ADDED"), made[2]);
    // And so where no watch cache stands between.
    let made = [event(api, &ns, "a"), event(api, &ns, "b")];
    let from = version_of(&made[0]);
    let mut watch = api.watch(&format!("/api/v1/namespaces/{ns}/events?watch=true&resourceVersion={from}"));
    assert_eq!(watch.expect("ADDED"), made[1]);
}

fn changes_come_in_order_and_with_the_versions_that_the_writers_were_told(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let from = api.version();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={from}"));
    let mut told = Vec::new();
    for round in 0..5 {
        let name = format!("s-{round}");
        told.push(("ADDED", api.post(&path, &json!({"metadata": {"name": name}})).created()));
        let patch = json!({"metadata": {"labels": {"round": round.to_string()}}});
        told.push(("MODIFIED", api.patch(&format!("{path}/{name}"), MERGE, &patch).ok()));
    }
    let mut last = 0;
    for (kind, object) in told {
        let seen = watch.expect(kind);
        assert_eq!(seen, object);
        assert!(version_of(&seen) > last);
        last = version_of(&seen);
    }
}

fn a_watch_of_all_namespaces_is_in_order_too(api: &Api<'_>) {
    let spaces = [api.namespace(), api.namespace()];
    let from = api.version();
    let mut watch = api.watch(&format!("/api/v1/secrets?watch=1&resourceVersion={from}&labelSelector=suite%3Dall"));
    let mut told = Vec::new();
    for round in 0..6 {
        let path = format!("/api/v1/namespaces/{}/secrets", spaces[round % 2]);
        let body = json!({"metadata": {"name": format!("s-{round}"), "labels": {"suite": "all"}}});
        told.push(api.post(&path, &body).created());
    }
    for object in told {
        assert_eq!(watch.expect("ADDED"), object);
    }
}

fn a_deleted_object_comes_with_a_version_of_its_own(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = api.post(&path, &json!({"metadata": {"name": "a"}, "data": {"k": "dg=="}})).created();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={}", version_of(&made)));
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let deleted = watch.expect("DELETED");
    assert!(version_of(&deleted) > version_of(&made));
    let mut but_for_the_version = deleted.clone();
    but_for_the_version["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    assert_eq!(but_for_the_version, made);
    let again = api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    assert_eq!(watch.expect("ADDED"), again);
    assert!(version_of(&again) > version_of(&deleted));
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"]);
}

fn a_watch_from_before_the_compaction_gets_410_in_the_stream(api: &Api<'_>) {
    let ns = api.namespace();
    let old = version_of(&event(api, &ns, "a"));
    event(api, &ns, "b");
    event(api, &ns, "c");
    api.compact();
    let mut watch = api.watch(&format!("/api/v1/namespaces/{ns}/events?watch=1&resourceVersion={old}"));
    let status = watch.expect("ERROR");
    assert_like(
        &status,
        &json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
            "message": "The resourceVersion for the provided watch is too old.",
        }),
    );
    assert!(watch.next().is_none(), "and that is the end");
}

fn a_watch_from_a_version_to_come_waits(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/events?watch=1&resourceVersion=9999999&timeoutSeconds=1");
    assert_eq!(api.watch(&path).rest().len(), 0);
}

fn a_watch_of_garbage_versions_is_refused(api: &Api<'_>) {
    let message = "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    let status = api.get("/api/v1/pods?watch=1&resourceVersion=abc").refused_with(500, "");
    assert_eq!(status["message"], message);
}

fn a_watch_ends_when_its_time_is_up(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let clock = testbed::Stopwatch::start();
    let from = api.version();
    let watch = api.watch(&format!("{path}?watch=1&resourceVersion={from}&timeoutSeconds=1"));
    assert_eq!(watch.rest().len(), 0);
    let took = clock.elapsed();
    assert!((0.9..4.0).contains(&took.as_secs_f64()), "{took:?}");
}

fn a_watch_is_json_lines_in_chunks(api: &Api<'_>) {
    let ns = api.namespace();
    let from = api.version();
    let watch = api.watch(&format!("/api/v1/namespaces/{ns}/pods?watch=1&resourceVersion={from}&timeoutSeconds=1"));
    assert_eq!(watch.content_type, "application/json");
}

fn a_streamed_list_adds_everything_and_then_marks_its_end(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let made: Vec<Value> = ["a", "b", "c"].iter().map(|name| api.post(&path, &pod(name)).created()).collect();
    let query = format!("{LATEST}&allowWatchBookmarks=true&resourceVersion=");
    let mut watch = api.watch(&format!("{path}?{query}"));
    for object in &made {
        let seen = watch.expect_about("ADDED", object["metadata"]["name"].as_str().expect("a name"));
        assert_eq!(seen["metadata"]["uid"], object["metadata"]["uid"]);
    }
    let mark = watch.expect("BOOKMARK");
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    assert_like(&mark, &json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"annotations": annotations}}));
    assert!(version_of(&mark) >= version_of(&made[2]));
    assert_eq!(mark["metadata"].get("name"), None);
}

fn a_streamed_list_goes_on_as_a_watch(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = api.post(&path, &json!({"metadata": {"name": "a", "labels": {"in": "yes"}}})).created();
    api.post(&path, &json!({"metadata": {"name": "b"}})).created();
    let from = version_of(&made);
    let query = format!("{LATEST}&allowWatchBookmarks=true&resourceVersion={from}&labelSelector=in%3Dyes");
    let mut watch = api.watch(&format!("{path}?{query}"));
    assert_eq!(watch.expect("ADDED"), made);
    let mark = watch.expect("BOOKMARK");
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let deleted = watch.expect_about("DELETED", "a");
    assert!(version_of(&deleted) > version_of(&mark));
}

fn a_streamed_list_without_bookmarks_has_no_mark(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    let seen = api.watch(&format!("{path}?{LATEST}&timeoutSeconds=1")).rest();
    assert_eq!(seen.iter().map(|e| (e.kind.as_str(), e.name())).collect::<Vec<_>>(), [("ADDED", "a")]);
}

fn forbidden(api: &Api<'_>, query: &str, message: &str) {
    let status = api.get(&format!("/api/v1/pods?watch=1&{query}")).refused_with(422, "Invalid");
    let cause = json!({"reason": "FieldValueForbidden", "message": message, "field": "resourceVersionMatch"});
    assert_like(&status["details"], &json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}));
}

fn initial_events_without_a_match_are_refused(api: &Api<'_>) {
    let message = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    forbidden(api, "sendInitialEvents=true", message);
    forbidden(api, "sendInitialEvents=false", message);
}

fn a_match_without_initial_events_is_refused(api: &Api<'_>) {
    let message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
    forbidden(api, "resourceVersionMatch=NotOlderThan&resourceVersion=1", message);
}

fn initial_events_can_be_declined(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    let from = version_of(&made);
    let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut watch = api.watch(&format!("{path}?{query}&resourceVersion={from}"));
    api.post(&path, &json!({"metadata": {"name": "b"}})).created();
    watch.expect_about("ADDED", "b");
}
