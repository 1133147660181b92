//! From nothing to a fenced writer: connect both ends, create and verify topics, claim the next writer epoch, and mark it
//! in every partition. What is away is waited for, with backoff, and said once per change of mind.

use super::ends::{self, Ends, Source};
use super::farewell::Leaving;
use super::traffic::ApiTraffic;
use super::{Shared, StartError, kinds};
use crate::actors::kinds::Found;
use crate::actors::publisher::ProducerSlot;
use crate::domain::ack::{AckSink, AckToken, Outcome};
use crate::domain::checkpoint::{self, Memory, Mismatch, writer_marker};
use crate::domain::kind::Kind;
use crate::domain::record::OutRecord;
use crate::domain::redact::Policy;
use crate::domain::roster::Roster;
use crate::domain::target::Target;
use crate::domain::topic::{self, TopicSpec};
use crate::kubernetes::client::ClusterError;
use crate::log::{Log, LogError, SendError, topics};
use crate::observe::board::ParkedKind;
use crate::observe::clock;
use crate::sandbox::Sandbox;
use crate::settings::{ClusterMode, Settings, TopicCreation};
use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Ready to be wired.
pub(super) struct Up {
    pub ends: Ends,
    pub producer: Arc<ProducerSlot>,
    pub topics: Vec<TopicSpec>,
    /// What is watched from the start.
    pub kinds: Vec<Kind>,
    /// What is named and is not.
    pub parked: Vec<ParkedKind>,
    pub memory: Memory,
    pub writer_epoch: u64,
    /// Kinds that the settings name no more.
    pub leaving: Vec<Leaving>,
    /// The API server of our own, where the settings ask for one; it ends when this is dropped.
    pub sandbox: Option<Sandbox>,
}

/// Between two tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a checkpoint may take that a kind which has appeared waits for.
const CHECKPOINTS: Duration = Duration::from_secs(30);

pub(super) async fn bring_up(settings: &Settings, source: Source, shared: &Shared) -> Result<Up, StartError> {
    let mut sandbox = None;
    let ends = match source {
        Source::Given(ends) => ends,
        Source::Configured { loaded, options, io } => {
            sandbox = ends::start_sandbox(&loaded.settings, &io).await?;
            let (opened, io) = (loaded.clone(), io);
            // Off this thread: what an embedded log does when it is opened takes as long as its last hours were busy.
            #[allow(clippy::disallowed_methods)] // part of the wiring, and awaited
            let log = io.spawn_blocking(move || ends::open_log(&opened)).await;
            let log = log.map_err(|e| StartError::System(e.to_string()))??;
            let settings = loaded.settings.clone();
            let cluster_shared = shared.clone();
            // The client's worker lives on the runtime that made it: the shared one, which outlives every arbiter.
            let cluster =
                io.spawn(async move { connect_cluster(&settings, &cluster_shared, options.require_healthy).await });
            let (api, cluster_uid) = cluster.await.map_err(|e| StartError::System(e.to_string()))??;
            if options.require_healthy {
                log.list().await.map_err(|e| StartError::Unreachable(e.to_string()))?;
            }
            Ends { api, cluster_uid, log }
        }
    };
    let name = settings.cluster.name.clone().unwrap_or_default();
    shared
        .board
        .set_ends(&format!("{name} ({})", ends.cluster_uid), &format!("{} {}", ends.log.engine(), ends.log.location()));
    drop(shared.log.set(ends.log.clone()));
    let (Found { mut kinds, mut parked, unsure, left_out }, mut served) = resolve(settings, shared, &ends).await?;
    let mut topics = settings.topics.specs(&kinds);
    let mut ready = prepare_topics(settings, shared, &*ends.log, &topics).await?;
    let mut waiting = ready.park(&mut kinds, &mut parked, &settings.topics.prefix);
    served.extend(left_out.iter().cloned());
    let gone = gone_meanwhile(settings, shared, &ends, &served).await?;
    // Of a group that does not answer nothing is known: its kinds begin when it does, and hold nothing up until then.
    kinds.extend(gone.into_iter().filter(|kind| !unsure.iter().any(|group| group == kind.group())));
    ready = prepare_topics(settings, shared, &*ends.log, &settings.topics.specs(&kinds)).await?;
    waiting.extend(ready.park(&mut kinds, &mut parked, &settings.topics.prefix));
    topics = settings.topics.specs(&kinds);
    shared.topics.set(topics.clone());
    honour_lower_limits(&mut topics, &ready.drift);
    let producer = ProducerSlot::new(ends.log.clone());
    let (memory, writer_epoch) = claim_epoch(settings, shared, &ends, &producer, &topics).await?;
    let ours = [&kinds[..], &waiting].concat();
    let leaving = drop_owners(settings, shared, &memory, (&ours, &left_out), &producer, writer_epoch).await?;
    shared.board.writer_epoch.store(writer_epoch, Ordering::Relaxed);
    shared.board.set_state("folding");
    Ok(Up { ends, producer, topics, kinds, parked, memory, writer_epoch, leaving, sandbox })
}

