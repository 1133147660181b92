//! What stands in a topic, read by a client that is not ours.

use super::kit::PATIENCE;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use testbed::wait_until;

/// The key and the value of a record.
pub type Record = (String, Value);

/// Reads a topic from its beginning until a record with a value has a key that ends so.
pub fn awaited(bootstrap: &str, topic: &str, key_end: &str) -> Record {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "deploy").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker knows the topic");
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("an offset");
    }
    consumer.assign(&assignment).expect("an assignment");
    let found = wait_until(PATIENCE, || -> Result<Option<Record>, rdkafka::error::KafkaError> {
        while let Some(message) = consumer.poll(std::time::Duration::from_millis(200)) {
            let message = message?;
            let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
            if let (true, Some(value)) = (key.ends_with(key_end), message.payload()) {
                return Ok(Some((key, serde_json::from_slice(value).expect("JSON"))));
            }
        }
        Ok(None)
    });
    found.expect("the topic can be read").unwrap_or_else(|| panic!("{topic}: no {key_end} within {PATIENCE:?}"))
}
