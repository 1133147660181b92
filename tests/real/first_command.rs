//! The README's first command: a cluster, a log and answers from nothing but this program, in a directory that it can come
//! back to.

use super::checker::{self, fold, versions, violations};
use super::kit::{Process, eventually, free_port, http_get};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

pub const TRIALS: &[(&str, fn())] = &[
    ("it_shows_a_living_cluster_ends_with_0_on_ctrl_c_and_goes_on_where_it_was", twice),
    ("killed_with_9_it_goes_on_where_it_was", killed_between),
    ("in_the_background_it_is_found_refused_twice_and_ended", in_the_background),
    ("a_port_that_is_taken_is_named_with_the_remedy", port_taken),
    ("a_data_directory_that_another_process_works_on_is_refused", directory_taken),
];

/// Plural and path of the kinds that are compared.
const KINDS: &[(&str, &str)] = &[
    ("pods", "/api/v1/pods"),
    ("services", "/api/v1/services"),
    ("configmaps", "/api/v1/configmaps"),
    ("secrets", "/api/v1/secrets"),
    ("deployments", "/apis/apps/v1/deployments"),
    ("statefulsets", "/apis/apps/v1/statefulsets"),
];

/// One directory, and the sandbox's port in it.
struct Laptop {
    dir: TempDir,
    sandbox: SocketAddr,
}

impl Laptop {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir, sandbox: ([127, 0, 0, 1], free_port()).into() }
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn arguments(&self, command: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = command.iter().map(|a| (*a).to_owned()).collect();
        let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/local.toml");
        arguments.extend(["--config".to_owned(), local.display().to_string()]);
        for set in [
            format!("data_dir={:?}", self.data_dir().display().to_string()),
            format!("sandbox.listen=\"{}\"", self.sandbox),
        ] {
            arguments.extend(["--set".to_owned(), set]);
        }
        arguments
    }

    fn run(&self) -> Process {
        Process::start(&self.arguments(&["run"]), &[])
    }

    /// A command that ends.
    fn command(&self, command: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agent-events"))
            .args(self.arguments(command))
            .output()
            .expect("the binary runs")
    }

    fn cluster_uid(&self) -> String {
        let (_, body) = http_get(self.sandbox, "/api/v1/namespaces/kube-system");
        let namespace: Value = serde_json::from_slice(&body).expect("JSON");
        namespace["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }

    /// For each kind, API server, store and topic agree at some moment, though the cluster never rests.
    fn agrees(&self, api: SocketAddr) {
        for (kind, path) in KINDS {
            eventually(&format!("{kind}: API server, store and topic agree"), || {
                let truth = versions(&json_of(self.sandbox, path));
                let store = versions(&json_of(api, &format!("/api/v1/objects?kind={kind}&limit=5000")));
                let topic = checker::of_http(api, &format!("k8s-{kind}"));
                let again = versions(&json_of(self.sandbox, path));
                (truth == again && store == truth && fold(&topic) == truth && !truth.is_empty()).then_some(())
            });
        }
    }
}

fn json_of(addr: SocketAddr, path: &str) -> Value {
    let (status, body) = http_get(addr, path);
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

/// Number of records of each topic, and its faults of order.
fn log(api: SocketAddr) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for (kind, _) in KINDS {
        let records = checker::of_http(api, &format!("k8s-{kind}"));
        assert_eq!(violations(&records), Vec::<String>::new(), "{kind}");
        counts.insert(*kind, records.len());
    }
    counts
}

fn shows_pods(process: &Process, since: &testbed::Stopwatch) {
    eventually("pods are listed", || {
        let listening = std::net::TcpStream::connect(process.api).is_ok();
        let (status, body) =
            if listening { http_get(process.api, "/api/v1/objects?kind=pods") } else { (0, Vec::new()) };
        let some = status == 200 && !versions(&serde_json::from_slice(&body).expect("JSON")).is_empty();
        some.then_some(())
    });
    println!("pods are listed {:.2} s after the start", since.elapsed().as_secs_f64());
}

fn twice() {
    let laptop = Laptop::new();
    let since = testbed::Stopwatch::start();
    let mut process = laptop.run();
    shows_pods(&process, &since);
    process.await_ready();
    let (status, page) = http_get(process.api, "/");
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&page).contains("<title>"), "there is a page");
    laptop.agrees(process.api);
    let (uid, before) = (laptop.cluster_uid(), log(process.api));
    assert_eq!(process.signal("INT"), Some(0), "{}", process.stderr());
    let since = testbed::Stopwatch::start();
    let mut process = laptop.run();
    shows_pods(&process, &since);
    process.await_ready();
    assert_eq!(laptop.cluster_uid(), uid, "the same cluster");
    laptop.agrees(process.api);
    for (kind, records) in log(process.api) {
        assert!(records >= before[kind], "{kind}: {records} records, {} before the restart", before[kind]);
    }
    assert_eq!(process.terminate(), Some(0), "{}", process.stderr());
}

