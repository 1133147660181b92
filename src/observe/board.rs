//! The board: one row a watcher, one for the log, one for the fold. Written by actors, read by HTTP without asking anyone.

use crate::domain::gap::Lasting;
use crate::domain::lane::{Lane, Stats, Usage};
use crate::domain::target::Target;
use crate::domain::watch::Point;
use crate::observe::clock;
use crate::observe::freshness::{Freshness, FreshnessView};
use crate::observe::gaps::Gaps;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// One watcher's row.
pub struct WatcherRow {
    /// What it watches.
    pub target: Target,
    /// Its lane.
    pub lane: Arc<Lane<Point>>,
    /// Everything reported so far is in the lane up to the first complete list.
    pub synced: AtomicBool,
    /// Parked: not allowed, or not served.
    pub parked: AtomicBool,
    /// Changes reported.
    pub received: AtomicU64,
    /// Wall clock of the last report, ms since 1970; 0 before the first.
    pub last_report_ms: AtomicI64,
    phase: Mutex<(String, Option<String>)>,
    trouble: Mutex<Trouble>,
    /// Whole objects that came where only metadata was asked for, and when that was said last (ms since 1970).
    hostile: Mutex<(u64, i64)>,
    audit: Mutex<Option<AuditView>>,
}

#[derive(Default)]
struct Trouble {
    now: Option<String>,
    last: Option<PastError>,
}

impl WatcherRow {
    /// A row that has not begun.
    pub fn new(target: Target, lane: Arc<Lane<Point>>) -> Arc<Self> {
        Arc::new(Self {
            target,
            lane,
            synced: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            received: AtomicU64::new(0),
            last_report_ms: AtomicI64::new(0),
            phase: Mutex::new(("start".into(), None)),
            trouble: Mutex::default(),
            hostile: Mutex::default(),
            audit: Mutex::default(),
        })
    }

    /// Counts whole objects that came where only metadata was asked for. Gives their number since the start when it is
    /// time to say so: at once, then once a minute.
    pub fn alarm(&self, frames: u64) -> Option<u64> {
        let now = clock::wall_ms();
        let mut hostile = self.hostile.lock().unwrap_or_else(PoisonError::into_inner);
        hostile.0 += frames;
        let due = hostile.1 == 0 || now - hostile.1 >= 60_000;
        due.then(|| {
            hostile.1 = now;
            hostile.0
        })
    }

    /// Sets the phase; gives whether it changed.
    pub fn set_phase(&self, name: &str, reason: Option<&str>) -> bool {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = phase.0 != name || phase.1.as_deref() != reason;
        if changed {
            *phase = (name.to_owned(), reason.map(str::to_owned));
        }
        changed
    }

    /// Says what is wrong with the API server as this watcher sees it, or that nothing is. Gives whether that is news.
    pub fn set_trouble(&self, trouble: Option<&str>) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // One outage has many words (refused, reset, no answer): only its beginning and its end are news.
        let news = known.now.is_some() != trouble.is_some();
        if known.now.as_deref() != trouble {
            known.now = trouble.map(str::to_owned);
            if let Some(text) = trouble {
                known.last = Some(PastError { text: text.to_owned(), at_ms: clock::wall_ms() });
            }
        }
        news
    }

    /// What the last full audit found.
    pub fn set_audit(&self, audit: AuditView) {
        *self.audit.lock().unwrap_or_else(PoisonError::into_inner) = Some(audit);
    }

    fn show(&self) -> WatcherView {
        let (phase, reason) = self.phase.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (trouble, last_error) = {
            let known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            (known.now.clone(), known.last.clone())
        };
        let Usage { records, bytes, limit_bytes, generation, stats } = self.lane.usage();
        WatcherView {
            id: self.target.id(),
            kind: self.target.kind.id(),
            namespace: self.target.namespace.as_deref().map(str::to_owned),
            phase,
            reason,
            synced: self.synced.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            last_report_ms: self.last_report_ms.load(Ordering::Relaxed),
            lane: LaneView {
                records,
                bytes,
                limit_bytes,
                generation,
                pushed: stats.pushed,
                acked: stats.acked,
                nacks: stats.nacks,
            },
            watermark: self.lane.watermark().map(|point| point.rv.as_str().to_owned()),
            trouble,
            last_error,
            api_version: self.target.kind.api_version(),
            namespaced: self.target.kind.namespaced(),
            only: self.target.only.as_deref().map(|only| only.iter().cloned().collect()),
            label_selector: self.target.selectors.label.as_deref().map(str::to_owned),
            field_selector: self.target.selectors.field.as_deref().map(str::to_owned),
            audit: self.audit.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            gaps: 0,
            last_gap: None,
        }
    }
}

