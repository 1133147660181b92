//! How a pod's status reads after a kubelet's next step.

use super::{Behaviour, Death, Stage, behaviour, can_be_pulled, containers, statuses, wanted_image};
use crate::sandbox::controllers::parts::set_condition;
use crate::sandbox::controllers::said::Said;
use crate::sandbox::origin::text_of;
use crate::sandbox::{Object, text_at};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What a kubelet knows besides the pod.
pub(in crate::sandbox::controllers) struct Place<'a> {
    pub now: Timestamp,
    /// Address of the node.
    pub host_ip: &'a str,
    /// An address that nobody else has.
    pub pod_ip: String,
    /// Milliseconds that a pull took.
    pub took: u64,
    /// Whether the node has an image.
    pub pulled: &'a dyn Fn(&str) -> bool,
}

/// The next status and what is said about it; `None`: nothing follows. [`Stage::Terminating`] is not for it.
pub(in crate::sandbox::controllers) fn advance(
    pod: &Object,
    stage: Stage,
    at: &Place<'_>,
) -> Option<(Value, Vec<Said>)> {
    let mut status = pod.value().get("status").filter(|s| s.is_object()).cloned().unwrap_or_else(|| json!({}));
    let mut said = Vec::new();
    let now = text_of(at.now);
    let each = |status: &mut Value, change: &mut dyn FnMut(&mut Value)| {
        let list = status["containerStatuses"].as_array_mut().into_iter().flatten();
        list.for_each(change);
    };
    match stage {
        Stage::Idle | Stage::Terminating => return None,
        Stage::Assigned => assigned(pod, &mut status, at, &now)?,
        Stage::Creating => each(&mut status, &mut |s| {
            if s.pointer("/state/running").is_none() {
                start(s, at, &now, &mut said);
            }
        }),
        Stage::Changed => each(&mut status, &mut |s| {
            let image = wanted_image(pod, s).filter(|image| *image != text_at(s, "/image"));
            if let Some(image) = image {
                let text = format!("Container {} definition changed, will be restarted", text_at(s, "/name"));
                said.push(Said::normal("Killing", text).of_container(text_at(s, "/name")));
                s["image"] = image.into();
                restart(s, at, &now, &mut said);
            }
        }),
        Stage::Starting => each(&mut status, &mut |s| s["ready"] = true.into()),
        Stage::PullFailed => each(&mut status, &mut |s| {
            if text_at(s, "/state/waiting/reason") == "ErrImagePull" {
                let image = text_at(s, "/image").to_owned();
                said.push(
                    Said::normal("BackOff", format!("Back-off pulling image \"{image}\""))
                        .of_container(text_at(s, "/name")),
                );
                s["state"] = waiting("ImagePullBackOff", &format!("Back-off pulling image \"{image}\""));
            }
        }),
        Stage::PullBackOff => each(&mut status, &mut |s| {
            if text_at(s, "/state/waiting/reason") == "ImagePullBackOff" {
                let text = format!("Pulling image \"{}\"", text_at(s, "/image"));
                said.push(Said::normal("Pulling", text).of_container(text_at(s, "/name")));
                start(s, at, &now, &mut said);
            }
        }),
        Stage::Doomed => match behaviour(pod) {
            Behaviour::Dies(death) => return Some(die(pod, death, at.now)),
            _ => return None,
        },
        Stage::Exited => return Some(after_exit(pod, status, at, &now)),
        Stage::BackOff => each(&mut status, &mut |s| {
            if text_at(s, "/state/waiting/reason") == "CrashLoopBackOff" {
                restart(s, at, &now, &mut said);
            }
        }),
    }
    if status.get("podIP").is_none() && stage == Stage::Creating {
        status["podIP"] = at.pod_ip.as_str().into();
        status["podIPs"] = json!([{"ip": at.pod_ip}]);
    }
    summarise(pod, &mut status, &now);
    Some((status, said))
}

