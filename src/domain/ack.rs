//! Proof of durability: who is told, exactly once, what became of a record.
//!
//! A record travels with an [`AckToken`]. Only the log's delivery report may ack it; a token that is dropped on the way
//! (a panic, a lost mailbox, a purged queue, a dead thread) settles itself as [`Outcome::Dropped`]. So nothing can be
//! forgotten by construction: there is no path on which a token disappears in silence.

use std::sync::Arc;

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable: acknowledged with acks=all. Where it stands in the log.
    Acked {
        /// Partition it was written to.
        partition: i32,
        /// Offset it was written at; -1 where the engine cannot say (Kafka, when a first try had been written unseen).
        offset: i64,
    },
    /// The log refused it or gave up on it; the text is the engine's own.
    Failed(String),
    /// The token was dropped before anyone could say: nobody knows whether it was written.
    Dropped,
}

/// Takes the outcomes of the records it handed out. Called from the log's delivery thread: short, lock-light, no panics.
pub trait AckSink: Send + Sync + 'static {
    /// Called exactly once for each token handed out.
    fn settle(&self, seq: u64, generation: u64, outcome: Outcome);
    /// Whether sends of `generation` may still reach the log; a publisher refuses the tokens of an old one.
    fn is_current(&self, generation: u64) -> bool;
}

/// One record's receipt. Dropping it is a nack.
pub struct AckToken {
    sink: Option<Arc<dyn AckSink>>,
    seq: u64,
    generation: u64,
}

impl AckToken {
    /// A token for record `seq` of `sink`, valid in `generation`.
    pub fn new(sink: Arc<dyn AckSink>, seq: u64, generation: u64) -> Self {
        Self { sink: Some(sink), seq, generation }
    }

    /// Whether the record may still be written: false once its lane has moved to a newer generation.
    pub fn is_current(&self) -> bool {
        self.sink.as_ref().is_some_and(|s| s.is_current(self.generation))
    }

    /// Position of the record within its lane.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Settles the token. Only a delivery report may pass [`Outcome::Acked`].
    pub fn settle(mut self, outcome: Outcome) {
        if let Some(sink) = self.sink.take() {
            sink.settle(self.seq, self.generation, outcome);
        }
    }
}

impl Drop for AckToken {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.settle(self.seq, self.generation, Outcome::Dropped);
        }
    }
}

impl std::fmt::Debug for AckToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AckToken({}@{})", self.seq, self.generation)
    }
}
