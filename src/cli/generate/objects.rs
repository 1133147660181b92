//! The Kubernetes objects, and the comments that say why they are as they are.

use super::super::yaml::to_yaml;
use crate::domain::rbac::{Rights, Rule, rights};
use crate::settings::{Loaded, Origin, Settings, WATCHES_A_KIND};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The settings file of a site: what no base can know.
pub const SITE: &str = "site.toml";
/// Origin of a value that stands in for one that only the site knows.
pub const STANDS_IN: &str = "site";
/// Where the settings files are mounted.
const CONFIG_DIR: &str = "/etc/agent-events";
/// The user of the image: `nonroot` of the distroless bases.
const USER: u32 = 65532;

/// All that the objects depend on.
pub struct Plan {
    /// Name of every object.
    pub name: String,
    /// Namespace of the process.
    pub namespace: String,
    /// Container image.
    pub image: String,
    /// Settings files: name and text.
    pub files: Vec<(String, String)>,
    /// What `run` is told besides them.
    pub args: Vec<String>,
    /// What all of this means.
    pub loaded: Loaded,
}

/// An object with its reasons.
pub struct Document {
    comment: String,
    object: Value,
}

impl Document {
    fn new(comment: &str, object: Value) -> Self {
        Self { comment: comment.to_owned(), object }
    }

    /// YAML, the comment first.
    pub fn text(&self) -> String {
        let comment: String = self.comment.lines().map(|line| format!("# {line}\n")).collect();
        comment + &to_yaml(&self.object)
    }
}

/// Every object, as one stream.
pub fn all(plan: &Plan) -> Vec<Document> {
    let mut documents = vec![namespace(plan)];
    documents.extend(rbac(plan));
    documents.extend([config_map(plan), deployment(plan), service(plan)]);
    documents
}

/// The files of a kustomize base: the same objects, with the ConfigMap left to kustomize, which names it by its content,
/// so that a changed setting starts the pod anew.
pub fn base(plan: &Plan) -> Vec<(String, String)> {
    let stream = |documents: &[Document]| documents.iter().map(Document::text).collect::<Vec<_>>().join("---\n");
    let mut files = vec![
        ("namespace.yaml".to_owned(), namespace(plan).text()),
        ("rbac.yaml".to_owned(), stream(&rbac(plan))),
        ("deployment.yaml".to_owned(), deployment(plan).text()),
        ("service.yaml".to_owned(), service(plan).text()),
    ];
    let resources: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let settings: Vec<&str> = plan.files.iter().map(|(name, _)| name.as_str()).chain([SITE]).collect();
    let kustomization = Document::new(
        "Made by `agent-events generate kustomize --to`; change the settings and make it again instead of editing it.\n\
         An overlay sets the image and brings its own site.toml: see overlays/dev.",
        json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
            "configMapGenerator": [{
                "name": plan.name,
                "namespace": plan.namespace,
                "files": settings,
                "options": {"labels": labels(plan)},
            }],
        }),
    );
    files.insert(0, ("kustomization.yaml".to_owned(), kustomization.text()));
    files.extend(plan.files.iter().cloned());
    files.push((SITE.to_owned(), site(&plan.loaded)));
    files
}

fn namespace(plan: &Plan) -> Document {
    // The API server itself refuses a pod that asks for more than it needs.
    let labels = with(
        labels(plan),
        &[
            ("pod-security.kubernetes.io/audit", "restricted"),
            ("pod-security.kubernetes.io/enforce", "restricted"),
            ("pod-security.kubernetes.io/warn", "restricted"),
        ],
    );
    Document::new(
        "The API server refuses every pod in here that asks for more than the restricted profile gives.",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": plan.namespace, "labels": labels}}),
    )
}

