//! How the cases ask: any request, any header, the answer as it came; and watches that are read line by line.
//!
//! Through `kube`'s bare client (configuration, TLS, HTTP/1.1 with chunks), so that nothing of the product's own client or
//! of the sandbox's own types stands between a case and what is on the wire.

use crate::kit::{self, Ends, Parts};
use crate::laptop::SandboxCluster;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long an answer or an event may take. Short of [`kit::PATIENCE`]: what does not come within this never comes.
const PATIENCE: Duration = Duration::from_secs(20);

pub const JSON: &str = "application/json";
pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

/// One of the two API servers, and a client of it.
pub struct Api<'p> {
    parts: &'p Parts,
    runtime: Runtime,
    client: kube::Client,
}

/// What was asked for, still to be sent.
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// `Accept`, `Content-Type`, `User-Agent`.
    pub accept: &'a str,
    pub content: &'a str,
    pub agent: &'a str,
    pub body: String,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { method: "GET", path: "/", accept: JSON, content: JSON, agent: "conformance/1.0", body: String::new() }
    }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
    /// Null where the text is no JSON.
    pub json: Value,
    /// What was asked, for messages.
    asked: String,
    /// Whether a real API server said it.
    real: bool,
}

impl<'p> Api<'p> {
    pub fn new(parts: &'p Parts) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let kubeconfig = Kubeconfig::read_from(parts.kubeconfig()).expect("the kubeconfig is there");
        let client = runtime.block_on(async {
            let options = KubeConfigOptions::default();
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("it holds");
            config.default_retry = false;
            kube::Client::try_from(config).expect("a client")
        });
        Self { parts, runtime, client }
    }

    /// Whether a controller-manager, a scheduler and kubelets are behind it.
    pub fn is_real(&self) -> bool {
        matches!(self.parts.ends, Ends::Real { .. })
    }

    /// The sandbox behind it, for what only its own handle can do.
    pub fn sandbox(&self) -> Option<&SandboxCluster> {
        match &self.parts.ends {
            Ends::Real { .. } => None,
            Ends::Laptop(sandbox) => Some(sandbox),
        }
    }

    /// A namespace of the case's own.
    pub fn namespace(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("conformance-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.post("/api/v1/namespaces", &json!({"metadata": {"name": name}})).created();
        name
    }

    /// Forgets all history, as etcd's compaction does.
    pub fn compact(&self) {
        self.parts.compact(&self.version());
    }

    /// The newest resourceVersion.
    pub fn version(&self) -> String {
        let list = self.get("/api/v1/namespaces?limit=1").ok();
        list["metadata"]["resourceVersion"].as_str().expect("a list has a version").to_owned()
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask(Ask { path, ..Ask::default() })
    }

    /// A GET that accepts something else than plain JSON.
    pub fn get_as(&self, accept: &str, path: &str) -> Answer {
        self.ask(Ask { path, accept, ..Ask::default() })
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(Ask { method: "POST", path, body: body.to_string(), ..Ask::default() })
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask(Ask { method: "PUT", path, body: body.to_string(), ..Ask::default() })
    }

    /// `content` is the kind of patch.
    pub fn patch(&self, path: &str, content: &str, body: &Value) -> Answer {
        self.ask(Ask { method: "PATCH", path, content, body: body.to_string(), ..Ask::default() })
    }

    /// `options` may be null: then there is no body.
    pub fn delete(&self, path: &str, options: &Value) -> Answer {
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.ask(Ask { method: "DELETE", path, body, ..Ask::default() })
    }

    pub fn ask(&self, ask: Ask<'_>) -> Answer {
        let asked = format!("{} {} {}", ask.method, ask.path, &ask.body[..ask.body.len().min(400)]);
        self.runtime.block_on(async {
            let response = self.send(&ask, &asked).await;
            let status = response.status().as_u16();
            let content_type = response.headers().get("content-type").map(|v| v.to_str().expect("ASCII").to_owned());
            let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await;
            let body = body.unwrap_or_else(|_| panic!("{asked}: the body does not end"));
            let body = body.unwrap_or_else(|e| panic!("{asked}: the body broke off: {e}")).to_bytes();
            let text = String::from_utf8(body.into()).expect("UTF-8");
            let json = serde_json::from_str(&text).unwrap_or(Value::Null);
            let content_type = content_type.unwrap_or_default();
            Answer { status, content_type, text, json, asked, real: self.is_real() }
        })
    }

    async fn send(&self, ask: &Ask<'_>, asked: &str) -> http::Response<Body> {
        let mut request = http::Request::builder().method(ask.method).uri(ask.path);
        let body = !ask.body.is_empty() || matches!(ask.method, "POST" | "PUT" | "PATCH");
        let headers = [("accept", ask.accept), ("user-agent", ask.agent), ("content-type", ask.content)];
        for (name, value) in
            headers.into_iter().filter(|(name, value)| !value.is_empty() && (body || *name != "content-type"))
        {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(ask.body.clone().into_bytes())).expect("a request");
        let response = tokio::time::timeout(PATIENCE, self.client.send(request)).await;
        let response = response.unwrap_or_else(|_| panic!("{asked}: no answer within {PATIENCE:?}"));
        response.unwrap_or_else(|e| panic!("{asked}: {e:?}"))
    }

    /// Opens a watch; panics unless it opens. `path` holds the whole query.
    pub fn watch(&self, path: &str) -> Watch<'_> {
        self.watch_as(JSON, path)
    }

