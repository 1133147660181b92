//! Probes, metrics, the pipeline and the actors.

use crate::kit::{Process, beside};
use agent_events::domain::ack::Outcome;
use agent_events::domain::kind::Kind;
use agent_events::domain::lane::{Lane, Limits};
use agent_events::domain::record::OutRecord;
use agent_events::messages::control::{ActorControl, ChildStatus, ControlError, KillHow};
use agent_events::messages::life::LifeState;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::{BoxFuture, pending, ready};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn watcher(process: &Process, kind: &str) -> Arc<agent_events::observe::board::WatcherRow> {
    watcher_of(process, Kind::builtin(kind).expect("built in"))
}

fn watcher_of(process: &Process, kind: Kind) -> Arc<agent_events::observe::board::WatcherRow> {
    let target = agent_events::domain::target::Target::all(kind);
    let lane = Lane::new(Limits { bytes: 1 << 20, records: 100 }, || {});
    let row = agent_events::observe::board::WatcherRow::new(target, lane);
    let mut rows = process.faces.board.watchers();
    rows.push(row.clone());
    process.faces.board.set_watchers(rows);
    row
}

#[test]
fn the_captured_kinds_are_told_with_all_their_names() {
    beside(async |process| {
        let widgets = Kind::custom("example.com", "v1beta1", "widgets", "Widget", false);
        watcher_of(&process, widgets.known_as("widget", &["wi".to_owned()]));
        watcher_of(&process, Kind::builtin("pods").expect("built in"));
        let answer = process.get("/api/v1/kinds").await.json();
        let said = |at: usize, name: &str| answer["items"][at][name].clone();
        assert_eq!((said(0, "id"), said(0, "shortNames")), ("pods".into(), serde_json::json!(["po"])));
        for (name, value) in [
            ("id", "widgets.example.com"),
            ("group", "example.com"),
            ("version", "v1beta1"),
            ("plural", "widgets"),
            ("singular", "widget"),
            ("name", "Widget"),
        ] {
            assert_eq!(said(1, name), value, "{name}");
        }
        assert_eq!((said(1, "namespaced"), said(1, "shortNames")), (false.into(), serde_json::json!(["wi"])));
        assert_eq!(process.get("/api/v1/kinds?x=1").await.status, 400);
    });
}

#[test]
fn readiness_waits_for_every_watcher_and_then_stays_through_an_outage() {
    beside(async |process| {
        let (pods, services) = (watcher(&process, "pods"), watcher(&process, "services"));
        pods.set_phase("snapshot", Some("page 3\n[+]forged ok"));
        let answer = process.ops("/readyz").await;
        assert_eq!(answer.status, 503);
        for line in [
            "[+]log ok",
            "[-]state failed: ",
            "[-]watch-pods failed: snapshot page 3 [+]forged ok",
            "readyz check failed",
        ] {
            assert!(answer.text.lines().any(|l| l.starts_with(line)), "{line}\n{}", answer.text);
        }
        process.faces.board.folded.store(true, Ordering::Release);
        pods.synced.store(true, Ordering::Release);
        services.parked.store(true, Ordering::Release);
        services.set_phase("parked", Some("not allowed to list services"));
        assert_eq!((process.ops("/readyz").await.status, process.ops("/readyz").await.text.as_str()), (200, "ok"));

        process.faces.board.degrade("log", Some("no broker answers".into()));
        let answer = process.ops("/readyz?verbose").await;
        assert_eq!(answer.status, 200);
        for line in [
            "[+]log ok (degraded: no broker answers)",
            "[+]watch-pods ok",
            "[+]watch-services ok (degraded: not allowed to list services)",
            "readyz check passed",
        ] {
            assert!(answer.text.lines().any(|l| l == line), "{line}\n{}", answer.text);
        }
    });
}

