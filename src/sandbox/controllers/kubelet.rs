//! What a kubelet does with its pods: where a pod stands, what comes next, and how the status reads then.
//!
//! A pod's place on its way is read from its status alone, so a start in the middle of everything goes on from there. What
//! goes wrong is asked for: by an annotation of the pod, by words in an image's tag, or by an order for one pod.
//!
//! | what stands in the pod | what its containers do |
//! |---|---|
//! | `sandbox.agent-events/behaviour: crash` | exit 1 some seconds after each start |
//! | `...: oom` | the same with 137, OOMKilled |
//! | `...: unready` | run and never become ready |
//! | `...: complete` | exit 0 after some seconds |
//! | an image with `missing`, `nonexistent`, `does-not-exist` or `doesnotexist` in it | cannot be pulled |

use super::said::Said;
use crate::sandbox::{Object, text_at};
use serde_json::Value;

mod status;

pub(super) use status::{Place, advance, die, evict};

/// The annotation that makes a pod go wrong on purpose.
pub const BEHAVIOUR: &str = "sandbox.agent-events/behaviour";

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing to do: no node, ended, or simply well.
    Idle,
    /// Bound, and not looked at yet.
    Assigned,
    /// Images are being pulled, containers made.
    Creating,
    /// Somebody gave it another image.
    Changed,
    /// ErrImagePull.
    PullFailed,
    /// ImagePullBackOff.
    PullBackOff,
    /// Running, not ready yet.
    Starting,
    /// Running and ready, and about to end by its behaviour.
    Doomed,
    /// A container has exited and is to be restarted.
    Exited,
    /// CrashLoopBackOff.
    BackOff,
    /// To be ended.
    Terminating,
}

/// What a container is to die of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Exit code 1, reason Error.
    Crash,
    /// Exit code 137, reason OOMKilled.
    OutOfMemory,
    /// Exit code 0, reason Completed.
    Completed,
}

impl Death {
    pub(super) fn exit(self) -> (i64, &'static str) {
        match self {
            Self::Crash => (1, "Error"),
            Self::OutOfMemory => (137, "OOMKilled"),
            Self::Completed => (0, "Completed"),
        }
    }
}

/// What a pod's annotation asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    Well,
    Unready,
    Dies(Death),
}

pub(super) fn behaviour(pod: &Object) -> Behaviour {
    let annotations = pod.value().pointer("/metadata/annotations");
    match annotations.and_then(|a| a.get(BEHAVIOUR)).and_then(Value::as_str) {
        Some("crash") => Behaviour::Dies(Death::Crash),
        Some("oom") => Behaviour::Dies(Death::OutOfMemory),
        Some("complete") => Behaviour::Dies(Death::Completed),
        Some("unready") => Behaviour::Unready,
        _ => Behaviour::Well,
    }
}

fn can_be_pulled(image: &str) -> bool {
    !["missing", "nonexistent", "does-not-exist", "doesnotexist"].iter().any(|word| image.contains(word))
}

