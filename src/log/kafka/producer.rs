//! The Kafka producer: librdkafka's, with a thread that serves its reports, and a registry of every token that is out.
//!
//! ```text
//! send ──▶ registry (id → token) ──▶ librdkafka ──▶ broker
//!               ▲                        │
//!               └── settle(id) ◀── polling thread: delivery report
//! ```
//! librdkafka carries only a number for each record. So a report that never comes, or late, or twice, or a dead polling
//! thread cannot leak a token: what is left in the registry is settled as dropped by `purge`, or when that thread ends.

use super::config::{KafkaConfig, producer as client_config, refused};
use super::connection::Connection;
use super::errors::remedy;
use super::ffi;
use super::thread::Deadline;
use crate::domain::ack::{AckToken, Outcome};
use crate::domain::record::OutRecord;
use crate::log::{LogError, Producer, SendError};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::Duration;

/// How long one poll lasts; rdkafka's poll always takes the whole time, so a dropped producer is noticed within it.
const POLL: Duration = Duration::from_millis(100);
/// How long a purge waits for librdkafka's own reports, which are more exact than "dropped".
const PURGE: Duration = Duration::from_secs(5);

pub(super) struct KafkaProducer {
    base: Arc<Base>,
    tokens: Arc<Tokens>,
    /// Held over each hand-over: a refused record must have nothing enqueued behind it.
    sending: Mutex<usize>,
    stop: Arc<AtomicBool>,
    poller: ThreadId,
    at: String,
    max_record_bytes: usize,
}

type Base = BaseProducer<Reports>;

impl KafkaProducer {
    pub fn open(config: &KafkaConfig) -> Result<Self, LogError> {
        let tokens = Arc::new(Tokens::default());
        let connection = Connection::new("producer", &config.bootstrap);
        let reports = Reports { connection, tokens: tokens.clone(), producer: OnceLock::new() };
        let base = Base::from_config_and_context(&client_config(config), reports).map(Arc::new).map_err(refused)?;
        // Fails only when it is set already.
        drop(base.client().context().producer.set(Arc::downgrade(&base)));
        let stop = Arc::new(AtomicBool::new(false));
        let poll = {
            let (base, stop) = (base.clone(), stop.clone());
            let rest = SettleTheRest(tokens.clone());
            move || serve(base, &stop, rest)
        };
        let thread = std::thread::Builder::new()
            .name("kafka-producer".into())
            .spawn(poll)
            .map_err(|error| LogError::Refused(format!("no thread for a Kafka producer: {error}")))?;
        Ok(Self {
            base,
            tokens,
            sending: Mutex::new(0),
            stop,
            poller: thread.thread().id(),
            at: config.bootstrap.clone(),
            max_record_bytes: config.max_record_bytes,
        })
    }

    /// What an error of librdkafka's `produce` means to the sender.
    fn refusal(&self, error: &KafkaError, record: &OutRecord) -> SendError {
        let (topic, partition) = (&record.topic, record.partition);
        let text = match error.rdkafka_error_code() {
            Some(Code::QueueFull) => return SendError::QueueFull,
            Some(Code::Fatal) => return SendError::Fatal,
            Some(Code::MessageSizeTooLarge) => format!(
                "topic {topic} at {}: a record of {} bytes is above publisher.max_record_bytes ({})",
                self.at,
                record.size(),
                self.max_record_bytes
            ),
            Some(code) => format!("topic {topic} partition {partition} at {}: {code}; {}", self.at, remedy(code)),
            None => format!("topic {topic} partition {partition} at {}: {error}", self.at),
        };
        SendError::Refused(text)
    }
}

