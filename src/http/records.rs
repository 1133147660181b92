//! `GET /api/v1/topics/{topic}/records`: records as they stand in the log, as NDJSON. The command line's `tail` uses the
//! same reading on a log that it opened itself.

use super::params::Params;
use super::problem::Problem;
use super::streams::{self, Encoding, HEARTBEAT, push_on_one_line};
use super::{Faces, topics};
use crate::domain::record::InRecord;
use crate::log::{Log, LogError, ReadBatch, Reader, Start};
use crate::observe::clock::wall_ms;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where a read begins, as a person says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// `BEGIN`: the oldest record that is there.
    Begin,
    /// `END`: only what is written from now on.
    End,
    /// `10m`: what is not older than that.
    Ago(Duration),
    /// `42`: that offset, in every partition that is read.
    Offset(i64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            _ if text.eq_ignore_ascii_case("begin") => return Ok(Self::Begin),
            _ if text.eq_ignore_ascii_case("end") => return Ok(Self::End),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>()
            && offset >= 0
        {
            return Ok(Self::Offset(offset));
        }
        match humantime::parse_duration(text) {
            Ok(ago) => Ok(Self::Ago(ago)),
            Err(_) => {
                let text: String = text.chars().take(64).collect();
                Err(format!("{text:?} is not BEGIN, END, a time span such as 10m, or an offset"))
            }
        }
    }
}

impl From {
    fn start(self, now_ms: i64) -> Start {
        match self {
            Self::Begin => Start::Beginning,
            Self::End => Start::End,
            Self::Offset(offset) => Start::Offset(offset),
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Start::Timestamp(now_ms.saturating_sub(ago).max(0))
            }
        }
    }
}

/// What to read of one topic.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Name with prefix.
    pub topic: String,
    /// Where to begin.
    pub from: From,
    /// One partition, or all.
    pub partition: Option<i32>,
    /// Whether to wait for further records behind the last.
    pub follow: bool,
    /// At most so many records.
    pub limit: Option<u64>,
}

/// A read that is under way.
pub struct Records {
    reader: Reader,
    /// What is still to come of each partition, as the next offset at its end; `None` when following.
    ends: Option<BTreeMap<i32, i64>>,
    left: u64,
}

/// What came next.
pub enum Next {
    /// Records in the order of their partitions.
    Records(Vec<InRecord>),
    /// Nothing for a heartbeat's time.
    Silence,
    /// Everything that was asked for has been given, or the log ended the read.
    End,
}

/// A log may not answer reads of deleted tails (compaction removed the last offsets): silence for so long is the end.
const TAIL_SILENCE: Duration = Duration::from_secs(3);

impl Records {
    /// Begins to read.
    ///
    /// # Errors
    /// A partition that does not exist; whatever the log says.
    pub async fn open(log: &dyn Log, reading: &Reading) -> Result<Self, LogError> {
        let offsets = log.offsets(&reading.topic).await?;
        let partitions: Vec<i32> = (0..).zip(&offsets).map(|(partition, _)| partition).collect();
        if let Some(wanted) = reading.partition.filter(|wanted| !partitions.contains(wanted)) {
            let last = partitions.len().saturating_sub(1);
            return Err(LogError::Refused(format!(
                "topic {} has no partition {wanted}: it has 0 to {last}",
                reading.topic
            )));
        }
        let chosen = |partition: &i32| reading.partition.is_none_or(|wanted| wanted == *partition);
        let start = reading.from.start(wall_ms());
        let topic: Arc<str> = reading.topic.as_str().into();
        let ends = (!reading.follow).then(|| {
            let begin = if let From::Offset(offset) = reading.from { offset } else { i64::MIN };
            let all = (0..).zip(&offsets).filter(|(partition, _)| chosen(partition));
            all.filter(|(_, (first, next))| first < next && begin < *next).map(|(p, (_, next))| (p, *next)).collect()
        });
        let ends = if !reading.follow && reading.from == From::End { Some(BTreeMap::new()) } else { ends };
        let from = partitions.iter().filter(|p| chosen(p)).map(|p| (topic.clone(), *p, start)).collect();
        Ok(Self { reader: log.read(from)?, ends, left: reading.limit.unwrap_or(u64::MAX) })
    }

    /// Waits for what comes next. Cancel-safe.
    pub async fn next(&mut self) -> Next {
        if self.left == 0 || self.ends.as_ref().is_some_and(BTreeMap::is_empty) {
            return Next::End;
        }
        let patience = if self.ends.is_some() { TAIL_SILENCE } else { HEARTBEAT };
        let ReadBatch { mut records } = match tokio::time::timeout(patience, self.reader.batches.recv()).await {
            Err(_) if self.ends.is_some() => return Next::End,
            Err(_) => return Next::Silence,
            Ok(None) => return Next::End,
            Ok(Some(batch)) => batch,
        };
        if let Some(ends) = &mut self.ends {
            records.retain(|record| ends.get(&record.partition).is_some_and(|end| record.offset < *end));
            for record in &records {
                if ends.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                    ends.remove(&record.partition);
                }
            }
        }
        records.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= records.len() as u64;
        Next::Records(records)
    }
}

