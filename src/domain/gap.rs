//! A gap: what may have happened between two versions without being reported one by one. Never silent: a marker in every
//! partition of the kind's topic stands before the changes that the gap explains, and a lasting copy in a topic of its own.
//!
//! The marker is overwritten by the next one, as all markers are; whoever asks what was missed reads the lasting copies.

use super::envelope::{Writer, rfc3339};
use super::record::{OutRecord, WRITER_EPOCH_HEADER};
use super::rv::Rv;
use super::topic::Marker;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The topic of the lasting copies, without prefix.
pub use super::topic::GAPS as TOPIC;

/// Changes of a kind that were, or may have been, coalesced or missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Kind id.
    pub kind: String,
    /// The namespace it is limited to; `None` is all of them.
    pub scope: Option<String>,
    /// Everything up to here was reported. `None`: not known.
    pub from: Option<Rv>,
    /// From here on everything is reported again. `None`: not known yet, as long as the kind can only be listed.
    pub to: Option<Rv>,
    /// Why; a word from a closed set ([`REASONS`]).
    pub reason: &'static str,
    /// Objects may have been deleted, or Events have come and expired, that nobody will ever hear of.
    pub deletes_unknown: bool,
    /// The history that `to` belongs to.
    pub history_epoch: u64,
    /// When it was found, milliseconds since 1970.
    pub seen_ms: i64,
}

/// Every reason there is, with what it means.
pub const REASONS: &[(&str, &str)] = &[
    ("expired", "the API server no longer had the history since the last report"),
    ("version_refused", "the API server refused the version to go on from"),
    ("page_expired", "a list took so long that its pages expired"),
    ("page_inconsistent", "a list took so long that its later pages are newer than its first"),
    ("history_rewound", "the cluster's own history went back, as after a restored backup"),
    ("server_lied", "the API server sent something that cannot be true: another kind, namespace or order"),
    ("unreadable", "something the API server sent could not be read, nor found out what it was"),
    ("no_checkpoint", "the log holds the kind, and no position to go on from"),
    ("list_only", "rights to list and none to watch: what happens between two lists is not seen"),
    ("audit", "the log was compared with the API server, and differed"),
    ("selector", "the settings select other objects than before, and everything was written anew"),
    ("rebase", "the redaction changed, and everything was written anew"),
    ("unsettled", "whoever watched the kind died while deletes of it waited, and a list found out anew"),
    ("kind_gone", "the kind is not served any more, and what became of it at last was not seen"),
];

/// A lasting copy, as its value reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lasting {
    /// Kind id.
    pub kind: String,
    /// Namespace, or null for all.
    pub scope: Option<String>,
    /// Last version before it.
    pub from: Option<String>,
    /// First version behind it.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
    /// Whether deletes may be missing for ever.
    pub deletes_unknown: bool,
    /// History epoch of `to`.
    pub history_epoch: u64,
    /// When it was found, RFC 3339.
    pub seen_at: String,
    /// Configured name of the cluster.
    pub cluster: String,
    /// Epoch of the process that found it.
    pub writer_epoch: u64,
}

impl Gap {
    /// Its records in the order in which they are to be written: the lasting copy, then a marker for every partition.
    pub fn records(&self, writer: &Writer) -> Vec<OutRecord> {
        let (topic, partitions) = writer.topic();
        let mut records = vec![self.lasting(writer)];
        records.extend((0..partitions).map(|partition| OutRecord {
            topic: topic.clone(),
            partition,
            key: Marker::Gap(partition).key().into(),
            value: None,
            headers: self.headers(writer),
            timestamp_ms: self.seen_ms,
        }));
        records
    }

    fn headers(&self, writer: &Writer) -> super::record::Headers {
        let rv = |rv: &Option<Rv>| Bytes::from(rv.as_ref().map_or(String::new(), |rv| rv.as_str().to_owned()));
        vec![
            ("ce_gapkind", self.kind.clone().into()),
            ("ce_gapfrom", rv(&self.from)),
            ("ce_gapto", rv(&self.to)),
            ("ce_gapreason", self.reason.into()),
            (WRITER_EPOCH_HEADER, writer.writer_epoch().to_string().into()),
        ]
    }