/// A watcher as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct WatcherView {
    pub id: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub phase: String,
    pub reason: Option<String>,
    pub synced: bool,
    pub received: u64,
    pub last_report_ms: i64,
    pub lane: LaneView,
    pub watermark: Option<String>,
    pub trouble: Option<String>,
    pub last_error: Option<PastError>,
    pub api_version: String,
    pub namespaced: bool,
    pub only: Option<Vec<String>>,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    pub audit: Option<AuditView>,
    pub gaps: u64,
    pub last_gap: Option<Lasting>,
}

/// A full audit, as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct AuditView {
    pub result: &'static str,
    pub at_ms: i64,
    pub objects: usize,
    pub differences: usize,
    /// Of which the log holds the identity alone, as it says itself.
    pub stubs: usize,
    pub took_ms: u64,
}

/// The last thing that went wrong, mended or not.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PastError {
    pub text: String,
    pub at_ms: i64,
}

/// A lane as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct LaneView {
    pub records: usize,
    pub bytes: usize,
    pub limit_bytes: usize,
    pub generation: u64,
    pub pushed: u64,
    pub acked: u64,
    pub nacks: u64,
}

/// A kind that is named in the settings and is not watched now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParkedKind {
    /// As it is named: `certificates.cert-manager.io`, `*.example.com`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_you_mean: Option<String>,
}

impl std::fmt::Display for ParkedKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)?;
        self.did_you_mean.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

/// The whole board as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct PipelineView {
    pub state: String,
    pub ready: bool,
    pub missing: Vec<String>,
    pub degraded: Vec<String>,
    pub cluster: String,
    pub log: String,
    pub writer_epoch: u64,
    pub in_flight: u64,
    pub fold: FreshnessView,
    pub gaps: u64,
    pub watchers: Vec<WatcherView>,
    pub parked: Vec<ParkedKind>,
}

/// The board.
#[derive(Default)]
pub struct Board {
    state: Mutex<String>,
    cluster: Mutex<String>,
    log: Mutex<String>,
    /// `None` before they are wired; none at all is an answer, too.
    watchers: RwLock<Option<Vec<Arc<WatcherRow>>>>,
    /// Watchers that were taken away, and lanes without one: what they did is still accounted for.
    past: Mutex<Vec<Arc<WatcherRow>>>,
    parked: Mutex<Vec<ParkedKind>>,
    degraded: Mutex<BTreeMap<&'static str, String>>,
    /// Our writer epoch; 0 before it is known.
    pub writer_epoch: AtomicU64,
    /// Records handed to the producer and not settled.
    pub in_flight: AtomicU64,
    /// The fold has read our own markers in every partition.
    pub folded: AtomicBool,
    /// What the fold reads, and how fresh it is.
    pub fold: Freshness,
    /// What the log says is missing from it.
    pub gaps: Gaps,
    was_ready: AtomicBool,
}

fn set(slot: &Mutex<String>, text: &str) {
    text.clone_into(&mut slot.lock().unwrap_or_else(PoisonError::into_inner));
}

