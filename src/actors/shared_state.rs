//! Folds the topics into the store. The store's only writer: a read never shows what is not durable.
//!
//! The positions live in the store, so a new life goes on where the last one stopped, in the middle of a batch if need be.

use super::following::{Follow, Following};
use super::rt::{self, Context, Worker};
use super::watcher::{Repair, Watcher};
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::target::Target;
use crate::log::{Log, ReadBatch, Reader, Start};
use crate::messages::life::Drained;
use crate::observe::board::Board;
use crate::observe::clock;
use crate::observe::metrics::{FoldResult, Metrics};
use crate::store::Store;
use actix::prelude::{ActorContext as _, Addr, AsyncContext as _, Handler, ResponseActFuture, StreamHandler};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The watchers' addresses, and what each covers.
pub type Watchers = Arc<Mutex<Vec<(Target, Addr<Watcher>)>>>;

/// What the wiring lends.
#[derive(Clone)]
pub struct Lent {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Arc<Store>,
    /// What to read. Each partition carries our writer marker: when those of a cohort have been read, what earlier writers
    /// wrote there is complete.
    pub following: Arc<Following>,
    /// Our epoch.
    pub writer_epoch: u64,
    /// Where repairs go; filled when the watchers are wired.
    pub watchers: Watchers,
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
    /// Reads that were given up for one of more partitions and have not said yet that they ended.
    replaced: u32,
    draining: bool,
}

rt::worker!(SharedState);

/// Kubernetes Events are kept by time; a few seconds more do not matter.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);
/// A log that cannot be read now is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl SharedState {
    /// A fold at the beginning of its life.
    pub fn new(lent: Lent) -> Self {
        Self { lent, reading: None, replaced: 0, draining: false }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let positions = self.lent.store.positions();
        let known: HashMap<_, i64> = positions.iter().map(|p| ((&*p.topic, p.partition), p.next)).collect();
        let from = self.lent.following.partitions().into_iter().map(|(topic, partition, start)| {
            let start = known.get(&(&*topic, partition)).map_or(start, |next| Start::Offset(*next));
            (topic, partition, start)
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
        if shadowed.is_empty() || !self.is_folded() {
            return;
        }
        let watchers = self.lent.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, at) in shadowed {
            tracing::warn!(%kind, namespace = %at.namespace, name = %at.name, "a dead writer's record stands behind ours; writing again");
            if let Some((_, watcher)) = watchers.iter().find(|(target, _)| target.kind == kind && target.covers(&at)) {
                rt::tell(watcher, Repair { at });
            }
        }
    }

    /// Whether what stood in the log when the process started is complete.
    fn is_folded(&self) -> bool {
        self.lent.board.folded.load(Ordering::Acquire)
    }

    fn look_for_markers(&self) {
        let waiting = self.lent.following.unfolded();
        if waiting.is_empty() {
            return;
        }
        let positions = self.lent.store.positions();
        let marked = positions.iter().filter(|p| p.epoch >= self.lent.writer_epoch);
        let marked: HashSet<(&str, i32)> = marked.map(|p| (&*p.topic, p.partition)).collect();
        for cohort in waiting {
            let mut partitions = cohort.partitions.iter();
            if partitions.all(|(topic, partition, _)| marked.contains(&(&**topic, *partition))) {
                cohort.kinds.iter().for_each(|kind| self.lent.store.complete(kind));
                if cohort.is_first {
                    tracing::info!("the fold is complete");
                    self.lent.board.folded.store(true, Ordering::Release);
                    self.lent.board.set_state("running");
                }
                cohort.folded.send_replace(true);
            }
        }
    }
}

impl Worker for SharedState {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.read(ctx);
        self.look_for_markers();
        ctx.run_interval(EXPIRE_EVERY, |this, _| {
            this.lent.store.expire_events(clock::wall_ms());
        });
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
        let counts = [
            ("live", applied.live),
            ("removed", applied.removed),
            ("void", applied.void),
            ("foreign", applied.foreign),
            ("repeated", applied.repeated),
        ];
        for (result, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
            self.lent.metrics.fold_records.get_or_create(&FoldResult { result: result.into() }).inc_by(n as u64);
        }
        let oldest = batch.records.iter().map(|record| record.timestamp_ms).filter(|at| *at >= 0).min();
        let age = oldest.filter(|_| self.is_folded()).map(|at| clock::wall_ms() - at);
        self.lent.board.fold.folded(batch.records.len() as u64, age);
        if applied.foreign > 0 {
            tracing::warn!(records = applied.foreign, "records on our topics that are not ours are skipped");
        }
        if let Some(epoch) = applied.superseded {
            (self.lent.superseded)(epoch);
        }
        if !applied.markers.is_empty() {
            self.look_for_markers();
        }
        self.repair(applied.shadowed);
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        if self.replaced > 0 {
            self.replaced -= 1;
        } else if !self.draining {
            ctx.stop();
        }
    }
}

/// There is more to read: from where the store stands, all of it anew. What the given-up read still brings is applied, or
/// skipped as applied before.
impl Handler<Follow> for SharedState {
    type Result = ();

    fn handle(&mut self, _: Follow, ctx: &mut Context<Self>) {
        // Without a read under way one is due already.
        if self.reading.take().is_some() && !self.draining {
            self.replaced += 1;
            self.read(ctx);
            self.look_for_markers();
        }
    }
}