    pub fn watch_as(&self, accept: &str, path: &str) -> Watch<'_> {
        assert!(path.contains("watch="), "{path} is no watch");
        let asked = format!("GET {path}");
        let response = self.runtime.block_on(self.send(&Ask { path, accept, ..Ask::default() }, &asked));
        let status = response.status();
        let content_type = response.headers().get("content-type").map(|v| v.to_str().expect("ASCII").to_owned());
        let watch = Watch {
            runtime: &self.runtime,
            body: response.into_body(),
            read: Vec::new(),
            content_type: content_type.unwrap_or_default(),
            asked,
        };
        assert_eq!(status, 200, "{}", watch.asked);
        watch
    }

    /// Waits until `probe` gives something.
    pub fn eventually<T>(&self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> T {
        kit::eventually(what, || probe(self))
    }
}

impl Answer {
    /// Its JSON, if it is 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.with(200)
    }

    /// Its JSON, if it is 201.
    #[track_caller]
    pub fn created(self) -> Value {
        self.with(201)
    }

    /// Its JSON, if it has that status.
    #[track_caller]
    pub fn with(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        self.json
    }

    /// A refusal: a whole Status of that code, reason (empty: none) and message. For words that clients match on.
    #[track_caller]
    pub fn refused(self, code: u16, reason: &str, message: &str) -> Value {
        let status = self.refused_with(code, reason);
        assert_eq!(status["message"], message, "{status}");
        status
    }

    /// A refusal whose words are for people: they begin so on a real server. The sandbox says the same in words of its own,
    /// which name the remedy; code, reason, causes and details are equal.
    #[track_caller]
    pub fn refused_saying(self, code: u16, reason: &str, begins: &str) -> Value {
        let real = self.real;
        let status = self.refused_with(code, reason);
        let message = status["message"].as_str().expect("a message");
        assert!(!real || message.starts_with(begins), "{message}");
        status
    }

    /// A refusal whatever its message.
    #[track_caller]
    pub fn refused_with(self, code: u16, reason: &str) -> Value {
        assert_eq!(self.status, code, "{}: {}", self.asked, self.text);
        assert_eq!(self.content_type, JSON, "{}", self.asked);
        let mut shape = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code});
        if reason.is_empty() {
            assert_eq!(self.json.get("reason"), None, "{}: {}", self.asked, self.text);
        } else {
            shape["reason"] = reason.into();
        }
        assert_like(&self.json, &shape);
        assert!(self.json["metadata"].is_object(), "a Status has metadata: {}", self.text);
        assert!(self.json["message"].as_str().is_some_and(|words| !words.is_empty()), "{}", self.text);
        self.json
    }
}

/// A watch under way. Dropping it closes it.
pub struct Watch<'a> {
    runtime: &'a Runtime,
    body: Body,
    read: Vec<u8>,
    pub content_type: String,
    asked: String,
}

/// A line of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: String,
    pub object: Value,
}

impl Event {
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn version(&self) -> u64 {
        version_of(&self.object)
    }
}

impl Watch<'_> {
    /// The next line, or `None` if the server ended the stream.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line: Value = serde_json::from_slice(&line).expect("a line of a watch is JSON");
                let kind = line["type"].as_str().expect("a line of a watch has a type").to_owned();
                return Some(Event { kind, object: line["object"].clone() });
            }
            let frame = async { tokio::time::timeout(PATIENCE, self.body.frame()).await };
            match self.runtime.block_on(frame) {
                Err(_) => panic!("{}: nothing within {PATIENCE:?}; unread: {:?}", self.asked, self.read),
                Ok(None) => {
                    assert!(self.read.is_empty(), "{}: ends within a line", self.asked);
                    return None;
                }
                Ok(Some(Err(e))) => panic!("{}: broke off: {e}", self.asked),
                Ok(Some(Ok(frame))) => self.read.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }

    /// The next line, which must come.
    #[track_caller]
    pub fn event(&mut self) -> Event {
        self.next().unwrap_or_else(|| panic!("{}: the stream ended", self.asked))
    }

    /// The next line, which must be of that type.
    #[track_caller]
    pub fn expect(&mut self, kind: &str) -> Value {
        let event = self.event();
        assert_eq!(event.kind, kind, "{}: {}", self.asked, event.object);
        event.object
    }

    /// The next line, which must be of that type about that object.
    #[track_caller]
    pub fn expect_about(&mut self, kind: &str, name: &str) -> Value {
        let object = self.expect(kind);
        assert_eq!(object["metadata"]["name"], name, "{}: {object}", self.asked);
        object
    }

    /// Everything up to the end of the stream.
    pub fn rest(mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// resourceVersion of an object or a list, as a number: the API server's storage counts.
#[track_caller]
pub fn version_of(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no resourceVersion: {object}"))
}

/// The names of a list's items.
pub fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("an item has a name")).collect()
}

/// `expected` is in `actual`: objects may hold more, everything else is equal.
#[track_caller]
pub fn assert_like(actual: &Value, expected: &Value) {
    if let Err(why) = like(actual, expected, "") {
        panic!("{why}\n  expected {expected}\n  in {actual}");
    }
}

fn like(actual: &Value, expected: &Value, at: &str) -> Result<(), String> {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected.iter().try_for_each(|(key, value)| {
            let found = actual.get(key).ok_or_else(|| format!("no {at}.{key}"))?;
            like(found, value, &format!("{at}.{key}"))
        }),
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            let mut pairs = actual.iter().zip(expected).enumerate();
            pairs.try_for_each(|(i, (a, e))| like(a, e, &format!("{at}[{i}]")))
        }
        _ if actual == expected => Ok(()),
        _ => Err(format!("{at} is {actual} and not {expected}")),
    }
}
