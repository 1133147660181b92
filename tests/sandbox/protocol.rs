//! What goes over the wire: discovery, lists, watches, writes, refusals.

use crate::kit::{Bed, MAPS, bed, config_map};
use agent_events::domain::kind::Kind;
use agent_events::domain::target::Target;
use agent_events::kubernetes::ApiServer as _;
use agent_events::kubernetes::client::{Access, Cluster, Mode};
use agent_events::kubernetes::polite::Uncounted;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

crate::trials![
    discovery_says_the_same_in_one_document_and_in_many,
    a_list_comes_in_pages_of_one_snapshot,
    an_expired_continue_token_brings_a_fresh_one,
    a_version_of_the_future_is_refused_and_one_of_the_past_is_shown,
    a_watch_begins_where_it_is_told_to,
    a_watch_list_ends_its_beginning_with_a_bookmark,
    a_watch_sees_objects_come_into_and_leave_its_selection,
    a_watch_keeps_to_its_time_and_says_where_it_is,
    tables_and_metadata_are_for_lists_and_watches_alike,
    every_patch_does_what_its_type_says,
    deletions_keep_to_their_preconditions,
    the_scale_of_a_deployment_is_read_and_written,
    events_are_one_thing_in_two_groups,
    a_custom_resource_is_served_in_its_versions,
    every_refusal_is_a_status_at_once,
    only_this_machine_is_answered,
    our_own_client_is_at_home_here,
];

async fn three(bed: &Bed) -> u64 {
    for name in ["a", "b", "c"] {
        bed.client.post(MAPS, &config_map(name, "1")).await.ok();
    }
    bed.sandbox.state().revision()
}

async fn discovery_says_the_same_in_one_document_and_in_many() {
    let bed = bed().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for path in ["/api", "/apis"] {
        let answer = bed.client.get_as(path, accept).await;
        let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        assert_eq!(answer.headers["content-type"], content_type);
        for group in answer.ok()["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for resource in group["versions"][0]["resources"].as_array().unwrap() {
                one.push(format!("{}/{}", name, resource["resource"].as_str().unwrap()));
            }
        }
    }
    let groups = bed.client.get("/apis").await.ok();
    let mut versions = vec![("".to_owned(), "/api/v1".to_owned())];
    for group in groups["groups"].as_array().unwrap() {
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
        versions.push((group["name"].as_str().unwrap().to_owned(), format!("/apis/{version}")));
    }
    for (group, path) in versions {
        let resources = bed.client.get(&path).await.ok();
        let names = resources["resources"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap().to_owned());
        many.extend(names.filter(|n| !n.contains('/')).map(|n| format!("{group}/{n}")));
    }
    one.sort();
    many.sort();
    assert_eq!(one, many);
    assert!(one.contains(&"apps/deployments".to_owned()) && one.contains(&"/pods".to_owned()));
    assert!(bed.client.get("/version").await.ok()["gitVersion"].as_str().unwrap().ends_with("-sandbox"));
    assert_eq!(bed.client.get("/readyz").await.text, "ok");
}

async fn a_list_comes_in_pages_of_one_snapshot() {
    let bed = bed().await;
    let revision = three(&bed).await.to_string();
    let first = bed.client.get(&format!("{MAPS}?limit=2")).await;
    assert_eq!(first.names(), ["a", "b"]);
    let metadata = &first.ok()["metadata"];
    assert_eq!((&metadata["remainingItemCount"], &metadata["resourceVersion"]), (&json!(1), &json!(revision)));
    assert_eq!(first.ok()["items"][0].get("kind"), None, "items of a built-in list carry no kind");
    let token = metadata["continue"].as_str().unwrap();
    bed.client.delete(&format!("{MAPS}/c")).await.ok();
    bed.client.post(MAPS, &config_map("d", "1")).await.ok();
    let second = bed.client.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!(second.names(), ["c"], "as it was when the first page was read");
    assert_eq!(second.ok()["metadata"], json!({"resourceVersion": revision}));
    let selected = bed.client.get(&format!("{MAPS}?limit=1&labelSelector=value%3D1")).await.ok();
    assert_eq!(selected["metadata"].get("remainingItemCount"), None, "nobody counts what a selector would take");
    assert_eq!(bed.client.get(&format!("{MAPS}?fieldSelector=metadata.name%3Db")).await.names(), ["b"]);
}

