//! How a kind gets its watchers: the same steps at the start of the process and when a kind appears while it runs.
//!
//! At the start topics are there and marked (`bringup`), and the actors become part of the tree before it runs. Later on, in
//! this order, so that a failure at any step leaves nothing that a second try trips over:
//! 1. topics, all in one request;
//! 2. a table in the store, which answers nothing yet;
//! 3. our writer markers, as the first records of the kind's lane;
//! 4. the partitions are read by the fold and the stream processor;
//! 5. the watchers join the tree. They hand over the markers, and begin to watch when the fold has read them.

use super::Shared;
use super::bringup::{self, Up};
use crate::actors::checkpoints::Checkpoints;
use crate::actors::following::{Cohort, Follow, Following};
use crate::actors::gone::{Going, LetGo};
use crate::actors::overlay::Overlay;
use crate::actors::publisher::{ProducerSlot, Publisher};
use crate::actors::pump;
use crate::actors::restore::Siblings;
use crate::actors::rt::{self, Arbiters, ChildSpec, Place, SupervisorHandle};
use crate::actors::shared_state::{self, SharedState};
use crate::actors::stream_processor::{Positions, StreamProcessor};
use crate::actors::watcher::{self, Watcher};
use crate::domain::checkpoint::{Checkpoint, Memory, writer_marker};
use crate::domain::envelope::Writer;
use crate::domain::kind::Kind;
use crate::domain::lane::{Lane, Limits};
use crate::domain::record::OutRecord;
use crate::domain::redact::{Policy, Redactor};
use crate::domain::restart::Backoff;
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::domain::topic::TopicSpec;
use crate::domain::watch::{Config, Point, Rebase};
use crate::kubernetes::driver::{self, Deadlines};
use crate::log::Start;
use crate::observe::board::WatcherRow;
use crate::observe::clock;
use crate::settings::{Scope, Settings, WATCHES_A_KIND};
use crate::store::Store;
use actix::prelude::Addr;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Mailbox sizes are advice to actix; the real bounds are the lanes' windows, the reader's channel and the client's
/// semaphore. 16: a few batches of each lane, and control.
pub(super) const MAILBOX: usize = 16;
/// Lists at a time, so that a restart of all kinds does not take the API server down.
const SNAPSHOTS: usize = 2;
/// The group of the tree that the watchers are in.
pub(super) const GROUP: &str = "watch";
/// What a kind that goes has still to write is in the log within this, or it is waited for until the next look.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Everything that watchers are wired with.
pub(super) struct Watchers {
    pub settings: Settings,
    pub shared: Shared,
    pub ends: super::Ends,
    pub cluster: String,
    pub writer_epoch: u64,
    pub memory: Memory,
    /// For what has to stand in the log before a watcher writes.
    pub producer: Arc<ProducerSlot>,
    pub base: Base,
    /// Once the tree is there.
    pub supervisor: OnceLock<SupervisorHandle>,
    /// Pods, which are most of the changes; and all others. Two threads, however many kinds there are.
    places: (Place, Place),
    policy: Arc<Policy>,
    /// Lists at a time; the auditor's are among them.
    pub snapshots: Arc<Semaphore>,
    /// See [`frame_budgets`].
    frame_budgets: (usize, usize),
    topics: Mutex<Vec<TopicSpec>>,
    /// What watchers were lent, also those that are stopped: one that comes back goes on with it.
    lent: Mutex<BTreeMap<String, Arc<watcher::Lent>>>,
    running: Mutex<BTreeMap<String, Running>>,
}

/// A watcher of the tree: its address, and what it is lent.
type Running = (Addr<Watcher>, Arc<watcher::Lent>);

/// A watcher, ready to join the tree.
pub(super) struct Wired {
    pub spec: ChildSpec,
    pub row: Arc<WatcherRow>,
}

