//! What happened, in words and in fields: old and new of an object in, happenings out.
//!
//! Only the members that a sentence needs are read, borrowed from the record. Names and messages come from the cluster and
//! are untrusted text: they are JSON strings here, and whoever prints them escapes them.

use super::cut::CowStr;
use super::envelope::{Envelope, Op};
use super::record::{Headers, OutRecord, WRITER_EPOCH_HEADER};
use super::topic::{object_key, partition_of};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that happened to one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// `created`, `deleted`, `image-changed`, `replicas-changed`, `readiness-changed`, `container-restarted`,
    /// `warning-event`.
    #[serde(rename = "type")]
    pub what: &'static str,
    /// `normal` or `warning`.
    pub severity: &'static str,
    /// One sentence.
    pub summary: String,
    /// Fields that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FieldChange>,
    /// Tells two happenings of one type in one change apart; part of the id.
    #[serde(skip)]
    pub detail: String,
}

/// One field, before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Path, with names in place of indexes: `spec.template.spec.containers[nginx].image`.
    pub path: String,
    /// Old value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// New value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Happening {
    fn new(what: &'static str, severity: &'static str, summary: String) -> Self {
        Self { what, severity, summary, changes: Vec::new(), detail: String::new() }
    }

    fn field(mut self, path: &str, from: impl ToString, to: impl ToString) -> Self {
        self.changes.push(FieldChange { path: path.into(), from: Some(from.to_string()), to: Some(to.to_string()) });
        self
    }

    fn detail(mut self, detail: &str) -> Self {
        detail.clone_into(&mut self.detail);
        self
    }
}

/// What a change means. A change whose old version is not at hand says nothing, and neither does a first snapshot.
pub fn happenings(envelope: &Envelope<'_>) -> Vec<Happening> {
    let source = &envelope.source;
    let subject = format!("{} {}", singular(&source.kind), source.name);
    if source.kind == "events" {
        return match (envelope.op, envelope.after) {
            (Op::Delete, _) | (_, None) => Vec::new(),
            _ if source.snapshot => Vec::new(),
            (_, Some(after)) => warning(after.get()).into_iter().collect(),
        };
    }
    let (before, after) = (envelope.before.map(|r| r.get()), envelope.after.map(|r| r.get()));
    match (envelope.op, before, after) {
        (Op::Create, ..) => vec![Happening::new("created", "normal", format!("{subject}: created"))],
        (Op::Delete, ..) => vec![Happening::new("deleted", "normal", format!("{subject}: deleted"))],
        (Op::Update, Some(before), Some(after)) => match source.kind.as_str() {
            "deployments" | "statefulsets" => compare(before, after, |old, new| workload(&subject, old, new)),
            "pods" => compare(before, after, |old, new| pod(&subject, old, new)),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The record of a happening on `event-stream`, written at `now_ms`. Its id is the same whenever it is derived again from the same change.
pub fn record(
    topic: &Arc<str>,
    partitions: i32,
    cluster: &str,
    writer_epoch: u64,
    envelope: &Envelope<'_>,
    happening: &Happening,
    now_ms: i64,
) -> OutRecord {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Value<'a> {
        id: &'a str,
        ts_ms: i64,
        cluster: &'a str,
        kind: &'a str,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
        rv: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        manager: Option<&'a str>,
        #[serde(flatten)]
        happening: &'a Happening,
    }
    let s = &envelope.source;
    let mut id = format!("{}:{}:{}", s.uid, s.seen_at(), happening.what);
    if !happening.detail.is_empty() {
        id = format!("{id}:{}", happening.detail);
    }
    let value = Value {
        id: &id,
        ts_ms: envelope.ts_ms,
        cluster,
        kind: &s.kind,
        namespace: &s.namespace,
        name: &s.name,
        uid: &s.uid,
        rv: &s.rv,
        manager: s.manager.as_deref(),
        happening,
    };
    let namespace = (!s.namespace.is_empty()).then_some(s.namespace.as_str());
    let key = Bytes::from(object_key(cluster, &s.kind, namespace, &s.name));
    let headers: Headers = vec![
        ("ce_specversion", Bytes::from_static(b"1.0")),
        ("ce_source", Bytes::from(format!("/clusters/{cluster}"))),
        ("ce_type", Bytes::from(format!("io.agent-events.{}", happening.what))),
        ("ce_time", super::envelope::rfc3339(envelope.ts_ms).into()),
        ("content-type", Bytes::from_static(b"application/json")),
        (WRITER_EPOCH_HEADER, writer_epoch.to_string().into()),
        ("ce_id", Bytes::from(id.clone())),
    ];
    OutRecord {
        topic: topic.clone(),
        partition: partition_of(&key, partitions),
        key,
        // Strings and numbers: cannot fail.
        value: Some(serde_json::to_vec(&value).unwrap_or_default().into()),
        headers,
        // The time of writing, not of what happened: Kafka forgets idempotent producers by their records' timestamps.
        timestamp_ms: now_ms,
    }
}

fn singular(kind: &str) -> &str {
    let plural = kind.split('.').next().unwrap_or(kind);
    plural.strip_suffix('s').unwrap_or(plural)
}

/// Both sides or nothing: a stub, or an object of another shape, cannot be compared.
fn compare<'a, T: Deserialize<'a>>(
    before: &'a str,
    after: &'a str,
    say: impl Fn(&T, &T) -> Vec<Happening>,
) -> Vec<Happening> {
    match (serde_json::from_str(before), serde_json::from_str(after)) {
        (Ok(old), Ok(new)) => say(&old, &new),
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    name: CowStr<'a>,
    #[serde(borrow, default)]
    image: CowStr<'a>,
}

#[derive(Deserialize, Default)]
struct PodSpec<'a> {
    #[serde(borrow, default)]
    containers: Vec<Container<'a>>,
    #[serde(borrow, default, rename = "initContainers")]
    init_containers: Vec<Container<'a>>,
}

#[derive(Deserialize)]
struct Template<'a> {
    #[serde(borrow, default)]
    spec: PodSpec<'a>,
}

#[derive(Deserialize)]
struct WorkloadSpec<'a> {
    #[serde(default)]
    replicas: Option<i64>,
    #[serde(borrow)]
    template: Template<'a>,
}

