//! READY, STATUS and RESTARTS of a Pod: what kubectl's `printPod` concludes from the states of its containers.

use super::columns::{age, items, text};
use serde_json::Value;

/// The columns that are more than one field.
#[derive(Debug, PartialEq, Eq)]
pub struct PodColumns {
    /// `1/2`
    pub ready: String,
    /// `Running`, `CrashLoopBackOff`, `Init:0/1`.
    pub status: String,
    /// `4 (2m ago)`
    pub restarts: String,
}

#[derive(Default)]
struct Restarts {
    count: i64,
    /// The newest end of an earlier life.
    last: Value,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += container["restartCount"].as_i64().unwrap_or(0);
        let ended = &container["lastState"]["terminated"]["finishedAt"];
        // RFC 3339 in UTC to the second: text order is time order.
        if ended.as_str() > self.last.as_str() {
            self.last = ended.clone();
        }
    }
}

/// Reads a Pod.
pub fn of(pod: &Value, now_ms: i64) -> PodColumns {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let mut sidecars = Restarts::default();
    let mut sidecars_ready = 0;
    let mut initializing = None;
    let mut init_restarts = Restarts::default();
    let inits = items(&spec["initContainers"]).count();
    for (i, container) in items(&status["initContainerStatuses"]).enumerate() {
        init_restarts.add(container);
        let is_sidecar = items(&spec["initContainers"])
            .any(|declared| declared["name"] == container["name"] && declared["restartPolicy"] == "Always");
        if is_sidecar {
            sidecars.add(container);
            if container["ready"] == true {
                sidecars_ready += 1;
            }
        }
        let (ended, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
        if ended.is_object() && ended["exitCode"] == 0 || is_sidecar && container["started"] == true {
            continue;
        }
        initializing = Some(match waiting["reason"].as_str() {
            _ if ended.is_object() => format!("Init:{}", how_it_ended(ended)),
            Some(reason) if !reason.is_empty() && reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{i}/{inits}"),
        });
        break;
    }
    let mut shown = reason(status);
    let (mut restarts, mut ready) = (init_restarts, sidecars_ready);
    match initializing {
        Some(init) if !is_true(status, "Initialized") => shown = init,
        _ => {
            restarts = sidecars;
            let mut runs = false;
            for container in items(&status["containerStatuses"]).rev() {
                restarts.add(container);
                let (ended, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
                match waiting["reason"].as_str() {
                    Some(why) if !why.is_empty() => why.clone_into(&mut shown),
                    _ if ended.is_object() => shown = how_it_ended(ended),
                    _ if container["ready"] == true && container["state"]["running"].is_object() => {
                        runs = true;
                        ready += 1;
                    }
                    _ => {}
                }
            }
            if shown == "Completed" && runs {
                shown = if is_true(status, "Ready") { "Running" } else { "NotReady" }.to_owned();
            }
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        if status["reason"] == "NodeLost" {
            shown = "Unknown".to_owned();
        } else if !matches!(status["phase"].as_str(), Some("Failed" | "Succeeded")) {
            shown = "Terminating".to_owned();
        }
    }
    let sidecars_declared = items(&spec["initContainers"]).filter(|c| c["restartPolicy"] == "Always").count();
    let total = items(&spec["containers"]).count() + sidecars_declared;
    PodColumns {
        ready: format!("{ready}/{total}"),
        status: shown,
        restarts: match &restarts.last {
            Value::String(_) if restarts.count > 0 => {
                format!("{} ({} ago)", restarts.count, age(&restarts.last, now_ms))
            }
            _ => restarts.count.to_string(),
        },
    }
}

fn reason(status: &Value) -> String {
    let gated = items(&status["conditions"]).any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    match status["reason"].as_str() {
        _ if gated => "SchedulingGated".to_owned(),
        Some(reason) if !reason.is_empty() => reason.to_owned(),
        _ => text(&status["phase"]),
    }
}

fn is_true(status: &Value, condition: &str) -> bool {
    items(&status["conditions"]).any(|c| c["type"] == condition && c["status"] == "True")
}

fn how_it_ended(ended: &Value) -> String {
    match (ended["reason"].as_str(), ended["signal"].as_i64()) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", ended["exitCode"].as_i64().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns(pod: Value) -> [String; 3] {
        let PodColumns { ready, status, restarts } = of(&pod, 3_600_000);
        [ready, status, restarts]
    }

    #[test]
    fn a_crash_loop_shows_its_reason_and_when_it_last_fell() {
        let pod = json!({"spec": {"containers": [{"name": "app"}]}, "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "ready": false, "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"finishedAt": "1970-01-01T00:58:00Z"}}}]}});
        assert_eq!(columns(pod), ["0/1", "CrashLoopBackOff", "4 (2m ago)"]);
    }

    #[test]
    fn a_pod_that_initializes_says_how_far_it_is_and_one_that_goes_says_so() {
        let init = json!({"spec": {"containers": [{}], "initContainers": [{"name": "a"}, {"name": "b"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "a", "state": {"terminated": {"exitCode": 0}}}, {"name": "b", "state": {"running": {}}}]}});
        assert_eq!(columns(init), ["0/1", "Init:1/2", "0"]);
        let going = json!({"metadata": {"deletionTimestamp": "x"}, "spec": {"containers": [{}]},
            "status": {"phase": "Running", "containerStatuses": [{"ready": true, "state": {"running": {}}}]}});
        assert_eq!(columns(going), ["1/1", "Terminating", "0"]);
    }

    #[test]
    fn a_container_that_ended_without_a_reason_shows_its_signal_or_code() {
        let pod = |state: Value| json!({"spec": {"containers": [{}]}, "status": {"phase": "Failed", "containerStatuses": [{"state": state}]}});
        assert_eq!(columns(pod(json!({"terminated": {"exitCode": 137, "signal": 9}})))[1], "Signal:9");
        assert_eq!(columns(pod(json!({"terminated": {"exitCode": 2}})))[1], "ExitCode:2");
    }
}
