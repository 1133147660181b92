//! Records as our writers write them, and logs as our writers leave them, for tests of whatever folds.

use super::*;
use crate::domain::record::WRITER_EPOCH_HEADER;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet, VecDeque};

pub(crate) const CLUSTER: &str = "c";
pub(crate) const TOPIC: &str = "k8s-pods";
pub(crate) const SCOPE: Scope<'static> = Scope { cluster: CLUSTER, kind_id: "pods" };

/// Namespace `a` or `b` by the name's number, so that both occur.
pub(crate) fn name(number: u8) -> Name {
    let namespace = if number.is_multiple_of(2) { "a" } else { "b" };
    Name { namespace: namespace.into(), name: format!("pod-{number}").as_str().into() }
}

pub(crate) fn key(at: &Name) -> String {
    format!("{CLUSTER}/pods/{}/{}", if at.namespace.is_empty() { "_" } else { &at.namespace }, at.name)
}

/// A record at offset 0 of partition 0 of the pods' topic; change what is to be otherwise.
pub(crate) fn record(key: &str, epoch: Option<u64>, value: Option<String>) -> InRecord {
    let epoch = epoch.map(|epoch| (WRITER_EPOCH_HEADER.into(), Some(Bytes::from(epoch.to_string()))));
    InRecord {
        topic: TOPIC.into(),
        partition: 0,
        offset: 0,
        timestamp_ms: 1000,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(Bytes::from),
        headers: epoch.into_iter().collect(),
    }
}

pub(crate) fn writer_marker(epoch: u64) -> InRecord {
    record("~writer/0", Some(epoch), None)
}

/// An object's JSON with those labels.
pub(crate) fn object(at: &Name, uid: &str, rv: u64, labels: &BTreeMap<String, String>) -> String {
    let Name { namespace, name } = at;
    let metadata = serde_json::json!({
        "name": &**name, "namespace": &**namespace, "uid": uid, "resourceVersion": rv.to_string(), "labels": labels,
    });
    serde_json::json!({ "kind": "Pod", "metadata": metadata, "status": { "phase": "Running" } }).to_string()
}

