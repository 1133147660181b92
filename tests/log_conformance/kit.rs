//! Verbs for test authors.

use crate::engines::{Bench, Engine};
use agent_events::domain::ack::{AckSink, AckToken, Outcome};
use agent_events::domain::record::{InRecord, OutRecord};
use agent_events::log::{Producer, Reader, SendError, Start};
use bytes::Bytes;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

pub type Checked = Result<(), Failed>;

/// A time that any broker takes: neither in its future nor below zero.
pub const SOME_TIME: i64 = 1_700_000_000_000;
/// A minute: a condition that is not met by then never will be, on any machine.
pub const LONG: Duration = Duration::from_secs(60);

pub fn check(holds: bool, what: &str) -> Checked {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}").into()) }
}

pub fn check_eq<T: PartialEq + Debug>(have: T, want: T, what: &str) -> Checked {
    if have == want { Ok(()) } else { Err(format!("{what}: have {have:?}, want {want:?}").into()) }
}

/// Remembers what became of every token, and that none is settled twice.
#[derive(Default)]
pub struct Acks {
    settled: Mutex<BTreeMap<u64, Vec<Outcome>>>,
    changed: Notify,
}

impl AckSink for Acks {
    fn settle(&self, seq: u64, _generation: u64, outcome: Outcome) {
        self.settled.lock().unwrap().entry(seq).or_default().push(outcome);
        self.changed.notify_one();
    }

    fn is_current(&self, _generation: u64) -> bool {
        true
    }
}

impl Acks {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn token(self: &Arc<Self>, seq: u64) -> AckToken {
        AckToken::new(self.clone(), seq, 0)
    }

    pub fn count(&self) -> usize {
        self.settled.lock().unwrap().len()
    }

    /// Waits until at least `count` tokens are settled.
    pub async fn some(&self, count: usize) -> Checked {
        let enough = async {
            while self.count() < count {
                self.changed.notified().await;
            }
        };
        let ended = tokio::time::timeout(LONG * 2, enough).await;
        ended.map_err(|_| format!("only {} of {count} tokens were settled", self.count()).into())
    }

    /// Waits until `count` tokens are settled, each once; gives their outcomes by sequence.
    pub async fn settled(&self, count: usize) -> Result<Vec<Outcome>, Failed> {
        self.some(count).await?;
        let settled = self.settled.lock().unwrap();
        check(settled.values().all(|o| o.len() == 1), "every token is settled once")?;
        Ok(settled.values().map(|outcomes| outcomes[0].clone()).collect())
    }

    /// Waits until `count` tokens are settled, and all as acked; gives partition and offset of each.
    pub async fn acked(&self, count: usize) -> Result<Vec<(i32, i64)>, Failed> {
        self.settled(count)
            .await?
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Acked { partition, offset } => Ok((partition, offset)),
                other => Err(format!("a record was not acked: {other:?}").into()),
            })
            .collect()
    }
}

pub fn record(topic: &Arc<str>, partition: i32, key: &str, value: Option<Bytes>) -> OutRecord {
    let key = Bytes::copy_from_slice(key.as_bytes());
    OutRecord { topic: topic.clone(), partition, key, value, headers: vec![], timestamp_ms: SOME_TIME }
}

/// A record in partition 0 with its number as key.
pub fn numbered(topic: &Arc<str>, number: u64) -> OutRecord {
    record(topic, 0, &number.to_string(), Some(Bytes::from_static(b"value")))
}

/// Bytes that no compression makes smaller, the same for the same length.
pub fn incompressible(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

pub fn send(producer: &dyn Producer, record: OutRecord, token: AckToken) -> Checked {
    producer.send(record, token).map_err(|(error, record, _)| {
        Failed::from(format!("the producer did not take {:?}: {error:?}", String::from_utf8_lossy(&record.key)))
    })
}

/// Sends; while the queue is full, waits for acks.
pub async fn send_patiently(producer: &dyn Producer, acks: &Arc<Acks>, seq: u64, record: OutRecord) -> Checked {
    let (mut record, mut token) = (record, acks.token(seq));
    loop {
        match producer.send(record, token) {
            Ok(()) => return Ok(()),
            Err((SendError::QueueFull, r, t)) => (record, token) = (r, t),
            Err((error, ..)) => return Err(format!("record {seq} was not taken: {error:?}").into()),
        }
        let changed = tokio::time::timeout(LONG * 2, acks.changed.notified()).await;
        check(changed.is_ok(), "a full queue becomes empty in the end")?;
    }
}

/// Sends records one by one and waits until all are acked.
pub async fn write(bench: &Bench, records: Vec<OutRecord>) -> Result<Vec<(i32, i64)>, Failed> {
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    let count = records.len();
    for (seq, record) in (0..).zip(records) {
        send_patiently(&*producer, &acks, seq, record).await?;
    }
    check(producer.flush(LONG), "the flush ends in time")?;
    acks.acked(count).await
}

/// Reads `count` records, or says how many came.
pub async fn take(reader: &mut Reader, count: usize) -> Result<Vec<InRecord>, Failed> {
    let mut records = Vec::new();
    let all = async {
        while records.len() < count {
            match reader.batches.recv().await {
                Some(batch) => records.extend(batch.records),
                None => return false,
            }
        }
        true
    };
    match tokio::time::timeout(LONG, all).await {
        Ok(true) => Ok(records),
        ended => Err(format!("{} of {count} records came ({ended:?})", records.len()).into()),
    }
}

/// Reads `count` records of one partition from a start.
pub async fn read(
    bench: &Bench,
    topic: &Arc<str>,
    partition: i32,
    start: Start,
    count: usize,
) -> Result<Vec<InRecord>, Failed> {
    take(&mut bench.log.read(vec![(topic.clone(), partition, start)])?, count).await
}

pub fn key(record: &InRecord) -> String {
    record.key.as_ref().map_or("null".into(), |k| String::from_utf8_lossy(k).into_owned())
}

pub fn keys(records: &[InRecord]) -> Vec<String> {
    records.iter().map(key).collect()
}

pub fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

/// Writes a record as a foreign program would: null keys, null headers, a partition of its own choice.
pub fn write_foreign(bench: &Bench, record: InRecord, partitioner: Option<&str>) -> Checked {
    match &bench.engine {
        Engine::Memory(log) => log.inject(record).map(|_| ()).map_err(Failed::from),
        Engine::Embedded { log, .. } => log.inject(&record).map(|_| ()).map_err(Failed::from),
        Engine::Kafka { bootstrap, .. } => {
            use rdkafka::message::{Header, OwnedHeaders};
            use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
            let mut config = rdkafka::ClientConfig::new();
            config.set("bootstrap.servers", bootstrap);
            if let Some(partitioner) = partitioner {
                config.set("partitioner", partitioner);
            }
            let producer: BaseProducer = config.create()?;
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_deref() })
            });
            let mut out: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&record.topic).timestamp(record.timestamp_ms).headers(headers);
            (out.key, out.payload) = (record.key.as_deref(), record.value.as_deref());
            if partitioner.is_none() {
                out = out.partition(record.partition);
            }
            producer.send(out).map_err(|(error, _)| error)?;
            Ok(producer.flush(LONG)?)
        }
    }
}
