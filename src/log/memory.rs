//! A log in memory: for simulation and tests, never a silent stand-in.
//!
//! Without faults a record is written and its token settled within `send`, on the caller's thread. There is no OS thread
//! and no wall clock in here, so that under a paused single-threaded runtime the same seed gives the same run. Faults are
//! scripted through the same handle that inspects what was written: clone it before handing it on as a `dyn Log`.
//!
//! It imitates the Kafka engine where it matters: gapless producers that drop what is queued behind a refused record,
//! `max.message.bytes` of a topic checked at delivery, offsets that stay when records are compacted.

mod producer;
mod reader;
mod state;
#[cfg(test)]
mod tests;

use crate::domain::record::{InRecord, OutRecord};
use crate::domain::topic::TopicSpec;
use crate::log::{Log, LogError, Offsets, Producer, Reader, Start, TopicState};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use producer::MemoryProducer;
use state::{Refusal, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Limits of a memory log; none by default.
#[derive(Debug, Clone, Default)]
pub struct MemoryOptions {
    /// What a producer holds unsettled before it answers [`crate::log::SendError::QueueFull`].
    pub queue_bytes: Option<usize>,
    /// Records above this are refused by `send`, as librdkafka does by `message.max.bytes`.
    pub max_record_bytes: Option<usize>,
}

/// When what was sent is written and settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deliver {
    /// Within `send`.
    #[default]
    Inline,
    /// So long after `send`, in order, by a task on the tokio runtime (paused time counts).
    After(Duration),
    /// When [`MemoryLog::release`] is called.
    Held,
}

/// The log and its test handle; clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Woken whenever a reader may have something to read.
    grown: Notify,
    /// The runtime that the log was made on: delayed deliveries and readers must not die with an arbiter's runtime.
    runtime: Option<tokio::runtime::Handle>,
}

