//! The resources that are served: the built-in ones as a table, and those that CustomResourceDefinitions add.

use super::object::text_at;
use serde_json::Value;

/// A resource: one plural in one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its group; empty for the core.
    pub group: String,
    /// Versions that are served; objects are stored in the first.
    pub versions: Vec<Version>,
    /// Such as `Pod`.
    pub kind: String,
    /// Such as `PodList`.
    pub list_kind: String,
    /// Such as `pods`.
    pub plural: String,
    /// Such as `pod`.
    pub singular: String,
    /// Such as `po`.
    pub short_names: Vec<String>,
    /// Such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether `/status` is apart: then the main path leaves `.status` alone.
    pub has_status: bool,
    /// Whether `/scale` is served.
    pub has_scale: bool,
    /// Whether `metadata.generation` counts changes of what is wanted.
    pub has_generation: bool,
    /// Whether a PUT needs no resourceVersion.
    pub unconditional_update: bool,
    /// Whether a CustomResourceDefinition made it.
    pub custom: bool,
    /// `pods`, `deployments.apps`: how the state's verbs and the API server's messages name it.
    pub qualified: String,
}

/// A served version.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Such as `v1`.
    pub name: String,
    /// Columns for `kubectl get`, of a custom resource.
    pub columns: Vec<Column>,
}

/// A column of a custom resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// `string`, `integer`, `date`, ...
    pub kind: String,
    /// 0 is always shown, others with `-o wide`.
    pub priority: i64,
    /// Where its value stands: `.spec.replicas`.
    pub path: String,
}

/// Name of the definitions' resource.
pub const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

impl Resource {
    /// The version in which objects are stored.
    pub fn storage_version(&self) -> &str {
        &self.versions[0].name
    }

    /// `v1`, `apps/v1`
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// A served version.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// Whether Kubernetes has a type for it, so that lists leave kind and apiVersion out.
    pub fn is_builtin(&self) -> bool {
        !self.custom
    }
}

const STATUS: u8 = 1;
const SCALE: u8 = 2;
const GENERATION: u8 = 4;
const CLUSTER: u8 = 8;
/// A PUT must carry a resourceVersion.
const CONDITIONAL: u8 = 16;
const ALL: u8 = 32;
const WORKLOAD: u8 = STATUS | SCALE | GENERATION | ALL;

/// group, kind, plural, short names, flags. All are served as v1.
const BUILTIN: &[(&str, &str, &str, &[&str], u8)] = &[
    ("", "Namespace", "namespaces", &["ns"], STATUS | CLUSTER),
    ("", "Node", "nodes", &["no"], STATUS | CLUSTER),
    ("", "Pod", "pods", &["po"], STATUS | GENERATION | ALL),
    ("", "Service", "services", &["svc"], STATUS | ALL),
    ("", "ConfigMap", "configmaps", &["cm"], 0),
    ("", "Secret", "secrets", &[], 0),
    ("", "Event", "events", &["ev"], 0),
    ("", "ServiceAccount", "serviceaccounts", &["sa"], 0),
    ("apps", "Deployment", "deployments", &["deploy"], WORKLOAD),
    ("apps", "StatefulSet", "statefulsets", &["sts"], WORKLOAD),
    ("apps", "ReplicaSet", "replicasets", &["rs"], WORKLOAD),
    ("coordination.k8s.io", "Lease", "leases", &[], CONDITIONAL),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        &["crd", "crds"],
        STATUS | GENERATION | CLUSTER | CONDITIONAL,
    ),
];

/// The built-in resources.
pub fn builtin() -> Vec<Resource> {
    let of = |(group, kind, plural, short, flags): &(&str, &str, &str, &[&str], u8)| {
        let has = |flag| flags & flag != 0;
        Resource {
            group: (*group).to_owned(),
            versions: vec![Version { name: "v1".to_owned(), columns: Vec::new() }],
            kind: (*kind).to_owned(),
            list_kind: format!("{kind}List"),
            plural: (*plural).to_owned(),
            singular: kind.to_lowercase(),
            short_names: short.iter().map(|s| (*s).to_owned()).collect(),
            categories: match *kind {
                _ if has(ALL) => vec!["all".to_owned()],
                "CustomResourceDefinition" => vec!["api-extensions".to_owned()],
                _ => Vec::new(),
            },
            namespaced: !has(CLUSTER),
            has_status: has(STATUS),
            has_scale: has(SCALE),
            has_generation: has(GENERATION),
            unconditional_update: !has(CONDITIONAL),
            custom: false,
            qualified: qualify(plural, group),
        }
    };
    BUILTIN.iter().map(of).collect()
}

/// `plural.group`, or `plural` in the core.
pub fn qualify(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// The resource that a CustomResourceDefinition describes; `None` where it has no version to serve.
pub fn from_definition(definition: &Value) -> Option<Resource> {
    let spec = definition.get("spec")?;
    let text = |pointer: &str| text_at(spec, pointer).to_owned();
    let words = |pointer: &str| -> Vec<String> {
        let words = spec.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        words.filter_map(|w| w.as_str().map(str::to_owned)).collect()
    };
    let is = |version: &Value, key: &str| version.get(key).and_then(Value::as_bool).unwrap_or_default();
    let described = spec.get("versions")?.as_array()?;
    let mut served: Vec<&Value> = described.iter().filter(|v| is(v, "served")).collect();
    served.sort_by_key(|v| !is(v, "storage"));
    let stored = described.iter().find(|v| is(v, "storage")).or(served.first().copied())?;
    let subresource = |name: &str| stored.get("subresources").is_some_and(|s| s.get(name).is_some());
    let (group, plural, kind) = (text("/group"), text("/names/plural"), text("/names/kind"));
    let or = |given: String, otherwise: String| if given.is_empty() { otherwise } else { given };
    Some(Resource {
        versions: served.iter().map(|v| version_of(v)).collect::<Vec<_>>(),
        list_kind: or(text("/names/listKind"), format!("{kind}List")),
        singular: or(text("/names/singular"), kind.to_lowercase()),
        short_names: words("/names/shortNames"),
        categories: words("/names/categories"),
        namespaced: text("/scope") == "Namespaced",
        has_status: subresource("status"),
        has_scale: subresource("scale"),
        has_generation: true,
        unconditional_update: false,
        custom: true,
        qualified: qualify(&plural, &group),
        group,
        plural,
        kind,
    })
    .filter(|r| !r.versions.is_empty())
}

fn version_of(version: &Value) -> Version {
    let columns = version.get("additionalPrinterColumns").and_then(Value::as_array).into_iter().flatten();
    let column = |c: &Value| Column {
        name: text_at(c, "/name").to_owned(),
        kind: text_at(c, "/type").to_owned(),
        priority: c.get("priority").and_then(Value::as_i64).unwrap_or_default(),
        path: text_at(c, "/jsonPath").to_owned(),
    };
    Version { name: text_at(version, "/name").to_owned(), columns: columns.map(column).collect() }
}
