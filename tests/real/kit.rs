//! What the trials share: the real parts, a running product, and verbs for both.

use super::checker::{self, Record};
use super::front::{Behind, Front};
use super::laptop::SandboxCluster;
pub use super::waiting::within;
use agent_events::app::{self, Options, Running};
use agent_events::settings::{self, Sources};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use testbed::{Kafka, KafkaOptions, Kubernetes, KubernetesOptions};

/// How long anything may take to come about before a trial fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A trial's name, which is a sentence, the ends it can stand between, and the trial.
pub type Trial = (&'static str, Where, fn(&Parts));

/// The ends that a trial can stand between.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// Real parts, and a laptop's.
    Both,
    /// It torments or needs something that only the real part has.
    Real,
}

/// A real Kafka, which starts when it is first needed.
pub type Broker = Arc<LazyLock<Box<Kafka>>>;

/// One for all trials.
pub fn broker() -> Broker {
    Arc::new(LazyLock::new(|| Box::new(Kafka::start(KafkaOptions::default()).expect("a real Kafka starts"))))
}

/// The two ends, for all trials; each trial has topics and a namespace of its own.
pub struct Parts {
    pub ends: Ends,
    /// A data directory for each prefix of topics; the embedded log stands in it.
    data: TempDir,
    /// Where the process that owns the embedded log of a prefix can be asked.
    owners: Mutex<HashMap<String, SocketAddr>>,
}

/// What the product stands between.
pub enum Ends {
    /// A real API server with etcd and controllers, a real Kafka; each starts when it is first needed.
    Real { cluster: LazyLock<Box<Kubernetes>>, kafka: Broker },
    /// The sandbox, the embedded log.
    Laptop(Box<SandboxCluster>),
}

impl Parts {
    /// A real API server and a real Kafka.
    pub fn real(kafka: Broker) -> Self {
        let cluster = || Box::new(Kubernetes::start(KubernetesOptions::default()).expect("a real API server starts"));
        Self::of(Ends::Real { cluster: LazyLock::new(cluster), kafka })
    }

    /// A real API server that reads etcd directly and compacts it every 20 s, so that it soon answers 410; nothing but the
    /// API server runs.
    pub fn forgetful(kafka: Broker) -> Self {
        let cluster = || {
            let options = KubernetesOptions {
                controllers: false,
                watch_cache: false,
                compaction_interval: Some(Duration::from_secs(20)),
                ..KubernetesOptions::default()
            };
            Box::new(Kubernetes::start(options).expect("a real API server starts"))
        };
        Self::of(Ends::Real { cluster: LazyLock::new(cluster), kafka })
    }

    /// What a laptop has.
    pub fn laptop() -> Self {
        Self::of(Ends::Laptop(Box::new(SandboxCluster::start())))
    }

    fn of(ends: Ends) -> Self {
        Self { ends, data: tempfile::tempdir().expect("a directory"), owners: Mutex::default() }
    }

    /// The real API server; only for trials that need it.
    pub fn cluster(&self) -> &Kubernetes {
        match &self.ends {
            Ends::Real { cluster, .. } => cluster,
            Ends::Laptop(_) => panic!("this trial needs a real API server"),
        }
    }

    /// The sandbox; only for trials that script its faults.
    pub fn sandbox(&self) -> &SandboxCluster {
        match &self.ends {
            Ends::Laptop(sandbox) => sandbox,
            Ends::Real { .. } => panic!("this trial needs the sandbox"),
        }
    }

    /// The broker; only for trials that torment it.
    pub fn kafka(&self) -> &Kafka {
        match &self.ends {
            Ends::Real { kafka, .. } => kafka,
            Ends::Laptop(_) => panic!("this trial needs a real broker"),
        }
    }

    /// The API server dies without a word.
    pub fn kill_api_server(&self) {
        match &self.ends {
            Ends::Real { cluster, .. } => cluster.api_server().kill9().expect("the API server can be killed"),
            Ends::Laptop(sandbox) => sandbox.kill(),
        }
    }

    /// And comes back, where it was.
    pub fn restart_api_server(&self) {
        match &self.ends {
            Ends::Real { cluster, .. } => cluster.api_server().restart().expect("the API server comes back"),
            Ends::Laptop(sandbox) => sandbox.restart(),
        }
    }

    /// The log takes records and acks none, until [`Parts::resume_log`].
    pub fn pause_log(&self) {
        match &self.ends {
            Ends::Real { kafka, .. } => kafka.pause().expect("the broker stops"),
            Ends::Laptop(_) => agent_events::testing::hold_embedded_log(true),
        }
    }

    pub fn resume_log(&self) {
        match &self.ends {
            Ends::Real { kafka, .. } => kafka.resume().expect("the broker goes on"),
            Ends::Laptop(_) => agent_events::testing::hold_embedded_log(false),
        }
    }

