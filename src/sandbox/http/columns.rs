//! The columns that users of `kubectl get` know, by kind.

use crate::sandbox::object::text_at;
use crate::sandbox::resource::{DEFINITIONS, Resource};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A column: name, type, whether it is always shown, and how its cell is made.
pub(super) struct Column {
    pub name: String,
    pub kind: String,
    pub wide: bool,
    pub cell: Cell,
}

/// How a cell is made.
pub(super) enum Cell {
    Of(fn(&Value, Timestamp) -> Value),
    /// What stands at a path, of a custom resource.
    Path(String, bool),
}

impl Column {
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        match &self.cell {
            Cell::Of(make) => make(object, now),
            Cell::Path(pointer, is_date) => match object.pointer(pointer) {
                Some(Value::String(date)) if *is_date => age_of(date, now).into(),
                Some(value @ (Value::Object(_) | Value::Array(_))) => value.to_string().into(),
                Some(value) => value.clone(),
                None => Value::Null,
            },
        }
    }
}

type Make = fn(&Value, Timestamp) -> Value;

const NAME: (&str, &str, Make) = ("Name", "string", |o, _| text_at(o, "/metadata/name").into());
const AGE: (&str, &str, Make) =
    ("Age", "string", |o, now| age_of(text_at(o, "/metadata/creationTimestamp"), now).into());
const CONTAINERS: (&str, &str, Make) = ("Containers", "string", |o, _| each_container(o, "name").into());
const IMAGES: (&str, &str, Make) = ("Images", "string", |o, _| each_container(o, "image").into());
const SELECTOR: (&str, &str, Make) = ("Selector", "string", |o, _| selector(&o["spec"]["selector"]).into());

/// Always shown; only with `-o wide`.
type Columns = (&'static [(&'static str, &'static str, Make)], &'static [(&'static str, &'static str, Make)]);