impl Shared {
    /// A panicking test thread must not hide what was written: the state is plain data, valid after every line.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runtime(&self) -> Option<tokio::runtime::Handle> {
        self.runtime.clone().or_else(|| tokio::runtime::Handle::try_current().ok())
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl MemoryLog {
    /// An empty log. Made within a tokio runtime, it uses that one for all its tasks.
    pub fn new(options: MemoryOptions) -> Self {
        let runtime = tokio::runtime::Handle::try_current().ok();
        let state = Mutex::new(State::new(options));
        Self { shared: Arc::new(Shared { state, grown: Notify::new(), runtime }) }
    }

    /// From now on, when records are delivered. Leaving [`Deliver::Held`] delivers what was held.
    pub fn deliver(&self, when: Deliver) {
        self.shared.lock().deliver = when;
        producer::pump(&self.shared);
    }

    /// Delivers at most `count` held records, of all producers, oldest first; gives how many there were to deliver.
    pub fn release(&self, count: usize) -> usize {
        let (settled, delivered) = {
            let mut state = self.shared.lock();
            let mut settled = Vec::new();
            let delivered = (0..count).take_while(|_| state.deliver_oldest(&mut settled)).count();
            (settled, delivered)
        };
        producer::settle(settled);
        self.shared.grown.notify_waiters();
        delivered
    }

    /// The log goes away: nothing is delivered or read, and every question is answered with
    /// [`LogError::Unreachable`]. Or comes back.
    pub fn set_down(&self, down: bool) {
        self.shared.lock().down = down;
        producer::pump(&self.shared);
        self.shared.grown.notify_waiters();
    }

    /// The next `count` sends, of any producer, find the queue full.
    pub fn queue_full_for(&self, count: usize) {
        self.shared.lock().queue_full_for = count;
    }

    /// The broker refuses the next record that `which` picks: its token fails, its producer is fatal.
    pub fn refuse_next(&self, why: &str, which: impl Fn(&OutRecord) -> bool + Send + 'static) {
        self.shared.lock().refusals.push(Refusal { which: Box::new(which), why: Some(why.to_owned()) });
    }

    /// The next record that `which` picks is written, but its token is dropped: nobody learns of it.
    pub fn lose_ack_of_next(&self, which: impl Fn(&OutRecord) -> bool + Send + 'static) {
        self.shared.lock().refusals.push(Refusal { which: Box::new(which), why: None });
    }

    /// From now on what a purge or a dropped producer gives up may still arrive, as requests of a killed process do: it is
    /// kept, and [`Self::land_zombies`] writes it.
    pub fn keep_zombies(&self) {
        self.shared.lock().zombies.get_or_insert_default();
    }

    /// Writes what dead producers had under way, in their order; gives how many records that were.
    pub fn land_zombies(&self) -> usize {
        let landed = self.shared.lock().land_zombies();
        self.shared.grown.notify_waiters();
        landed
    }

    /// Everything that stands in a topic, partition by partition; nothing when there is no such topic.
    pub fn dump(&self, topic: &str) -> Vec<InRecord> {
        self.shared.lock().dump(topic)
    }

    /// Writes a record that no producer of ours would: null keys, null headers. Topic and partition must exist; the
    /// offset is given by the log.
    pub fn inject(&self, record: InRecord) -> Result<i64, LogError> {
        let topic = record.topic.clone();
        let written = self.shared.lock().append(&topic, record.partition, |name, offset| {
            let mut record = record;
            (record.topic, record.offset) = (name, offset);
            record
        });
        self.shared.grown.notify_waiters();
        written.map_err(LogError::Refused)
    }

    /// Keeps only the last record of every key, as a thorough log cleaner would; offsets stay. Records without a key are
    /// dropped.
    pub fn compact(&self, topic: &str) {
        self.shared.lock().compact(topic, false);
    }

    /// As [`Self::compact`], `delete.retention.ms` later: tombstones go too. The last record of a partition stays, as the
    /// active segment is never cleaned.
    pub fn compact_with_tombstones(&self, topic: &str) {
        self.shared.lock().compact(topic, true);
    }

    /// Deletes what is older than `before` in one partition, as retention does; readers that are behind go on there.
    pub fn delete_before(&self, topic: &str, partition: i32, before: i64) {
        self.shared.lock().delete_before(topic, partition, before);
    }

    /// Deletes a topic under everyone's feet.
    pub fn delete_topic(&self, topic: &str) {
        self.shared.lock().topics.remove(topic);
    }
}

impl Log for MemoryLog {
    fn engine(&self) -> &'static str {
        "memory"
    }

    fn location(&self) -> String {
        "this process".to_owned()
    }

    fn producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        Ok(Arc::new(MemoryProducer::open(self.shared.clone())))
    }

    fn read(&self, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
        reader::start(self.shared.clone(), from)
    }

    fn read_all<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Vec<InRecord>, LogError>> {
        Box::pin(async move {
            let state = self.shared.lock();
            state.reachable()?;
            state.topic(topic)?;
            Ok(state.dump(topic))
        })
    }

    fn describe<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<TopicState>, LogError>> {
        Box::pin(async move {
            let state = self.shared.lock();
            state.reachable()?;
            Ok(names.iter().filter_map(|name| state.topics.get(name.as_str())).map(state::Topic::describe).collect())
        })
    }

    fn list<'a>(&'a self) -> BoxFuture<'a, Result<Vec<String>, LogError>> {
        Box::pin(async move {
            let state = self.shared.lock();
            state.reachable()?;
            Ok(state.topics.keys().map(ToString::to_string).collect())
        })
    }

    fn create<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let mut state = self.shared.lock();
            state.reachable()?;
            state.create(spec)
        })
    }

    fn offsets<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Offsets, LogError>> {
        Box::pin(async move {
            let state = self.shared.lock();
            state.reachable()?;
            Ok(state.topic(topic)?.offsets())
        })
    }
}

/// What a record looks like once it is read back.
fn read_back(record: &OutRecord, topic: Arc<str>, offset: i64) -> InRecord {
    InRecord {
        topic,
        partition: record.partition,
        offset,
        timestamp_ms: record.timestamp_ms,
        key: Some(record.key.clone()),
        value: record.value.clone(),
        headers: record.headers.iter().map(|(name, value)| ((*name).into(), Some(Bytes::clone(value)))).collect(),
    }
}
