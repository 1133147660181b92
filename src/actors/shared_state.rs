//! Folds the topics into the store. The store's only writer: a read never shows what is not durable.
//!
//! A start begins with the saved fold, where there is one that may be used, and reads the tail behind it; while it runs the
//! fold is saved now and then, and at its end, by threads that neither it nor a query waits for.
//!
//! The positions live in the store, so a new life goes on where the last one stopped, in the middle of a batch if need be.

use super::checkpoints::Checkpoints;
use super::following::{Follow, Following};
use super::rt::{self, Context, Worker};
use super::watcher::{Repair, Watcher};
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::log::{Log, ReadBatch, Reader, Start};
use crate::messages::life::Drained;
use crate::observe::board::Board;
use crate::observe::clock;
use crate::observe::metrics::{FoldResult, Metrics};
use crate::store::{Loaded, SavedFold, Store, Written};
use actix::prelude::{
    ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Handler, ResponseActFuture, StreamHandler,
    WrapFuture as _,
};
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
    /// Where the fold is saved, if it is.
    pub saved: Option<Arc<Saving>>,
    /// What is durable of each watcher: a resume from there brings back who died later.
    pub checkpoints: Arc<Checkpoints>,
    /// The board.
    pub board: Arc<Board>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// How the fold is saved.
pub struct Saving {
    /// The files.
    pub fold: SavedFold,
    /// How often.
    pub every: Duration,
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
/// Who sends older records once more sends the newer ones next: long before this, unless he was killed.
const OVERTAKEN: Duration = Duration::from_secs(5);

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

