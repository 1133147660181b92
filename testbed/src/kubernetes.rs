//! A real Kubernetes control plane on loopback, with kwok's nodes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cache::{self, built, find_on_path};
use crate::error::{Attempt, Error, Missing, Result};
use crate::https::{Https, Request, Response};
use crate::ports::Lease;
use crate::process::{Member, lost_its_port};
use crate::recipe::{Part, short_hash};
use crate::scratch::Scratch;
use crate::wait;

mod processes;

use processes::{Binaries, CA, Files, KUBECONFIG, start_api_server, start_controllers, write_private};

/// How to start Kubernetes; `KubernetesOptions::default()` is a cluster on which a Deployment rolls out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesOptions {
    /// The API server's port on 127.0.0.1; `None` picks a free one.
    pub port: Option<u16>,
    /// Start controller-manager, scheduler and kwok too. Without them objects are only stored and watched.
    pub controllers: bool,
    /// Nodes `node-0`, `node-1`, … that are ready at return; only with `controllers`.
    pub nodes: usize,
    /// How long a pod stays Pending before it is ContainerCreating, and so on through its life: each step takes this long,
    /// up to twice that by chance. kwok's own pace is 1 to 5 s.
    pub pod_step: Duration,
    /// `false`: watches read etcd directly (`--watch-cache=false`). With it, only then does a compaction answer 410 Gone for
    /// every kind and not just for Events.
    pub watch_cache: bool,
    /// How often the API server compacts etcd; `None` is its own 5 minutes. 20 s gives a real 410 within a minute.
    pub compaction_interval: Option<Duration>,
    /// More flags for kube-apiserver, last and so winning.
    pub api_server_args: Vec<String>,
    /// Keep data and logs here, over several starts, instead of in a temporary directory.
    pub directory: Option<PathBuf>,
}

impl Default for KubernetesOptions {
    fn default() -> Self {
        Self {
            port: None,
            controllers: true,
            nodes: 2,
            pod_step: Duration::from_millis(250),
            watch_cache: true,
            compaction_interval: None,
            api_server_args: Vec::new(),
            directory: None,
        }
    }
}

/// A running control plane. Dropping it ends all its processes and removes its data.
#[derive(Debug)]
pub struct Kubernetes {
    // In this order: clients of the API server end first, then itself, then the directory goes, then the ports.
    controllers: Vec<Member>,
    api_server: Member,
    https: Arc<Https>,
    scratch: Scratch,
    port: Lease,
    etcd_port: Lease,
    _other_ports: Vec<Lease>,
    admin_token: String,
    nobody_token: String,
}

impl Kubernetes {
    /// Builds the control plane if need be, starts it, and returns when the API server is ready and so are all nodes.
    pub fn start(options: KubernetesOptions) -> Result<Self> {
        let binaries = Binaries {
            kube: built(Part::Kubernetes, "kube")?.join("testbed-kube"),
            kwok: built(Part::Kubernetes, "kwok")?,
        };
        let scratch = Scratch::new("kubernetes", options.directory.as_deref())?;
        let files = Files::prepare(&scratch, &binaries.kube)?;
        let leases = cache::cache_root().join("ports");

        // The lease keeps other test beds off a port, not other programs: then another pair of ports will do.
        let mut attempts_left = 3;
        let (api_server, https, port, etcd_port) = loop {
            attempts_left -= 1;
            let port = options.port.map_or_else(|| Lease::any(&leases), |port| Lease::exactly(&leases, port))?;
            let etcd_port = Lease::any(&leases)?;
            let https = Arc::new(Https::new(port.port(), files.ca()));
            let api_server = start_api_server(&options, &binaries, &files, &https, port.port(), etcd_port.port())?;
            match api_server.wait_ready() {
                Ok(()) => break (api_server, https, port, etcd_port),
                Err(error) if attempts_left > 0 && options.port.is_none() && lost_its_port(&error) => {}
                Err(error) => return Err(error),
            }
        };

        let mut cluster = Self {
            controllers: Vec::new(),
            api_server,
            https,
            scratch,
            port,
            etcd_port,
            _other_ports: Vec::new(),
            admin_token: files.admin_token.clone(),
            nobody_token: files.nobody_token.clone(),
        };
        cluster.write_kubeconfig(&cluster.kubeconfig_path(), &cluster.admin_token)?;
        if options.controllers {
            let kwok_port = Lease::any(&leases)?;
            cluster.controllers = start_controllers(&binaries, &files, options.pod_step, kwok_port.port())?;
            cluster._other_ports.push(kwok_port);
            let names: Vec<String> = (0..options.nodes).map(|index| format!("node-{index}")).collect();
            names.iter().try_for_each(|name| cluster.create_node(name))?;
            names.iter().try_for_each(|name| cluster.wait_node_ready(name))?;
        }
        Ok(cluster)
    }

