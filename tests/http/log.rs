//! `/api/v1/topics`: the log as it stands.

use crate::kit::{PREFIX, beside, get};
use agent_events::domain::record::InRecord;
use bytes::Bytes;
use std::time::Duration;

fn foreign(partition: i32, value: Option<&'static [u8]>) -> InRecord {
    InRecord {
        topic: format!("{PREFIX}shared-state").as_str().into(),
        partition,
        offset: 0,
        timestamp_ms: 5,
        key: Some(Bytes::from_static(b"k")),
        value: value.map(Bytes::from_static),
        headers: vec![],
    }
}

#[test]
fn topics_show_their_offsets_and_where_they_are_not_as_they_should_be() {
    beside(async |process| {
        process.put("web", "web", 1).await;
        process.log.delete_topic("test.event-stream");
        let topics = process.get("/api/v1/topics").await.json();
        assert_eq!(topics["engine"], "memory");
        let topic = |name: &str| {
            let items = topics["items"].as_array().expect("a list");
            items.iter().find(|t| t["name"] == name).expect(name).clone()
        };
        let pods = topic("test.k8s-pods");
        assert_eq!(
            (&pods["exists"], &pods["partitions"], &pods["drift"]),
            (&true.into(), &12.into(), &serde_json::json!([]))
        );
        assert_eq!(pods["offsets"][0], serde_json::json!([0, 1]));
        assert_eq!(topic("test.event-stream")["exists"], false);
    });
}

#[test]
fn records_are_given_as_they_stand_up_to_the_end_at_that_time() {
    beside(async |process| {
        for n in 1..=5 {
            process.put(&format!("p-{n}"), "web", n).await;
        }
        let all = process.stream(get("/api/v1/topics/test.k8s-pods/records")).await.rest().await;
        assert_eq!(all.len(), 5);
        assert_eq!((&all[0]["key"], &all[0]["offset"]), (&"c/pods/shop/p-1".into(), &0.into()));
        assert_eq!(all[0]["value"]["after"]["metadata"]["name"], "p-1");
        assert_eq!(all[0]["headers"]["ce_writerepoch"], "1");
        for (query, offsets) in [
            ("?from=3", vec![3, 4]),
            ("?from=BEGIN&limit=2", vec![0, 1]),
            ("?from=END", vec![]),
            ("?from=1&partition=0&limit=1", vec![1]),
            ("?partition=1", vec![]),
            ("?from=99", vec![]),
        ] {
            // Without the prefix, too.
            let records = process.stream(get(&format!("/api/v1/topics/k8s-pods/records{query}"))).await.rest().await;
            let got: Vec<i64> = records.iter().filter_map(|r| r["offset"].as_i64()).collect();
            assert_eq!(got, offsets, "{query}");
        }
    });
}

#[test]
fn a_read_that_follows_gives_new_records_and_signs_of_life_until_its_limit() {
    beside(async |process| {
        process.put("p-1", "web", 1).await;
        let path = "/api/v1/topics/k8s-pods/records?from=END&follow=true&limit=2";
        let mut records = process.stream(get(path)).await;
        assert_eq!(records.until("\n").await, "", "a heartbeat");
        process.put("p-2", "web", 2).await;
        assert_eq!(records.event().await["key"], "c/pods/shop/p-2");
        process.put("p-3", "web", 3).await;
        process.put("p-4", "web", 4).await;
        let rest = records.rest().await;
        assert_eq!((rest.len(), &rest[0]["key"]), (1, &"c/pods/shop/p-3".into()));
    });
}

#[test]
fn whatever_stands_on_a_topic_is_one_line_of_json() {
    beside(async |process| {
        for value in [None, Some(&b"{\"a\":\n1}"[..]), Some(&b"\xff\x00not json"[..]), Some(&b""[..])] {
            process.log.inject(foreign(2, value)).expect("the topic exists");
        }
        let all = process.stream(get("/api/v1/topics/shared-state/records")).await.rest().await;
        let (null, json) = (serde_json::Value::Null, serde_json::json!({"a": 1}));
        assert_eq!((&all[0]["value"], all[0].get("valueBase64")), (&null, None), "a tombstone");
        assert_eq!(all[1]["value"], json);
        assert_eq!((&all[2]["value"], &all[2]["valueBase64"]), (&null, &"/wBub3QganNvbg==".into()));
        assert_eq!((&all[3]["value"], &all[3]["valueBase64"]), (&null, &"".into()), "empty is no tombstone");
    });
}

#[test]
fn what_compaction_took_away_keeps_no_reader_waiting() {
    beside(async |process| {
        for value in [Some(&b"1"[..]), Some(b"2"), None] {
            process.log.inject(foreign(0, value)).expect("the topic exists");
        }
        process.log.compact("test.shared-state");
        let read = process.stream(get("/api/v1/topics/shared-state/records?from=0")).await.rest();
        let left = tokio::time::timeout(Duration::from_secs(1), read).await.expect("it ends at once");
        assert_eq!(left.iter().map(|r| r["offset"].clone()).collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn a_mistake_and_an_outage_are_told_apart() {
    beside(async |process| {
        for (path, status, code, says) in [
            ("topics/nope/records", 404, "unknown_topic", "test.k8s-pods"),
            ("topics/k8s-pods/records?from=yesterday", 400, "bad_parameter", "10m"),
            ("topics/k8s-pods/records?partition=12", 502, "log_refused", "0 to 11"),
            ("topics/k8s-pods/records?partition=x", 400, "bad_parameter", "partition"),
            ("topics/k8s-pods/records?follow=maybe", 400, "bad_parameter", "true or false"),
            ("topics?x", 400, "unknown_parameter", "takes none"),
        ] {
            let (got, got_code, detail) = process.get(&format!("/api/v1/{path}")).await.problem();
            assert_eq!((got, got_code.as_str()), (status, code), "{path}: {detail}");
            assert!(detail.contains(says), "{path}: {detail}");
        }
        process.log.set_down(true);
        for path in ["topics", "topics/k8s-pods/records"] {
            let answer = process.get(&format!("/api/v1/{path}")).await;
            assert_eq!((answer.problem().0, answer.problem().1.as_str()), (503, "log_unreachable"), "{path}");
            assert!(!answer.header("retry-after").is_empty());
        }
    });
}
