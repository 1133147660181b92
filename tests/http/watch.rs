//! `/api/v1/watch`: what was there, then every change, resumable, bounded.

use crate::kit::{beside, beside_a_store_that_keeps, get, pod_json};
use agent_events::http::StreamLimit;
use axum::body::Body;
use axum::http::Request;
use std::time::Duration;
use tokio::time::Instant;

fn resume(path: &str, cursor: &str) -> Request<Body> {
    Request::get(path).header("last-event-id", cursor).body(Body::empty()).expect("a request")
}

#[test]
fn a_watch_gives_what_is_there_then_every_change_and_resumes_behind_its_cursor() {
    beside(async |process| {
        process.put("web-1", "web", 1).await;
        process.put("db-1", "db", 2).await;
        let path = "/api/v1/watch?kind=pods,services&namespace=shop&labelSelector=app%3Dweb";
        let mut watch = process.stream(get(path)).await;
        assert_eq!(watch.headers["content-type"], "application/x-ndjson");
        let there = watch.event().await;
        assert_eq!(
            (&there["event"], &there["name"], &there["snapshot"]),
            (&"change".into(), &"web-1".into(), &true.into())
        );
        assert_eq!(there["cursor"], serde_json::Value::Null, "within a snapshot nothing can be resumed");
        let end = watch.event().await;
        assert_eq!(end["event"], "snapshot-end");
        process.put("web-2", "web", 3).await;
        let change = watch.event().await;
        assert_eq!((&change["operation"], &change["object"]["metadata"]["name"]), (&"ADDED".into(), &"web-2".into()));
        assert_eq!((&change["partition"], &change["offset"]), (&0.into(), &2.into()));
        process.put("web-1", "batch", 4).await;
        assert_eq!(watch.event().await["operation"], "DELETED", "it left the selector");

        let cursor = end["cursor"].as_str().expect("a cursor").to_owned();
        for request in [resume(path, &cursor), get(&format!("{path}&since={cursor}"))] {
            let mut again = process.stream(request).await;
            assert_eq!(
                (&again.event().await["name"], &again.event().await["name"]),
                (&"web-2".into(), &"web-1".into())
            );
        }
    });
}

#[test]
fn server_sent_events_carry_the_cursor_as_their_id_and_the_object_on_one_line() {
    beside(async |process| {
        let request = Request::get("/api/v1/watch").header("accept", "text/event-stream").body(Body::empty());
        let mut watch = process.stream(request.expect("a request")).await;
        assert_eq!(watch.headers["content-type"], "text/event-stream");
        let end = watch.until("\n\n").await;
        assert!(end.starts_with("id: 0000000000000007-0\nevent: snapshot-end\ndata: {"), "{end}");
        process.put("web", "web", 1).await;
        let change = watch.until("\n\n").await;
        assert!(change.starts_with("id: 0000000000000007-1\nevent: change\ndata: {"), "{change}");
        assert!(change.ends_with(&format!(",\"object\":{}}}", pod_json("web", "web", 1))), "{change}");
    });
}

#[test]
fn a_silent_watch_says_that_it_lives_every_fifteen_seconds() {
    beside(async |process| {
        let mut watch = process.stream(get("/api/v1/watch")).await;
        watch.event().await;
        let asked = Instant::now();
        assert_eq!(watch.until("\n").await, "");
        assert_eq!(asked.elapsed().as_secs(), 15);
        let request = Request::get("/api/v1/watch").header("accept", "text/event-stream").body(Body::empty());
        let mut watch = process.stream(request.expect("a request")).await;
        watch.until("\n\n").await;
        assert_eq!(watch.until("\n\n").await, ":");
    });
}

#[test]
fn a_cursor_that_is_too_old_begins_again_and_says_so_and_a_wrong_one_is_refused() {
    beside_a_store_that_keeps(2, async |process| {
        for n in 1..=5 {
            process.put(&format!("p-{n}"), "web", n).await;
        }
        // Of an earlier life of the process; older than what is kept; what a browser kept from another build.
        for cursor in ["0000000000000001-3", "0000000000000007-1", "nonsense"] {
            let mut watch = process.stream(resume("/api/v1/watch?kind=pods", cursor)).await;
            assert_eq!(watch.event().await["event"], "reset", "{cursor}");
            for n in 1..=5 {
                assert_eq!(watch.event().await["name"], format!("p-{n}"));
            }
            assert_eq!(watch.event().await["event"], "snapshot-end");
        }
        let (status, code, _) = process.get("/api/v1/watch?since=nonsense").await.problem();
        assert_eq!((status, code.as_str()), (400, "bad_cursor"));
        assert_eq!(process.get("/api/v1/watch?kind=podz").await.problem().1, "unknown_kind");
    });
}

#[test]
fn a_client_that_is_too_slow_is_told_what_it_missed_and_gets_the_state_anew() {
    beside_a_store_that_keeps(2, async |process| {
        let mut watch = process.stream(get("/api/v1/watch?kind=pods")).await;
        assert_eq!(watch.event().await["event"], "snapshot-end");
        for n in 1..=5 {
            process.put(&format!("p-{n}"), "web", n).await;
        }
        let lagged = watch.event().await;
        assert_eq!((&lagged["event"], &lagged["missed"]), (&"lagged".into(), &5.into()));
        assert_eq!(watch.event().await["event"], "reset");
        for n in 1..=5 {
            assert_eq!(watch.event().await["name"], format!("p-{n}"));
        }
        assert_eq!(watch.event().await["event"], "snapshot-end");
        process.put("p-6", "web", 6).await;
        assert_eq!(watch.event().await["name"], "p-6");
    });
}

#[test]
fn streams_are_bounded_and_a_closed_one_gives_its_place_back() {
    beside(async |mut process| {
        process.faces.streams = StreamLimit::of(1);
        let first = process.stream(get("/api/v1/watch")).await;
        for path in ["/api/v1/watch", "/api/v1/topics/k8s-pods/records"] {
            let answer = process.get(path).await;
            assert_eq!((answer.problem().0, answer.problem().1.as_str()), (503, "too_many_streams"));
            assert_eq!(answer.header("retry-after"), "5");
        }
        drop(first);
        let mut second =
            tokio::time::timeout(Duration::from_secs(1), process.stream(get("/api/v1/watch"))).await.expect("a place");
        assert_eq!(second.event().await["event"], "snapshot-end");
    });
}
