//! Whatever is sent gets an answer that says what is wrong; nothing is a panic or a 500.

use crate::kit::{Process, beside};
use axum::body::Body;
use axum::http::{HeaderValue, Request};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

async fn survives(process: &Process, request: Request<Body>) -> u16 {
    let what = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
    let answer = process.send(request).await;
    if answer.status >= 400 {
        let (status, code, detail) = answer.problem();
        assert!(status < 500 || code == "starting", "{what}: {status} {detail}");
    }
    answer.status
}

#[test]
fn paths_and_queries_of_any_bytes_get_an_answer() {
    let mut runner = TestRunner::new(Config::with_cases(400));
    let part = proptest::collection::vec(any::<u8>(), 0..24)
        .prop_map(|bytes| bytes.iter().map(|b| format!("%{b:02x}")).collect::<String>());
    let known = prop_oneof![
        Just("objects".to_owned()),
        Just("objects/pods".to_owned()),
        Just("watch/".to_owned()),
        Just("topics".to_owned()),
        Just("topics/k8s-pods/records".to_owned()),
        Just("objects/pods/shop".to_owned()),
        part.clone().prop_map(|part| format!("objects/{part}/x")),
        part.clone().prop_map(|part| format!("topics/{part}/records")),
        Just("actors".to_owned()),
        Just(String::new()),
    ];
    let names = prop_oneof![
        Just("kind"),
        Just("limit"),
        Just("continue"),
        Just("labelSelector"),
        Just("fieldSelector"),
        Just("since"),
        Just("from"),
        Just("partition"),
        Just("how"),
        Just("x"),
    ];
    let query = proptest::collection::vec((names, part.clone()), 0..4);
    let case = (known, part, query);
    // One process for all cases: what one leaves behind must not harm the next.
    beside(async |process| {
        for _ in 0..400 {
            let (path, tail, query) = case.new_tree(&mut runner).expect("a case").current();
            let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let uri = format!("/api/v1/{path}/{tail}?{}", query.join("&"));
            survives(&process, Request::get(&uri).body(Body::empty()).expect("an encoded URI is one")).await;
            let flat = format!("/api/v1/{path}?{}", query.join("&"));
            // What may be a stream without an end is not read to its end.
            if !path.starts_with("watch") && !flat.contains("follow") {
                survives(&process, Request::get(&flat).body(Body::empty()).expect("an encoded URI is one")).await;
            }
        }
    });
}

#[test]
fn methods_headers_and_bodies_that_make_no_sense_get_an_answer() {
    beside(async |process| {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"] {
            for path in ["/api/v1/objects", "/api/v1/actors/a/kill", "/api/v1/topics", "/"] {
                let request = Request::builder().method(method).uri(path).body(Body::from(vec![0xff; 1 << 16]));
                assert!(matches!(survives(&process, request.expect("a request")).await, 404 | 405), "{method} {path}");
            }
        }
        let odd = HeaderValue::from_bytes(b"\xff\xfe").expect("opaque bytes are a value");
        for name in ["last-event-id", "accept", "origin", "content-type", "range", "if-match"] {
            let request = Request::get("/api/v1/version").header(name, odd.clone()).body(Body::empty());
            assert_eq!(survives(&process, request.expect("a request")).await, 200, "{name}");
        }
        assert_eq!(process.get("/api/v1/objects?kind=%00%ff").await.problem().0, 400);
        for path in ["objects/%ff/a/b", "objects/pods/a/%ff", "topics/%c3%28/records"] {
            assert_eq!(process.get(&format!("/api/v1/{path}")).await.problem().0, 400, "{path}");
        }
        assert_eq!(process.get(&format!("/api/v1/{}", "a/".repeat(2000))).await.problem().0, 404);
        assert_eq!(process.get(&format!("/api/v1/objects?kind={}", "k".repeat(30_000))).await.problem().0, 400);
    });
}

#[test]
fn a_page_of_another_origin_can_neither_read_nor_change_anything() {
    beside(async |process| {
        let with = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let builder = Request::builder().method(method).uri(path);
            let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
            builder.body(Body::empty()).expect("a request")
        };
        for host in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST", "10.2.3.4:80"] {
            assert_eq!(process.send(with("GET", "/api/v1/version", &[("host", host)])).await.status, 200, "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example:1", ""] {
            let (status, code, _) = process.send(with("GET", "/api/v1/version", &[("host", host)])).await.problem();
            assert_eq!((status, code.as_str()), (421, "host_not_allowed"), "{host}");
        }
        let kill = "/api/v1/actors/a/kill";
        let (own, foreign) = ("http://127.0.0.1:8080", "http://evil.example");
        let (_, code, _) =
            process.send(with("POST", kill, &[("host", "127.0.0.1:8080"), ("origin", foreign)])).await.problem();
        assert_eq!(code, "cross_origin");
        let (_, code, _) =
            process.send(with("POST", kill, &[("host", "127.0.0.1:8080"), ("origin", own)])).await.problem();
        assert_eq!(code, "chaos_disabled", "past the guard");
    });
}
