//! The log: partitioned, ordered, durable. One trait, several engines.
//!
//! [`kafka`] is Apache Kafka through rdkafka (the only place that imports it); [`embedded`] keeps its records in files of
//! this one process; [`memory`] is for simulation and tests. All pass the same conformance suite (`tests/log_conformance.rs`). What is written where is not
//! decided here but in `domain::topic` and `domain::envelope`.
//!
//! Promises of every engine:
//! - order per partition is the order of [`Producer::send`];
//! - an ack means durable; a token that is not acked is settled as failed or dropped, never forgotten;
//! - after one record of a producer failed for good, nothing that was sent behind it is written by that producer
//!   (gapless): the producer is fatal and a new one is needed. What was queued behind settles as dropped by itself; what was
//!   under way settles as it went, so that [`Producer::flush`] tells when a new producer can be overtaken by nothing.

use crate::domain::ack::AckToken;
use crate::domain::record::{InRecord, OutRecord};
use crate::domain::topic::TopicSpec;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub mod embedded;
pub mod kafka;
pub mod memory;
pub mod topics;

/// Why the log did not do what it was asked to do. The text names the topic or the setting and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No broker answers; retrying may help.
    #[error("the log at {0} does not answer: {1}")]
    Unreachable(String, String),
    /// The log refuses: authorization, unknown topic, bad configuration. Retrying the same does not help.
    #[error("{0}")]
    Refused(String),
    /// A setting that the engine does not take.
    #[error("{key}: {message}")]
    Setting {
        /// The setting's key.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

/// Why a record was not taken by [`Producer::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The producer's queue is at its byte limit: try again when deliveries came back.
    QueueFull,
    /// The producer is dead (see [`Producer::fatal`]).
    Fatal,
    /// This record can never be written by this producer: too large, unknown topic or partition. The producer is fatal
    /// from here on, as if the broker had refused it.
    Refused(String),
}

/// A producer. Owned outside the actors: an actor that dies must not purge its queue.
pub trait Producer: Send + Sync + 'static {
    /// Enqueues without blocking. The token is settled by the delivery report, from another thread. On an error the
    /// record and its token come back to the caller.
    #[allow(clippy::result_large_err)]
    fn send(&self, record: OutRecord, token: AckToken) -> Result<(), (SendError, OutRecord, AckToken)>;
    /// Blocks until everything sent so far is settled, or `timeout`; gives whether it was. Call it off the actors' threads.
    fn flush(&self, timeout: Duration) -> bool;
    /// Records handed over and not yet settled.
    fn in_flight(&self) -> usize;
    /// Why the producer is dead, if it is. Only a new producer helps then.
    fn fatal(&self) -> Option<String>;
    /// Gives up all that is queued and in flight: their tokens settle (as dropped or failed) before this returns. The
    /// producer is fatal afterwards. What was under way may still be written later, behind what a new producer writes: flush
    /// first where the log answers. Do not call it with a lock held that a sink's `settle` takes.
    fn purge(&self);
}

/// Where a reader starts in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that is there.
    Beginning,
    /// Behind the newest record, at some moment soon after the read was started: who needs to know which asks
    /// [`Log::offsets`] first and starts there.
    End,
    /// That offset; where it is not there any more (deleted, or the topic was made anew), the oldest record that is.
    Offset(i64),
    /// The first record whose timestamp (ms since 1970) is not older.
    Timestamp(i64),
}

/// Records in the order of their partitions, as one hand-over.
#[derive(Debug, Default)]
pub struct ReadBatch {
    /// At most a few hundred records.
    pub records: Vec<InRecord>,
}

/// A running read. Dropping it ends the engine's side.
pub struct Reader {
    /// Batches; bounded, so that a slow consumer pauses the fetch instead of filling memory. Closed when the reader
    /// cannot go on (its reason is logged).
    pub batches: tokio::sync::mpsc::Receiver<ReadBatch>,
    /// Keeps the engine's side alive.
    pub guard: Box<dyn Send + Sync>,
}

/// A topic as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicState {
    /// Name with prefix.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of partition 0; 1 for engines without replication.
    pub replication: i32,
    /// Settings that differ from the log's defaults, by name.
    pub config: BTreeMap<String, String>,
}

/// First and next offset of each partition of a topic, by partition.
pub type Offsets = Vec<(i64, i64)>;

/// One engine. Shared by all actors; every call is bounded in time by the engine (30 s at most).
pub trait Log: Send + Sync + 'static {
    /// Gives back what another owner would need: called once nothing more is to be written. Readers and producers of this
    /// log are at their end then. An engine that owns nothing has nothing to do.
    fn close(&self) {}
    /// `kafka`, `embedded`, `memory`.
    fn engine(&self) -> &'static str;
    /// Where it is, for messages to people: the bootstrap servers, a directory.
    fn location(&self) -> String;
    /// A new producer. Several may be open; each is gapless for itself.
    fn producer(&self) -> Result<Arc<dyn Producer>, LogError>;
    /// Starts a read of the given partitions, on a thread or task of its own. Fetch memory is bounded by configuration.
    fn read(&self, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError>;
    /// Everything that stands in a small topic now (checkpoints), partition by partition.
    fn read_all<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Vec<InRecord>, LogError>>;
    /// The topics that exist, of those named; with their settings.
    fn describe<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<TopicState>, LogError>>;
    /// The names of all topics that exist.
    fn list<'a>(&'a self) -> BoxFuture<'a, Result<Vec<String>, LogError>>;
    /// Creates a topic; that it exists already is success.
    fn create<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<(), LogError>>;
    /// Creates topics; engines that can, in one request. That one exists already is success. On an error some may have been
    /// created.
    fn create_all<'a>(&'a self, specs: &'a [TopicSpec]) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            for spec in specs {
                self.create(spec).await?;
            }
            Ok(())
        })
    }
    /// First and next offset of each partition.
    fn offsets<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Offsets, LogError>>;
}
