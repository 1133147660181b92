//! `/api/v1/live`: everything a page shows as one stream, from the first moment, resumable, bounded.

use crate::kit::{Lines, Process, beside, beside_a_store_that_keeps, get};
use agent_events::domain::kind::Kind;
use agent_events::domain::lane::{Lane, Limits};
use agent_events::domain::target::Target;
use agent_events::http::{Faces, StreamLimit};
use agent_events::messages::control::{ActorControl, ChildStatus, ControlError, KillHow};
use agent_events::messages::life::{ExitReason, LastExit, LifeFact, LifeState};
use agent_events::observe::board::WatcherRow;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::{BoxFuture, pending, ready};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The next event of that name; what comes before it is of no interest.
async fn next(lines: &mut Lines, event: &str) -> Value {
    loop {
        let found = lines.event().await;
        if found["event"] == event {
            return found;
        }
    }
}

/// A subscription to entries that has read up to now: behind it, what is told comes.
async fn entries(process: &Process, query: &str) -> Lines {
    let mut live = process.stream(get(&format!("/api/v1/live?subscribe=stream{query}"))).await;
    assert_eq!(live.event().await["event"], "hello");
    live
}

fn resume(path: &str, cursor: &str) -> Request<Body> {
    Request::get(path).header("last-event-id", cursor).body(Body::empty()).expect("a request")
}

#[test]
fn a_page_that_comes_before_the_process_is_up_sees_it_come_alive_on_the_same_stream() {
    beside(async |process| {
        let young = Process { faces: Faces { chaos: true, ..Faces::default() }, ..process.clone() };
        young.faces.board.set_state("connecting");
        let mut live = young.stream(get("/api/v1/live?backlog=10")).await;
        let hello = live.event().await;
        assert_eq!(
            (&hello["event"], &hello["name"], &hello["api"]),
            (&"hello".into(), &"agent-events".into(), &"v1".into())
        );
        assert_eq!((&hello["chaos"], &hello["subscribed"][2]), (&true.into(), &"stream".into()));
        let pipeline = live.event().await;
        assert_eq!((&pipeline["event"], &pipeline["state"]), (&"pipeline".into(), &"connecting".into()));
        assert_eq!(pipeline["missing"][0], "state: connecting");

        process.tell("pods", "shop", "web-1", "created");
        let faces = &young.faces;
        assert!(faces.log.set(process.faces.log.get().expect("a log").clone()).is_ok());
        faces.topics.set(process.faces.topics.get().expect("topics").to_vec());
        assert!(faces.client.set(process.faces.client.get().expect("a client").clone()).is_ok());
        assert!(faces.control.set(Arc::new(Tree::default())).is_ok());
        faces.board.set_state("running");
        assert_eq!(next(&mut live, "pipeline").await["state"], "running");
        let (mut counts, mut actors, mut entry) = (None, None, None);
        while counts.is_none() || actors.is_none() || entry.is_none() {
            let event = live.event().await;
            match event["event"].as_str() {
                Some("counts") => counts = Some(event),
                Some("actors") => actors = Some(event),
                Some("stream") => entry = Some(event),
                _ => {}
            }
        }
        let counts = counts.expect("counts");
        assert_eq!((&counts["kinds"][0]["kind"], &counts["kinds"][0]["objects"]), (&"pods".into(), &0.into()));
        assert_eq!(actors.expect("actors")["items"][0]["id"], "watcher/pods");
        assert_eq!(entry.expect("an entry")["summary"], "pods web-1: created");
    });
}

#[test]
fn the_pipeline_is_told_when_it_has_changed_and_at_most_twice_a_second() {
    beside(async |process| {
        let target = Target::all(Kind::builtin("pods").expect("built in"));
        let row = WatcherRow::new(target, Lane::new(Limits { bytes: 1 << 20, records: 100 }, || {}));
        process.faces.board.set_watchers(vec![row.clone()]);
        let mut live = process.stream(get("/api/v1/live?subscribe=pipeline")).await;
        assert_eq!(next(&mut live, "pipeline").await["watchers"][0]["received"], 0);
        assert_eq!(next(&mut live, "counts").await["kinds"][1]["kind"], "services");
        let began = Instant::now();
        for n in 1..=3 {
            row.received.fetch_add(1, Ordering::Relaxed);
            row.set_trouble(Some("connection refused"));
            let told = live.event().await;
            assert_eq!((&told["event"], &told["watchers"][0]["received"]), (&"pipeline".into(), &n.into()));
            assert_eq!(told["watchers"][0]["lastError"]["text"], "connection refused");
        }
        assert_eq!(began.elapsed().as_millis(), 1500);
        // Nothing changes: nothing is told, but that it lives.
        assert_eq!(live.until("\n").await, "");
        assert_eq!(began.elapsed().as_millis(), 16_500);
        process.put("web", "web", 1).await;
        assert_eq!(next(&mut live, "counts").await["kinds"][0]["objects"], 1);
    });
}

