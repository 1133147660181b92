//! Metrics: names, labels and units in one place. Labels come from closed sets, never from object names.

use crate::domain::lane::{Account, FILTERED, Stats};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where in its life a change was counted (G10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
pub enum Stage {
    /// Reported by the API server.
    received,
    /// Concluded, not reported.
    inferred,
    /// Acked by the log.
    published,
    /// Nothing to publish; the reason says why.
    filtered,
    /// A later version of the same object was published in its place.
    coalesced,
    /// Neither it nor a stub of it could be written.
    dead_lettered,
}

/// Labels of `agent_events_changes_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChangeLabels {
    /// Kind id.
    pub kind: String,
    /// Stage.
    pub stage: Stage,
    /// A word, empty where a stage has only one.
    pub reason: String,
}

/// One label: the kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Kind id.
    pub kind: String,
}

/// Kind and a reason from a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindReason {
    /// Kind id.
    pub kind: String,
    /// A word.
    pub reason: String,
}

/// What became of a record that was read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FoldResult {
    /// `live`, `removed`, `void` (of a dead writer), `foreign`, `repeated`.
    pub result: String,
}

/// A request to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiRequest {
    /// `list`, `watch`, `get`, `create`, `other`.
    pub verb: String,
    /// HTTP status; `none` without an answer.
    pub code: String,
}

/// Kind and result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindResult {
    /// Kind id.
    pub kind: String,
    /// A word.
    pub result: String,
}

/// Actor and reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ActorReason {
    /// Actor id.
    pub actor: String,
    /// `panic`, `stopped`, `hung`.
    pub reason: String,
}

/// Version of the build.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Build {
    /// Crate version.
    pub version: String,
}