    /// Begins with what was saved, kind by kind; then the tail is read. Another life may have done so.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        let Some(saved) = self.lent.saved.clone() else { return self.read(ctx) };
        let (log, store, io) = (self.lent.log.clone(), self.lent.store.clone(), ctx.io().clone());
        let load = async move {
            for kind in store.kinds() {
                let Some(topic) = store.topic(&kind) else { continue };
                let bounds = match log.offsets(&topic).await {
                    Ok(bounds) => bounds,
                    Err(error) => {
                        tracing::warn!(%kind, %error, "the saved fold cannot be compared with the log; reading it whole");
                        continue;
                    }
                };
                let (of, saved, store) = (kind.clone(), saved.clone(), store.clone());
                #[allow(clippy::disallowed_methods)] // awaited right here
                let loaded = io.spawn_blocking(move || saved.fold.load(&store, &of, &bounds, clock::wall_ms())).await;
                match loaded {
                    Ok(Loaded::Nothing) => {}
                    Ok(Loaded::Rows(rows)) => tracing::info!(%kind, rows, "taken from the saved fold"),
                    Ok(Loaded::Ignored(why)) => {
                        tracing::warn!(%kind, why, "the saved fold is not used; the log is read whole");
                    }
                    Err(error) => tracing::error!(%kind, %error, "the saved fold could not be read"),
                }
            }
        };
        ctx.spawn(load.into_actor(self).map(|(), this, ctx| this.read(ctx)));
    }

    /// Saves on a thread of its own; gives what to wait for.
    fn save(&self, ctx: &Context<Self>) -> impl Future<Output = ()> + 'static {
        let (lent, io) = (self.lent.clone(), ctx.io().clone());
        async move {
            let Some(saved) = lent.saved.clone() else { return };
            let store = lent.store.clone();
            #[allow(clippy::disallowed_methods)] // awaited right here
            let written = io.spawn_blocking(move || saved.fold.save(&store, clock::wall_ms())).await;
            let written = written.unwrap_or_else(|e| Written {
                failures: vec![("the saved fold".to_owned(), e.to_string())],
                ..Written::default()
            });
            let Written { kinds, rows, bytes, failures } = &written;
            if *kinds > 0 {
                tracing::debug!(kinds, rows, bytes, "the fold is saved");
            }
            lent.metrics.fold_save_failures.inc_by(failures.len() as u64);
            let trouble = written.trouble();
            // What did not need to be written says nothing about the disk.
            if (trouble.is_some() || *kinds > 0) && lent.board.degrade("the saved fold", trouble.clone()) {
                // A cache: without it a start takes longer, and nothing else.
                if let Some(why) = trouble {
                    let kinds = failures.len();
                    tracing::warn!(why, kinds, "what cannot be saved of the fold the next start reads from the log");
                }
            }
        }
    }

    /// Forgets who died before what is durable of their watcher: no resume can bring them back. Also while the log is read at
    /// the start, by the checkpoint that is resumed from: else a day of deaths would be held until capture has buried them.
    /// What a producer wrote again of such a one was repaired before that checkpoint.
    fn forget_dead(&self) {
        let watchers = self.lent.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let durable: Vec<_> = watchers
            .iter()
            .filter_map(|(target, _)| {
                let checkpoint = self.lent.checkpoints.durable(&target.id())?;
                Some((target, checkpoint.history_epoch, Rv::new(checkpoint.rv.as_deref()?)))
            })
            .collect();
        for kind in self.lent.store.kinds() {
            self.lent.store.forget_dead(&kind, |at, death| {
                durable.iter().any(|(target, history_epoch, rv)| {
                    target.kind == kind && target.covers(at) && (death.history_epoch, &death.rv) <= (*history_epoch, rv)
                })
            });
        }
    }

    /// Repairs what was overtaken and has stayed so.
    fn look_at_overtaken(&self, overtaken: Vec<(Kind, Name)>, ctx: &mut Context<Self>) {
        if overtaken.is_empty() {
            return;
        }
        ctx.run_later(OVERTAKEN, move |this, _| {
            let stayed = overtaken.into_iter().filter(|(kind, at)| this.lent.store.is_shadowed(kind, at));
            this.repair(stayed.collect());
        });
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
        self.begin(ctx);
        self.look_for_markers();
        ctx.run_interval(EXPIRE_EVERY, |this, _| {
            this.lent.store.expire_events(clock::wall_ms());
            this.forget_dead();
        });
        if let Some(saved) = &self.lent.saved {
            ctx.run_interval(saved.every, |this, ctx| {
                let saved = this.save(ctx);
                ctx.spawn(saved.into_actor(this));
            });
        }
    }

    /// Everything else has drained: what was folded is saved, as far as there is time. Nothing is lost without.
    fn drain(&mut self, deadline: Instant, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.draining = true;
        self.reading = None;
        self.forget_dead();
        let saved = tokio::time::timeout_at(deadline, self.save(ctx));
        Box::pin(saved.into_actor(self).map(|_, _, _| Drained { left: 0 }))
    }
}

impl StreamHandler<ReadBatch> for SharedState {
    fn handle(&mut self, batch: ReadBatch, ctx: &mut Context<Self>) {
        let applied = self.lent.store.apply(&batch.records);
        let counts = [
            ("live", applied.live),
            ("removed", applied.removed),
            ("void", applied.void),
            ("stale", applied.stale),
            ("foreign", applied.foreign),
            ("repeated", applied.repeated),
        ];
        for (result, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
            self.lent.metrics.fold_records.get_or_create(&FoldResult { result: result.into() }).inc_by(n as u64);
        }
        let oldest = batch.records.iter().map(|record| record.timestamp_ms).filter(|at| *at >= 0).min();
        let age = oldest.filter(|_| self.is_folded()).map(|at| clock::wall_ms() - at);
        self.lent.board.fold.folded(batch.records.len() as u64, age);
        if let Some(age) = age {
            self.lent.metrics.fold_age_seconds.observe(age.max(0) as f64 / 1000.0);
        }
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
        self.look_at_overtaken(applied.overtaken, ctx);
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
            // A kind that appeared may have been here in an earlier life.
            self.begin(ctx);
            self.look_for_markers();
        }
    }
}
