//! Scripted faults: each is seen by a client as a real API server's bad day would be.

use crate::kit::{MAPS, bed, config_map};
use crate::waiting::eventually;
use agent_events::sandbox::{Fault, Rule};
use serde_json::json;
use std::time::Duration;

crate::trials![
    requests_are_refused_as_often_as_ordered,
    an_answer_comes_late,
    an_open_watch_is_told_that_it_is_too_old,
    a_line_breaks_off,
    watches_are_cut_and_can_be_opened_again,
    a_cut_reaches_a_watch_that_is_asked_for_and_not_open_yet,
    a_stalled_watch_goes_on_where_it_was,
    bookmarks_stay_away,
    a_compaction_ends_what_would_resume_from_before,
    the_revision_leaps,
    a_cluster_is_restored_from_a_backup,
    objects_are_written_wrongly,
    bodies_are_not_what_they_say,
    a_watch_lies,
    a_wrong_order_is_refused_with_what_is_known,
];

async fn requests_are_refused_as_often_as_ordered() {
    let bed = bed().await;
    for (code, reason) in
        [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable"), (410, "Expired")]
    {
        bed.client
            .fault(&json!({"fault": "refuse", "code": code, "resource": "configmaps", "verb": "list", "times": 2,
                                 "retryAfterSeconds": 7}))
            .await;
        let refused = bed.client.get(MAPS).await;
        assert_eq!(refused.headers.contains_key("retry-after"), matches!(code, 429 | 503));
        refused.refused(code, reason);
        assert_eq!(bed.client.get("/api/v1/pods").await.code, 200, "only that resource");
        assert_eq!(bed.client.get(&format!("{MAPS}/kube")).await.code, 404, "only that verb");
        bed.client.get(MAPS).await.refused(code, reason);
        assert_eq!(bed.client.get(MAPS).await.code, 200, "only twice");
    }
    bed.sandbox.faults().inject(Rule::new(Fault::Refuse { code: 403, retry_after: None }).of("pods").verb("watch"));
    bed.client.get("/api/v1/pods?watch=true").await.refused(403, "Forbidden");
    bed.sandbox.faults().clear();
    bed.client.watch("/api/v1/pods?watch=true").await;
}

async fn an_answer_comes_late() {
    let bed = bed().await;
    bed.client.fault(&json!({"fault": "delay", "milliseconds": 300, "verb": "list"})).await;
    let late = tokio::time::timeout(Duration::from_millis(150), bed.client.get(MAPS)).await;
    assert!(late.is_err(), "it came at once");
    bed.client.get(MAPS).await.ok();
}

async fn an_open_watch_is_told_that_it_is_too_old() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    let mut other = bed.client.watch("/api/v1/pods?watch=true").await;
    bed.client.fault(&json!({"fault": "gone", "resource": "configmaps", "times": 1})).await;
    let line = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["code"], &line["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert_eq!(watch.next().await, Ok(None));
    assert!(other.is_silent().await);
}

async fn a_line_breaks_off() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    assert_eq!(watch.event().await, "ADDED a");
    bed.client.fault(&json!({"fault": "partial-line", "times": 1})).await;
    let broken = watch.next().await.expect_err("no orderly end");
    assert!(broken.starts_with("{\"type\":\"MODIFIED\",\"object\":{"), "{broken}");
}

async fn watches_are_cut_and_can_be_opened_again() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    bed.client.fault(&json!({"fault": "cut"})).await;
    watch.next().await.expect_err("no orderly end");
    let mut again = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    // A later fault of another kind must not bring the old cut back.
    bed.client.fault(&json!({"fault": "no-bookmarks"})).await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    assert_eq!(again.event().await, "ADDED a");
}

async fn a_cut_reaches_a_watch_that_is_asked_for_and_not_open_yet() {
    let bed = bed().await;
    bed.client.fault(&json!({"fault": "delay", "milliseconds": 1000, "verb": "watch", "times": 1})).await;
    let cut = async {
        eventually("the request is under way", Duration::from_secs(20), async || {
            bed.sandbox.faults().rules().is_empty().then_some(())
        })
        .await;
        bed.sandbox.faults().cut_watches(None);
    };
    let path = format!("{MAPS}?watch=true");
    let (mut watch, ()) = tokio::join!(bed.client.watch(&path), cut);
    watch.next().await.expect_err("no orderly end");
}

async fn a_stalled_watch_goes_on_where_it_was() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    bed.client.fault(&json!({"fault": "stall", "resource": "configmaps"})).await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    assert!(watch.is_silent().await);
    bed.sandbox.faults().clear();
    assert_eq!(watch.event().await, "ADDED a");
}

async fn bookmarks_stay_away() {
    let bed = bed().await;
    bed.client.fault(&json!({"fault": "no-bookmarks"})).await;
    let mut watch =
        bed.client.watch("/api/v1/pods?watch=true&resourceVersion=1&timeoutSeconds=3&allowWatchBookmarks=true").await;
    assert_eq!(watch.next().await, Ok(None));
}