async fn an_expired_continue_token_brings_a_fresh_one() {
    let bed = bed().await;
    three(&bed).await;
    let first = bed.client.get(&format!("{MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    bed.client.delete(&format!("{MAPS}/a")).await.ok();
    bed.client.fault(&json!({"fault": "compact"})).await;
    let status = bed.client.get(&format!("{MAPS}?limit=2&continue={token}")).await.refused(410, "Expired");
    let fresh = status["metadata"]["continue"].as_str().expect("a fresh token");
    assert_eq!(bed.client.get(&format!("{MAPS}?continue={fresh}")).await.names(), ["c"]);
    bed.client.get(&format!("{MAPS}?limit=2&continue=nonsense")).await.refused(400, "BadRequest");
}

async fn a_version_of_the_future_is_refused_and_one_of_the_past_is_shown() {
    let bed = bed().await;
    let then = three(&bed).await;
    bed.client.delete(&format!("{MAPS}/a")).await.ok();
    let past = bed.client.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
    assert_eq!(past.names(), ["a", "b", "c"]);
    let newer = bed.client.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(newer.names(), ["b", "c"]);
    let future = bed.client.get(&format!("{MAPS}?resourceVersion=999999")).await;
    assert_eq!(future.headers["retry-after"], "1");
    let status = future.refused(504, "Timeout");
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    bed.client.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.refused(422, "Invalid");
    bed.client.get(&format!("{MAPS}?resourceVersion=x")).await.refused(400, "BadRequest");
}

async fn a_watch_begins_where_it_is_told_to() {
    let bed = bed().await;
    let before = bed.sandbox.state().revision();
    let after = three(&bed).await;
    let mut replayed = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={before}")).await;
    let mut existing = bed.client.watch(&format!("{MAPS}?watch=1&resourceVersion=0")).await;
    let mut fresh = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={after}")).await;
    for name in ["a", "b", "c"] {
        assert_eq!(replayed.event().await, format!("ADDED {name}"));
        assert_eq!(existing.event().await, format!("ADDED {name}"));
    }
    bed.client.put(&format!("{MAPS}/a"), &config_map("a", "2")).await.ok();
    bed.client.delete(&format!("{MAPS}/a")).await.ok();
    for watch in [&mut replayed, &mut existing, &mut fresh] {
        assert_eq!((watch.event().await, watch.event().await), ("MODIFIED a".to_owned(), "DELETED a".to_owned()));
    }
}

async fn a_watch_list_ends_its_beginning_with_a_bookmark() {
    let bed = bed().await;
    let revision = three(&bed).await;
    let options = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true&{options}")).await;
    for name in ["a", "b", "c"] {
        assert_eq!(watch.event().await, format!("ADDED {name}"));
    }
    let bookmark = watch.next().await.unwrap().unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["resourceVersion"], revision.to_string());
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    bed.client.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.refused(422, "Invalid");
}

async fn a_watch_sees_objects_come_into_and_leave_its_selection() {
    let bed = bed().await;
    let before = bed.sandbox.state().revision();
    let mut watch =
        bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={before}&labelSelector=value%3Dyes")).await;
    for value in ["no", "yes", "yes", "no", "yes"] {
        let map = config_map("a", value);
        if bed.client.put(&format!("{MAPS}/a"), &map).await.code == 404 {
            bed.client.post(MAPS, &map).await.ok();
        }
    }
    bed.client.delete(&format!("{MAPS}/a")).await.ok();
    assert_eq!(watch.event().await, "ADDED a");
    let left = watch.next().await.unwrap().unwrap();
    assert_eq!((&left["type"], &left["object"]["data"]["key"]), (&json!("DELETED"), &json!("yes")), "as it was inside");
    let back = watch.next().await.unwrap().unwrap();
    assert_eq!(back["type"], "ADDED");
    let number = |line: &Value| line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(number(&left) + 1, number(&back), "at the revision at which it left");
    assert_eq!(watch.event().await, "DELETED a");
}

async fn a_watch_keeps_to_its_time_and_says_where_it_is() {
    let bed = bed().await;
    let mut watch =
        bed.client.watch("/api/v1/pods?watch=true&resourceVersion=1&timeoutSeconds=3&allowWatchBookmarks=true").await;
    let revision = three(&bed).await;
    let bookmark = watch.next().await.unwrap().unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("Pod")));
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], revision.to_string(), "also of other kinds' changes");
    assert_eq!(watch.next().await, Ok(None), "an orderly end");
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";

