//! Reads the lasting copies of the gaps, from the beginning, so that questions about them need no log.

use super::rt::{self, Context, Worker};
use crate::domain::gap::Lasting as Gap;
use crate::log::{Log, ReadBatch, Reader, Start};
use crate::messages::life::Drained;
use crate::observe::board::Board;
use crate::observe::metrics::{KindReason, Metrics};
use actix::prelude::{ActorContext as _, AsyncContext as _, ResponseActFuture, StreamHandler};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What the wiring lends.
#[derive(Clone)]
pub struct Lent {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The topic, with prefix; it has one partition.
    pub topic: Arc<str>,
    /// Whose gaps.
    pub cluster: String,
    /// Ours: only what this process declared is counted.
    pub writer_epoch: u64,
    /// Where they are kept.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Offset of the next record, over all lives.
    pub next: Arc<AtomicI64>,
}

/// The actor.
pub struct GapReader {
    lent: Lent,
    /// Keeps the engine's side of the read alive.
    reading: Option<Box<dyn Send + Sync>>,
    draining: bool,
}

rt::worker!(GapReader);

/// A log that cannot be read now is asked again.
const RETRY: Duration = Duration::from_secs(5);

impl GapReader {
    /// A reader at the beginning of its life.
    pub fn new(lent: Lent) -> Self {
        Self { lent, reading: None, draining: false }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let start = match self.lent.next.load(Ordering::Relaxed) {
            0 => Start::Beginning,
            next => Start::Offset(next),
        };
        match self.lent.log.read(vec![(self.lent.topic.clone(), 0, start)]) {
            Ok(Reader { batches, guard }) => {
                self.lent.board.degrade("gaps", None);
                self.reading = Some(guard);
                ctx.feed(batches);
            }
            Err(e) => {
                if self.lent.board.degrade("gaps", Some(e.to_string())) {
                    tracing::warn!(error = %e, topic = %self.lent.topic, "the gaps cannot be read; retrying");
                }
                ctx.run_later(RETRY, |this, ctx| this.read(ctx));
            }
        }
    }
}

impl Worker for GapReader {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.read(ctx);
    }

    fn drain(&mut self, _: Instant, _: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.draining = true;
        self.reading = None;
        rt::drained(0)
    }
}

impl StreamHandler<ReadBatch> for GapReader {
    fn handle(&mut self, batch: ReadBatch, _: &mut Context<Self>) {
        for record in batch.records {
            if record.offset < self.lent.next.load(Ordering::Relaxed) {
                continue;
            }
            self.lent.next.store(record.offset + 1, Ordering::Relaxed);
            // What is not ours to read is left alone: markers, other clusters, foreign records.
            let gap = record.value.as_deref().and_then(|value| serde_json::from_slice::<Gap>(value).ok());
            let Some(gap) = gap.filter(|gap| gap.cluster == self.lent.cluster) else { continue };
            if gap.writer_epoch == self.lent.writer_epoch {
                let labels = KindReason { kind: gap.kind.clone(), reason: gap.reason.clone() };
                self.lent.metrics.gaps.get_or_create(&labels).inc();
            }
            self.lent.board.gaps.note(gap);
        }
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        if !self.draining {
            ctx.stop();
        }
    }
}