fn builtin(qualified: &str) -> Columns {
    match qualified {
        "pods" => (
            &[
                NAME,
                ("Ready", "string", |o, _| {
                    let ready = statuses(o).filter(|s| s["ready"] == true).count();
                    format!("{ready}/{}", list(o, "/spec/containers").len()).into()
                }),
                ("Status", "string", |o, _| pod_status(o).into()),
                ("Restarts", "string", |o, now| restarts(o, now).into()),
                AGE,
            ],
            &[
                ("IP", "string", |o, _| or_none(text_at(o, "/status/podIP"))),
                ("Node", "string", |o, _| or_none(text_at(o, "/spec/nodeName"))),
                ("Nominated Node", "string", |o, _| or_none(text_at(o, "/status/nominatedNodeName"))),
                ("Readiness Gates", "string", |_, _| "<none>".into()),
            ],
        ),
        "deployments.apps" => (
            &[
                NAME,
                ("Ready", "string", |o, _| {
                    format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas")).into()
                }),
                ("Up-to-date", "string", |o, _| number(o, "/status/updatedReplicas").into()),
                ("Available", "string", |o, _| number(o, "/status/availableReplicas").into()),
                AGE,
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "statefulsets.apps" => (
            &[
                NAME,
                ("Ready", "string", |o, _| {
                    format!("{}/{}", number(o, "/status/readyReplicas"), number(o, "/spec/replicas")).into()
                }),
                AGE,
            ],
            &[CONTAINERS, IMAGES],
        ),
        "replicasets.apps" => (
            &[
                NAME,
                ("Desired", "integer", |o, _| number(o, "/spec/replicas").into()),
                ("Current", "integer", |o, _| number(o, "/status/replicas").into()),
                ("Ready", "integer", |o, _| number(o, "/status/readyReplicas").into()),
                AGE,
            ],
            &[CONTAINERS, IMAGES, SELECTOR],
        ),
        "services" => (
            &[
                NAME,
                ("Type", "string", |o, _| text_at(o, "/spec/type").into()),
                ("Cluster-IP", "string", |o, _| or_none(text_at(o, "/spec/clusterIP"))),
                ("External-IP", "string", |o, _| external_ip(o).into()),
                ("Port(s)", "string", |o, _| ports(o).into()),
                AGE,
            ],
            &[SELECTOR],
        ),
        "configmaps" => {
            (&[NAME, ("Data", "string", |o, _| (entries(o, "data") + entries(o, "binaryData")).into()), AGE], &[])
        }
        "secrets" => (
            &[
                NAME,
                ("Type", "string", |o, _| text_at(o, "/type").into()),
                ("Data", "string", |o, _| entries(o, "data").into()),
                AGE,
            ],
            &[],
        ),
        "nodes" => (
            &[
                NAME,
                ("Status", "string", |o, _| node_status(o).into()),
                ("Roles", "string", |o, _| or_none(&roles(o))),
                AGE,
                ("Version", "string", |o, _| text_at(o, "/status/nodeInfo/kubeletVersion").into()),
            ],
            &[
                ("Internal-IP", "string", |o, _| or_none(address(o, "InternalIP"))),
                ("External-IP", "string", |o, _| or_none(address(o, "ExternalIP"))),
                ("OS-Image", "string", |o, _| or_unknown(text_at(o, "/status/nodeInfo/osImage"))),
                ("Kernel-Version", "string", |o, _| or_unknown(text_at(o, "/status/nodeInfo/kernelVersion"))),
                ("Container-Runtime", "string", |o, _| {
                    or_unknown(text_at(o, "/status/nodeInfo/containerRuntimeVersion"))
                }),
            ],
        ),
        "namespaces" => (&[NAME, ("Status", "string", |o, _| text_at(o, "/status/phase").into()), AGE], &[]),
        "events" => (
            &[
                ("Last Seen", "string", |o, now| age_of(last_seen(o), now).into()),
                ("Type", "string", |o, _| text_at(o, "/type").into()),
                ("Reason", "string", |o, _| text_at(o, "/reason").into()),
                ("Object", "string", |o, _| {
                    let kind = text_at(o, "/involvedObject/kind").to_lowercase();
                    format!("{kind}/{}", text_at(o, "/involvedObject/name")).into()
                }),
                ("Message", "string", |o, _| text_at(o, "/message").trim().into()),
            ],
            &[
                ("Subobject", "string", |o, _| text_at(o, "/involvedObject/fieldPath").into()),
                ("Source", "string", |o, _| source(o).into()),
                ("First Seen", "string", |o, now| age_of(first_seen(o), now).into()),
                ("Count", "string", |o, _| count(o).to_string().into()),
                ("Name", "string", |o, _| text_at(o, "/metadata/name").into()),
            ],
        ),
        "leases.coordination.k8s.io" => {
            (&[NAME, ("Holder", "string", |o, _| text_at(o, "/spec/holderIdentity").into()), AGE], &[])
        }
        DEFINITIONS => (&[NAME, ("Created At", "date", |o, _| text_at(o, "/metadata/creationTimestamp").into())], &[]),
        _ => (&[NAME, AGE], &[]),
    }
}

/// The columns of a resource in a version.
pub(super) fn columns(kind: &Resource, version: &str) -> Vec<Column> {
    let known = |wide: bool| {
        move |(name, kind, make): &(&str, &str, Make)| Column {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            wide,
            cell: Cell::Of(*make),
        }
    };
    let own = kind.version(version).map_or(&[][..], |v| &v.columns);
    if own.is_empty() {
        let (always, wide) = builtin(&kind.qualified);
        let mut columns: Vec<Column> = always.iter().map(known(false)).chain(wide.iter().map(known(true))).collect();
        if kind.qualified == "events" {
            // The message stands behind two columns that only `-o wide` shows.
            columns[4..7].rotate_left(1);
        }
        return columns;
    }
    let custom = own.iter().map(|c| Column {
        name: c.name.clone(),
        kind: if c.kind == "date" { "date".to_owned() } else { c.kind.clone() },
        wide: c.priority > 0,
        cell: Cell::Path(pointer_of(&c.path), c.kind == "date"),
    });
    [NAME].iter().map(known(false)).chain(custom).collect()
}

/// The JSON pointer of a simple JSON path: `.spec.items[0].name` is `/spec/items/0/name`. Others find nothing.
fn pointer_of(path: &str) -> String {
    path.replace("\\.", "\u{0}").replace(['.', '['], "/").replace(']', "").replace('\u{0}', ".")
}

/// As `kubectl` words it: `45s`, `3m12s`, `5d`.
pub(super) fn age_of(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |large: i64, unit: &str, small: i64, rest: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{rest}") }
    };
    match () {
        () if minutes < 2 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entries(object: &Value, field: &str) -> usize {
    object.get(field).and_then(Value::as_object).map_or(0, |m| m.len())
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { "<unknown>".into() } else { text.into() }
}

fn each_container(object: &Value, field: &str) -> String {
    let containers = list(object, "/spec/template/spec/containers").iter();
    containers.map(|c| c[field].as_str().unwrap_or_default()).collect::<Vec<_>>().join(",")
}

fn selector(selector: &Value) -> String {
    let labels = selector.get("matchLabels").unwrap_or(selector).as_object();
    let pairs = labels.into_iter().flatten().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)));
    let pairs = pairs.collect::<Vec<_>>().join(",");
    if pairs.is_empty() { "<none>".to_owned() } else { pairs }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "/status/containerStatuses").iter()
}

