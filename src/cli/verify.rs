//! `verify`: whether the log says what the API server says. The API server is asked with credentials of this command's own,
//! for metadata only; the log is asked through the running process or, where none runs, folded here.

mod topics;

use super::args::{Global, Output, Verify};
use super::client::{Path, Server, ServerError};
use super::connect;
use super::failure::{ERROR, Failure, UNAVAILABLE, USAGE};
use super::kinds::among;
use super::output::{Out, Table};
use crate::domain::audit::{Difference, Side, Version, ahead, apart, confirmed, differences};
use crate::domain::index::Name;
use crate::domain::kind::{Kind, Tracking};
use crate::domain::pattern::Pattern;
use crate::domain::rv::Rv;
use crate::domain::target::{Selectors, Target};
use crate::kubernetes::client::Cluster;
use crate::kubernetes::identities::{self, ListError, Listed};
use crate::log::Log;
use crate::settings::{FlagOverride, Loaded};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at what differs.
const AGAIN: Duration = Duration::from_millis(500);
/// What stays the same for so long, while the process has long passed the list, is no change on its way.
const STABLE: Duration = Duration::from_secs(10);
/// Compares; exit code 0 only when nothing differs (a stub is declared: it is listed and counted, and no difference), 1 when something does, 69 when one of the two sides cannot be asked.
pub async fn verify(global: &Global, verify: Verify, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, Vec::new())?;
    let named = loaded.settings.watch.named();
    let kinds = verify.kind.iter().map(|typed| among(typed, &named).map(|kind| kind.id));
    let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
    if let Some(kind) = kinds.iter().find(|id| Kind::builtin(id).is_some_and(|k| k.tracking() == Tracking::Stream)) {
        return Err(nothing_to_compare(kind));
    }
    let patterns = patterns(&verify.resources)?;
    let deadline = Instant::now() + verify.wait;
    let source = Source::find(global, &loaded, deadline).await?;
    let loaded = match source {
        Source::Process(_) => loaded,
        // It ran with `--resources`, perhaps. What else these settings say of other kinds is no reason to compare none.
        Source::Log { .. } => with_resources(global, &verify.resources).unwrap_or(loaded),
    };
    let cluster = connect::open_cluster(&loaded.settings).await?;
    let targets = source.targets(&loaded, &cluster, deadline).await?;
    let unknown_kind = kinds.iter().find(|id| !targets.iter().any(|(t, _)| t.kind.id() == **id)).cloned();
    let is_unknown = |pattern: &&Pattern| !targets.iter().any(|(t, _)| means(pattern, &t.kind));
    if let Some(unknown) = unknown_kind.or_else(|| patterns.iter().find(is_unknown).map(Pattern::to_string)) {
        let mut watched: Vec<String> = targets.iter().map(|(t, _)| t.kind.id()).collect();
        watched.dedup();
        return Err(Failure::error(format!("{unknown} is not watched; these are: {}", watched.join(", "))));
    }
    let namespace = verify.namespace.as_deref();
    let mut verdicts = Vec::new();
    for (mut target, parked) in targets {
        let wanted = match (&kinds[..], &patterns[..]) {
            ([], []) => true,
            ([], patterns) => patterns.iter().any(|pattern| means(pattern, &target.kind)),
            (kinds, _) => kinds.contains(&target.kind.id()),
        };
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

/// What `--resources` means. Kubernetes Events beside others are passed over, so that the words of `run` can be said again.
fn patterns(resources: &[String]) -> Result<Vec<Pattern>, Failure> {
    let parse = |typed: &String| {
        let wrong = |why| Failure::with(USAGE, format!("--resources {typed}: {why}"));
        Pattern::parse(typed.trim()).map_err(wrong)
    };
    let mut patterns = resources.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    patterns.retain(|pattern| pattern.builtin().is_none_or(|kind| kind.tracking() == Tracking::Table));
    match patterns.is_empty() && !resources.is_empty() {
        true => Err(nothing_to_compare(&resources.join(","))),
        false => Ok(patterns),
    }
}

fn nothing_to_compare(kind: &str) -> Failure {
    Failure::with(USAGE, format!("{kind} disappear by their time, here and there: there is nothing to compare"))
}

fn means(pattern: &Pattern, kind: &Kind) -> bool {
    pattern.matches(kind.group(), kind.plural())
}

fn with_resources(global: &Global, resources: &[String]) -> Option<Loaded> {
    let flags = vec![FlagOverride::resources(resources.to_vec())];
    connect::settings(global, flags).ok().filter(|_| !resources.is_empty())
}

/// What came out for one target.
struct Verdict {
    target: Target,
    objects: usize,
    differences: Vec<Difference>,
    /// Known at the right version, and their contents are not held.
    stubs: Vec<Difference>,
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
    let list = async || {
        let listed = identities::list(cluster, &target, watch.page_size, watch.max_page_bytes).await;
        listed.map_err(|error| unlisted(&error, &target))
    };
    loop {
        let Listed { rv, side, .. } = list().await?;
        let ours = source.side(&target, deadline).await?;
        let (mut found, stubs) = apart(differences(&rv, &side, &ours));
        let newer: Side = ours.into_iter().filter(|(_, ours)| ours.rv > rv).collect();
        if !newer.is_empty() {
            // Changed since, or ahead of what the server ever told: a list that is made now has come to every true version.
            let Listed { rv, side, .. } = list().await?;
            found.extend(ahead(&rv, &side, newer));
        }
        let verdict =
            |differences| Verdict { target: target.clone(), objects: side.len(), differences, stubs: stubs.clone() };
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
                log: topics::open(loaded)?,
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
                topics::side(&**log, &format!("{prefix}{}", target.kind.topic()), cluster, target).await
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
        for Object { metadata: m, stub } in page.items {
            let at = Name { namespace: m.namespace.into(), name: m.name.into() };
            side.insert(at, Version { uid: m.uid.into(), rv: Rv::new(&m.resource_version), stub });
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
    #[serde(default)]
    stub: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
}

fn show(verdicts: &[Verdict], output: Output, out: &mut Out) -> Result<(), Failure> {
    let of = |version: &Option<Version>| version.as_ref().map(|v| json!({"uid": &*v.uid, "rv": v.rv.as_str()}));
    if output == Output::Json {
        let told = |found: &[Difference]| -> Vec<Value> {
            let told = found.iter().map(|d| {
                json!({"namespace": &*d.at.namespace, "name": &*d.at.name, "what": d.what, "server": of(&d.server), "log": of(&d.log)})
            });
            told.collect()
        };
        let each = verdicts.iter().map(|v| {
            json!({"kind": v.target.kind.id(), "namespace": v.target.namespace.as_deref(), "objects": v.objects,
                "differences": told(&v.differences), "stubs": told(&v.stubs)})
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
        let stubs = match verdict.stubs.len() {
            0 => String::new(),
            stubs => format!(", {stubs} of which the log holds the identity alone"),
        };
        if verdict.differences.is_empty() {
            out.line(&format!("{id}: {} objects, equal{stubs}", verdict.objects))?;
        } else {
            out.line(&format!("{id}: {} objects, {} differ{stubs}", verdict.objects, verdict.differences.len()))?;
        }
        for d in verdict.differences.iter().chain(&verdict.stubs) {
            let at = if d.at.namespace.is_empty() {
                d.at.name.to_string()
            } else {
                format!("{}/{}", d.at.namespace, d.at.name)
            };
            let kind = verdict.target.kind.id();
            table.row(vec![kind, at, d.what.words().to_owned(), words(&d.server), words(&d.log)]);
        }
    }
    if verdicts.iter().any(|v| !v.differences.is_empty() || !v.stubs.is_empty()) {
        table.print(out)?;
    }
    Ok(())
}