fn killed_between() {
    let laptop = Laptop::new();
    let mut process = laptop.run();
    process.await_ready();
    laptop.agrees(process.api);
    let (uid, mut before) = (laptop.cluster_uid(), log(process.api));
    for _ in 0..3 {
        process.kill9();
        process = laptop.run();
        process.await_ready();
        assert_eq!(laptop.cluster_uid(), uid, "the same cluster");
        laptop.agrees(process.api);
        let now = log(process.api);
        for (kind, records) in &now {
            assert!(records >= &before[kind], "{kind}: {records} records, {} before the kill", before[kind]);
        }
        before = now;
    }
    assert_eq!(process.terminate(), Some(0), "{}", process.stderr());
}

fn in_the_background() {
    let laptop = Laptop::new();
    let (api, ops) = (free_port(), free_port());
    let listen = [format!("http.api=\"127.0.0.1:{api}\""), format!("http.ops=\"127.0.0.1:{ops}\"")];
    let start = ["run", "--daemon", "--set", &listen[0], "--set", &listen[1]];
    let text = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let started = laptop.command(&start);
    assert_eq!(started.status.code(), Some(0), "{}", text(&started));
    assert!(text(&started).contains(&format!("http://127.0.0.1:{api}/")), "{}", text(&started));
    // From here on the process must end with the trial, however that ends.
    let ended = Ended(&laptop);
    let status = laptop.command(&["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!((&status["running"], &status["ready"]), (&json!(true), &json!(true)), "{status}");
    let pods = laptop.command(&["get", "pods", "-A", "-o", "name"]);
    assert!(text(&pods).contains("pod/"), "the process is found by its data directory: {}", text(&pods));
    let second = laptop.command(&start);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second).contains("already works on"), "{}", text(&second));
    let stopped = laptop.command(&["stop"]);
    assert_eq!(stopped.status.code(), Some(0), "{}", text(&stopped));
    drop(ended);
    assert_eq!(laptop.command(&["status"]).status.code(), Some(3));
    assert_eq!(laptop.command(&["stop"]).status.code(), Some(3));
}

struct Ended<'a>(&'a Laptop);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        drop(self.0.command(&["stop", "--timeout", "10s", "--force"]));
    }
}

fn port_taken() {
    let laptop = Laptop::new();
    let _taken = std::net::TcpListener::bind(laptop.sandbox).expect("free");
    let mut process = laptop.run();
    assert_eq!(process.child.wait().expect("it ends").code(), Some(1));
    let said = process.stderr();
    assert!(said.contains(&laptop.sandbox.to_string()) && said.contains("sandbox.listen"), "{said}");
}

fn directory_taken() {
    let laptop = Laptop::new();
    let mut first = laptop.run();
    first.await_ready();
    let mut second = laptop.run();
    assert_eq!(second.child.wait().expect("it ends").code(), Some(1));
    let said = second.stderr();
    assert!(said.contains(&first.child.id().to_string()) && said.contains("agent-events stop"), "{said}");
    assert_eq!(first.terminate(), Some(0));
}
