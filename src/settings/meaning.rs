//! What the settings mean to the rules of `domain`.

use std::collections::BTreeMap;

use super::Settings;
use crate::domain::kind::Kind;
use crate::domain::topic::{TopicOverride, TopicPolicy};
use crate::domain::{lane, redact, watch};

impl Settings {
    /// The kinds to watch, in the order in which they are shown.
    pub fn kinds(&self) -> Vec<Kind> {
        self.watch.enabled_kinds().filter_map(Kind::builtin).collect()
    }

    /// The knobs of one watch.
    pub fn watch_config(&self) -> watch::Config {
        watch::Config {
            page_size: self.watch.page_size,
            poll_interval: self.watch.poll_interval,
            max_line: self.watch.max_frame_bytes,
            max_page: self.watch.max_page_bytes,
            max_record: self.publisher.max_record_bytes,
            ..watch::Config::default()
        }
    }

    /// The bounds of one lane.
    pub fn lane_limits(&self) -> lane::Limits {
        lane::Limits { bytes: self.publisher.lane_bytes, records: self.publisher.lane_events }
    }

    /// What the redactor keeps and drops.
    pub fn redaction_policy(&self) -> redact::Policy {
        let redaction = &self.redaction;
        redact::Policy {
            env_allow: redaction.env_allow.clone(),
            annotations_deny: redaction.annotations_deny.clone(),
            secret_annotations_allow: redaction.secret_annotations_allow.clone(),
            configmap_full_namespaces: redaction.configmaps.full_namespaces.clone(),
        }
    }

    /// How the topics should be.
    pub fn topic_policy(&self) -> TopicPolicy {
        let overrides = self.topics.all().into_iter().map(|(name, topic)| {
            let config: BTreeMap<_, _> = topic.config.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            (name.to_owned(), TopicOverride { partitions: Some(topic.partitions.into()), config })
        });
        TopicPolicy {
            prefix: self.topics.prefix.clone(),
            replication: self.topics.replication.into(),
            min_insync_replicas: self.topics.min_insync_replicas.into(),
            overrides: overrides.collect(),
        }
    }
}
