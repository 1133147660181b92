//! Objects in other forms: tables for `kubectl get`, metadata alone for whoever must not see the rest.

use super::api::{Api, Ask, JSON, MERGE, Watch, assert_like, names, version_of};
use super::listing::{config_maps, event};
use super::selecting::pod;
use super::writing::deployment;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_table_has_the_columns_that_kubectl_shows,
    a_table_has_a_row_for_each_object_with_its_metadata,
    a_table_of_one_object_has_one_row,
    a_table_holds_as_much_of_the_object_as_was_asked_for,
    a_table_has_pages,
    a_table_of_nothing_still_has_columns,
    a_watch_as_tables_tells_of_one_row_at_a_time,
    a_deletion_on_a_watch_as_tables_has_its_row,
    a_refusal_is_a_status_for_who_wants_tables_too,
    a_pod_in_a_table_says_how_it_is,
    a_deployment_in_a_table_says_how_far_it_is,
    a_config_map_a_secret_and_a_service_in_a_table_say_what_they_hold,
    an_event_in_a_table_says_what_happened,
    metadata_of_one_object_is_nothing_but_metadata,
    a_list_of_metadata_is_nothing_but_metadata,
    a_list_of_metadata_has_pages_and_selectors,
    an_empty_list_of_metadata_has_no_items,
    a_watch_of_metadata_is_nothing_but_metadata,
    a_streamed_list_of_metadata_marks_its_end,
    metadata_of_a_list_must_be_asked_for_as_a_list,
    a_patch_may_be_answered_with_metadata,
    a_form_that_is_none_is_refused,
    a_type_that_is_none_is_refused,
    the_first_type_that_is_possible_is_taken,
];

/// As kubectl asks.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                     application/json";
/// As our product asks for Secrets, through kube.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Path, and the columns: those of `-o wide` behind a bar.
const COLUMNS: &[(&str, &str)] = &[
    ("/api/v1/pods", "Name, Ready, Status, Restarts, Age | IP, Node, Nominated Node, Readiness Gates"),
    (
        "/api/v1/nodes",
        "Name, Status, Roles, Age, Version | Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime",
    ),
    ("/api/v1/services", "Name, Type, Cluster-IP, External-IP, Port(s), Age | Selector"),
    ("/api/v1/configmaps", "Name, Data, Age | "),
    ("/api/v1/secrets", "Name, Type, Data, Age | "),
    ("/api/v1/events", "Last Seen, Type, Reason, Object, Message | Subobject, Source, First Seen, Count, Name"),
    ("/api/v1/namespaces", "Name, Status, Age | "),
    ("/api/v1/serviceaccounts", "Name, Age | "),
    ("/apis/apps/v1/deployments", "Name, Ready, Up-to-date, Available, Age | Containers, Images, Selector"),
    ("/apis/apps/v1/statefulsets", "Name, Ready, Age | Containers, Images"),
    ("/apis/apps/v1/replicasets", "Name, Desired, Current, Ready, Age | Containers, Images, Selector"),
    ("/apis/coordination.k8s.io/v1/leases", "Name, Holder, Age | "),
];

fn a_table_has_the_columns_that_kubectl_shows(api: &Api<'_>) {
    for (path, expected) in COLUMNS {
        let table = api.get_as(TABLE, &format!("{path}?limit=500")).ok();
        assert_like(&table, &json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1"}));
        let columns = table["columnDefinitions"].as_array().expect("columns");
        let named = |wide: bool| -> Vec<&str> {
            let chosen = columns.iter().filter(|column| (column["priority"] == 0) != wide);
            chosen.filter_map(|column| column["name"].as_str()).collect()
        };
        assert_eq!(format!("{} | {}", named(false).join(", "), named(true).join(", ")), *expected, "{path}");
        for column in columns {
            assert!(
                column["type"].is_string() && column["format"].is_string() && column["description"].is_string(),
                "{column}"
            );
            assert_eq!(column["format"] == "name", column["name"] == "Name", "{column}");
        }
        let rows = table["rows"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(rows.iter().all(|row| row["cells"].as_array().map(Vec::len) == Some(columns.len())), "{path}");
    }
}

fn a_table_has_a_row_for_each_object_with_its_metadata(api: &Api<'_>) {
    let ns = api.namespace();
    let made = api
        .post(&format!("/api/v1/namespaces/{ns}/secrets"), &json!({"metadata": {"name": "a"}, "data": {"k": "dg=="}}));
    let made = made.created();
    let answer = api.get_as(TABLE, &format!("/api/v1/namespaces/{ns}/secrets?limit=500"));
    assert_eq!(answer.content_type, JSON);
    let table = answer.ok();
    assert!(version_of(&table) >= version_of(&made));
    let row = &table["rows"][0];
    assert_like(&row["cells"], &json!(["a", "Opaque", 1, row["cells"][3]]));
    let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]});
    assert_eq!(row["object"], object);
}

