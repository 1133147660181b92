//! What is remembered across processes: resume points behind the watermark, and who writes.
//!
//! Everything stands in one compacted topic with one partition, so there is one order over all of it. A process starts by
//! writing a writer marker with the next epoch there; whatever a process of a lower epoch still writes behind it is void.

use super::record::{InRecord, OutRecord, WRITER_EPOCH_HEADER};
use super::topic::Marker;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A resume point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// Configured name of the cluster.
    pub cluster: String,
    /// uid of namespace kube-system, or the configured id.
    pub cluster_uid: String,
    /// Whose it is: a watcher's target id (`pods`, `pods@shop`) or a stream processor's name.
    pub owner: String,
    /// Of a watcher: everything up to this version is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rv: Option<String>,
    /// Of a watcher: the history that the version belongs to.
    #[serde(default)]
    pub history_epoch: u64,
    /// Of a stream processor: the next offset to read, by topic and partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, BTreeMap<i32, i64>>,
}

impl Checkpoint {
    /// Its record on `topic`.
    pub fn record(&self, topic: &Arc<str>, writer_epoch: u64, now_ms: i64) -> OutRecord {
        // A struct of strings and numbers: cannot fail.
        let value = serde_json::to_vec(self).unwrap_or_default();
        OutRecord {
            topic: topic.clone(),
            partition: 0,
            key: Bytes::from(format!("{}/{}", self.cluster, self.owner)),
            value: Some(value.into()),
            headers: vec![(WRITER_EPOCH_HEADER, writer_epoch.to_string().into())],
            timestamp_ms: now_ms,
        }
    }
}

/// The writer marker of a partition: a tombstone with a key of its own, overwritten by each process.
pub fn writer_marker(topic: &Arc<str>, partition: i32, writer_epoch: u64, now_ms: i64) -> OutRecord {
    OutRecord {
        topic: topic.clone(),
        partition,
        key: Bytes::from(Marker::Writer(partition).key()),
        value: None,
        headers: vec![(WRITER_EPOCH_HEADER, writer_epoch.to_string().into())],
        timestamp_ms: now_ms,
    }
}

/// What the checkpoint topic says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The highest epoch any writer has claimed; 0 if there was none.
    pub writer_epoch: u64,
    /// Valid resume points by owner.
    pub checkpoints: BTreeMap<String, Checkpoint>,
    /// Records that are not ours, by offset.
    pub foreign: Vec<i64>,
}

/// Why a process may not go on from what it found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The topics belong to a cluster of another name.
    #[error(
        "these topics hold cluster {found:?}, not {ours:?}: set cluster.name to {found:?}, or topics.prefix to a prefix of its own"
    )]
    Name {
        /// Name in the checkpoint.
        found: String,
        /// Configured name.
        ours: String,
    },
    /// The name is right, and it is another cluster.
    #[error(
        "cluster.name {name:?} belongs to the cluster with uid {found}, and this one has {ours}: give this one another name and topics.prefix"
    )]
    Uid {
        /// Configured name.
        name: String,
        /// uid in the checkpoint.
        found: String,
        /// uid of the cluster that we are connected to.
        ours: String,
    },
}

impl Memory {
    /// Reads the topic in its order.
    pub fn read(records: &[InRecord]) -> Self {
        let mut memory = Self::default();
        for record in records {
            let (Some(key), Some(epoch)) = (record.key.as_deref(), record.writer_epoch()) else {
                memory.foreign.push(record.offset);
                continue;
            };
            if matches!(Marker::parse(key), Some(Marker::Writer(_))) {
                memory.writer_epoch = memory.writer_epoch.max(epoch);
                continue;
            }
            if epoch < memory.writer_epoch {
                continue; // a dead writer's last words
            }
            match record.value.as_deref().map(serde_json::from_slice::<Checkpoint>) {
                Some(Ok(checkpoint)) => {
                    memory.checkpoints.insert(checkpoint.owner.clone(), checkpoint);
                }
                _ => memory.foreign.push(record.offset),
            }
        }
        memory
    }

    /// Whether these checkpoints are this cluster's.
    pub fn check(&self, name: &str, uid: &str) -> Result<(), Mismatch> {
        for checkpoint in self.checkpoints.values() {
            if checkpoint.cluster != name {
                return Err(Mismatch::Name { found: checkpoint.cluster.clone(), ours: name.to_owned() });
            }
            if checkpoint.cluster_uid != uid {
                let found = checkpoint.cluster_uid.clone();
                return Err(Mismatch::Uid { name: name.to_owned(), found, ours: uid.to_owned() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(owner: &str, rv: &str) -> Checkpoint {
        Checkpoint {
            cluster: "c".into(),
            cluster_uid: "u".into(),
            owner: owner.into(),
            rv: Some(rv.into()),
            history_epoch: 0,
            positions: BTreeMap::new(),
        }
    }

    fn read_back(records: Vec<OutRecord>) -> Memory {
        let records: Vec<InRecord> = records
            .into_iter()
            .enumerate()
            .map(|(offset, r)| InRecord {
                topic: r.topic,
                partition: r.partition,
                offset: offset as i64,
                timestamp_ms: r.timestamp_ms,
                key: Some(r.key),
                value: r.value,
                headers: r.headers.into_iter().map(|(n, v)| (n.into(), Some(v))).collect(),
            })
            .collect();
        Memory::read(&records)
    }

    #[test]
    fn the_newest_valid_checkpoint_of_an_owner_counts() {
        let topic: Arc<str> = "t".into();
        let memory = read_back(vec![
            writer_marker(&topic, 0, 1, 0),
            checkpoint("pods", "5").record(&topic, 1, 0),
            checkpoint("pods", "9").record(&topic, 1, 0),
            writer_marker(&topic, 0, 2, 0),
        ]);
        assert_eq!(memory.writer_epoch, 2);
        assert_eq!(memory.checkpoints["pods"].rv.as_deref(), Some("9"));
    }

    #[test]
    fn what_a_dead_writer_still_writes_behind_the_marker_is_void() {
        let topic: Arc<str> = "t".into();
        let memory = read_back(vec![
            checkpoint("pods", "5").record(&topic, 1, 0),
            writer_marker(&topic, 0, 2, 0),
            checkpoint("pods", "99").record(&topic, 1, 0),
        ]);
        assert_eq!(memory.checkpoints["pods"].rv.as_deref(), Some("5"));
    }

    #[test]
    fn topics_of_another_cluster_are_refused_by_name_and_by_uid() {
        let topic: Arc<str> = "t".into();
        let memory = read_back(vec![checkpoint("pods", "5").record(&topic, 1, 0)]);
        assert!(memory.check("c", "u").is_ok());
        assert!(matches!(memory.check("d", "u"), Err(Mismatch::Name { .. })));
        assert!(matches!(memory.check("c", "other"), Err(Mismatch::Uid { .. })));
    }
}
