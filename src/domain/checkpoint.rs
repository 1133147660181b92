//! What is remembered across processes: resume points behind the watermark, and who writes.
//!
//! Everything stands in one compacted topic with one partition, so there is one order over all of it. A process starts by
//! writing a writer marker with the next epoch there; whatever a process of a lower epoch still writes behind it is void.

use super::record::{InRecord, OutRecord, WRITER_EPOCH_HEADER};
use super::target::Target;
use super::topic::Marker;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Of a watcher: what of its kind was in scope (kind, namespace, selectors). Empty in checkpoints of older versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope_hash: String,
    /// Of a watcher: the redaction under which everything that the log holds of its scope was written. Empty where that is
    /// not known: without a version, and in checkpoints of older versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub policy_hash: String,
    /// Of a stream processor: the next offset to read, by topic and partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<String, BTreeMap<i32, i64>>,
}

/// Stands for a hash where the log holds both what was written under the one and under the other; equal to none.
const UNSETTLED: &str = "unsettled";

impl Checkpoint {
    /// The same without a version to go on from, if it has one: its owner is configured no more, and may come back.
    pub fn without_version(&self) -> Option<Self> {
        self.rv.is_some().then(|| Self { rv: None, ..self.clone() })
    }

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

/// Id of the kind that an owner watches.
pub fn kind_of(owner: &str) -> &str {
    owner.split_once('@').map_or(owner, |(kind_id, _)| kind_id)
}

/// The end of an owner that is configured no more: its checkpoint goes.
pub fn forget(topic: &Arc<str>, cluster: &str, owner: &str, writer_epoch: u64, now_ms: i64) -> OutRecord {
    OutRecord {
        topic: topic.clone(),
        partition: 0,
        key: Bytes::from(format!("{cluster}/{owner}")),
        value: None,
        headers: vec![(WRITER_EPOCH_HEADER, writer_epoch.to_string().into())],
        timestamp_ms: now_ms,
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

/// Where the redaction of what the log holds of a kind is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouched {
    everywhere: bool,
    namespaces: BTreeSet<Arc<str>>,
}

impl Vouched {
    /// For all there is.
    pub fn everywhere() -> Self {
        Self { everywhere: true, ..Self::default() }
    }

    /// Whether it is known in a namespace; of all of them, if `None`.
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        self.everywhere || namespace.is_some_and(|ns| self.namespaces.contains(ns))
    }
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
                // Owners have no slash, and no name of a cluster has.
                None if key.contains(&b'/') => {
                    let owner = key.splitn(2, |byte| *byte == b'/').nth(1).and_then(|o| std::str::from_utf8(o).ok());
                    owner.map(|owner| memory.checkpoints.remove(owner));
                }
                _ => memory.foreign.push(record.offset),
            }
        }
        memory
    }

    /// Watchers with a checkpoint that are none of these targets.
    pub fn gone(&self, targets: &[Target]) -> Vec<String> {
        let is_target = |owner: &str| targets.iter().any(|target| target.id() == owner);
        let is_watcher = |owner: &str| !owner.starts_with('~');
        self.checkpoints.keys().filter(|owner| is_watcher(owner) && !is_target(owner)).cloned().collect()
    }

    /// Where all that the log holds of a kind was redacted by the policy of that hash. Each checkpoint says so for what its
    /// owner covers, also where that is configured no more; of what no owner of a checkpoint covers nobody knows, for those
    /// who wrote it may be forgotten by now. Who watches the whole kind may leave out namespaces by a filter: `whole` is the
    /// scope hash of one who does not.
    pub fn redacted_by(&self, kind_id: &str, policy_hash: &str, whole: &str) -> Vouched {
        let of_kind = || self.checkpoints.values().filter(|checkpoint| kind_of(&checkpoint.owner) == kind_id);
        let alike = |checkpoint: &&Checkpoint| checkpoint.policy_hash == policy_hash;
        let namespace = |checkpoint: &Checkpoint| checkpoint.owner.split_once('@').map(|(_, ns)| Arc::from(ns));
        let all_alike = of_kind().all(|checkpoint| alike(&checkpoint));
        Vouched {
            everywhere: all_alike && of_kind().any(|c| namespace(c).is_none() && c.scope_hash == whole),
            // Who once watched more than a namespace may have written into it in another way.
            namespaces: match of_kind().all(|c| alike(&c) || namespace(c).is_some()) {
                true => of_kind().filter(alike).filter_map(namespace).collect(),
                false => BTreeSet::new(),
            },
        }
    }

    /// Why a watcher may not simply go on from its checkpoint, if so: the scope or the redaction is another one. Hashes that
    /// are not known (checkpoints of older versions) count as equal.
    pub fn rebase(&self, owner: &str, scope_hash: &str, policy_hash: &str) -> Option<&'static str> {
        let checkpoint = self.checkpoints.get(owner)?;
        let differs = |then: &str, now: &str| !then.is_empty() && then != now;
        if differs(&checkpoint.scope_hash, scope_hash) {
            Some("selector")
        } else {
            differs(&checkpoint.policy_hash, policy_hash).then_some("rebase")
        }
    }

    /// What is to stand in the place of a checkpoint before anything is written in another scope or by another redaction:
    /// from then on the log agrees with neither the one nor the other, and who is killed meanwhile leaves it so, whatever the
    /// settings of the next are. The version stays: a gap begins there.
    pub fn unsettled(&self, owner: &str, scope_hash: &str, policy_hash: &str) -> Option<Checkpoint> {
        let checkpoint = self.checkpoints.get(owner)?;
        let mark = |then: &String, now: &str| match then.is_empty() || then == now {
            true => then.clone(),
            false => UNSETTLED.to_owned(),
        };
        let scope_hash = mark(&checkpoint.scope_hash, scope_hash);
        let policy_hash = mark(&checkpoint.policy_hash, policy_hash);
        let unsettled = Checkpoint { scope_hash, policy_hash, ..checkpoint.clone() };
        (unsettled != *checkpoint).then_some(unsettled)
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
    use crate::domain::kind::Kind;

    fn checkpoint(owner: &str, rv: &str) -> Checkpoint {
        Checkpoint {
            cluster: "c".into(),
            cluster_uid: "u".into(),
            owner: owner.into(),
            rv: Some(rv.into()),
            history_epoch: 0,
            scope_hash: String::new(),
            policy_hash: String::new(),
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

    #[test]
    fn a_checkpoint_goes_with_its_owner() {
        let topic: Arc<str> = "t".into();
        let memory = read_back(vec![
            checkpoint("pods", "5").record(&topic, 1, 0),
            checkpoint("pods@shop", "6").record(&topic, 1, 0),
            forget(&topic, "c", "pods", 1, 0),
        ]);
        assert_eq!(memory.checkpoints.keys().collect::<Vec<_>>(), ["pods@shop"]);
        assert_eq!(memory.foreign, [0; 0]);
    }

    #[test]
    fn who_is_configured_no_more_is_known_by_the_checkpoint_and_the_stream_processor_is_nobody_s_target() {
        let topic: Arc<str> = "t".into();
        let owners = ["pods", "pods@shop", "secrets", "widgets.example.com", "~stream-processor"];
        let memory = read_back(owners.iter().map(|owner| checkpoint(owner, "5").record(&topic, 1, 0)).collect());
        let pods = Kind::builtin("pods").expect("built in");
        assert_eq!(memory.gone(&[Target::within(pods, "shop")]), ["pods", "secrets", "widgets.example.com"]);
        let left = memory.checkpoints["secrets"].without_version().expect("it has one");
        assert_eq!((left.rv.as_deref(), left.without_version()), (None, None));
    }

    #[test]
    fn what_the_log_holds_is_trusted_only_where_somebody_says_that_it_is_redacted_as_we_do() {
        // Of each namespace, and of all there may be.
        let trusted = |all: &[(&str, &str)]| {
            let owner = |(owner, policy): &(&str, &str)| {
                let (owner, scope_hash) = owner.split_once('/').unwrap_or((owner, "whole"));
                Checkpoint { policy_hash: (*policy).into(), scope_hash: scope_hash.into(), ..checkpoint(owner, "5") }
            };
            let memory = read_back(all.iter().map(|one| owner(one).record(&"t".into(), 1, 0)).collect());
            let vouched = memory.redacted_by("pods", "p", "whole");
            let places = [("a", Some("a")), ("b", Some("b")), ("all", None)];
            places.into_iter().filter(|(_, at)| vouched.covers(*at)).map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(trusted(&[("pods", "p"), ("podsets", "q")]), ["a", "b", "all"]);
        assert_eq!(trusted(&[("pods", "q")]), [""; 0]);
        assert_eq!(trusted(&[("pods@a", "p")]), ["a"], "whoever wrote the rest is forgotten");
        assert_eq!(trusted(&[("pods@a", "p"), ("pods@b", "q")]), ["a"]);
        assert_eq!(trusted(&[("pods@a", "p"), ("pods", "q")]), [""; 0]);
        assert_eq!(trusted(&[("pods@a", "q"), ("pods", "p")]), [""; 0]);
        assert_eq!(trusted(&[("pods/some", "p")]), [""; 0], "what the filter leaves out nobody speaks of");
        assert_eq!(trusted(&[("pods@a", "")]), [""; 0], "of an older version");
        assert_eq!(trusted(&[("services", "p")]), [""; 0], "nobody says so");
    }

    #[test]
    fn checkpoints_of_older_versions_are_taken_and_another_scope_or_policy_is_noticed() {
        let older = br#"{"cluster":"c","clusterUid":"u","owner":"pods","rv":"5","historyEpoch":0}"#;
        let older: Checkpoint = serde_json::from_slice(older).expect("taken");
        let hashed = |scope: &str, policy: &str| Checkpoint {
            scope_hash: scope.into(),
            policy_hash: policy.into(),
            ..checkpoint("pods", "5")
        };
        for (checkpoint, expected) in [
            (older, None),
            (hashed("s", "p"), None),
            (hashed("t", "p"), Some("selector")),
            (hashed("s", "q"), Some("rebase")),
        ] {
            let memory = read_back(vec![checkpoint.record(&"t".into(), 1, 0)]);
            assert_eq!(memory.rebase("pods", "s", "p"), expected);
            assert_eq!(memory.rebase("services", "s", "p"), None, "nothing to go on from");
            // Who is killed before all is written anew leaves a log that is neither as it was nor as it was to be.
            let Some(left) = memory.unsettled("pods", "s", "p") else {
                assert_eq!(expected, None);
                continue;
            };
            assert_eq!((left.rv.as_deref(), expected.is_some()), (Some("5"), true));
            let (then, now) = ((checkpoint.scope_hash, checkpoint.policy_hash), ("s".to_owned(), "p".to_owned()));
            let memory = read_back(vec![left.record(&"t".into(), 1, 0)]);
            for (scope, policy) in [then, now] {
                assert_eq!(memory.rebase("pods", &scope, &policy), expected, "taken back or not");
                assert_eq!(memory.unsettled("pods", &scope, &policy), None);
            }
        }
    }
}
