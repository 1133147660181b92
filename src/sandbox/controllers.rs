//! The controllers of the sandbox cluster: kube-controller-manager, kube-scheduler and the kubelets of all nodes in one.
//!
//! Each looks at what is there and does the next step towards what is wanted; nothing but a pod's timer is remembered, so a
//! start in the middle goes on, and whatever users do to the objects is simply the next thing that is there. An object that
//! makes no sense is skipped. Decisions are pure functions (the modules below); this file reads, asks them, and writes.

use super::{Deletion, Object, State, Status, Write, text_at};
use cache::{Cache, Seen, controller, controller_of};
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use said::{DEPLOYMENTS, KUBELET, REPLICASETS, Recorder, SCHEDULER, STATEFULSETS, Said, Source};
use scheduler::Occupancy;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

mod cache;
mod deployment;
#[cfg(test)]
pub(super) mod kit;
mod kubelet;
pub(super) mod node;
mod nodes;
pub(super) mod parts;
mod pods;
mod replicaset;
pub(super) mod said;
mod scheduler;
mod statefulset;

pub use kubelet::{BEHAVIOUR, Death};

pub(super) const PODS: &str = "pods";
pub(super) const NODES: &str = "nodes";
pub(super) const REPLICA_SETS: &str = "replicasets.apps";
pub(super) const DEPLOYED: &str = "deployments.apps";
pub(super) const STATEFUL_SETS: &str = "statefulsets.apps";
const MANAGER: &str = "kube-controller-manager";

/// Rounds of reading and acting in one call: enough for any chain (Deployment → ReplicaSet → Pod → node), and a bound.
const ROUNDS: usize = 32;
/// Things done in one call, about 20 ms of work: others share the runtime.
const AT_ONCE: usize = 100;

/// How long things take, and chance.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// 1: a pod starts in 0.5 to 3.5 s. 0: at once, but for the heartbeats of nodes.
    pub delays: f64,
    /// Seed of the delays.
    pub seed: u64,
}

/// What is due at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The next step of a pod, by key and uid.
    Pod(Arc<str>, Arc<str>),
    /// A rollout's progress deadline.
    Deployment(Arc<str>),
    /// All nodes report.
    Heartbeats,
    /// Nothing was heard of a node for too long.
    Lost(Arc<str>),
    /// Its pods have waited long enough.
    Evict(Arc<str>),
}

/// The controllers. Driven from outside: [`Controllers::step`].
pub struct Controllers {
    state: State,
    recorder: Recorder,
    pods: Cache,
    nodes: Cache,
    sets: Cache,
    deployments: Cache,
    stateful: Cache,
    dirty_sets: BTreeSet<Arc<str>>,
    dirty_deployments: BTreeSet<Arc<str>>,
    dirty_stateful: BTreeSet<Arc<str>>,
    /// Pods without a node, and why the last try failed.
    homeless: BTreeMap<Arc<str>, String>,
    schedule: bool,
    timers: BTreeSet<(Timestamp, Due)>,
    /// Pod → its uid and the stage for which a timer runs.
    stages: HashMap<Arc<str>, (Arc<str>, kubelet::Stage)>,
    /// Nodes whose kubelets are silent.
    silent: BTreeSet<Arc<str>>,
    /// (node, image)
    pulled: HashSet<(String, String)>,
    chance: StdRng,
    delays: f64,
    addresses: u32,
}

impl Controllers {
    /// Over that state.
    pub fn new(state: State, pace: Pace) -> Result<Self, Status> {
        let cache = |resource| Cache::new(&state, resource);
        let now = state.origin().now();
        Ok(Self {
            recorder: Recorder::new(state.clone()),
            pods: cache(PODS)?,
            nodes: cache(NODES)?,
            sets: cache(REPLICA_SETS)?,
            deployments: cache(DEPLOYED)?,
            stateful: cache(STATEFUL_SETS)?,
            state,
            dirty_sets: BTreeSet::new(),
            dirty_deployments: BTreeSet::new(),
            dirty_stateful: BTreeSet::new(),
            homeless: BTreeMap::new(),
            schedule: false,
            timers: BTreeSet::from([(now, Due::Heartbeats)]),
            stages: HashMap::new(),
            silent: BTreeSet::new(),
            pulled: HashSet::new(),
            chance: StdRng::seed_from_u64(pace.seed),
            delays: pace.delays,
            addresses: 0,
        })
    }

    /// Does what there is to do now. Gives the time at which something is due next.
    pub fn step(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut budget = AT_ONCE;
        for _ in 0..ROUNDS {
            self.catch_up(now);
            let done = self.work(now, &mut budget);
            if budget == 0 {
                return Some(now);
            }
            if !done {
                break;
            }
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Resolves when something changed that a step should look at. Cancel-safe.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = self.pods.changed() => {}
            () = self.nodes.changed() => {}
            () = self.sets.changed() => {}
            () = self.deployments.changed() => {}
            () = self.stateful.changed() => {}
        }
    }

