//! Lists: what an item looks like, pages, and which resourceVersion may be asked for.

use super::api::{Api, assert_like, names, version_of};
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_list_of_nothing_has_no_items_and_a_version,
    a_list_is_of_one_namespace_or_of_all_in_the_order_of_their_names,
    items_carry_neither_kind_nor_api_version,
    pages_follow_each_other_by_continue_and_count_what_remains,
    with_a_selector_a_page_does_not_count_what_remains,
    pages_show_the_state_of_the_first_page,
    a_limit_of_the_very_size_leaves_no_continue,
    a_continue_token_of_garbage_is_refused,
    a_continue_token_goes_with_no_resource_version,
    a_continue_token_from_before_the_compaction_expires_and_brings_a_fresh_one,
    a_list_at_version_zero_or_at_least_at_one_is_as_new,
    a_list_at_an_exact_version_shows_that_past,
    a_list_at_a_version_and_with_a_limit_is_exact,
    a_list_at_a_version_to_come_is_refused_as_too_large,
    a_list_at_a_compacted_version_has_expired,
    a_resource_version_of_garbage_is_refused,
    a_match_without_a_version_or_of_garbage_is_refused,
    a_limit_of_garbage_is_refused,
];

/// Makes config maps of these names.
pub fn config_maps(api: &Api<'_>, namespace: &str, names: &[&str]) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let make = |name: &&str| api.post(&path, &json!({"metadata": {"name": name}, "data": {"key": "value"}})).created();
    names.iter().map(make).collect()
}

/// Makes an Event, the kind that no watch cache serves.
pub fn event(api: &Api<'_>, namespace: &str, name: &str) -> Value {
    let body = json!({
        "metadata": {"name": name}, "reason": "Tried", "message": "for the suite", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": "nobody", "uid": "u-1"},
    });
    api.post(&format!("/api/v1/namespaces/{namespace}/events"), &body).created()
}

fn a_list_of_nothing_has_no_items_and_a_version(api: &Api<'_>) {
    let ns = api.namespace();
    let list = api.get(&format!("/api/v1/namespaces/{ns}/secrets")).ok();
    assert_like(&list, &json!({"kind": "SecretList", "apiVersion": "v1", "items": []}));
    assert!(version_of(&list) > 0);
    let list = api.get(&format!("/apis/apps/v1/namespaces/{ns}/deployments")).ok();
    assert_like(&list, &json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "items": []}));
    let nowhere = api.get("/api/v1/namespaces/nowhere/pods").ok();
    assert_like(&nowhere, &json!({"kind": "PodList", "items": []}));
}

fn a_list_is_of_one_namespace_or_of_all_in_the_order_of_their_names(api: &Api<'_>) {
    let (first, second) = (api.namespace(), api.namespace());
    config_maps(api, &second, &["b"]);
    config_maps(api, &first, &["c", "a-b", "a"]);
    let list = api.get(&format!("/api/v1/namespaces/{first}/configmaps")).ok();
    let own: Vec<&str> = names(&list).into_iter().filter(|n| *n != "kube-root-ca.crt").collect();
    assert_eq!(own, ["a", "a-b", "c"]);
    let all = api.get("/api/v1/configmaps").ok();
    let items = all["items"].as_array().expect("items");
    let place = |ns: &str, name: &str| {
        let is = |item: &&Value| item["metadata"]["namespace"] == ns && item["metadata"]["name"] == name;
        items.iter().position(|item| is(&item)).unwrap_or_else(|| panic!("no {ns}/{name}"))
    };
    let places = [place(&first, "a"), place(&first, "a-b"), place(&first, "c")];
    assert!(places.is_sorted(), "{places:?}");
    place(&second, "b");
}

fn items_carry_neither_kind_nor_api_version(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let list = api.get(&format!("/api/v1/namespaces/{ns}/configmaps?fieldSelector=metadata.name%3Da")).ok();
    assert_like(&list, &json!({"kind": "ConfigMapList", "apiVersion": "v1"}));
    let item = &list["items"][0];
    assert_eq!((item.get("kind"), item.get("apiVersion")), (None, None));
    assert_eq!(item["metadata"], made["metadata"]);
    assert!(version_of(&list) >= version_of(item));
    let got = api.get(&format!("/api/v1/namespaces/{ns}/configmaps/a")).ok();
    assert_eq!(got, made);
    assert_like(&got, &json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"key": "value"}}));
}