/// The identity of the process and what it may do.
pub fn rbac(plan: &Plan) -> Vec<Document> {
    let settings = &plan.loaded.settings;
    let reach = settings.watch.reach();
    let Rights { cluster, namespaced, grants_more_than_is_read } = rights(&reach, settings.cluster.id.is_none());
    let mut documents = vec![Document::new(
        "Who the process is. Only its own pod mounts a token of it.",
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(plan, Some(&plan.namespace)),
            "automountServiceAccountToken": false,
        }),
    )];
    let secrets = if grants_more_than_is_read {
        "\nSecrets are among them: whoever holds this token can read their values, although this process asks for their\n\
         metadata only."
    } else {
        ""
    };
    if !cluster.is_empty() {
        let what = if namespaced.is_empty() {
            format!(
                "The kinds that are captured, to list and to watch, in all namespaces; no other kind and no other verb.{secrets}"
            )
        } else if cluster.iter().all(|rule| !rule.names.is_empty()) {
            "No right over the whole cluster but this one.".to_owned()
        } else {
            "What lives in no namespace, or is watched in all of them; no other right over the whole cluster."
                .to_owned()
        };
        // Two reasons to ask for the whole cluster that nobody typed.
        let filtered = settings.watch.kinds().iter().any(|(_, kind)| kind.namespaces.len() > WATCHES_A_KIND)
            || settings.watch.namespaces.len() > WATCHES_A_KIND;
        let filtered = if filtered {
            format!(
                "\nMore than {WATCHES_A_KIND} namespaces are watched by one watch of the whole cluster, of which the others are left out."
            )
        } else {
            String::new()
        };
        let definitions = if settings.watch.needs_discovery() {
            "\nBy the definitions of custom resources it is noticed that a kind appears or goes."
        } else {
            ""
        };
        let identity = match settings.cluster.id {
            None => "\nThe uid of namespace kube-system tells this cluster from another of the same name.",
            Some(_) => "",
        };
        documents.extend(bound(
            plan,
            "ClusterRole",
            None,
            &cluster,
            &format!("{what}{filtered}{definitions}{identity}"),
        ));
    }
    for (namespace, rules) in &namespaced {
        let what = format!("The kinds that are captured, to list and to watch, in this namespace.{secrets}");
        documents.extend(bound(plan, "Role", Some(namespace), rules, &what));
    }
    documents
}

/// A role and its binding to the service account.
fn bound(plan: &Plan, role: &str, namespace: Option<&str>, rules: &[Rule], why: &str) -> [Document; 2] {
    let rule = |rule: &Rule| {
        let mut map = json!({"apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs});
        if !rule.names.is_empty() {
            map["resourceNames"] = json!(rule.names);
        }
        map
    };
    let api = "rbac.authorization.k8s.io";
    [
        Document::new(
            why,
            json!({
                "apiVersion": format!("{api}/v1"), "kind": role, "metadata": metadata(plan, namespace),
                "rules": rules.iter().map(rule).collect::<Vec<_>>(),
            }),
        ),
        Document::new(
            "",
            json!({
                "apiVersion": format!("{api}/v1"), "kind": format!("{role}Binding"), "metadata": metadata(plan, namespace),
                "roleRef": {"apiGroup": api, "kind": role, "name": plan.name},
                "subjects": [{"kind": "ServiceAccount", "name": plan.name, "namespace": plan.namespace}],
            }),
        ),
    ]
}

fn config_map(plan: &Plan) -> Document {
    let site = (SITE.to_owned(), site(&plan.loaded));
    let data: Map<String, Value> =
        plan.files.iter().chain([&site]).map(|(name, text)| (name.clone(), json!(text))).collect();
    Document::new(
        "The settings. Read at the start: after a change, `kubectl rollout restart`.",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(plan, Some(&plan.namespace)), "data": data}),
    )
}

/// What only the site knows, as far as it is known.
fn site(loaded: &Loaded) -> String {
    let known = |section: &str, key: &str, value: &Option<String>| match loaded.origin(&[section, key]) {
        Origin::Flag(flag) if flag == STANDS_IN => String::new(),
        _ => value.clone().unwrap_or_default(),
    };
    let text = |value: String| toml::Value::String(value).to_string();
    format!(
        "# What no base can know. An overlay brings a file of this name over it; \"\" is refused at the start.\n\n\
         [cluster]\n# The first part of every record's key: never to be changed afterwards.\nname = {}\n\n\
         [kafka]\n# host:port, comma separated.\nbootstrap = {}\n",
        text(known("cluster", "name", &loaded.settings.cluster.name)),
        text(known("kafka", "bootstrap", &loaded.settings.kafka.bootstrap)),
    )
}

