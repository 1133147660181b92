//! What stands in Kafka, as seen by a bystander: the same eye for every side of a comparison.

use crate::cpu;
use agent_events::domain::checkpoint::Memory;
use agent_events::domain::record::InRecord;
use agent_events::domain::topic::TopicSpec;
use agent_events::log::Log as _;
use agent_events::log::kafka::{KafkaConfig, KafkaLog};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use std::time::Duration;
use testbed::{Kafka, KafkaOptions};
use tokio::runtime::Runtime;

/// How long anything may take before a run is given up.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A real Kafka and its bystander.
pub struct Broker {
    kafka: Kafka,
    eye: BaseConsumer,
    log: KafkaLog,
    runtime: Runtime,
}

impl Broker {
    /// Starts a Kafka with room for what the benchmarks write.
    pub fn start() -> Self {
        let options = KafkaOptions { heap_mib: 512, ..KafkaOptions::default() };
        let kafka = Kafka::start(options).expect("a real Kafka starts");
        let bootstrap = kafka.bootstrap();
        let eye = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("group.id", "figures")
            .create()
            .expect("a consumer of loopback");
        let log = KafkaLog::new(KafkaConfig::new(bootstrap)).expect("the defaults hold");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { kafka, eye, log, runtime }
    }

    /// `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> String {
        self.kafka.bootstrap()
    }

    /// Next offset of each partition of a topic.
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        let within = Duration::from_secs(10);
        let metadata = self.eye.fetch_metadata(Some(topic), within).expect("the broker answers");
        let partitions = metadata.topics().first().map_or(0, |t| t.partitions().len()) as i32;
        let end = |p| self.eye.fetch_watermarks(topic, p, within).map_or(0, |(_, end)| end);
        (0..partitions).map(end).collect()
    }

    /// Records ever written to a topic.
    pub fn written(&self, topic: &str) -> i64 {
        self.ends(topic).iter().sum()
    }

    /// Waits until a topic holds that many records.
    pub fn await_written(&self, topic: &str, records: i64) {
        let partitions = self.ends(topic).len() as i32;
        let within = Duration::from_secs(10);
        let end = |p| self.eye.fetch_watermarks(topic, p, within).map_or(0, |(_, end)| end);
        eventually(&format!("{records} records in {topic}"), Duration::from_millis(10), || {
            (0..partitions).map(end).sum::<i64>() >= records
        });
    }

    /// Waits until the stream processor behind `prefix` has told all that stands in the topic: everything is on, and done.
    pub fn await_told(&self, prefix: &str, topic: &str) {
        let ends = self.ends(topic);
        eventually(&format!("{topic} is told"), Duration::from_millis(100), || {
            let checkpoints = self.runtime.block_on(self.log.read_all(&format!("{prefix}agent-events-checkpoints")));
            let memory = Memory::read(&checkpoints.unwrap_or_default());
            let told = memory.checkpoints.get("~stream-processor").and_then(|c| c.positions.get(topic));
            told.is_some_and(|told| {
                (0..).zip(&ends).all(|(p, end)| *end == 0 || told.get(&p).is_some_and(|next| next >= end))
            })
        });
    }

    /// Creates a topic like another.
    pub fn create_like(&self, topic: &str, like: &str) {
        let found = self.runtime.block_on(self.log.describe(&[like.to_owned()])).expect("the broker answers");
        let like = found.first().expect("the topic is there");
        let spec = TopicSpec {
            name: topic.to_owned(),
            partitions: like.partitions,
            replication: like.replication,
            config: like.config.clone(),
        };
        self.runtime.block_on(self.log.create(&spec)).expect("the broker creates it");
    }
}

/// The changes in a topic (no tombstones, no markers), about as they were written.
pub fn changes(bootstrap: &str, topic: &str) -> Vec<InRecord> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let log = KafkaLog::new(KafkaConfig::new(bootstrap)).expect("the defaults hold");
    let mut records = runtime.block_on(log.read_all(topic)).expect("the broker answers");
    records.retain(|record| record.value.is_some());
    records.sort_by_key(|record| (record.timestamp_ms, record.partition, record.offset));
    records
}

/// Waits for a condition, looking at it now and then; panics when it does not come about.
pub fn eventually(what: &str, pause: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = cpu::wall() + PATIENCE;
    while !condition() {
        assert!(cpu::wall() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(pause);
    }
}