fn statuses(pod: &Object) -> &[Value] {
    pod.value().pointer("/status/containerStatuses").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn containers(pod: &Object) -> &[Value] {
    pod.value().pointer("/spec/containers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn wanted_image<'p>(pod: &'p Object, status: &Value) -> Option<&'p str> {
    containers(pod).iter().find(|c| c["name"] == status["name"]).map(|c| text_at(c, "/image"))
}

/// Images of a pod.
pub(super) fn images(pod: &Object) -> impl Iterator<Item = &str> {
    containers(pod).iter().map(|c| text_at(c, "/image"))
}

/// Reads where a pod stands.
pub(super) fn stage(pod: &Object) -> Stage {
    if pod.text("/spec/nodeName").is_empty() {
        return Stage::Idle;
    }
    if pod.is_terminating() {
        return Stage::Terminating;
    }
    if matches!(pod.text("/status/phase"), "Succeeded" | "Failed") {
        return Stage::Idle;
    }
    let statuses = statuses(pod);
    if statuses.is_empty() {
        return Stage::Assigned;
    }
    let waiting = |reason: &str| statuses.iter().any(|s| text_at(s, "/state/waiting/reason") == reason);
    if statuses.iter().any(|s| wanted_image(pod, s).is_some_and(|image| image != text_at(s, "/image"))) {
        return Stage::Changed;
    }
    if statuses.iter().any(|s| s.pointer("/state/terminated").is_some()) {
        return Stage::Exited;
    }
    if waiting("CrashLoopBackOff") {
        return Stage::BackOff;
    }
    if waiting("ErrImagePull") {
        return Stage::PullFailed;
    }
    if waiting("ImagePullBackOff") {
        return Stage::PullBackOff;
    }
    if statuses.iter().any(|s| s.pointer("/state/running").is_none()) {
        return Stage::Creating;
    }
    let ready = statuses.iter().all(|s| s["ready"] == true) && super::parts::is_ready(pod);
    match behaviour(pod) {
        Behaviour::Unready => Stage::Idle,
        _ if !ready => Stage::Starting,
        Behaviour::Dies(_) => Stage::Doomed,
        Behaviour::Well => Stage::Idle,
    }
}

/// How long a stage lasts: milliseconds at least and at most, as on a small cluster.
pub(super) fn lasts(stage: Stage, pod: &Object) -> Option<(u64, u64)> {
    let restarts = statuses(pod).iter().filter_map(|s| s["restartCount"].as_u64()).max().unwrap_or(0);
    Some(match stage {
        Stage::Idle => return None,
        Stage::Assigned => (10, 60),
        Stage::Creating => (400, 2000),
        Stage::Changed => (200, 800),
        Stage::Starting => (300, 1500),
        Stage::PullFailed => (800, 1500),
        Stage::PullBackOff => (10_000, 14_000),
        Stage::Doomed => (1500, 3000),
        // The first restart comes at once, later ones by way of CrashLoopBackOff.
        Stage::Exited => (600, 1200),
        // 10 s, doubled each time up to five minutes.
        Stage::BackOff => {
            let wait = 10_000 << restarts.saturating_sub(1).min(5);
            (wait.min(300_000), wait.min(300_000) + 500)
        }
        Stage::Terminating => {
            let grace = pod.number("/metadata/deletionGracePeriodSeconds").unwrap_or(0).clamp(0, 3600);
            let grace = u64::try_from(grace).unwrap_or(0) * 1000;
            (300.min(grace), 1500.min(grace))
        }
    })
}

/// What is said when a pod comes into a stage.
pub(super) fn said_at(stage: Stage, pod: &Object, pulled: &dyn Fn(&str) -> bool) -> Vec<Said> {
    let each = |say: &dyn Fn(&str, &str) -> Option<Said>| -> Vec<Said> {
        let name_and_image = |c: &Value| say(text_at(c, "/name"), text_at(c, "/image"));
        containers(pod).iter().filter_map(name_and_image).collect()
    };
    match stage {
        Stage::Creating => each(&|name, image| {
            (!pulled(image)).then(|| Said::normal("Pulling", format!("Pulling image \"{image}\"")).of_container(name))
        }),
        Stage::Terminating if !statuses(pod).is_empty() => {
            each(&|name, _| Some(Said::normal("Killing", format!("Stopping container {name}")).of_container(name)))
        }
        Stage::BackOff => {
            let resting = |s: &&Value| text_at(s, "/state/waiting/reason") == "CrashLoopBackOff";
            let said = |s: &Value| {
                let name = text_at(s, "/name");
                let (pod_name, namespace, uid) = (pod.name(), pod.namespace(), pod.uid());
                let message =
                    format!("Back-off restarting failed container {name} in pod {pod_name}_{namespace}({uid})");
                Said::warning("BackOff", message).of_container(name)
            };
            statuses(pod).iter().filter(resting).map(said).collect()
        }
        Stage::PullBackOff => each(&|name, image| {
            let failed = !can_be_pulled(image);
            failed.then(|| Said::warning("Failed", "Error: ImagePullBackOff").of_container(name))
        }),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
