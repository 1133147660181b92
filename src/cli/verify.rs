//! `verify`: whether the log says what the API server says. The API server is asked with credentials of this command's own,
//! for metadata only; the log is asked through the running process or, where none runs, folded here.

use super::args::{Global, Output, Verify};
use super::client::{Path, Server, ServerError};
use super::connect;
use super::failure::{ERROR, Failure, UNAVAILABLE, USAGE};
use super::kinds::among;
use super::output::{Out, Table};
use crate::domain::audit::{Difference, Side, Version, confirmed, differences};
use crate::domain::fold::{Scope, Step, judge};
use crate::domain::index::Name;
use crate::domain::kind::{Kind, Tracking};
use crate::domain::rv::Rv;
use crate::domain::target::{Selectors, Target};
use crate::kubernetes::client::Cluster;
use crate::kubernetes::identities::{self, ListError, Listed};
use crate::log::{Log, Reader, Start};
use crate::settings::Loaded;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at what differs.
const AGAIN: Duration = Duration::from_millis(500);
/// What stays the same for so long, while the process has long passed the list, is no change on its way.
const STABLE: Duration = Duration::from_secs(10);
/// Silence of a log that is read to its end.
const SILENCE: Duration = Duration::from_secs(30);

/// Compares; exit code 0 only when nothing differs.
pub async fn verify(global: &Global, verify: Verify, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, Vec::new())?;
    let named = loaded.settings.watch.named();
    let kinds = verify.kind.iter().map(|typed| among(typed, &named).map(|kind| kind.id));
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    if let Some(kind) = kinds.iter().find(|id| Kind::builtin(id).is_some_and(|k| k.tracking() == Tracking::Stream)) {
        let why = format!("{kind} disappear by their time, here and there: there is nothing to compare");
        return Err(Failure::with(USAGE, why));
    }
    let deadline = Instant::now() + verify.wait;
    let source = Source::find(global, &loaded, deadline).await?;
    let cluster = connect::open_cluster(&loaded.settings).await?;
    let targets = source.targets(&loaded, &cluster, deadline).await?;
    if let Some(unknown) = kinds.iter().find(|id| !targets.iter().any(|(t, _)| t.kind.id() == **id)) {
        let mut watched: Vec<String> = targets.iter().map(|(t, _)| t.kind.id()).collect();
        watched.dedup();
        return Err(Failure::error(format!("{unknown} is not watched; these are: {}", watched.join(", "))));
    }
    let namespace = verify.namespace.as_deref();
    let mut verdicts = Vec::new();
    for (mut target, parked) in targets {
        let wanted = kinds.is_empty() || kinds.contains(&target.kind.id());
        let inside = namespace.is_none() || target.namespace.is_none() || target.namespace.as_deref() == namespace;
        if wanted && inside {
            if let Some(why) = parked {
                return Err(Failure::error(format!("{} is parked, its log stands still: {why}", target.id())));
            }
            let watcher = target.id();
            target.namespace = namespace.map(Arc::from).or(target.namespace);
            verdicts.push(compare(&cluster, &source, &loaded, target, &watcher, deadline).await?);
        }
    }
    if verdicts.is_empty() {
        return Err(Failure::error("nothing is watched there"));
    }
    show(&verdicts, verify.output, out)?;
    Ok(if verdicts.iter().all(|v| v.differences.is_empty()) { 0 } else { ERROR })
}

/// What came out for one target.
struct Verdict {
    target: Target,
    objects: usize,
    differences: Vec<Difference>,
}

/// Looks until both agree, or what differs is stable, or the time is over.
async fn compare(
    cluster: &Cluster,
    source: &Source,
    loaded: &Loaded,
    target: Target,
    watcher: &str,
    deadline: Instant,
) -> Result<Verdict, Failure> {
    let watch = &loaded.settings.watch;
    let mut first: Option<(Rv, Instant, Vec<Difference>)> = None;
    loop {
        let listed = identities::list(cluster, &target, watch.page_size, watch.max_page_bytes).await;
        let Listed { rv, side, .. } = listed.map_err(|error| unlisted(&error, &target))?;
        let found = differences(&rv, &side, &source.side(&target, deadline).await?);
        let verdict = |differences| Verdict { target: target.clone(), objects: side.len(), differences };
        if found.is_empty() {
            return Ok(verdict(found));
        }
        let now = Instant::now();
        let (list, since, known) = first.take().unwrap_or_else(|| (rv, now, found.clone()));
        // What a second look does not confirm is on its way, and is looked at from here on as if it were new.
        let same = confirmed(&known, found.clone()).len() == found.len() && known.len() == found.len();
        let settled = match source {
            // Nobody writes: a second look has nothing to wait for but the API server's own changes.
            Source::Log { .. } => same && now > since,
            Source::Process(server) => same && now >= since + STABLE && passed(server, watcher, &list).await?,
        };
        if settled || now >= deadline {
            return Ok(verdict(found));
        }
        first = Some(if same { (list, since, known) } else { (list, now, found) });
        sleep(AGAIN).await;
    }
}

