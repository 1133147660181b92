//! What a StatefulSet's controller decides: which ordinal comes or goes next, and what the status says.

use super::parts::{has_ended, is_ready, map_at, pod_of, template_hash};
use crate::sandbox::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pods created in one go with `podManagementPolicy: Parallel`.
const AT_ONCE: i64 = 100;
const REVISION: &str = "controller-revision-hash";

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ordinals to create.
    pub create: Vec<i64>,
    /// Names of the pods to delete.
    pub delete: Vec<String>,
    pub status: Value,
}

/// Decides. `None` where the StatefulSet makes no sense.
pub(super) fn plan(set: &Object, pods: &[Arc<Object>]) -> Option<Plan> {
    let desired = set.number("/spec/replicas").filter(|n| *n >= 0)?;
    let update = update_revision(set)?;
    let before = set.text("/status/currentRevision");
    let current = if before.is_empty() { update.as_str() } else { before };
    let at: BTreeMap<i64, &Arc<Object>> = pods.iter().filter_map(|p| Some((ordinal(set, p)?, p))).collect();
    let mut plan = Plan::default();
    let parallel = set.text("/spec/podManagementPolicy") == "Parallel";
    if !set.is_terminating() {
        act(&mut plan, set, desired, &at, &update, parallel);
    }
    let count = |test: &dyn Fn(&Object) -> bool| i64::try_from(at.values().filter(|p| test(p)).count()).unwrap_or(0);
    let of = |revision: &str| count(&|p| p.label(REVISION) == Some(revision) && !p.is_terminating());
    let (all, ready) = (count(&|p| !p.is_terminating()), count(&|p| is_ready(p) && !p.is_terminating()));
    let updated = of(&update);
    let current = if updated == desired && all == desired { update.as_str() } else { current };
    let mut status = json!({
        "observedGeneration": set.number("/metadata/generation").unwrap_or(0), "replicas": all, "availableReplicas": ready,
        "currentRevision": current, "updateRevision": update, "collisionCount": 0,
    });
    for (field, n) in [("readyReplicas", ready), ("currentReplicas", of(current)), ("updatedReplicas", updated)] {
        if n > 0 {
            status[field] = n.into();
        }
    }
    plan.status = status;
    Some(plan)
}

fn act(plan: &mut Plan, set: &Object, desired: i64, at: &BTreeMap<i64, &Arc<Object>>, update: &str, parallel: bool) {
    for ordinal in 0..desired {
        match at.get(&ordinal) {
            None => {
                plan.create.push(ordinal);
                if !parallel || i64::try_from(plan.create.len()).unwrap_or(AT_ONCE) >= AT_ONCE {
                    return;
                }
            }
            Some(pod) if has_ended(pod) && !pod.is_terminating() => {
                plan.delete.push(pod.name().to_owned());
                return;
            }
            // One after the other: the next waits until this one serves.
            Some(pod) if !parallel && (pod.is_terminating() || !is_ready(pod)) => {
                // A pod of a template that cannot work would else stand in the way of its own repair.
                let replaceable = !pod.is_terminating() && pod.label(REVISION) != Some(update);
                if replaceable && set.text("/spec/updateStrategy/type") != "OnDelete" {
                    plan.delete.push(pod.name().to_owned());
                }
                return;
            }
            Some(_) => {}
        }
    }
    if let Some((_, pod)) = at.iter().next_back().filter(|(ordinal, _)| **ordinal >= desired) {
        if !pod.is_terminating() {
            plan.delete.push(pod.name().to_owned());
        }
        return;
    }
    if set.text("/spec/updateStrategy/type") == "OnDelete" || !plan.create.is_empty() {
        return;
    }
    let partition = set.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    if at.values().any(|p| p.is_terminating() || !is_ready(p)) {
        return;
    }
    let outdated = at.iter().rev().find(|(n, p)| **n >= partition && p.label(REVISION) != Some(update));
    plan.delete.extend(outdated.map(|(_, p)| p.name().to_owned()));
}

/// `postgres-6d5f7c8b9d`
fn update_revision(set: &Object) -> Option<String> {
    let template = set.value().pointer("/spec/template").filter(|t| t.get("spec").is_some_and(Value::is_object))?;
    Some(format!("{}-{}", set.name(), template_hash(template)))
}

fn ordinal(set: &Object, pod: &Object) -> Option<i64> {
    pod.name().strip_prefix(set.name())?.strip_prefix('-')?.parse().ok()
}

/// The pod of an ordinal.
pub(super) fn pod(set: &Object, ordinal: i64) -> Option<Value> {
    let revision = update_revision(set)?;
    let mut pod = pod_of(set, &set.value()["spec"]["template"]);
    let name = format!("{}-{ordinal}", set.name());
    let labels = map_at(&mut pod, &["metadata", "labels"]);
    labels.insert(REVISION.into(), revision.into());
    labels.insert("statefulset.kubernetes.io/pod-name".into(), name.as_str().into());
    labels.insert("apps.kubernetes.io/pod-index".into(), ordinal.to_string().into());
    let spec = map_at(&mut pod, &["spec"]);
    spec.insert("hostname".into(), name.as_str().into());
    spec.insert("subdomain".into(), set.value()["spec"]["serviceName"].clone());
    pod["metadata"]["name"] = name.into();
    Some(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(replicas: i64, image: &str) -> Object {
        Object::new(json!({"kind": "StatefulSet", "apiVersion": "apps/v1",
            "metadata": {"name": "pg", "namespace": "n", "generation": 1},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}))
    }

    fn running(set: &Object, ordinal: i64, ready: &str) -> Arc<Object> {
        let mut pod = pod(set, ordinal).expect("a pod");
        pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
        Arc::new(Object::new(pod))
    }

    #[test]
    fn pods_come_one_after_the_other() {
        let set = set(3, "a");
        assert_eq!(plan(&set, &[]).expect("sound").create, [0]);
        assert!(plan(&set, &[running(&set, 0, "False")]).expect("sound").create.is_empty());
        assert_eq!(plan(&set, &[running(&set, 0, "True")]).expect("sound").create, [1]);
    }

    #[test]
    fn scaling_down_takes_the_highest() {
        let three = set(3, "a");
        let pods: Vec<_> = (0..3).map(|n| running(&three, n, "True")).collect();
        let plan = plan(&set(1, "a"), &pods).expect("sound");
        assert_eq!((plan.create.len(), plan.delete), (0, vec!["pg-2".to_owned()]));
    }

    #[test]
    fn an_update_replaces_the_highest_first_and_waits_for_it() {
        let (old, new) = (set(2, "a"), set(2, "b"));
        let both = [running(&old, 0, "True"), running(&old, 1, "True")];
        assert_eq!(plan(&new, &both).expect("sound").delete, ["pg-1"]);
        let first_done = [running(&old, 0, "True"), running(&new, 1, "False")];
        assert!(plan(&new, &first_done).expect("sound").delete.is_empty());
        let second = [running(&old, 0, "True"), running(&new, 1, "True")];
        assert_eq!(plan(&new, &second).expect("sound").delete, ["pg-0"]);
        let done = plan(&new, &[running(&new, 0, "True"), running(&new, 1, "True")]).expect("sound");
        assert_eq!(done.status["currentRevision"], done.status["updateRevision"]);
        assert_eq!(done.status["updatedReplicas"], 2);
    }
}
