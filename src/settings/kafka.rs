//! `[kafka]` and `[topics]`: the broker, librdkafka's own settings, and a table per topic.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::topic::TopicSpec;

use super::units::{PassThrough, Secret, unset_when_empty};

/// The table for the topics of kinds that have none of their own.
pub(super) const OTHER_KINDS: &str = "other-kinds";

/// `[kafka]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KafkaSettings {
    /// `host:port`, comma separated; always set with the Kafka engine.
    #[serde(with = "unset_when_empty")]
    pub bootstrap: Option<String>,
    /// The SASL password as typed; ask [`super::Loaded::sasl_password`], which knows the file as well.
    #[serde(with = "unset_when_empty")]
    pub sasl_password: Option<Secret>,
    /// File that holds the SASL password.
    #[serde(with = "unset_when_empty")]
    pub sasl_password_file: Option<PathBuf>,
    /// Everything else that librdkafka knows, by its own names.
    pub librdkafka: PassThrough,
}

/// `[topics]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicsSettings {
    /// Put before every topic name; may be empty.
    pub prefix: String,
    /// Whether missing topics are created.
    pub create: TopicCreation,
    /// Copies of each partition of a topic that is created.
    pub replication: u16,
    /// `min.insync.replicas` of every topic.
    pub min_insync_replicas: u16,
    /// Kubernetes Events.
    #[serde(rename = "k8s-events")]
    pub k8s_events: TopicSettings,
    /// Pods.
    #[serde(rename = "k8s-pods")]
    pub k8s_pods: TopicSettings,
    /// Deployments.
    #[serde(rename = "k8s-deployments")]
    pub k8s_deployments: TopicSettings,
    /// StatefulSets.
    #[serde(rename = "k8s-statefulsets")]
    pub k8s_statefulsets: TopicSettings,
    /// Services.
    #[serde(rename = "k8s-services")]
    pub k8s_services: TopicSettings,
    /// ConfigMaps.
    #[serde(rename = "k8s-configmaps")]
    pub k8s_configmaps: TopicSettings,
    /// Metadata of Secrets.
    #[serde(rename = "k8s-secrets")]
    pub k8s_secrets: TopicSettings,
    /// The topic of every kind that has no table of its own.
    #[serde(rename = "other-kinds")]
    pub other_kinds: TopicSettings,
    /// State shared by programs.
    #[serde(rename = "shared-state")]
    pub shared_state: TopicSettings,
    /// What happened, derived.
    #[serde(rename = "event-stream")]
    pub event_stream: TopicSettings,
    /// Resume points and writer epochs.
    #[serde(rename = "agent-events-checkpoints")]
    pub checkpoints: TopicSettings,
    /// Lasting copies of Gap records.
    #[serde(rename = "agent-events-gaps")]
    pub gaps: TopicSettings,
    /// What cannot be written or read.
    #[serde(rename = "agent-events.dlq")]
    pub dlq: TopicSettings,
}

/// Whether missing topics are created at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopicCreation {
    /// Create what is missing.
    Missing,
    /// Only verify.
    Never,
}

/// The table of one topic, `[topics.k8s-pods]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// Partitions; fixed once the topic exists.
    pub partitions: u16,
    /// Kafka's own settings of the topic, by their own names.
    pub config: PassThrough,
}

impl TopicsSettings {
    /// Every topic that is named in default.toml, without the prefix, in its order.
    pub fn all(&self) -> [(&'static str, &TopicSettings); 12] {
        [
            ("k8s-events", &self.k8s_events),
            ("k8s-pods", &self.k8s_pods),
            ("k8s-deployments", &self.k8s_deployments),
            ("k8s-statefulsets", &self.k8s_statefulsets),
            ("k8s-services", &self.k8s_services),
            ("k8s-configmaps", &self.k8s_configmaps),
            ("k8s-secrets", &self.k8s_secrets),
            ("shared-state", &self.shared_state),
            ("event-stream", &self.event_stream),
            ("agent-events-checkpoints", &self.checkpoints),
            ("agent-events-gaps", &self.gaps),
            ("agent-events.dlq", &self.dlq),
        ]
    }

    /// One topic by its name without the prefix.
    pub fn get(&self, name: &str) -> Option<&TopicSettings> {
        self.all().into_iter().find(|(known, _)| *known == name).map(|(_, topic)| topic)
    }

    /// The topics that capturing `kinds` needs, as they should be, with the prefix, in the order in which they are shown.
    pub fn specs(&self, kinds: &[Kind]) -> Vec<TopicSpec> {
        let of_kinds: Vec<String> = kinds.iter().map(Kind::topic).collect();
        let needed = |name: &str| !name.starts_with("k8s-") || of_kinds.iter().any(|topic| topic == name);
        let named = self.all().into_iter().filter(|(name, _)| needed(name)).map(|(name, topic)| self.spec(name, topic));
        let others = kinds.iter().filter(|kind| self.get(&kind.topic()).is_none()).map(|kind| self.spec_of(kind));
        named.chain(others).collect()
    }

    /// The topic of one kind, as it should be, with the prefix.
    pub fn spec_of(&self, kind: &Kind) -> TopicSpec {
        let name = kind.topic();
        self.spec(&name, self.get(&name).unwrap_or(&self.other_kinds))
    }

    fn spec(&self, name: &str, topic: &TopicSettings) -> TopicSpec {
        let mut config = topic.config.0.clone();
        config.insert("min.insync.replicas".to_owned(), self.min_insync_replicas.to_string());
        TopicSpec {
            name: format!("{}{name}", self.prefix),
            partitions: i32::from(topic.partitions),
            replication: i32::from(self.replication),
            config,
        }
    }
}
