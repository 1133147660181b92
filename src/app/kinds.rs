//! Which kinds the settings mean: what they name, held against what the API server serves.

use super::watchers::Watchers;
use crate::actors::kinds::{Found, Keeper};
use crate::domain::checkpoint;
use crate::domain::discovery::Missing;
use crate::domain::kind::Kind;
use crate::domain::pattern::Pattern;
use crate::domain::target::Target;
use crate::domain::watch::{Request, Verb};
use crate::kubernetes::ApiServer;
use crate::observe::board::ParkedKind;
use crate::settings::Settings;
use futures_util::future::BoxFuture;

/// The definitions of custom resources: whoever watches them hears of new kinds.
pub(super) fn definitions() -> Target {
    let group = "apiextensions.k8s.io";
    Target::all(Kind::custom(group, "v1", "customresourcedefinitions", "CustomResourceDefinition", false))
}

/// A kind that is served and wanted, and one too many.
pub(super) fn beyond(kind: &Kind, most: usize) -> ParkedKind {
    let reason = format!("more than watch.max_kinds = {most} kinds are served: raise it, or name fewer");
    ParkedKind { kind: kind.id(), reason, did_you_mean: None }
}

/// Owners of checkpoints that are wanted and not among the kinds that are served. Of a definition that is gone only the
/// name is known: what stands for the rest is never asked for.
pub(super) fn not_served<'a>(settings: &Settings, owners: impl Iterator<Item = &'a str>, served: &[Kind]) -> Vec<Kind> {
    let mut gone: Vec<Kind> = Vec::new();
    for owner in owners {
        let Some((kind, is_meant)) = watched_by(settings, owner) else { continue };
        if is_meant && !served.contains(&kind) && !gone.contains(&kind) {
            gone.push(kind);
        }
    }
    gone
}

/// The kind that an owner of a checkpoint watched, if the settings mean it no more, or it is among those that are left out.
pub(super) fn not_meant(settings: &Settings, owner: &str, left_out: &[Kind]) -> Option<Kind> {
    let (kind, is_meant) = watched_by(settings, owner)?;
    match left_out.iter().find(|left_out| **left_out == kind) {
        None => (!is_meant).then_some(kind),
        left_out => left_out.cloned(),
    }
}

/// The kind that an owner of a checkpoint watched, as far as its id says it, and whether the settings mean it.
fn watched_by(settings: &Settings, owner: &str) -> Option<(Kind, bool)> {
    let id = checkpoint::kind_of(owner);
    if let Some(kind) = Kind::builtin(id) {
        let is_meant = settings.watch.wants(kind.group(), kind.plural());
        return Some((kind, is_meant));
    }
    let Ok(Pattern::One { group, plural }) = Pattern::parse(id) else { return None };
    let kind = Kind::custom(&group, "v1", &plural, &plural, id != owner);
    Some((kind, settings.watch.wants(&group, &plural)))
}

impl Keeper for Watchers {
    fn find(&self) -> BoxFuture<'_, Result<Found, String>> {
        Box::pin(find(&self.settings, &*self.ends.api))
    }

    fn is_unknown<'a>(&'a self, kind: &'a Kind) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let request =
                Request { id: 0, verb: Verb::List { limit: 1, next: None, at_least: None }, metadata_only: true };
            // As its watchers ask: RBAC refuses a wider question before it says that nothing is there.
            let Some(target) = self.settings.watch.targets_of(kind).into_iter().next() else { return false };
            let within = std::time::Duration::from_secs(10);
            let answer = tokio::time::timeout(within, self.ends.api.send(&target, &request)).await;
            matches!(answer, Ok(Ok(response)) if response.status == 404)
        })
    }

    fn start(&self, kinds: Vec<Kind>) -> BoxFuture<'_, Vec<(Kind, String)>> {
        Box::pin(Watchers::start(self, kinds))
    }

    fn served(&self, kinds: &[Kind]) {
        Watchers::served(self, kinds);
    }

    fn stop<'a>(&'a self, kind: &'a Kind, is_gone: bool) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(Watchers::stop(self, kind, is_gone))
    }
}

/// Asks the API server what it serves and holds it against the settings. The cap is not applied: it depends on what is
/// watched already.
pub(super) async fn find(settings: &Settings, api: &dyn ApiServer) -> Result<Found, String> {
    let watch = &settings.watch;
    if !watch.needs_discovery() {
        return Ok(Found { kinds: watch.captured(), ..Found::default() });
    }
    let discovery = api.discover().await?;
    let resolved = watch.resolve(&discovery, usize::MAX, &settings.topics.prefix);
    let park = |missing: Missing| {
        let Missing { pattern, why, suggestion, .. } = missing;
        ParkedKind { kind: pattern, reason: why, did_you_mean: suggestion }
    };
    let is_resolved = |kind: &Kind| resolved.kinds.iter().any(|served| served.kind == *kind);
    let wanted = discovery.served().map(|served| &served.kind).filter(|kind| watch.wants(kind.group(), kind.plural()));
    let left_out = wanted.filter(|kind| !kind.namespaced() && !is_resolved(kind)).cloned().collect();
    Ok(Found {
        left_out,
        kinds: resolved.kinds.into_iter().map(|served| served.kind).collect(),
        parked: resolved.missing.into_iter().map(park).collect(),
        unsure: discovery.unknown().keys().cloned().collect(),
    })
}
