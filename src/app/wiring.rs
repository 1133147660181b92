//! The one table of actors: who there is, on which thread, with what mailbox, and with whom it is restarted.
//!
//! | group | strategy | actors | arbiter | why there |
//! |---|---|---|---|---|
//! | state | rest_for_one | shared-state, query | state, query | queries are answered beside the fold, not behind it |
//! | publish | one_for_one | publisher | publish | the only one that touches the producer |
//! | stream | one_for_one | stream-processor | stream | |
//! | answers | one_for_one | gaps, auditor | stream | they wait more than they work |
//! | watch | one_for_one, stops together | watcher/<kind>[@namespace] | watch-0, watch-1 | pods are most of the changes |
//! | kinds | one_for_one | kinds | system | only where discovery must say what is named, or a kind waits for its topic; holds two tasks and waits |
//!
//! How one watcher is wired, at the start and when a kind appears, stands in [`super::watchers`].
//!
//! Started in this order (sinks first), stopped in reverse: watchers stop reading and wait for their acks, then the
//! publisher flushes.

use super::bringup::Up;
use super::ends::Ends;
use super::watchers::{Base, MAILBOX, Watchers, checkpoint, limits};
use super::{End, Shared, StartError};
use crate::actors::auditor::{self, Auditor};
use crate::actors::checkpoints::Checkpoints;
use crate::actors::following::{Cohort, Following};
use crate::actors::gaps::{self, GapReader};
use crate::actors::kinds::{self, Kinds};
use crate::actors::publisher::{self, Publisher};
use crate::actors::query::QueryActor;
use crate::actors::rt::{self, Arbiters, ChildSpec, Group, Supervisor, SupervisorHandle};
use crate::actors::shared_state::{self, Saving, SharedState};
use crate::actors::stream_processor::{self, Positions, StreamProcessor};
use crate::actors::watcher::Resync;
use crate::domain::checkpoint::Checkpoint;
use crate::domain::kind::{Kind, Tracking};
use crate::domain::lane::Lane;
use crate::domain::restart::{Backoff, Intensity};
use crate::domain::roster::Roster;
use crate::domain::topic;
use crate::log::Start;
use crate::messages::client::StateClient;
use crate::messages::control::{ActorControl, ChildStatus, ControlError, KillHow};
use crate::messages::life::LifeFact;
use crate::observe::clock;
use crate::observe::metrics::ActorReason;
use crate::settings::Settings;
use crate::store::{Identity, SavedFold, Store, StoreOptions};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Builds and starts everything.
pub(super) fn wire(
    settings: &Settings,
    shared: &Shared,
    up: Up,
    arbiters: &mut Arbiters,
) -> Result<SupervisorHandle, StartError> {
    let prefix = &settings.topics.prefix;
    let cluster = settings.cluster.name.clone().unwrap_or_default();
    let partitions = |name: &str| up.topics.iter().find(|t| t.name == name).map_or(1, |t| t.partitions);
    let named = |name: &str| -> Arc<str> { format!("{prefix}{name}").into() };
    let saved = saved_fold(settings, &cluster, &up);
    let options = store_options(settings, &cluster, &up.kinds, prefix);
    let store = Store::new(StoreOptions { keep_dead: saved.is_some(), ..options });
    store.set_writer_epoch(up.writer_epoch);
    let checkpoints = Checkpoints::new(named(topic::CHECKPOINTS), up.writer_epoch, up.memory.checkpoints.clone());
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
    let oldest_event = clock::wall_ms() - i64::try_from(settings.store.events_ttl.as_millis()).unwrap_or(i64::MAX);
    let start_of = |kind: &Kind| match kind.tracking() {
        Tracking::Stream => Start::Timestamp(oldest_event),
        Tracking::Table => Start::Beginning,
    };
    let of_kind = |kind: &Kind| {
        let (topic, start) = (named(&kind.topic()), start_of(kind));
        (0..partitions(&topic)).map(move |p| (topic.clone(), p, start)).collect::<Vec<_>>()
    };
    let cohort = Cohort::new(true, up.kinds.clone(), up.kinds.iter().flat_map(of_kind).collect());
    let following = Arc::new(Following::default());
    following.add(cohort.clone());
    let addresses = shared_state::Watchers::default();
    let end = shared.end.clone();
    let lent = shared_state::Lent {
        log: up.ends.log.clone(),
        store: store.clone(),
        following: following.clone(),
        writer_epoch: up.writer_epoch,
        watchers: addresses.clone(),
        superseded: Arc::new(move |epoch| {
            let why = format!("a writer with epoch {epoch} has taken over these topics: this process stops (exit 70)");
            drop(end.send(End::GaveUp(why)));
        }),
        saved,
        checkpoints: checkpoints.clone(),
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
    };
    let (shared_state, state_addr) =
        ChildSpec::new("shared-state", &arbiters.place("state"), MAILBOX, move || SharedState::new(lent.clone()));
    let lent = store.clone();
    let (query, query_addr) =
        ChildSpec::new("query", &arbiters.place("query"), 1024, move || QueryActor::new(lent.clone()));

    // stream processor
    let owner = "~stream-processor";
    let resume = up.memory.checkpoints.get(owner).map(|c| c.positions.clone()).unwrap_or_default();
    let bell = Arc::new(Notify::new());
    let ring = bell.clone();
    let lane: Arc<Lane<Arc<Positions>>> = Lane::new(limits(settings, 1), move || ring.notify_one());
    let stream_topic = named(topic::EVENT_STREAM);
    let stream_partitions = partitions(&stream_topic);
    let lent = Arc::new(stream_processor::Lent {
        log: up.ends.log.clone(),
        following: following.clone(),
        positions: Mutex::new(resume),
        lane: lane.clone(),
        bell,
        topic: (stream_topic, stream_partitions),
        cluster: cluster.clone(),
        writer_epoch: up.writer_epoch,
        batch: (settings.publisher.batch_events, settings.publisher.batch_bytes),
        board: shared.board.clone(),
    });
    let blank = checkpoint(&cluster, &up.ends.cluster_uid, owner, Positions::new());
    let stream_lane = lane.clone();
    checkpoints.set(owner, move || lane.watermark().map(|p| Checkpoint { positions: (*p).clone(), ..blank.clone() }));
    let to_publisher = publisher_addr.clone();
    let (stream, stream_addr) = ChildSpec::new("stream-processor", &arbiters.place("stream"), MAILBOX, move || {
        StreamProcessor::new(lent.clone(), to_publisher.clone())
    });

    // watchers
    let base = Base {
        store,
        checkpoints,
        following,
        publisher: publisher_addr,
        addresses,
        stream_lane,
        readers: (state_addr, stream_addr),
    };
    let watchers = Watchers::new(settings, shared, &up, base, arbiters);
    let mut watch = Group::one_for_one(super::watchers::GROUP).intensity(intensity).backoff(backoff).stop_together();
    let mut rows = Vec::new();
    for wired in watchers.at_start(&up.kinds, &cohort) {
        watch = watch.child(wired.spec);
        rows.push(wired.row);
    }
    shared.board.set_watchers(rows);
    for kind in &up.parked {
        tracing::warn!("{kind}; looked for again");
    }
    shared.board.set_parked(up.parked);

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
    let to_watchers = watchers.base.addresses.clone();
    let lent = Arc::new(auditor::Lent {
        api: up.ends.api.clone(),
        log: up.ends.log.clone(),
        store: watchers.base.store.clone(),
        board: shared.board.clone(),
        snapshots: watchers.snapshots.clone(),
        resync: Box::new(move |target, suspects| {
            let all = to_watchers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, watcher)) = all.iter().find(|(t, _)| t == target) {
                rt::tell(watcher, Resync { reason: "audit", suspects });
            }
        }),
        metrics: shared.metrics.clone(),
        light: settings.watch.poll_interval,
        full: settings.watch.audit_interval,
        page: (settings.watch.page_size, settings.watch.max_page_bytes),
    });
    let (auditor, _) =
        ChildSpec::new("auditor", &arbiters.place("stream"), MAILBOX, move || Auditor::new(lent.clone()));

    // kinds
    let mut looking = Group::one_for_one("kinds").intensity(intensity).backoff(backoff);
    // Also where a kind that needs no discovery waits for its topic.
    if settings.watch.needs_discovery() || !shared.board.parked().is_empty() {
        let lent = Arc::new(kinds::Lent {
            keeper: watchers.clone(),
            roster: tokio::sync::Mutex::new(Roster::new(up.kinds.clone())),
            most: settings.watch.max_kinds,
            api: up.ends.api.clone(),
            definitions: settings.watch.needs_discovery().then(super::kinds::definitions),
            poll_interval: settings.watch.poll_interval,
            bell: Notify::new(),
            board: shared.board.clone(),
        });
        let (spec, _) = ChildSpec::new("kinds", &arbiters.system_place(), MAILBOX, move || Kinds::new(lent.clone()));
        looking = looking.child(spec.hang_limit(hang).backoff(backoff));
    }

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
        looking,
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
    drop(watchers.supervisor.set(supervisor.clone()));
    drop(shared.control.set(Arc::new(Tree(supervisor.clone()))));
    drop(shared.client.set(StateClient::new(&query_addr)));
    Ok(supervisor)
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
