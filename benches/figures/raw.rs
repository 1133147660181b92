//! Role `raw`: the same record bytes through a bare librdkafka producer, as fast as it takes them.

use crate::{broker, roles};
use agent_events::domain::record::InRecord;
use bytes::Bytes;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The role's task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Brokers.
    pub bootstrap: String,
    /// The topic whose records are sent again.
    pub from: String,
    /// Those whose value begins so, in the order of the acts.
    pub acts: Vec<Vec<String>>,
    /// Where they go.
    pub to: String,
}

#[derive(Clone, Default)]
struct Delivered(Arc<AtomicU64>);

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, _: usize) {
        if let Err((error, _)) = report {
            panic!("the raw loop lost a record: {error}");
        }
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Plays the role: `ready COUNT/BYTES…` with everything in memory, then one act at each word, and `done` when all is acked.
pub fn play(task: &Task) {
    let all = broker::changes(&task.bootstrap, &task.from);
    let acts: Vec<Vec<_>> = task
        .acts
        .iter()
        .map(|heads| {
            let begins = |value: &[u8]| heads.iter().any(|head| value.starts_with(head.as_bytes()));
            all.iter().filter(|record| record.value.as_deref().is_some_and(begins)).collect()
        })
        .collect();
    let delivered = Delivered::default();
    // What src/log/kafka/config.rs sets for the product's producer.
    let producer: ThreadedProducer<Delivered> = ClientConfig::new()
        .set("bootstrap.servers", &task.bootstrap)
        .set("compression.type", "zstd")
        .set("batch.size", "1000000")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("enable.gapless.guarantee", "true")
        .set("linger.ms", "50")
        .set("queue.buffering.max.kbytes", (32 << 10).to_string())
        .set("message.max.bytes", (10 << 20).to_string())
        .create_with_context(delivered.clone())
        .expect("a producer of loopback");
    let size =
        |record: &&InRecord| record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
    let counts: Vec<String> =
        acts.iter().map(|act| format!("{}/{}", act.len(), act.iter().map(size).sum::<usize>())).collect();
    roles::tell(&format!("ready {}", counts.join(" ")));
    let mut sent = 0;
    for act in acts {
        if !roles::told() {
            return;
        }
        for record in act {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let headers = record
                .headers
                .iter()
                .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }));
            let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&task.to, 0)
                .partition(record.partition)
                .timestamp(record.timestamp_ms)
                .headers(headers);
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            loop {
                match producer.send(out) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        out = back;
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                    Err((error, _)) => panic!("the raw loop cannot send: {error}"),
                }
            }
            sent += 1;
        }
        broker::eventually("all acks", Duration::from_millis(5), || delivered.0.load(Ordering::Acquire) >= sent);
        roles::tell("done");
    }
    roles::told();
}
