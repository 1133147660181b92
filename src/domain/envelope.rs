//! The record contract: how a change stands in the log (Debezium's shape, CloudEvents headers), and how it is read back.
//!
//! Value: `{"op","ts_ms","source":{...},"before","after"}` with the redacted object itself as `before` and `after`. `op` is
//! r (snapshot, and whenever the old version is not at hand), c, u or d. A `u` always has a `before` and a `d` always has at
//! least identity as `before`: Flink and RisingWave break on anything else. A delete is followed by a null tombstone.
//!
//! `ce_id` is `uid:version:op`. What is sent again has the id that it had, also from the next process; whatever else is
//! written has another one, so that readers may drop repeats by it. A reported change has its own version there. Some of
//! what nobody reports may be true more than once at one version of the object: it is taken for dead, is found alive, and
//! dies; it leaves the scope and comes back. So what a list had us write (a delete that is concluded, an object that is
//! written anew) has the list's version, and what not even a newer list speaks for has its own version and the writer
//! epoch, `7~5`. After a rewind the same numbers mean other things: then the history epoch goes before, `1.7`. What stands
//! for an object that could not be carried has a `!` behind its version: the object itself may follow at the same one.

use super::kind::Kind;
use super::record::{Headers, InRecord, OutRecord, WRITER_EPOCH_HEADER};
use super::redact::{Object, Redacted};
use super::rv::Rv;
use super::topic::{GAPS, Marker, object_key, partition_of};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// What happened, in Debezium's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Read: a snapshot, or a change whose old version is not at hand.
    #[serde(rename = "r")]
    Read,
    /// Created.
    #[serde(rename = "c")]
    Create,
    /// Updated; `before` is there.
    #[serde(rename = "u")]
    Update,
    /// Deleted; `before` is the last known state.
    #[serde(rename = "d")]
    Delete,
}

impl Op {
    /// Debezium's letter.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
        }
    }

    fn past_tense(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "created",
            Self::Update => "updated",
            Self::Delete => "deleted",
        }
    }
}

/// How we came to know of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Observed {
    /// The watch said so.
    Watch,
    /// A list showed it.
    Relist,
    /// Not reported: concluded from a list in which the object was missing, or from its successor's name.
    Inferred,
    /// Written again at the start, because what stood in the log was incomplete or shadowed by an earlier writer.
    Resume,
    /// Written again because an audit found the log to differ from the API server.
    Audit,
    /// It entered or left the configured selector, or was created or deleted: the API server reports both alike.
    Selector,
    /// It left what is captured, because the settings changed; whether it lives is not known.
    Descoped,
}

/// What a deletion that nobody reported was concluded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    /// A word from a closed set: why the list was made that missed it, or `recreated`: its name belongs to another uid.
    pub reason: &'static str,
    /// When it was last known to live, if that is known, and when it was found missing; milliseconds since 1970.
    pub window: (Option<i64>, i64),
}

/// One change of one object, ready to become a record.
#[derive(Clone)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// How we know.
    pub observed: Observed,
    /// Part of a first snapshot.
    pub snapshot: bool,
    /// Version of the list that a deletion was concluded from, or that had us write again what the log holds or held.
    pub list_rv: Option<Rv>,
    /// Of a deletion that was concluded: from what.
    pub inference: Option<Inference>,
    /// The history that the object's version belongs to: of a deletion concluded after a rewind still the old one.
    pub history_epoch: u64,
    /// Old version, where it is at hand.
    pub before: Option<Bytes>,
    /// The object: its new version, or of a delete its last known state.
    pub object: Redacted<Object>,
}

// Object bytes are never logged, neither the new version's nor the old one's.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.before.as_ref().map_or(0, Bytes::len);
        write!(f, "Change({} {:?} {:?} before={before} bytes)", self.op.letter(), self.observed, self.object)
    }
}

/// What all records of one watcher have in common.
#[derive(Debug, Clone)]
pub struct Writer {
    kind: Kind,
    topic: Arc<str>,
    partitions: i32,
    cluster: String,
    writer_epoch: u64,
    fixed: Headers,
    epoch: Bytes,
    type_prefix: String,
    gaps: Arc<str>,
}

impl Writer {
    /// `topic` carries the prefix; `partitions` is its number of partitions as it stands in the log.
    pub fn new(kind: Kind, topic: Arc<str>, partitions: i32, cluster: &str, writer_epoch: u64) -> Self {
        let group = if kind.group().is_empty() { "core" } else { kind.group() };
        let type_prefix = format!("io.k8s.{group}.{}.{}.", kind.version(), kind.name().to_lowercase());
        let fixed = vec![
            ("ce_specversion", Bytes::from_static(b"1.0")),
            ("ce_source", Bytes::from(format!("/clusters/{cluster}"))),
            ("content-type", Bytes::from_static(b"application/json")),
        ];
        let epoch = Bytes::from(writer_epoch.to_string());
        let prefix = topic.strip_suffix(&kind.topic()).unwrap_or_default();
        let gaps = format!("{prefix}{GAPS}").into();
        Self { kind, topic, partitions, cluster: cluster.to_owned(), writer_epoch, fixed, epoch, type_prefix, gaps }
    }