async fn tables_and_metadata_are_for_lists_and_watches_alike() {
    let bed = bed().await;
    let before = bed.sandbox.state().revision();
    three(&bed).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    bed.client.post(secrets, &json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}})).await.ok();
    let table = bed.client.get_as(MAPS, TABLE).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!((&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]), (&json!("a"), &json!(1)));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let list = PARTIAL.replace("Metadata;", "MetadataList;");
    let partial = bed.client.get_as(secrets, &list).await;
    assert_eq!(partial.ok()["kind"], "PartialObjectMetadataList");
    assert!(!partial.text.contains("aHVudGVyMg"), "no value of a Secret: {}", partial.text);
    let path = format!("?watch=true&resourceVersion={before}");
    let mut watch = bed.client.watch_as(&format!("{secrets}{path}"), PARTIAL).await;
    let line = watch.next().await.unwrap().unwrap();
    assert_eq!((&line["object"]["kind"], &line["object"]["data"]), (&json!("PartialObjectMetadata"), &Value::Null));
    let mut watch = bed.client.watch_as(&format!("{MAPS}{path}"), TABLE).await;
    let (first, second) = (watch.next().await.unwrap().unwrap(), watch.next().await.unwrap().unwrap());
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    assert!(first["object"]["columnDefinitions"].is_array() && second["object"]["columnDefinitions"].is_null());
    bed.client.get_as(MAPS, "application/vnd.kubernetes.protobuf").await.refused(406, "NotAcceptable");
}

async fn every_patch_does_what_its_type_says() {
    let bed = bed().await;
    three(&bed).await;
    let path = format!("{MAPS}/a");
    let merged =
        bed.client.patch(&path, "application/merge-patch+json", &json!({"data": {"key": null, "b": "2"}})).await.ok();
    assert_eq!(merged["data"], json!({"b": "2"}));
    let same = bed.client.patch(&path, "application/merge-patch+json", &json!({"data": {"b": "2"}})).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], merged["metadata"]["resourceVersion"], "nothing changed");
    let operations =
        json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
    let patched = bed.client.patch(&path, "application/json-patch+json", &operations).await.ok();
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
    let failed = json!([{"op": "test", "path": "/data/b", "value": "9"}]);
    bed.client.patch(&path, "application/json-patch+json", &failed).await.refused(422, "Invalid");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"b": "9"}});
    bed.client.patch(&path, "application/merge-patch+json", &stale).await.refused(409, "Conflict");
    let template = json!({"metadata": {"labels": {"app": "w"}},
                          "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}});
    let web =
        json!({"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template}});
    bed.client.post("/apis/apps/v1/namespaces/default/deployments", &web).await.ok();
    let path = "/apis/apps/v1/namespaces/default/deployments/w";
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}});
    let web = bed.client.patch(path, "application/strategic-merge-patch+json", &image).await.ok();
    let images: Vec<_> =
        web["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter().map(|c| &c["image"]).collect();
    assert_eq!(images, ["a:1", "b:2"]);
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"x": "1"}});
    let apply = "application/apply-patch+yaml";
    bed.client.patch(&format!("{MAPS}/new"), apply, &applied).await.refused(422, "Invalid");
    let made = bed.client.patch(&format!("{MAPS}/new?fieldManager=me"), apply, &applied).await;
    assert_eq!(made.code, 201);
    let manager = &made.ok()["metadata"]["managedFields"][0];
    assert_eq!((&manager["manager"], &manager["operation"]), (&json!("me"), &json!("Apply")));
    assert_eq!(bed.client.patch(&format!("{MAPS}/new?fieldManager=me"), apply, &applied).await.code, 200);
    bed.client.patch(&format!("{MAPS}/new"), "text/plain", &applied).await.refused(415, "UnsupportedMediaType");
}

async fn deletions_keep_to_their_preconditions() {
    let bed = bed().await;
    three(&bed).await;
    let json = "application/json";
    let wrong = json!({"preconditions": {"uid": "nobody"}});
    bed.client.with_body(Method::DELETE, &format!("{MAPS}/a"), json, &wrong).await.refused(409, "Conflict");
    let dry = json!({"dryRun": ["All"]});
    bed.client.with_body(Method::DELETE, &format!("{MAPS}/a"), json, &dry).await.ok();
    let gone = bed.client.delete(&format!("{MAPS}/a")).await.ok();
    assert_eq!((&gone["status"], &gone["details"]["name"]), (&json!("Success"), &json!("a")));
    bed.client.delete(&format!("{MAPS}/a")).await.refused(404, "NotFound");
    let rest = bed.client.delete(&format!("{MAPS}?labelSelector=value%3D1")).await;
    assert_eq!(rest.names(), ["b", "c"]);
    assert!(bed.client.get(MAPS).await.names().is_empty());
}

