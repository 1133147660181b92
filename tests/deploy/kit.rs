//! The real parts, the shipped files, and a process that runs as the shipped pod would.

use super::topic;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testbed::{Kafka, KafkaOptions, Kubernetes, KubernetesOptions, wait_until};

/// How long anything may take to come about before a trial fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The namespace that everything is shipped for.
pub const NAMESPACE: &str = "agent-events";

/// A trial's name, which is a sentence, and the trial.
pub type Trial = (&'static str, fn(&Parts));

/// Whether the trials of kustomize can run here.
pub fn kubectl() -> Result<(), String> {
    for part in [testbed::Part::Kafka, testbed::Part::Kubernetes] {
        testbed::available(part).map_err(|missing| missing.to_string())?;
    }
    on_path("kubectl")
}

/// Whether those of Terraform can.
pub fn terraform() -> Result<(), String> {
    kubectl()?;
    testbed::terraform_available().map_err(|missing| missing.to_string())
}

/// Whether those of the image can.
pub fn image_tools() -> Result<(), String> {
    kubectl()?;
    ["buildah", "podman", "runc", "mmdebstrap"].into_iter().try_for_each(on_path)?;
    if !rustix::process::getuid().is_root() {
        return Err("building a root file system takes root".to_owned());
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    // The binary of this test run is put into the image: it wants the glibc that it was linked with.
    let debian = release.lines().any(|line| line == "ID=debian");
    if debian { Ok(()) } else { Err("the base image is made of this machine's Debian, and it has none".to_owned()) }
}

fn on_path(tool: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|directory| directory.join(tool).is_file());
    if there { Ok(()) } else { Err(format!("`{tool}` is not on PATH")) }
}

/// A file or directory of `deploy/`.
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// One API server and one broker for all trials.
pub struct Parts {
    pub kafka: Kafka,
    pub cluster: Kubernetes,
}

impl Parts {
    pub fn start() -> Self {
        let kafka = Kafka::start(KafkaOptions::default()).expect("a real Kafka starts");
        // The test bed has no controller that would take the protection of a claim off again.
        let unprotected = "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection".to_owned();
        let options = KubernetesOptions { api_server_args: vec![unprotected], ..KubernetesOptions::default() };
        let cluster = Kubernetes::start(options).expect("a real API server starts");
        Self { kafka, cluster }
    }

    /// One request to the API server; panics on anything that is not 2xx.
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.cluster.request(method, path, "application/json", &body).expect("the API server answers");
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// The status of a request with a token.
    pub fn status_as(&self, token: &str, path: &str) -> u16 {
        self.cluster.request_as(token, "GET", path, "application/json", "").expect("the API server answers").status
    }

    /// kubectl as the administrator: what it printed, with nothing on stderr that warns.
    pub fn kubectl(&self, args: &[&str], stdin: Option<&str>) -> String {
        let mut command = Command::new("kubectl");
        command.args(args).env("KUBECONFIG", self.cluster.kubeconfig_path());
        let (out, err) = succeeds(command, stdin);
        assert!(!err.contains("Warning"), "kubectl {args:?}: {err}");
        out
    }

    /// kind, namespace and name of every object there is, but for those that the control plane makes for itself.
    pub fn everything(&self) -> BTreeSet<String> {
        let types = self.kubectl(&["api-resources", "--verbs=list", "--output=name"], None);
        let own = ["events", "leases", "endpoints", "componentstatuses", "ipaddresses"];
        let is_own = |name: &&str| name.split('.').next().is_some_and(|plural| own.contains(&plural));
        let types: Vec<&str> = types.lines().filter(|name| !is_own(name)).collect();
        let columns = "--output=custom-columns=K:.kind,NS:.metadata.namespace,N:.metadata.name";
        let list = self.kubectl(&["get", &types.join(","), "--all-namespaces", "--no-headers", columns], None);
        list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Everything is as it was before.
    #[track_caller]
    pub fn left_nothing(&self, before: &BTreeSet<String>) {
        let left = || self.everything().difference(before).cloned().collect::<Vec<_>>();
        let gone = wait_until(PATIENCE, || Ok::<_, std::convert::Infallible>(left().is_empty().then_some(())));
        assert_eq!(gone, Ok(Some(())), "left behind: {:?}", left());
    }

    /// Creates an object in a namespace that is watched, and waits for its record; the record's key.
    pub fn a_change_lands(&self, namespace: &str, prefix: &str) -> String {
        let name = format!("seen-{}", prefix.trim_end_matches('.'));
        self.api(
            "POST",
            &format!("/api/v1/namespaces/{namespace}/configmaps"),
            &json!({"metadata": {"name": name}, "data": {"k": "v"}}),
        );
        let key = format!("/configmaps/{namespace}/{name}");
        let (key, record) = topic::awaited(&self.kafka.bootstrap(), &format!("{prefix}k8s-configmaps"), &key);
        // Not by a list: the right to watch is there and used.
        assert_eq!(record["source"]["observed"], "watch", "{record}");
        self.api("DELETE", &format!("/api/v1/namespaces/{namespace}/configmaps/{name}"), &Value::Null);
        key
    }
}

/// What the shipped pod gets from the cluster: its arguments, its settings files, its token.
pub struct Pod {
    pub args: Vec<String>,
    pub token: String,
    /// Holds `etc`, the files of the ConfigMap, and `data`.
    pub directory: tempfile::TempDir,
}

impl Pod {
    /// Read back from the API server, not from our files.
    pub fn of(parts: &Parts, namespace: &str, name: &str) -> Self {
        let deployment =
            parts.api("GET", &format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"), &Value::Null);
        let spec = &deployment["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        let args = container["args"].as_array().expect("arguments").iter();
        let args = args.map(|arg| arg.as_str().expect("text").to_owned()).collect();
        let map = spec["volumes"][0]["configMap"]["name"].as_str().expect("the settings are a ConfigMap");
        let map = parts.api("GET", &format!("/api/v1/namespaces/{namespace}/configmaps/{map}"), &Value::Null);
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["etc", "data"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        for (name, text) in map["data"].as_object().expect("files") {
            std::fs::write(directory.path().join("etc").join(name), text.as_str().expect("text")).expect("written");
        }
        let account = spec["serviceAccountName"].as_str().expect("a service account");
        let token = parts.cluster.service_account_token(namespace, account).expect("a token");
        Self { args, token, directory }
    }

    /// The real binary with all that, and nothing of this machine's; only addresses and places are other ones.
    pub fn run(&self, parts: &Parts, prefix: &str) -> Process {
        let kubeconfig = parts.cluster.kubeconfig_for(&self.token).expect("a kubeconfig");
        let mut sets = elsewhere(parts, prefix);
        sets.push("cluster.mode=kubeconfig".to_owned());
        sets.push(format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string()));
        sets.push(format!("data_dir={:?}", self.path("data").display().to_string()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
        let etc = self.path("etc").display().to_string();
        command.args(self.args.iter().map(|arg| arg.replace("/etc/agent-events", &etc)));
        Process::start(command.env_clear(), &sets)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Where Kafka is on this machine.
pub fn elsewhere(parts: &Parts, prefix: &str) -> Vec<String> {
    vec![format!("kafka.bootstrap={:?}", parts.kafka.bootstrap()), format!("topics.prefix={prefix:?}")]
}

/// A running product.
pub struct Process {
    child: Child,
    pub ops: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Process {
    /// Starts it with listeners of its own.
    pub fn start(command: &mut Command, sets: &[String]) -> Self {
        let [api, ops] = [free_address(), free_address()];
        command.args(sets.iter().map(|set| format!("--set={set}")));
        command.args([format!("--set=http.api=\"{api}\""), format!("--set=http.ops=\"{ops}\"")]);
        // A file: a pipe that nobody empties would stop the process.
        let log = tempfile::NamedTempFile::new().expect("a file");
        let stderr = log.reopen().expect("the same file");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
        Self { child, ops, log }
    }

    /// Ready, with every watcher up: a parked kind would count as ready too.
    pub fn await_all_up(&mut self) {
        let mut last = String::new();
        let up = wait_until(PATIENCE, || {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return Err(format!("it ended: {status}"));
            }
            let Some((status, body)) = http_get(self.ops, "/readyz?verbose") else { return Ok(None) };
            last = body;
            Ok((status == 200 && !last.contains("degraded")).then_some(()))
        });
        assert_eq!(up, Ok(Some(())), "{last}\n{}", self.stderr());
    }

    /// What the readiness probe says of each part.
    pub fn readiness(&self) -> String {
        http_get(self.ops, "/readyz?verbose").map(|(_, body)| body).unwrap_or_default()
    }

    /// Waits for its own end; the exit code.
    pub fn ends(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().expect("it can be asked")).code()
    }

    /// SIGTERM; the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        self.ends()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("UTF-8")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until `probe` gives something; panics after [`PATIENCE`].
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    crate::waiting::within(PATIENCE, what, probe)
}

/// Runs a program to its end; its stdout and stderr. Panics unless it succeeds.
#[track_caller]
pub fn succeeds(mut command: Command, stdin: Option<&str>) -> (String, String) {
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    if let Some(text) = stdin {
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    }
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    (out, err)
}

/// Our own command line, with nothing of this machine's settings.
pub fn cli(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    command.args(args).env_clear();
    succeeds(command, None).0
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

fn http_get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, body.to_owned()))
}