/// A container dies (the first that runs). For [`Stage::Doomed`], and for orders.
pub(in crate::sandbox::controllers) fn die(pod: &Object, death: Death, now: Timestamp) -> (Value, Vec<Said>) {
    let mut status = pod.value()["status"].clone();
    let text = text_of(now);
    let (code, reason) = death.exit();
    let running = status["containerStatuses"].as_array_mut().into_iter().flatten();
    if let Some(container) = running.into_iter().find(|s| s.pointer("/state/running").is_some()) {
        let began = container["state"]["running"]["startedAt"].clone();
        let id = container["containerID"].clone();
        container["state"] = json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": began,
            "finishedAt": text, "containerID": id}});
        container["ready"] = false.into();
        container["started"] = false.into();
    }
    summarise(pod, &mut status, &text);
    (status, Vec::new())
}

fn assigned(pod: &Object, status: &mut Value, at: &Place<'_>, now: &str) -> Option<()> {
    let begin = |c: &Value| {
        json!({"name": text_at(c, "/name"), "image": text_at(c, "/image"), "imageID": "", "ready": false, "started": false,
               "restartCount": 0, "lastState": {}, "state": waiting("ContainerCreating", "")})
    };
    let all: Vec<Value> = containers(pod).iter().map(begin).collect();
    if all.is_empty() {
        return None;
    }
    status["containerStatuses"] = all.into();
    status["hostIP"] = at.host_ip.into();
    status["hostIPs"] = json!([{"ip": at.host_ip}]);
    status["startTime"] = now.into();
    set_condition(status, "PodScheduled", "True", "", "", now);
    set_condition(status, "PodReadyToStartContainers", "False", "", "", now);
    set_condition(status, "Initialized", "True", "", "", now);
    Some(())
}

fn waiting(reason: &str, message: &str) -> Value {
    if message.is_empty() {
        json!({"waiting": {"reason": reason}})
    } else {
        json!({"waiting": {"reason": reason, "message": message}})
    }
}

/// Pulls where needed, and runs.
fn start(container: &mut Value, at: &Place<'_>, now: &str, said: &mut Vec<Said>) {
    let (name, image) = (text_at(container, "/name").to_owned(), text_at(container, "/image").to_owned());
    let mut say = |s: Said| said.push(s.of_container(&name));
    if !can_be_pulled(&image) {
        let message = format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to resolve reference \
             \"{image}\": {image}: not found"
        );
        say(Said::warning("Failed", format!("Failed to pull image \"{image}\": {message}")));
        say(Said::warning("Failed", "Error: ErrImagePull"));
        container["state"] = waiting("ErrImagePull", &message);
        return;
    }
    if (at.pulled)(&image) {
        say(Said::normal("Pulled", format!("Container image \"{image}\" already present on machine")));
    } else {
        let took = format!("{}.{:03}s", at.took / 1000, at.took % 1000);
        let size = 18_000_000 + image.bytes().map(u64::from).sum::<u64>() * 9973;
        let text = format!(
            "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {size} bytes."
        );
        say(Said::normal("Pulled", text));
    }
    say(Said::normal("Created", format!("Created container: {name}")));
    say(Said::normal("Started", format!("Started container {name}")));
    let digest = xxhash_rust::xxh3::xxh3_128(image.as_bytes());
    container["imageID"] =
        format!("{}@sha256:{digest:032x}{digest:032x}", image.split(':').next().unwrap_or_default()).into();
    container["containerID"] = container_id(&name, at).into();
    container["state"] = json!({"running": {"startedAt": now}});
    container["started"] = true.into();
    container["ready"] = false.into();
}

fn container_id(name: &str, at: &Place<'_>) -> String {
    let seed = format!("{name} {} {}", at.pod_ip, at.now.as_nanosecond());
    let id = xxhash_rust::xxh3::xxh3_128(seed.as_bytes());
    format!("containerd://{id:032x}{:032x}", id.rotate_left(64))
}

fn restart(container: &mut Value, at: &Place<'_>, now: &str, said: &mut Vec<Said>) {
    if let Some(terminated) = container.pointer("/state/terminated").cloned() {
        container["lastState"] = json!({"terminated": terminated});
    }
    container["restartCount"] = container["restartCount"].as_i64().unwrap_or(0).saturating_add(1).into();
    start(container, at, now, said);
}

