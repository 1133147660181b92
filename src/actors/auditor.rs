//! Holds what the API server lists against the fold of the log (G12): lightly at the poll interval, in full every few
//! minutes, one loop a watcher, on the shared runtime. What differs twice is counted and handed to the watcher, which
//! lists again and writes it anew: this actor never publishes.

use super::rt::{self, Context, Worker};
use crate::domain::audit::{self, Counts, Difference, SecondLooks, Side, Suspect, Version};
use crate::domain::index::Name;
use crate::domain::kind::Tracking;
use crate::domain::target::Target;
use crate::kubernetes::ApiServer;
use crate::kubernetes::identities::{self, ListError, Listed};
use crate::log::Log;
use crate::messages::life::Drained;
use crate::observe::board::{AuditView, Board, WatcherRow};
use crate::observe::clock;
use crate::observe::metrics::{KindLabel, KindResult, Metrics};
use crate::store::{Restored, Store};
use actix::prelude::{AsyncContext as _, ResponseActFuture};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

/// Has the watcher of a target list again and write these objects anew.
pub type Resync = Box<dyn Fn(&Target, Vec<(Name, Suspect)>) + Send + Sync>;

/// What the wiring lends.
pub struct Lent {
    /// The API server.
    pub api: Arc<dyn ApiServer>,
    /// The log, for how far the fold must have read.
    pub log: Arc<dyn Log>,
    /// The fold.
    pub store: Arc<Store>,
    /// The watchers there are, and where they stand.
    pub board: Arc<Board>,
    /// Lists at a time, shared with the watchers.
    pub snapshots: Arc<Semaphore>,
    /// Makes a watcher list again, and write these objects anew.
    pub resync: Resync,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Between two light audits.
    pub light: Duration,
    /// Between two full ones, on average.
    pub full: Duration,
    /// Objects a page, and the most bytes it may have.
    pub page: (u32, usize),
}

/// The actor.
pub struct Auditor {
    lent: Arc<Lent>,
    audits: Option<rt::Task>,
}

rt::worker!(Auditor);

/// How often watchers that came or went are looked for, and whether a fold has got on.
const LOOK: Duration = Duration::from_millis(500);
/// How long the watermark may take to pass a list: a kind in which nothing happens learns of the time by the bookmark that
/// comes once a minute.
const PATIENCE: Duration = Duration::from_secs(150);

impl Auditor {
    /// An auditor at the beginning of its life.
    pub fn new(lent: Arc<Lent>) -> Self {
        Self { lent, audits: None }
    }
}

impl Worker for Auditor {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.audits = Some(ctx.spawn_io(audit_all(self.lent.clone())));
        // A task that ended by a panic is begun anew; where it ends it has nothing to hand over.
        ctx.run_interval(Duration::from_secs(10), |this, ctx| {
            if this.audits.as_ref().is_none_or(rt::Task::is_finished) {
                this.audits = Some(ctx.spawn_io(audit_all(this.lent.clone())));
            }
        });
    }

    fn drain(&mut self, _: Instant, _: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.audits = None;
        rt::drained(0)
    }
}

/// A loop for every watcher, as they come and go.
async fn audit_all(lent: Arc<Lent>) {
    let (mut known, mut loops) = (HashSet::new(), FuturesUnordered::new());
    loop {
        for row in lent.board.watchers() {
            // Kubernetes Events disappear by their time: nothing to compare.
            if row.target.kind.tracking() == Tracking::Table && known.insert(row.target.id()) {
                loops.push(look_after(lent.clone(), row));
            }
        }
        tokio::select! {
            Some(id) = loops.next(), if !loops.is_empty() => { known.remove(&id); }
            () = sleep(LOOK) => {}
        }
    }
}

/// Audits one watcher until it is gone; its id.
async fn look_after(lent: Arc<Lent>, row: Arc<WatcherRow>) -> String {
    let id = row.target.id();
    let after = |took| Instant::now() + audit::next_full(lent.full, rand::random(), took);
    let (mut next_full, mut last) = (after(Duration::ZERO), None);
    // Stubs that were looked at a second time, in this life: what a restart forgets costs one list, and no record.
    let (mut looked, began) = (SecondLooks::default(), Instant::now());
    // Spread over the interval, so that the kinds do not ask all at once.
    sleep(lent.light.mul_f64(rand::random())).await;
    loop {
        sleep(lent.light).await;
        if !lent.board.watchers().iter().any(|r| Arc::ptr_eq(r, &row)) {
            return id;
        }
        if !row.synced.load(Ordering::Acquire) || row.parked.load(Ordering::Acquire) {
            next_full = next_full.max(Instant::now() + lent.light);
            continue;
        }
        let now = counts(&lent, &row).await;
        let is_off = matches!((&last, &now), (Some(before), Some(now)) if audit::is_off(before, now));
        last = now;
        if is_off {
            tell(&lent, &row, "counts_differ");
        }
        if is_off || Instant::now() >= next_full {
            next_full = after(in_full(&lent, &row, &mut looked, began).await);
            last = None;
        }
    }
}

/// A light audit; `None` where there is nothing to compare.
async fn counts(lent: &Lent, row: &WatcherRow) -> Option<Counts> {
    let server = identities::count(&*lent.api, &row.target, lent.page.1).await.ok()??;
    let settled = row.lane.is_drained();
    let log = lent.store.restored(&row.target.kind, |at| row.target.covers(at)).live.len() as u64;
    Some(Counts { server, log, received: row.received.load(Ordering::Relaxed), settled })
}

