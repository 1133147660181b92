//! The product as the README's first command starts it: the sandbox with its workload, the embedded log.

use agent_events::app::{self, Options, Running};
use agent_events::settings::{self, Sources};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Its data directory, which outlives the process.
pub struct Laptop(TempDir);

impl Laptop {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub fn start(&self, api: &str) -> Running {
        let sets = [
            format!("data_dir={:?}", self.0.path().display().to_string()),
            format!("http.api={api:?}"),
            "http.ops=\"127.0.0.1:0\"".to_owned(),
            "sandbox.listen=\"127.0.0.1:0\"".to_owned(),
        ];
        let local = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/local.toml");
        let sources = Sources { files: vec![local], set: sets.into(), ..Sources::default() };
        let loaded = settings::load(&sources).expect("good settings");
        app::start(loaded, Options::default()).expect("free ports")
    }

    /// A Deployment, as `kubectl apply` of a new one.
    pub fn deploy(&self, name: &str) -> Result<(), String> {
        let labels = json!({"app": name});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "registry.local/proof:1"}]}}}});
        self.send("POST", "/apis/apps/v1/namespaces/default/deployments", &deployment)
    }

    /// A ConfigMap, made and edited.
    pub fn edit(&self, name: &str) -> Result<(), String> {
        let path = "/api/v1/namespaces/default/configmaps";
        let map = |level: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"LEVEL": level}});
        self.send("POST", path, &map("info"))?;
        self.send("PUT", &format!("{path}/{name}"), &map("debug"))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Result<(), String> {
        let kubeconfig = self.0.path().join("sandbox/kubeconfig");
        let text = std::fs::read_to_string(&kubeconfig).map_err(|e| format!("{}: {e}", kubeconfig.display()))?;
        let addr = text.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
        let wrong = |e: std::io::Error| format!("{method} {path} at {addr}: {e}");
        let mut socket = TcpStream::connect(addr).map_err(wrong)?;
        socket.set_read_timeout(Some(Duration::from_secs(20))).map_err(wrong)?;
        let body = body.to_string();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: page\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body.as_bytes())).map_err(wrong)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map_err(wrong)?;
        if answer.get(9..10) == Some("2") { Ok(()) } else { Err(format!("{method} {path}: {answer}")) }
    }
}