fn a_table_of_one_object_has_one_row(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a", "b"]).remove(0);
    let table = api.get_as(TABLE, &format!("/api/v1/namespaces/{ns}/configmaps/a")).ok();
    assert_eq!(table["rows"].as_array().map(Vec::len), Some(1));
    assert_eq!(table["rows"][0]["object"]["metadata"], made["metadata"]);
    assert_eq!(table["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
}

fn a_table_holds_as_much_of_the_object_as_was_asked_for(api: &Api<'_>) {
    let ns = api.namespace();
    let made = config_maps(api, &ns, &["a"]).remove(0);
    let object = |include: &str| {
        let path = format!("/api/v1/namespaces/{ns}/configmaps/a?includeObject={include}");
        api.get_as(TABLE, &path).ok()["rows"][0]["object"].clone()
    };
    assert_eq!(object("Object"), made);
    assert_eq!(object("None"), Value::Null);
    assert_eq!(object("Metadata")["kind"], "PartialObjectMetadata");
    let message = "Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": \
                   must be 'Metadata', 'Object', 'None', or empty";
    let answer = api.get_as(TABLE, &format!("/api/v1/namespaces/{ns}/configmaps/a?includeObject=Foo"));
    answer.refused_saying(400, "BadRequest", message);
}

fn a_table_has_pages(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    for name in ["a", "b", "c"] {
        api.post(&path, &json!({"metadata": {"name": name}})).created();
    }
    let first = api.get_as(TABLE, &format!("{path}?limit=2")).ok();
    assert_eq!(first["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    let second = api.get_as(TABLE, &format!("{path}?limit=2&continue={token}")).ok();
    assert_eq!(second["rows"][0]["cells"][0], "c");
}

fn a_table_of_nothing_still_has_columns(api: &Api<'_>) {
    let ns = api.namespace();
    let table = api.get_as(TABLE, &format!("/api/v1/namespaces/{ns}/pods?limit=500")).ok();
    assert_eq!(table["rows"], json!([]));
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
}

fn a_watch_as_tables_tells_of_one_row_at_a_time(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let from = api.version();
    let mut watch = api.watch_as(TABLE, &format!("{path}?watch=true&resourceVersion={from}"));
    let made = api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    let first = watch.expect("ADDED");
    assert_like(
        &first,
        &json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": [{
            "object": {"kind": "PartialObjectMetadata", "metadata": {"uid": made["metadata"]["uid"]}},
        }]}),
    );
    assert_eq!(first["columnDefinitions"][0]["name"], "Name", "the first brings the columns");
    assert_eq!(version_of(&first), version_of(&made));
    api.patch(&format!("{path}/a"), MERGE, &json!({"data": {"k": "dg=="}})).ok();
    let second = watch.expect("MODIFIED");
    assert_eq!(second["rows"][0]["cells"][2], 1);
    assert_eq!(second["columnDefinitions"], Value::Null, "the others do not");
}

fn a_deletion_on_a_watch_as_tables_has_its_row(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let made = api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    let mut watch = api.watch_as(TABLE, &format!("{path}?watch=true&resourceVersion={}", version_of(&made)));
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let deleted = watch.expect("DELETED");
    assert_eq!(deleted["rows"][0]["cells"][0], "a");
    assert!(version_of(&deleted) > version_of(&made));
}

fn a_refusal_is_a_status_for_who_wants_tables_too(api: &Api<'_>) {
    let ns = api.namespace();
    api.get_as(TABLE, &format!("/api/v1/namespaces/{ns}/pods/nope")).refused(
        404,
        "NotFound",
        "pods \"nope\" not found",
    );
}

/// The cells of an object, without its age.
fn cells(api: &Api<'_>, path: &str) -> Vec<Value> {
    let table = api.get_as(TABLE, path).ok();
    let columns = table["columnDefinitions"].as_array().expect("columns").iter();
    let cells = table["rows"][0]["cells"].as_array().expect("cells").iter();
    let pairs = columns.zip(cells);
    for (column, cell) in pairs.clone().filter(|(column, _)| column["name"] == "Age") {
        assert!(cell.as_str().is_some_and(|age| age.ends_with('s') || age.ends_with('m')), "{column} {cell}");
    }
    pairs.filter(|(column, _)| column["name"] != "Age").map(|(_, cell)| cell.clone()).collect()
}

