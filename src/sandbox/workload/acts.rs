//! What can be made to happen: one vocabulary for the workload and for scenario files.

use super::catalogue::{PROMOTIONS, SECRETS, app};
use super::furnish::{secret, template, written_by};
use crate::sandbox::controllers::parts::{has_ended, is_ready, map_at};
use crate::sandbox::controllers::said::{KUBELET, Said};
use crate::sandbox::controllers::{BEHAVIOUR, Controllers, DEPLOYED, Death, PODS, REPLICA_SETS, STATEFUL_SETS};
use crate::sandbox::{Deletion, Object, Operation, Part, State, Status, Write, text_at};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// `namespace/name`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// Of those parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// A Deployment or StatefulSet gets another image (`None`: the next patch release), whose pods behave in that way.
    Rollout { target: Target, image: Option<String>, behaviour: Option<String>, manager: String },
    /// A Deployment gets the template of its revision before.
    Rollback { target: Target },
    /// A sick application of the catalogue gets the template that the catalogue has for it.
    Mend { target: Target },
    /// A Deployment or StatefulSet gets so many replicas.
    Scale { target: Target, replicas: i64, manager: String },
    /// A container of the pod, or of the first running pod of that workload, dies.
    Kill { target: Target, death: Death },
    /// Such a pod is evicted by its kubelet.
    Evict { target: Target },
    /// A node falls silent.
    NodeDown { name: String },
    /// It is back.
    NodeUp { name: String },
    /// A ConfigMap's key gets a value.
    EditConfigmap { target: Target, key: String, value: String, manager: String },
    /// All values of a Secret are new.
    RotateSecret { target: Target },
    /// A custom resource's operator writes its status.
    Promotion { name: String, phase: String, redeemed: i64 },
    /// An Event about such a pod.
    Event { target: Target, warning: bool, reason: String, message: String },
    /// A pod that runs once and ends.
    Job { target: Target },
    /// An object is created.
    Create { manifest: Value },
    /// An object goes: resource (`deployments.apps`) and name.
    Delete { resource: String, target: Target },
}