    /// Everything that stands in a topic now, partition by partition, read without the product: from the broker by
    /// librdkafka; from the embedded log by the process that owns it, else by opening it.
    pub fn dump(&self, topic: &str) -> Vec<Record> {
        match &self.ends {
            Ends::Real { kafka, .. } => checker::of_kafka(&kafka.bootstrap(), topic),
            Ends::Laptop(_) => {
                let (prefix, _) = topic.split_once('.').expect("a topic of a trial has its prefix");
                let owner = self.owners.lock().expect("not poisoned").get(prefix).copied();
                match owner.filter(|api| TcpStream::connect_timeout(api, Duration::from_secs(1)).is_ok()) {
                    Some(api) => checker::of_http(api, topic),
                    None => checker::of_embedded(&self.data_dir(prefix).join("log"), topic),
                }
            }
        }
    }

    /// A directory for all trials between these ends, for as long as they stand.
    pub fn directory(&self) -> &Path {
        self.data.path()
    }

    fn data_dir(&self, prefix: &str) -> PathBuf {
        self.data.path().join(prefix)
    }

    fn owned(&self, prefix: &str, api: SocketAddr) {
        self.owners.lock().expect("not poisoned").insert(prefix.to_owned(), api);
    }

    /// One request to the API server; panics on anything that is not 2xx.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// One request to the API server: status and body.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, String) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        match &self.ends {
            Ends::Real { cluster, .. } => {
                let answer = cluster.request(method, path, content, &body).expect("the API server answers");
                (answer.status, answer.body)
            }
            Ends::Laptop(sandbox) => sandbox.request(method, path, content, &body),
        }
    }

    /// Creates a namespace and waits until objects can be made in it.
    pub fn namespace(&self, name: &str) {
        self.api("POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}}));
    }

    /// What leads a client to the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        match &self.ends {
            Ends::Real { cluster, .. } => cluster.kubeconfig_path(),
            Ends::Laptop(sandbox) => sandbox.kubeconfig(),
        }
    }

    /// A TLS front of the API server, for who has `token-1`.
    pub fn front(&self, name: &str) -> Front {
        let behind = match &self.ends {
            Ends::Real { cluster, .. } => {
                Behind::Tls { address: cluster.url(), ca: cluster.ca_path(), token: cluster.admin_token().to_owned() }
            }
            Ends::Laptop(sandbox) => Behind::Plain(sandbox.address()),
        };
        Front::start(behind, &self.data.path().join(format!("{name}-front")))
    }

    /// The API server's storage forgets all history up to `revision`.
    pub fn compact(&self, revision: &str) {
        match &self.ends {
            Ends::Real { cluster, .. } => compact_etcd(&cluster.etcd_url(), revision),
            Ends::Laptop(sandbox) => sandbox.compact(),
        }
    }

    /// The settings of a product on these parts, with topics of its own.
    pub fn sets(&self, prefix: &str) -> Vec<String> {
        let log = match &self.ends {
            Ends::Real { kafka, .. } => format!("kafka.bootstrap={:?}", kafka.bootstrap()),
            Ends::Laptop(_) => "log.engine=\"embedded\"".into(),
        };
        vec![
            format!("cluster.kubeconfig={:?}", self.kubeconfig().display().to_string()),
            "cluster.mode=\"kubeconfig\"".into(),
            "cluster.name=\"real\"".into(),
            log,
            format!("data_dir={:?}", self.data_dir(prefix).display().to_string()),
            format!("topics.prefix=\"{prefix}.\""),
            "http.api=\"127.0.0.1:0\"".into(),
            "http.ops=\"127.0.0.1:0\"".into(),
            "chaos.enabled=true".into(),
            "supervision.max_restarts=1000".into(),
        ]
    }

    /// A product in this process.
    pub fn product(&self, prefix: &str, more: &[&str]) -> Product {
        let product = self.product_unready(prefix, more);
        if let Err(missing) = product.running.ready(PATIENCE) {
            panic!("not ready after {PATIENCE:?}: {missing:?}");
        }
        product
    }

    /// The same without waiting for readiness.
    pub fn product_unready(&self, prefix: &str, more: &[&str]) -> Product {
        let mut set = self.sets(prefix);
        set.extend(more.iter().map(|s| (*s).to_owned()));
        let loaded = settings::load(&Sources { set, ..Sources::default() }).expect("the settings hold");
        let running = app::start(loaded, Options::default()).expect("the product starts");
        self.owned(prefix, running.api_addr());
        Product { running, prefix: prefix.to_owned() }
    }

    /// A product in a process of its own, with its HTTP addresses as chosen by the system.
    pub fn process(&self, prefix: &str, more: &[&str]) -> Process {
        let mut arguments = vec!["run".to_owned()];
        for set in self.sets(prefix).iter().map(String::as_str).chain(more.iter().copied()) {
            arguments.extend(["--set".to_owned(), set.to_owned()]);
        }
        let process = Process::start(&arguments, &[]);
        self.owned(prefix, process.api);
        process
    }
}

