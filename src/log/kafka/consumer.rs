//! Reads by explicit offsets: one librdkafka consumer on one thread for each read. No group is joined, nothing committed.
//!
//! rdkafka's asynchronous consumer has lost wake-ups, and a consumer per topic costs threads; a plain loop has neither.
//! While the receiver is slow the thread waits, librdkafka's queue fills to its bound, and the fetch pauses.

use super::config::{KafkaConfig, reader as client_config, refused};
use super::connection::Connection;
use super::errors::{explain, is_away, is_passing};
use super::ffi;
use super::thread::{Deadline, wait_for};
use crate::domain::record::InRecord;
use crate::log::{LogError, ReadBatch, Reader, Start};
use bytes::Bytes;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::mpsc;

/// One hand-over: enough to make its cost vanish, little enough to keep latency and memory small.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way: one being applied, one ready.
const BATCHES_AHEAD: usize = 2;
/// How soon a dropped reader is noticed while nothing comes.
const POLL: Duration = Duration::from_millis(100);
/// One try to ask for offsets; it is repeated until it succeeds.
const ASK: Duration = Duration::from_secs(5);

/// Starts a read; resolving where to start and reconnecting are the thread's business.
pub(super) fn start(config: &KafkaConfig, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
    let context = Context(Connection::new("reader", &config.bootstrap));
    let consumer = BaseConsumer::from_config_and_context(&client_config(config), context).map_err(refused)?;
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let stop = Arc::new(AtomicBool::new(false));
    let reading = Reading { consumer, sender, stop: stop.clone(), topics: topics_of(&from) };
    let thread = std::thread::Builder::new()
        .name("kafka-reader".into())
        .spawn(move || reading.run(&from))
        .map_err(|error| LogError::Refused(format!("no thread for a Kafka reader: {error}")))?;
    Ok(Reader { batches, guard: Box::new(Guard { stop, thread: thread.thread().clone() }) })
}