/// A record as one line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: i64,
    /// Text, or null; what is not UTF-8 stands in `keyBase64`.
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    headers: BTreeMap<&'a str, Option<Cow<'a, str>>>,
    /// JSON as it stands in the log, or null for a tombstone; what is not JSON stands in `valueBase64`.
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// Appends a record as one line of NDJSON. Anything may stand on a topic: keys and values that are not text or not JSON
/// are given as base64.
pub fn write_line(out: &mut Vec<u8>, record: &InRecord) {
    let text = record.key.as_deref().map(std::str::from_utf8);
    let json = record.value.as_deref().map(serde_json::from_slice::<&RawValue>);
    let header = |value: &Bytes| String::from_utf8_lossy(value).into_owned().into();
    let line = Line {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp_ms,
        key: text.and_then(Result::ok),
        key_base64: record.key.as_deref().filter(|_| text.is_some_and(|t| t.is_err())).map(|key| STANDARD.encode(key)),
        headers: record.headers.iter().map(|(name, value)| (&**name, value.as_ref().map(header))).collect(),
        value_base64: record.value.as_deref().filter(|_| matches!(json, Some(Err(_)))).map(|v| STANDARD.encode(v)),
        value: json.and_then(Result::ok),
    };
    // Text, numbers and JSON that was just read: nothing in it can fail to be written.
    let json = serde_json::to_vec(&line).unwrap_or_default();
    push_on_one_line(out, &json);
    out.push(b'\n');
}

/// `?from=BEGIN|END|10m|OFFSET&partition=&follow=&limit=`.
pub(super) async fn read(State(faces): State<Faces>, Path(topic): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let params = Params::read(&uri, &["from", "partition", "follow", "limit"], &[])?;
    let from =
        params.text("from").map_or(Ok(From::Begin), str::parse).map_err(|e| Problem::bad_parameter("from", e))?;
    let reading = Reading {
        topic: topics::known(&faces, &topic)?,
        from,
        partition: params.parsed("partition", "a partition's number")?,
        follow: params.switch("follow")?,
        limit: params.parsed("limit", "a number of records")?,
    };
    let slot = faces.streams.take()?;
    let log = topics::log(&faces)?;
    let records = Records::open(&*log, &reading).await.map_err(topics::problem_of)?;
    let pieces = stream::unfold((records, slot), |(mut records, slot)| async move {
        let piece = match records.next().await {
            Next::End => return None,
            Next::Silence => Encoding::Ndjson.heartbeat(),
            Next::Records(batch) => {
                let mut out = Vec::new();
                for record in &batch {
                    write_line(&mut out, record);
                }
                out.into()
            }
        };
        Some((piece, (records, slot)))
    });
    Ok(streams::answer(Encoding::Ndjson, pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_begin_end_a_time_span_or_an_offset_and_nothing_else() {
        assert_eq!("begin".parse(), Ok(From::Begin));
        assert_eq!("END".parse(), Ok(From::End));
        assert_eq!("42".parse(), Ok(From::Offset(42)));
        assert_eq!("10m".parse(), Ok(From::Ago(Duration::from_secs(600))));
        for wrong in ["", "-1", "tomorrow", "10 parsecs", "99999999999999999999"] {
            assert!(wrong.parse::<From>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn foreign_bytes_become_base64_and_every_record_stays_one_line() {
        let mut record = InRecord {
            topic: "shared-state".into(),
            partition: 1,
            offset: 7,
            timestamp_ms: 5,
            key: Some(Bytes::from_static(b"a\nb")),
            value: Some(Bytes::from_static(b"{\n\"a\":\r\n1}")),
            headers: vec![("h".into(), Some(Bytes::from_static(b"\xff\n"))), ("n".into(), None)],
        };
        let mut out = Vec::new();
        write_line(&mut out, &record);
        record.key = Some(Bytes::from_static(b"\xff"));
        record.value = Some(Bytes::from_static(b"{not json"));
        write_line(&mut out, &record);
        let text = String::from_utf8(out).expect("UTF-8");
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines[0]["value"]["a"], 1);
        assert_eq!(lines[0]["key"], "a\nb");
        assert_eq!(lines[0]["headers"]["n"], serde_json::Value::Null);
        assert_eq!((&lines[1]["keyBase64"], &lines[1]["key"]), (&"/w==".into(), &serde_json::Value::Null));
        assert_eq!(lines[1]["valueBase64"], STANDARD.encode(b"{not json"));
    }
}