impl Act {
    /// Does it. The error says what was not there.
    pub(in crate::sandbox) fn play(
        &self,
        state: &State,
        controllers: &mut Controllers,
        now: Timestamp,
    ) -> Result<(), String> {
        let text = |status: Status| status.message;
        match self {
            Self::Rollout { target, image, behaviour, manager } => {
                rollout(state, target, image.as_deref(), behaviour.as_deref(), manager)
            }
            Self::Rollback { target } => rollback(state, target),
            Self::Mend { target } => {
                let app = app(&target.namespace, &target.name).ok_or_else(|| missing("application", target))?;
                let (resource, _) =
                    workload(state, target).ok_or_else(|| missing("Deployment or StatefulSet", target))?;
                let (manager, operation) = app.by.manager();
                let write = written_by(manager, operation);
                let set = |value: &mut Value| value["spec"]["template"] = template(app);
                state.modify(resource, &target.namespace, &target.name, &write, set).map(drop).map_err(text)
            }
            Self::Scale { target, replicas, manager } => {
                let resource = workload(state, target).ok_or_else(|| missing("Deployment or StatefulSet", target))?.0;
                let write = Write { part: Part::Scale, ..Write::by(manager.as_str()) };
                let patch = json!({"spec": {"replicas": replicas}});
                state.patch_merge(resource, &target.namespace, &target.name, &patch, &write).map(drop).map_err(text)
            }
            Self::Kill { target, death } => {
                let pod = pod(state, target)?;
                let died = controllers.kill(pod.namespace(), pod.name(), *death, now);
                if died { Ok(()) } else { Err(format!("pod {target} has no container that runs")) }
            }
            Self::Evict { target } => {
                let pod = pod(state, target)?;
                let gone = controllers.evict(pod.namespace(), pod.name(), now);
                if gone { Ok(()) } else { Err(format!("pod {target} does not run")) }
            }
            Self::NodeDown { name } => {
                if controllers.node_down(name, now) {
                    Ok(())
                } else {
                    Err(format!("there is no node {name}"))
                }
            }
            Self::NodeUp { name } => {
                controllers.node_up(name, now);
                Ok(())
            }
            Self::EditConfigmap { target, key, value, manager } => {
                let patch = json!({"data": {key: value}});
                let write = Write::by(manager.as_str());
                state.patch_merge("configmaps", &target.namespace, &target.name, &patch, &write).map(drop).map_err(text)
            }
            Self::RotateSecret { target } => rotate(state, target),
            Self::Promotion { name, phase, redeemed } => {
                let status = json!({"phase": phase, "redeemed": redeemed});
                let write = Write::by("promotion-operator").status();
                let set = |value: &mut Value| value["status"] = status.clone();
                state.modify(PROMOTIONS, "shop", name, &write, set).map(drop).map_err(text)
            }
            Self::Event { target, warning, reason, message } => {
                let pod = pod(state, target)?;
                let said = Said { warning: *warning, ..Said::normal(reason, message.as_str()) };
                controllers.say(&pod, KUBELET, pod.text("/spec/nodeName"), &said);
                Ok(())
            }
            Self::Job { target } => {
                let pod = json!({
                    "metadata": {"generateName": format!("{}-", target.name), "namespace": target.namespace,
                        "labels": {"job-name": target.name}, "annotations": {BEHAVIOUR: "complete"}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": "ghcr.io/acme-shop/jobs:1.3.0"}]},
                });
                state.create(PODS, pod, &Write::by("kube-controller-manager")).map(drop).map_err(text)
            }
            Self::Create { manifest } => create(state, manifest),
            Self::Delete { resource, target } => {
                let gone = state.delete(resource, &target.namespace, &target.name, &Deletion::default());
                gone.map(drop).map_err(text)
            }
        }
    }
}

/// Whether a workload is wanted in a way that cannot work.
pub(super) fn is_sick(state: &State, target: &Target) -> bool {
    workload(state, target).is_some_and(|(_, object)| {
        let annotated =
            object.value().pointer("/spec/template/metadata/annotations").and_then(|a| a.get(BEHAVIOUR)).is_some();
        annotated || object.text("/spec/template/spec/containers/0/image").ends_with("-missing")
    })
}

fn missing(what: &str, target: &Target) -> String {
    format!("there is no {what} {target}")
}

fn workload(state: &State, target: &Target) -> Option<(&'static str, Arc<Object>)> {
    let at = |resource| state.get(resource, &target.namespace, &target.name).ok().map(|o| (resource, o));
    at(DEPLOYED).or_else(|| at(STATEFUL_SETS))
}

/// The pod of that name, or the first of that workload that runs (if none is ready: that there is).
fn pod(state: &State, target: &Target) -> Result<Arc<Object>, String> {
    if let Ok(pod) = state.get(PODS, &target.namespace, &target.name) {
        return Ok(pod);
    }
    let pods = state.list(PODS, &target.namespace).map_err(|s| s.message)?.objects;
    let of = |pod: &&Arc<Object>| {
        let rest = pod.name().strip_prefix(target.name.as_str()).and_then(|r| r.strip_prefix('-'));
        rest.is_some_and(|r| r.matches('-').count() <= 1) && !pod.is_terminating() && !has_ended(pod)
    };
    let mut own = pods.iter().filter(of);
    let first = own.clone().find(|p| is_ready(p)).or_else(|| own.next());
    first.cloned().ok_or_else(|| missing("pod or workload with pods", target))
}

fn rollout(
    state: &State,
    target: &Target,
    image: Option<&str>,
    behaviour: Option<&str>,
    manager: &str,
) -> Result<(), String> {
    let (resource, object) = workload(state, target).ok_or_else(|| missing("Deployment or StatefulSet", target))?;
    let current = object.text("/spec/template/spec/containers/0/image").to_owned();
    let image = image.map_or_else(|| next_patch(&current), str::to_owned);
    let operation = if manager == "argocd-controller" { Operation::Apply } else { Operation::Update };
    let write = written_by(manager, operation);
    let changed = state.modify(resource, &target.namespace, &target.name, &write, |value| {
        if let Some(container) = value.pointer_mut("/spec/template/spec/containers/0") {
            container["image"] = image.as_str().into();
        }
        behave(value, behaviour);
    });
    changed.map(drop).map_err(|s| s.message)
}

fn behave(value: &mut Value, behaviour: Option<&str>) {
    let annotations = map_at(value, &["spec", "template", "metadata", "annotations"]);
    match behaviour {
        Some(behaviour) => drop(annotations.insert(BEHAVIOUR.into(), behaviour.into())),
        None => drop(annotations.remove(BEHAVIOUR)),
    }
    if annotations.is_empty() {
        value["spec"]["template"]["metadata"].as_object_mut().map(|m| m.remove("annotations"));
    }
}

/// `app:1.4.9` → `app:1.4.10`; 30 patches make a minor, 60 minors begin anew: tags never grow.
pub(super) fn next_patch(image: &str) -> String {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "1.0.0"));
    let tag = tag.split('-').next().unwrap_or_default();
    let mut parts: Vec<u64> = tag.split('.').filter_map(|p| p.parse().ok()).collect();
    parts.resize(3, 0);
    parts[2] += 1;
    if parts[2] >= 30 {
        parts[2] = 0;
        parts[1] = (parts[1] + 1) % 60;
    }
    format!("{repository}:{}.{}.{}", parts[0], parts[1], parts[2])
}

