//! `/api/v1/objects`: what stands in the log is what is answered.

use crate::kit::{beside, pod_json};
use agent_events::domain::kind::Kind;
use agent_events::http::Faces;

#[test]
fn a_list_holds_the_objects_byte_for_byte_and_says_how_far_the_log_was_read() {
    beside(async |process| {
        process.put("web-1", "web", 1).await;
        process.put("web-2", "web", 2).await;
        let answer = process.get("/api/v1/objects?kind=pods&namespace=shop&labelSelector=app%3Dweb").await;
        let (one, two) = (pod_json("web-1", "web", 1), pod_json("web-2", "web", 2));
        assert!(answer.text.starts_with(&format!(r#"{{"items":[{one},{two}],"#)), "{}", answer.text);
        let json = answer.json();
        assert_eq!(json["asOf"]["test.k8s-pods"]["0"], 2);
        assert_eq!(json["continue"], serde_json::Value::Null);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        for empty in ["kind=pods&namespace=other", "kind=services", "kind=pods&labelSelector=app%21%3Dweb"] {
            assert_eq!(process.get(&format!("/api/v1/objects?{empty}")).await.json()["items"], serde_json::json!([]));
        }
    });
}

#[test]
fn pages_give_every_object_once_also_across_chunks() {
    beside(async |process| {
        for n in 0..150 {
            process.put(&format!("p-{n:03}"), "web", n + 1).await;
        }
        let (mut names, mut next) = (Vec::new(), None::<String>);
        loop {
            let token = next.map(|t| format!("&continue={t}")).unwrap_or_default();
            let page = process.get(&format!("/api/v1/objects?kind=pods&limit=70{token}")).await.json();
            let items = page["items"].as_array().expect("a list").iter();
            names.extend(items.map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned()));
            next = page["continue"].as_str().map(str::to_owned);
            if next.is_none() {
                break;
            }
        }
        let want: Vec<String> = (0..150).map(|n| format!("p-{n:03}")).collect();
        assert_eq!(names, want);
    });
}

#[test]
fn one_object_comes_as_it_is_and_a_missing_one_is_named() {
    beside(async |process| {
        process.put("web", "web", 1).await;
        assert_eq!(process.get("/api/v1/objects/pods/shop/web").await.text, pod_json("web", "web", 1));
        let (status, code, detail) = process.get("/api/v1/objects/pods/shop/nope").await.problem();
        assert_eq!((status, code.as_str()), (404, "not_found"));
        assert!(detail.contains("shop/nope") && detail.contains("pods"), "{detail}");
        assert_eq!(process.get("/api/v1/objects/pods/_/web").await.problem().0, 404);
        assert_eq!(process.get("/api/v1/objects/pods/shop/web?x=1").await.problem().1, "unknown_parameter");
    });
}

#[test]
fn a_mistake_in_the_question_is_named_with_what_would_be_right() {
    beside(async |process| {
        for (query, code, says) in [
            ("", "bad_parameter", "kind=pods"),
            ("kind=podz", "unknown_kind", "pods, services"),
            ("kind=pods&labelselector=a", "unknown_parameter", "labelSelector"),
            ("kind=pods&kind=services", "bad_parameter", "twice"),
            ("kind=pods&labelSelector=a%20in%20b", "bad_selector", "label selector"),
            ("kind=pods&fieldSelector=spec.x%3D1", "bad_selector", "status.phase"),
            ("kind=pods&limit=many", "bad_parameter", "\"many\""),
            ("kind=pods&limit=-1", "bad_parameter", "limit"),
            ("kind=pods&continue=xyz", "bad_continue", "continue token"),
        ] {
            let (status, got, detail) = process.get(&format!("/api/v1/objects?{query}")).await.problem();
            assert_eq!((status, got.as_str()), (400, code), "{query}: {detail}");
            assert!(detail.contains(says), "{query}: {detail}");
        }
    });
}

#[test]
fn while_the_process_comes_up_every_question_says_what_is_missing_and_when_to_come_back() {
    beside(async |mut process| {
        let pods = Kind::builtin("pods").expect("built in");
        process.store.incomplete(&pods, "12 of 24 partitions read");
        let answer = process.get("/api/v1/objects?kind=pods").await;
        let (status, code, detail) = answer.problem();
        assert_eq!((status, code.as_str(), answer.header("retry-after")), (503, "starting", "1"));
        assert!(detail.contains("12 of 24 partitions"), "{detail}");

        process.faces = Faces::default();
        process.faces.board.set_state("connecting");
        for path in ["objects?kind=pods", "objects/pods/a/b", "watch", "actors", "topics", "topics/x/records"] {
            let answer = process.get(&format!("/api/v1/{path}")).await;
            let (status, code, detail) = answer.problem();
            assert_eq!((status, code.as_str(), answer.header("retry-after")), (503, "starting", "1"), "{path}");
            assert!(detail.contains("state: connecting") && detail.contains("watchers: not started"), "{detail}");
        }
        assert_eq!(process.get("/api/v1/pipeline").await.json()["state"], "connecting");
        assert_eq!(process.get("/api/v1/version").await.json()["name"], "agent-events");
    });
}