    /// Writes an Event about an object, in another component's name.
    pub(super) fn say(&mut self, object: &Object, source: Source, host: &str, said: &Said) {
        self.recorder.say(object, source, host, said);
    }

    /// Lets things take so many times as long from now on.
    pub(super) fn set_delays(&mut self, delays: f64) {
        self.delays = delays;
    }

    fn catch_up(&mut self, now: Timestamp) {
        for seen in self.deployments.refresh(&self.state) {
            self.dirty_deployments.insert(seen.key);
        }
        for seen in self.stateful.refresh(&self.state) {
            self.dirty_stateful.insert(seen.key);
        }
        for seen in self.sets.refresh(&self.state) {
            self.wake_owners(&seen);
            self.dirty_sets.insert(seen.key);
        }
        for seen in self.nodes.refresh(&self.state) {
            self.schedule = true;
            if let (None, Some(_)) = (&seen.before, &seen.after) {
                // Its pods may have been seen before it.
                self.reconsider_pods_of(&seen.key, now);
            }
        }
        for seen in self.pods.refresh(&self.state) {
            self.wake_owners(&seen);
            self.pod_seen(seen, now);
        }
    }

    fn wake_owners(&mut self, seen: &Seen) {
        for object in seen.before.iter().chain(&seen.after) {
            let Some(owner) = controller(object) else { continue };
            let key: Arc<str> = format!("{}/{}", object.namespace(), text_at(owner, "/name")).into();
            match text_at(owner, "/kind") {
                "ReplicaSet" => self.dirty_sets.insert(key),
                "StatefulSet" => self.dirty_stateful.insert(key),
                "Deployment" => self.dirty_deployments.insert(key),
                _ => continue,
            };
        }
    }