async fn the_scale_of_a_deployment_is_read_and_written() {
    let bed = bed().await;
    let template =
        json!({"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    let web =
        json!({"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"app": "w"}}, "template": template}});
    bed.client.post("/apis/apps/v1/namespaces/default/deployments", &web).await.ok();
    let path = "/apis/apps/v1/namespaces/default/deployments/w/scale";
    let mut scale = bed.client.get(path).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!(1), &json!("app=w"))
    );
    let patched = bed.client.patch(path, "application/merge-patch+json", &json!({"spec": {"replicas": 3}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 3);
    bed.client.put(path, &scale).await.refused(409, "Conflict");
    scale["metadata"]["resourceVersion"] = patched["metadata"]["resourceVersion"].clone();
    scale["spec"]["replicas"] = json!(0);
    bed.client.put(path, &scale).await.ok();
    let web = bed.client.get("/apis/apps/v1/namespaces/default/deployments/w").await.ok();
    assert_eq!((&web["spec"]["replicas"], &web["metadata"]["generation"]), (&json!(0), &json!(3)));
}

async fn events_are_one_thing_in_two_groups() {
    let bed = bed().await;
    let event = json!({"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
                       "reason": "Started", "type": "Normal", "note": "it runs", "action": "Start",
                       "eventTime": "2026-11-23T10:00:00.000000Z", "reportingController": "kubelet", "reportingInstance": "n"});
    let made = bed.client.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).await.ok();
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("it runs")));
    let core = bed.client.get("/api/v1/namespaces/default/events/e").await.ok();
    assert_eq!((&core["message"], &core["involvedObject"]["name"]), (&json!("it runs"), &json!("web")));
    assert_eq!(bed.client.get("/api/v1/events?fieldSelector=involvedObject.name%3Dweb").await.names(), ["e"]);
    let list = bed.client.get("/apis/events.k8s.io/v1/events").await.ok();
    assert_eq!(list["items"][0]["regarding"]["name"], "web");
}

async fn a_custom_resource_is_served_in_its_versions() {
    let bed = bed().await;
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {}},
               "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]})
    };
    let definition = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]}, "versions": [version("v1", true), version("v2", false)]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = bed.client.post(definitions, &definition).await.ok();
    assert!(
        made["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "Established" && c["status"] == "True")
    );
    let widget =
        json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}});
    let v2 = bed.client.post("/apis/example.com/v2/namespaces/default/widgets", &widget).await.ok();
    assert_eq!(v2["apiVersion"], "example.com/v2");
    let list = bed.client.get("/apis/example.com/v1/widgets").await.ok();
    assert_eq!((&list["kind"], &list["items"][0]["apiVersion"]), (&json!("WidgetList"), &json!("example.com/v1")));
    let table = bed.client.get_as("/apis/example.com/v1/widgets", TABLE).await.ok();
    assert_eq!(table["rows"][0]["cells"], json!(["w", 3]));
    let path = "/apis/example.com/v1/namespaces/default/widgets/w";
    let both = json!({"status": {"ok": true}, "spec": {"size": 9}});
    let status_path = format!("{path}/status");
    let status = bed.client.patch(&status_path, "application/merge-patch+json", &both).await.ok();
    assert_eq!((&status["status"]["ok"], &status["spec"]["size"]), (&json!(true), &json!(3)));
    bed.client
        .patch(path, "application/strategic-merge-patch+json", &json!({}))
        .await
        .refused(415, "UnsupportedMediaType");
    let mut watch = bed.client.watch("/apis/example.com/v1/widgets?watch=true&resourceVersion=0").await;
    assert_eq!(watch.event().await, "ADDED w");
    bed.client.delete(&format!("{definitions}/widgets.example.com")).await.ok();
    assert_eq!(watch.event().await, "DELETED w");
    assert_eq!(watch.next().await, Ok(None), "a watch ends with what it watched");
    bed.client.get("/apis/example.com/v1/widgets").await.refused(404, "NotFound");
}