/// Tries until it works or cannot work, and shows on the board what is away.
async fn retrying<T, F>(shared: &Shared, what: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, StartError>
where
    F: Future<Output = Result<T, Trial>>,
{
    let mut pause = RETRY.0;
    loop {
        match attempt().await {
            Ok(value) => {
                if shared.board.degrade(what, None) {
                    tracing::info!("{what} answers");
                }
                return Ok(value);
            }
            Err(Trial::Never(e)) => return Err(e),
            Err(Trial::Later(why)) => {
                if shared.board.degrade(what, Some(why.clone())) {
                    tracing::warn!("{what}: {why}; retrying");
                }
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

enum Trial {
    Later(String),
    Never(StartError),
}

impl From<LogError> for Trial {
    fn from(e: LogError) -> Self {
        match e {
            LogError::Setting { .. } => Self::Never(StartError::Refused(e.to_string())),
            // Refusals (authorization, a topic being deleted) can be mended while we wait.
            LogError::Unreachable(..) | LogError::Refused(_) => Self::Later(e.to_string()),
        }
    }
}

async fn connect_cluster(
    settings: &Settings,
    shared: &Shared,
    once: bool,
) -> Result<(Arc<dyn crate::kubernetes::ApiServer>, String), StartError> {
    let traffic = Arc::new(ApiTraffic(shared.metrics.clone()));
    let cluster = ends::open_cluster(settings, traffic).await?;
    let url = cluster.url().to_owned();
    let uid = match &settings.cluster.id {
        Some(id) => id.clone(),
        None => {
            retrying(shared, "the API server", || async {
                cluster.uid().await.map_err(|e| {
                    let why = match e {
                        ClusterError::Forbidden(_) => format!(
                            "{url}: not allowed to get namespace kube-system, whose uid identifies the cluster: \
                             grant `get` on it, or set cluster.id"
                        ),
                        e => format!("{url}: {e}"),
                    };
                    if once { Trial::Never(StartError::Unreachable(why)) } else { Trial::Later(why) }
                })
            })
            .await?
        }
    };
    Ok((Arc::new(cluster), uid))
}

/// The kinds to watch, and those that are named and not served: they hold nothing up.
/// Also all that are served and wanted, before the cap.
async fn resolve(settings: &Settings, shared: &Shared, ends: &Ends) -> Result<(Found, Vec<Kind>), StartError> {
    if !settings.watch.needs_discovery() {
        let kinds = settings.watch.captured();
        return Ok((Found { kinds: kinds.clone(), ..Found::default() }, kinds));
    }
    retrying(shared, "discovery", || async {
        let mut found = kinds::find(settings, &*ends.api).await.map_err(Trial::Later)?;
        let most = settings.watch.max_kinds;
        let new = Roster::default().new_of(&found.kinds, most);
        found.parked.extend(new.beyond.iter().map(|kind| kinds::beyond(kind, most)));
        let served = std::mem::replace(&mut found.kinds, new.start);
        Ok((found, served))
    })
    .await
}

/// Kinds that are wanted and not served, and were watched by an earlier process: what the log holds of them was deleted
/// while nobody looked. They are watched as if they were there; whoever tends the kinds then finds them gone.
async fn gone_meanwhile(
    settings: &Settings,
    shared: &Shared,
    ends: &Ends,
    served: &[Kind],
) -> Result<Vec<Kind>, StartError> {
    if !settings.watch.needs_discovery() {
        return Ok(Vec::new());
    }
    let checkpoints = format!("{}{}", settings.topics.prefix, topic::CHECKPOINTS);
    retrying(shared, "the log", || async {
        let memory = Memory::read(&ends.log.read_all(&checkpoints).await?);
        let owners = memory.checkpoints.keys().map(String::as_str);
        let gone = kinds::not_served(settings, owners, served);
        let specs = settings.topics.specs(&gone);
        let there = ends.log.describe(&specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>()).await?;
        let prefix = &settings.topics.prefix;
        let has_topic = |kind: &Kind| there.iter().any(|topic| topic.name == format!("{prefix}{}", kind.topic()));
        Ok(gone.into_iter().filter(has_topic).collect())
    })
    .await
}

/// Topics of kinds that appear while the process runs: each with the reason why it cannot be written to, if there is one.
pub(super) async fn prepare_later(
    settings: &Settings,
    log: &dyn Log,
    mut specs: Vec<TopicSpec>,
) -> Vec<(TopicSpec, Option<String>)> {
    let plan = match topics::plan(log, &specs).await {
        Ok(plan) => plan,
        Err(e) => return specs.into_iter().map(|spec| (spec, Some(e.to_string()))).collect(),
    };
    let create = settings.topics.create == TopicCreation::Missing;
    let created = if create { log.create_all(&plan.create).await } else { Ok(()) };
    for drift in plan.drift.iter().filter(|drift| !drift.is_hard()) {
        tracing::warn!("{drift}");
    }
    honour_lower_limits(&mut specs, &plan.drift);
    let why_not = |spec: &TopicSpec| {
        let drift =
            plan.drift.iter().find(|drift| drift.is_hard() && drift.topic == spec.name).map(ToString::to_string);
        let missing = plan.create.iter().any(|missing| missing.name == spec.name);
        drift.or(match &created {
            _ if !missing => None,
            _ if !create => Some(not_made(spec)),
            Ok(()) => None,
            Err(e) => Some(e.to_string()),
        })
    };
    specs.into_iter().map(|spec| (why_not(&spec), spec)).map(|(why, spec)| (spec, why)).collect()
}

/// What became of the topics.
struct Ready {
    drift: Vec<topics::Drift>,
    /// Topics of one kind that are not there, each with the reason: that kind waits, and no other.
    unfit: Vec<(String, String)>,
}

impl Ready {
    /// Takes the kinds that have no topic to those that are looked for again, and gives them.
    fn park(&self, kinds: &mut Vec<Kind>, parked: &mut Vec<ParkedKind>, prefix: &str) -> Vec<Kind> {
        let no_topic = |kind: &mut Kind| {
            let topic = format!("{prefix}{}", kind.topic());
            let unfit = self.unfit.iter().find(|(name, _)| *name == topic);
            parked.extend(unfit.map(|(_, why)| ParkedKind {
                kind: kind.id(),
                reason: why.clone(),
                did_you_mean: None,
            }));
            unfit.is_some()
        };
        kinds.extract_if(.., no_topic).collect()
    }
}

/// Creates what is missing and verifies the rest. A wrong number of partitions ends the process: keys would move.
async fn prepare_topics(
    settings: &Settings,
    shared: &Shared,
    log: &dyn Log,
    specs: &[TopicSpec],
) -> Result<Ready, StartError> {
    let (create, prefix) = (settings.topics.create == TopicCreation::Missing, settings.topics.prefix.as_str());
    retrying(shared, "the log", || try_topics(log, specs, create, prefix)).await
}

async fn try_topics(log: &dyn Log, specs: &[TopicSpec], create: bool, prefix: &str) -> Result<Ready, Trial> {
    let plan = topics::plan(log, specs).await?;
    plan.refuse_hard_drift().map_err(|e| Trial::Never(StartError::Refused(e.to_string())))?;
    let mut unfit = Vec::new();
    if !plan.create.is_empty() {
        let (of_kinds, of_all): (Vec<_>, Vec<_>) =
            plan.create.iter().partition(|spec| is_of_a_kind(&spec.name, prefix));
        if !create {
            if !of_all.is_empty() {
                let missing = of_all.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Trial::Later(format!("topics are missing and topics.create is \"never\": {missing}")));
            }
            unfit.extend(of_kinds.iter().map(|spec| (spec.name.clone(), not_made(spec))));
        } else {
            let missing: Vec<&str> = plan.create.iter().map(|spec| spec.name.as_str()).collect();
            tracing::info!(topics = ?missing, "creating what is missing");
            let made = log.create_all(&plan.create).await;
            if matches!(made, Err(LogError::Refused(_))) {
                // One that is refused must not hold up the others: each by itself tells which it is.
                for spec in topics::plan(log, specs).await?.create {
                    match log.create(&spec).await {
                        Err(LogError::Refused(why)) if is_of_a_kind(&spec.name, prefix) => unfit.push((spec.name, why)),
                        made => made?,
                    }
                }
            } else {
                made?;
            }
        }
    }
    for drift in &plan.drift {
        tracing::warn!("{drift}");
    }
    Ok(Ready { drift: plan.drift, unfit })
}

fn is_of_a_kind(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).unwrap_or(name).starts_with("k8s-")
}

fn not_made(spec: &TopicSpec) -> String {
    format!("topic {} is missing and topics.create is \"never\": create it", spec.name)
}

/// A topic that takes less than it should gets stubs for what is larger: a record that it refuses would kill one producer
/// after the other, and no retry helps.
fn honour_lower_limits(specs: &mut [TopicSpec], drift: &[topics::Drift]) {
    for drift in drift.iter().filter(|d| d.what == MAX_MESSAGE) {
        let (Ok(have), Ok(want)) = (drift.have.parse::<u64>(), drift.want.parse::<u64>()) else { continue };
        if have < want
            && let Some(spec) = specs.iter_mut().find(|spec| spec.name == drift.topic)
        {
            spec.config.insert(MAX_MESSAGE.to_owned(), drift.have.clone());
        }
    }
}

pub(super) const MAX_MESSAGE: &str = "max.message.bytes";

/// Reads the checkpoints, claims the next epoch there, and then marks it in every partition that is folded or told from.
async fn claim_epoch(
    settings: &Settings,
    shared: &Shared,
    ends: &Ends,
    producer: &ProducerSlot,
    specs: &[TopicSpec],
) -> Result<(Memory, u64), StartError> {
    let checkpoints: Arc<str> = format!("{}{}", settings.topics.prefix, topic::CHECKPOINTS).into();
    let name = settings.cluster.name.as_deref().unwrap_or_default();
    retrying(shared, "the log", || async {
        let memory = Memory::read(&ends.log.read_all(&checkpoints).await?);
        memory.check(name, &ends.cluster_uid).map_err(|e| {
            // Of a sandbox the uid only changes with its files, and no name would bring them back.
            let lost = settings.cluster.mode == ClusterMode::Sandbox && matches!(e, Mismatch::Uid { .. });
            let why = if lost {
                format!(
                    "the log in {} is that of another sandbox cluster than the one in {}, whose files were lost or moved \
                     away: bring them back, or begin anew with a data_dir of its own (--set data_dir=DIR)",
                    ends.log.location(),
                    settings.sandbox_dir().display()
                )
            } else {
                e.to_string()
            };
            Trial::Never(StartError::Refused(why))
        })?;
        let mut epoch = memory.writer_epoch + 1;
        loop {
            // The checkpoints are fenced first: then nothing an older writer still reaches can move the resume points.
            let outcomes =
                write(shared, producer, vec![writer_marker(&checkpoints, 0, epoch, clock::wall_ms())]).await?;
            let ours = outcomes.first().copied().unwrap_or_default();
            let now = ends.log.read_all(&checkpoints).await?;
            let others = now.iter().filter(|r| r.offset != ours && r.writer_epoch().is_some_and(|e| e >= epoch));
            let Some(highest) = others.filter_map(|r| r.writer_epoch()).max() else {
                // Whatever the last writer checkpointed before our marker counts.
                let memory = Memory::read(&now);
                let mut markers = Vec::new();
                for spec in specs.iter().filter(|spec| is_marked(&spec.name, &settings.topics.prefix)) {
                    let topic: Arc<str> = spec.name.as_str().into();
                    markers.extend((0..spec.partitions).map(|p| writer_marker(&topic, p, epoch, clock::wall_ms())));
                }
                write(shared, producer, markers).await?;
                tracing::info!(writer_epoch = epoch, checkpoints = memory.checkpoints.len(), "this process writes");
                return Ok((memory, epoch));
            };
            // Two processes started at once and chose alike; whoever goes on fences the other off.
            epoch = highest + 1;
        }
    })
    .await
}

/// What the checkpoints of kinds are to say before anything of these kinds is written: who watched them in another scope is
/// forgotten, and begins with a list should that scope come back; who watched them in this one, by another selector or under
/// another redaction, leaves a log that is not settled until everything is written anew.
pub(super) fn before_writing(
    settings: &Settings,
    policy: &Policy,
    memory: &Memory,
    kinds: &[Kind],
    writer_epoch: u64,
) -> Vec<OutRecord> {
    let checkpoints: Arc<str> = format!("{}{}", settings.topics.prefix, topic::CHECKPOINTS).into();
    let cluster = settings.cluster.name.as_deref().unwrap_or_default();
    let (targets, now) = (settings.watch.targets(kinds), clock::wall_ms());
    let gone = memory.gone(&targets).into_iter();
    let gone = gone.filter(|owner| kinds.iter().any(|kind| kind.id() == checkpoint::kind_of(owner)));
    let forgotten = gone.map(|owner| checkpoint::forget(&checkpoints, cluster, &owner, writer_epoch, now));
    let unsettled = targets
        .iter()
        .filter_map(|target| memory.unsettled(&target.id(), &target.scope_hash(), &policy.hash(&target.kind)));
    forgotten.chain(unsettled.map(|checkpoint| checkpoint.record(&checkpoints, writer_epoch, now))).collect()
}

/// Writes what the checkpoints are to say before anything else is; see [`before_writing`]. Gives the kinds of which nothing is captured any more; their checkpoints stay,
/// without a version, until all is said about them.
///
/// Kinds that are meant and not watched (not served now, or too many) keep theirs: see [`super::watchers::Watchers::start`].
async fn drop_owners(
    settings: &Settings,
    shared: &Shared,
    memory: &Memory,
    (kinds, left_out): (&[Kind], &[Kind]),
    producer: &ProducerSlot,
    writer_epoch: u64,
) -> Result<Vec<Leaving>, StartError> {
    let prefix = &settings.topics.prefix;
    let checkpoints: Arc<str> = format!("{prefix}{}", topic::CHECKPOINTS).into();
    let mut leaving: Vec<Leaving> = Vec::new();
    let mut records = before_writing(settings, &shared.policy, memory, kinds, writer_epoch);
    for owner in memory.gone(&settings.watch.targets(kinds)) {
        let now = clock::wall_ms();
        let kind_id = checkpoint::kind_of(&owner);
        if kinds.iter().any(|kind| kind.id() == kind_id) {
            continue;
        }
        let Some(kind) = kinds::not_meant(settings, &owner, left_out) else { continue };
        if let Some(left) = memory.checkpoints.get(&owner).and_then(|left| left.without_version()) {
            records.push(left.record(&checkpoints, writer_epoch, now));
        }
        match leaving.iter_mut().find(|leaving| leaving.kind == kind) {
            Some(leaving) => leaving.owners.push(owner),
            None => {
                let topic = format!("{prefix}{}", kind.topic()).into();
                let whole = Target::all(kind.clone()).scope_hash();
                let vouched = memory.redacted_by(kind_id, &shared.policy.hash(&kind), &whole);
                leaving.push(Leaving { kind, topic, vouched, owners: vec![owner] });
            }
        }
    }
    retrying(shared, "the log", || async {
        write(shared, producer, records.clone()).await?;
        Ok(())
    })
    .await?;
    Ok(leaving)
}

/// Topics whose partitions carry writer markers: everything that is written by lanes.
pub(super) fn is_marked(name: &str, prefix: &str) -> bool {
    let name = name.strip_prefix(prefix).unwrap_or(name);
    name.starts_with("k8s-") || name == topic::SHARED_STATE || name == topic::EVENT_STREAM
}

/// One record's answer, for whoever awaits it.
struct Answer(Mutex<Option<oneshot::Sender<Outcome>>>);

impl Answer {
    /// The sink of one token, and where its outcome comes out.
    fn new() -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (tell, told) = oneshot::channel();
        (Arc::new(Self(Mutex::new(Some(tell)))), told)
    }
}

impl AckSink for Answer {
    fn settle(&self, _: u64, _: u64, outcome: Outcome) {
        if let Some(tell) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever asked may have given up.
            drop(tell.send(outcome));
        }
    }

    fn is_current(&self, _: u64) -> bool {
        true
    }
}

/// The same for kinds that appear while the process runs; the error says why it could not be written.
pub(super) async fn write_before(shared: &Shared, slot: &ProducerSlot, records: Vec<OutRecord>) -> Result<(), String> {
    match tokio::time::timeout(CHECKPOINTS, write(shared, slot, records)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(Trial::Later(why))) => Err(why),
        Ok(Err(Trial::Never(error))) => Err(error.to_string()),
        Err(_) => Err(format!("no checkpoint was written within {} s", CHECKPOINTS.as_secs())),
    }
}

