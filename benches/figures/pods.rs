//! Pods of about 9 KB and Events of about 1.3 KB, as a busy cluster has them: a few hundred applications of several replicas
//! each, no two alike in names, settings, addresses and digests, so that neither caches nor compression are flattered.
//!
//! Everything follows from an index: the same index gives the same object in every process and every run.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Replicas of one application: what stands next to each other in a cluster is alike, but not more than that.
const REPLICAS: u64 = 6;

const WORDS: &[&str] = &[
    "checkout",
    "ledger",
    "inventory",
    "payment",
    "search",
    "catalog",
    "shipping",
    "session",
    "notify",
    "invoice",
    "pricing",
    "quota",
    "audit",
    "gateway",
    "profile",
    "basket",
    "fraud",
    "media",
    "export",
    "rating",
    "booking",
    "voucher",
    "tariff",
    "stock",
    "reports",
    "mailer",
    "ingest",
    "router",
    "geo",
    "identity",
    "tokens",
    "batch",
    "replica",
    "metrics",
    "archive",
    "webhook",
    "events",
    "render",
    "quotes",
    "orders",
];
const SETTINGS: &[&str] = &[
    "TIMEOUT",
    "POOL_SIZE",
    "ENDPOINT",
    "REGION",
    "RETRIES",
    "CACHE_TTL",
    "LOG_LEVEL",
    "TOPIC",
    "BUCKET",
    "QUEUE",
    "SHARD",
    "BATCH",
    "FEATURES",
    "TRACE_RATE",
    "HOST",
    "MODE",
    "LIMIT",
    "WINDOW",
];

/// A generator of reproducible chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn new(seed: u64, about: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ about.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of(&mut self, all: &[&'static str]) -> &'static str {
        all[self.below(all.len() as u64) as usize]
    }

    fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            // Into a String: cannot fail.
            write!(text, "{:016x}", self.next()).unwrap_or_default();
        }
        text.truncate(digits);
        text
    }

    /// What Kubernetes takes for generated names: no vowels, no look-alikes.
    fn suffix(&mut self, letters: usize) -> String {
        const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..letters).map(|_| char::from(SAFE[self.below(SAFE.len() as u64) as usize])).collect()
    }

    fn uid(&mut self) -> String {
        let h = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..])
    }

    fn time(&mut self) -> String {
        let (hour, minute, second) = (self.below(24), self.below(60), self.below(60));
        format!("2026-07-{:02}T{hour:02}:{minute:02}:{second:02}Z", 1 + self.below(28))
    }
}

/// Everything that replicas share.
struct App {
    name: String,
    namespace: String,
    replica_set: String,
    labels: Value,
    annotations: Value,
    spec: Value,
}

