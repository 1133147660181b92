//! What the log holds, as it is known in memory: topics, the bounds of their partitions, and which file holds what. Only what
//! was acknowledged is in here, so whatever a reader sees is durable.

use super::codec::Place;
use super::journal::{Entry, Journal};
use super::policy::Policy;
use super::segment::{Block, Segment};
use crate::domain::topic::TopicSpec;
use crate::log::{LogError, Offsets, TopicState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub id: u32,
    pub spec: TopicSpec,
    pub policy: Policy,
    pub partitions: Vec<Bounds>,
}

/// First and next offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub first: i64,
    pub next: i64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, Topic>,
    /// By id.
    pub names: Vec<Arc<str>>,
    /// In the order of the journals that they replaced.
    pub segments: Vec<Arc<Segment>>,
    /// Those that are in no segment yet; the last one is written to.
    pub journals: Vec<Journal>,
}

/// Where the next records of a partition stand.
pub(super) enum Plan {
    Blocks(Arc<Segment>, Vec<Block>),
    Entries { file: Arc<File>, path: Arc<Path>, entries: Vec<Entry> },
    Nothing,
}

/// As it stands in the file `topics`.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub name: String,
    pub partitions: i32,
    pub config: BTreeMap<String, String>,
}

impl State {
    pub fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics.get(name).ok_or_else(|| LogError::Refused(no_such_topic(name)))
    }

    /// The place of a partition that exists.
    pub fn place(&self, topic: &str, partition: i32) -> Result<Place, LogError> {
        let found = self.topic(topic)?;
        let count = found.partitions.len();
        if usize::try_from(partition).is_ok_and(|p| p < count) {
            return Ok(Place { topic: found.id, partition });
        }
        Err(LogError::Refused(format!("topic {topic} has {count} partitions, there is no {partition}")))
    }

    /// Adds a topic; its id is its number in the order of creation, for ever.
    pub fn add(&mut self, spec: TopicSpec) -> Result<(), String> {
        let policy = Policy::of(&spec.config)?;
        let name: Arc<str> = spec.name.as_str().into();
        let id = u32::try_from(self.names.len()).expect("nobody creates four billion topics");
        let partitions = vec![Bounds::default(); usize::try_from(spec.partitions).unwrap_or_default()];
        self.names.push(name.clone());
        self.topics.insert(name, Topic { id, spec, policy, partitions });
        Ok(())
    }

    /// The name behind a number that stands in a file; `None` for one that was never given.
    pub fn name(&self, place: Place) -> Option<&Arc<str>> {
        self.names.get(place.topic as usize)
    }

    pub fn bounds(&self, place: Place) -> Option<Bounds> {
        let topic = self.topics.get(self.name(place)?)?;
        topic.partitions.get(usize::try_from(place.partition).ok()?).copied()
    }

    pub fn bounds_mut(&mut self, place: Place) -> Option<&mut Bounds> {
        let name = self.names.get(place.topic as usize)?;
        self.topics.get_mut(name)?.partitions.get_mut(usize::try_from(place.partition).ok()?)
    }

    /// Where at most `count` records from `offset` on stand; blocks are given whole.
    pub fn plan(&self, place: Place, offset: i64, count: usize) -> Plan {
        for segment in &self.segments {
            let Some(part) = segment.parts.get(&place).filter(|part| part.next > offset) else { continue };
            let from = part.blocks.partition_point(|block| block.last < offset);
            let mut records = 0;
            let wanted = |block: &&Block| {
                let before = records;
                records += block.records as usize;
                before < count
            };
            let blocks: Vec<Block> = part.blocks[from..].iter().take_while(wanted).copied().collect();
            if !blocks.is_empty() {
                return Plan::Blocks(segment.clone(), blocks);
            }
        }
        for journal in &self.journals {
            let entries = journal.index.get(&place).map(Vec::as_slice).unwrap_or_default();
            let from = entries.partition_point(|entry| entry.offset < offset);
            let entries: Vec<Entry> = entries[from..].iter().take(count).copied().collect();
            if !entries.is_empty() {
                return Plan::Entries { file: journal.file.clone(), path: journal.path.clone(), entries };
            }
        }
        Plan::Nothing
    }

    /// An offset at or before the first record that is not older than `timestamp_ms`, and behind which nothing is older up
    /// to it; the end where all are older. At most one block further it stands.
    pub fn offset_near(&self, place: Place, timestamp_ms: i64) -> i64 {
        let in_segments = self.segments.iter().filter_map(|segment| segment.parts.get(&place));
        let block = in_segments.flat_map(|part| &part.blocks).find(|block| block.newest_ms >= timestamp_ms);
        let entries = || self.journals.iter().filter_map(|journal| journal.index.get(&place)).flatten();
        let bounds = self.bounds(place).unwrap_or_default();
        let found = block
            .map(|block| block.first)
            .or_else(|| entries().find(|entry| entry.timestamp_ms >= timestamp_ms).map(|entry| entry.offset));
        found.map_or(bounds.next, |offset| offset.max(bounds.first))
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

    pub fn offsets(&self) -> Offsets {
        self.partitions.iter().map(|bounds| (bounds.first, bounds.next)).collect()
    }
}

pub(super) fn no_such_topic(name: &str) -> String {
    format!("there is no topic {name}: create it with `agent-events topics apply`")
}