async fn every_refusal_is_a_status_at_once() {
    let bed = bed().await;
    three(&bed).await;
    let client = &bed.client;
    client.get("/nonsense").await.refused(404, "NotFound");
    client.get("/api/v1/nonsense").await.refused(404, "NotFound");
    client.get("/apis/batch/v1/jobs").await.refused(404, "NotFound");
    client.get("/api/v1/namespaces/default/pods/x/exec").await.refused(404, "NotFound");
    client.post("/api/v1/namespaces/default/pods/x/eviction", &json!({})).await.refused(404, "NotFound");
    let missing = client.get(&format!("{MAPS}/missing")).await.refused(404, "NotFound");
    assert_eq!(missing["details"], json!({"name": "missing", "kind": "configmaps"}));
    client.put(MAPS, &config_map("a", "1")).await.refused(405, "MethodNotAllowed");
    client.post(&format!("{MAPS}/a"), &config_map("a", "1")).await.refused(405, "MethodNotAllowed");
    client.post(MAPS, &config_map("a", "1")).await.refused(409, "AlreadyExists");
    client.post(MAPS, &config_map("A_", "1")).await.refused(422, "Invalid");
    client.post(MAPS, &json!({"apiVersion": "v1", "kind": "Pod"})).await.refused(400, "BadRequest");
    client.post(MAPS, &json!({"metadata": {"name": "x", "namespace": "other"}})).await.refused(400, "BadRequest");
    client.post("/api/v1/configmaps", &config_map("x", "1")).await.refused(400, "BadRequest");
    client.post(&format!("{MAPS}?dryRun=maybe"), &config_map("x", "1")).await.refused(422, "Invalid");
    client.put(&format!("{MAPS}/a"), &config_map("b", "1")).await.refused(400, "BadRequest");
    client.get(&format!("{MAPS}?labelSelector=((")).await.refused(400, "BadRequest");
    client.get(&format!("{MAPS}?fieldSelector=spec.nodeName%3Dx")).await.refused(400, "BadRequest");
    client.get(&format!("{MAPS}?limit=-1")).await.refused(400, "BadRequest");
    client.get(&format!("{MAPS}?watch=perhaps")).await.refused(400, "BadRequest");
    let protobuf = client.with_body(Method::POST, MAPS, "application/vnd.kubernetes.protobuf", &json!({})).await;
    protobuf.refused(415, "UnsupportedMediaType");
    let broken = client.ask(Method::POST, MAPS, &[], Bytes::from_static(b"{\"metadata\":")).await;
    broken.refused(400, "BadRequest");
    let large = Bytes::from(vec![b' '; (3 << 20) + 1]);
    client.ask(Method::POST, MAPS, &[], large).await.refused(413, "RequestEntityTooLarge");
    let yaml = Bytes::from_static(b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\n");
    assert_eq!(client.ask(Method::POST, MAPS, &[("content-type", "application/yaml")], yaml).await.code, 201);
}

async fn only_this_machine_is_answered() {
    let bed = bed().await;
    let ask = async |header: &str, value: &str| {
        bed.client.ask(Method::GET, "/api/v1/secrets", &[(header, value)], Bytes::new()).await
    };
    ask("host", "rebound.example.com:16443").await.refused(403, "Forbidden");
    ask("host", "127.0.0.1.example.com").await.refused(403, "Forbidden");
    ask("origin", "http://localhost:8080").await.refused(403, "Forbidden");
    for host in ["localhost:1", "127.0.0.1", "[::1]:16443"] {
        let answer = ask("host", host).await;
        assert_eq!(answer.code, 200, "{host}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

async fn our_own_client_is_at_home_here() {
    use agent_events::domain::watch::{Request, Verb};
    use futures_util::StreamExt as _;
    let bed = bed().await;
    let access =
        Access { mode: Mode::Kubeconfig, kubeconfig: Some(bed.sandbox.kubeconfig().to_owned()), context: None };
    let cluster =
        Cluster::connect(&access, "c", std::sync::Arc::new(Uncounted)).await.expect("its kubeconfig leads to it");
    assert_eq!(cluster.uid().await.expect("it answers"), bed.sandbox.cluster_uid());
    assert!(cluster.version().await.expect("it answers").ends_with("-sandbox"));
    let secrets = Kind::builtin("secrets").expect("known");
    assert!(cluster.may("list", &secrets, None).await.expect("it answers"));
    bed.client.fault(&json!({"fault": "refuse", "code": 403, "resource": "secrets", "verb": "list"})).await;
    assert!(!cluster.may("list", &secrets, None).await.expect("it answers"));
    assert!(cluster.may("watch", &secrets, None).await.expect("it answers"));
    bed.client.fault(&json!({"fault": "compact"})).await;
    let target = Target::all(Kind::builtin("configmaps").expect("known"));
    let list = Request { id: 1, verb: Verb::List { limit: 2, next: None, at_least: None }, metadata_only: false };
    three(&bed).await;
    let answer = cluster.send(&target, &list).await.expect("it answers");
    let body: Vec<_> = answer.body.map(|c| c.expect("whole")).collect().await;
    let list: Value = serde_json::from_slice(&body.concat()).expect("a list");
    assert_eq!((answer.status, list["items"].as_array().expect("items").len()), (200, 2));
}