    fn work(&mut self, now: Timestamp, budget: &mut usize) -> bool {
        let mut done = false;
        // What one kind of controller decided is read back before the next one looks: nothing is done twice.
        while *budget > 0
            && let Some(key) = self.dirty_deployments.pop_first()
        {
            *budget -= 1;
            done = true;
            self.deployment(&key, now);
        }
        if done {
            return true;
        }
        while *budget > 0
            && let Some(key) = self.dirty_sets.pop_first()
        {
            *budget -= 1;
            done = true;
            self.replica_set(&key);
        }
        while *budget > 0
            && let Some(key) = self.dirty_stateful.pop_first()
        {
            *budget -= 1;
            done = true;
            self.stateful_set(&key);
        }
        if done {
            return true;
        }
        if std::mem::take(&mut self.schedule) {
            self.schedule_pods(now);
            return true;
        }
        while *budget > 0 && self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, due)) = self.timers.pop_first() else { break };
            *budget -= 1;
            done = true;
            match due {
                Due::Pod(key, uid) => self.pod_due(&key, &uid, now),
                Due::Deployment(key) => drop(self.dirty_deployments.insert(key)),
                Due::Heartbeats => self.heartbeats(now),
                Due::Lost(node) => self.node_lost(&node, now),
                Due::Evict(node) => self.evict_from(&node),
            }
        }
        done
    }

    fn deployment(&mut self, key: &str, now: Timestamp) {
        let Some(object) = self.deployments.get(key).cloned() else { return };
        if object.is_terminating() {
            return;
        }
        let Some(plan) = deployment::plan(&object, &self.sets.owned_by(object.uid()), now) else {
            return skipped(&object);
        };
        let (namespace, name, write) = (object.namespace(), object.name(), Write::by(MANAGER));
        if let Some(set) = plan.create {
            let set_name = text_at(&set, "/metadata/name").to_owned();
            let owner = set["metadata"]["ownerReferences"].clone();
            match self.state.create(REPLICA_SETS, set, &write) {
                Err(status) if status.reason == "AlreadyExists" => self.adopt(&object, &set_name, &owner),
                other => heard(other, &object),
            }
        }
        for change in &plan.change {
            let changed = self.state.modify(REPLICA_SETS, namespace, &change.name, &write, |set| change.apply(set));
            heard(changed, &object);
        }
        for old in &plan.delete {
            heard(self.state.delete(REPLICA_SETS, namespace, old, &Deletion::default()), &object);
        }
        for said in &plan.said {
            self.recorder.say(&object, DEPLOYMENTS, "", said);
        }
        if !plan.revision.is_empty() {
            let annotated = self.state.modify(DEPLOYED, namespace, name, &write, |deployment| {
                let annotations = parts::map_at(deployment, &["metadata", "annotations"]);
                annotations.insert("deployment.kubernetes.io/revision".into(), plan.revision.as_str().into());
            });
            heard(annotated, &object);
        }
        self.write_status(DEPLOYED, &object, plan.status, MANAGER);
        if let Some(at) = plan.again {
            self.timers.insert((at + SignedDuration::from_secs(1), Due::Deployment(key.into())));
        }
    }

    /// A ReplicaSet that an earlier Deployment of that name left without an owner.
    fn adopt(&mut self, deployment: &Object, set: &str, owner: &Value) {
        let free = self.state.get(REPLICA_SETS, deployment.namespace(), set);
        if free.is_ok_and(|set| controller_of(&set).is_none() && !set.is_terminating()) {
            let adopted = self.state.modify(REPLICA_SETS, deployment.namespace(), set, &Write::by(MANAGER), |set| {
                set["metadata"]["ownerReferences"] = owner.clone();
            });
            heard(adopted, deployment);
        }
    }

    fn replica_set(&mut self, key: &str) {
        let Some(object) = self.sets.get(key).cloned() else { return };
        let Some(plan) = replicaset::plan(&object, &self.pods.owned_by(object.uid())) else { return skipped(&object) };
        for _ in 0..plan.create {
            let created = self.state.create(PODS, replicaset::pod(&object), &Write::by(MANAGER));
            if !self.tell_of_creation(&object, REPLICASETS, created) {
                break;
            }
        }
        for pod in &plan.delete {
            if self.state.delete(PODS, object.namespace(), pod, &Deletion::default()).is_ok() {
                let said = Said::normal("SuccessfulDelete", format!("Deleted pod: {pod}"));
                self.recorder.say(&object, REPLICASETS, "", &said);
            }
        }
        if !object.is_terminating() {
            self.write_status(REPLICA_SETS, &object, plan.status, MANAGER);
        }
    }

    fn stateful_set(&mut self, key: &str) {
        let Some(object) = self.stateful.get(key).cloned() else { return };
        let Some(plan) = statefulset::plan(&object, &self.pods.owned_by(object.uid())) else { return skipped(&object) };
        for ordinal in plan.create {
            let Some(pod) = statefulset::pod(&object, ordinal) else { break };
            let created = self.state.create(PODS, pod, &Write::by(MANAGER));
            if !self.tell_of_creation(&object, STATEFULSETS, created) {
                break;
            }
        }
        for pod in &plan.delete {
            if self.state.delete(PODS, object.namespace(), pod, &Deletion::default()).is_ok() {
                let text = format!("delete Pod {pod} in StatefulSet {} successful", object.name());
                self.recorder.say(&object, STATEFULSETS, "", &Said::normal("SuccessfulDelete", text));
            }
        }
        if !object.is_terminating() {
            self.write_status(STATEFUL_SETS, &object, plan.status, MANAGER);
        }
    }

    fn tell_of_creation(&mut self, owner: &Object, source: Source, created: Result<Arc<Object>, Status>) -> bool {
        let stateful = source == STATEFULSETS;
        match &created {
            Ok(pod) if stateful => {
                let text = format!("create Pod {} in StatefulSet {} successful", pod.name(), owner.name());
                self.recorder.say(owner, source, "", &Said::normal("SuccessfulCreate", text));
            }
            Ok(pod) => {
                let said = Said::normal("SuccessfulCreate", format!("Created pod: {}", pod.name()));
                self.recorder.say(owner, source, "", &said);
            }
            // Of that name there is one already, of somebody else.
            Err(status) if status.reason == "AlreadyExists" => skipped(owner),
            Err(status) => {
                let said = Said::warning("FailedCreate", format!("Error creating: {}", status.message));
                self.recorder.say(owner, source, "", &said);
            }
        }
        created.is_ok()
    }

    /// Somebody else may have been faster: then there is a newer version, and it is looked at.
    fn write_status(&mut self, resource: &str, object: &Object, status: Value, manager: &str) -> bool {
        let written =
            self.state.modify(resource, object.namespace(), object.name(), &Write::by(manager).status(), |value| {
                if text_at(value, "/metadata/uid") == object.uid() {
                    value["status"] = status.clone();
                }
            });
        if let Err(status) = &written {
            tracing::debug!(%status, resource, name = object.name(), "a status of the sandbox was refused");
        }
        written.is_ok()
    }

    fn delay(&mut self, (least, most): (u64, u64)) -> SignedDuration {
        let drawn = self.chance.random_range(least..=most.max(least));
        // A share of at most some minutes: exact enough, and never negative.
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        let scaled = (drawn as f64 * self.delays) as i64;
        SignedDuration::from_millis(scaled)
    }
}

fn skipped(object: &Object) {
    tracing::debug!(
        name = object.name(),
        namespace = object.namespace(),
        kind = object.text("/kind"),
        "skipped: the sandbox makes nothing of it"
    );
}

fn heard<T>(result: Result<T, Status>, about: &Object) {
    if let Err(status) = result {
        tracing::debug!(%status, name = about.name(), "the sandbox's controller was refused");
    }
}

#[cfg(test)]
mod tests;