fn get(slot: &Mutex<String>) -> String {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Board {
    /// What the process is doing as a whole: `connecting`, `folding`, `running`, `draining`.
    pub fn set_state(&self, state: &str) {
        set(&self.state, state);
    }

    /// Names the two ends.
    pub fn set_ends(&self, cluster: &str, log: &str) {
        set(&self.cluster, cluster);
        set(&self.log, log);
    }

    /// Sets the watchers that the process starts with.
    pub fn set_watchers(&self, rows: Vec<Arc<WatcherRow>>) {
        *self.watchers.write().unwrap_or_else(PoisonError::into_inner) = Some(rows);
    }

    /// Adds the watcher of a kind that has appeared, in the place of an earlier one of its name.
    pub fn add_watcher(&self, row: Arc<WatcherRow>) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        let rows = watchers.get_or_insert_default();
        rows.retain(|other| other.target.id() != row.target.id());
        // It goes on with the lane of the one before, which must not count twice.
        self.past.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(&other.lane, &row.lane));
        rows.push(row);
    }

    /// Takes a watcher away.
    pub fn remove_watcher(&self, id: &str) {
        let mut watchers = self.watchers.write().unwrap_or_else(PoisonError::into_inner);
        let gone = watchers.get_or_insert_default().extract_if(.., |row| row.target.id() == id);
        self.past.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
    }

    /// Accounts for what is written of a kind that has no watcher, since it is captured no more.
    pub fn account_for(&self, row: Arc<WatcherRow>) {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    }

    /// The watchers' rows.
    pub fn watchers(&self) -> Vec<Arc<WatcherRow>> {
        self.watchers.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }

    /// Says which kinds are named and not watched now. They never hold readiness. Gives whether that is news.
    pub fn set_parked(&self, kinds: Vec<ParkedKind>) -> bool {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *parked != kinds;
        *parked = kinds;
        news
    }

    /// The kinds that are named and not watched now.
    pub fn parked(&self) -> Vec<ParkedKind> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that something is away, or (with `None`) back. Shown as degraded; never unready once ready. Gives whether
    /// this is news.
    pub fn degrade(&self, what: &'static str, why: Option<String>) -> bool {
        let mut degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => degraded.insert(what, why.clone()) != Some(why),
            None => degraded.remove(what).is_some(),
        }
    }

    /// What readiness waits for; empty when ready. Once it was empty it stays so: an outage shows as degraded.
    pub fn missing(&self) -> Vec<String> {
        if self.was_ready.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        if !self.folded.load(Ordering::Acquire) {
            missing.push(format!("state: {}", get(&self.state)));
        }
        let watchers = self.watchers.read().unwrap_or_else(PoisonError::into_inner).clone();
        if watchers.is_none() {
            missing.push("watchers: not started".to_owned());
        }
        for row in watchers.iter().flatten() {
            if !row.synced.load(Ordering::Acquire) && !row.parked.load(Ordering::Acquire) {
                let view = row.show();
                missing.push(
                    format!("{}: {} {}", view.id, view.phase, view.reason.unwrap_or_default()).trim_end().to_owned(),
                );
            }
        }
        if missing.is_empty() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        missing
    }

    /// Everything that is away.
    pub fn degraded(&self) -> Vec<String> {
        let mut all: Vec<String> = {
            let degraded = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
            degraded.iter().map(|(what, why)| format!("{what}: {why}")).collect()
        };
        for row in self.watchers() {
            if let Some(trouble) = &row.trouble.lock().unwrap_or_else(PoisonError::into_inner).now {
                all.push(format!("the API server, seen by {}: {trouble}", row.target.id()));
            }
            let hostile = row.hostile.lock().unwrap_or_else(PoisonError::into_inner).0;
            if hostile > 0 {
                // It stays for the life of the process: whoever looks tomorrow must learn of it.
                all.push(format!(
                    "{}: the API server sent {hostile} whole objects where only metadata was asked for; none was kept",
                    row.target.id()
                ));
            }
            if row.parked.load(Ordering::Relaxed) {
                let view = row.show();
                all.push(format!("{}: {}", view.id, view.reason.unwrap_or_default()));
            }
        }
        all.extend(self.parked().iter().map(ToString::to_string));
        all
    }

    /// The board, for people and programs.
    pub fn show(&self) -> PipelineView {
        let missing = self.missing();
        PipelineView {
            state: get(&self.state),
            ready: missing.is_empty(),
            missing,
            degraded: self.degraded(),
            cluster: get(&self.cluster),
            log: get(&self.log),
            writer_epoch: self.writer_epoch.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            fold: self.fold.show(),
            gaps: self.gaps.count(None),
            watchers: self.watchers().iter().map(|row| self.show_watcher(row)).collect(),
            parked: self.parked(),
        }
    }

    fn show_watcher(&self, row: &WatcherRow) -> WatcherView {
        let mut view = row.show();
        let of = Some((view.kind.as_str(), view.namespace.as_deref()));
        (view.gaps, view.last_gap) = (self.gaps.count(of), self.gaps.last(of));
        view
    }

    /// What became of the records and changes (G10) of each kind, in this life of the process.
    pub fn lanes(&self) -> BTreeMap<String, Stats> {
        let mut lanes: BTreeMap<String, Stats> = BTreeMap::new();
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for row in self.watchers().into_iter().chain(past) {
            lanes.entry(row.target.kind.id()).or_default().add(&row.lane.usage().stats);
        }
        lanes
    }
}