/// A record of `op` with that object as `after`, or of a delete as `before`.
pub(crate) fn change(epoch: u64, op: &str, at: &Name, uid: &str, rv: u64, object: &str) -> InRecord {
    let (before, after) = if op == "d" { (object, "null") } else { ("null", object) };
    let Name { namespace, name } = at;
    let source = format!(
        r#"{{"kind":"pods","namespace":"{namespace}","name":"{name}","uid":"{uid}","rv":"{rv}","historyEpoch":1,"observed":"watch"}}"#
    );
    let value = format!(r#"{{"op":"{op}","ts_ms":1,"source":{source},"before":{before},"after":{after}}}"#);
    record(&key(at), Some(epoch), Some(value))
}

/// The same record, written in that history epoch.
pub(crate) fn in_history(history_epoch: u64, record: InRecord) -> InRecord {
    let value = record.value.as_ref().map(|value| String::from_utf8(value.to_vec()).unwrap());
    let value = value.map(|value| value.replace(r#""historyEpoch":1"#, &format!(r#""historyEpoch":{history_epoch}"#)));
    let mut record = InRecord { value: value.map(Bytes::from), ..record };
    for (name, value) in &mut record.headers {
        if &**name == "ce_historyepoch" {
            *value = Some(history_epoch.to_string().into());
        }
    }
    record
}

pub(crate) fn put(epoch: u64, op: &str, at: &Name, uid: &str, rv: u64) -> InRecord {
    change(epoch, op, at, uid, rv, &object(at, uid, rv, &BTreeMap::new()))
}

/// The same record, as that of a stub.
pub(crate) fn as_stub(record: InRecord) -> InRecord {
    let value = record.value.as_ref().map(|value| String::from_utf8(value.to_vec()).unwrap());
    let mark = r#""observed":"watch","stub":{"reason":"too_long","bytes":7}"#;
    let value = value.map(|value| value.replace(r#""observed":"watch""#, mark));
    InRecord { value: value.map(Bytes::from), ..record }
}

pub(crate) fn tombstone(epoch: u64, at: &Name, uid: &str, rv: u64) -> InRecord {
    let mut tombstone = record(&key(at), Some(epoch), None);
    tombstone.headers.push(("ce_uid".into(), Some(uid.to_owned().into())));
    tombstone.headers.push(("ce_rv".into(), Some(rv.to_string().into())));
    tombstone.headers.push(("ce_historyepoch".into(), Some("1".into())));
    tombstone
}

/// Offsets in order, from 0.
pub(crate) fn in_order(records: Vec<InRecord>) -> Vec<InRecord> {
    let numbered = records.into_iter().enumerate();
    numbered.map(|(offset, record)| InRecord { offset: offset as i64, ..record }).collect()
}

/// What one partition amounts to, by the rules.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) live: BTreeMap<Name, (String, Rv)>,
    epochs: BTreeMap<Name, (u64, u64)>,
    pub(crate) ledger: Ledger,
    pub(crate) epoch: u64,
    pub(crate) foreign: usize,
}

impl Folded {
    pub(crate) fn of(records: &[InRecord]) -> Self {
        let mut folded = Self::default();
        records.iter().for_each(|record| folded.apply(record));
        folded
    }

    pub(crate) fn apply(&mut self, record: &InRecord) {
        let Judged { at, step, epoch } = judge(SCOPE, self.epoch, record);
        self.epoch = epoch;
        let at = at.map(|at| Name { namespace: at.namespace.unwrap_or_default().into(), name: at.name.into() });
        let held = at.as_ref().and_then(|at| Some((*self.epochs.get(at)?, &self.live.get(at)?.1)));
        let held = held.map(|((history_epoch, writer_epoch), rv)| Version { writer_epoch, history_epoch, rv });
        if self.ledger.is_stale(held, &step, epoch) {
            at.into_iter().for_each(|at| self.ledger.shadow(at, record.timestamp_ms));
            return;
        }
        match (at, step) {
            (Some(at), Step::Live(envelope)) => {
                self.ledger.live(&at, &envelope.source.uid);
                self.epochs.insert(at.clone(), (envelope.source.history_epoch, epoch));
                self.live.insert(at, (envelope.source.uid.clone(), Rv::new(&envelope.source.rv)));
            }
            (Some(at), Step::Deleted(death, _)) => {
                self.live.remove(&at);
                self.ledger.deleted(&at, death);
            }
            (Some(at), Step::Tombstone { uid, rv, history_epoch }) => {
                self.live.remove(&at);
                self.ledger.tombstone(&at, uid, rv, (history_epoch, epoch));
            }
            (Some(at), Step::Void) => self.ledger.shadow(at, record.timestamp_ms),
            (_, Step::Foreign(_)) => self.foreign += 1,
            _ => {}
        }
    }

    pub(crate) fn owed(&self) -> BTreeMap<Name, Death> {
        self.ledger.owed().map(|(at, death)| (at.clone(), death.clone())).collect()
    }

    pub(crate) fn shadowed(&self) -> HashSet<Name> {
        self.ledger.shadowed().map(|(at, _)| at.clone()).collect()
    }

    pub(crate) fn is_dead(&self, uid: &str) -> bool {
        self.ledger.dead().any(|(_, death)| &*death.uid == uid)
    }
}

/// What a writer, or the end of one, does to the log.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// The object is written: created, or changed.
    Put(u8),
    /// The object is deleted, if there is one; the writer may die before the tombstone.
    Delete(u8, bool),
    /// The last record is written once more, as after a producer's failure.
    Repeat,
    /// A producer failed and had written more than it knew: so many records (of 8) are sent once more, the older first, and
    /// the writer may be killed when so many of them have landed.
    Resend(usize, Option<usize>),
    /// A record of an older writer lands late.
    Zombie,
    /// The writer dies with these keys written but not landed (puts, or deletes); the next one marks the partition and heals.
    NewWriter(Vec<(u8, bool)>),
    /// The writer publishes again what is shadowed.
    Heal,
    /// Somebody else writes, on an object's key or not.
    Foreign(Option<u8>),
    /// A gap marker.
    Gap,
}

pub(crate) fn acts(keys: u8) -> impl Strategy<Value = Vec<Act>> {
    let in_flight = prop::collection::vec((0..keys, any::<bool>()), 0..4);
    let act = prop_oneof![
        6 => (0..keys).prop_map(Act::Put),
        4 => (0..keys, any::<bool>()).prop_map(|(k, crash)| Act::Delete(k, crash)),
        1 => Just(Act::Repeat),
        2 => (1usize..8, prop::option::of(0usize..8)).prop_map(|(n, landed)| Act::Resend(n, landed)),
        3 => Just(Act::Zombie),
        2 => in_flight.prop_map(Act::NewWriter),
        1 => Just(Act::Heal),
        1 => prop::option::of(0..keys).prop_map(Act::Foreign),
        1 => Just(Act::Gap),
    ];
    prop::collection::vec(act, 0..60)
}

/// Writes logs that keep the protocol, and knows what they must amount to.
#[derive(Debug, Default)]
pub(crate) struct Protocol {
    pub(crate) log: Vec<InRecord>,
    /// What the valid writers wrote, by their own knowledge.
    pub(crate) truth: BTreeMap<Name, (String, Rv)>,
    folded: Folded,
    epoch: u64,
    rv: u64,
    zombies: VecDeque<InRecord>,
}

impl Protocol {
    pub(crate) fn run(acts: &[Act]) -> Self {
        let mut protocol = Self::default();
        protocol.new_writer();
        acts.iter().for_each(|act| protocol.act(act));
        protocol
    }

    fn append(&mut self, record: InRecord) {
        let record = InRecord { offset: self.log.len() as i64, ..record };
        self.folded.apply(&record);
        self.log.push(record);
    }

    fn next_rv(&mut self) -> u64 {
        self.rv += 1;
        self.rv
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Put(k) => {
                let (at, rv) = (name(*k), self.next_rv());
                let (op, uid) = match self.truth.get(&at) {
                    Some((uid, _)) => ("u", uid.clone()),
                    None => ("c", format!("uid-{rv}")),
                };
                self.append(put(self.epoch, op, &at, &uid, rv));
                self.truth.insert(at, (uid, Rv::new(&rv.to_string())));
            }
            Act::Delete(k, crash) => {
                let (at, rv) = (name(*k), self.next_rv());
                let Some((uid, _)) = self.truth.remove(&at) else { return };
                self.append(put(self.epoch, "d", &at, &uid, rv));
                if *crash {
                    self.zombies.push_back(tombstone(self.epoch, &at, &uid, rv));
                    self.new_writer();
                } else {
                    self.append(tombstone(self.epoch, &at, &uid, rv));
                }
            }
            Act::Repeat => {
                let last = self.log.last().filter(|last| last.writer_epoch() == Some(self.epoch)).cloned();
                last.into_iter().for_each(|last| self.append(last));
            }
            Act::Resend(n, landed) => {
                // What says no version could not be told from what is new.
                let is_bound = |r: &InRecord| {
                    r.key.as_deref() == Some(b"~writer/0") || (r.value.is_none() && r.header("ce_uid").is_none())
                };
                let since = self.log.iter().rposition(is_bound).map_or(0, |bound| bound + 1);
                let ours = |r: &&InRecord| r.writer_epoch() == Some(self.epoch);
                let ours: Vec<InRecord> = self.log[since..].iter().filter(ours).cloned().collect();
                let mut again = ours[ours.len().saturating_sub(*n)..].to_vec();
                let lost = again.split_off(landed.unwrap_or(usize::MAX).min(again.len()));
                again.into_iter().for_each(|record| self.append(record));
                if !lost.is_empty() {
                    self.zombies.extend(lost);
                    self.new_writer();
                }
            }
            Act::Zombie => {
                let zombie = self.zombies.pop_front();
                zombie.into_iter().for_each(|zombie| self.append(zombie));
            }
            Act::NewWriter(in_flight) => {
                for (k, delete) in in_flight {
                    let (at, rv) = (name(*k), self.next_rv());
                    let uid = self.truth.get(&at).map_or_else(|| format!("uid-{rv}"), |(uid, _)| uid.clone());
                    self.zombies.push_back(put(self.epoch, if *delete { "d" } else { "u" }, &at, &uid, rv));
                }
                self.new_writer();
            }
            Act::Heal => self.heal(),
            Act::Foreign(k) => {
                let key = k.map_or_else(|| "someone/else".to_owned(), |k| key(&name(k)));
                self.append(record(&key, None, Some("{}".to_owned())));
            }
            Act::Gap => self.append(record("~gap/0", Some(self.epoch), None)),
        }
    }

    fn new_writer(&mut self) {
        self.epoch += 1;
        self.append(writer_marker(self.epoch));
        for (at, death) in self.folded.owed() {
            let rv = death.rv.as_str().parse().unwrap();
            self.append(tombstone(self.epoch, &at, &death.uid, rv));
        }
        self.heal();
    }

    fn heal(&mut self) {
        let mut shadowed: Vec<_> = self.folded.shadowed().into_iter().collect();
        shadowed.sort();
        for at in shadowed {
            let record = match self.truth.get(&at) {
                Some((uid, rv)) => put(self.epoch, "r", &at, uid, rv.as_str().parse().unwrap()),
                None => record(&key(&at), Some(self.epoch), None),
            };
            self.append(record);
        }
    }
}
