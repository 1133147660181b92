//! The one table of actors: who there is, on which thread, with what mailbox, and with whom it is restarted.
//!
//! | group | strategy | actors | arbiter | why there |
//! |---|---|---|---|---|
//! | state | rest_for_one | shared-state, query | state, query | queries are answered beside the fold, not behind it |
//! | publish | one_for_one | publisher | publish | the only one that touches the producer |
//! | stream | one_for_one | stream-processor | stream | |
//! | answers | one_for_one | gaps, auditor | stream | they wait more than they work |
//! | watch | one_for_one, stops together | watcher/<kind>[@namespace] | watch-0, watch-1 | pods are most of the changes |
//!
//! Started in this order (sinks first), stopped in reverse: watchers stop reading and wait for their acks, then the
//! publisher flushes.

use super::bringup::Up;
use super::ends::Ends;
use super::{End, Shared, StartError};
use crate::actors::auditor::{self, Auditor};
use crate::actors::checkpoints::Checkpoints;
use crate::actors::gaps::{self, GapReader};
use crate::actors::overlay::Overlay;
use crate::actors::publisher::{self, Publisher};
use crate::actors::query::QueryActor;
use crate::actors::restore::Siblings;
use crate::actors::rt::{self, Arbiters, ChildSpec, Group, Supervisor, SupervisorHandle};
use crate::actors::shared_state::{self, Saving, SharedState};
use crate::actors::stream_processor::{self, Positions, StreamProcessor};
use crate::actors::watcher::{self, Watcher};
use crate::domain::checkpoint::{self, Checkpoint};
use crate::domain::envelope::Writer;
use crate::domain::kind::Kind;
use crate::domain::lane::{Lane, Limits};
use crate::domain::redact::{Policy, Redactor};
use crate::domain::restart::{Backoff, Intensity};
use crate::domain::rv::Rv;
use crate::domain::topic;
use crate::domain::watch::{Config, Point, Rebase};
use crate::kubernetes::driver::{self, Deadlines};
use crate::log::Start;
use crate::messages::client::StateClient;
use crate::messages::control::{ActorControl, ChildStatus, ControlError, KillHow};
use crate::messages::life::LifeFact;
use crate::observe::board::WatcherRow;
use crate::observe::clock;
use crate::observe::metrics::ActorReason;
use crate::settings::Settings;
use crate::store::{Identity, SavedFold, Store, StoreOptions};
use actix::prelude::Addr;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Mailbox sizes are advice to actix; the real bounds are the lanes' windows, the reader's channel and the client's
/// semaphore. 16: a few batches of each lane, and control.
const MAILBOX: usize = 16;
/// Lists at a time, so that a restart of all kinds does not take the API server down.
const SNAPSHOTS: usize = 2;