/// What `kubectl` calls a pod's status: the reason of its latest trouble rather than its phase.
fn pod_status(pod: &Value) -> String {
    let mut reason = text_at(pod, "/status/phase").to_owned();
    let given = text_at(pod, "/status/reason");
    if !given.is_empty() {
        given.clone_into(&mut reason);
    }
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        let waiting = text_at(status, "/state/waiting/reason");
        let terminated = text_at(status, "/state/terminated/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if !terminated.is_empty() {
            terminated.clone_into(&mut reason);
        } else if let Some(code) = status.pointer("/state/terminated/exitCode") {
            reason = format!("ExitCode:{code}");
        }
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        let lost = text_at(pod, "/status/reason") == "NodeLost";
        reason = if lost { "Unknown" } else { "Terminating" }.to_owned();
    }
    reason
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let total: i64 = statuses(pod).map(|s| number(s, "/restartCount")).sum();
    let last = statuses(pod).map(|s| text_at(s, "/lastState/terminated/finishedAt")).max().unwrap_or_default();
    if total == 0 || last.is_empty() { total.to_string() } else { format!("{total} ({} ago)", age_of(last, now)) }
}

fn external_ip(service: &Value) -> String {
    let given = list(service, "/status/loadBalancer/ingress").iter();
    let given: Vec<&str> = given.map(|i| text_at(i, "/ip")).filter(|ip| !ip.is_empty()).collect();
    match text_at(service, "/spec/type") {
        "ExternalName" => text_at(service, "/spec/externalName").to_owned(),
        "LoadBalancer" if given.is_empty() => "<pending>".to_owned(),
        _ if given.is_empty() => "<none>".to_owned(),
        _ => given.join(","),
    }
}

fn ports(service: &Value) -> String {
    let ports = list(service, "/spec/ports").iter().map(|p| {
        let (port, protocol) = (number(p, "/port"), text_at(p, "/protocol"));
        match number(p, "/nodePort") {
            0 => format!("{port}/{protocol}"),
            node => format!("{port}:{node}/{protocol}"),
        }
    });
    let ports = ports.collect::<Vec<_>>().join(",");
    if ports.is_empty() { "<none>".to_owned() } else { ports }
}

fn node_status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| text_at(c, "/status")) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node.pointer("/spec/unschedulable").is_some_and(|u| u == true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let roles = labels.filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"));
    roles.collect::<Vec<_>>().join(",")
}

fn address<'v>(node: &'v Value, kind: &str) -> &'v str {
    let found = list(node, "/status/addresses").iter().find(|a| a["type"] == kind);
    found.map_or("", |a| text_at(a, "/address"))
}

/// The latest time that an Event carries.
fn last_seen(event: &Value) -> &str {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().map(|t| text_at(event, t)).find(|t| !t.is_empty()).unwrap_or_default()
}

fn first_seen(event: &Value) -> &str {
    let times = ["/firstTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().map(|t| text_at(event, t)).find(|t| !t.is_empty()).unwrap_or_default()
}

fn count(event: &Value) -> i64 {
    number(event, "/series/count").max(number(event, "/count")).max(1)
}

fn source(event: &Value) -> String {
    let (component, host) = (text_at(event, "/source/component"), text_at(event, "/source/host"));
    let component = if component.is_empty() { text_at(event, "/reportingComponent") } else { component };
    if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") }
}

/// The definition of a column, as a Table carries it.
pub(super) fn definition(column: &Column) -> Value {
    let format = if column.name == "Name" { "name" } else { "" };
    json!({"name": column.name, "type": column.kind, "format": format, "description": "", "priority": i64::from(column.wide)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_worded_like_kubectls() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let age = |seconds: i64| {
            age_of(&crate::sandbox::origin::text_of(now - jiff::SignedDuration::from_secs(seconds)), now)
        };
        let worded = [45, 119, 192, 600, 10_799, 10_800, 29_000, 172_800, 700_000, 86_400 * 800].map(age);
        assert_eq!(worded, ["45s", "119s", "3m12s", "10m", "179m", "3h", "8h", "2d", "8d", "2y70d"]);
        assert_eq!(age_of("never", now), "<unknown>");
    }

    #[test]
    fn a_pods_status_names_its_trouble() {
        let pod = |state: Value| json!({"status": {"phase": "Running", "containerStatuses": [{"state": state}]}});
        assert_eq!(pod_status(&pod(json!({"waiting": {"reason": "CrashLoopBackOff"}}))), "CrashLoopBackOff");
        assert_eq!(pod_status(&pod(json!({"terminated": {"reason": "OOMKilled"}}))), "OOMKilled");
        assert_eq!(pod_status(&pod(json!({"running": {}}))), "Running");
        let mut leaving = pod(json!({"running": {}}));
        leaving["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z".into();
        assert_eq!(pod_status(&leaving), "Terminating");
    }
}
