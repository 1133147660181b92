//! The settings as the program uses them. What each one means and why its default is what it is stands in
//! `config/default.toml`, the only place with default values; no field here has a default of its own, so a setting that
//! is missing there does not load.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kafka::{KafkaSettings, TopicsSettings};
use super::redaction::RedactionSettings;
use super::units::{bytes, duration, listen, unset_when_empty};
use super::watch::WatchSettings;

/// Everything that can be configured, of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Where the process keeps its own files.
    pub data_dir: PathBuf,
    /// Which Kubernetes cluster, and how to reach it.
    pub cluster: ClusterSettings,
    /// What to watch in it.
    pub watch: WatchSettings,
    /// What never leaves the process.
    pub redaction: RedactionSettings,
    /// Where the records go.
    pub log: LogSettings,
    /// How to reach Kafka.
    pub kafka: KafkaSettings,
    /// Where the embedded log keeps its files, and when a record counts as durable.
    pub embedded: EmbeddedSettings,
    /// The sandbox API server.
    pub sandbox: SandboxSettings,
    /// Names and properties of the topics.
    pub topics: TopicsSettings,
    /// Batches, windows and queues on the way to the log.
    pub publisher: PublisherSettings,
    /// Bounds of the in-memory state.
    pub store: StoreSettings,
    /// Listen addresses.
    pub http: HttpSettings,
    /// Restarts, backoff and deadlines of the actors.
    pub supervision: SupervisionSettings,
    /// Faults on purpose.
    pub chaos: ChaosSettings,
    /// The process' own log.
    pub observe: ObserveSettings,
}

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Which credentials to use.
    pub mode: ClusterMode,
    /// First part of every key: `[A-Za-z0-9._-]+`; always set with the Kafka engine.
    #[serde(with = "unset_when_empty")]
    pub name: Option<String>,
    /// The cluster's identity where the uid of kube-system cannot be read.
    #[serde(with = "unset_when_empty")]
    pub id: Option<String>,
    /// Context of the kubeconfig; `None` is its current one.
    #[serde(with = "unset_when_empty")]
    pub context: Option<String>,
    /// Path of the kubeconfig; `None` is `$KUBECONFIG`, then `~/.kube/config`.
    #[serde(with = "unset_when_empty")]
    pub kubeconfig: Option<PathBuf>,
}

/// Where the credentials for the API server come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterMode {
    /// In-cluster when the service account is mounted, else the kubeconfig.
    Auto,
    /// The mounted service account only.
    InCluster,
    /// The kubeconfig only.
    Kubeconfig,
    /// The API server of `[sandbox]`, in this process.
    Sandbox,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Which engine keeps the records.
    pub engine: LogEngine,
}

/// The engines behind the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogEngine {
    /// A Kafka cluster.
    Kafka,
    /// Files below `[embedded] dir`, of this one process.
    Embedded,
    /// Keeps nothing beyond the process. Set by tests in code; no layer can ask for it, so that nobody runs on it
    /// without knowing.
    #[serde(skip_deserializing)]
    Memory,
}

/// `[embedded]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddedSettings {
    /// Its directory; `None` is `log` below `data_dir`. Read [`Settings::embedded_dir`] instead.
    #[serde(with = "unset_when_empty")]
    pub dir: Option<PathBuf>,
    /// When a record counts as durable.
    pub sync: EmbeddedSync,
}

/// When the embedded log acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmbeddedSync {
    /// Once it is on the disk, one fsync for all that waits: survives a power failure.
    Disk,
    /// Once the operating system has it: survives the death of this process, not that of the machine.
    Process,
}

/// `[sandbox]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxSettings {
    /// Where its API is served; loopback.
    #[serde(with = "listen")]
    pub listen: SocketAddr,
    /// What happens in it by itself.
    pub workload: SandboxWorkload,
    /// Changes a second that the workload aims at.
    pub rate: u32,
    /// Seed of the workload: the same seed makes the same choices.
    pub seed: u64,
    /// A scenario file that is played once, before the workload or instead of it.
    #[serde(with = "unset_when_empty")]
    pub scenario: Option<PathBuf>,
}

/// The workload of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxWorkload {
    /// A lifelike cluster that never stops.
    Lifelike,
    /// Controllers only: what is created there comes up, and nothing else happens.
    Quiet,
}

impl Settings {
    /// The directory of the embedded log.
    pub fn embedded_dir(&self) -> PathBuf {
        self.embedded.dir.clone().unwrap_or_else(|| self.data_dir.join("log"))
    }

    /// The directory of the saved fold.
    pub fn fold_dir(&self) -> PathBuf {
        self.data_dir.join("fold")
    }

    /// The directory of the sandbox API server: its objects and its kubeconfig.
    pub fn sandbox_dir(&self) -> PathBuf {
        self.data_dir.join("sandbox")
    }
}

/// `[publisher]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublisherSettings {
    /// Events a batch.
    pub batch_events: usize,
    /// Bytes a batch.
    #[serde(with = "bytes")]
    pub batch_bytes: usize,
    /// librdkafka's `linger.ms`.
    #[serde(with = "duration")]
    pub linger: Duration,
    /// Unacked events a lane may have.
    pub lane_events: usize,
    /// Unacked bytes a lane may have.
    #[serde(with = "bytes")]
    pub lane_bytes: usize,
    /// Unacked bytes of all lanes together.
    #[serde(with = "bytes")]
    pub all_lanes_bytes: usize,
    /// librdkafka's own queue.
    #[serde(with = "bytes")]
    pub queue_bytes: usize,
    /// Largest record, key and value, before compression.
    #[serde(with = "bytes")]
    pub max_record_bytes: usize,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreSettings {
    /// Cap of the state, in compressed bytes.
    #[serde(with = "bytes")]
    pub max_bytes: usize,
    /// How long a Kubernetes Event is kept.
    #[serde(with = "duration")]
    pub events_ttl: Duration,
    /// How many of them at most.
    pub events_max: usize,
    /// Changes kept for subscribers that resume.
    pub ring: usize,
    /// How often the fold is saved; zero is never.
    #[serde(with = "duration")]
    pub save_interval: Duration,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpSettings {
    /// State, history and watches; loopback.
    #[serde(with = "listen")]
    pub api: SocketAddr,
    /// Probes and metrics.
    #[serde(with = "listen")]
    pub ops: SocketAddr,
}

/// `[supervision]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupervisionSettings {
    /// Restarts inside `window` before the supervisor gives up.
    pub max_restarts: u32,
    /// Length of the sliding window.
    #[serde(with = "duration")]
    pub window: Duration,
    /// First pause before a restart.
    #[serde(with = "duration")]
    pub backoff_min: Duration,
    /// Longest pause before a restart.
    #[serde(with = "duration")]
    pub backoff_max: Duration,
    /// Silence after which an actor counts as hung.
    #[serde(with = "duration")]
    pub hang_limit: Duration,
    /// From SIGTERM to exit.
    #[serde(with = "duration")]
    pub shutdown_deadline: Duration,
}

/// `[chaos]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChaosSettings {
    /// Whether actors may be killed and restarted by hand.
    pub enabled: bool,
}

/// `[observe]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObserveSettings {
    /// Filter of the process' own log, in the syntax of tracing's `EnvFilter`.
    pub log: String,
    /// How a line of it looks.
    pub format: LogFormat,
}

/// How the process writes its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}