/// A container that has exited: the end, a restart at once, or one after a while.
fn after_exit(pod: &Object, mut status: Value, at: &Place<'_>, now: &str) -> (Value, Vec<Said>) {
    let mut said = Vec::new();
    let policy = pod.text("/spec/restartPolicy");
    let exited = statuses(pod).iter().find_map(|s| s.pointer("/state/terminated"));
    let failed = exited.is_some_and(|t| t["exitCode"] != 0);
    if policy == "Never" || (policy == "OnFailure" && !failed) {
        status["phase"] = if failed { "Failed" } else { "Succeeded" }.into();
        let reason = if failed { "PodFailed" } else { "PodCompleted" };
        for condition in ["Ready", "ContainersReady"] {
            set_condition(&mut status, condition, "False", reason, "", now);
        }
        return (status, said);
    }
    let list = status["containerStatuses"].as_array_mut().into_iter().flatten();
    for container in list.filter(|s| s.pointer("/state/terminated").is_some()) {
        let terminated = container["state"]["terminated"].clone();
        // Ten quiet minutes and the count begins anew, as a kubelet's does.
        let before = text_at(container, "/lastState/terminated/finishedAt").parse::<Timestamp>();
        let lately = before.is_ok_and(|t| at.now.duration_since(t) < SignedDuration::from_mins(10));
        if lately {
            let wait = (10 << container["restartCount"].as_u64().unwrap_or(1).saturating_sub(1).min(5)).min(300);
            let name = text_at(container, "/name").to_owned();
            let message = format!(
                "back-off {wait}s restarting failed container={name} pod={}_{}({})",
                pod.name(),
                pod.namespace(),
                pod.uid()
            );
            container["lastState"] = json!({"terminated": terminated});
            container["state"] = waiting("CrashLoopBackOff", &message);
        } else {
            restart(container, at, now, &mut said);
        }
    }
    summarise(pod, &mut status, now);
    (status, said)
}

/// A kubelet short of memory ends a pod.
pub(in crate::sandbox::controllers) fn evict(pod: &Object, now: Timestamp) -> (Value, Said) {
    let mut status = pod.value()["status"].clone();
    let text = text_of(now);
    let name = containers(pod).first().map_or("", |c| text_at(c, "/name"));
    let message = format!(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 84532Ki. Container {name} was using \
         412Mi, request is 256Mi, has larger consumption of memory. "
    );
    status["phase"] = "Failed".into();
    status["reason"] = "Evicted".into();
    status["message"] = message.as_str().into();
    // As kubelets do: `kubectl get pods` then says Evicted, and not how the containers ended.
    if let Some(status) = status.as_object_mut() {
        status.remove("containerStatuses");
    }
    set_condition(&mut status, "DisruptionTarget", "True", "TerminationByKubelet", &message, &text);
    for condition in ["Ready", "ContainersReady"] {
        set_condition(&mut status, condition, "False", "PodFailed", "", &text);
    }
    (status, Said::warning("Evicted", message))
}

/// Phase, addresses and conditions follow from the containers.
fn summarise(pod: &Object, status: &mut Value, now: &str) {
    let empty = Vec::new();
    let list = status["containerStatuses"].as_array().unwrap_or(&empty);
    let unready: Vec<&str> = list.iter().filter(|s| s["ready"] != true).map(|s| text_at(s, "/name")).collect();
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    let ready = unready.is_empty() && !list.is_empty();
    let begun = list.iter().any(|s| s.pointer("/state/running").is_some() || s.pointer("/state/terminated").is_some())
        || pod.text("/status/phase") == "Running";
    if begun {
        status["phase"] = "Running".into();
        set_condition(status, "PodReadyToStartContainers", "True", "", "", now);
    }
    for condition in ["Ready", "ContainersReady"] {
        if ready {
            set_condition(status, condition, "True", "", "", now);
        } else {
            set_condition(status, condition, "False", "ContainersNotReady", &message, now);
        }
    }
}
