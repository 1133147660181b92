//! What a Deployment's controller decides: which ReplicaSets there are to be, how large, and what the status says.
//!
//! The arithmetic is the one of kube-controller-manager (`pkg/controller/deployment/rolling.go`, `sync.go`, `progress.go`),
//! without minReadySeconds: a pod that is ready is available.

use super::parts::{condition_of, map_at, reference, set_condition, share, template_hash};
use super::said::Said;
use crate::sandbox::origin::text_of;
use crate::sandbox::{Object, text_at};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MOST: &str = "deployment.kubernetes.io/max-replicas";

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A ReplicaSet that is to be created.
    pub create: Option<Value>,
    /// ReplicaSets to be changed: name, replicas, revision.
    pub change: Vec<Change>,
    /// ReplicaSets of the past that nobody needs.
    pub delete: Vec<String>,
    /// The Deployment's own annotation; empty: leave it.
    pub revision: String,
    pub status: Value,
    pub said: Vec<Said>,
    /// When the progress deadline passes.
    pub again: Option<Timestamp>,
}

/// One ReplicaSet's new size and annotations.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub name: String,
    pub replicas: i64,
    pub revision: String,
    pub desired: i64,
    pub most: i64,
}

impl Change {
    pub fn apply(&self, set: &mut Value) {
        set["spec"]["replicas"] = self.replicas.into();
        let annotations = map_at(set, &["metadata", "annotations"]);
        annotations.insert(REVISION.into(), self.revision.as_str().into());
        annotations.insert(DESIRED.into(), self.desired.to_string().into());
        annotations.insert(MOST.into(), self.most.to_string().into());
    }
}

struct Set<'a> {
    object: &'a Object,
    wanted: i64,
    available: i64,
    next: i64,
}

impl<'a> Set<'a> {
    fn new(object: &'a Object) -> Self {
        let wanted = object.number("/spec/replicas").unwrap_or(1);
        let available = object.number("/status/availableReplicas").unwrap_or(0);
        Self { object, wanted, available, next: wanted }
    }

    fn revision(&self) -> i64 {
        annotation(self.object, REVISION).parse().unwrap_or(0)
    }

    fn count(&self, field: &str) -> i64 {
        self.object.number(&format!("/status/{field}")).unwrap_or(0)
    }
}

/// Decides. `None` where the Deployment makes no sense.
pub(super) fn plan(deployment: &Object, sets: &[Arc<Object>], now: Timestamp) -> Option<Plan> {
    let spec = deployment.value().get("spec")?;
    let template = spec.get("template").filter(|t| t.is_object())?;
    let desired = spec.get("replicas").map_or(Some(1), Value::as_i64).filter(|n| *n >= 0)?;
    let hash = template_hash(template);
    let (surge, unavailable) = allowances(spec, desired);
    let paused = spec.get("paused") == Some(&json!(true));
    let recreate = text_at(spec, "/strategy/type") == "Recreate";
    let most = if recreate { desired } else { desired + surge };

    let live = sets.iter().map(|s| &**s).filter(|s| !s.is_terminating());
    let (mut new, mut old): (Vec<Set<'_>>, Vec<Set<'_>>) =
        live.map(Set::new).partition(|s| s.object.label("pod-template-hash") == Some(&hash));
    let mut new = new.pop();
    old.sort_by_key(|s| (s.revision(), s.object.revision()));
    let last = old.iter().map(Set::revision).max().unwrap_or(0);

    let mut plan = Plan::default();
    let old_total: i64 = old.iter().map(|s| s.wanted).sum();
    let old_pods: i64 = old.iter().map(|s| s.count("replicas")).sum();
    let size = |current: i64| match (paused, recreate) {
        (true, _) => {
            if old_total == 0 {
                desired
            } else {
                current
            }
        }
        (_, true) => {
            if old_pods == 0 {
                desired
            } else {
                current.min(desired)
            }
        }
        _ if current > desired => desired,
        _ => desired.min(current + (most - old_total - current).max(0)),
    };
    let revision = match &new {
        Some(new) if new.revision() > last => new.revision(),
        _ => last + 1,
    };
    let name = format!("{}-{hash}", deployment.name());
    match &mut new {
        Some(new) => new.next = size(new.wanted),
        None if !paused => {
            let replicas = size(0);
            plan.create = Some(replica_set(deployment, template, &hash, &name, replicas, revision, (desired, most)));
            if replicas > 0 {
                plan.said.push(scaled("up", &name, 0, replicas));
            }
        }
        None => {}
    }
    if recreate && !paused {
        old.iter_mut().for_each(|s| s.next = 0);
    } else if !paused && old_total > 0 {
        scale_down(&mut old, new.as_ref(), desired, unavailable);
    }
    if plan.create.is_some() || new.is_some() {
        plan.revision = revision.to_string();
    }
    for (set, revision) in old.iter().map(|s| (s, s.revision())).chain(new.iter().map(|s| (s, revision))) {
        let change = Change {
            name: set.object.name().to_owned(),
            replicas: set.next,
            revision: revision.to_string(),
            desired,
            most,
        };
        let annotated = annotation(set.object, REVISION) == change.revision
            && (set.next == 0 || annotation(set.object, DESIRED) == desired.to_string());
        if set.next != set.wanted || !annotated {
            plan.change.push(change);
        }
        if set.next != set.wanted {
            let way = if set.next > set.wanted { "up" } else { "down" };
            plan.said.push(scaled(way, set.object.name(), set.wanted, set.next));
        }
    }
    let keep = spec.get("revisionHistoryLimit").and_then(Value::as_u64).unwrap_or(10);
    let past: Vec<&Set<'_>> = old.iter().filter(|s| s.next == 0 && s.wanted == 0 && s.count("replicas") == 0).collect();
    let surplus = past.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
    plan.delete = past.iter().take(surplus).map(|s| s.object.name().to_owned()).collect();
    let new_name = plan.create.as_ref().map(|_| name.as_str());
    status(&mut plan.status, &mut plan.again, deployment, &old, new.as_ref(), (desired, unavailable), new_name, now);
    Some(plan)
}