#[test]
fn entries_come_as_they_are_durable_filtered_and_resume_behind_their_cursor() {
    beside(async |process| {
        process.tell("pods", "shop", "early", "created");
        let path = "/api/v1/live?subscribe=stream&kind=pods,services&namespace=shop";
        let mut live = process.stream(get(path)).await;
        assert_eq!(live.event().await["event"], "hello");
        assert_eq!(live.until("\n").await, "", "what was there before is not told unasked");
        process.tell("pods", "other", "web-0", "created");
        process.tell("deployments", "shop", "web", "created");
        process.tell("pods", "shop", "web-1", "created");
        let first = live.event().await;
        assert_eq!(
            (&first["event"], &first["name"], &first["manager"]),
            (&"stream".into(), &"web-1".into(), &"kubectl".into())
        );
        process.tell("services", "shop", "web", "deleted");
        assert_eq!(live.event().await["type"], "deleted");

        let cursor = first["cursor"].as_str().expect("a cursor").to_owned();
        for request in [resume(path, &cursor), get(&format!("{path}&since={cursor}"))] {
            let mut again = process.stream(request).await;
            assert_eq!(next(&mut again, "stream").await["type"], "deleted");
        }
        let mut sse = Request::get(path).header("accept", "text/event-stream").body(Body::empty()).expect("a request");
        sse.headers_mut().insert("last-event-id", cursor.parse().expect("a value"));
        let mut again = process.stream(sse).await;
        assert_eq!(again.headers["content-type"], "text/event-stream");
        assert!(again.until("\n\n").await.starts_with("retry: 1000\nevent: hello\ndata: {\"event\":\"hello\","));
        let told = again.until("\n\n").await;
        assert!(
            told.starts_with("id: s") && told.contains("\nevent: stream\ndata: {\"event\":\"stream\",\"cursor\":\"s"),
            "{told}"
        );
    });
}

#[test]
fn a_page_may_ask_for_the_last_entries_and_one_from_another_log_begins_again() {
    beside(async |process| {
        for n in 0..30 {
            process.tell("pods", "shop", "web", &format!("change-{n}"));
        }
        let mut live = entries(&process, "&backlog=12").await;
        // One object is one partition of six.
        for n in 28..30 {
            assert_eq!(live.event().await["type"], format!("change-{n}"));
        }
        let mut live =
            process.stream(resume("/api/v1/live?subscribe=stream&backlog=6", "s0-99.1-99.2-99.3-99.4-99.5-99")).await;
        assert_eq!(live.event().await["event"], "hello");
        let reset = live.event().await;
        assert_eq!((&reset["event"], &reset["of"]), (&"reset".into(), &"stream".into()));
        assert_eq!(live.event().await["type"], "change-29");
    });
}

#[test]
fn changes_are_told_without_their_objects_and_one_that_is_too_slow_is_told_what_it_missed() {
    beside_a_store_that_keeps(2, async |process| {
        process.put("early", "web", 1).await;
        let mut live = process.stream(get("/api/v1/live?subscribe=changes&kind=pods")).await;
        assert_eq!(live.event().await["event"], "hello");
        assert_eq!(live.until("\n").await, "", "a snapshot is not asked for here");
        process.put("web", "web", 7).await;
        let change = live.event().await;
        assert_eq!(
            (&change["operation"], &change["name"], &change["rv"]),
            (&"ADDED".into(), &"web".into(), &"7".into())
        );
        assert_eq!(change["object"], Value::Null);
        for n in 8..=12 {
            process.put("web", "web", n).await;
        }
        let lagged = live.event().await;
        assert_eq!((&lagged["event"], &lagged["missed"]), (&"lagged".into(), &5.into()));
        assert_eq!(live.event().await["event"], "reset");
        process.put("web", "web", 13).await;
        assert_eq!(live.event().await["rv"], "13");
    });
}