fn unlisted(error: &ListError, target: &Target) -> Failure {
    let id = target.id();
    match error {
        ListError::Refused(code @ (401 | 403)) => {
            Failure::error(format!("these credentials may not list {id} ({code}): see `agent-events check`"))
        }
        ListError::Refused(404) => Failure::error(format!("the API server does not serve {id}")),
        ListError::Refused(code) => Failure::with(UNAVAILABLE, format!("the API server answers {code} for {id}")),
        ListError::Away(why) => Failure::with(UNAVAILABLE, format!("the API server cannot be asked: {why}")),
        ListError::TooMany => Failure::error(format!("{id}: {error}; name a namespace with -n")),
    }
}

/// Whether what the watcher has durably written is as new as that list.
async fn passed(server: &Server, watcher: &str, list: &Rv) -> Result<bool, Failure> {
    let pipeline: Pipeline = server.json(Path::of(&["pipeline"]).as_str()).await?;
    let watermark = pipeline.watchers.into_iter().find(|w| w.id == watcher).and_then(|w| w.watermark);
    Ok(watermark.is_some_and(|rv| Rv::new(&rv) >= *list))
}

/// Who says what the log says.
enum Source {
    Process(Server),
    /// With the prefix of the topics and the name of the cluster.
    Log {
        log: Arc<dyn Log>,
        prefix: String,
        cluster: String,
    },
}

