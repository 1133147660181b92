//! Reads what happened with clients that are not ours, and says whether the promises were kept.

use super::kit::http_get;
use agent_events::log::Log as _;
use agent_events::log::embedded::{EmbeddedConfig, EmbeddedLog, Sync};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A record as an outside reader sees it.
#[derive(Debug, Clone)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: Option<Value>,
    pub raw: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn epoch(&self) -> u64 {
        self.header("ce_writerepoch").and_then(|e| e.parse().ok()).unwrap_or(0)
    }

    pub fn source(&self, field: &str) -> Option<&str> {
        self.value.as_ref()?["source"][field].as_str()
    }

    pub fn op(&self) -> Option<&str> {
        self.value.as_ref()?["op"].as_str()
    }
}

/// A topic of an embedded log, as the process that owns it serves it.
pub fn of_http(api: SocketAddr, topic: &str) -> Vec<Record> {
    let path = format!("/api/v1/topics/{topic}/records?from=BEGIN&follow=false");
    let (status, body) = http_get(api, &path);
    assert_eq!(status, 200, "{topic}: {}", String::from_utf8_lossy(&body));
    let mut records: Vec<Record> = body.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(of_line).collect();
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}

fn of_line(line: &[u8]) -> Record {
    let line: Value = serde_json::from_slice(line).expect("a line of JSON");
    let headers = line["headers"].as_object().expect("headers");
    Record {
        partition: i32::try_from(line["partition"].as_i64().expect("a partition")).expect("a small one"),
        offset: line["offset"].as_i64().expect("an offset"),
        key: line["key"].as_str().expect("a key").to_owned(),
        value: Some(line["value"].clone()).filter(|v| !v.is_null()),
        raw: line["value"].to_string().into_bytes(),
        headers: headers.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
    }
}

/// A topic of an embedded log that no process owns.
pub fn of_embedded(dir: &Path, topic: &str) -> Vec<Record> {
    let config =
        EmbeddedConfig { dir: dir.to_owned(), sync: Sync::Process, queue_bytes: 1 << 20, max_record_bytes: 1 << 20 };
    // The process that owned it may be on its last instruction.
    let log = super::kit::eventually("the log is free", || EmbeddedLog::open(config.clone()).ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let records = runtime.block_on(log.read_all(topic)).expect("the log can be read");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut records: Vec<Record> = records
        .into_iter()
        .map(|r| Record {
            partition: r.partition,
            offset: r.offset,
            key: text(r.key.as_deref().unwrap_or_default()),
            value: r.value.as_deref().map(|v| serde_json::from_slice(v).expect("JSON")),
            raw: r.value.as_deref().unwrap_or_default().to_vec(),
            headers: r.headers.iter().map(|(n, v)| (n.to_string(), text(v.as_deref().unwrap_or_default()))).collect(),
        })
        .collect();
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}

/// A topic of a Kafka.
pub fn of_kafka(bootstrap: &str, topic: &str) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "checker")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let metadata = patiently(|| consumer.fetch_metadata(Some(topic), Duration::from_secs(20)));
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut left = HashMap::new();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        let (low, high) = patiently(|| consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)));
        if high > low {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
            left.insert(partition, high);
        }
    }
    let mut records = Vec::new();
    if left.is_empty() {
        return records;
    }
    consumer.assign(&assignment).expect("an assignment");
    while !left.is_empty() {
        let message = match consumer.poll(Duration::from_secs(20)) {
            Some(Ok(message)) => message,
            // A broker that was killed a moment ago: the consumer reconnects by itself.
            Some(Err(_)) => continue,
            None => panic!("reading {topic}: nothing within 20 s"),
        };
        if left.get(&message.partition()).is_some_and(|high| message.offset() + 1 >= *high) {
            left.remove(&message.partition());
        }
        let headers = message.headers().map(|headers| {
            let text = |v: Option<&[u8]>| String::from_utf8_lossy(v.unwrap_or_default()).into_owned();
            headers.iter().map(|h| (h.key.to_owned(), text(h.value))).collect()
        });
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
            value: message.payload().map(|p| serde_json::from_slice(p).expect("JSON")),
            raw: message.payload().unwrap_or_default().to_vec(),
            headers: headers.unwrap_or_default(),
        });
    }
    records.sort_by_key(|r| (r.partition, r.offset));
    records
}

/// A broker that has just come back answers NOT_LEADER for a moment: asked again.
fn patiently<T>(mut ask: impl FnMut() -> rdkafka::error::KafkaResult<T>) -> T {
    super::kit::eventually("the broker answers the checker", || ask().ok())
}

/// uid → resourceVersion of a list, whoever answered it.
pub fn versions(list: &Value) -> BTreeMap<String, String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|o| (text(&o["metadata"]["uid"]), text(&o["metadata"]["resourceVersion"]))).collect()
}