impl Process {
    /// The binary with these arguments and environment, and with addresses of its own.
    pub fn start(arguments: &[String], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
        command.envs(environment.iter().copied());
        Self::of(command, arguments)
    }

    /// The same, by a program that becomes the binary.
    pub fn of(mut command: Command, arguments: &[String]) -> Self {
        let ports = [free_port(), free_port()];
        command.args(arguments);
        let api: SocketAddr = ([127, 0, 0, 1], ports[0]).into();
        let ops: SocketAddr = ([127, 0, 0, 1], ports[1]).into();
        command.args(["--set", &format!("http.api=\"{api}\""), "--set", &format!("http.ops=\"{ops}\"")]);
        // A file: a pipe that nobody empties would stop the process.
        let log = tempfile::NamedTempFile::new().expect("a file");
        let stderr = log.reopen().expect("the same file");
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().expect("the binary starts");
        Self { child, api, ops, log }
    }

    pub fn is_ready(&self) -> bool {
        TcpStream::connect_timeout(&self.ops, Duration::from_secs(1)).is_ok() && http_get(self.ops, "/readyz").0 == 200
    }

    pub fn await_ready(&self) {
        eventually("the process is ready", || self.is_ready().then_some(()));
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGSTOP: it does nothing until [`Process::resume`], its connections stay open.
    pub fn pause(&self) {
        self.send("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.send("CONT");
    }

    fn send(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs").success());
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        assert_accounts(self.ops);
        self.signal("TERM")
    }

    /// Sends a signal and waits for the end; gives the exit code.
    pub fn signal(&mut self, name: &str) -> Option<i32> {
        self.send(name);
        self.child.wait().expect("it ends").code()
    }

    /// Everything it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("UTF-8")
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub struct Product {
    pub running: Running,
    pub prefix: String,
}

/// Whatever a trial did: what was reported must be in the account when it is over (G10). One that has ended has none any
/// more: [`Product::shutdown`] looked before.
impl Drop for Product {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_accounts(self.running.ops_addr());
        }
    }
}

/// A process that has ended has no account any more.
fn assert_accounts(ops: SocketAddr) {
    if TcpStream::connect_timeout(&ops, Duration::from_secs(1)).is_ok() {
        let (_, metrics) = http_get(ops, "/metrics");
        super::accounts::assert_balanced(&String::from_utf8_lossy(&metrics));
    }
}

impl Product {
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Ends it in order, its account checked; nothing of it listens any more.
    pub fn shutdown(self) {
        assert_accounts(self.running.ops_addr());
        assert_eq!(self.running.shutdown(), 0);
        let left = TcpStream::connect_timeout(&self.running.ops_addr(), Duration::from_secs(1));
        assert!(left.is_err(), "it still listens after its end");
    }

    /// `GET` on the API listener: status and JSON.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = http_get(self.running.api_addr(), path);
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Runs the command line against this product; its standard output.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let server = format!("http://{}", self.running.api_addr());
        let output = Command::new(env!("CARGO_BIN_EXE_agent-events"))
            .args(["--server", &server])
            .args(arguments)
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// uid → resourceVersion of the store's objects of a kind, over HTTP.
    pub fn state(&self, kind: &str, namespace: &str) -> std::collections::BTreeMap<String, String> {
        let (status, body) = self.get(&format!("/api/v1/objects?kind={kind}&namespace={namespace}&limit=5000"));
        assert_eq!(status, 200, "{body}");
        super::checker::versions(&body)
    }
}

pub struct Process {
    pub child: Child,
    pub api: SocketAddr,
    pub ops: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until `probe` gives something; panics after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// Time that passes while something else goes on; nothing is waited for.
pub fn pause(time: Duration) {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    std::hint::black_box(never.recv_timeout(time).is_err());
}

/// Through etcd's own JSON gateway.
fn compact_etcd(url: &str, revision: &str) {
    let addr: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    let body = json!({"revision": revision, "physical": true}).to_string();
    let (status, answer) = http(addr, "POST", "/v3/kv/compaction", &body);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
}

/// A bare HTTP/1.0 GET, so that the product's own client proves nothing about its own server.
pub fn http_get(addr: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    http(addr, "GET", path, "")
}

fn http(addr: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    // One write: what has been answered after a piece of it may be closed before the next piece comes.
    let request = format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let head_end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
    let status = std::str::from_utf8(&answer[9..12]).expect("a status").parse().expect("a number");
    (status, answer.split_off(head_end + 4))
}
