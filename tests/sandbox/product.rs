//! The product beside a sandbox, in this process, with an embedded log of its own.

use crate::accounts;
use crate::kit::{Answer, Bed, Client, PATIENCE};
use agent_events::app::{self, Options, Running};
use agent_events::settings::{self, Sources};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Faults on purpose are of the whole process: one product at a time.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

pub struct Product {
    pub running: Running,
    pub api: Client,
    pub ops: Client,
    sets: Vec<String>,
    data: tempfile::TempDir,
    /// Whether its account was broken on purpose.
    pub cooked: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Product {
    /// Ready. It watches the ConfigMaps of all namespaces unless told otherwise, and does not audit unless told to.
    pub fn of(bed: &Bed, more: &[&str]) -> Self {
        Self::at(bed.sandbox.kubeconfig(), more)
    }

    pub fn at(kubeconfig: &Path, more: &[&str]) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let data = tempfile::tempdir().expect("a directory");
        let mut sets: Vec<String> = ["pods", "services", "deployments", "statefulsets", "secrets", "events"]
            .map(|kind| format!("watch.{kind}.enabled=false"))
            .into();
        sets.extend([
            "watch.all_namespaces=true".into(),
            "watch.audit_interval=\"1h\"".into(),
            "cluster.mode=\"kubeconfig\"".into(),
            format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string()),
            "cluster.name=\"trial\"".into(),
            "log.engine=\"embedded\"".into(),
            format!("data_dir={:?}", data.path().display().to_string()),
            "http.api=\"127.0.0.1:0\"".into(),
            "http.ops=\"127.0.0.1:0\"".into(),
            "chaos.enabled=true".into(),
        ]);
        sets.extend(more.iter().map(|s| (*s).to_owned()));
        Self::start(sets, data, alone)
    }

    fn start(sets: Vec<String>, data: tempfile::TempDir, alone: MutexGuard<'static, ()>) -> Self {
        let loaded = settings::load(&Sources { set: sets.clone(), ..Sources::default() });
        let loaded = loaded.unwrap_or_else(|e| panic!("{e}"));
        let running = app::start(loaded, Options::default()).expect("it starts");
        if let Err(missing) = running.ready(PATIENCE) {
            panic!("not ready: {missing:?}");
        }
        let client = |addr| Client::of(&format!("http://{addr}"));
        let (api, ops) = (client(running.api_addr()), client(running.ops_addr()));
        Self { running, api, ops, sets, data, cooked: false, _alone: alone }
    }

    /// Ended in order, and started again with the same settings on the same directory.
    pub fn again(self) -> Self {
        let Self { running, sets, data, _alone: alone, .. } = self;
        assert_eq!(running.shutdown(), 0);
        drop(running);
        Self::start(sets, data, alone)
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// What stands in the topic of the ConfigMaps, from its beginning, without markers and tombstones.
    pub async fn records(&self) -> Vec<Value> {
        let answer = self.api.get("/api/v1/topics/k8s-configmaps/records?from=BEGIN&follow=false").await;
        assert_eq!(answer.code, 200, "{}", answer.text);
        let lines = answer.text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| !line["value"]["op"].is_null()).collect()
    }

    /// The program with these arguments, and this product's settings.
    pub fn command(&self, arguments: &[&str], asks_it: bool) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
        command.args(arguments);
        for set in &self.sets {
            command.args(["--set", set]);
        }
        if asks_it {
            command.args(["--server", &format!("http://{}", self.running.api_addr())]);
        } else {
            // Where nobody listens by default.
            command.env("AGENT_EVENTS_NOBODY", "1");
        }
        command.output().expect("the program runs")
    }

    pub async fn metrics(&self) -> String {
        let Answer { code, text, .. } = self.ops.get("/metrics").await;
        assert_eq!(code, 200);
        text
    }

    /// One number of the metrics; 0 where it is not there.
    pub async fn metric(&self, line: &str) -> f64 {
        let metrics = self.metrics().await;
        let found = metrics.lines().filter_map(|l| l.strip_prefix(line)?.trim().parse::<f64>().ok());
        found.sum()
    }

    /// Version of a ConfigMap in the state.
    pub async fn version(&self, name: &str) -> Option<String> {
        let answer = self.api.get(&format!("/api/v1/objects/configmaps/default/{name}")).await;
        (answer.code == 200)
            .then(|| answer.json()["metadata"]["resourceVersion"].as_str().expect("a version").to_owned())
    }

    /// Ends it; its account must be right.
    pub async fn end(self) -> tempfile::TempDir {
        if !self.cooked {
            accounts::assert_balanced(&self.metrics().await);
        }
        assert_eq!(self.running.shutdown(), 0);
        self.data
    }
}

pub fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)))
}
