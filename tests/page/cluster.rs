//! A cluster in memory: lists, watches, and a small life of its own. Just enough for the product to have something to show.

use agent_events::domain::target::Target;
use agent_events::domain::watch::{Request, Verb};
use agent_events::kubernetes::{ApiServer, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// How often a silent watch says how far it is.
const BOOKMARK: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    rv: u64,
    objects: BTreeMap<(String, String, String), Value>,
    /// Version, kind, line of a watch.
    events: Vec<(u64, String, Bytes)>,
}

/// The cluster; clones are the same.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    grown: watch::Sender<u64>,
}

impl Cluster {
    pub fn new() -> Self {
        Self { state: Arc::default(), grown: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under it")
    }

    fn happened(&self, state: &mut State, kind: &str, verb: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": verb, "object": object}));
        state.events.push((state.rv, kind.to_owned(), line.into()));
        self.grown.send_replace(state.rv);
    }

    /// Creates an object or replaces it.
    pub fn put(&self, kind: &str, namespace: &str, name: &str, manager: &str, body: &Value) {
        let state = &mut *self.lock();
        state.rv += 1;
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let known = state.objects.get(&key);
        let uid =
            known.map_or_else(|| json!(format!("uid-{kind}-{name}-{}", state.rv)), |o| o["metadata"]["uid"].clone());
        let mut object = body.clone();
        let now = "2026-11-23T10:00:00Z";
        let managed = json!([{"manager": manager, "operation": "Update", "time": now, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(state.rv.to_string());
        object["metadata"]["creationTimestamp"] = json!(now);
        object["metadata"]["managedFields"] = managed;
        let verb = if known.is_some() { "MODIFIED" } else { "ADDED" };
        state.objects.insert(key, object.clone());
        self.happened(state, kind, verb, &object);
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.lock().objects.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let state = &mut *self.lock();
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(mut object) = state.objects.remove(&key) else { return };
        state.rv += 1;
        object["metadata"]["resourceVersion"] = json!(state.rv.to_string());
        self.happened(state, kind, "DELETED", &object);
    }

    /// A Deployment, new or changed.
    pub fn deploy(&self, namespace: &str, app: &str, image: &str, replicas: i64, ready: i64, manager: &str) {
        self.put("deployments", namespace, app, manager, &json!({"kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"labels": {"app": app, "team": namespace}},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": app}},
                "template": {"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 8080}]}]}}},
            "status": {"readyReplicas": ready, "replicas": replicas}}));
    }

    fn names(&self, kind: &str) -> Vec<(String, String)> {
        let state = self.lock();
        let of_kind = state.objects.keys().filter(|key| key.0 == kind);
        of_kind.map(|(_, namespace, name)| (namespace.clone(), name.clone())).collect()
    }
}

impl ApiServer for Cluster {
    fn send<'a>(&'a self, target: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
        let kind = target.kind.id();
        let body = match &request.verb {
            Verb::List { .. } | Verb::Probe { .. } | Verb::Review { .. } => {
                let state = self.lock();
                let items: Vec<&Value> =
                    state.objects.iter().filter(|(key, _)| key.0 == kind).map(|(_, o)| o).collect();
                let list = json!({"kind": format!("{}List", target.kind.name()), "apiVersion": target.kind.api_version(),
                    "metadata": {"resourceVersion": state.rv.to_string()}, "items": items});
                let text = list.to_string();
                stream::iter([Ok(Bytes::from(text))]).boxed()
            }
            Verb::WatchList { .. } => return Box::pin(async { Err("not served".to_owned()) }),
            Verb::Watch { rv, .. } => {
                let from: u64 = rv.as_str().parse().unwrap_or(0);
                let after = self.lock().events.partition_point(|(rv, ..)| *rv <= from);
                let (cluster, grown) = (self.clone(), self.grown.subscribe());
                stream::unfold((cluster, grown, after, kind), |(cluster, mut grown, after, kind)| async move {
                    loop {
                        grown.borrow_and_update();
                        let (lines, next) = {
                            let state = cluster.lock();
                            let new = state.events[after..].iter().filter(|(_, of, _)| *of == kind);
                            (new.flat_map(|(.., line)| line.to_vec()).collect::<Vec<u8>>(), state.events.len())
                        };
                        if !lines.is_empty() {
                            return Some((Ok(Bytes::from(lines)), (cluster, grown, next, kind)));
                        }
                        match tokio::time::timeout(BOOKMARK, grown.changed()).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) => return None,
                            Err(_) => {
                                let rv = cluster.lock().rv.to_string();
                                let bookmark =
                                    json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": rv}}});
                                let line = Bytes::from(format!("{bookmark}\n"));
                                return Some((Ok(line), (cluster, grown, after, kind)));
                            }
                        }
                    }
                })
                .boxed()
            }
        };
        Box::pin(async move { Ok(Response { status: 200, retry_after: None, body }) })
    }
}

const APPS: [(&str, &str, &str); 9] = [
    ("shop", "web", "registry.local/web"),
    ("shop", "checkout", "registry.local/checkout"),
    ("shop", "search", "registry.local/search"),
    ("payments", "ledger", "registry.local/ledger"),
    ("payments", "fraud-score", "registry.local/fraud"),
    ("payments", "gateway", "registry.local/gateway"),
    ("platform", "ingress", "registry.local/ingress"),
    ("platform", "mailer", "registry.local/mailer"),
    ("platform", "image-resizer-with-a-rather-long-name", "registry.local/resizer"),
];