async fn a_compaction_ends_what_would_resume_from_before() {
    let bed = bed().await;
    let before = bed.sandbox.state().revision();
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    bed.client.fault(&json!({"fault": "compact"})).await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={before}")).await;
    let line = watch.next().await.unwrap().unwrap();
    assert_eq!((&line["type"], &line["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(line["object"]["message"], "The resourceVersion for the provided watch is too old.");
    assert_eq!(watch.next().await, Ok(None));
}

async fn the_revision_leaps() {
    let bed = bed().await;
    let before = bed.sandbox.state().revision();
    bed.client.fault(&json!({"fault": "jump", "by": 1_000_000})).await;
    let made = bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    assert_eq!(made["metadata"]["resourceVersion"], (before + 1_000_001).to_string());
}

async fn a_cluster_is_restored_from_a_backup() {
    let bed = bed().await;
    bed.client.post(MAPS, &config_map("kept", "1")).await.ok();
    bed.client.post(MAPS, &config_map("back", "1")).await.ok();
    let backup = bed.sandbox.state().revision();
    bed.client.put(&format!("{MAPS}/kept"), &config_map("kept", "2")).await.ok();
    bed.client.delete(&format!("{MAPS}/back")).await.ok();
    bed.client.post(MAPS, &config_map("lost", "1")).await.ok();
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={}", backup + 3)).await;
    bed.client.fault(&json!({"fault": "rewind", "to": backup})).await;
    watch.next().await.expect_err("its history is no more");
    let list = bed.client.get(MAPS).await;
    assert_eq!(
        (list.names(), &list.ok()["metadata"]["resourceVersion"]),
        (vec!["back".to_owned(), "kept".to_owned()], &json!(backup.to_string()))
    );
    assert_eq!(list.ok()["items"][1]["data"]["key"], "1");
    let next = bed.client.post(MAPS, &config_map("new", "1")).await.ok();
    assert_eq!(next["metadata"]["resourceVersion"], (backup + 1).to_string(), "revisions are given out again");
    bed.sandbox.stop().await;
    let again = crate::kit::start(bed.dir.path()).await;
    let names: Vec<_> =
        again.state().list("configmaps", "default").unwrap().objects.iter().map(|o| o.name().to_owned()).collect();
    assert_eq!(names, ["back", "kept", "new"], "and so it is on disk");
    assert_eq!(again.state().revision(), backup + 1);
}

async fn objects_are_written_wrongly() {
    let bed = bed().await;
    for name in ["good", "bad"] {
        bed.client.post(MAPS, &config_map(name, "1")).await.ok();
    }
    bed.client
        .fault(&json!({"fault": "spoil", "how": "wrong-name", "resource": "configmaps", "name": "bad", "verb": "list"}))
        .await;
    let list = bed.client.get(MAPS).await.ok();
    assert_eq!(
        (&list["items"][0]["metadata"]["name"], &list["items"][1]["metadata"]["name"]),
        (&json!([7]), &json!("good"))
    );
    let list = bed.client.get_as(MAPS, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").await;
    assert_eq!(list.names(), ["bad", "good"], "what is wrong does not show where only metadata is asked for");
    bed.sandbox.faults().clear();
    bed.client.fault(&json!({"fault": "spoil", "how": "garbled", "times": 1})).await;
    let list = bed.client.get(MAPS).await;
    assert!(serde_json::from_str::<serde_json::Value>(&list.text).is_err(), "{}", list.text);
    assert_eq!(bed.client.get(MAPS).await.names(), ["bad", "good"], "only once");
}

async fn bodies_are_not_what_they_say() {
    let bed = bed().await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    let whole = bed.client.get(MAPS).await;
    bed.client.fault(&json!({"fault": "dribble", "times": 1})).await;
    assert_eq!(bed.client.get(MAPS).await.text, whole.text, "byte by byte it is the same");
    bed.client.fault(&json!({"fault": "html", "times": 1})).await;
    let page = bed.client.get(MAPS).await;
    assert_eq!((page.code, page.headers["content-type"].as_bytes()), (200, &b"text/html; charset=utf-8"[..]));
    bed.client.fault(&json!({"fault": "empty", "times": 1})).await;
    assert_eq!(bed.client.get(MAPS).await.names(), [""; 0]);
    bed.client.fault(&json!({"fault": "long-versions", "times": 1})).await;
    let long = bed.client.get(MAPS).await.ok();
    let version = long["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    assert_eq!(version.len(), 40);
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion={version}")).await;
    bed.client.post(MAPS, &config_map("b", "1")).await.ok();
    assert_eq!(watch.event().await, "ADDED b", "and it is taken back");
}

async fn a_watch_lies() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true&resourceVersion=1")).await;
    bed.client.fault(&json!({"fault": "ghost", "times": 1})).await;
    assert_eq!(watch.event().await, "DELETED ghost");
    bed.client.fault(&json!({"fault": "bookmark-word", "times": 1})).await;
    let bookmark = watch.next().await.unwrap().unwrap();
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], "latest");
    bed.client.fault(&json!({"fault": "half-line", "times": 1})).await;
    let half = watch.next().await;
    assert!(half.is_err() || half == Ok(None), "no line: {half:?}");
}

async fn a_wrong_order_is_refused_with_what_is_known() {
    let bed = bed().await;
    let refused = bed.client.post("/sandbox/faults", &json!({"fault": "earthquake"})).await.refused(400, "BadRequest");
    assert!(refused["message"].as_str().unwrap().contains("partial-line"), "{refused}");
    for order in [
        json!({"fault": "delay"}),
        json!({"fault": "refuse", "code": 200}),
        json!({"fault": "stall", "where": "x"}),
        json!({"fault": "spoil", "how": "thoroughly"}),
        json!([]),
    ] {
        bed.client.post("/sandbox/faults", &order).await.refused(400, "BadRequest");
    }
    bed.client.post("/sandbox/faults", &json!({"fault": "rewind", "to": 999_999})).await.refused(400, "BadRequest");
}
