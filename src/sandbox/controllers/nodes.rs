//! The nodes' heartbeats, and what the node lifecycle controller does when one stops.

use super::node;
use super::parts::{condition, has_ended, is_ready, set_condition};
use super::said::{NODES as NODE_CONTROLLER, TAINTS};
use super::scheduler::tolerates;
use super::*;
use crate::sandbox::origin::text_of;

/// As kubelets renew their leases.
const HEARTBEAT: SignedDuration = SignedDuration::from_secs(10);
/// Silence after which a node is not ready: 40 s in a real cluster, shortened so that it can be watched.
const GRACE: SignedDuration = SignedDuration::from_secs(4);
/// Until its pods are deleted: 300 s in a real cluster, shortened likewise.
const EVICTION: SignedDuration = SignedDuration::from_secs(4);
const LEASES: &str = "leases.coordination.k8s.io";

impl Controllers {
    /// Silences a node's kubelet. `false` where there is no such node.
    pub fn node_down(&mut self, name: &str, now: Timestamp) -> bool {
        if self.state.get(NODES, "", name).is_err() {
            return false;
        }
        let name: Arc<str> = name.into();
        if self.silent.insert(name.clone()) {
            self.timers.insert((now + GRACE, Due::Lost(name)));
        }
        true
    }

    /// Lets it speak again.
    pub fn node_up(&mut self, name: &str, now: Timestamp) {
        self.silent.remove(name);
        self.timers.retain(|(_, due)| !matches!(due, Due::Lost(node) | Due::Evict(node) if **node == *name));
        if let Ok(node) = self.state.get(NODES, "", name) {
            self.renew(&node, now);
        }
        self.reconsider_pods_of(name, now);
    }

    pub(super) fn heartbeats(&mut self, now: Timestamp) {
        self.timers.insert((now + HEARTBEAT, Due::Heartbeats));
        let all = self.nodes.all().map(|(_, n)| n.clone());
        let heard_of: Vec<Arc<Object>> = all.filter(|n| !self.silent.contains(n.name())).collect();
        heard_of.iter().for_each(|node| self.renew(node, now));
        self.collect_pods();
    }

    fn renew(&mut self, node: &Object, now: Timestamp) {
        let write = Write::by("kubelet");
        let renewed = self.state.modify(LEASES, "kube-node-lease", node.name(), &write, |lease| {
            lease["spec"]["renewTime"] = node::micros(now).into();
        });
        if renewed.is_err() {
            heard(self.state.create(LEASES, node::lease(node, now), &write), node);
        }
        if condition(node.value(), "Ready") != "True" || node.value().pointer("/status/allocatable").is_none() {
            if self.write_status(NODES, node, node::ready(node.value(), now), "kubelet") {
                let said = Said::normal("NodeReady", format!("Node {} status is now: NodeReady", node.name()));
                self.recorder.say(node, KUBELET, node.name(), &said);
            }
            self.taint(node, false, now);
        }
    }

    fn taint(&mut self, node: &Object, gone: bool, now: Timestamp) {
        let tainted = self.state.modify(NODES, "", node.name(), &Write::by(MANAGER), |n| node::taint(n, gone, now));
        heard(tainted, node);
    }

    pub(super) fn node_lost(&mut self, name: &Arc<str>, now: Timestamp) {
        let Ok(node) = self.state.get(NODES, "", name) else { return };
        self.write_status(NODES, &node, node::unknown(&node, now), MANAGER);
        self.taint(&node, true, now);
        let said = Said::normal("NodeNotReady", format!("Node {name} status is now: NodeNotReady"));
        self.recorder.say(&node, NODE_CONTROLLER, "", &said);
        for (_, pod) in self.pods_of(name) {
            if has_ended(&pod) || !is_ready(&pod) {
                continue;
            }
            let mut status = pod.value()["status"].clone();
            set_condition(&mut status, "Ready", "False", "", "", &text_of(now));
            self.write_status(PODS, &pod, status, MANAGER);
            self.recorder.say(&pod, NODE_CONTROLLER, "", &Said::warning("NodeNotReady", "Node is not ready"));
        }
        self.timers.insert((now + EVICTION, Due::Evict(name.clone())));
    }

    pub(super) fn evict_from(&mut self, name: &str) {
        let taint = node::eviction_taint();
        for (_, pod) in self.pods_of(name) {
            if pod.is_terminating() || has_ended(&pod) || tolerates(&pod, &taint) {
                continue;
            }
            let (namespace, pod_name) = (pod.namespace(), pod.name());
            let text = format!("Marking for deletion Pod {namespace}/{pod_name}");
            self.recorder.say(&pod, TAINTS, "", &Said::normal("TaintManagerEviction", text));
            heard(self.state.delete(PODS, namespace, pod_name, &Deletion::default()), &pod);
        }
    }
}
