//! What the tests share: a process without capture, and a way to ask it.

use agent_events::actors::query::QueryActor;
use agent_events::actors::rt::{Arbiters, ChildSpec, Group, Supervisor};
use agent_events::domain::kind::Kind;
use agent_events::domain::record::{InRecord, WRITER_EPOCH_HEADER};
use agent_events::domain::topic::{object_key, partition_of};
use agent_events::http::{Faces, api_router, ops_router};
use agent_events::log::Log as _;
use agent_events::log::memory::MemoryLog;
use agent_events::messages::client::StateClient;
use agent_events::settings::Settings;
use agent_events::store::{Store, StoreOptions};
use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub const PREFIX: &str = "test.";
const KINDS: [&str; 2] = ["pods", "services"];

/// A process that is up: a folded store, a memory log, a query actor. Clones are the same.
#[derive(Clone)]
pub struct Process {
    pub faces: Faces,
    pub log: MemoryLog,
    pub store: Arc<Store>,
}

/// Runs a test beside a process, with paused time.
pub fn beside(test: impl AsyncFnOnce(Process)) {
    beside_a_store_that_keeps(4096, test);
}

/// The same, with so many changes kept for subscribers that are behind.
pub fn beside_a_store_that_keeps(ring: usize, test: impl AsyncFnOnce(Process)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime.expect("a current-thread runtime needs nothing")).block_on(async {
        let kinds: Vec<Kind> = KINDS.iter().filter_map(|id| Kind::builtin(id)).collect();
        let log = MemoryLog::default();
        let mut topics = Settings::defaults().topics;
        topics.prefix = PREFIX.into();
        let specs = topics.specs(&kinds);
        for spec in &specs {
            log.create(spec).await.expect("a memory log creates");
        }
        let tables = kinds.iter().map(|kind| (kind.clone(), format!("{PREFIX}{}", kind.topic()).into())).collect();
        let store = Store::new(StoreOptions { instance: 7, ring, ..StoreOptions::new("c", tables) });
        kinds.iter().for_each(|kind| store.complete(kind));
        let lent = store.clone();
        let place = Arbiters::single().place("query");
        let (spec, actor) = ChildSpec::new("query", &place, 16, move || QueryActor::new(lent.clone()));
        let supervisor = Supervisor::new(vec![Group::one_for_one("answers").child(spec)]).start().expect("one child");
        supervisor.booted().await;
        let faces = Faces::default();
        assert!(faces.client.set(StateClient::new(&actor)).is_ok());
        assert!(faces.log.set(Arc::new(log.clone())).is_ok());
        faces.topics.set(specs);
        test(Process { faces, log, store }).await;
    });
}

/// A Pod's JSON with blanks that a parser would lose.
pub fn pod_json(name: &str, app: &str, rv: u64) -> String {
    format!(
        r#"{{"kind":"Pod", "apiVersion":"v1","metadata":{{"name":"{name}","namespace":"shop","uid":"uid-{name}","resourceVersion":"{rv}","labels":{{"app":"{app}"}}}},"spec":{{"n":1.50}},"status":{{"phase":"Running"}}}}"#
    )
}

impl Process {
    /// Puts a version of a Pod on the log and into the store.
    pub async fn put(&self, name: &str, app: &str, rv: u64) {
        let source = json!({"kind": "pods", "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "rv": rv.to_string(), "observed": "watch"});
        let after = pod_json(name, app, rv);
        let value = format!(r#"{{"op":"r","ts_ms":0,"source":{source},"before":null,"after":{after}}}"#);
        let topic: Arc<str> = format!("{PREFIX}k8s-pods").into();
        let record = InRecord {
            topic: topic.clone(),
            partition: 0,
            offset: 0,
            timestamp_ms: 1000,
            key: Some(object_key("c", "pods", Some("shop"), name).into()),
            value: Some(value.into()),
            headers: vec![(WRITER_EPOCH_HEADER.into(), Some("1".into()))],
        };
        self.log.inject(record).expect("the topic exists");
        // Reading all of it again is fine: the store knows how far it came.
        self.store.apply(&self.log.read_all(&topic).await.expect("the log is up"));
    }

    /// Puts an entry on the event stream.
    pub fn tell(&self, kind: &str, namespace: &str, name: &str, what: &str) {
        let key = object_key("c", kind, Some(namespace), name);
        let value = json!({"id": format!("uid-{name}:{what}"), "tsMs": 1000, "cluster": "c", "kind": kind,
            "namespace": namespace, "name": name, "uid": format!("uid-{name}"), "rv": "1", "manager": "kubectl",
            "type": what, "severity": "normal", "summary": format!("{kind} {name}: {what}")});
        let record = InRecord {
            topic: format!("{PREFIX}event-stream").into(),
            partition: partition_of(key.as_bytes(), 6),
            offset: 0,
            timestamp_ms: 1000,
            key: Some(key.into()),
            value: Some(value.to_string().into()),
            headers: Vec::new(),
        };
        self.log.inject(record).expect("the topic exists");
    }

    pub async fn get(&self, path: &str) -> Answer {
        ask(api_router(self.faces.clone()), get(path)).await
    }

    pub async fn ops(&self, path: &str) -> Answer {
        ask(ops_router(self.faces.clone()), get(path)).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        ask(api_router(self.faces.clone()), request).await
    }

    /// Begins to read a stream.
    pub async fn stream(&self, request: Request<Body>) -> Lines {
        let response = answer(api_router(self.faces.clone()), request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Lines {
            headers: response.headers().clone(),
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }
}

pub fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a path of the tests is one")
}

async fn answer(router: Router, request: Request<Body>) -> Response {
    TowerToHyperService::new(router).call(request).await.expect("a router cannot fail")
}

async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = answer(router, request).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.expect("a body in memory").to_bytes();
    Answer { status: status.as_u16(), headers, text: String::from_utf8_lossy(&body).into_owned() }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).expect(&self.text)
    }

    /// Status, code and detail of a problem.
    #[track_caller]
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem: Value = serde_json::from_str(&self.text).expect(&self.text);
        assert_eq!(problem["status"], self.status);
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        assert!(!text("title").is_empty() && text("type").starts_with("urn:agent-events:problem:"), "{problem}");
        (self.status, text("code"), text("detail"))
    }
}

/// A stream as it is read.
pub struct Lines {
    pub headers: HeaderMap,
    body: BodyDataStream,
    text: String,
}

impl Lines {
    /// What stands before the next `separator`. Waits at most a minute of paused time.
    pub async fn until(&mut self, separator: &str) -> String {
        loop {
            if let Some((head, rest)) = self.text.split_once(separator) {
                let (head, rest) = (head.to_owned(), rest.to_owned());
                self.text = rest;
                return head;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.body.next()).await;
            let chunk =
                chunk.expect("the stream says something").expect("the stream goes on").expect("the stream is whole");
            self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
    }

    /// The next event of an NDJSON stream that is no heartbeat.
    pub async fn event(&mut self) -> Value {
        loop {
            let line = self.until("\n").await;
            if !line.is_empty() {
                return serde_json::from_str(&line).expect(&line);
            }
        }
    }

    /// Reads to the end, which must come within a minute of paused time; the lines that were left.
    pub async fn rest(mut self) -> Vec<Value> {
        let read = async {
            while let Some(chunk) = self.body.next().await {
                self.text.push_str(std::str::from_utf8(&chunk.expect("whole")).expect("UTF-8"));
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("the stream ends");
        self.text.lines().filter(|l| !l.is_empty()).map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}
