//! A sandbox to test, and a plain HTTP client that hides nothing.

use agent_events::sandbox::{Sandbox, SandboxOptions};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub type Run = fn();

/// Names and functions, as one.
#[macro_export]
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub const TRIALS: &[(&str, $crate::kit::Run)] = &[$((stringify!($name), || $crate::kit::run($name()))),*];
    };
}

/// Set to a directory, this program is a sandbox on it until it is killed.
pub const CHILD: &str = "AGENT_EVENTS_TEST_SANDBOX_DIR";
/// No wait of a test takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on a runtime of its own, with two threads as in the program.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// A sandbox on a directory of its own.
pub struct Bed {
    pub sandbox: Sandbox,
    pub client: Client,
    pub dir: tempfile::TempDir,
}

pub async fn bed() -> Bed {
    let dir = tempfile::tempdir().expect("a directory");
    let sandbox = start(dir.path()).await;
    Bed { client: Client::of(sandbox.url()), sandbox, dir }
}

pub fn options(dir: &Path) -> SandboxOptions {
    SandboxOptions { listen: "127.0.0.1:0".parse().expect("an address"), dir: dir.to_owned() }
}

pub async fn start(dir: &Path) -> Sandbox {
    Sandbox::start(options(dir)).await.unwrap_or_else(|e| panic!("{e}"))
}

/// What came back.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Names of a list's items.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let value = self.json();
        let items = value["items"].as_array().unwrap_or_else(|| panic!("no list: {value}"));
        items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Refused with that code and reason, as a Status.
    #[track_caller]
    pub fn refused(&self, code: u16, reason: &str) -> Value {
        let status = self.json();
        assert_eq!((self.code, status["reason"].as_str().unwrap_or_default()), (code, reason), "{status}");
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
        assert_eq!(status["code"], code);
        status
    }

    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.text);
        self.json()
    }
}

/// Asks over a connection of its own each time.
#[derive(Clone)]
pub struct Client {
    address: String,
}

impl Client {
    pub fn of(url: &str) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned() }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, String> {
        let socket = tokio::net::TcpStream::connect(&self.address).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|e| e.to_string())?;
        #[allow(clippy::disallowed_methods, reason = "the connection lives as long as its answer")]
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(k, _)| k.eq_ignore_ascii_case("host")) {
            request = request.header(HOST, &self.address);
        }
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        answer.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.to_string())
    }

    pub async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        self.try_ask(method, path, headers, body).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub async fn try_ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let (parts, body) = self.send(method, path, headers, body).await?.into_parts();
        let body =
            tokio::time::timeout(PATIENCE, body.collect()).await.map_err(|_| "the answer does not end".to_owned())?;
        let text = String::from_utf8(body.map_err(|e| e.to_string())?.to_bytes().to_vec()).expect("text");
        Ok(Answer { code: parts.status.as_u16(), headers: parts.headers, text })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.ask(Method::GET, path, &[(ACCEPT.as_str(), accept)], Bytes::new()).await
    }

    pub async fn with_body(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Answer {
        let headers = [(CONTENT_TYPE.as_str(), content_type)];
        self.ask(method, path, &headers, Bytes::from(body.to_string())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::POST, path, "application/json", body).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.with_body(Method::PUT, path, "application/json", body).await
    }

    pub async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        self.with_body(Method::PATCH, path, kind, body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// Orders a fault.
    pub async fn fault(&self, order: &Value) {
        self.post("/sandbox/faults", order).await.ok();
    }

    pub async fn watch(&self, path: &str) -> Lines {
        self.watch_as(path, "application/json").await
    }

    pub async fn watch_as(&self, path: &str, accept: &str) -> Lines {
        let answer = self.send(Method::GET, path, &[(ACCEPT.as_str(), accept)], Bytes::new()).await;
        let answer = answer.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(answer.status(), 200, "{path}");
        Lines { body: answer.into_body(), buffer: Vec::new() }
    }
}

/// The lines of a watch.
pub struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; `None` at an orderly end, an error where the connection broke, with what stood there last.
    pub async fn next(&mut self) -> Result<Option<Value>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line).expect("a line of JSON")));
            }
            let rest = || String::from_utf8_lossy(&self.buffer).into_owned();
            match tokio::time::timeout(PATIENCE, self.body.frame()).await {
                Err(_) => panic!("a watch says nothing: {}", rest()),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => return Err(rest()),
                Ok(Some(Err(error))) => return Err(format!("{}{error}", rest())),
                Ok(Some(Ok(frame))) => self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default()),
            }
        }
    }

    /// `ADDED name`
    pub async fn event(&mut self) -> String {
        let line = self.next().await.expect("the watch goes on").expect("the watch goes on");
        let name = line["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", line["type"].as_str().expect("a type")).trim_end().to_owned()
    }

    /// Whether nothing comes for as long as the network could need.
    pub async fn is_silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.next()).await.is_err()
    }
}

pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"value": value}}, "data": {"key": value}})
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A process that is a sandbox, to be killed.
pub struct Process {
    child: Child,
    pub client: Client,
}

impl Process {
    pub fn start(dir: &Path) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program).env(CHILD, dir).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        std::io::BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        assert!(line.starts_with("http://"), "the sandbox did not start: {line}");
        Self { client: Client::of(line.trim()), child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[allow(clippy::print_stdout, reason = "the parent reads where to find it")]
pub fn be_a_sandbox(dir: PathBuf) {
    run(async {
        let sandbox = start(&dir).await;
        println!("{}", sandbox.url());
        std::future::pending::<()>().await;
    });
}