#[derive(Deserialize, Default)]
struct WorkloadStatus {
    #[serde(default, rename = "readyReplicas")]
    ready_replicas: i64,
}

#[derive(Deserialize)]
struct Workload<'a> {
    #[serde(borrow)]
    spec: WorkloadSpec<'a>,
    #[serde(default)]
    status: WorkloadStatus,
}

fn images<'a>(spec: &'a PodSpec<'_>) -> BTreeMap<&'a str, &'a str> {
    let all = spec.init_containers.iter().chain(&spec.containers);
    all.map(|c| (&*c.name.0, &*c.image.0)).collect()
}

fn image_changes(subject: &str, path: &str, old: &PodSpec<'_>, new: &PodSpec<'_>) -> Vec<Happening> {
    let old = images(old);
    let changed =
        images(new).into_iter().filter_map(|(name, to)| Some((name, *old.get(name)?, to))).filter(|c| c.1 != c.2);
    changed
        .map(|(name, from, to)| {
            Happening::new("image-changed", "normal", format!("{subject}: image {from} → {to}"))
                .field(&format!("{path}.containers[{name}].image"), from, to)
                .detail(name)
        })
        .collect()
}

fn workload(subject: &str, old: &Workload<'_>, new: &Workload<'_>) -> Vec<Happening> {
    let mut out = image_changes(subject, "spec.template.spec", &old.spec.template.spec, &new.spec.template.spec);
    let (from, to) = (old.spec.replicas.unwrap_or(1), new.spec.replicas.unwrap_or(1));
    if from != to {
        let said = format!("{subject}: replicas {from} → {to}");
        out.push(Happening::new("replicas-changed", "normal", said).field("spec.replicas", from, to));
    }
    let (from, now) = (old.status.ready_replicas, new.status.ready_replicas);
    if from != now {
        let severity = if now < from && now < to { "warning" } else { "normal" };
        let said = format!("{subject}: {now} of {to} ready (was {from})");
        out.push(Happening::new("readiness-changed", severity, said).field("status.readyReplicas", from, now));
    }
    out
}

#[derive(Deserialize)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    kind: CowStr<'a>,
    #[serde(borrow)]
    status: CowStr<'a>,
}

#[derive(Deserialize, Default)]
struct Terminated<'a> {
    #[serde(borrow, default)]
    reason: CowStr<'a>,
    #[serde(default, rename = "exitCode")]
    exit_code: i64,
}

#[derive(Deserialize, Default)]
struct ContainerState<'a> {
    #[serde(borrow, default)]
    terminated: Option<Terminated<'a>>,
}

#[derive(Deserialize)]
struct ContainerStatus<'a> {
    #[serde(borrow)]
    name: CowStr<'a>,
    #[serde(default, rename = "restartCount")]
    restarts: i64,
    #[serde(borrow, default, rename = "lastState")]
    last_state: ContainerState<'a>,
}

#[derive(Deserialize, Default)]
struct PodStatus<'a> {
    #[serde(borrow, default)]
    conditions: Vec<Condition<'a>>,
    #[serde(borrow, default, rename = "containerStatuses")]
    containers: Vec<ContainerStatus<'a>>,
}

#[derive(Deserialize)]
struct Pod<'a> {
    #[serde(borrow)]
    spec: PodSpec<'a>,
    #[serde(borrow, default)]
    status: PodStatus<'a>,
}

fn ready(pod: &Pod<'_>) -> bool {
    pod.status.conditions.iter().any(|c| c.kind.0 == "Ready" && c.status.0 == "True")
}