impl Producer for KafkaProducer {
    fn send(&self, record: OutRecord, token: AckToken) -> Result<(), (SendError, OutRecord, AckToken)> {
        let mut last = lock(&self.sending);
        if self.tokens.dead.get().is_some() {
            return Err((SendError::Fatal, record, token));
        }
        *last += 1;
        let id = *last;
        // Before the hand-over, since the report may come before it returns.
        self.tokens.register(id, token);
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers = record
            .headers
            .iter()
            .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(&value[..]) }));
        let mut out = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&record.topic, id)
            .partition(record.partition)
            .key(&record.key)
            .timestamp(record.timestamp_ms)
            .headers(headers);
        out.payload = record.value.as_deref();
        let Err((error, _)) = self.base.send(out) else { return Ok(()) };
        let why = self.refusal(&error, &record);
        if let SendError::Refused(text) = &why {
            self.tokens.die(text);
        }
        match self.tokens.take_back(id) {
            Some(token) => Err((why, record, token)),
            // The polling thread died meanwhile and has settled it.
            None => Ok(()),
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        ffi::flush(self.base.client(), timeout) && self.tokens.wait_until_settled(deadline)
    }

    fn in_flight(&self) -> usize {
        self.tokens.unsettled.load(Ordering::Acquire)
    }

    fn fatal(&self) -> Option<String> {
        let fatal = || self.base.client().fatal_error().map(|(code, text)| format!("{text} ({code})"));
        self.tokens.dead.get().cloned().or_else(fatal)
    }

    fn purge(&self) {
        {
            let _nobody_sends = lock(&self.sending);
            self.tokens.die("purged: make a new producer");
        }
        self.base.purge(PurgeConfig::default().queue().inflight());
        // Within a delivery report nobody else could serve the reports that we would wait for.
        if std::thread::current().id() != self.poller {
            self.tokens.wait_until_settled(Deadline::after(PURGE));
        }
        self.tokens.settle_the_rest();
    }
}