fn a_pod_in_a_table_says_how_it_is(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    api.post(&path, &pod("p")).created();
    let path = format!("{path}/p");
    let none = "<none>";
    assert_eq!(json!(cells(api, &path)), json!(["p", "0/1", "Pending", "0", none, none, none, none]));
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let container =
        json!({"name": "main", "ready": false, "restartCount": 3, "state": state, "image": "i", "imageID": ""});
    let status = json!({"status": {"phase": "Running", "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}], "containerStatuses": [container]}});
    api.patch(&format!("{path}/status"), MERGE, &status).ok();
    assert_eq!(json!(cells(api, &path)), json!(["p", "0/1", "CrashLoopBackOff", "3", "10.1.2.3", none, none, none]));
    let running = json!({"name": "main", "ready": true, "restartCount": 0, "state": {"running": {}}, "image": "i", "imageID": ""});
    api.patch(&format!("{path}/status"), MERGE, &json!({"status": {"containerStatuses": [running]}})).ok();
    assert_eq!(json!(cells(api, &path)[..4]), json!(["p", "1/1", "Running", "0"]));
    api.patch(&path, MERGE, &json!({"metadata": {"finalizers": ["example.com/hold"]}})).ok();
    api.delete(&path, &json!({"gracePeriodSeconds": 0})).ok();
    assert_eq!(cells(api, &path)[2], "Terminating");
    api.patch(&path, MERGE, &json!({"metadata": {"finalizers": null}})).ok();
}

fn a_deployment_in_a_table_says_how_far_it_is(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    body["spec"]["paused"] = true.into();
    api.post(&path, &body).created();
    assert_eq!(json!(cells(api, &format!("{path}/d"))), json!(["d", "0/0", 0, 0, "main", "image:1", "app=d"]));
}

fn a_config_map_a_secret_and_a_service_in_a_table_say_what_they_hold(api: &Api<'_>) {
    let ns = api.namespace();
    let base = format!("/api/v1/namespaces/{ns}");
    let body = json!({"metadata": {"name": "a"}, "data": {"a": "1", "b": "2"}, "binaryData": {"c": "dg=="}});
    api.post(&format!("{base}/configmaps"), &body).created();
    assert_eq!(json!(cells(api, &format!("{base}/configmaps/a"))), json!(["a", 3]));
    let body = json!({"metadata": {"name": "a"}, "type": "example.com/own", "stringData": {"a": "1", "b": "2"}});
    api.post(&format!("{base}/secrets"), &body).created();
    assert_eq!(json!(cells(api, &format!("{base}/secrets/a"))), json!(["a", "example.com/own", 2]));
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]);
    let body =
        json!({"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "selector": {"app": "x"}, "ports": ports}});
    api.post(&format!("{base}/services"), &body).created();
    let expected = json!(["a", "ClusterIP", "None", "<none>", "80/TCP,53/UDP", "app=x"]);
    assert_eq!(json!(cells(api, &format!("{base}/services/a"))), expected);
    assert_eq!(json!(cells(api, &format!("/api/v1/namespaces/{ns}"))), json!([ns, "Active"]));
}

fn an_event_in_a_table_says_what_happened(api: &Api<'_>) {
    let ns = api.namespace();
    event(api, &ns, "e");
    let found = cells(api, &format!("/api/v1/namespaces/{ns}/events/e"));
    assert_eq!(json!(found[1..4]), json!(["Normal", "Tried", "pod/nobody"]));
    assert_eq!(found[6], "for the suite");
    assert_eq!(found[9], "e");
}

fn bare(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn secret(api: &Api<'_>, namespace: &str, name: &str) -> Value {
    let body = json!({"metadata": {"name": name, "labels": {"name": name}}, "data": {"k": "dg=="}});
    api.post(&format!("/api/v1/namespaces/{namespace}/secrets"), &body).created()
}

fn metadata_of_one_object_is_nothing_but_metadata(api: &Api<'_>) {
    let ns = api.namespace();
    let made = secret(api, &ns, "a");
    let answer = api.get_as(METADATA, &format!("/api/v1/namespaces/{ns}/secrets/a"));
    assert_eq!(answer.content_type, JSON);
    assert_eq!(answer.ok(), bare(&made));
}

fn a_list_of_metadata_is_nothing_but_metadata(api: &Api<'_>) {
    let ns = api.namespace();
    let made = [secret(api, &ns, "a"), secret(api, &ns, "b")];
    let list = api.get_as(METADATA_LIST, &format!("/api/v1/namespaces/{ns}/secrets")).ok();
    assert_like(&list, &json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}));
    assert!(version_of(&list) >= version_of(&made[1]));
    assert_eq!(list["items"], json!([bare(&made[0]), bare(&made[1])]), "items do carry their type here");
}

fn a_list_of_metadata_has_pages_and_selectors(api: &Api<'_>) {
    let ns = api.namespace();
    for name in ["a", "b", "c"] {
        secret(api, &ns, name);
    }
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let first = api.get_as(METADATA_LIST, &format!("{path}?limit=2")).ok();
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(1)));
    let token = first["metadata"]["continue"].as_str().expect("there is more");
    assert_eq!(names(&api.get_as(METADATA_LIST, &format!("{path}?limit=2&continue={token}")).ok()), ["c"]);
    assert_eq!(names(&api.get_as(METADATA_LIST, &format!("{path}?labelSelector=name%3Db")).ok()), ["b"]);
}

