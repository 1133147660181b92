//! Questions to Kafka and the creation of topics. Every call makes a client of its own and blocks: a client that nobody
//! polls would pile up events.

use super::config::{KafkaConfig, admin as client_config, refused};
use super::connection::Connection;
use super::consumer;
use super::errors::{explain, is_passing};
use super::thread::{Deadline, wait_for};
use crate::domain::record::InRecord;
use crate::domain::topic::TopicSpec;
use crate::log::{LogError, Offsets, TopicState};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ConfigSource, NewTopic, TopicReplication};
use rdkafka::admin::{OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every call answers within this.
const CALL: Duration = Duration::from_secs(30);
/// One try; a person waits for the answer when no broker is there.
const TRY: Duration = Duration::from_secs(10);
/// Between tries while a leader moves or a new topic becomes known.
const AGAIN: Duration = Duration::from_millis(50);

pub(super) struct Admin<'a> {
    config: &'a KafkaConfig,
    client: AdminClient<Connection>,
    deadline: Deadline,
}

impl<'a> Admin<'a> {
    pub fn open(config: &'a KafkaConfig) -> Result<Self, LogError> {
        let context = Connection::new("admin", &config.bootstrap);
        let client = AdminClient::from_config_and_context(&client_config(config), context).map_err(refused)?;
        Ok(Self { config, client, deadline: Deadline::after(CALL) })
    }

    pub fn list(&self) -> Result<Vec<String>, LogError> {
        let metadata = self.metadata(None, "listing the topics")?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    pub fn describe(&self, names: &[String]) -> Result<Vec<TopicState>, LogError> {
        let metadata = self.metadata(None, "describing the topics")?;
        let mut found: Vec<TopicState> = Vec::new();
        for name in names {
            let topic = metadata.topics().iter().find(|t| t.name() == name && t.error().is_none());
            if let Some(topic) = topic {
                found.push(TopicState {
                    name: name.clone(),
                    partitions: count(topic.partitions().len()),
                    replication: topic.partitions().first().map_or(1, |p| count(p.replicas().len())),
                    config: BTreeMap::new(),
                });
            }
        }
        if found.is_empty() {
            return Ok(found);
        }
        let asked: Vec<String> = found.iter().map(|t| t.name.clone()).collect();
        let specifiers: Vec<_> = asked.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let doing = "reading the topics' settings";
        let answer = self.wait(doing, self.client.describe_configs(&specifiers, &self.options()))?;
        for resource in answer {
            let resource = resource.map_err(|code| explain(self.at(), doing, &KafkaError::AdminOp(code)))?;
            let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
            if let Some(state) = found.iter_mut().find(|t| t.name == *name) {
                state.config = not_default(&resource);
            }
        }
        Ok(found)
    }

    /// All in one request: the controller takes longer for many than for one, but not so many times longer.
    pub fn create(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        if specs.is_empty() {
            return Ok(());
        }
        let doing = |name: &str| match specs.iter().find(|spec| spec.name == name) {
            Some(TopicSpec { partitions, replication, .. }) => {
                format!("creating topic {name} with {partitions} partitions and {replication} replicas")
            }
            None => format!("creating {} topics", specs.len()),
        };
        let all = doing(if let [only] = specs { &only.name } else { "" });
        let topics: Vec<NewTopic<'_>> = specs.iter().map(new_topic).collect();
        let answer = self.wait(&all, self.client.create_topics(&topics, &self.options()))?;
        for result in answer {
            match result {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(explain(self.at(), &doing(&name), &KafkaError::AdminOp(code))),
            }
        }
        specs.iter().try_for_each(|spec| self.wait_until_led(&spec.name, &doing(&spec.name)))
    }

    /// A topic just created has no leaders for a moment: who is told that it exists may write to it at once.
    fn wait_until_led(&self, name: &str, doing: &str) -> Result<(), LogError> {
        loop {
            let metadata = self.metadata(Some(name), doing)?;
            let topic = metadata.topics().iter().find(|t| t.name() == name && t.error().is_none());
            let led = topic.is_some_and(|t| {
                !t.partitions().is_empty() && t.partitions().iter().all(|p| p.error().is_none() && p.leader() >= 0)
            });
            if led {
                return Ok(());
            }
            if self.deadline.is_over() {
                let why = format!("{doing}: it exists, but not all of its partitions have a leader");
                return Err(LogError::Unreachable(self.at().to_owned(), why));
            }
            std::thread::park_timeout(AGAIN);
        }
    }

    pub fn offsets(&self, topic: &str) -> Result<Offsets, LogError> {
        let doing = format!("asking for the offsets of topic {topic}");
        let partitions = self.partitions(topic, &doing)?;
        let client = self.client.inner();
        let watermarks =
            |partition| self.retry(&doing, || client.fetch_watermarks(topic, partition, self.deadline.left(TRY)));
        (0..partitions).map(watermarks).collect()
    }

    pub fn read_all(&self, topic: &str) -> Result<Vec<InRecord>, LogError> {
        let offsets = self.offsets(topic)?;
        let filled: Vec<(i32, i64)> =
            (0..).zip(&offsets).filter(|(_, (first, next))| first < next).map(|(p, (_, next))| (p, *next)).collect();
        consumer::read_all(self.config, topic, &filled, self.deadline)
    }

    fn partitions(&self, topic: &str, doing: &str) -> Result<i32, LogError> {
        let metadata = self.metadata(Some(topic), doing)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let code = found.and_then(|t| t.error()).map(Code::from).or(match found {
            Some(found) if !found.partitions().is_empty() => None,
            _ => Some(Code::UnknownTopicOrPartition),
        });
        match code {
            Some(code) => Err(explain(self.at(), doing, &KafkaError::MetadataFetch(code))),
            None => Ok(count(found.map_or(0, |t| t.partitions().len()))),
        }
    }

    fn metadata(&self, topic: Option<&str>, doing: &str) -> Result<Metadata, LogError> {
        self.retry(doing, || self.client.inner().fetch_metadata(topic, self.deadline.left(TRY)))
    }

    fn retry<T>(&self, doing: &str, mut ask: impl FnMut() -> KafkaResult<T>) -> Result<T, LogError> {
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(e) if e.rdkafka_error_code().is_some_and(is_passing) && !self.deadline.is_over() => {
                    std::thread::park_timeout(AGAIN);
                }
                Err(error) => return Err(explain(self.at(), doing, &error)),
            }
        }
    }

    fn options(&self) -> AdminOptions {
        let left = self.deadline.left(TRY);
        AdminOptions::new().request_timeout(Some(left)).operation_timeout(Some(left))
    }

    fn wait<T>(&self, doing: &str, asked: impl Future<Output = KafkaResult<T>>) -> Result<T, LogError> {
        match wait_for(asked, || self.deadline.is_over()) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(explain(self.at(), doing, &error)),
            None => Err(explain(self.at(), doing, &KafkaError::AdminOp(Code::OperationTimedOut))),
        }
    }

    fn at(&self) -> &str {
        &self.config.bootstrap
    }
}

fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let topic = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(spec.replication));
    spec.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

/// What somebody has set for the topic or for the brokers; Kafka's own defaults are left out.
fn not_default(resource: &ConfigResource) -> BTreeMap<String, String> {
    let set = resource.entries.iter().filter(|e| !matches!(e.source, ConfigSource::Default));
    set.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect()
}