struct Guard {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn topics_of(from: &[(Arc<str>, i32, Start)]) -> Vec<Arc<str>> {
    from.iter().map(|(topic, ..)| topic.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

struct Reading {
    consumer: BaseConsumer<Context>,
    sender: mpsc::Sender<ReadBatch>,
    stop: Arc<AtomicBool>,
    topics: Vec<Arc<str>>,
}

impl Reading {
    fn run(self, from: &[(Arc<str>, i32, Start)]) {
        let Some(positions) = self.positions(from) else { return };
        if let Err(error) = self.consumer.assign(&positions) {
            tracing::error!(%error, topics = ?self.topics, "Kafka cannot be read; the reader ends");
            return;
        }
        while !self.unwanted() {
            let batch = match self.next_batch() {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(%error, topics = ?self.topics, "Kafka cannot be read any more; the reader ends");
                    return;
                }
            };
            if batch.records.is_empty() {
                continue;
            }
            match wait_for(self.sender.reserve(), || self.unwanted()) {
                Some(Ok(room)) => room.send(batch),
                Some(Err(_)) | None => return,
            }
        }
    }

    fn unwanted(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.sender.is_closed()
    }

    /// What is there, at most one batch; nothing when nothing comes for a while.
    fn next_batch(&self) -> KafkaResult<ReadBatch> {
        let mut batch = ReadBatch::default();
        let mut bytes = 0;
        while batch.records.len() < BATCH_RECORDS && bytes < BATCH_BYTES {
            let patience = if batch.records.is_empty() { POLL } else { Duration::ZERO };
            match self.consumer.poll(patience) {
                Some(Ok(message)) => {
                    self.consumer.context().0.alive();
                    bytes += message.key_len() + message.payload_len();
                    batch.records.push(read_back(&message, &self.topics));
                }
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(error),
                // Said through the context already, and retried by librdkafka.
                Some(Err(_)) if batch.records.is_empty() && self.unwanted() => return Ok(batch),
                Some(Err(_)) => {}
                None => return Ok(batch),
            }
        }
        Ok(batch)
    }

    /// Where to start; asks for the offsets of timestamps until it is told or nobody wants to know any more.
    fn positions(&self, from: &[(Arc<str>, i32, Start)]) -> Option<TopicPartitionList> {
        let mut positions = TopicPartitionList::new();
        let mut asked = TopicPartitionList::new();
        for (topic, partition, start) in from {
            let (list, offset) = match start {
                Start::Beginning => (&mut positions, Offset::Beginning),
                Start::End => (&mut positions, Offset::End),
                Start::Offset(offset) => (&mut positions, Offset::Offset((*offset).max(0))),
                Start::Timestamp(ms) => (&mut asked, Offset::Offset((*ms).max(0))),
            };
            add(list, topic, *partition, offset);
        }
        while asked.count() > 0 {
            let answer = self.consumer.offsets_for_times(asked.clone(), ASK);
            // Serves what the client has to say meanwhile; nothing is assigned yet, so no record can come.
            drop(self.consumer.poll(Duration::ZERO));
            if self.unwanted() {
                return None;
            }
            let Ok(answer) = answer else {
                std::thread::park_timeout(POLL);
                continue;
            };
            let mut again = TopicPartitionList::new();
            for found in answer.elements() {
                if found.error().is_ok() {
                    // Nothing is that young: the end.
                    let offset = if let Offset::Offset(_) = found.offset() { found.offset() } else { Offset::End };
                    add(&mut positions, found.topic(), found.partition(), offset);
                } else if let Some(element) = asked.find_partition(found.topic(), found.partition()) {
                    add(&mut again, found.topic(), found.partition(), element.offset());
                }
            }
            if again.count() > 0 {
                std::thread::park_timeout(POLL);
            }
            asked = again;
        }
        Some(positions)
    }
}

fn add(list: &mut TopicPartitionList, topic: &str, partition: i32, offset: Offset) {
    // Only an absolute offset below zero is refused, and there is none.
    if let Err(error) = list.add_partition_offset(topic, partition, offset) {
        tracing::error!(%error, topic, partition, ?offset, "Kafka refuses a position; the partition is not read");
    }
}

fn read_back(message: &BorrowedMessage<'_>, topics: &[Arc<str>]) -> InRecord {
    let name = message.topic();
    InRecord {
        topic: topics.iter().find(|t| ***t == *name).cloned().unwrap_or_else(|| name.into()),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: ffi::headers(message),
    }
}

/// Reads a topic from its first record to what stood in it when asked. `partitions` are those that hold anything, with
/// their next offset. Blocks, until `deadline` at most.
pub(super) fn read_all(
    config: &KafkaConfig,
    topic: &str,
    partitions: &[(i32, i64)],
    deadline: Deadline,
) -> Result<Vec<InRecord>, LogError> {
    let (at, doing) = (&config.bootstrap, format!("reading topic {topic}"));
    let context = Context(Connection::new("reader", at));
    let mut settings = client_config(config);
    // The offset before the end may be no record (compacted away, a transaction's mark): the end of a partition is told.
    settings.set("enable.partition.eof", "true");
    let consumer = BaseConsumer::from_config_and_context(&settings, context).map_err(refused)?;
    let mut positions = TopicPartitionList::new();
    for (partition, _) in partitions {
        add(&mut positions, topic, *partition, Offset::Beginning);
    }
    consumer.assign(&positions).map_err(|error| explain(at, &doing, &error))?;
    let topics = [Arc::from(topic)];
    let mut waiting: BTreeSet<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
    let mut records = Vec::new();
    while !waiting.is_empty() {
        if deadline.is_over() {
            let why = format!("{doing}: it did not end in time, {} records came", records.len());
            return Err(LogError::Unreachable(at.clone(), why));
        }
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let record = read_back(&message, &topics);
                let next = partitions.iter().find(|(partition, _)| *partition == record.partition);
                if next.is_some_and(|(_, next)| record.offset + 1 >= *next) {
                    waiting.remove(&record.partition);
                }
                // What was written after we asked is not wanted, or two reads would never agree.
                if next.is_some_and(|(_, next)| record.offset < *next) {
                    records.push(record);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                waiting.remove(&partition);
            }
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(|c| !is_away(c) && !is_passing(c)) => {
                if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::GroupAuthorizationFailed) {
                    return Err(explain(at, &doing, &error));
                }
            }
            Some(Err(_)) | None => {}
        }
    }
    records.sort_by_key(|r| (r.partition, r.offset));
    Ok(records)
}

struct Context(Connection);

impl ConsumerContext for Context {}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}