fn app(number: u64) -> App {
    let mut c = Chance::new(number, 1);
    let (part, component) = (c.of(WORDS), c.of(WORDS));
    let name = format!("{part}-{component}");
    let version = format!("{}.{}.{}", c.below(9), c.below(40), c.below(20));
    let hash = c.suffix(10);
    let labels = json!({
        "app.kubernetes.io/component": component, "app.kubernetes.io/instance": format!("{part}-prod"),
        "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": name,
        "app.kubernetes.io/version": version, "helm.sh/chart": format!("{part}-{version}"),
        "pod-template-hash": hash, "team": c.of(WORDS),
    });
    let annotations = json!({
        "checksum/config": c.hex(64),
        "prometheus.io/port": (9000 + c.below(200)).to_string(), "prometheus.io/scrape": "true",
        "kubectl.kubernetes.io/restartedAt": c.time(),
    });
    let mut containers = vec![container(&mut c, component, part, &version)];
    if c.below(6) == 0 {
        containers.push(sidecar(&mut c));
    }
    let spec = json!({
        "containers": containers, "dnsPolicy": "ClusterFirst", "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority", "priority": 0, "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {"fsGroup": 10000 + c.below(99), "runAsNonRoot": true, "runAsUser": 10000 + c.below(99)},
        "serviceAccount": name, "serviceAccountName": name, "terminationGracePeriodSeconds": 30 + c.below(60),
        "tolerations": [
            {"effect": "NoExecute", "key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 300},
            {"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 300}],
        "volumes": [
            {"configMap": {"defaultMode": 420, "name": format!("{name}-config")}, "name": "config"},
            {"emptyDir": {}, "name": "tmp"},
            {"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                    "path": "namespace"}]}}]}}],
    });
    App {
        namespace: format!("team-{:02}", c.below(30)),
        replica_set: format!("{name}-{hash}"),
        name,
        labels,
        annotations,
        spec,
    }
}

fn container(c: &mut Chance, name: &str, part: &str, version: &str) -> Value {
    let mut env: Vec<Value> = Vec::new();
    for number in 0..2 + c.below(4) {
        let value = match c.below(5) {
            0 => format!(
                "http://{}.{}.svc.cluster.local:{}/v{}",
                c.of(WORDS),
                c.of(WORDS),
                8000 + c.below(99),
                c.below(4)
            ),
            1 => format!("{}ms", c.below(30_000)),
            2 => c.hex(16),
            3 => format!("{},{},{}", c.of(WORDS), c.of(WORDS), c.of(WORDS)),
            _ => c.below(10_000).to_string(),
        };
        env.push(
            json!({"name": format!("{}_{}_{number}", c.of(WORDS).to_uppercase(), c.of(SETTINGS)), "value": value}),
        );
    }
    env.push(json!({"name": "DB_PASSWORD",
        "valueFrom": {"secretKeyRef": {"key": "password", "name": format!("{part}-db")}}}));
    env.push(
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
    );
    let probe = |path: &str, period: u64| {
        json!({"failureThreshold": 3, "httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "periodSeconds": period,
            "successThreshold": 1, "timeoutSeconds": 2})
    };
    json!({
        "env": env, "image": format!("registry.internal.example/{part}/{name}:{version}"), "imagePullPolicy": "IfNotPresent",
        "livenessProbe": probe("/healthz", 5 + c.below(20)), "name": name,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"},
            {"containerPort": 9102, "name": "metrics", "protocol": "TCP"}],
        "readinessProbe": probe("/readyz", 2 + c.below(9)),
        "resources": {"limits": {"memory": format!("{}Mi", 256 + c.below(900))},
            "requests": {"cpu": format!("{}m", 50 + c.below(900)), "memory": format!("{}Mi", 128 + c.below(128))}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "volumeMounts": [{"mountPath": format!("/etc/{part}"), "name": "config", "readOnly": true},
            {"mountPath": "/tmp", "name": "tmp"},
            {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access", "readOnly": true}],
    })
}

fn sidecar(c: &mut Chance) -> Value {
    json!({
        "args": ["--port", (15_000 + c.below(99)).to_string(), "--level", "warn"],
        "image": format!("registry.internal.example/mesh/proxy:{}.{}", c.below(3), c.below(40)),
        "imagePullPolicy": "IfNotPresent", "name": "proxy",
        "resources": {"limits": {"memory": "128Mi"}, "requests": {"cpu": "20m", "memory": "64Mi"}},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "volumeMounts": [{"mountPath": "/tmp", "name": "tmp"}],
    })
}

/// What a replica has for itself, whatever its version.
struct Replica {
    name: String,
    uid: String,
    owner_uid: String,
    created: String,
    node: String,
    ip: String,
    host_ip: String,
    chance: Chance,
}

fn replica(index: u64, app: &App) -> Replica {
    let mut c = Chance::new(index, 2);
    let name = format!("{}-{}", app.replica_set, c.suffix(5));
    let host = (c.below(5), c.below(250), c.below(250));
    Replica {
        name,
        uid: c.uid(),
        owner_uid: Chance::new(index / REPLICAS, 3).uid(),
        created: c.time(),
        node: format!("ip-10-{}-{}-{}.eu-west-1.compute.internal", host.0, host.1, host.2),
        ip: format!("10.{}.{}.{}", 128 + c.below(16), c.below(250), c.below(250)),
        host_ip: format!("10.{}.{}.{}", host.0, host.1, host.2),
        chance: c,
    }
}

/// Pod `index` as the API server sends it at version `rv`, in its order of members, `managedFields` and status included.
/// Another `revision` is a later report of the kubelet about the same pod.
pub fn stored(index: u64, rv: u64, revision: u64) -> String {
    let app = app(index / REPLICAS);
    let mut r = replica(index, &app);
    let mut annotations = app.annotations.clone();
    annotations["cni.projectcalico.org/containerID"] = r.chance.hex(64).into();
    annotations["cni.projectcalico.org/podIP"] = format!("{}/32", r.ip).into();
    let owner = json!([{"apiVersion": "apps/v1", "blockOwnerDeletion": true, "controller": true, "kind": "ReplicaSet",
        "name": app.replica_set, "uid": r.owner_uid}]);
    let status = status(&mut r, &app, revision);
    let mut spec = app.spec.clone();
    spec["nodeName"] = r.node.as_str().into();
    let controller = json!({
        "f:metadata": {"f:annotations": fields(&app.annotations, ""), "f:generateName": {}, "f:labels": fields(&app.labels, ""),
            "f:ownerReferences": fields(&owner, "ownerReferences")},
        "f:spec": fields(&app.spec, "spec"),
    });
    let reported = Chance::new(index, 10 + revision).time();
    let managed = json!([
        {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": controller, "manager": "kube-controller-manager",
            "operation": "Update", "time": r.created},
        {"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": fields(&status, "status")},
            "manager": "kubelet", "operation": "Update", "subresource": "status", "time": reported},
    ]);
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}","generateName":"{}-","namespace":"{}","uid":"{}","resourceVersion":"{rv}","generation":1,"creationTimestamp":"{}","labels":{},"annotations":{annotations},"ownerReferences":{owner},"managedFields":{managed}}},"spec":{spec},"status":{status}}}"#,
        r.name, app.replica_set, app.namespace, r.uid, r.created, app.labels
    )
}

fn status(r: &mut Replica, app: &App, revision: u64) -> Value {
    let mut later = Chance::new(r.chance.next(), 4 + revision);
    let conditions: Vec<Value> =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .iter()
            .map(|kind| {
                let time = if kind.contains("Ready") { later.time() } else { r.created.clone() };
                json!({"lastProbeTime": null, "lastTransitionTime": time, "status": "True", "type": kind})
            })
            .collect();
    let containers = app.spec["containers"].as_array().cloned().unwrap_or_default();
    let containers: Vec<Value> = containers
        .iter()
        .map(|container| {
            let image = container["image"].as_str().unwrap_or_default();
            json!({"allocatedResources": container["resources"]["requests"],
                "containerID": format!("containerd://{}", later.hex(64)), "image": image,
                "imageID": format!("{image}@sha256:{}", Chance::new(image.len() as u64, 5).hex(64)), "lastState": {},
                "name": container["name"], "ready": true, "resources": container["resources"], "restartCount": revision,
                "started": true, "state": {"running": {"startedAt": later.time()}}})
        })
        .collect();
    json!({"conditions": conditions, "containerStatuses": containers, "hostIP": r.host_ip, "hostIPs": [{"ip": r.host_ip}],
        "observedGeneration": 1, "phase": "Running", "podIP": r.ip, "podIPs": [{"ip": r.ip}], "qosClass": "Burstable",
        "startTime": r.created})
}

/// Pod `index` as a controller posts it into `namespace`. The API server adds uid, version and `managedFields`.
pub fn posted(index: u64, namespace: &str) -> String {
    let app = app(index / REPLICAS);
    let mut r = replica(index, &app);
    let mut annotations = app.annotations.clone();
    annotations["cni.projectcalico.org/containerID"] = r.chance.hex(64).into();
    annotations["cni.projectcalico.org/podIP"] = format!("{}/32", r.ip).into();
    let owner = json!([{"apiVersion": "apps/v1", "blockOwnerDeletion": true, "controller": true, "kind": "ReplicaSet",
        "name": app.replica_set, "uid": r.owner_uid}]);
    let mut spec = app.spec.clone();
    spec["nodeName"] = r.node.as_str().into();
    // What admission fills in itself.
    for member in ["priority", "preemptionPolicy"] {
        spec.as_object_mut().map(|spec| spec.remove(member));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {"name": r.name, "namespace": namespace,
        "generateName": format!("{}-", app.replica_set), "labels": app.labels, "annotations": annotations,
        "ownerReferences": owner}})
    .to_string()
}

/// The name of pod `index`, and the first report of its kubelet about it, as a merge patch of its status.
pub fn reported(index: u64) -> (String, String) {
    let app = app(index / REPLICAS);
    let mut r = replica(index, &app);
    let mut status = status(&mut r, &app, 0);
    // The API server has decided these itself.
    for member in ["qosClass", "observedGeneration"] {
        status.as_object_mut().map(|status| status.remove(member));
    }
    (r.name, json!({ "status": status }).to_string())
}

/// Event `index` about pod `index`, as the API server sends it at version `rv`.
pub fn event_stored(index: u64, rv: u64) -> String {
    let (metadata, rest, time) = event(index, None);
    let rest = Value::Object(rest);
    let managed = json!([{"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": flat(&rest),
        "manager": "kubelet", "operation": "Update", "time": time}]);
    let rest = rest.to_string();
    format!(
        r#"{{"kind":"Event","apiVersion":"v1","metadata":{{"name":{},"namespace":{},"uid":"{}","resourceVersion":"{rv}","creationTimestamp":"{time}","managedFields":{managed}}},{}"#,
        metadata["name"],
        metadata["namespace"],
        Chance::new(index, 6).uid(),
        &rest[1..]
    )
}

/// Event `index` as a component posts it into `namespace`.
pub fn event_posted(index: u64, namespace: &str) -> String {
    let (metadata, mut rest, _) = event(index, Some(namespace));
    rest.insert("apiVersion".into(), "v1".into());
    rest.insert("kind".into(), "Event".into());
    rest.insert("metadata".into(), metadata);
    Value::Object(rest).to_string()
}

fn event(index: u64, namespace: Option<&str>) -> (Value, Map<String, Value>, String) {
    let app = app(index / REPLICAS % 500);
    let pod = replica(index, &app);
    let namespace = namespace.unwrap_or(&app.namespace);
    let mut c = Chance::new(index, 7);
    let time = c.time();
    let (kind, reason, message) = match c.below(4) {
        0 => ("Normal", "Pulled", {
            let image = app.spec["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
            format!(
                "Successfully pulled image \"{image}\" in {}ms ({}ms including waiting). Image size: {} bytes.",
                c.below(9000),
                c.below(20_000),
                c.below(900_000_000)
            )
        }),
        1 => (
            "Warning",
            "Unhealthy",
            format!(
                "Readiness probe failed: Get \"http://{}:8080/readyz\": context deadline exceeded (Client.Timeout \
                     exceeded while awaiting headers) after {} ms",
                pod.ip,
                c.below(5000)
            ),
        ),
        2 => (
            "Warning",
            "BackOff",
            format!(
                "Back-off {}s restarting failed container {} in pod {}_{namespace}({})",
                10 << c.below(5),
                app.name,
                pod.name,
                pod.uid
            ),
        ),
        _ => ("Normal", "Scheduled", format!("Successfully assigned {namespace}/{} to {}", pod.name, pod.node)),
    };
    let rest = json!({
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod.name, "uid": pod.uid, "apiVersion": "v1",
            "resourceVersion": c.below(90_000_000).to_string(), "fieldPath": format!("spec.containers{{{}}}", app.name)},
        "reason": reason, "message": message, "source": {"component": "kubelet", "host": pod.node},
        "firstTimestamp": time, "lastTimestamp": c.time(), "count": 1 + c.below(40), "type": kind, "eventTime": null,
        "reportingComponent": "kubelet", "reportingInstance": pod.node,
    });
    let metadata = json!({"name": format!("{}.{}", pod.name, c.hex(16)), "namespace": namespace});
    let Value::Object(rest) = rest else { unreachable!("an object literal") };
    (metadata, rest, time)
}

/// `fieldsV1` of an object without lists of maps.
fn flat(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.iter().map(|(key, value)| (format!("f:{key}"), flat(value))).collect())
        }
        _ => json!({}),
    }
}

/// What the API server records in `fieldsV1` for a value: its structure again, without its leaves.
fn fields(value: &Value, key: &str) -> Value {
    let mut out = Map::new();
    match value {
        Value::Object(members) => {
            if key != "spec" && key != "status" {
                out.insert(".".into(), json!({}));
            }
            for (key, value) in members {
                out.insert(format!("f:{key}"), fields(value, key));
            }
        }
        Value::Array(elements) => {
            let keys: &[&str] = match key {
                "containers" | "env" | "volumes" => &["name"],
                "ports" => &["containerPort", "protocol"],
                "volumeMounts" => &["mountPath"],
                "conditions" => &["type"],
                "ownerReferences" => &["uid"],
                "podIPs" | "hostIPs" => &["ip"],
                _ => return json!({}),
            };
            out.insert(".".into(), json!({}));
            for element in elements {
                let id: Map<String, Value> =
                    keys.iter().map(|key| ((*key).to_owned(), element[*key].clone())).collect();
                let inner = if key == "ownerReferences" { json!({}) } else { fields(element, "element") };
                out.insert(format!("k:{}", Value::Object(id)), inner);
            }
        }
        _ => {}
    }
    Value::Object(out)
}