    /// `https://127.0.0.1:PORT`. The same over restarts.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port.port())
    }

    /// `http://127.0.0.1:PORT` of etcd, for what the API server does not offer, such as a compaction now.
    pub fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port.port())
    }

    /// A kubeconfig for the administrator (`system:masters`), valid as long as the cluster lives.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.scratch.data().join(KUBECONFIG)
    }

    /// The certificate that signed the API server's, as PEM.
    pub fn ca_path(&self) -> PathBuf {
        self.scratch.data().join(CA)
    }

    /// The administrator's bearer token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The token of a user who exists and may do nothing: how a 403 is tested.
    pub fn nobody_token(&self) -> &str {
        &self.nobody_token
    }

    /// A kubeconfig with this bearer token, written beside the administrator's.
    pub fn kubeconfig_for(&self, token: &str) -> Result<PathBuf> {
        let path = self.scratch.data().join(format!("kubeconfig-{}", short_hash(token)));
        self.write_kubeconfig(&path, token)?;
        Ok(path)
    }

    /// A token of a service account, as a pod of it would get: how shipped RBAC is tried for real. The account must exist.
    pub fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self.expect_success("POST", &path, &body)?;
        let token = answer["status"]["token"].as_str().map(str::to_owned);
        token.ok_or_else(|| self.request_error("POST", &path, "the answer holds no token".to_owned()))
    }

    /// One request as the administrator; any status is an `Ok`. `path` begins with `/`; `content_type` counts only with a body.
    pub fn request(&self, method: &str, path: &str, content_type: &str, body: &str) -> Result<Response> {
        self.request_as(&self.admin_token, method, path, content_type, body)
    }

    /// The same with another bearer token.
    pub fn request_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        content_type: &str,
        body: &str,
    ) -> Result<Response> {
        let request = Request { method, path, token, content_type, body };
        self.https.send(request).map_err(|reason| self.request_error(method, path, reason))
    }

    /// Runs kubectl as the administrator and gives its standard output; [`Error::Missing`] if it is not on PATH.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let kubectl =
            find_on_path("kubectl").ok_or(Missing { tool: "kubectl", needed_for: "to run kubectl commands" })?;
        let output = Command::new(kubectl).args(args).env("KUBECONFIG", self.kubeconfig_path()).output();
        let output = output.attempt(|| format!("run kubectl {}", args.join(" ")))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Kubectl { args: args.join(" "), stderr });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Creates a node, which kwok then makes ready and keeps so. One that exists already is left as it is.
    pub fn create_node(&self, name: &str) -> Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "type": "kwok",
        }}});
        match self.expect_success("POST", "/api/v1/nodes", &node) {
            Ok(_) | Err(Error::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until pods can be scheduled onto the node: it is ready and its taints are gone.
    pub fn wait_node_ready(&self, name: &str) -> Result<()> {
        const LONG: Duration = Duration::from_secs(60);
        let mut last = String::new();
        let ready = wait::until(LONG, || {
            let node = self.expect_success("GET", &format!("/api/v1/nodes/{name}"), &Value::Null)?;
            last = format!("conditions {}, taints {}", node["status"]["conditions"], node["spec"]["taints"]);
            Ok::<_, Error>(is_schedulable(&node).then_some(()))
        })?;
        let what = format!("node {name}");
        ready.ok_or(Error::NotReady { what, waited: LONG, last, logs: self.logs_dir() })
    }

    /// The API server together with its etcd: killing one kills both, pausing one pauses both.
    pub fn api_server(&self) -> &Member {
        &self.api_server
    }

    /// Copies etcd's data to `to`, which must not exist, at a moment at which nothing runs on it. Returns when the API server
    /// serves again.
    pub fn back_up(&self, to: &Path) -> Result<()> {
        self.api_server.terminate()?;
        copy_tree(&self.etcd_dir(), to)?;
        self.api_server.restart()
    }

    /// Puts a backup of [`Self::back_up`] in the place of etcd's data: the cluster is as it was, its revision too. Whoever
    /// followed it is connected to a past.
    pub fn restore_backup(&self, from: &Path) -> Result<()> {
        self.api_server.kill9()?;
        let etcd = self.etcd_dir();
        std::fs::remove_dir_all(&etcd).attempt(|| format!("remove {}", etcd.display()))?;
        copy_tree(from, &etcd)?;
        self.api_server.restart()
    }

    fn etcd_dir(&self) -> PathBuf {
        self.scratch.data().join("etcd")
    }

    /// All processes: the API server first, then those of `controllers`.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.api_server).chain(&self.controllers)
    }

    /// The process of that name (`kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kwok`).
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members().find(|member| member.name() == name)
    }

    /// Where each process' log is. Kept when the owner panics, or with `TESTBED_KEEP_LOGS` set.
    pub fn logs_dir(&self) -> PathBuf {
        self.scratch.logs()
    }

    fn expect_success(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(method, path, "application/json", &text)?;
        if !(200..300).contains(&answer.status) {
            let (method, path) = (method.to_owned(), path.to_owned());
            return Err(Error::Refused { method, path, status: answer.status, body: answer.body });
        }
        serde_json::from_str(&answer.body).map_err(|error| self.request_error(method, path, error.to_string()))
    }

    fn request_error(&self, method: &str, path: &str, reason: String) -> Error {
        Error::Request { method: method.to_owned(), url: format!("{}{path}", self.url()), reason }
    }

    fn write_kubeconfig(&self, path: &Path, token: &str) -> Result<()> {
        // JSON is YAML, and quotes whatever a path may hold.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "testbed",
            "clusters": [{"name": "testbed", "cluster": {"server": self.url(), "certificate-authority": self.ca_path()}}],
            "users": [{"name": "testbed", "user": {"token": token}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        });
        write_private(path, &format!("{config:#}\n"))
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy_tree(&entry.path(), &target).map_err(std::io::Error::other)?;
            } else {
                std::fs::copy(entry.path(), &target)?;
            }
        }
        Ok(())
    };
    copy().attempt(|| format!("copy {} to {}", from.display(), to.display()))
}

fn is_schedulable(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    ready && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
}
