//! The kinds that the settings mean: whether they are served, and whether we may list and watch them.

use super::{Report, State};
use crate::domain::discovery::{Discovery, Resolved};
use crate::domain::kind::Kind;
use crate::domain::pattern::Pattern;
use crate::domain::target::Target;
use crate::kubernetes::client::{Cluster, ClusterError};
use crate::settings::{Settings, WATCHES_A_KIND, dotted};
use futures_util::{StreamExt as _, TryStreamExt as _};

/// Questions about rights at a time.
const AT_A_TIME: usize = 4;
/// Kinds beyond the cap that are named.
const SHOWN: usize = 5;

/// What was found.
pub(super) struct Found {
    /// Whether the API server knows us at all.
    pub known: bool,
    /// The kinds to watch.
    pub kinds: Vec<Kind>,
}

/// A line a kind and place.
pub(super) async fn kinds(cluster: &Cluster, settings: &Settings, report: &mut Report) -> Found {
    let resolved = match served(cluster, settings, report).await {
        Some(resolved) => resolved,
        None => return Found { known: false, kinds: settings.watch.named() },
    };
    let targets: Vec<(Target, String)> = resolved
        .kinds
        .iter()
        .flat_map(|served| settings.watch.targets_of(&served.kind))
        .map(|target| (target.clone(), target.kind.api_version()))
        .collect();
    let kinds: Vec<Kind> = resolved.kinds.iter().map(|served| served.kind.clone()).collect();
    let asked = futures_util::stream::iter(targets.iter().map(|(target, _)| missing_verbs(cluster, target)));
    let answers: Result<Vec<Vec<&str>>, ClusterError> = asked.buffered(AT_A_TIME).try_collect().await;
    let answers = match answers {
        Ok(answers) => answers,
        Err(ClusterError::Unauthenticated) => {
            report.failed("credentials", ClusterError::Unauthenticated.to_string(), "");
            return Found { known: false, kinds };
        }
        Err(error) => {
            let detail = format!("cannot be asked for: {error}");
            report.failed("rights", detail, "let this user create selfsubjectaccessreviews");
            return Found { known: false, kinds };
        }
    };
    report.ok("credentials", "accepted");
    for ((target, version), missing) in targets.iter().zip(answers) {
        let name = right(target);
        match missing[..] {
            [] => report.ok(name, format!("served as {version}; may list and watch")),
            ["watch"] => {
                let every = humantime::format_duration(settings.watch.poll_interval);
                let mode = format!("lists every {every}, and misses what happens in between");
                let detail = format!("served as {version}; may list but not watch: {mode}");
                report.add(name, State::Warning, detail, Some(grant(target)));
            }
            _ => report.failed(name, format!("served as {version}; may not {}", missing.join(" and ")), grant(target)),
        }
    }
    Found { known: true, kinds }
}

/// What of the settings is served; what is not is said. `None` when we are not known.
async fn served(cluster: &Cluster, settings: &Settings, report: &mut Report) -> Option<Resolved> {
    let most = settings.watch.max_kinds;
    let resolved = match cluster.discover().await {
        Ok(discovery) => settings.watch.resolve(&discovery, most, &settings.topics.prefix),
        Err(ClusterError::Unauthenticated) => {
            report.failed("credentials", ClusterError::Unauthenticated.to_string(), "");
            return None;
        }
        Err(error) => {
            // The built-in kinds can be asked about all the same.
            let state = if settings.watch.needs_discovery() { State::Failed } else { State::Warning };
            let remedy = "bind ClusterRole system:discovery to this user";
            report.add("kinds served", state, error.to_string(), Some(remedy.to_owned()));
            settings.watch.resolve(&Discovery::builtins(), most, &settings.topics.prefix)
        }
    };
    for kind in resolved.kinds.iter().map(|served| &served.kind) {
        if let Some(in_vain) = settings.watch.namespaces_in_vain(kind) {
            let remedy = Some("take that setting out".to_owned());
            report.add(format!("kind {}", kind.id()), State::Warning, in_vain, remedy);
        }
    }
    for missing in &resolved.missing {
        let remedy = match &missing.suggestion {
            Some(name) => format!("did you mean {name}?"),
            None => "run looks for it again, and begins when it is there".to_owned(),
        };
        report.add(format!("kind {}", missing.pattern), State::Warning, missing.why.clone(), Some(remedy));
    }
    if !resolved.over_cap.is_empty() {
        let mut names: Vec<String> = resolved.over_cap.iter().take(SHOWN).map(Kind::id).collect();
        if resolved.over_cap.len() > SHOWN {
            names.push("...".to_owned());
        }
        let detail = format!("{} are beyond watch.max_kinds = {most}: {}", resolved.over_cap.len(), names.join(", "));
        let remedy = "raise watch.max_kinds, or name fewer".to_owned();
        report.add("kinds served", State::Warning, detail, Some(remedy));
    }
    Some(resolved)
}

async fn missing_verbs(cluster: &Cluster, target: &Target) -> Result<Vec<&'static str>, ClusterError> {
    let mut missing = Vec::new();
    for verb in ["list", "watch"] {
        if !cluster.may(verb, &target.kind, target.namespace.as_deref()).await? {
            missing.push(verb);
        }
    }
    Ok(missing)
}

fn right(target: &Target) -> String {
    let Target { kind, namespace, only, .. } = target;
    match (namespace, only) {
        (Some(namespace), _) => format!("rights on {kind} in {namespace}"),
        (None, Some(only)) => {
            format!("rights on {kind} in all namespaces (of which {} count, more than {WATCHES_A_KIND})", only.len())
        }
        (None, None) if kind.namespaced() => format!("rights on {kind} in all namespaces"),
        (None, None) => format!("rights on {kind}"),
    }
}

/// The exact rule that is missing, as a command that makes it.
fn grant(target: &Target) -> String {
    let kind = &target.kind;
    let id = kind.id().replace('.', "-");
    let resource =
        if kind.group().is_empty() { kind.plural().to_owned() } else { format!("{}.{}", kind.plural(), kind.group()) };
    let (role, scope) = match &target.namespace {
        Some(namespace) => ("role", format!(" --namespace={namespace}")),
        None => ("clusterrole", String::new()),
    };
    let key = dotted(&["watch", &Pattern::of(kind).to_string(), "enabled"]);
    format!(
        "kubectl create {role} agent-events-{id}{scope} --verb=list,watch --resource={resource}, and bind it to this user; \
         or leave the kind out: --set '{key}=false'"
    )
}
