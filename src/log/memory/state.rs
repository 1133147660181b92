//! What the memory log holds: topics, and the queues of its producers. Plain data; no token is ever settled in here, since
//! a sink may send again.

use super::{Deliver, MemoryOptions, read_back};
use crate::domain::ack::{AckToken, Outcome};
use crate::domain::record::{InRecord, OutRecord};
use crate::domain::topic::TopicSpec;
use crate::log::{LogError, TopicState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// A scripted fault at delivery: with `why` the record is refused, without it is written and its ack is lost.
pub(super) struct Refusal {
    pub which: Box<dyn Fn(&OutRecord) -> bool + Send>,
    pub why: Option<String>,
}

/// Tokens to settle once the lock is gone; `None` drops the token.
pub(super) type Settled = Vec<(AckToken, Option<Outcome>)>;

pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, Topic>,
    /// Ordered by id, so that a run is repeatable.
    pub queues: BTreeMap<u64, Queue>,
    pub options: MemoryOptions,
    pub deliver: Deliver,
    pub down: bool,
    pub queue_full_for: usize,
    pub refusals: Vec<Refusal>,
    pub zombies: Option<Vec<OutRecord>>,
    /// Numbers producers and sends alike.
    pub next_number: u64,
}

pub(super) struct Topic {
    name: Arc<str>,
    spec: TopicSpec,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    first: i64,
    next: i64,
    /// By offset; with holes where it was compacted.
    records: Vec<Arc<InRecord>>,
}

/// What one producer has taken and not settled.
#[derive(Default)]
pub(super) struct Queue {
    pub waiting: VecDeque<Waiting>,
    pub bytes: usize,
    pub fatal: Option<String>,
    /// A task sleeps until the oldest delayed record is due.
    pub timer: bool,
}

pub(super) struct Waiting {
    pub number: u64,
    pub due: Option<tokio::time::Instant>,
    pub record: OutRecord,
    pub token: AckToken,
}

impl State {
    pub fn new(options: MemoryOptions) -> Self {
        Self {
            topics: BTreeMap::new(),
            queues: BTreeMap::new(),
            options,
            deliver: Deliver::default(),
            down: false,
            queue_full_for: 0,
            refusals: Vec::new(),
            zombies: None,
            next_number: 0,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub fn reachable(&self) -> Result<(), LogError> {
        if self.down { Err(LogError::Unreachable("memory".into(), "it was taken down".into())) } else { Ok(()) }
    }

    pub fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).ok_or_else(|| LogError::Refused(no_such_topic(name)))
    }

    pub fn create(&mut self, spec: &TopicSpec) -> Result<(), LogError> {
        if spec.partitions < 1 || spec.name.is_empty() {
            return Err(LogError::Refused(format!(
                "topic {:?} with {} partitions: give it a name and at least one partition",
                spec.name, spec.partitions
            )));
        }
        let name: Arc<str> = spec.name.as_str().into();
        self.topics.entry(name.clone()).or_insert_with(|| Topic {
            name,
            spec: spec.clone(),
            partitions: (0..spec.partitions).map(|_| Partition::default()).collect(),
        });
        Ok(())
    }

    /// Writes what `make` makes of the topic's shared name and the offset.
    pub fn append(
        &mut self,
        topic: &str,
        partition: i32,
        make: impl FnOnce(Arc<str>, i64) -> InRecord,
    ) -> Result<i64, String> {
        let topic = self.topics.get_mut(topic).ok_or_else(|| no_such_topic(topic))?;
        let count = topic.partitions.len();
        let into = usize::try_from(partition)
            .ok()
            .and_then(|p| topic.partitions.get_mut(p))
            .ok_or_else(|| format!("topic {} has {count} partitions, there is no {partition}", topic.name))?;
        let offset = into.next;
        into.records.push(Arc::new(make(topic.name.clone(), offset)));
        into.next += 1;
        Ok(offset)
    }

    /// Delivers the oldest record of producer `id`, whatever its time; false when there is none or it cannot be.
    pub fn deliver_next_of(&mut self, id: u64, settled: &mut Settled) -> bool {
        let Some(queue) = self.queues.get_mut(&id).filter(|q| !self.down && q.fatal.is_none()) else { return false };
        let Some(Waiting { record, token, .. }) = queue.waiting.pop_front() else { return false };
        queue.bytes -= record.size();
        let fault = self.refusals.iter().position(|f| (f.which)(&record)).map(|at| self.refusals.remove(at));
        let written = match &fault {
            Some(Refusal { why: Some(why), .. }) => Err(why.clone()),
            _ => self.write(&record),
        };
        let outcome = match written {
            // The ack is lost.
            Ok(_) if fault.is_some() => None,
            Ok(offset) => Some(Outcome::Acked { partition: record.partition, offset }),
            Err(why) => {
                if let Some(queue) = self.queues.get_mut(&id) {
                    queue.fatal = Some(why.clone());
                }
                Some(Outcome::Failed(why))
            }
        };
        let failed = matches!(outcome, Some(Outcome::Failed(_)));
        settled.push((token, outcome));
        if failed {
            settled.extend(self.give_up(id));
        }
        true
    }