/// A full audit: two looks where the first one finds something. Gives how long the API server was busy with it.
async fn in_full(lent: &Lent, row: &WatcherRow, looked: &mut SecondLooks, epoch: Instant) -> Duration {
    let began = Instant::now();
    let mut listing = Duration::ZERO;
    let looks = async {
        let (listed, first) = look(lent, row, &mut listing).await?;
        let (first, stubs) = audit::apart(first);
        if first.is_empty() {
            return Ok((listed, first, stubs));
        }
        let (listed, second) = look(lent, row, &mut listing).await?;
        Ok((listed, audit::confirmed(&first, audit::apart(second).0), stubs))
    };
    let (result, objects, mut found, stubs): (_, usize, Vec<Difference>, _) = match looks.await {
        Ok((listed, found, stubs)) => {
            (if found.is_empty() { "equal" } else { "different" }, listed, found, Some(stubs))
        }
        Err(why) => (why, 0, Vec::new(), None),
    };
    let again = stubs.as_deref().map(|stubs| looked.due(stubs, epoch.elapsed())).unwrap_or_default();
    let stubs = stubs.map_or(0, |stubs| stubs.len());
    tell(lent, row, result);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    row.set_audit(AuditView { result, at_ms: clock::wall_ms(), objects, differences: found.len(), stubs, took_ms });
    if found.is_empty() && again.is_empty() {
        return listing;
    }
    if !again.is_empty() {
        tracing::info!(
            watcher = row.target.id(),
            stubs = again.len(),
            "objects that could not be carried are looked at again"
        );
    }
    report(lent, row, &found);
    found.extend(again);
    (lent.resync)(&row.target, found.into_iter().map(Difference::suspect).collect());
    listing
}

fn report(lent: &Lent, row: &WatcherRow, found: &[Difference]) {
    if found.is_empty() {
        return;
    }
    let kind = row.target.kind.id();
    lent.metrics.audit_differences.get_or_create(&KindLabel { kind }).inc_by(found.len() as u64);
    for Difference { at, what, .. } in found.iter().take(10) {
        let what = what.words();
        tracing::error!(watcher = row.target.id(), namespace = %at.namespace, name = %at.name, what, "the log differs from the API server");
    }
    tracing::warn!(watcher = row.target.id(), differences = found.len(), "the audit has them written anew");
}

/// One look: how many objects are listed, and what differs.
async fn look(lent: &Lent, row: &WatcherRow, listing: &mut Duration) -> Result<(usize, Vec<Difference>), &'static str> {
    let durable = || row.lane.watermark().map(|point| point.rv);
    let before = durable();
    let earlier = folded(lent, &row.target);
    let Listed { rv, side, .. } = {
        let _one_of_two = lent.snapshots.acquire().await.map_err(|_| "failed")?;
        let began = Instant::now();
        let listed = identities::list(&*lent.api, &row.target, lent.page.0, lent.page.1).await;
        *listing += began.elapsed();
        match listed {
            Ok(listed) => listed,
            Err(ListError::TooMany) => return Err("too_large"),
            Err(error) => {
                tracing::debug!(watcher = row.target.id(), %error, "no audit");
                return Err("failed");
            }
        }
    };
    if before.is_some_and(|durable| durable > rv) {
        // A list without a version is never older than what was reported before: the cluster's history was rewound.
        return Err("rewound");
    }
    let passed = async {
        while durable().is_none_or(|durable| durable < rv) {
            sleep(LOOK).await;
        }
        caught_up(lent, &row.target).await
    };
    match tokio::time::timeout(PATIENCE, passed).await {
        Err(_) => Err("late"),
        Ok(false) => Err("failed"),
        Ok(true) => {
            let objects = side.len();
            let mut found = audit::differences(&rv, &side, &folded(lent, &row.target));
            found.extend(audit::ahead(&rv, &side, earlier));
            Ok((objects, found))
        }
    }
}

/// Waits until the fold has read all that stands in the kind's topic now.
async fn caught_up(lent: &Lent, target: &Target) -> bool {
    let Some(topic) = lent.store.as_of(&target.kind).positions.first().map(|p| p.topic.clone()) else { return false };
    let Ok(ends) = lent.log.offsets(&topic).await else { return false };
    let behind = || {
        let at = lent.store.as_of(&target.kind).positions;
        let read = |partition: usize| at.iter().find(|p| usize::try_from(p.partition) == Ok(partition));
        ends.iter().enumerate().any(|(p, (first, end))| first < end && read(p).is_none_or(|at| at.next < *end))
    };
    while behind() {
        sleep(LOOK / 10).await;
    }
    true
}

fn folded(lent: &Lent, target: &Target) -> Side {
    let Restored { live, stubs, .. } = lent.store.restored(&target.kind, |at| target.covers(at));
    let ours = live.into_iter().filter(|(at, ..)| target.covers(at));
    let mut side: Side = ours.map(|(at, uid, rv, _)| (at, Version::new(uid, rv))).collect();
    for (at, _) in stubs {
        side.entry(at).and_modify(|version| version.stub = true);
    }
    side
}

fn tell(lent: &Lent, row: &WatcherRow, result: &str) {
    let labels = KindResult { kind: row.target.kind.id(), result: result.into() };
    lent.metrics.audits.get_or_create(&labels).inc();
}