    /// The configured name of the cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The epoch of this process.
    pub fn writer_epoch(&self) -> u64 {
        self.writer_epoch
    }

    /// The topic of the kind, with prefix, and its number of partitions.
    pub fn topic(&self) -> (&Arc<str>, i32) {
        (&self.topic, self.partitions)
    }

    /// The topic of lasting Gap records, with the same prefix.
    pub fn gaps_topic(&self) -> &Arc<str> {
        &self.gaps
    }

    /// The kind this writes.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether a record of ours stands for a change: not a tombstone, not a marker, not another topic's.
    pub fn is_change(&self, record: &OutRecord) -> bool {
        record.value.is_some() && record.topic == self.topic
    }

    /// The record of a change seen at `now_ms` (milliseconds since 1970).
    pub fn record(&self, change: &Change, now_ms: i64) -> OutRecord {
        let object = change.object.get();
        let mut headers = self.fixed.clone();
        headers.push(("ce_id", self.id(change).into()));
        headers.push(("ce_type", format!("{}{}", self.type_prefix, change.op.past_tense()).into()));
        headers.push(("ce_time", rfc3339(now_ms).into()));
        headers.push((WRITER_EPOCH_HEADER, self.epoch.clone()));
        self.out(object, Some(self.value(change, now_ms)), headers, now_ms)
    }

    /// See the head of this file.
    fn id(&self, change: &Change) -> String {
        let (object, op) = (change.object.get(), change.op.letter());
        let history = match change.history_epoch {
            0 => String::new(),
            epoch => format!("{epoch}."),
        };
        let is_reported = change.list_rv.is_none() && !matches!(change.observed, Observed::Resume | Observed::Descoped);
        let (version, by) = match &change.list_rv {
            Some(list) if *list > object.rv => (list, String::new()),
            _ if is_reported => (&object.rv, String::new()),
            _ => (&object.rv, format!("~{}", self.writer_epoch)),
        };
        let stub = if object.stub.is_some() && change.op != Op::Delete { "!" } else { "" };
        format!("{}:{history}{version}{by}{stub}:{op}", object.uid)
    }

    /// The tombstone behind a delete: uid and version stand in headers.
    pub fn tombstone(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        rv: &Rv,
        history_epoch: u64,
        now_ms: i64,
    ) -> OutRecord {
        let headers = vec![
            ("ce_uid", Bytes::copy_from_slice(uid.as_bytes())),
            ("ce_rv", Bytes::copy_from_slice(rv.as_str().as_bytes())),
            ("ce_historyepoch", history_epoch.to_string().into()),
            (WRITER_EPOCH_HEADER, self.epoch.clone()),
        ];
        self.keyed(namespace, name, None, headers, now_ms)
    }

    /// The key of an object of this kind.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        object_key(&self.cluster, &self.kind.id(), namespace, name)
    }

    fn out(&self, object: &Object, value: Option<Bytes>, headers: Headers, now_ms: i64) -> OutRecord {
        self.keyed(&object.namespace, &object.name, value, headers, now_ms)
    }

    fn keyed(&self, namespace: &str, name: &str, value: Option<Bytes>, headers: Headers, now_ms: i64) -> OutRecord {
        let key = Bytes::from(self.key(namespace, name));
        let partition = partition_of(&key, self.partitions);
        OutRecord { topic: self.topic.clone(), partition, key, value, headers, timestamp_ms: now_ms }
    }

    fn value(&self, change: &Change, now_ms: i64) -> Bytes {
        let object = change.object.get();
        let kind = self.kind.id();
        let source = SourceOut {
            version: env!("CARGO_PKG_VERSION"),
            connector: "agent-events",
            cluster: &self.cluster,
            kind: &kind,
            namespace: &object.namespace,
            name: &object.name,
            uid: &object.uid,
            rv: object.rv.as_str(),
            list_rv: change.list_rv.as_ref().map(Rv::as_str),
            writer_epoch: self.writer_epoch,
            history_epoch: change.history_epoch,
            observed: change.observed,
            reason: change.inference.as_ref().map(|i| i.reason),
            window: change.inference.as_ref().map(|i| i.window),
            manager: object.manager.as_ref().map(|m| m.manager.as_str()),
            operation: object.manager.as_ref().map(|m| m.operation.as_str()),
            snapshot: change.snapshot.then_some(true),
            stub: object.stub.as_ref(),
        };
        let before = change.before.as_deref();
        let mut out = Vec::with_capacity(object.json.len() + before.map_or(0, <[u8]>::len) + 512);
        out.extend_from_slice(b"{\"op\":\"");
        out.extend_from_slice(change.op.letter().as_bytes());
        out.extend_from_slice(b"\",\"ts_ms\":");
        out.extend_from_slice(now_ms.to_string().as_bytes());
        out.extend_from_slice(b",\"source\":");
        // Strings and numbers into a Vec: cannot fail.
        serde_json::to_writer(&mut out, &source).unwrap_or_default();
        let (before, after): (&[u8], &[u8]) = match change.op {
            Op::Delete => (&object.json, b"null"),
            _ => (before.unwrap_or(b"null"), &object.json),
        };
        out.extend_from_slice(b",\"before\":");
        out.extend_from_slice(before);
        out.extend_from_slice(b",\"after\":");
        out.extend_from_slice(after);
        out.push(b'}');
        out.into()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceOut<'a> {
    version: &'a str,
    connector: &'a str,
    cluster: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
    rv: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    list_rv: Option<&'a str>,
    writer_epoch: u64,
    history_epoch: u64,
    observed: Observed,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<(Option<i64>, i64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stub: Option<&'a super::redact::Stub>,
}

/// `source` as it is read back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Kind id, `pods`.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    pub name: String,
    /// uid.
    pub uid: String,
    /// resourceVersion; of an inferred delete the last known one.
    pub rv: String,
    /// Version of the list that a deletion was concluded from, or that had it written again.
    #[serde(default)]
    pub list_rv: Option<String>,
    /// History epoch.
    #[serde(default)]
    pub history_epoch: u64,
    /// How we came to know.
    pub observed: Observed,
    /// Of a deletion that was concluded: from what.
    #[serde(default)]
    pub reason: Option<String>,
    /// Of a deletion that was concluded: when it was last known to live and when it was found missing, ms since 1970.
    #[serde(default)]
    pub window: Option<(Option<i64>, i64)>,
    /// Newest manager.
    #[serde(default)]
    pub manager: Option<String>,
    /// Part of a first snapshot.
    #[serde(default)]
    pub snapshot: bool,
    /// Of a record that holds no more than the identity: why.
    #[serde(default)]
    pub stub: Option<super::redact::Stub>,
}

