//! The two ends of the pipeline, from the settings: an API server and a log.

use super::{Options, StartError};
use crate::domain::topic::TopicSpec;
use crate::kubernetes::ApiServer;
use crate::kubernetes::client::{Access, AccessError, Cluster, Mode};
use crate::kubernetes::polite::Traffic;
use crate::log::Log;
use crate::log::embedded::{EmbeddedConfig, EmbeddedLog, Sync};
use crate::log::kafka::{KafkaConfig, KafkaLog};
use crate::sandbox::{self, LifeOptions, SandboxError, Scenario};
use crate::settings::{ClusterMode, EmbeddedSync, Loaded, LogEngine, SandboxWorkload, Settings};
use std::sync::Arc;

/// Both ends, connected.
#[derive(Clone)]
pub struct Ends {
    /// The API server.
    pub api: Arc<dyn ApiServer>,
    /// Identity of the cluster: uid of namespace kube-system, or the configured id.
    pub cluster_uid: String,
    /// The log.
    pub log: Arc<dyn Log>,
}

/// Where the ends come from.
pub(super) enum Source {
    /// From the settings, waited for.
    Configured { loaded: Box<Loaded>, options: Options, io: tokio::runtime::Handle },
    /// Given by the caller.
    Given(Ends),
}

/// The topics that these settings need, with prefix, in the order in which they are shown.
pub fn topic_specs(settings: &Settings) -> Vec<TopicSpec> {
    settings.topics.specs(&settings.watch.captured())
}

/// Where the API server's credentials come from.
pub fn access(settings: &Settings) -> Access {
    Access {
        mode: match settings.cluster.mode {
            ClusterMode::Auto => Mode::Auto,
            ClusterMode::InCluster => Mode::InCluster,
            // The sandbox writes a kubeconfig that leads to it, before anyone asks.
            ClusterMode::Kubeconfig | ClusterMode::Sandbox => Mode::Kubeconfig,
        },
        kubeconfig: match settings.cluster.mode {
            ClusterMode::Sandbox => Some(settings.sandbox_dir().join(sandbox::KUBECONFIG)),
            _ => settings.cluster.kubeconfig.clone(),
        },
        context: settings.cluster.context.clone(),
    }
}

/// The Kafka engine's configuration.
pub fn kafka_config(loaded: &Loaded) -> Result<KafkaConfig, StartError> {
    let settings = &loaded.settings;
    let password = loaded.sasl_password().map_err(|e| StartError::Refused(e.to_string()))?;
    Ok(KafkaConfig {
        bootstrap: settings.kafka.bootstrap.clone().unwrap_or_default(),
        client_id: format!("agent-events-{}", settings.cluster.name.as_deref().unwrap_or("unnamed")),
        linger: settings.publisher.linger,
        queue_bytes: settings.publisher.queue_bytes,
        max_record_bytes: settings.publisher.max_record_bytes,
        librdkafka: settings.kafka.librdkafka.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        sasl_password: password.map(|p| p.expose().to_owned()),
    })
}

/// The embedded engine's configuration.
pub fn embedded_config(settings: &Settings) -> EmbeddedConfig {
    EmbeddedConfig {
        dir: settings.embedded_dir(),
        sync: match settings.embedded.sync {
            EmbeddedSync::Disk => Sync::Disk,
            EmbeddedSync::Process => Sync::Process,
        },
        queue_bytes: settings.publisher.queue_bytes,
        max_record_bytes: settings.publisher.max_record_bytes,
    }
}

/// The log that the settings name. Does not contact it.
pub fn open_log(loaded: &Loaded) -> Result<Arc<dyn Log>, StartError> {
    let settings = &loaded.settings;
    match settings.log.engine {
        LogEngine::Kafka => {
            let log = KafkaLog::new(kafka_config(loaded)?).map_err(|e| StartError::Refused(e.to_string()))?;
            Ok(Arc::new(log))
        }
        LogEngine::Embedded => {
            let log = EmbeddedLog::open(embedded_config(settings)).map_err(|e| StartError::Refused(e.to_string()))?;
            Ok(Arc::new(log))
        }
        LogEngine::Memory => Ok(Arc::new(crate::log::memory::MemoryLog::default())),
    }
}

/// The API server of our own, where the settings ask for one. It is served on that runtime, which outlives every arbiter.
pub async fn start_sandbox(
    settings: &Settings,
    io: &tokio::runtime::Handle,
) -> Result<Option<sandbox::Sandbox>, StartError> {
    if settings.cluster.mode != ClusterMode::Sandbox {
        return Ok(None);
    }
    // Before anything stands: a faulty file leaves nothing behind.
    let scenario = settings.sandbox.scenario.as_deref().map(Scenario::read).transpose();
    let life = LifeOptions {
        lifelike: settings.sandbox.workload == SandboxWorkload::Lifelike,
        rate: settings.sandbox.rate,
        seed: settings.sandbox.seed,
        scenario: scenario.map_err(|e| StartError::Refused(e.to_string()))?,
    };
    let options = sandbox::SandboxOptions { listen: settings.sandbox.listen, dir: settings.sandbox_dir() };
    let start = async {
        let sandbox = sandbox::Sandbox::start(options).await?;
        sandbox.live(life)?;
        Ok(sandbox)
    };
    let started = io.spawn(start).await.map_err(|e| StartError::System(e.to_string()))?;
    started.map(Some).map_err(|e| match e {
        SandboxError::Listen(_) => StartError::Listen(format!("sandbox.listen = {e}")),
        SandboxError::Directory(_) => StartError::Refused(e.to_string()),
    })
}

/// The client of the API server that the settings name. Does not contact it.
pub async fn open_cluster(settings: &Settings, traffic: Arc<dyn Traffic>) -> Result<Cluster, StartError> {
    let name = settings.cluster.name.as_deref().unwrap_or_default();
    Cluster::connect(&access(settings), name, traffic).await.map_err(|e| match e {
        AccessError::NotConfigured(_) => StartError::Unreachable(e.to_string()),
        AccessError::Broken(_) => StartError::Refused(e.to_string()),
    })
}