#[test]
fn liveness_looks_at_what_must_move_and_at_nothing_else() {
    beside(async |process| {
        process.log.set_down(true);
        process.faces.board.degrade("the log", Some("away".into()));
        let beat = process.faces.beats.register("arbiter-state", Duration::from_secs(10));
        assert_eq!(process.ops("/livez").await.text, "ok");
        assert_eq!(process.ops("/startupz").await.text, "ok");
        tokio::time::advance(Duration::from_secs(11)).await;
        let answer = process.ops("/livez").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text.contains("[-]arbiter-state failed: silent for 11 s"), "{}", answer.text);
        assert_eq!(process.ops("/livez?exclude=arbiter-state&verbose").await.status, 200);
        beat.beat();
        assert_eq!(process.ops("/livez").await.status, 200);
        assert_eq!(process.ops("/livez?exclude=nobody").await.problem().1, "bad_parameter");
        assert_eq!(process.ops("/livez?verbos").await.problem().1, "unknown_parameter");
    });
}

#[test]
fn metrics_are_open_metrics_and_every_board_row_is_in_the_pipeline() {
    beside(async |process| {
        let metrics = process.ops("/metrics").await;
        assert!(metrics.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        assert!(
            metrics.text.contains("agent_events_build_info") && metrics.text.ends_with("# EOF\n"),
            "{}",
            metrics.text
        );
        let row = watcher(&process, "pods");
        let record = || OutRecord {
            topic: "t".into(),
            partition: 0,
            key: "k".into(),
            value: None,
            headers: Vec::new(),
            timestamp_ms: 0,
        };
        row.lane.push([record(), record()], None);
        for (_, token) in row.lane.take(10, 1 << 20) {
            token.settle(Outcome::Acked { partition: 0, offset: 0 });
        }
        let metrics = process.ops("/metrics").await.text;
        for line in [
            "agent_events_publish_records_total{kind=\"pods\",result=\"acked\"} 2",
            "agent_events_publish_records_total{kind=\"pods\",result=\"superseded\"} 0",
            "agent_events_publish_nacks_total{kind=\"pods\"} 0",
        ] {
            assert!(metrics.contains(line), "{line} is not in {metrics}");
        }
        let pipeline = process.get("/api/v1/pipeline").await.json();
        assert_eq!((&pipeline["ready"], &pipeline["watchers"][0]["kind"]), (&false.into(), &"pods".into()));
    });
}

/// Notes what it is asked.
#[derive(Default)]
struct Tree {
    asked: Mutex<Vec<String>>,
    silent: bool,
}

impl Tree {
    fn answer<'a, T: Send + 'a>(
        &self,
        call: String,
        answer: Result<T, ControlError>,
    ) -> BoxFuture<'a, Result<T, ControlError>> {
        self.asked.lock().unwrap().push(call);
        if self.silent { Box::pin(pending()) } else { Box::pin(ready(answer)) }
    }

    fn known(id: &str) -> Result<(), ControlError> {
        match id {
            "watcher/pods" => Ok(()),
            "down" => Err(ControlError::NotRunning { id: id.into(), state: LifeState::Down }),
            _ => Err(ControlError::Unknown { id: id.into(), known: vec!["watcher/pods".into()] }),
        }
    }
}

impl ActorControl for Tree {
    fn tree(&self) -> BoxFuture<'_, Result<Vec<ChildStatus>, ControlError>> {
        let status = ChildStatus {
            id: "watcher/pods".into(),
            group: "watch".into(),
            state: LifeState::Up,
            incarnation: 2,
            restarts: 1,
            last_exit: None,
            backoff_ms: None,
            handled: 7,
            handling: None,
            arbiter: "watch-0".into(),
        };
        self.answer("tree".into(), Ok(vec![status]))
    }

    fn kill<'a>(&'a self, id: &'a str, how: KillHow) -> BoxFuture<'a, Result<(), ControlError>> {
        self.answer(format!("kill {id} {how:?}"), Self::known(id))
    }

    fn restart<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), ControlError>> {
        self.answer(format!("restart {id}"), Self::known(id))
    }
}

fn post(path: &str) -> Request<Body> {
    Request::post(format!("/api/v1/actors/{path}")).body(Body::empty()).expect("a path of the tests is one")
}