impl Drop for KafkaProducer {
    /// The polling thread purges and ends; nobody waits for it, since dropping may happen on an actor's thread.
    fn drop(&mut self) {
        self.tokens.die("dropped");
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Serves reports until the producer is dropped, then purges it and serves what that gives.
fn serve(base: Arc<Base>, stop: &AtomicBool, rest: SettleTheRest) {
    while !stop.load(Ordering::Relaxed) {
        base.poll(POLL);
        if rest.0.broken.load(Ordering::Acquire) || base.client().fatal_error().is_some() {
            // Again and again: what was under way may have come back into the queue to be tried again.
            base.purge(PurgeConfig::default().queue().non_blocking());
        }
    }
    base.purge(PurgeConfig::default().queue().inflight());
    let deadline = Deadline::after(PURGE);
    while base.in_flight_count() > 0 && !deadline.is_over() {
        base.poll(Duration::from_millis(10));
    }
    drop(rest);
}

/// Settles what nobody reported, however the polling thread ends.
struct SettleTheRest(Arc<Tokens>);

impl Drop for SettleTheRest {
    fn drop(&mut self) {
        self.0.die("its polling thread has ended");
        self.0.settle_the_rest();
    }
}

/// The tokens that are out, by the number that librdkafka carries for them.
#[derive(Default)]
struct Tokens {
    waiting: Mutex<HashMap<usize, AckToken>>,
    /// Goes down after the settling, not before: who sees zero may rely on it.
    unsettled: AtomicUsize,
    all_settled: Condvar,
    none: Mutex<()>,
    /// Why nothing more is taken.
    dead: OnceLock<String>,
    /// A record failed after it had been taken: nothing behind it may be written. (A record that was not even taken closes
    /// the producer too, but what was sent before it goes its way.)
    broken: AtomicBool,
}

impl Tokens {
    /// The first reason stays.
    fn die(&self, why: &str) {
        drop(self.dead.set(why.to_owned()));
    }

    fn register(&self, id: usize, token: AckToken) {
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        lock(&self.waiting).insert(id, token);
    }

    fn take_back(&self, id: usize) -> Option<AckToken> {
        let token = lock(&self.waiting).remove(&id)?;
        self.settled(1);
        Some(token)
    }

    fn settle(&self, id: usize, outcome: Outcome) {
        let Some(token) = lock(&self.waiting).remove(&id) else { return };
        // A panic here would end the polling thread, and with it all reports (rdkafka catches none).
        if catch_unwind(AssertUnwindSafe(|| token.settle(outcome))).is_err() {
            tracing::error!("a receiver of delivery reports panicked; its lane will not move on");
        }
        self.settled(1);
    }

    fn settle_the_rest(&self) {
        let rest = std::mem::take(&mut *lock(&self.waiting));
        let count = rest.len();
        for (_, token) in rest {
            if catch_unwind(AssertUnwindSafe(|| drop(token))).is_err() {
                tracing::error!("a receiver of delivery reports panicked; its lane will not move on");
            }
        }
        self.settled(count);
    }

    fn settled(&self, count: usize) {
        if self.unsettled.fetch_sub(count, Ordering::AcqRel) == count {
            let _none = lock(&self.none);
            self.all_settled.notify_all();
        }
    }

    fn wait_until_settled(&self, deadline: Deadline) -> bool {
        let mut none = lock(&self.none);
        while self.unsettled.load(Ordering::Acquire) > 0 {
            let left = deadline.left(PURGE);
            if left.is_zero() {
                return false;
            }
            none = self.all_settled.wait_timeout(none, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

/// Takes librdkafka's reports, on the polling thread.
struct Reports {
    connection: Connection,
    tokens: Arc<Tokens>,
    producer: OnceLock<Weak<Base>>,
}

impl Reports {
    fn outcome(&self, code: Option<Code>, error: &KafkaError, topic: &str) -> Outcome {
        let Some(code) = code else { return Outcome::Dropped };
        match code {
            // Innocent records behind a culprit, or given up by us; some of them may have been written.
            Code::PurgeQueue
            | Code::PurgeInflight
            | Code::Fatal
            | Code::GaplessGuarantee
            | Code::MessageTimedOut
            | Code::OutOfOrderSequenceNumber
            | Code::UnknownProducerId
            | Code::InvalidProducerEpoch
            | Code::ProducerFenced
            | Code::Fenced => Outcome::Dropped,
            _ => {
                Outcome::Failed(format!("topic {topic} at {}: {error}; {}", self.connection.bootstrap(), remedy(code)))
            }
        }
    }

    /// One record failed for good. Where a broker refused it librdkafka stops by itself (the gapless guarantee), and keeps
    /// what is queued behind without a report; where it gave up on its own (an unknown topic) it would go on with that.
    /// Either way what is queued is given up now; what is under way gets its answer still.
    fn stop_behind(&self, code: Option<Code>, text: &str) {
        if matches!(code, Some(Code::PurgeQueue | Code::PurgeInflight)) {
            return;
        }
        self.tokens.die(text);
        self.tokens.broken.store(true, Ordering::Release);
        if let Some(producer) = self.producer.get().and_then(Weak::upgrade) {
            producer.purge(PurgeConfig::default().queue().non_blocking());
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, id: usize) {
        match report {
            Ok(message) => {
                self.connection.alive();
                // After a retry whose first try had been written the broker does not say where: -1.
                let (partition, offset) = (message.partition(), message.offset().max(-1));
                self.tokens.settle(id, Outcome::Acked { partition, offset });
            }
            Err((error, message)) => {
                let code = error.rdkafka_error_code();
                let outcome = self.outcome(code, error, message.topic());
                let text = match &outcome {
                    Outcome::Failed(text) => text.clone(),
                    _ => format!("topic {}: {error}", message.topic()),
                };
                // Before the token: who is told of the failure must find the producer fatal.
                self.stop_behind(code, &text);
                self.tokens.settle(id, outcome);
            }
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.connection.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.connection.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(error, reason);
    }
}

/// The data is valid after every line, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