/// Counts its questions into what it answers.
#[derive(Default)]
struct Tree {
    asked: AtomicU64,
    silent: bool,
}

impl ActorControl for Tree {
    fn tree(&self) -> BoxFuture<'_, Result<Vec<ChildStatus>, ControlError>> {
        if self.silent {
            return Box::pin(pending());
        }
        let status = ChildStatus {
            id: "watcher/pods".into(),
            group: "watch".into(),
            state: LifeState::Up,
            incarnation: 1,
            restarts: 0,
            last_exit: None,
            backoff_ms: None,
            handled: self.asked.fetch_add(1, Ordering::Relaxed) / 2,
            handling: None,
            arbiter: "watch-0".into(),
        };
        Box::pin(ready(Ok(vec![status])))
    }

    fn kill<'a>(&'a self, id: &'a str, _: KillHow) -> BoxFuture<'a, Result<(), ControlError>> {
        self.restart(id)
    }

    fn restart<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), ControlError>> {
        Box::pin(ready(Ok(())))
    }
}

#[test]
fn what_happens_to_an_actor_is_told_at_once_and_the_tree_when_it_has_changed() {
    beside(async |process| {
        assert!(process.faces.control.set(Arc::new(Tree::default())).is_ok());
        let mut live = process.stream(get("/api/v1/live?subscribe=actors")).await;
        assert_eq!(live.event().await["event"], "hello");
        assert_eq!(live.event().await["items"][0]["handled"], 0);
        let exit = LastExit { reason: ExitReason::Panicked, message: None, location: None, at_ms: 5 };
        let down = LifeFact::Down { id: "watcher/pods".into(), incarnation: 1, exit, back_in_ms: Some(100) };
        process.faces.life.tell(&down);
        process.faces.life.tell(&LifeFact::Up { id: "watcher/pods".into(), incarnation: 2 });
        let began = Instant::now();
        let (down, up) = (live.event().await, live.event().await);
        assert_eq!((&down["event"], &down["fact"], &down["backInMs"]), (&"life".into(), &"down".into(), &100.into()));
        assert_eq!((&up["fact"], &up["incarnation"]), (&"up".into(), &2.into()));
        assert!(began.elapsed().is_zero(), "at once");
        assert_eq!(next(&mut live, "actors").await["items"][0]["handled"], 1);
    });
}

#[test]
fn a_supervisor_that_does_not_answer_holds_up_nothing_else() {
    beside(async |process| {
        assert!(process.faces.control.set(Arc::new(Tree { silent: true, ..Tree::default() })).is_ok());
        let mut live = process.stream(get("/api/v1/live?subscribe=actors,stream&backlog=6")).await;
        assert_eq!(live.event().await["event"], "hello");
        process.tell("pods", "shop", "web", "created");
        assert_eq!(live.event().await["event"], "stream");
        assert_eq!(live.event().await["problem"], "the supervisor does not answer");
    });
}

#[test]
fn bad_questions_are_refused_and_streams_are_counted() {
    beside(async |mut process| {
        let target = Target::all(Kind::builtin("pods").expect("built in"));
        let row = WatcherRow::new(target, Lane::new(Limits { bytes: 1 << 20, records: 100 }, || {}));
        process.faces.board.set_watchers(vec![row]);
        for (query, code) in [
            ("subscribe=everything", "bad_parameter"),
            ("backlog=-1", "bad_parameter"),
            ("backlog=1001", "bad_parameter"),
            ("since=nonsense", "bad_cursor"),
            ("kind=podz", "unknown_kind"),
            ("topics=stream", "unknown_parameter"),
        ] {
            let (status, got, detail) = process.get(&format!("/api/v1/live?{query}")).await.problem();
            assert_eq!((status, got.as_str()), (400, code), "{query}: {detail}");
        }
        process.faces.streams = StreamLimit::of(1);
        // A cursor that a browser kept from another build is no reason to stay away.
        let mut first = process.stream(resume("/api/v1/live", "0000000000000007-1")).await;
        assert_eq!(first.event().await["event"], "hello");
        assert_eq!(process.get("/api/v1/live").await.problem().1, "too_many_streams");
        drop(first);
        assert_eq!(process.stream(get("/api/v1/live")).await.event().await["event"], "hello");
    });
}