impl Source {
    /// The version at which it was seen to be so: of what a newer list had us write the list's, else its own.
    pub fn seen_at(&self) -> &str {
        let list = self.list_rv.as_deref().filter(|list| Rv::new(list) > Rv::new(&self.rv));
        list.unwrap_or(&self.rv)
    }
}

/// A change read back from a record's value; objects stay raw.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    /// What happened.
    pub op: Op,
    /// When we saw it, ms since 1970.
    pub ts_ms: i64,
    /// Names and versions.
    pub source: Source,
    /// Old version, or the last known state of what was deleted.
    #[serde(borrow)]
    pub before: Option<&'a RawValue>,
    /// New version.
    #[serde(borrow)]
    pub after: Option<&'a RawValue>,
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} {:?})", self.op.letter(), self.source)
    }
}

/// A record of a table, understood.
#[derive(Debug)]
pub enum Table<'a> {
    /// A change.
    Change(Box<Envelope<'a>>),
    /// The tombstone behind a delete; uid and version from its headers, where they are ours.
    Tombstone {
        /// uid that died.
        uid: Option<&'a str>,
        /// Its delete's version.
        rv: Option<Rv>,
        /// History epoch.
        history_epoch: u64,
    },
    /// A writer marker: records of lower epochs behind it are void.
    WriterMarker(u64),
    /// A marker of another sort, which tables ignore.
    OtherMarker,
}

/// Why a record on one of our topics is not ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// No key, or not UTF-8.
    #[error("it has no UTF-8 key")]
    Key,
    /// The value is not an envelope. Never quotes it.
    #[error("its value is not an envelope (byte {0})")]
    Value(usize),
    /// A data record without a writer epoch.
    #[error("it has no {WRITER_EPOCH_HEADER} header")]
    Epoch,
}

/// Understands a record of a table.
pub fn read_table(record: &InRecord) -> Result<Table<'_>, Foreign> {
    let key = record.key.as_deref().and_then(|k| std::str::from_utf8(k).ok()).ok_or(Foreign::Key)?;
    let epoch = record.writer_epoch().ok_or(Foreign::Epoch)?;
    match Marker::parse(key.as_bytes()) {
        Some(Marker::Writer(_)) => return Ok(Table::WriterMarker(epoch)),
        Some(Marker::Gap(_)) => return Ok(Table::OtherMarker),
        None => {}
    }
    let Some(value) = record.value.as_deref() else {
        return Ok(Table::Tombstone {
            uid: record.header("ce_uid"),
            rv: record.header("ce_rv").map(Rv::new),
            history_epoch: record.header("ce_historyepoch").and_then(|e| e.parse().ok()).unwrap_or(0),
        });
    };
    let envelope: Envelope<'_> = serde_json::from_slice(value).map_err(|e| Foreign::Value(e.column()))?;
    Ok(Table::Change(Box::new(envelope)))
}

/// `ms` since 1970 as RFC 3339 in UTC with milliseconds; out of range gives the epoch.
pub fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests;