fn pages_follow_each_other_by_continue_and_count_what_remains(api: &Api<'_>) {
    let ns = api.namespace();
    for name in ["a", "b", "c", "d", "e"] {
        event(api, &ns, name);
    }
    for (kind, base) in [("EventList", format!("/api/v1/namespaces/{ns}/events"))] {
        let first = api.get(&format!("{base}?limit=2")).ok();
        assert_like(&first, &json!({"kind": kind, "metadata": {"remainingItemCount": 3}}));
        assert_eq!(names(&first), ["a", "b"]);
        let token = first["metadata"]["continue"].as_str().expect("there is more");
        let second = api.get(&format!("{base}?limit=2&continue={token}")).ok();
        assert_eq!(names(&second), ["c", "d"]);
        assert_eq!(second["metadata"]["remainingItemCount"], 1);
        assert_eq!(version_of(&second), version_of(&first), "pages are of one version");
        let token = second["metadata"]["continue"].as_str().expect("there is more");
        let third = api.get(&format!("{base}?limit=2&continue={token}")).ok();
        assert_eq!(names(&third), ["e"]);
        assert_eq!(third["metadata"].get("continue"), None);
        assert_eq!(third["metadata"].get("remainingItemCount"), None);
    }
}

fn with_a_selector_a_page_does_not_count_what_remains(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    for name in ["a", "b", "c"] {
        api.post(&path, &json!({"metadata": {"name": name, "labels": {"in": "yes"}}})).created();
    }
    config_maps(api, &ns, &["aa"]);
    let first = api.get(&format!("{path}?limit=2&labelSelector=in%3Dyes")).ok();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"].get("remainingItemCount"), None);
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let second = api.get(&format!("{path}?limit=2&labelSelector=in%3Dyes&continue={token}")).ok();
    assert_eq!(names(&second), ["c"]);
}

fn pages_show_the_state_of_the_first_page(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for name in ["a", "b", "c", "d"] {
        api.post(&path, &json!({"metadata": {"name": name, "labels": {"age": "old"}}})).created();
    }
    let first = api.get(&format!("{path}?limit=2")).ok();
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    api.post(&path, &json!({"metadata": {"name": "bb"}})).created();
    api.delete(&format!("{path}/d"), &Value::Null).ok();
    api.patch(&format!("{path}/c"), super::api::MERGE, &json!({"metadata": {"labels": {"age": "new"}}})).ok();
    let second = api.get(&format!("{path}?limit=2&continue={token}")).ok();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["items"][0]["metadata"]["labels"]["age"], "old");
    assert_eq!(version_of(&second), version_of(&first));
}

fn a_limit_of_the_very_size_leaves_no_continue(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for name in ["a", "b"] {
        api.post(&path, &json!({"metadata": {"name": name}})).created();
    }
    for limit in ["2", "3", "0"] {
        let list = api.get(&format!("{path}?limit={limit}")).ok();
        assert_eq!(names(&list), ["a", "b"]);
        assert_eq!(list["metadata"].get("continue"), None);
    }
}

fn a_continue_token_of_garbage_is_refused(api: &Api<'_>) {
    let begins = "invalid continue token: continue key is not valid: ";
    api.get("/api/v1/secrets?limit=1&continue=abc").refused_saying(400, "BadRequest", begins);
}

fn a_continue_token_goes_with_no_resource_version(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/events");
    event(api, &ns, "a");
    event(api, &ns, "b");
    let first = api.get(&format!("{path}?limit=1")).ok();
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let answer = api.get(&format!("{path}?limit=1&continue={token}&resourceVersion=5"));
    answer.refused_saying(400, "BadRequest", "specifying resource version is not allowed when using continue");
    let version = version_of(&first);
    let answer = api.get(&format!("{path}?limit=1&continue={token}&resourceVersion=0"));
    assert_eq!(names(&answer.ok()), ["b"], "at {version}");
    let answer =
        api.get(&format!("{path}?limit=1&continue={token}&resourceVersionMatch=Exact&resourceVersion={version}"));
    assert_like(
        &answer.refused_with(422, "Invalid")["details"]["causes"],
        &json!([{
            "reason": "FieldValueForbidden", "field": "resourceVersionMatch",
            "message": "Forbidden: resourceVersionMatch is forbidden when continue is provided",
        }]),
    );
}

fn a_continue_token_from_before_the_compaction_expires_and_brings_a_fresh_one(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/events");
    event(api, &ns, "a");
    event(api, &ns, "b");
    let first = api.get(&format!("{path}?limit=1")).ok();
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    event(api, &ns, "c");
    api.compact();
    let status = api.get(&format!("{path}?limit=1&continue={token}")).refused_with(410, "Expired");
    let message = status["message"].as_str().expect("a message");
    assert!(
        message.starts_with("The provided continue parameter is too old to display a consistent list result."),
        "{message}"
    );
    let fresh = status["metadata"]["continue"].as_str().expect("a fresh token");
    let rest = api.get(&format!("{path}?continue={fresh}")).ok();
    assert_eq!(names(&rest), ["b", "c"], "it goes on behind the same item, with what is there now");
    assert!(version_of(&rest) > version_of(&first));
}