    fn lasting(&self, writer: &Writer) -> OutRecord {
        let text = |rv: &Option<Rv>| rv.as_ref().map(|rv| rv.as_str().to_owned());
        let lasting = Lasting {
            kind: self.kind.clone(),
            scope: self.scope.clone(),
            from: text(&self.from),
            to: text(&self.to),
            reason: self.reason.to_owned(),
            deletes_unknown: self.deletes_unknown,
            history_epoch: self.history_epoch,
            seen_at: rfc3339(self.seen_ms),
            cluster: writer.cluster().to_owned(),
            writer_epoch: writer.writer_epoch(),
        };
        let scope = self.scope.as_ref().map_or(String::new(), |ns| format!("@{ns}"));
        OutRecord {
            topic: writer.gaps_topic().clone(),
            partition: 0,
            key: format!("{}/{}{scope}", writer.cluster(), self.kind).into(),
            // Strings and numbers: cannot fail.
            value: Some(serde_json::to_vec(&lasting).unwrap_or_default().into()),
            headers: vec![
                ("content-type", Bytes::from_static(b"application/json")),
                (WRITER_EPOCH_HEADER, writer.writer_epoch().to_string().into()),
            ],
            timestamp_ms: self.seen_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kind::Kind;

    fn gap() -> Gap {
        Gap {
            kind: "pods".into(),
            scope: Some("shop".into()),
            from: Some("7".into()),
            to: None,
            reason: "expired",
            deletes_unknown: false,
            history_epoch: 2,
            seen_ms: 1_767_225_600_123,
        }
    }

    fn writer() -> Writer {
        Writer::new(Kind::builtin("pods").expect("built in"), "t-k8s-pods".into(), 3, "c1", 5)
    }

    #[test]
    fn the_lasting_copy_reads_like_this() {
        let records = gap().records(&writer());
        let lasting = &records[0];
        assert_eq!(
            (&*lasting.topic, lasting.partition, &lasting.key[..]),
            ("t-agent-events-gaps", 0, &b"c1/pods@shop"[..])
        );
        let value = String::from_utf8(lasting.value.clone().expect("a value").to_vec()).expect("UTF-8");
        assert_eq!(
            value,
            concat!(
                r#"{"kind":"pods","scope":"shop","from":"7","to":null,"reason":"expired","deletesUnknown":false,"#,
                r#""historyEpoch":2,"seenAt":"2026-01-01T00:00:00.123Z","cluster":"c1","writerEpoch":5}"#
            )
        );
        let read: Lasting = serde_json::from_str(&value).expect("reads back");
        assert_eq!((read.kind.as_str(), read.from.as_deref()), ("pods", Some("7")));
    }

    #[test]
    fn every_partition_of_the_kind_has_a_marker_whose_content_stands_in_headers() {
        let records = gap().records(&writer());
        assert_eq!(records.len(), 4);
        for (partition, marker) in records[1..].iter().enumerate() {
            let partition = i32::try_from(partition).expect("few");
            assert_eq!((&*marker.topic, marker.partition), ("t-k8s-pods", partition));
            assert_eq!(Marker::parse(&marker.key), Some(Marker::Gap(partition)));
            assert!(marker.value.is_none());
            let headers: Vec<_> =
                marker.headers.iter().map(|(n, v)| (*n, std::str::from_utf8(v).expect("UTF-8"))).collect();
            assert_eq!(
                headers,
                [
                    ("ce_gapkind", "pods"),
                    ("ce_gapfrom", "7"),
                    ("ce_gapto", ""),
                    ("ce_gapreason", "expired"),
                    ("ce_writerepoch", "5"),
                ]
            );
        }
    }

    #[test]
    fn the_reason_is_one_of_those_that_are_explained() {
        assert!(REASONS.iter().any(|(reason, _)| *reason == gap().reason));
    }
}