#[test]
fn actors_are_listed_restarted_and_killed_by_their_whole_id() {
    beside(async |mut process| {
        let tree = Arc::new(Tree::default());
        assert!(process.faces.control.set(tree.clone()).is_ok());
        process.faces.chaos = true;
        let items = process.get("/api/v1/actors").await.json();
        assert_eq!((&items["items"][0]["id"], &items["items"][0]["state"]), (&"watcher/pods".into(), &"up".into()));
        for path in ["watcher/pods/restart", "watcher%2Fpods/kill", "watcher/pods/kill?how=hang"] {
            assert_eq!(process.send(post(path)).await.json()["id"], "watcher/pods", "{path}");
        }
        assert_eq!(
            *tree.asked.lock().unwrap(),
            ["tree", "restart watcher/pods", "kill watcher/pods Panic", "kill watcher/pods Hang"]
        );
        for (path, status, code) in [
            ("nobody/kill", 404, "unknown_actor"),
            ("down/restart", 409, "actor_not_running"),
            ("watcher/pods/kill?how=gently", 400, "bad_parameter"),
            ("watcher/pods/restart?how=panic", 400, "unknown_parameter"),
            ("watcher/pods/promote", 404, "not_found"),
            ("watcher", 404, "not_found"),
        ] {
            let (got, got_code, _) = process.send(post(path)).await.problem();
            assert_eq!((got, got_code.as_str()), (status, code), "{path}");
        }
        assert_eq!(process.get("/api/v1/actors/watcher/pods/kill").await.problem().0, 405);
    });
}

#[test]
fn nobody_kills_an_actor_unless_chaos_is_enabled() {
    beside(async |process| {
        let tree = Arc::new(Tree::default());
        assert!(process.faces.control.set(tree.clone()).is_ok());
        for path in ["watcher/pods/restart", "watcher/pods/kill"] {
            let (status, code, detail) = process.send(post(path)).await.problem();
            assert_eq!((status, code.as_str()), (403, "chaos_disabled"));
            assert!(detail.contains("chaos.enabled"), "{detail}");
        }
        assert!(tree.asked.lock().unwrap().is_empty());
    });
}

#[test]
fn a_supervisor_that_does_not_answer_is_reported_and_not_waited_for() {
    beside(async |process| {
        assert!(process.faces.control.set(Arc::new(Tree { silent: true, ..Tree::default() })).is_ok());
        let (status, code, _) = process.get("/api/v1/actors").await.problem();
        assert_eq!((status, code.as_str()), (503, "supervisor_silent"));
    });
}

#[test]
fn gaps_come_newest_first_by_kind_and_time() {
    beside(async |process| {
        assert_eq!(process.get("/api/v1/gaps").await.json(), json!({"items": []}));
        for (kind, seen) in [("pods", "2026-01-01T00:00:00.000Z"), ("services", "2026-01-02T00:00:00.000Z")] {
            let gap = json!({"kind": kind, "scope": null, "from": "5", "to": "9", "reason": "expired", "deletesUnknown": false,
                "historyEpoch": 0, "seenAt": seen, "cluster": "c", "writerEpoch": 1});
            process.faces.board.gaps.note(serde_json::from_value(gap).expect("a lasting copy"));
        }
        let kinds = async |query: &str| {
            let gaps = process.get(&format!("/api/v1/gaps{query}")).await.json();
            let kinds =
                gaps["items"].as_array().expect("items").iter().map(|g| g["kind"].as_str().expect("a kind").to_owned());
            kinds.collect::<Vec<_>>()
        };
        assert_eq!(kinds("").await, ["services", "pods"]);
        assert_eq!(kinds("?limit=1").await, ["services"]);
        assert_eq!(kinds("?kind=pods").await, ["pods"]);
        assert_eq!(kinds("?since=2026-01-01T12:00:00Z").await, ["services"]);
        assert_eq!(process.get("/api/v1/pipeline").await.json()["gaps"], 2);
        let (status, code, detail) = process.get("/api/v1/gaps?since=yesterday").await.problem();
        assert_eq!((status, code.as_str()), (400, "bad_parameter"), "{detail}");
    });
}

#[test]
fn a_list_of_identities_holds_nothing_else() {
    beside(async |process| {
        process.put("web", "shop", 7).await;
        let list = process.get("/api/v1/objects?kind=pods&view=identity").await.json();
        let identity =
            json!({"metadata": {"namespace": "shop", "name": "web", "uid": "uid-web", "resourceVersion": "7"}});
        assert_eq!(list["items"], json!([identity]));
        assert_eq!(process.get("/api/v1/objects?kind=pods&view=names").await.problem().0, 400);
    });
}