/// Builds and starts everything.
pub(super) fn wire(
    settings: &Settings,
    shared: &Shared,
    up: Up,
    arbiters: &mut Arbiters,
) -> Result<SupervisorHandle, StartError> {
    let prefix = &settings.topics.prefix;
    let cluster = settings.cluster.name.clone().unwrap_or_default();
    let kinds = settings.watch.captured();
    let partitions = |name: &str| up.topics.iter().find(|t| t.name == name).map_or(1, |t| t.partitions);
    let named = |name: &str| -> Arc<str> { format!("{prefix}{name}").into() };
    let saved = saved_fold(settings, &cluster, &up);
    let store =
        Store::new(StoreOptions { keep_dead: saved.is_some(), ..store_options(settings, &cluster, &kinds, prefix) });
    store.set_writer_epoch(up.writer_epoch);
    let checkpoints = Checkpoints::new(named(topic::CHECKPOINTS), up.writer_epoch);
    let targets = settings.watch.targets(&kinds);
    let lanes = targets.len() + 1;
    let limits = Limits {
        bytes: settings.publisher.lane_bytes.min(settings.publisher.all_lanes_bytes / lanes),
        records: settings.publisher.lane_events,
    };
    let batch = (settings.publisher.batch_events, settings.publisher.batch_bytes);
    let (folded, is_folded) = watch::channel(false);
    let backoff =
        Backoff { min: settings.supervision.backoff_min, max: settings.supervision.backoff_max, ..Backoff::default() };
    let intensity = Intensity::new(settings.supervision.max_restarts, settings.supervision.window);
    let hang = settings.supervision.hang_limit;
    let drain = settings.supervision.shutdown_deadline.mul_f64(0.5);

    // publisher
    let lent = publisher::Lent {
        producer: up.producer.clone(),
        checkpoints: checkpoints.clone(),
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
    };
    let (publisher, publisher_addr) =
        ChildSpec::new("publisher", &arbiters.place("publish"), MAILBOX, move || Publisher::new(lent.clone()));

    // state
    let table_partitions: Vec<(Arc<str>, i32)> = up
        .topics
        .iter()
        .filter(|t| t.name.starts_with(&*named("k8s-")))
        .flat_map(|t| (0..t.partitions).map(|p| (Arc::<str>::from(t.name.as_str()), p)).collect::<Vec<_>>())
        .collect();
    let events_topic = named("k8s-events");
    let oldest_event = clock::wall_ms() - i64::try_from(settings.store.events_ttl.as_millis()).unwrap_or(i64::MAX);
    let start_of =
        |topic: &Arc<str>| if *topic == events_topic { Start::Timestamp(oldest_event) } else { Start::Beginning };
    let watchers: Arc<OnceLock<Vec<shared_state::WatcherAddress>>> = Arc::default();
    let end = shared.end.clone();
    let lent = shared_state::Lent {
        log: up.ends.log.clone(),
        store: store.clone(),
        partitions: Arc::new(table_partitions.iter().map(|(t, p)| (t.clone(), *p, start_of(t))).collect()),
        writer_epoch: up.writer_epoch,
        folded,
        watchers: watchers.clone(),
        superseded: Arc::new(move |epoch| {
            let why = format!("a writer with epoch {epoch} has taken over these topics: this process stops (exit 70)");
            drop(end.send(End::GaveUp(why)));
        }),
        saved,
        checkpoints: checkpoints.clone(),
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
    };
    let (shared_state, _) =
        ChildSpec::new("shared-state", &arbiters.place("state"), MAILBOX, move || SharedState::new(lent.clone()));
    let lent = store.clone();
    let (query, query_addr) =
        ChildSpec::new("query", &arbiters.place("query"), 1024, move || QueryActor::new(lent.clone()));

    // stream processor
    let owner = "~stream-processor";
    let resume = up.memory.checkpoints.get(owner).map(|c| c.positions.clone()).unwrap_or_default();
    let bell = Arc::new(Notify::new());
    let ring = bell.clone();
    let lane: Arc<Lane<Arc<Positions>>> = Lane::new(limits, move || ring.notify_one());
    let stream_topic = named(topic::EVENT_STREAM);
    let stream_partitions = partitions(&stream_topic);
    let lent = Arc::new(stream_processor::Lent {
        log: up.ends.log.clone(),
        partitions: table_partitions.clone(),
        positions: Mutex::new(resume),
        lane: lane.clone(),
        bell,
        topic: (stream_topic, stream_partitions),
        cluster: cluster.clone(),
        writer_epoch: up.writer_epoch,
        batch,
        board: shared.board.clone(),
    });
    let point = |owner: &str, rv: Option<String>, positions: Positions| Checkpoint {
        cluster: cluster.clone(),
        cluster_uid: up.ends.cluster_uid.clone(),
        owner: owner.to_owned(),
        rv,
        history_epoch: 0,
        scope_hash: String::new(),
        policy_hash: String::new(),
        positions,
    };
    let blank = point(owner, None, Positions::new());
    checkpoints.add(move || lane.watermark().map(|p| Checkpoint { positions: (*p).clone(), ..blank.clone() }));
    let to_publisher = publisher_addr.clone();
    let (stream, _) = ChildSpec::new("stream-processor", &arbiters.place("stream"), MAILBOX, move || {
        StreamProcessor::new(lent.clone(), to_publisher.clone())
    });

    // watchers
    let frame_budget = driver::FRAME_BUDGET / targets.len().max(1);
    let snapshots = Arc::new(Semaphore::new(SNAPSHOTS));
    let io = || driver::Shared {
        api: up.ends.api.clone(),
        frames: Arc::new(Semaphore::new(frame_budget)),
        frame_budget,
        snapshots: snapshots.clone(),
        deadlines: Deadlines::default().hurried(clock::pace()),
    };
    let policy = Arc::new(Policy {
        env_allow: settings.redaction.env_allow.clone(),
        annotations_deny: settings.redaction.annotations_deny.clone(),
        secret_annotations_allow: settings.redaction.secret_annotations_allow.clone(),
        configmap_full_namespaces: settings.redaction.configmaps.full_namespaces.clone(),
    });
    let mut watch = Group::one_for_one("watch").intensity(intensity).backoff(backoff).stop_together();
    let (mut rows, mut addresses) = (Vec::new(), Vec::new());
    let same_kind = |kind: &Kind| targets.iter().filter(|t| t.kind == *kind).cloned().collect();
    let mut siblings: BTreeMap<String, Arc<Siblings>> = BTreeMap::new();
    for target in &targets {
        let kind = target.kind.clone();
        let topic = named(&kind.topic());
        let resume = up.memory.checkpoints.get(&target.id());
        let resume_from = resume.map_or_else(Point::default, |c| Point {
            history_epoch: c.history_epoch,
            rv: Rv::new(c.rv.as_deref().unwrap_or_default()),
        });
        let writer = Writer::new(kind.clone(), topic.clone(), partitions(&topic), &cluster, up.writer_epoch);
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        let lane: Arc<Lane<Point>> = Lane::new(limits, move || ring.notify_one());
        let row = WatcherRow::new(target.clone(), lane.clone());
        rows.push(row.clone());
        let blank = Checkpoint {
            scope_hash: target.scope_hash(),
            policy_hash: checkpoint::policy_hash(&policy, &kind),
            ..point(&target.id(), None, Positions::new())
        };
        let rebase = up.memory.rebase(&target.id(), &blank.scope_hash, &blank.policy_hash);
        let rebase = rebase.map(|reason| Rebase { reason });
        let at = lane.clone();
        checkpoints.add(move || {
            let Point { history_epoch, rv } = at.watermark()?;
            // Behind a rewind there is no version to go on from until a list is complete.
            let rv = (!rv.is_empty()).then(|| rv.as_str().to_owned());
            Some(Checkpoint { rv, history_epoch, ..blank.clone() })
        });
        let redaction = (kind.clone(), policy.clone());
        let lent = Arc::new(watcher::Lent {
            target: target.clone(),
            capture: Mutex::new(None),
            overlay: Mutex::new(Overlay::new(limits.bytes / 2)),
            lane,
            bell,
            row,
            writer,
            redactor: Box::new(move || Redactor::new(redaction.0.clone(), redaction.1.clone())),
            config: Config {
                page_size: settings.watch.page_size,
                poll_interval: settings.watch.poll_interval,
                max_line: settings.watch.max_frame_bytes,
                max_page: settings.watch.max_page_bytes,
                max_record: record_limit(settings, &topic, &up),
                ..Config::default()
            },
            batch,
            store: store.clone(),
            folded: is_folded.clone(),
            siblings: siblings.entry(kind.id()).or_insert_with(|| Arc::new(Siblings::new(same_kind(&kind)))).clone(),
            rebase,
            resume_from,
            io: io(),
            metrics: shared.metrics.clone(),
        });
        let place = arbiters.place(if kind.id() == "pods" { "watch-0" } else { "watch-1" });
        let to_publisher = publisher_addr.clone();
        let (spec, addr): (ChildSpec, Addr<Watcher>) =
            ChildSpec::new(format!("watcher/{}", target.id()), &place, MAILBOX, move || {
                Watcher::new(lent.clone(), to_publisher.clone())
            });
        watch = watch.child(spec.hang_limit(hang).shutdown(drain).backoff(backoff));
        addresses.push((target.clone(), addr));
    }
    // answers about capture
    let lent = gaps::Lent {
        log: up.ends.log.clone(),
        topic: named(topic::GAPS),
        cluster: cluster.clone(),
        writer_epoch: up.writer_epoch,
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
        next: Arc::default(),
    };
    let (gap_reader, _) =
        ChildSpec::new("gaps", &arbiters.place("stream"), MAILBOX, move || GapReader::new(lent.clone()));
    let to_watchers = watchers.clone();
    let lent = Arc::new(auditor::Lent {
        api: up.ends.api.clone(),
        log: up.ends.log.clone(),
        store: store.clone(),
        board: shared.board.clone(),
        snapshots: snapshots.clone(),
        resync: Box::new(move |target, suspects| {
            let all = to_watchers.get().into_iter().flatten();
            if let Some((_, watcher)) = all.into_iter().find(|(t, _)| t == target) {
                rt::tell(watcher, watcher::Resync { reason: "audit", suspects });
            }
        }),
        metrics: shared.metrics.clone(),
        light: settings.watch.poll_interval,
        full: settings.watch.audit_interval,
        page: (settings.watch.page_size, settings.watch.max_page_bytes),
    });
    let (auditor, _) =
        ChildSpec::new("auditor", &arbiters.place("stream"), MAILBOX, move || Auditor::new(lent.clone()));

    // Nobody repairs before the watchers are there: the fold is not complete before this thread gets on.
    drop(watchers.set(addresses));
    shared.board.set_watchers(rows);

    let (metrics, life) = (shared.metrics.clone(), shared.life.clone());
    let end = shared.end.clone();
    let supervisor = Supervisor::new(vec![
        Group::rest_for_one("state")
            .intensity(intensity)
            .backoff(backoff)
            .child(shared_state.hang_limit(hang).backoff(backoff))
            .child(query.hang_limit(hang).backoff(backoff)),
        Group::one_for_one("publish")
            .intensity(intensity)
            .backoff(backoff)
            .child(publisher.hang_limit(hang).shutdown(drain).backoff(backoff)),
        Group::one_for_one("stream")
            .intensity(intensity)
            .backoff(backoff)
            .child(stream.hang_limit(hang).shutdown(Duration::from_secs(5)).backoff(backoff)),
        Group::one_for_one("answers")
            .intensity(intensity)
            .backoff(backoff)
            .child(gap_reader.hang_limit(hang).backoff(backoff))
            .child(auditor.hang_limit(hang).backoff(backoff)),
        watch,
    ])
    .intensity(intensity)
    .chaos(settings.chaos.enabled)
    .observe(move |fact| {
        count_restart(&metrics, fact);
        life.tell(fact);
    })
    .on_escalate(move |escalation| drop(end.send(End::GaveUp(escalation.to_string()))))
    .start()
    .map_err(|e| StartError::System(e.to_string()))?;
    drop(shared.control.set(Arc::new(Tree(supervisor.clone()))));
    drop(shared.client.set(StateClient::new(&query_addr)));
    Ok(supervisor)
}

