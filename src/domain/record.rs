//! A record as it is handed to the log and as it is read back.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Name of the header that carries the writer epoch, on data, markers and checkpoints alike.
pub const WRITER_EPOCH_HEADER: &str = "ce_writerepoch";

/// Headers in the order in which they are written. Names are ours, so they are static; few, since each costs 0.4 µs.
pub type Headers = Vec<(&'static str, Bytes)>;

/// A record on its way to the log. Cloning shares the bytes.
#[derive(Clone, PartialEq)]
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

// Values are never logged: where a record is, what it is about and how large it is say enough.
impl fmt::Debug for OutRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.value.as_ref().map(Bytes::len);
        write!(f, "OutRecord({}/{} {:?} value={size:?} bytes)", self.topic, self.partition, self.key)
    }
}

/// A record read back from the log. Anything may stand on a topic, so nothing here is trusted to be ours.
#[derive(Clone, PartialEq)]
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

impl fmt::Debug for InRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.value.as_ref().map(Bytes::len);
        let place = (self.partition, self.offset);
        write!(f, "InRecord({} {place:?} {:?} value={size:?} bytes)", self.topic, self.key)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, Option<&'static [u8]>)]) -> InRecord {
        InRecord {
            topic: "t".into(),
            partition: 1,
            offset: 2,
            timestamp_ms: -1,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"canary")),
            headers: all.iter().map(|(n, v)| ((*n).into(), v.map(Bytes::from_static))).collect(),
        }
    }

    #[test]
    fn the_last_header_of_a_name_counts_and_what_is_no_text_is_none() {
        let record = headers(&[("a", Some(b"1")), ("a", Some(b"2")), ("null", None), ("bin", Some(b"\xff"))]);
        assert_eq!(record.header("a"), Some("2"));
        assert_eq!((record.header("null"), record.header("bin"), record.header("absent")), (None, None, None));
    }

    #[test]
    fn a_writer_epoch_is_a_number_or_the_record_is_foreign() {
        assert_eq!(headers(&[(WRITER_EPOCH_HEADER, Some(b"18446744073709551615"))]).writer_epoch(), Some(u64::MAX));
        for foreign in [&b""[..], b"-1", b"x", b"18446744073709551616", b"\xff"] {
            assert_eq!(headers(&[(WRITER_EPOCH_HEADER, Some(foreign))]).writer_epoch(), None);
        }
        assert_eq!(headers(&[]).writer_epoch(), None);
    }

    #[test]
    fn debug_output_of_records_never_shows_their_value() {
        let read = headers(&[("h", Some(b"canary"))]);
        assert_eq!(format!("{read:?}"), "InRecord(t (1, 2) Some(b\"k\") value=Some(6) bytes)");
        let out = OutRecord {
            topic: "t".into(),
            partition: 1,
            key: Bytes::from_static(b"k"),
            value: read.value,
            headers: vec![("h", Bytes::from_static(b"canary"))],
            timestamp_ms: 0,
        };
        assert_eq!(format!("{out:?}"), "OutRecord(t/1 b\"k\" value=Some(6) bytes)");
        assert_eq!(out.size(), 1 + 6 + 1 + 6);
        assert_eq!(OutRecord { value: None, ..out }.size(), 1 + 1 + 6);
    }
}