/// All metrics of the process.
#[derive(Debug)]
#[allow(missing_docs)] // each is described where it is registered
pub struct Metrics {
    registry: Mutex<Registry>,
    pub changes: Family<ChangeLabels, Counter>,
    pub in_flight: Family<KindLabel, Gauge>,
    pub relists: Family<KindReason, Counter>,
    pub undecodable: Family<KindLabel, Counter>,
    pub watch_restarts: Family<KindLabel, Counter>,
    pub publish_records: Family<KindResult, Counter>,
    pub publish_nacks: Family<KindLabel, Counter>,
    pub producers: Counter,
    pub fold_age_seconds: Histogram,
    pub checkpoints: Counter,
    pub fold_records: Family<FoldResult, Counter>,
    pub fold_save_failures: Counter,
    pub store_objects: Family<KindLabel, Gauge>,
    pub store_bytes: Family<KindLabel, Gauge>,
    pub actor_restarts: Family<ActorReason, Counter>,
    pub stubs: Family<KindReason, Counter>,
    pub hostile_frames: Family<KindLabel, Counter>,
    pub gaps: Family<KindReason, Counter>,
    pub audits: Family<KindResult, Counter>,
    pub audit_differences: Family<KindLabel, Counter>,
    pub api_requests: Family<ApiRequest, Counter>,
    pub api_throttled: Counter,
    pub api_throttled_seconds: Counter<f64, AtomicU64>,
    pub lies: Family<KindReason, Counter>,
    pub quiet_relists: Family<KindLabel, Counter>,
    pub backlogs: Family<KindLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("agent_events");
        let metrics = Self {
            registry: Mutex::new(Registry::default()),
            changes: Family::default(),
            in_flight: Family::default(),
            relists: Family::default(),
            undecodable: Family::default(),
            watch_restarts: Family::default(),
            publish_records: Family::default(),
            publish_nacks: Family::default(),
            producers: Counter::default(),
            // 1 ms to 33 s, doubling.
            fold_age_seconds: Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
                0.001, 2.0, 16,
            )),
            checkpoints: Counter::default(),
            fold_records: Family::default(),
            fold_save_failures: Counter::default(),
            store_objects: Family::default(),
            store_bytes: Family::default(),
            actor_restarts: Family::default(),
            stubs: Family::default(),
            hostile_frames: Family::default(),
            gaps: Family::default(),
            audits: Family::default(),
            audit_differences: Family::default(),
            api_requests: Family::default(),
            api_throttled: Counter::default(),
            api_throttled_seconds: Counter::default(),
            lies: Family::default(),
            quiet_relists: Family::default(),
            backlogs: Family::default(),
        };
        let r = &mut registry;
        r.register("changes", "Changes by what became of them", metrics.changes.clone());
        r.register("changes_in_flight", "Changes reported and not yet acked by the log", metrics.in_flight.clone());
        r.register("relists", "Lists begun, by reason", metrics.relists.clone());
        r.register("undecodable", "Watch lines and list items that could not be read", metrics.undecodable.clone());
        r.register("watch_restarts", "Watches opened", metrics.watch_restarts.clone());
        r.register(
            "publish_records",
            "Records that left the lanes: acked by the log, or superseded by a later one of their key",
            metrics.publish_records.clone(),
        );
        r.register(
            "publish_nacks",
            "Times that the log refused or lost track of a record, and its lane began again there",
            metrics.publish_nacks.clone(),
        );
        r.register("producers", "Producers built: one, and one after each fatal error", metrics.producers.clone());
        r.register(
            "fold_age_seconds",
            "From report to store: the age of the oldest record of a batch when it was folded",
            metrics.fold_age_seconds.clone(),
        );
        r.register("checkpoints", "Checkpoints written", metrics.checkpoints.clone());
        r.register(
            "fold_records",
            "Records read back into the store, by what became of them",
            metrics.fold_records.clone(),
        );
        r.register(
            "fold_save_failures",
            "Files of the saved fold that could not be written",
            metrics.fold_save_failures.clone(),
        );
        r.register("store_objects", "Objects in the store", metrics.store_objects.clone());
        r.register("store_bytes", "Compressed bytes in the store", metrics.store_bytes.clone());
        r.register("actor_restarts", "Actors restarted", metrics.actor_restarts.clone());
        r.register("stubs", "Objects represented by their identity alone, by reason", metrics.stubs.clone());
        r.register(
            "hostile_frames",
            "Whole objects that the API server sent where only metadata was asked for; refused",
            metrics.hostile_frames.clone(),
        );
        r.register("gaps", "Gaps declared in the log by this process, by reason", metrics.gaps.clone());
        r.register("audits", "Audits of the fold against the API server, by result", metrics.audits.clone());
        r.register(
            "audit_differences",
            "Objects that an audit found to differ, twice",
            metrics.audit_differences.clone(),
        );
        r.register("api_requests", "Requests to the API server, by verb and status", metrics.api_requests.clone());
        r.register(
            "api_throttled",
            "Requests to the API server that waited for our own rate limit",
            metrics.api_throttled.clone(),
        );
        r.register(
            "api_throttled_seconds",
            "Time that requests to the API server waited for our own rate limit",
            metrics.api_throttled_seconds.clone(),
        );
        r.register("server_lies", "What the API server said that cannot be true, by what it was", metrics.lies.clone());
        r.register("quiet_relists", "Lists of a stream that showed nothing new: no gap", metrics.quiet_relists.clone());
        r.register("watch_backlogs", "Watches closed because the log took no more", metrics.backlogs.clone());
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION").into() }).set(1);
        r.register("build_info", "Version of the running build", build);
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// All metrics as OpenMetrics 1.0 text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner)).unwrap_or_default();
        text
    }

    /// Shows what became of the records and changes of a kind, as it stands now.
    pub fn lane(&self, kind: &str, stats: &Stats) {
        let label = KindLabel { kind: kind.into() };
        for (result, n) in [("acked", stats.acked), ("superseded", stats.superseded)] {
            let labels = KindResult { kind: kind.into(), result: result.into() };
            self.publish_records.get_or_create(&labels).inner().store(n, Ordering::Relaxed);
        }
        self.publish_nacks.get_or_create(&label).inner().store(stats.nacks, Ordering::Relaxed);
        let account = &stats.account;
        let Account { received, inferred, filtered, published, coalesced, .. } = *account;
        let filtered = FILTERED.into_iter().zip(filtered).map(|(reason, n)| (Stage::filtered, reason, n));
        let stages = [
            (Stage::received, "", received),
            (Stage::inferred, "", inferred),
            (Stage::published, "", published),
            (Stage::coalesced, "superseded", coalesced),
            // A record that cannot be written becomes a stub before it is sent: nothing is given up.
            (Stage::dead_lettered, "", 0),
        ];
        for (stage, reason, n) in stages.into_iter().chain(filtered) {
            let labels = ChangeLabels { kind: kind.into(), stage, reason: reason.into() };
            self.changes.get_or_create(&labels).inner().store(n, Ordering::Relaxed);
        }
        let in_flight = i64::try_from(account.in_flight()).unwrap_or(i64::MAX);
        self.in_flight.get_or_create(&label).set(in_flight);
    }
}
