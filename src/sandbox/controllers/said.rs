//! Kubernetes Events as its components write them: a repeat counts on, and the oldest go before there are too many.

use crate::sandbox::{Deletion, Object, Origin, State, Write, text_at};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// Events that are kept in the whole cluster, besides the hour after which the API server drops them: 2,000 take about
/// 15 MB, and a busy workload would make a million in that hour.
const KEPT: usize = 2000;

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sandbox) struct Source {
    /// `source.component`
    pub component: &'static str,
    /// Whose requests these are, in `managedFields`.
    pub manager: &'static str,
}

const MANAGER: &str = "kube-controller-manager";
pub(in crate::sandbox) const KUBELET: Source = Source { component: "kubelet", manager: "kubelet" };
pub(in crate::sandbox) const SCHEDULER: Source = Source { component: "default-scheduler", manager: "kube-scheduler" };
pub(in crate::sandbox) const DEPLOYMENTS: Source = Source { component: "deployment-controller", manager: MANAGER };
pub(in crate::sandbox) const REPLICASETS: Source = Source { component: "replicaset-controller", manager: MANAGER };
pub(in crate::sandbox) const STATEFULSETS: Source = Source { component: "statefulset-controller", manager: MANAGER };
pub(in crate::sandbox) const NODES: Source = Source { component: "node-controller", manager: MANAGER };
pub(in crate::sandbox) const TAINTS: Source = Source { component: "taint-eviction-controller", manager: MANAGER };

/// One thing that is said about one object.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Said {
    pub warning: bool,
    pub reason: String,
    pub message: String,
    /// `spec.containers{app}`
    pub field: String,
}

impl Said {
    pub fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.into(), message: message.into(), field: String::new() }
    }

    pub fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(reason, message) }
    }

    pub fn of_container(mut self, name: &str) -> Self {
        self.field = format!("spec.containers{{{name}}}");
        self
    }
}

/// Writes Events.
pub(in crate::sandbox) struct Recorder {
    state: State,
    /// What makes two the same → name of the Event.
    known: HashMap<String, String>,
    /// (namespace, name, what makes it the same), oldest first.
    written: VecDeque<(String, String, String)>,
}

impl Recorder {
    pub fn new(state: State) -> Self {
        let mut events = state.list("events", "").map(|l| l.objects).unwrap_or_default();
        events.sort_by_key(|e| e.revision());
        let written = events.iter().map(|e| (e.namespace().to_owned(), e.name().to_owned(), String::new())).collect();
        Self { state, known: HashMap::new(), written }
    }

    /// Says it about an object, from a host where it is the kubelet's.
    pub fn say(&mut self, object: &Object, source: Source, host: &str, said: &Said) {
        let uid = object.uid();
        let Said { warning, reason, message, field } = said;
        let same = format!("{uid} {} {host} {reason} {field} {message}", source.component);
        let namespace = if object.namespace().is_empty() { "default" } else { object.namespace() };
        let write = Write::by(source.manager);
        let now = self.state.origin().now_text();
        if let Some(name) = self.known.get(&same) {
            let counted = self.state.modify("events", namespace, name, &write, |event| {
                event["count"] = (event["count"].as_i64().unwrap_or(1) + 1).into();
                event["lastTimestamp"] = now.as_str().into();
            });
            if counted.is_ok() {
                return;
            }
        }
        let name = event_name(object.name(), self.state.origin());
        let mut involved = json!({
            "kind": text_at(object.value(), "/kind"), "apiVersion": text_at(object.value(), "/apiVersion"),
            "name": object.name(), "uid": uid, "resourceVersion": object.revision().to_string(),
        });
        if !object.namespace().is_empty() {
            involved["namespace"] = object.namespace().into();
        }
        if !field.is_empty() {
            involved["fieldPath"] = field.as_str().into();
        }
        let mut from = json!({"component": source.component});
        if !host.is_empty() {
            from["host"] = host.into();
        }
        let event = json!({
            "metadata": {"name": name, "namespace": namespace}, "involvedObject": involved, "reason": reason,
            "message": message, "source": from, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "type": if *warning { "Warning" } else { "Normal" },
            "eventTime": Value::Null, "reportingComponent": source.component, "reportingInstance": host,
        });
        match self.state.create("events", event, &write) {
            Ok(_) => {
                self.known.insert(same.clone(), name.clone());
                self.written.push_back((namespace.to_owned(), name, same));
                self.forget_the_oldest();
            }
            // The namespace is being deleted, above all: then nobody will read it.
            Err(status) => tracing::debug!(%status, reason, "an Event of the sandbox was refused"),
        }
    }

    fn forget_the_oldest(&mut self) {
        while self.written.len() > KEPT {
            let Some((namespace, name, same)) = self.written.pop_front() else { return };
            if self.known.get(&same) == Some(&name) {
                self.known.remove(&same);
            }
            // It may have expired, or have been deleted, before.
            self.state.delete("events", &namespace, &name, &Deletion::now()).ok();
        }
    }
}

/// `web-1.17f2a9c3d4e5f607`: the object's name and a number that nobody else has.
fn event_name(object: &str, origin: &Origin) -> String {
    let short: String = object.chars().take(200).collect();
    format!("{short}.{:016x}", origin.random())
}