/// The largest record that the topic takes: ours, or the topic's own limit if that is lower. 1 KiB is left for the
/// framing that the broker counts too.
fn record_limit(settings: &Settings, topic: &str, up: &Up) -> usize {
    let own = up.topics.iter().find(|t| t.name == topic).and_then(|t| t.config.get("max.message.bytes")?.parse().ok());
    settings.publisher.max_record_bytes.min(own.unwrap_or(usize::MAX)).saturating_sub(1024)
}

/// Where the fold is saved, if it is. A log in memory ends with the process: nothing of it could be gone on from.
fn saved_fold(settings: &Settings, cluster: &str, up: &Up) -> Option<Arc<Saving>> {
    let Ends { log, cluster_uid, .. } = &up.ends;
    let every = settings.store.save_interval;
    if every.is_zero() || log.engine() == "memory" {
        return None;
    }
    let identity = Identity {
        cluster: cluster.to_owned(),
        cluster_uid: cluster_uid.clone(),
        log: format!("{} {}", log.engine(), log.location()),
    };
    Some(Arc::new(Saving { fold: SavedFold::new(settings.fold_dir(), identity), every }))
}

fn store_options(settings: &Settings, cluster: &str, kinds: &[Kind], prefix: &str) -> StoreOptions {
    let tables = kinds.iter().map(|k| (k.clone(), format!("{prefix}{}", k.topic()).into())).collect();
    StoreOptions {
        max_bytes: settings.store.max_bytes,
        events_ttl: settings.store.events_ttl,
        events_max: settings.store.events_max,
        ring: settings.store.ring,
        ..StoreOptions::new(cluster, tables)
    }
}

fn count_restart(metrics: &crate::observe::metrics::Metrics, fact: &LifeFact) {
    if let LifeFact::Down { id, exit, .. } = fact {
        let reason = format!("{:?}", exit.reason).to_lowercase();
        metrics.actor_restarts.get_or_create(&ActorReason { actor: id.clone(), reason }).inc();
    }
}

/// The supervision tree as HTTP sees it.
struct Tree(SupervisorHandle);

impl ActorControl for Tree {
    fn tree(&self) -> BoxFuture<'_, Result<Vec<ChildStatus>, ControlError>> {
        Box::pin(self.0.tree())
    }

    fn kill<'a>(&'a self, id: &'a str, how: KillHow) -> BoxFuture<'a, Result<(), ControlError>> {
        Box::pin(self.0.kill(id, how))
    }

    fn restart<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), ControlError>> {
        Box::pin(self.0.restart(id))
    }
}
