//! A record as it is handed to the log and as it is read back.

use bytes::Bytes;
use std::sync::Arc;

/// Name of the header that carries the writer epoch, on data, markers and checkpoints alike.
pub const WRITER_EPOCH_HEADER: &str = "ce_writerepoch";

/// Headers in the order in which they are written. Names are ours, so they are static; few, since each costs 0.4 µs.
pub type Headers = Vec<(&'static str, Bytes)>;

/// A record on its way to the log. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct OutRecord {
    /// Topic, with the configured prefix.
    pub topic: Arc<str>,
    /// Partition, always explicit: `domain::topic::partition_of(key, partitions)` in every engine.
    pub partition: i32,
    /// UTF-8 key.
    pub key: Bytes,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers.
    pub headers: Headers,
    /// CreateTime in milliseconds since 1970: the time of writing, never that of the object or event. Kafka forgets a
    /// producer whose last record is older than a day by this (`producer.id.expiration.ms`), and with it what would tell
    /// a repeated batch from a new one: records are doubled when a broker restarts.
    pub timestamp_ms: i64,
}

impl OutRecord {
    /// Bytes that count against windows and queues: key, value and headers.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + headers
    }
}

/// A record read back from the log. Anything may stand on a topic, so nothing here is trusted to be ours.
#[derive(Debug, Clone, PartialEq)]
pub struct InRecord {
    /// Topic, with the configured prefix.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp in milliseconds since 1970; -1 where the log has none.
    pub timestamp_ms: i64,
    /// Key; foreign records may have none.
    pub key: Option<Bytes>,
    /// Value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; a null header value is `None`.
    pub headers: Vec<(Box<str>, Option<Bytes>)>,
}

impl InRecord {
    /// The last header of that name, as text; `None` when absent, null or not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(n, _)| &**n == name)?;
        std::str::from_utf8(value.as_ref()?).ok()
    }

    /// The writer epoch that the record claims; `None` for foreign records.
    pub fn writer_epoch(&self) -> Option<u64> {
        self.header(WRITER_EPOCH_HEADER)?.parse().ok()
    }
}