fn a_list_at_version_zero_or_at_least_at_one_is_as_new(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let version = version_of(&made);
    let path = format!("/api/v1/namespaces/{ns}/configmaps?fieldSelector=metadata.name%3Da");
    let any = api.get(&format!("{path}&resourceVersion=0")).ok();
    assert!(version_of(&any) > 0);
    let any = api.get(&format!("{path}&resourceVersion=0&resourceVersionMatch=NotOlderThan")).ok();
    assert!(version_of(&any) > 0);
    for query in ["", "&resourceVersionMatch=NotOlderThan"] {
        let list = api.get(&format!("{path}&resourceVersion={version}{query}")).ok();
        assert_eq!(names(&list), ["a"]);
        assert!(version_of(&list) >= version);
    }
    let got = api.get(&format!("/api/v1/namespaces/{ns}/configmaps/a?resourceVersion={version}")).ok();
    assert_eq!(got, made);
    api.get(&format!("/api/v1/namespaces/{ns}/configmaps/a?resourceVersion=0")).ok();
}

fn a_list_at_an_exact_version_shows_that_past(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let make = |name: &str| version_of(&api.post(&path, &json!({"metadata": {"name": name}})).created());
    let first = make("a");
    let second = make("b");
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let at = |version: u64| api.get(&format!("{path}?resourceVersion={version}&resourceVersionMatch=Exact")).ok();
    let (then, later) = (at(first), at(second));
    assert_eq!((names(&then), version_of(&then)), (vec!["a"], first));
    assert_eq!((names(&later), version_of(&later)), (vec!["a", "b"], second));
    assert_eq!(names(&api.get(&path).ok()), ["b"]);
}

fn a_list_at_a_version_and_with_a_limit_is_exact(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/events");
    let made = version_of(&event(api, &ns, "a"));
    event(api, &ns, "b");
    let list = api.get(&format!("{path}?limit=5&resourceVersion={made}")).ok();
    assert_eq!((names(&list), version_of(&list)), (vec!["a"], made));
    let list = api.get(&format!("{path}?limit=5&resourceVersion={made}&resourceVersionMatch=NotOlderThan")).ok();
    assert_eq!(names(&list), ["a", "b"]);
    let list = api.get(&format!("{path}?limit=5&resourceVersion=0")).ok();
    assert_eq!(names(&list), ["a", "b"]);
}

fn a_list_at_a_version_to_come_is_refused_as_too_large(api: &Api<'_>) {
    for path in [
        "/api/v1/pods?resourceVersion=9999999&resourceVersionMatch=NotOlderThan",
        "/api/v1/events?resourceVersion=9999999&resourceVersionMatch=Exact",
    ] {
        let begins = "Timeout: Too large resource version: 9999999, current: ";
        let status = api.get(path).refused_saying(504, "Timeout", begins);
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        assert_like(&status["details"]["causes"], &json!([cause]));
    }
}

fn a_list_at_a_compacted_version_has_expired(api: &Api<'_>) {
    let ns = api.namespace();
    let old = version_of(&event(api, &ns, "a"));
    event(api, &ns, "b");
    api.compact();
    let answer = api.get(&format!("/api/v1/namespaces/{ns}/events?resourceVersion={old}&resourceVersionMatch=Exact"));
    answer.refused_saying(410, "Expired", "The resourceVersion for the provided list is too old.");
}

fn a_resource_version_of_garbage_is_refused(api: &Api<'_>) {
    for query in ["resourceVersion=abc", "resourceVersion=abc&resourceVersionMatch=NotOlderThan", "resourceVersion=-1"]
    {
        api.get(&format!("/api/v1/pods?{query}")).refused_with(400, "BadRequest");
    }
}

fn a_match_without_a_version_or_of_garbage_is_refused(api: &Api<'_>) {
    let refused = |query: &str, reason: &str, message: &str| {
        let whole = format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: {message}");
        let status = api.get(&format!("/api/v1/pods?{query}")).refused_saying(422, "Invalid", &whole);
        let cause = json!({"reason": reason, "field": "resourceVersionMatch"});
        assert_like(&status["details"], &json!({"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}));
    };
    refused(
        "resourceVersionMatch=Exact",
        "FieldValueForbidden",
        "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
    refused(
        "resourceVersionMatch=Exact&resourceVersion=0",
        "FieldValueForbidden",
        "Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
    );
    refused(
        "resourceVersionMatch=Foo&resourceVersion=5",
        "FieldValueNotSupported",
        "Unsupported value: \"Foo\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
    );
}

fn a_limit_of_garbage_is_refused(api: &Api<'_>) {
    let message = "strconv.ParseInt: parsing \"abc\": invalid syntax";
    api.get("/api/v1/pods?limit=abc").refused_saying(400, "BadRequest", message);
}