    /// Delivers the record that was sent first of all producers' oldest.
    pub fn deliver_oldest(&mut self, settled: &mut Settled) -> bool {
        let oldest = |(id, q): (&u64, &Queue)| q.waiting.front().filter(|_| q.fatal.is_none()).map(|w| (w.number, *id));
        self.queues.iter().filter_map(oldest).min().is_some_and(|(_, id)| self.deliver_next_of(id, settled))
    }

    fn write(&mut self, record: &OutRecord) -> Result<i64, String> {
        let limit = self.topics.get(&record.topic).and_then(|t| t.spec.config.get("max.message.bytes")?.parse().ok());
        if limit.is_some_and(|limit: usize| record.size() > limit) {
            return Err(format!(
                "topic {}: a record of {} bytes is above its max.message.bytes",
                record.topic,
                record.size()
            ));
        }
        self.append(&record.topic, record.partition, |name, offset| read_back(record, name, offset))
    }

    /// Forgets what producer `id` has queued; the tokens come back to be dropped.
    pub fn give_up(&mut self, id: u64) -> Settled {
        let Some(queue) = self.queues.get_mut(&id) else { return Settled::new() };
        queue.bytes = 0;
        let waiting = std::mem::take(&mut queue.waiting);
        // What is behind a refused record never was on its way.
        let may_land = queue.fatal.is_none();
        queue.fatal.get_or_insert_with(|| "purged: make a new producer".to_owned());
        let (records, settled): (Vec<_>, Settled) = waiting.into_iter().map(|w| (w.record, (w.token, None))).unzip();
        if let Some(zombies) = self.zombies.as_mut().filter(|_| may_land) {
            zombies.extend(records);
        }
        settled
    }

    pub fn land_zombies(&mut self) -> usize {
        let zombies = self.zombies.as_mut().map(std::mem::take).unwrap_or_default();
        zombies.iter().filter(|record| self.write(record).is_ok()).count()
    }

    pub fn dump(&self, topic: &str) -> Vec<InRecord> {
        let partitions = self.topics.get(topic).map(|t| t.partitions.as_slice()).unwrap_or_default();
        partitions.iter().flat_map(|p| p.records.iter().map(|r| InRecord::clone(r))).collect()
    }

    pub fn compact(&mut self, topic: &str, with_tombstones: bool) {
        for partition in self.topics.get_mut(topic).map(|t| t.partitions.as_mut_slice()).unwrap_or_default() {
            let last: HashMap<_, _> = partition.records.iter().map(|r| (r.key.clone(), r.offset)).collect();
            let end = partition.next - 1;
            partition.records.retain(|r| {
                let is_last = r.key.is_some() && last.get(&r.key) == Some(&r.offset);
                is_last && !(with_tombstones && r.value.is_none()) || r.offset == end
            });
        }
    }

    pub fn delete_before(&mut self, topic: &str, partition: i32, before: i64) {
        let topic = self.topics.get_mut(topic);
        if let Some(partition) = topic.and_then(|t| t.partitions.get_mut(usize::try_from(partition).ok()?)) {
            partition.first = before.clamp(partition.first, partition.next);
            partition.records.retain(|r| r.offset >= partition.first);
        }
    }
}

impl Topic {
    pub fn describe(&self) -> TopicState {
        TopicState {
            name: self.spec.name.clone(),
            partitions: self.spec.partitions,
            replication: 1,
            config: self.spec.config.clone(),
        }
    }

    pub fn offsets(&self) -> Vec<(i64, i64)> {
        self.partitions.iter().map(|p| (p.first, p.next)).collect()
    }

    /// The offset of the first record that is not older, or the end.
    pub fn offset_at(&self, partition: usize, timestamp_ms: i64) -> Option<i64> {
        let partition = self.partitions.get(partition)?;
        Some(partition.records.iter().find(|r| r.timestamp_ms >= timestamp_ms).map_or(partition.next, |r| r.offset))
    }

    /// The records of a partition from `offset` on.
    pub fn from(&self, partition: usize, offset: i64) -> &[Arc<InRecord>] {
        let records = self.partitions.get(partition).map(|p| p.records.as_slice()).unwrap_or_default();
        &records[records.partition_point(|r| r.offset < offset)..]
    }
}

pub(super) fn no_such_topic(name: &str) -> String {
    format!("there is no topic {name}: create it with `agent-events topics apply`")
}