/// How many pods there may be more, and how many fewer.
fn allowances(spec: &Value, desired: i64) -> (i64, i64) {
    if text_at(spec, "/strategy/type") == "Recreate" {
        return (0, desired);
    }
    let surge = share(spec.pointer("/strategy/rollingUpdate/maxSurge"), desired, true);
    let unavailable = share(spec.pointer("/strategy/rollingUpdate/maxUnavailable"), desired, false);
    // Both 0 would stand still for ever.
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable.min(desired)) }
}

/// The old ones make room: first those that serve nobody, then as many as may be missing.
fn scale_down(old: &mut [Set<'_>], new: Option<&Set<'_>>, desired: i64, unavailable: i64) {
    let least = desired - unavailable;
    let new_wanted = new.map_or(0, |n| n.next);
    let new_available = new.map_or(0, |n| n.available);
    let total = old.iter().map(|s| s.wanted).sum::<i64>() + new_wanted;
    let mut room = total - least - (new_wanted - new_available).max(0);
    for set in old.iter_mut() {
        let sick = (set.wanted - set.available).clamp(0, room.max(0));
        set.next -= sick;
        room -= sick;
    }
    let available = old.iter().map(|s| s.available.min(s.next)).sum::<i64>() + new_available;
    let mut room = available - least;
    for set in old.iter_mut() {
        let some = set.next.clamp(0, room.max(0));
        set.next -= some;
        room -= some;
    }
}

fn replica_set(
    deployment: &Object,
    template: &Value,
    hash: &str,
    name: &str,
    replicas: i64,
    revision: i64,
    (desired, most): (i64, i64),
) -> Value {
    let mut template = template.clone();
    map_at(&mut template, &["metadata", "labels"]).insert("pod-template-hash".into(), hash.into());
    let mut selector = deployment.value()["spec"]["selector"].clone();
    map_at(&mut selector, &["matchLabels"]).insert("pod-template-hash".into(), hash.into());
    json!({
        "metadata": {
            "name": name, "namespace": deployment.namespace(), "labels": template["metadata"]["labels"],
            "annotations": {DESIRED: desired.to_string(), MOST: most.to_string(), REVISION: revision.to_string()},
            "ownerReferences": [reference(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    })
}

fn scaled(way: &str, set: &str, from: i64, to: i64) -> Said {
    Said::normal("ScalingReplicaSet", format!("Scaled {way} replica set {set} from {from} to {to}"))
}

#[allow(clippy::too_many_arguments)] // one status from all that it counts; a struct for one call says no more
fn status(
    into: &mut Value,
    again: &mut Option<Timestamp>,
    deployment: &Object,
    old: &[Set<'_>],
    new: Option<&Set<'_>>,
    (desired, unavailable): (i64, i64),
    created: Option<&str>,
    now: Timestamp,
) {
    let before = deployment.value().get("status").cloned().unwrap_or_default();
    let sum = |field: &str| old.iter().chain(new).map(|s| s.count(field)).sum::<i64>();
    let (replicas, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    let updated = new.map_or(0, |n| n.count("replicas"));
    let wanted = old.iter().chain(new).map(|s| s.next).sum::<i64>();
    let mut status = json!({"observedGeneration": deployment.number("/metadata/generation").unwrap_or(0)});
    let counts = [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted - available).max(0)),
    ];
    for (field, count) in counts.into_iter().filter(|(_, n)| *n > 0) {
        status[field] = count.into();
    }
    if let Some(conditions) = before.get("conditions") {
        status["conditions"] = conditions.clone();
    }
    let text = text_of(now);
    if available >= desired - unavailable {
        let message = "Deployment has minimum availability.";
        progress(&mut status, "Available", "True", "MinimumReplicasAvailable", message, &text);
    } else {
        let message = "Deployment does not have minimum availability.";
        progress(&mut status, "Available", "False", "MinimumReplicasUnavailable", message, &text);
    }
    let deadline = deployment.number("/spec/progressDeadlineSeconds").unwrap_or(600).clamp(1, 86_400 * 365);
    let name = created.or(new.map(|n| n.object.name())).unwrap_or_default();
    let complete = created.is_none() && updated == desired && replicas == desired && available == desired;
    let condition = condition_of(deployment.value(), "Progressing").cloned();
    let reason = condition.as_ref().map_or("", |c| text_at(c, "/reason"));
    let moved = counts.iter().take(4).any(|(field, n)| before.get(*field).and_then(Value::as_i64).unwrap_or(0) != *n);
    if complete {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        progress(&mut status, "Progressing", "True", "NewReplicaSetAvailable", &message, &text);
    } else if created.is_some() {
        let message = format!("Created new replica set \"{name}\"");
        progress(&mut status, "Progressing", "True", "NewReplicaSetCreated", &message, &text);
    } else if reason == "NewReplicaSetAvailable" && replicas == updated {
        // A finished rollout that lost a pod, or was scaled, is not a rollout.
    } else {
        let since = condition.as_ref().and_then(|c| text_at(c, "/lastUpdateTime").parse::<Timestamp>().ok());
        let until = since.unwrap_or(now) + SignedDuration::from_secs(deadline);
        if moved || condition.is_none() || reason == "NewReplicaSetAvailable" {
            let message = format!("ReplicaSet \"{name}\" is progressing.");
            progress(&mut status, "Progressing", "True", "ReplicaSetUpdated", &message, &text);
            touch(&mut status, "Progressing", &text);
            *again = Some(now + SignedDuration::from_secs(deadline));
        } else if now >= until {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            progress(&mut status, "Progressing", "False", "ProgressDeadlineExceeded", &message, &text);
        } else {
            *again = Some(until);
        }
    }
    *into = status;
}

/// A condition of a Deployment, whose update time moves when any of it changes.
fn progress(status: &mut Value, kind: &str, is: &str, reason: &str, message: &str, now: &str) {
    let before = condition_of(&json!({"status": status}), kind).cloned().unwrap_or_default();
    let same = before["status"] == is && before["reason"] == reason && before["message"] == message;
    set_condition(status, kind, is, reason, message, now);
    if !same {
        touch(status, kind, now);
    }
}

fn touch(status: &mut Value, kind: &str, now: &str) {
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    conditions.filter(|c| c["type"] == kind).for_each(|c| c["lastUpdateTime"] = now.into());
}

fn annotation<'o>(object: &'o Object, key: &str) -> &'o str {
    let annotations = object.value().pointer("/metadata/annotations");
    annotations.and_then(|a| a.get(key)).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