fn deployment(plan: &Plan) -> Document {
    let settings = &plan.loaded.settings;
    let files = plan.files.iter().map(|(name, _)| name.as_str()).chain([SITE]);
    let mut args = vec!["run".to_owned()];
    args.extend(files.map(|name| format!("--config={CONFIG_DIR}/{name}")));
    args.extend(plan.args.iter().cloned());
    let memory = format!("{}Mi", memory_mib(settings));
    let probe = |path: &str, more: Value| {
        let mut probe = json!({"httpGet": {"path": path, "port": "ops"}});
        if let (Value::Object(probe), Value::Object(more)) = (&mut probe, more) {
            probe.extend(more);
        }
        probe
    };
    let container = json!({
        "name": "agent-events",
        "image": plan.image,
        "args": args,
        "ports": [{"name": "ops", "containerPort": settings.http.ops.port()}],
        // A process that waits for a broker is alive; it is not ready.
        "startupProbe": probe("/startupz", json!({"periodSeconds": 2, "failureThreshold": 30})),
        "livenessProbe": probe("/livez", json!({"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3})),
        "readinessProbe": probe("/readyz", json!({"periodSeconds": 5, "timeoutSeconds": 5})),
        "resources": {"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "settings", "mountPath": CONFIG_DIR, "readOnly": true},
            {"name": "data", "mountPath": data_dir(&settings.data_dir)},
        ],
    });
    let grace = settings.supervision.shutdown_deadline.as_secs() + 5;
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(plan, Some(&plan.namespace)),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector(plan)},
            "template": {
                "metadata": {"labels": labels(plan)},
                "spec": {
                    "serviceAccountName": plan.name,
                    "automountServiceAccountToken": true,
                    // Variables named after every Service of the namespace are of no use here.
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": grace,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                    "volumes": [
                        {"name": "settings", "configMap": {"name": plan.name}},
                        {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}},
                    ],
                },
            },
        },
    });
    Document::new(
        "One writer: two pods at once would fence each other off, so the old one ends before the new one starts.\n\
         Memory: the budget of the settings (store, lanes, queues, two pages of lists), and a quarter more. No limit of CPU:\n\
         throttled, it would only fall behind.\n\
         An emptyDir is enough, since what must survive is in Kafka.\n\
         Grace: supervision.shutdown_deadline and 5 s.",
        object,
    )
}

/// The bounds that the settings name, a quarter more for what they do not, in steps of 64 MiB.
fn memory_mib(settings: &Settings) -> usize {
    /// Fetched from Kafka and not yet folded.
    const FETCH: usize = 8 << 20;
    /// The process with nothing to do.
    const IDLE: usize = 40 << 20;
    /// Lists under way at a time.
    const SNAPSHOTS: usize = 2;
    let named = settings.store.max_bytes
        + settings.publisher.all_lanes_bytes
        + settings.publisher.queue_bytes
        + settings.watch.max_frame_bytes
        + SNAPSHOTS * settings.watch.max_page_bytes;
    ((named + FETCH + IDLE) * 5 / 4).div_ceil(64 << 20) * 64
}

fn data_dir(path: &Path) -> String {
    path.display().to_string()
}

fn service(plan: &Plan) -> Document {
    Document::new(
        &format!(
            "Probes and metrics. The API itself listens on the pod's loopback, because it has no authentication yet; a\n\
             port-forward ends inside the pod and so reaches it:\n\
             kubectl --namespace {} port-forward deployment/{} 8080",
            plan.namespace, plan.name
        ),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(plan, Some(&plan.namespace)),
            "spec": {
                "selector": selector(plan),
                "ports": [{"name": "ops", "port": plan.loaded.settings.http.ops.port(), "targetPort": "ops"}],
            },
        }),
    )
}

fn metadata(plan: &Plan, namespace: Option<&str>) -> Value {
    let mut metadata = json!({"name": plan.name, "labels": labels(plan)});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn selector(plan: &Plan) -> Value {
    json!({"app.kubernetes.io/name": "agent-events", "app.kubernetes.io/instance": plan.name})
}

/// `app.kubernetes.io/part-of` is on everything that is made, whatever its name: by it all is found and removed.
fn labels(plan: &Plan) -> Value {
    with(selector(plan), &[("app.kubernetes.io/part-of", "agent-events")])
}

fn with(mut map: Value, more: &[(&str, &str)]) -> Value {
    for (key, value) in more {
        map[*key] = json!(value);
    }
    map
}
