//! Where a pod runs: the nodes that can take it, and of these the one with the fewest of its kind.

use super::cache::controller_of;
use super::parts::{condition, has_ended, thousandths};
use crate::sandbox::{Object, text_at};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a node has left.
#[derive(Debug, Default, Clone)]
struct Used {
    pods: i64,
    cpu: i64,
    memory: i64,
    /// Owner's uid → pods of it.
    kin: HashMap<Box<str>, i64>,
}

/// How full the nodes are; binding a pod counts at once.
#[derive(Debug, Default)]
pub(super) struct Occupancy(BTreeMap<String, Used>);

impl Occupancy {
    pub fn of<'a>(pods: impl Iterator<Item = &'a Arc<Object>>) -> Self {
        let mut all = Self::default();
        for pod in pods.filter(|p| !has_ended(p)) {
            let node = pod.text("/spec/nodeName");
            if !node.is_empty() {
                all.take(node, pod);
            }
        }
        all
    }

    pub fn take(&mut self, node: &str, pod: &Object) {
        let used = self.0.entry(node.to_owned()).or_default();
        let (cpu, memory) = requests(pod);
        used.pods += 1;
        used.cpu = used.cpu.saturating_add(cpu);
        used.memory = used.memory.saturating_add(memory);
        *used.kin.entry(controller_of(pod).unwrap_or_default().into()).or_default() += 1;
    }
}

fn requests(pod: &Object) -> (i64, i64) {
    let containers = pod.value().pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let requests = containers.filter_map(|c| c.pointer("/resources/requests"));
    let one = |r: &Value, what| r.get(what).map_or(0, thousandths);
    requests.fold((0, 0), |(c, m): (i64, i64), r| (c.saturating_add(one(r, "cpu")), m.saturating_add(one(r, "memory"))))
}

/// The node for a pod, or why there is none, in the scheduler's words.
pub(super) fn place<'n>(
    pod: &Object,
    nodes: impl Iterator<Item = &'n Arc<Object>>,
    occupancy: &Occupancy,
) -> Result<&'n str, String> {
    let mut refused: BTreeMap<String, usize> = BTreeMap::new();
    let mut all = 0;
    let mut best: Option<((i64, i64), &'n str)> = None;
    let unused = Used::default();
    for node in nodes {
        all += 1;
        let used = occupancy.0.get(node.name()).unwrap_or(&unused);
        if let Some(why) = refusal(pod, node, used) {
            *refused.entry(why).or_default() += 1;
            continue;
        }
        let kin = used.kin.get(controller_of(pod).unwrap_or_default()).copied().unwrap_or(0);
        let capacity = node.value().pointer("/status/allocatable/pods").map_or(110, |p| thousandths(p) / 1000).max(1);
        let score = (kin, used.pods * 1000 / capacity);
        if best.is_none_or(|(s, _)| score < s) {
            best = Some((score, node.name()));
        }
    }
    let why = || {
        let each: Vec<String> = refused.iter().map(|(why, n)| format!("{n} {why}")).collect();
        if all == 0 {
            "no nodes available to schedule pods".to_owned()
        } else {
            format!("0/{all} nodes are available: {}.", each.join(", "))
        }
    };
    best.map(|(_, name)| name).ok_or_else(why)
}

fn refusal(pod: &Object, node: &Object, used: &Used) -> Option<String> {
    if node.value().pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        return Some("node(s) were unschedulable".to_owned());
    }
    let taints = node.value().pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
    let hard = |t: &&Value| matches!(text_at(t, "/effect"), "NoSchedule" | "NoExecute");
    if let Some(taint) = taints.filter(hard).find(|t| !tolerates(pod, t)) {
        return Some(format!(
            "node(s) had untolerated taint {{{}: {}}}",
            text_at(taint, "/key"),
            text_at(taint, "/value")
        ));
    }
    if condition(node.value(), "Ready") != "True" {
        return Some("node(s) were not ready".to_owned());
    }
    let selector = pod.value().pointer("/spec/nodeSelector").and_then(Value::as_object).into_iter().flatten();
    if selector.into_iter().any(|(k, v)| node.label(k) != v.as_str()) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    let capacity =
        |what: &str| node.value().pointer(&format!("/status/allocatable/{what}")).map_or(i64::MAX, thousandths);
    let (cpu, memory) = requests(pod);
    if used.pods.saturating_add(1).saturating_mul(1000) > capacity("pods") {
        return Some("Too many pods".to_owned());
    }
    if used.cpu.saturating_add(cpu) > capacity("cpu") {
        return Some("Insufficient cpu".to_owned());
    }
    (used.memory.saturating_add(memory) > capacity("memory")).then(|| "Insufficient memory".to_owned())
}

/// Whether a pod tolerates a taint. A toleration for some seconds lets it stay, not come.
pub(super) fn tolerates(pod: &Object, taint: &Value) -> bool {
    let tolerations = pod.value().pointer("/spec/tolerations").and_then(Value::as_array).into_iter().flatten();
    let (key, value, effect) = (text_at(taint, "/key"), text_at(taint, "/value"), text_at(taint, "/effect"));
    tolerations.filter(|t| t.get("tolerationSeconds").is_none()).any(|t| {
        let exists = text_at(t, "/operator") == "Exists";
        let (k, e) = (text_at(t, "/key"), text_at(t, "/effect"));
        (k == key || (k.is_empty() && exists))
            && (exists || text_at(t, "/value") == value)
            && (e.is_empty() || e == effect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ready: &str, spec: Value, pods: &str) -> Arc<Object> {
        Arc::new(Object::new(json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "spec": spec,
            "status": {"allocatable": {"cpu": "1", "pods": pods}, "conditions": [{"type": "Ready", "status": ready}]}})))
    }

    fn pod(cpu: &str) -> Object {
        Object::new(json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
    }

    #[test]
    fn pods_of_one_owner_spread() {
        let nodes = [node("a", "True", json!({}), "10"), node("b", "True", json!({}), "10")];
        let mut occupancy = Occupancy::default();
        assert_eq!(place(&pod("100m"), nodes.iter(), &occupancy), Ok("a"));
        occupancy.take("a", &pod("100m"));
        assert_eq!(place(&pod("100m"), nodes.iter(), &occupancy), Ok("b"));
    }

    #[test]
    fn the_reasons_of_all_nodes_are_counted() {
        let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let nodes = [
            node("a", "Unknown", json!({}), "10"),
            node("b", "True", json!({"unschedulable": true}), "10"),
            node("c", "True", taint, "10"),
            node("d", "True", json!({}), "0"),
            node("e", "True", json!({}), "10"),
        ];
        let why = place(&pod("1500m"), nodes.iter(), &Occupancy::default()).expect_err("nobody can take it");
        assert_eq!(
            why,
            "0/5 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) had untolerated taint {gpu: yes}, \
             1 node(s) were not ready, 1 node(s) were unschedulable."
        );
        assert_eq!(
            place(&pod("1"), [].iter(), &Occupancy::default()).expect_err("none"),
            "no nodes available to schedule pods"
        );
    }
}