/// The table that a reader who honours writer markers holds: uid → version.
pub fn fold(records: &[Record]) -> BTreeMap<String, String> {
    let mut epochs: HashMap<i32, u64> = HashMap::new();
    let mut table: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for record in records {
        let epoch = epochs.entry(record.partition).or_default();
        if record.key.starts_with('~') {
            *epoch = record.epoch().max(*epoch);
        } else if record.epoch() >= *epoch {
            match (&record.value, record.op()) {
                (Some(_), Some("d")) | (None, _) => {
                    table.remove(record.key.as_str());
                }
                _ => {
                    let field = |name| record.source(name).unwrap_or_default().to_owned();
                    table.insert(&record.key, (field("uid"), field("rv")));
                }
            }
        }
    }
    table.into_values().collect()
}

/// The table that a reader who only knows keys and tombstones holds: what compaction leaves.
pub fn last_offsets(records: &[Record]) -> BTreeMap<String, String> {
    let mut table: BTreeMap<&str, Option<(String, String)>> = BTreeMap::new();
    for record in records.iter().filter(|r| !r.key.starts_with('~')) {
        let row = match (&record.value, record.op()) {
            (Some(_), Some("d")) | (None, _) => None,
            _ => {
                Some((record.source("uid").unwrap_or_default().into(), record.source("rv").unwrap_or_default().into()))
            }
        };
        table.insert(&record.key, row);
    }
    table.into_values().flatten().collect()
}

/// History, length and text of its version: a cluster that was restored from a backup gives out lower ones, in a history of
/// its own. A tombstone is of the history of what it follows.
fn version(record: &Record, history: Option<u64>) -> Option<(u64, usize, String)> {
    let rv = record.source("rv").or_else(|| record.header("ce_rv"))?;
    let own = record.value.as_ref().and_then(|v| v["source"]["historyEpoch"].as_u64());
    let own = own.or_else(|| record.header("ce_historyepoch")?.parse().ok());
    Some((own.or(history).unwrap_or(0), rv.len(), rv.to_owned()))
}

/// Every broken promise about order, deletes and shape, in words.
pub fn violations(records: &[Record]) -> Vec<String> {
    let mut found = Vec::new();
    let mut newest: HashMap<&str, (u64, usize, String)> = HashMap::new();
    let mut uid_of: HashMap<&str, String> = HashMap::new();
    let mut dead: HashSet<String> = HashSet::new();
    let mut owed: HashSet<&str> = HashSet::new();
    let mut epochs: HashMap<i32, u64> = HashMap::new();
    for record in records {
        let at = format!("{}/{} {}", record.partition, record.offset, record.key);
        let epoch = epochs.entry(record.partition).or_default();
        if record.key.starts_with('~') {
            *epoch = record.epoch().max(*epoch);
            continue;
        }
        if record.epoch() < *epoch {
            continue;
        }
        let key = record.key.as_str();
        if let Some(now) = version(record, newest.get(key).map(|last| last.0)) {
            if newest.get(key).is_some_and(|last| *last > now) {
                found.push(format!("{at}: version {} behind {}", now.2, newest[key].2));
            }
            newest.insert(key, now);
        }
        let Some(value) = &record.value else {
            owed.remove(key);
            continue;
        };
        let uid = record.source("uid").unwrap_or_default().to_owned();
        match record.op() {
            Some("d") => {
                if value["before"].is_null() {
                    found.push(format!("{at}: a delete without before"));
                }
                dead.insert(uid.clone());
                owed.insert(key);
            }
            op => {
                if op == Some("u") && value["before"].is_null() {
                    found.push(format!("{at}: an update without before"));
                }
                if let Some(predecessor) = uid_of.get(key).filter(|p| **p != uid)
                    && !dead.contains(predecessor)
                {
                    found.push(format!("{at}: uid {uid} follows {predecessor}, whose delete is missing"));
                }
                if owed.contains(key) {
                    found.push(format!("{at}: a delete without its tombstone"));
                    owed.remove(key);
                }
                uid_of.insert(key, uid);
            }
        }
    }
    found
}

/// The ids that stand more than once, and the deaths of what was dead already under another id.
pub fn duplicates(records: &[Record]) -> usize {
    let (mut seen, mut dead, mut repeats) = (HashSet::new(), HashSet::new(), 0);
    for record in records {
        let Some(id) = record.header("ce_id") else { continue };
        let uid = record.source("uid").unwrap_or_default();
        let is_delete = record.op() == Some("d");
        if !is_delete {
            dead.remove(uid);
        }
        repeats += usize::from(!seen.insert(id) || is_delete && !dead.insert(uid));
    }
    repeats
}
