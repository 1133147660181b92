//! Nodes: how one registers, what its kubelet reports, and what becomes of it when nothing is heard of it.

use super::parts::{map_at, set_condition};
use crate::sandbox::origin::text_of;
use crate::sandbox::{Object, text_at};
use jiff::Timestamp;
use serde_json::{Value, json};

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// `kubectl get nodes` shows it.
const VERSION: &str = "v1.34.1";

/// A node as its kubelet registers it: `slots` pods, `cpu` cores, `memory` GiB.
pub fn registration(name: &str, pool: &str, zone: &str, slots: u32, cpu: u32, memory: u32, now: Timestamp) -> Value {
    let mut node = json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux", "topology.kubernetes.io/zone": zone, "node.kubernetes.io/pool": pool,
        }},
        "spec": {},
        "status": {
            "capacity": {"cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "pods": slots.to_string(), "ephemeral-storage": "98831908Ki"},
            "allocatable": {"cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "pods": slots.to_string(), "ephemeral-storage": "91083486Ki"},
        },
    });
    node["status"]["conditions"] = ready(&node, now)["conditions"].clone();
    described(&mut node["status"], name);
    node
}

fn described(status: &mut Value, name: &str) {
    let number = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
    let address = format!("192.168.{}.{}", 1 + (number >> 8) % 200, 2 + number % 250);
    status["addresses"] = json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]);
    status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 10250}});
    status["nodeInfo"] = json!({
        "architecture": "amd64", "operatingSystem": "linux", "osImage": "Debian GNU/Linux 13 (trixie)",
        "kernelVersion": "6.12.48+deb13-amd64", "containerRuntimeVersion": "containerd://2.1.4",
        "kubeletVersion": VERSION, "kubeProxyVersion": "", "machineID": format!("{number:016x}{number:016x}"),
        "systemUUID": format!("{number:016x}"), "bootID": format!("{:016x}", number.rotate_left(9)),
    });
}

/// The status of a node that reports.
pub(super) fn ready(node: &Value, now: Timestamp) -> Value {
    let mut status = node.get("status").filter(|s| s.is_object()).cloned().unwrap_or_else(|| json!({}));
    let now = text_of(now);
    for (kind, reason, message) in [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ] {
        set_condition(&mut status, kind, "False", reason, message, &now);
    }
    set_condition(&mut status, "Ready", "True", "KubeletReady", "kubelet is posting ready status", &now);
    heartbeat(&mut status, &now);
    // A node that somebody made by hand has said nothing about itself.
    if status.get("nodeInfo").is_none() {
        described(&mut status, text_at(node, "/metadata/name"));
    }
    if status.get("allocatable").is_none() {
        let room = json!({"cpu": "4", "memory": "16Gi", "pods": "110"});
        status["capacity"] = room.clone();
        status["allocatable"] = room;
    }
    status
}

fn heartbeat(status: &mut Value, now: &str) {
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    conditions.for_each(|c| c["lastHeartbeatTime"] = now.into());
}

/// The status of a node that nothing is heard of.
pub(super) fn unknown(node: &Object, now: Timestamp) -> Value {
    let mut status = node.value().get("status").filter(|s| s.is_object()).cloned().unwrap_or_else(|| json!({}));
    for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
        let message = "Kubelet stopped posting node status.";
        set_condition(&mut status, kind, "Unknown", "NodeStatusUnknown", message, &text_of(now));
    }
    status
}

/// Taints a node so that nothing comes and everything goes; or takes that back.
pub(super) fn taint(node: &mut Value, gone: bool, now: Timestamp) {
    let spec = map_at(node, &["spec"]);
    let mut taints: Vec<Value> = spec.get("taints").and_then(Value::as_array).cloned().unwrap_or_default();
    let had = taints.iter().any(|t| text_at(t, "/key") == UNREACHABLE);
    if gone && !had {
        for effect in ["NoSchedule", "NoExecute"] {
            taints.push(json!({"key": UNREACHABLE, "effect": effect, "timeAdded": text_of(now)}));
        }
    } else if !gone {
        taints.retain(|t| text_at(t, "/key") != UNREACHABLE);
    }
    if taints.is_empty() {
        spec.remove("taints");
    } else {
        spec.insert("taints".into(), taints.into());
    }
}

/// The taint that drives pods away.
pub(super) fn eviction_taint() -> Value {
    json!({"key": UNREACHABLE, "effect": "NoExecute"})
}

/// A node's lease in kube-node-lease.
pub(super) fn lease(node: &Object, now: Timestamp) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": node.name(), "uid": node.uid()});
    json!({
        "metadata": {"name": node.name(), "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {"holderIdentity": node.name(), "leaseDurationSeconds": 40, "renewTime": micros(now)},
    })
}

/// A time with microseconds, as Leases have it.
pub(super) fn micros(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_goes_and_comes_keeps_the_taints_of_others() {
        let now = Timestamp::UNIX_EPOCH;
        let mut node = registration("a", "p", "z", 10, 4, 16, now);
        node["spec"]["taints"] = json!([{"key": "mine", "effect": "NoSchedule"}]);
        taint(&mut node, true, now);
        taint(&mut node, true, now);
        assert_eq!(node["spec"]["taints"].as_array().map(Vec::len), Some(3));
        taint(&mut node, false, now);
        assert_eq!(node["spec"]["taints"], json!([{"key": "mine", "effect": "NoSchedule"}]));
    }
}