fn rollback(state: &State, target: &Target) -> Result<(), String> {
    let deployment = state.get(DEPLOYED, &target.namespace, &target.name).map_err(|s| s.message)?;
    let revision =
        |o: &Object| -> i64 { o.text("/metadata/annotations/deployment.kubernetes.io~1revision").parse().unwrap_or(0) };
    let current = revision(&deployment);
    let sets = state.list(REPLICA_SETS, &target.namespace).map_err(|s| s.message)?.objects;
    let own = |s: &&Arc<Object>| s.encoded().owners.iter().any(|o| **o == *deployment.uid());
    let before = sets.iter().filter(own).filter(|s| revision(s) < current).max_by_key(|s| revision(s));
    let mut template =
        before.ok_or_else(|| format!("{target} has no revision before {current}"))?.value()["spec"]["template"].clone();
    map_at(&mut template, &["metadata", "labels"]).remove("pod-template-hash");
    let write = Write::by("kubectl-rollout");
    let set = |value: &mut Value| value["spec"]["template"] = template.clone();
    state.modify(DEPLOYED, &target.namespace, &target.name, &write, set).map(drop).map_err(|s| s.message)
}

fn rotate(state: &State, target: &Target) -> Result<(), String> {
    let old = state.get("secrets", &target.namespace, &target.name).map_err(|s| s.message)?;
    let keys: Vec<&str> = old.value()["data"].as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
    let known = SECRETS.iter().find(|s| s.0 == target.namespace && s.1 == target.name);
    let write = Write::by(known.map_or("external-secrets", |s| s.4));
    let values = secret(state, &keys);
    let set = |value: &mut Value| value["data"] = values.clone();
    state.modify("secrets", &target.namespace, &target.name, &write, set).map(drop).map_err(|s| s.message)
}

fn create(state: &State, manifest: &Value) -> Result<(), String> {
    let (kind, api_version) = (text_at(manifest, "/kind"), text_at(manifest, "/apiVersion"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let resource = state.resources().into_iter().find(|r| r.kind == kind && r.group == group);
    let resource = resource.ok_or_else(|| format!("the sandbox serves no {kind} of {api_version}"))?;
    let created = state.create(&resource.qualified, manifest.clone(), &Write::by("kubectl-create"));
    created.map(drop).map_err(|s| s.message)
}