fn an_empty_list_of_metadata_has_no_items(api: &Api<'_>) {
    let ns = api.namespace();
    let list = api.get_as(METADATA_LIST, &format!("/api/v1/namespaces/{ns}/secrets")).ok();
    assert_eq!(list["items"].as_array().map_or(0, Vec::len), 0, "null or empty, clients take both: {list}");
}

fn a_watch_of_metadata_is_nothing_but_metadata(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let from = api.version();
    let query = format!("watch=true&timeoutSeconds=290&allowWatchBookmarks=true&resourceVersion={from}");
    let mut watch = api.watch_as(METADATA, &format!("{path}?{query}"));
    let made = secret(api, &ns, "a");
    assert_eq!(watch.expect("ADDED"), bare(&made));
    let patched = api.patch(&format!("{path}/a"), MERGE, &json!({"data": {"l": "dg=="}})).ok();
    assert_eq!(watch.expect("MODIFIED"), bare(&patched));
    api.delete(&format!("{path}/a"), &Value::Null).ok();
    let deleted = watch.expect("DELETED");
    assert_eq!((deleted.get("data"), &deleted["kind"]), (None, &json!("PartialObjectMetadata")));
    assert!(version_of(&deleted) > version_of(&patched));
}

fn a_streamed_list_of_metadata_marks_its_end(api: &Api<'_>) {
    let ns = api.namespace();
    let made = secret(api, &ns, "a");
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch: Watch<'_> = api.watch_as(METADATA, &format!("/api/v1/namespaces/{ns}/secrets?{query}"));
    assert_eq!(watch.expect("ADDED"), bare(&made));
    let mark = watch.expect("BOOKMARK");
    let annotations = json!({"k8s.io/initial-events-end": "true"});
    assert_like(&mark, &json!({"kind": "PartialObjectMetadata", "metadata": {"annotations": annotations}}));
    assert!(version_of(&mark) >= version_of(&made));
}

fn metadata_of_a_list_must_be_asked_for_as_a_list(api: &Api<'_>) {
    let status = api.get_as(METADATA, "/api/v1/secrets").refused_with(406, "NotAcceptable");
    let message = status["message"].as_str().expect("a message");
    assert!(
        message.starts_with("you requested PartialObjectMetadata, but the requested object is a list"),
        "{message}"
    );
}

fn a_patch_may_be_answered_with_metadata(api: &Api<'_>) {
    let ns = api.namespace();
    secret(api, &ns, "a");
    let path = format!("/api/v1/namespaces/{ns}/secrets/a");
    let body = json!({"metadata": {"labels": {"l": "1"}}}).to_string();
    let answer =
        api.ask(Ask { method: "PATCH", path: &path, accept: METADATA, content: MERGE, body, ..Ask::default() });
    let answer = answer.ok();
    assert_like(&answer, &json!({"kind": "PartialObjectMetadata", "metadata": {"labels": {"l": "1"}}}));
    assert_eq!(answer.get("data"), None);
}

fn a_form_that_is_none_is_refused(api: &Api<'_>) {
    let begins = "only the following media types are accepted: application/json";
    let answer = api.get_as("application/json;as=Foo;v=v1;g=meta.k8s.io", "/api/v1/secrets");
    answer.refused_saying(406, "NotAcceptable", begins);
}

fn a_type_that_is_none_is_refused(api: &Api<'_>) {
    for path in ["/api/v1/secrets", "/api/v1/namespaces/default"] {
        api.get_as("text/html", path).refused_with(406, "NotAcceptable");
    }
}

fn the_first_type_that_is_possible_is_taken(api: &Api<'_>) {
    for accept in ["text/html, application/json", "*/*", "", "application/json;charset=utf-8"] {
        let answer = api.get_as(accept, "/api/v1/namespaces/default");
        assert_eq!(
            (answer.status, answer.content_type.as_str(), &answer.json["kind"]),
            (200, JSON, &json!("Namespace")),
            "{accept}"
        );
    }
}