fn pod(subject: &str, old: &Pod<'_>, new: &Pod<'_>) -> Vec<Happening> {
    let mut out = image_changes(subject, "spec", &old.spec, &new.spec);
    let restarts: BTreeMap<&str, i64> = old.status.containers.iter().map(|c| (&*c.name.0, c.restarts)).collect();
    for container in &new.status.containers {
        let (name, now) = (&*container.name.0, container.restarts);
        let was = restarts.get(name).copied().unwrap_or(0);
        if now > was {
            let why = match &container.last_state.terminated {
                Some(t) if !t.reason.0.is_empty() => format!("{} (exit {})", t.reason.0, t.exit_code),
                Some(t) => format!("exited {}", t.exit_code),
                None => "restarted".to_owned(),
            };
            out.push(
                Happening::new(
                    "container-restarted",
                    "warning",
                    format!("{subject}: container {name} {why}, restart {now}"),
                )
                .field(&format!("status.containerStatuses[{name}].restartCount"), was, now)
                .detail(name),
            );
        }
    }
    let (was, is) = (ready(old), ready(new));
    if was != is {
        let (severity, word) = if is { ("normal", "ready") } else { ("warning", "not ready") };
        let said = format!("{subject}: {word}");
        out.push(Happening::new("readiness-changed", severity, said).field("status.conditions[Ready].status", was, is));
    }
    out
}

#[derive(Deserialize)]
struct Involved<'a> {
    #[serde(borrow, default)]
    kind: CowStr<'a>,
    #[serde(borrow, default)]
    name: CowStr<'a>,
}

#[derive(Deserialize)]
struct KubernetesEvent<'a> {
    #[serde(borrow, rename = "type", default)]
    severity: CowStr<'a>,
    #[serde(borrow, default)]
    reason: CowStr<'a>,
    #[serde(borrow, default)]
    message: CowStr<'a>,
    #[serde(borrow, rename = "involvedObject")]
    involved: Involved<'a>,
}

fn warning(event: &str) -> Option<Happening> {
    let event: KubernetesEvent<'_> = serde_json::from_str(event).ok()?;
    if event.severity.0 != "Warning" {
        return None;
    }
    let subject = format!("{} {}", event.involved.kind.0.to_lowercase(), event.involved.name.0);
    Some(Happening::new("warning-event", "warning", format!("{subject}: {} {}", event.reason.0, event.message.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(kind: &str, op: &str, before: serde_json::Value, after: serde_json::Value) -> Vec<(String, String)> {
        let value = json!({"op": op, "ts_ms": 1, "before": before, "after": after,
            "source": {"kind": kind, "namespace": "n", "name": "web", "uid": "u", "rv": "7", "observed": "watch"}})
        .to_string();
        let envelope: Envelope<'_> = serde_json::from_str(&value).expect("an envelope");
        happenings(&envelope).into_iter().map(|h| (h.what.to_owned(), h.summary)).collect()
    }

    fn deployment(image: &str, replicas: i64, ready: i64) -> serde_json::Value {
        json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
            "status": {"readyReplicas": ready}})
    }

    #[test]
    fn a_deployment_tells_its_image_its_replicas_and_its_readiness() {
        let all = said("deployments", "u", deployment("a", 2, 2), deployment("b", 5, 1));
        assert_eq!(
            all,
            [
                ("image-changed".into(), "deployment web: image a → b".into()),
                ("replicas-changed".into(), "deployment web: replicas 2 → 5".into()),
                ("readiness-changed".into(), "deployment web: 1 of 5 ready (was 2)".into()),
            ]
        );
        assert!(said("deployments", "u", deployment("a", 2, 2), deployment("a", 2, 2)).is_empty());
    }

    #[test]
    fn a_pod_tells_why_a_container_restarted() {
        let pod = |restarts: i64, ready: &str, reason: &str| {
            json!({"spec": {"containers": [{"name": "app", "image": "i"}]}, "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"name": "app", "restartCount": restarts,
                    "lastState": {"terminated": {"reason": reason, "exitCode": 137}}}]}})
        };
        let all = said("pods", "u", pod(3, "True", ""), pod(4, "False", "OOMKilled"));
        assert_eq!(
            all,
            [
                ("container-restarted".into(), "pod web: container app OOMKilled (exit 137), restart 4".into()),
                ("readiness-changed".into(), "pod web: not ready".into()),
            ]
        );
    }

    #[test]
    fn only_warnings_among_events_are_told() {
        let event = |severity: &str| json!({"type": severity, "reason": "BackOff", "message": "again", "involvedObject": {"kind": "Pod", "name": "p"}});
        assert_eq!(said("events", "c", json!(null), event("Warning"))[0].1, "pod p: BackOff again");
        assert!(said("events", "c", json!(null), event("Normal")).is_empty());
    }

    #[test]
    fn a_snapshot_and_a_stub_say_nothing() {
        assert!(said("deployments", "r", json!(null), deployment("a", 1, 1)).is_empty());
        assert!(said("deployments", "u", json!({"metadata": {}}), deployment("a", 1, 1)).is_empty());
        assert_eq!(said("pods", "c", json!(null), json!({}))[0].1, "pod web: created");
        assert_eq!(said("pods", "d", json!({}), json!(null))[0].1, "pod web: deleted");
    }
}