/// Writes records and waits until all are acked; their offsets. On any failure the producer is replaced.
async fn write(shared: &Shared, slot: &ProducerSlot, records: Vec<OutRecord>) -> Result<Vec<i64>, Trial> {
    let producer = slot.get(&shared.metrics)?;
    let mut answers = Vec::with_capacity(records.len());
    for record in records {
        let topic = record.topic.clone();
        let (answer, told) = Answer::new();
        let token = AckToken::new(answer, 0, 0);
        if let Err((error, ..)) = producer.send(record, token) {
            if error != SendError::QueueFull {
                slot.discard();
            }
            return Err(Trial::Later(format!("{topic} takes no records: {error:?}")));
        }
        answers.push((topic, told));
    }
    let mut offsets = Vec::with_capacity(answers.len());
    for (topic, told) in answers {
        match told.await {
            Ok(Outcome::Acked { offset, .. }) => offsets.push(offset),
            other => {
                slot.discard();
                return Err(Trial::Later(format!("a marker on {topic} was not written: {other:?}")));
            }
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemoryLog;

    #[tokio::test]
    async fn a_kind_without_a_topic_is_parked_at_the_start_and_the_others_and_what_all_need_are_not() {
        let spec = |name: &str| TopicSpec { name: name.into(), partitions: 1, replication: 1, config: [].into() };
        let specs = ["x.k8s-pods", "x.k8s-services", "x.shared-state"].map(spec);
        let log = MemoryLog::default();
        log.create(&specs[0]).await.expect("made");
        let Err(Trial::Later(why)) = try_topics(&log, &specs, false, "x.").await else {
            panic!("all need one of them")
        };
        assert!(why.contains("x.shared-state") && !why.contains("x.k8s-services"), "{why}");
        log.create(&specs[2]).await.expect("made");
        let ready = try_topics(&log, &specs, false, "x.").await.unwrap_or_else(|_| panic!("one kind waits"));
        let (mut kinds, mut parked) =
            (["pods", "services"].map(|k| Kind::builtin(k).expect("built in")).to_vec(), vec![]);
        let waiting = ready.park(&mut kinds, &mut parked, "x.");
        assert_eq!((kinds[0].plural(), waiting[0].plural(), kinds.len() + waiting.len()), ("pods", "services", 2));
        let said = "topic x.k8s-services is missing and topics.create is \"never\": create it";
        assert_eq!(parked, [ParkedKind { kind: "services".into(), reason: said.into(), did_you_mean: None }]);
        let ready = try_topics(&log, &specs, true, "x.").await.unwrap_or_else(|_| panic!("it can be made"));
        assert!(ready.unfit.is_empty());
        let wrong = [TopicSpec { partitions: 2, ..specs[1].clone() }];
        assert!(matches!(try_topics(&log, &wrong, true, "x.").await, Err(Trial::Never(_))), "keys would move");
    }

    #[test]
    fn a_topic_that_takes_less_than_it_should_limits_the_records_and_one_that_takes_more_does_not() {
        let spec = |name: &str| TopicSpec {
            name: name.into(),
            partitions: 1,
            replication: 1,
            config: [(MAX_MESSAGE.to_owned(), "4194304".to_owned())].into(),
        };
        let drift = |topic: &str, what: &str, have: &str| topics::Drift {
            topic: topic.into(),
            what: what.into(),
            have: have.into(),
            want: "4194304".into(),
            fixable: true,
        };
        let mut specs = [spec("less"), spec("more"), spec("other")];
        let drift =
            [drift("less", MAX_MESSAGE, "1048588"), drift("more", MAX_MESSAGE, "9000000"), drift("other", "x", "1")];
        honour_lower_limits(&mut specs, &drift);
        let limits: Vec<&str> = specs.iter().map(|s| s.config[MAX_MESSAGE].as_str()).collect();
        assert_eq!(limits, ["1048588", "4194304", "4194304"]);
    }
}
