//! What a ReplicaSet's controller decides: how many pods to create, which ones to delete, and what the status says.

use super::parts::{has_ended, is_ready, pod_of};
use crate::sandbox::Object;
use serde_json::{Value, json};
use std::sync::Arc;

/// Pods created or deleted in one go: a set of thousands must not hold up the others.
const AT_ONCE: i64 = 100;

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// How many pods to create.
    pub create: i64,
    /// Names of the pods to delete.
    pub delete: Vec<String>,
    pub status: Value,
}

/// Decides. `None` where the ReplicaSet makes no sense.
pub(super) fn plan(set: &Object, pods: &[Arc<Object>]) -> Option<Plan> {
    let desired = set.number("/spec/replicas").filter(|n| *n >= 0)?;
    set.value().pointer("/spec/template/spec").filter(|s| s.is_object())?;
    let mut active: Vec<&Arc<Object>> = pods.iter().filter(|p| !p.is_terminating() && !has_ended(p)).collect();
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let (have, ready) = (count(active.len()), count(active.iter().filter(|p| is_ready(p)).count()));
    let mut plan = Plan { create: (desired - have).clamp(0, AT_ONCE), ..Plan::default() };
    if set.is_terminating() {
        plan.create = 0;
    }
    if have > desired {
        active.sort_by_key(|p| worth(p));
        let surplus = usize::try_from((have - desired).min(AT_ONCE)).unwrap_or_default();
        plan.delete = active.iter().take(surplus).map(|p| p.name().to_owned()).collect();
    }
    let mut status = json!({"replicas": have, "observedGeneration": set.number("/metadata/generation").unwrap_or(0)});
    for (field, n) in [("fullyLabeledReplicas", have), ("readyReplicas", ready), ("availableReplicas", ready)] {
        if n > 0 {
            status[field] = n.into();
        }
    }
    plan.status = status;
    Some(plan)
}

/// The least goes first: without a node, not running, not ready, often restarted, young.
fn worth(pod: &Object) -> (bool, bool, bool, i64, std::cmp::Reverse<u64>) {
    let containers = pod.value().pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let restarts: i64 = containers.filter_map(|c| c["restartCount"].as_i64()).fold(0, i64::saturating_add);
    let placed = !pod.text("/spec/nodeName").is_empty();
    (placed, pod.text("/status/phase") == "Running", is_ready(pod), -restarts, std::cmp::Reverse(pod.revision()))
}

/// A pod for it.
pub(super) fn pod(set: &Object) -> Value {
    let mut pod = pod_of(set, &set.value()["spec"]["template"]);
    pod["metadata"]["generateName"] = format!("{}-", set.name()).into();
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Arc<Object> {
        Arc::new(Object::new(value))
    }

    fn pod_named(name: &str, node: &str, phase: &str, ready: &str) -> Arc<Object> {
        object(json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}}))
    }

    fn set(replicas: Value) -> Arc<Object> {
        object(json!({"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"name": "web-1", "generation": 3},
            "spec": {"replicas": replicas, "template": {"spec": {}}}}))
    }

    #[test]
    fn missing_pods_are_created_and_ended_ones_do_not_count() {
        let pods = [pod_named("a", "n", "Running", "True"), pod_named("b", "n", "Failed", "False")];
        let plan = plan(&set(json!(3)), &pods).expect("a sound set");
        assert_eq!((plan.create, plan.delete.len()), (2, 0));
        let status = json!({"replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "observedGeneration": 3});
        assert_eq!(plan.status, status);
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let pods = [
            pod_named("ready", "n", "Running", "True"),
            pod_named("sick", "n", "Running", "False"),
            pod_named("starting", "n", "Pending", "False"),
            pod_named("homeless", "", "Pending", "False"),
        ];
        let plan = plan(&set(json!(1)), &pods).expect("a sound set");
        assert_eq!(plan.delete, ["homeless", "starting", "sick"]);
    }

    #[test]
    fn nonsense_is_left_alone() {
        assert!(plan(&set(json!("many")), &[]).is_none());
        assert!(plan(&set(json!(-1)), &[]).is_none());
    }
}
