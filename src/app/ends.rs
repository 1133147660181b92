//! The two ends of the pipeline, from the settings: an API server and a log.

use super::{Options, StartError};
use crate::domain::kind::Kind;
use crate::domain::topic::TopicSpec;
use crate::kubernetes::ApiServer;
use crate::kubernetes::client::{Access, AccessError, Cluster, Mode};
use crate::log::Log;
use crate::log::kafka::{KafkaConfig, KafkaLog};
use crate::settings::{ClusterMode, Loaded, LogEngine, Settings};
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

/// The kinds that are captured.
pub(super) fn kinds(settings: &Settings) -> Vec<Kind> {
    settings.watch.enabled_kinds().filter_map(Kind::builtin).collect()
}

/// The topics that these settings need, with prefix, in the order in which they are shown.
pub fn topic_specs(settings: &Settings) -> Vec<TopicSpec> {
    let wanted: Vec<String> = kinds(settings).iter().map(Kind::topic).collect();
    let topics = &settings.topics;
    let needed =
        topics.all().into_iter().filter(|(name, _)| !name.starts_with("k8s-") || wanted.contains(&(*name).to_owned()));
    needed
        .map(|(name, topic)| {
            let mut config: std::collections::BTreeMap<String, String> =
                topic.config.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            config.insert("min.insync.replicas".into(), topics.min_insync_replicas.to_string());
            TopicSpec {
                name: format!("{}{name}", topics.prefix),
                partitions: i32::from(topic.partitions),
                replication: i32::from(topics.replication),
                config,
            }
        })
        .collect()
}

/// Where the API server's credentials come from.
pub fn access(settings: &Settings) -> Access {
    Access {
        mode: match settings.cluster.mode {
            ClusterMode::Auto => Mode::Auto,
            ClusterMode::InCluster => Mode::InCluster,
            ClusterMode::Kubeconfig => Mode::Kubeconfig,
        },
        kubeconfig: settings.cluster.kubeconfig.clone(),
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

/// The log that the settings name. Does not contact it.
pub fn open_log(loaded: &Loaded) -> Result<Arc<dyn Log>, StartError> {
    match loaded.settings.log.engine {
        LogEngine::Kafka => {
            let log = KafkaLog::new(kafka_config(loaded)?).map_err(|e| StartError::Refused(e.to_string()))?;
            Ok(Arc::new(log))
        }
        LogEngine::Memory => Ok(Arc::new(crate::log::memory::MemoryLog::default())),
    }
}

/// The client of the API server that the settings name. Does not contact it.
pub async fn open_cluster(settings: &Settings) -> Result<Cluster, StartError> {
    Cluster::connect(&access(settings)).await.map_err(|e| match e {
        AccessError::NotConfigured(_) => StartError::Unreachable(e.to_string()),
        AccessError::Broken(_) => StartError::Refused(e.to_string()),
    })
}