#[derive(Deserialize)]
struct Pipeline {
    cluster: String,
    watchers: Vec<Watcher>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Watcher {
    id: String,
    kind: String,
    namespace: Option<String>,
    phase: String,
    reason: Option<String>,
    watermark: Option<String>,
    api_version: String,
    namespaced: bool,
    only: Option<BTreeSet<String>>,
    label_selector: Option<String>,
    field_selector: Option<String>,
}

impl Watcher {
    fn target(self) -> (Target, Option<String>) {
        let parked = (self.phase == "parked").then(|| self.reason.unwrap_or_default());
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        let plural = self.kind.split('.').next().unwrap_or_default();
        // Its name is of no use here.
        let kind = Kind::custom(group, version, plural, plural, self.namespaced);
        let text = |text: Option<String>| text.map(Arc::<str>::from);
        let selectors = Selectors { label: text(self.label_selector), field: text(self.field_selector) };
        (Target { kind, namespace: text(self.namespace), only: self.only.map(Arc::new), selectors }, parked)
    }
}

impl Source {
    async fn find(global: &Global, loaded: &Loaded, deadline: Instant) -> Result<Self, Failure> {
        let server = connect::server(global)?;
        match asked::<Value>(&server, Path::of(&["version"]), deadline).await {
            Ok(_) => Ok(Self::Process(server)),
            Err(ServerError::Silent(nobody)) if global.server.is_some() => Err(Failure::with(UNAVAILABLE, nobody)),
            Err(ServerError::Silent(_)) => Ok(Self::Log {
                log: connect::open_log(loaded)?,
                prefix: loaded.settings.topics.prefix.clone(),
                cluster: loaded.settings.cluster.name.clone().unwrap_or_default(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// What is watched, but for Events; and why, where a watcher is parked.
    async fn targets(
        &self,
        loaded: &Loaded,
        cluster: &Cluster,
        deadline: Instant,
    ) -> Result<Vec<(Target, Option<String>)>, Failure> {
        let mut targets: Vec<(Target, Option<String>)> = match self {
            Self::Log { .. } => {
                let targets = connect::targets(&loaded.settings, cluster).await?;
                targets.into_iter().map(|t| (t, None)).collect()
            }
            Self::Process(server) => {
                let pipeline: Pipeline = asked(server, Path::of(&["pipeline"]), deadline).await?;
                // Two clusters differ in everything. Where the uid may not be read the comparison says so itself.
                if loaded.settings.cluster.id.is_none()
                    && let Ok(uid) = cluster.uid().await
                    && !pipeline.cluster.contains(&uid)
                {
                    let (theirs, url) = (pipeline.cluster, cluster.url());
                    let why = format!("the process watches cluster {theirs}, and {url} is another one (uid {uid})");
                    return Err(Failure::error(format!("{why}: give this command the settings of the process")));
                }
                pipeline.watchers.into_iter().map(Watcher::target).collect()
            }
        };
        targets.retain(|(t, _)| t.kind.tracking() == Tracking::Table);
        Ok(targets)
    }

    async fn side(&self, target: &Target, deadline: Instant) -> Result<Side, Failure> {
        match self {
            Self::Process(server) => of_process(server, target, deadline).await,
            Self::Log { log, prefix, cluster } => {
                of_log(&**log, &format!("{prefix}{}", target.kind.topic()), cluster, target).await
            }
        }
    }
}

/// Asks; a process that is still coming up is asked again.
async fn asked<T: serde::de::DeserializeOwned>(
    server: &Server,
    path: Path,
    deadline: Instant,
) -> Result<T, ServerError> {
    loop {
        match server.json(path.as_str()).await {
            Err(ServerError::Problem(problem)) if problem.status == 503 && Instant::now() < deadline => {
                sleep(AGAIN).await
            }
            answer => return answer,
        }
    }
}

async fn of_process(server: &Server, target: &Target, deadline: Instant) -> Result<Side, Failure> {
    let (mut side, mut next) = (Side::new(), None::<String>);
    loop {
        let path = Path::of(&["objects"])
            .with("kind", target.kind.id())
            .with("view", "identity")
            .with("limit", "5000")
            .maybe("namespace", target.namespace.as_deref())
            .maybe("continue", next);
        let page: Objects = asked(server, path, deadline).await?;
        for Object { metadata: m } in page.items {
            let at = Name { namespace: m.namespace.into(), name: m.name.into() };
            side.insert(at, Version { uid: m.uid.into(), rv: Rv::new(&m.resource_version) });
        }
        next = page.next;
        if next.is_none() {
            return Ok(side);
        }
    }
}

#[derive(Deserialize)]
struct Objects {
    items: Vec<Object>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

/// Folds the kind's topic up to what stands there now.
async fn of_log(log: &dyn Log, topic: &str, cluster: &str, target: &Target) -> Result<Side, Failure> {
    let ends = log.offsets(topic).await?;
    let left = |(first, end): &(i64, i64)| first < end;
    let partitions = ends.iter().enumerate().filter(|(_, range)| left(range));
    let mut open: BTreeMap<i32, i64> = partitions.map(|(p, (_, end))| (i32::try_from(p).unwrap_or(0), *end)).collect();
    let topic: Arc<str> = topic.into();
    let from = open.keys().map(|p| (topic.clone(), *p, Start::Beginning)).collect();
    let (mut side, mut epochs) = (Side::new(), BTreeMap::<i32, u64>::new());
    let kind_id = target.kind.id();
    let scope = Scope { cluster, kind_id: &kind_id };
    let Reader { mut batches, guard } = log.read(from)?;
    while !open.is_empty() {
        let Ok(Some(batch)) = timeout(SILENCE, batches.recv()).await else {
            return Err(Failure::with(UNAVAILABLE, format!("{topic}: the log does not give all of its records")));
        };
        for record in batch.records {
            let epoch = epochs.entry(record.partition).or_default();
            let judged = judge(scope, *epoch, &record);
            *epoch = judged.epoch;
            if let Some(key) = judged.at {
                let at = Name { namespace: key.namespace.unwrap_or_default().into(), name: key.name.into() };
                match judged.step {
                    Step::Live(envelope) if target.covers(&at) => {
                        let (uid, rv) = (envelope.source.uid.as_str().into(), Rv::new(&envelope.source.rv));
                        side.insert(at, Version { uid, rv });
                    }
                    Step::Deleted(..) | Step::Tombstone { .. } => drop(side.remove(&at)),
                    _ => {}
                }
            }
            if open.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                open.remove(&record.partition);
            }
        }
    }
    drop(guard);
    Ok(side)
}

fn show(verdicts: &[Verdict], output: Output, out: &mut Out) -> Result<(), Failure> {
    let of = |version: &Option<Version>| version.as_ref().map(|v| json!({"uid": &*v.uid, "rv": v.rv.as_str()}));
    if output == Output::Json {
        let each = verdicts.iter().map(|v| {
            let differences = v.differences.iter().map(|d| {
                json!({"namespace": &*d.at.namespace, "name": &*d.at.name, "what": d.what, "server": of(&d.server), "log": of(&d.log)})
            });
            json!({"kind": v.target.kind.id(), "namespace": v.target.namespace.as_deref(), "objects": v.objects,
                "differences": differences.collect::<Vec<_>>()})
        });
        let equal = verdicts.iter().all(|v| v.differences.is_empty());
        out.pretty(&json!({"equal": equal, "kinds": each.collect::<Vec<_>>()}))?;
        return Ok(());
    }
    let mut table = Table::new(["KIND", "OBJECT", "WHAT", "API SERVER", "LOG"]);
    let words = |version: &Option<Version>| match version {
        Some(v) => format!("rv {} uid {}", v.rv, v.uid),
        None => "-".to_owned(),
    };
    for verdict in verdicts {
        let id = verdict.target.id();
        if verdict.differences.is_empty() {
            out.line(&format!("{id}: {} objects, equal", verdict.objects))?;
        } else {
            out.line(&format!("{id}: {} objects, {} differ", verdict.objects, verdict.differences.len()))?;
        }
        for d in &verdict.differences {
            let at = if d.at.namespace.is_empty() {
                d.at.name.to_string()
            } else {
                format!("{}/{}", d.at.namespace, d.at.name)
            };
            let kind = verdict.target.kind.id();
            table.row(vec![kind, at, d.what.words().to_owned(), words(&d.server), words(&d.log)]);
        }
    }
    if verdicts.iter().any(|v| !v.differences.is_empty()) {
        table.print(out)?;
    }
    Ok(())
}
