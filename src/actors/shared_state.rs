//! Folds the topics into the store. The store's only writer: a read never shows what is not durable.
//!
//! The positions live in the store, so a new life goes on where the last one stopped, in the middle of a batch if need be.

use super::rt::{self, Context, Worker};
use super::watcher::{Repair, Watcher};
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::log::{Log, ReadBatch, Reader, Start};
use crate::messages::life::Drained;
use crate::domain::target::Target;
use crate::observe::board::Board;
use crate::observe::metrics::{KindReason, Metrics};
use crate::store::Store;
use actix::prelude::{ActorContext as _, Addr, AsyncContext as _, ResponseActFuture, StreamHandler};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A watcher's address, and what it covers.
pub type WatcherAddress = (Target, Addr<Watcher>);

/// What the wiring lends.
#[derive(Clone)]
pub struct Lent {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Arc<Store>,
    /// What to read: topic and partition, with where to begin when the store has no position for it.
    pub partitions: Arc<Vec<(Arc<str>, i32, Start)>>,
    /// Topics whose every partition carries our writer marker.
    pub marked: Arc<Vec<(Arc<str>, i32)>>,
    /// Our epoch.
    pub writer_epoch: u64,
    /// Set once our own markers have been read in every partition.
    pub folded: watch::Sender<bool>,
    /// Where repairs go; filled when the watchers are wired.
    pub watchers: Arc<OnceLock<Vec<WatcherAddress>>>,
    /// Told when a writer with a higher epoch has taken over.
    pub superseded: Arc<dyn Fn(u64) + Send + Sync>,
    /// The board.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// The actor.
pub struct SharedState {
    lent: Lent,
    /// Keeps the engine's side of the read alive.
    reading: Option<Box<dyn Send + Sync>>,
    draining: bool,
}

rt::worker!(SharedState);

/// A log that cannot be read now is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl SharedState {
    /// A fold at the beginning of its life.
    pub fn new(lent: Lent) -> Self {
        Self { lent, reading: None, draining: false }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let positions = self.lent.store.positions();
        let from = self.lent.partitions.iter().map(|(topic, partition, start)| {
            let known = positions.get(&(topic.clone(), *partition)).map(|next| Start::Offset(*next));
            (topic.clone(), *partition, known.unwrap_or(*start))
        });
        match self.lent.log.read(from.collect()) {
            Ok(Reader { batches, guard }) => {
                self.lent.board.degrade("state", None);
                self.reading = Some(guard);
                ctx.feed(batches);
            }
            Err(e) => {
                if self.lent.board.degrade("state", Some(e.to_string())) {
                    tracing::warn!(error = %e, "the topics cannot be read; retrying");
                }
                ctx.run_later(RETRY, |this, ctx| this.read(ctx));
            }
        }
    }

    fn repair(&self, shadowed: Vec<(Kind, Name)>) {
        // Before the fold is complete nobody listens: the watchers take the shadowed keys over with the rest.
        let (true, Some(watchers)) = (*self.lent.folded.borrow(), self.lent.watchers.get()) else { return };
        for (kind, at) in shadowed {
            tracing::warn!(%kind, namespace = %at.namespace, name = %at.name, "a dead writer's record stands behind ours; writing again");
            if let Some((_, watcher)) = watchers.iter().find(|(target, _)| target.kind == kind && target.covers(&at)) {
                rt::tell(watcher, Repair { at });
            }
        }
    }

    fn look_for_markers(&self) {
        if *self.lent.folded.borrow() {
            return;
        }
        let epochs = self.lent.store.epochs();
        let done =
            self.lent.marked.iter().all(|at| epochs.get(at).is_some_and(|epoch| *epoch >= self.lent.writer_epoch));
        if done {
            tracing::info!(objects = self.lent.store.len(), "the fold is complete");
            self.lent.board.folded.store(true, Ordering::Release);
            self.lent.board.set_state("running");
            self.lent.folded.send_replace(true);
        }
    }
}

impl Worker for SharedState {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.read(ctx);
        self.look_for_markers();
    }

    fn drain(&mut self, _: Instant, _: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.draining = true;
        self.reading = None;
        rt::drained(0)
    }
}

impl StreamHandler<ReadBatch> for SharedState {
    fn handle(&mut self, batch: ReadBatch, _: &mut Context<Self>) {
        let applied = self.lent.store.apply(&batch.records);
        for (reason, n) in applied.counts() {
            if n > 0 {
                let labels = KindReason { kind: String::new(), reason: reason.into() };
                self.lent.metrics.fold_records.get_or_create(&labels).inc_by(n);
            }
        }
        for (at, why) in &applied.foreign {
            tracing::warn!(at, %why, "a record that is not ours is skipped");
        }
        if let Some(epoch) = applied.superseded.filter(|epoch| *epoch > self.lent.writer_epoch) {
            (self.lent.superseded)(epoch);
        }
        if !applied.markers.is_empty() {
            self.look_for_markers();
        }
        self.repair(applied.shadowed);
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        if !self.draining {
            ctx.stop();
        }
    }
}