/// What is there before the first watcher is wired, and what all of them work with.
pub(super) struct Base {
    pub store: Arc<Store>,
    pub checkpoints: Arc<Checkpoints>,
    pub following: Arc<Following>,
    pub publisher: Addr<Publisher>,
    /// Who covers what, for the fold's repairs.
    pub addresses: shared_state::Watchers,
    /// The lane of the stream processor, which shares the budget of all lanes.
    pub stream_lane: Arc<Lane<Arc<Positions>>>,
    pub readers: (Addr<SharedState>, Addr<StreamProcessor>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a lane may hold when there are so many: none more than its own bound, all of them no more than theirs.
pub(super) fn limits(settings: &Settings, lanes: usize) -> Limits {
    Limits {
        bytes: settings.publisher.lane_bytes.min(settings.publisher.all_lanes_bytes / lanes.max(1)),
        records: settings.publisher.lane_events,
    }
}

/// The bytes that one watcher may have read and not digested, of the budget of all: those that the process starts with, and
/// those that come later. Where kinds may appear, half of it is kept for as many as there may be: a share once given cannot
/// be taken back from a read that waits for it.
fn frame_budgets(settings: &Settings, at_start: usize) -> (usize, usize) {
    if !settings.watch.needs_discovery() {
        // All that there may be are known, also those that wait for their topic.
        let share = driver::FRAME_BUDGET / settings.watch.targets(&settings.watch.captured()).len().max(1);
        return (share, share);
    }
    let at_start = at_start.max(1);
    let namespaces = match settings.watch.scope() {
        Scope::Namespaces(names) if names.len() <= WATCHES_A_KIND => names.len(),
        _ => 1,
    };
    let later = settings.watch.max_kinds.max(1) * namespaces;
    (driver::FRAME_BUDGET / 2 / at_start, driver::FRAME_BUDGET / 2 / later)
}

impl Watchers {
    pub(super) fn new(settings: &Settings, shared: &Shared, up: &Up, base: Base, arbiters: &mut Arbiters) -> Arc<Self> {
        let at_start = settings.watch.targets(&up.kinds).len();
        Arc::new(Self {
            settings: settings.clone(),
            shared: shared.clone(),
            ends: up.ends.clone(),
            cluster: settings.cluster.name.clone().unwrap_or_default(),
            writer_epoch: up.writer_epoch,
            memory: up.memory.clone(),
            producer: up.producer.clone(),
            base,
            supervisor: OnceLock::new(),
            places: (arbiters.place("watch-0"), arbiters.place("watch-1")),
            policy: shared.policy.clone(),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            frame_budgets: frame_budgets(settings, at_start),
            topics: Mutex::new(up.topics.clone()),
            lent: Mutex::default(),
            running: Mutex::default(),
        })
    }

    fn named(&self, name: &str) -> Arc<str> {
        format!("{}{name}", self.settings.topics.prefix).into()
    }

    /// The watchers that the process starts with: their topics are there and marked.
    pub(super) fn at_start(&self, kinds: &[Kind], cohort: &Cohort) -> Vec<Wired> {
        let wired = kinds.iter().flat_map(|kind| self.wire_kind(kind, &cohort.subscribe(), self.frame_budgets.0));
        let wired: Vec<Wired> = wired.collect();
        self.share_lanes();
        wired
    }

    fn wire_kind(&self, kind: &Kind, folded: &watch::Receiver<bool>, frame_budget: usize) -> Vec<Wired> {
        let targets = self.settings.watch.targets_of(kind);
        if let Some(in_vain) = self.settings.watch.namespaces_in_vain(kind) {
            tracing::warn!("{in_vain}");
        }
        // In another scope it has other watchers: what those of before knew is not gone on with, should they come back.
        lock(&self.lent).retain(|id, lent| lent.target.kind != *kind || targets.iter().any(|t| t.id() == *id));
        let siblings = Arc::new(Siblings::new(targets.clone()));
        targets.iter().map(|target| self.wire(target, folded.clone(), &siblings, frame_budget)).collect()
    }

    /// One watcher. One that was there before goes on with what it had: index, position, lane; of a kind that was defined
    /// anew, as another, no position.
    fn wire(
        &self,
        target: &Target,
        folded: watch::Receiver<bool>,
        siblings: &Arc<Siblings>,
        frame_budget: usize,
    ) -> Wired {
        let id = target.id();
        let before = lock(&self.lent).get(&id).cloned();
        let same = before.clone().filter(|lent| lent.target.kind.is_identical(&target.kind));
        let lent = same.unwrap_or_else(|| {
            let lent = Arc::new(self.lend(target, folded, siblings, frame_budget, before.as_deref()));
            lock(&self.lent).insert(id.clone(), lent.clone());
            lent
        });
        let place = if target.kind.id() == "pods" { &self.places.0 } else { &self.places.1 };
        let (row, to_publisher, seed) = (lent.row.clone(), self.base.publisher.clone(), lent.clone());
        let (spec, addr): (ChildSpec, Addr<Watcher>) =
            ChildSpec::new(format!("watcher/{id}"), place, MAILBOX, move || {
                Watcher::new(seed.clone(), to_publisher.clone())
            });
        lock(&self.base.addresses).push((target.clone(), addr.clone()));
        lock(&self.running).insert(id, (addr, lent));
        let supervision = &self.settings.supervision;
        let backoff = Backoff { min: supervision.backoff_min, max: supervision.backoff_max, ..Backoff::default() };
        let drain = supervision.shutdown_deadline.mul_f64(0.5);
        Wired { spec: spec.hang_limit(supervision.hang_limit).shutdown(drain).backoff(backoff), row }
    }

    fn lend(
        &self,
        target: &Target,
        folded: watch::Receiver<bool>,
        siblings: &Arc<Siblings>,
        frame_budget: usize,
        before: Option<&watcher::Lent>,
    ) -> watcher::Lent {
        let (settings, kind, id) = (&self.settings, target.kind.clone(), target.id());
        let topic = self.named(&kind.topic());
        let is_another = before.is_some_and(|before| !before.target.kind.may_be_one_definition(&kind));
        let mut capture = before.and_then(|before| lock(&before.capture).take());
        if let Some(capture) = capture.as_mut().filter(|capture| is_another && !capture.position.is_empty()) {
            // No watch leads from the objects of the one definition to those of the other: a list does, behind a gap.
            (capture.position, capture.no_checkpoint) = (Rv::default(), true);
        }
        let resume = self.memory.checkpoints.get(&id);
        let resume_from = resume.map_or_else(Point::default, |c| Point {
            history_epoch: c.history_epoch,
            rv: Rv::new(c.rv.as_deref().filter(|_| !is_another).unwrap_or_default()),
        });
        let partitions = self.topic(&topic).map_or(1, |spec| spec.partitions);
        let writer = Writer::new(kind.clone(), topic.clone(), partitions, &self.cluster, self.writer_epoch);
        let (lane, bell) = before.map_or_else(
            || {
                let bell = Arc::new(Notify::new());
                let ring = bell.clone();
                (Lane::new(limits(settings, 1), move || ring.notify_one()), bell)
            },
            |before| (before.lane.clone(), before.bell.clone()),
        );
        let blank = Checkpoint {
            scope_hash: target.scope_hash(),
            policy_hash: self.policy.hash(&kind),
            ..self.checkpoint(&id, Positions::new())
        };
        let vouched = self.memory.redacted_by(&kind.id(), &blank.policy_hash, &target.whole().scope_hash());
        let rebase = self.memory.rebase(&id, &blank.scope_hash, &blank.policy_hash).map(|reason| Rebase { reason });
        let at = lane.clone();
        self.base.checkpoints.set(&id, move || {
            let Point { history_epoch, rv } = at.watermark()?;
            // Behind a rewind there is no version to go on from until a list is complete.
            let rv = (!rv.is_empty()).then(|| rv.as_str().to_owned());
            // Without one everything is written anew, and until then nobody knows what stands in the log.
            let policy_hash = rv.as_ref().map_or_else(String::new, |_| blank.policy_hash.clone());
            Some(Checkpoint { rv, history_epoch, policy_hash, ..blank.clone() })
        });
        let redaction = (kind, self.policy.clone());
        watcher::Lent {
            target: target.clone(),
            capture: Mutex::new(capture),
            overlay: Mutex::new(Overlay::new(limits(settings, 1).bytes / 2)),
            row: WatcherRow::new(target.clone(), lane.clone()),
            lane,
            bell,
            writer,
            redactor: Box::new(move || Redactor::new(redaction.0.clone(), redaction.1.clone())),
            config: Config {
                page_size: settings.watch.page_size,
                poll_interval: settings.watch.poll_interval,
                max_line: settings.watch.max_frame_bytes,
                max_page: settings.watch.max_page_bytes,
                max_record: self.record_limit(&topic),
                list: settings.watch.list,
                selected: !target.selectors.is_empty(),
                only: target.only.clone(),
                ..Config::default()
            },
            batch: (settings.publisher.batch_events, settings.publisher.batch_bytes),
            store: self.base.store.clone(),
            folded,
            siblings: siblings.clone(),
            rebase,
            vouched,
            resume_from,
            io: driver::Shared {
                api: self.ends.api.clone(),
                frames: Arc::new(Semaphore::new(frame_budget)),
                frame_budget,
                snapshots: self.snapshots.clone(),
                deadlines: Deadlines::default().hurried(clock::pace()),
            },
            metrics: self.shared.metrics.clone(),
        }
    }

    /// A checkpoint without a version.
    fn checkpoint(&self, owner: &str, positions: Positions) -> Checkpoint {
        checkpoint(&self.cluster, &self.ends.cluster_uid, owner, positions)
    }

    fn topic(&self, name: &str) -> Option<TopicSpec> {
        lock(&self.topics).iter().find(|spec| spec.name == name).cloned()
    }

    /// The largest record that the topic takes: ours, or the topic's own limit if that is lower. 1 KiB is left for the
    /// framing that the broker counts too.
    fn record_limit(&self, topic: &str) -> usize {
        let own = self.topic(topic).and_then(|spec| spec.config.get(bringup::MAX_MESSAGE)?.parse().ok());
        self.settings.publisher.max_record_bytes.min(own.unwrap_or(usize::MAX)).saturating_sub(1024)
    }

    /// Every lane gets its share of what all may hold: with each that comes or goes it is another one.
    fn share_lanes(&self) {
        let running = lock(&self.running);
        let limits = limits(&self.settings, running.len() + 1);
        for (_, lent) in running.values() {
            lent.lane.set_limits(limits);
            lock(&lent.overlay).set_limit(limits.bytes / 2);
        }
        self.base.stream_lane.set_limits(limits);
    }

    /// Gives kinds that have appeared their topics, tables and watchers; those that it failed for, with the reason.
    pub(super) async fn start(&self, kinds: Vec<Kind>) -> Vec<(Kind, String)> {
        let Some(supervisor) = self.supervisor.get() else { return Vec::new() };
        let wanted: Vec<TopicSpec> = {
            let ours: Vec<Arc<str>> = kinds.iter().map(|kind| self.named(&kind.topic())).collect();
            let specs = self.settings.topics.specs(&kinds).into_iter();
            specs.filter(|spec| ours.iter().any(|name| **name == *spec.name)).collect()
        };
        let prepared = bringup::prepare_later(&self.settings, &*self.ends.log, wanted).await;
        let (mut failed, mut started) = (Vec::new(), Vec::new());
        for kind in kinds {
            let topic = self.named(&kind.topic());
            match prepared.iter().find(|(spec, _)| *spec.name == *topic) {
                Some((spec, None)) => started.push((kind, spec.clone())),
                Some((_, Some(why))) => failed.push((kind, why.clone())),
                None => failed.push((kind, format!("no topic {topic} is known to [topics]"))),
            }
        }
        let specs: Vec<TopicSpec> = started.iter().map(|(_, spec)| spec.clone()).collect();
        {
            let mut topics = lock(&self.topics);
            topics.retain(|old| !specs.iter().any(|new| new.name == old.name));
            topics.extend(specs.iter().cloned());
        }
        self.shared.topics.add(&specs);
        let is_new = |kind: &Kind| !lock(&self.lent).values().any(|lent| lent.target.kind == *kind);
        let new: Vec<Kind> = started.iter().map(|(kind, _)| kind).filter(|kind| is_new(kind)).cloned().collect();
        let first = bringup::before_writing(&self.settings, &self.policy, &self.memory, &new, self.writer_epoch);
        if let Err(why) = bringup::write_before(&self.shared, &self.producer, first).await {
            failed.extend(started.into_iter().map(|(kind, _)| (kind, why.clone())));
            return failed;
        }
        let mut wired = Vec::new();
        for (kind, spec) in started {
            let topic: Arc<str> = spec.name.as_str().into();
            if !self.base.store.add(&kind, &topic) {
                // It was here before: its topic is marked and read.
                wired.extend(self.wire_kind(&kind, &self.base.following.is_folded(&kind), self.frame_budgets.1));
                continue;
            }
            let partitions = (0..spec.partitions).map(|p| (topic.clone(), p, Start::Beginning)).collect();
            let cohort = Cohort::new(false, vec![kind.clone()], partitions);
            let watchers = self.wire_kind(&kind, &cohort.subscribe(), self.frame_budgets.1);
            let now = clock::wall_ms();
            let markers = (0..spec.partitions).map(|p| writer_marker(&topic, p, self.writer_epoch, now));
            if let Some(first) = watchers.first() {
                first.row.lane.push(markers.collect::<Vec<OutRecord>>(), None);
            }
            self.base.following.add(cohort);
            wired.extend(watchers);
        }
        self.share_lanes();
        rt::tell(&self.base.readers.0, Follow);
        rt::tell(&self.base.readers.1, Follow);
        for Wired { spec, row } in wired {
            self.shared.board.add_watcher(row);
            if let Err(e) = supervisor.add(GROUP, spec).await {
                // Only a process that ends refuses.
                tracing::info!(error = %e, "no watcher is added any more");
            }
        }
        failed
    }

    /// Wakes the watchers of these kinds that wait for them to be served.
    pub(super) fn served(&self, kinds: &[Kind]) {
        for (addr, lent) in lock(&self.running).values() {
            if lent.row.parked.load(Ordering::Acquire) && kinds.contains(&lent.target.kind) {
                rt::tell(addr, watcher::Served);
            }
        }
    }

    /// Ends the watchers of a kind, once what they have to write is in the log.
    pub(super) async fn stop(&self, kind: &Kind, is_gone: bool) -> Result<(), String> {
        let Some(supervisor) = self.supervisor.get() else { return Ok(()) };
        let what = if is_gone { "the API server does not serve it any more" } else { "it is served as another now" };
        let of_kind = |(id, (addr, lent)): (&String, &Running)| {
            (lent.target.kind == *kind).then(|| (id.clone(), addr.clone(), lent.clone()))
        };
        let watchers: Vec<_> = lock(&self.running).iter().filter_map(of_kind).collect();
        for (id, addr, lent) in watchers {
            let mut folded = lent.folded.clone();
            let is_folded = async { folded.wait_for(|folded| *folded).await.is_ok() };
            if !tokio::time::timeout(LAST_RECORDS, is_folded).await.unwrap_or(false) {
                return Err(format!("{what}; its topic is still being read"));
            }
            loop {
                let going = addr.send(LetGo { is_gone }).await;
                let going = going.map_err(|e| format!("its watcher does not answer: {e}"))?;
                if going.inferred > 0 {
                    let Going { inferred, left } = going;
                    tracing::info!(watcher = id, inferred, left, "what was left of a kind that is gone is deleted");
                }
                // What nobody hands over is never acked, and would hold its part of the lanes' budget for ever.
                let waiting = pump::drained(lent.lane.clone(), tokio::time::Instant::now() + LAST_RECORDS).await.left;
                if waiting > 0 {
                    return Err(format!("{what}; its last {waiting} records wait for the log"));
                }
                if going.left == 0 {
                    break;
                }
            }
            if let Err(e) = supervisor.remove(format!("watcher/{id}")).await {
                return Err(e.to_string());
            }
            lock(&self.running).remove(&id);
            lock(&self.base.addresses).retain(|(target, _)| target.id() != id);
            self.shared.board.remove_watcher(&id);
        }
        self.share_lanes();
        Ok(())
    }
}

/// A checkpoint without a version.
pub(super) fn checkpoint(cluster: &str, cluster_uid: &str, owner: &str, positions: Positions) -> Checkpoint {
    Checkpoint {
        cluster: cluster.to_owned(),
        cluster_uid: cluster_uid.to_owned(),
        owner: owner.to_owned(),
        rv: None,
        history_epoch: 0,
        scope_hash: String::new(),
        policy_hash: String::new(),
        positions,
    }
}