/// A seeded life: rollouts, crashes, scaling, warnings, edited configuration.
pub struct Life {
    cluster: Cluster,
    chance: StdRng,
    step: u64,
}

impl Life {
    pub fn new(cluster: Cluster, seed: u64) -> Self {
        let mut life = Self { cluster, chance: StdRng::seed_from_u64(seed), step: 0 };
        for (namespace, app, image) in APPS {
            let replicas = life.chance.random_range(2..7);
            life.cluster.deploy(namespace, app, &format!("{image}:1.{}", life.step), replicas, replicas, "kubectl");
            life.cluster.put(
                "services",
                namespace,
                app,
                "kubectl",
                &json!({"kind": "Service", "apiVersion": "v1",
                "metadata": {"labels": {"app": app}}, "spec": {"ports": [{"port": 80}], "selector": {"app": app}}}),
            );
            life.cluster.put(
                "configmaps",
                namespace,
                &format!("{app}-config"),
                "helm",
                &json!({"kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {}, "data": {"LOG_LEVEL": "info", "REGION": "eu-1"}}),
            );
            for n in 0..replicas {
                let name = life.pod_name(app);
                life.pod(namespace, app, &name, image, n < 9, 0, "");
            }
        }
        life.cluster.put("statefulsets", "payments", "postgres", "helm", &json!({"kind": "StatefulSet", "apiVersion": "apps/v1",
            "metadata": {}, "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "pg", "image": "postgres:17"}]}}}, "status": {"readyReplicas": 3}}));
        life
    }

    fn pod_name(&mut self, app: &str) -> String {
        let set: u32 = self.chance.random_range(0x1000_0000..0xffff_ffff);
        let own: u32 = self.chance.random_range(0x10000..0xfffff);
        format!("{app}-{:09x}-{own:05x}", u64::from(set))
    }

    #[allow(clippy::too_many_arguments)]
    fn pod(&self, namespace: &str, app: &str, name: &str, image: &str, ready: bool, restarts: i64, reason: &str) {
        let last =
            if reason.is_empty() { json!({}) } else { json!({"terminated": {"reason": reason, "exitCode": 137}}) };
        self.cluster.put("pods", namespace, name, "kubelet", &json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"labels": {"app": app}},
            "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": image, "resources": {"limits": {"memory": "256Mi"}}}]},
            "status": {"phase": if ready { "Running" } else { "Pending" },
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{"name": "app", "ready": ready, "restartCount": restarts, "lastState": last}]}}));
    }

    fn any_pod(&mut self) -> Option<(String, String, Value)> {
        let names = self.cluster.names("pods");
        let (namespace, name) = names.get(self.chance.random_range(0..names.len().max(1)))?.clone();
        let pod = self.cluster.get("pods", &namespace, &name)?;
        Some((namespace, name, pod))
    }

    /// One more thing happens.
    pub fn go_on(&mut self) {
        self.step += 1;
        let (namespace, app, image) = APPS[self.chance.random_range(0..APPS.len())];
        let tag = format!("{image}:1.{}", self.step);
        match self.chance.random_range(0..20) {
            0 | 1 => self.cluster.deploy(namespace, app, &tag, 4, 4, "argocd"),
            2 | 3 => {
                let replicas = self.chance.random_range(1..8);
                self.cluster.deploy(namespace, app, &format!("{image}:1.0"), replicas, replicas - 1, "kubectl");
            }
            4..=7 => {
                let name = self.pod_name(app);
                self.pod(namespace, app, &name, &tag, false, 0, "");
            }
            8..=10 => {
                if let Some((namespace, name, pod)) = self.any_pod() {
                    let tag = image_of(&pod);
                    let app = pod["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned();
                    let restarts = restarts_of(&pod);
                    self.pod(&namespace, &app, &name, &tag, true, restarts, "");
                }
            }
            11 | 12 => {
                if let Some((namespace, name, pod)) = self.any_pod() {
                    let tag = image_of(&pod);
                    let app = pod["metadata"]["labels"]["app"].as_str().unwrap_or_default().to_owned();
                    let restarts = restarts_of(&pod);
                    self.pod(&namespace, &app, &name, &tag, false, restarts + 1, "OOMKilled");
                }
            }
            13..=15 => {
                if let Some((namespace, name, _)) = self.any_pod()
                    && self.cluster.names("pods").len() > 30
                {
                    self.cluster.delete("pods", &namespace, &name);
                }
            }
            16 | 17 => {
                let pod = self.any_pod().map_or_else(|| "gone".to_owned(), |(_, name, _)| name);
                let (reason, message) = [
                    ("BackOff", "Back-off restarting failed container app in pod"),
                    (
                        "FailedScheduling",
                        "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available",
                    ),
                    ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
                ][self.chance.random_range(0..3)];
                self.cluster.put("events", namespace, &format!("{pod}.{:x}", self.step), "kubelet", &json!({"kind": "Event", "apiVersion": "v1",
                    "metadata": {}, "type": "Warning", "reason": reason, "message": message, "involvedObject": {"kind": "Pod", "name": pod, "namespace": namespace}}));
            }
            _ => self.cluster.put(
                "configmaps",
                namespace,
                &format!("{app}-config"),
                "helm",
                &json!({"kind": "ConfigMap", "apiVersion": "v1",
                "metadata": {}, "data": {"LOG_LEVEL": "debug", "VERSION": self.step.to_string()}}),
            ),
        }
    }
}

fn image_of(pod: &Value) -> String {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn restarts_of(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0)
}
