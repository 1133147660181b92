//! The kinds that are captured: how the API server names them, and the policy that hangs on each.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How the changes of a kind are told apart from repeats, and what a deletion means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The topic is a table: an index uid → version, deletes with tombstones, a diff after every list.
    Table,
    /// The topic is a stream of Kubernetes Events: kept by time, never folded; a disappearance is only a TTL.
    Stream,
}

/// What may leave the cluster of an object of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The whole object, after the redaction rules.
    Full,
    /// Only `PartialObjectMetadata` is ever requested (Secrets).
    Metadata,
}

#[derive(Debug, PartialEq, Eq)]
struct Spec {
    group: Box<str>,
    version: Box<str>,
    plural: Box<str>,
    name: Box<str>,
    singular: Box<str>,
    short_names: Vec<Box<str>>,
    tracking: Tracking,
    content: Content,
    namespaced: bool,
    builtin: bool,
}

/// One captured kind. Cheap to clone; equal and ordered by group and plural, whatever the version.
#[derive(Clone)]
pub struct Kind(Arc<Spec>);

/// Group, version, plural, kind, short names of the seven kinds that are captured by default.
const BUILTIN: &[(&str, &str, &str, &str, &[&str])] = &[
    ("", "v1", "pods", "Pod", &["po"]),
    ("", "v1", "services", "Service", &["svc"]),
    ("apps", "v1", "deployments", "Deployment", &["deploy"]),
    ("apps", "v1", "statefulsets", "StatefulSet", &["sts"]),
    ("", "v1", "configmaps", "ConfigMap", &["cm"]),
    ("", "v1", "secrets", "Secret", &[]),
    ("", "v1", "events", "Event", &["ev"]),
];

impl Kind {
    /// The built-in kind of that plural (`pods`), or `None`.
    pub fn builtin(plural: &str) -> Option<Self> {
        BUILTIN.iter().find(|k| k.2 == plural).map(|(group, version, plural, name, short)| {
            Self(Arc::new(Spec {
                group: (*group).into(),
                version: (*version).into(),
                plural: (*plural).into(),
                name: (*name).into(),
                singular: name.to_lowercase().into(),
                short_names: short.iter().map(|name| (*name).into()).collect(),
                // core/v1 Events only: events.k8s.io shares their storage, reading both would publish twice.
                tracking: if *plural == "events" { Tracking::Stream } else { Tracking::Table },
                content: if *plural == "secrets" { Content::Metadata } else { Content::Full },
                namespaced: true,
                builtin: true,
            }))
        })
    }

    /// Any kind, as discovery names it: `name` is the singular in CamelCase. One of the built-in kinds stays what it is.
    pub fn custom(group: &str, version: &str, plural: &str, name: &str, namespaced: bool) -> Self {
        if let Some(builtin) = Self::builtin(plural).filter(|kind| kind.group() == group) {
            return builtin;
        }
        Self(Arc::new(Spec {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            name: name.into(),
            singular: name.to_lowercase().into(),
            short_names: Vec::new(),
            tracking: Tracking::Table,
            // Nobody said yet what in it may be seen.
            content: Content::Metadata,
            namespaced,
            builtin: false,
        }))
    }

    /// The same kind with the names that people may call it by. A built-in kind keeps its own.
    pub fn known_as(self, singular: &str, short_names: &[String]) -> Self {
        if self.0.builtin {
            return self;
        }
        let Spec { group, version, plural, name, tracking, content, namespaced, builtin, .. } = &*self.0;
        Self(Arc::new(Spec {
            group: group.clone(),
            version: version.clone(),
            plural: plural.clone(),
            name: name.clone(),
            singular: if singular.is_empty() { self.0.singular.clone() } else { singular.into() },
            short_names: short_names.iter().map(|name| name.as_str().into()).collect(),
            tracking: *tracking,
            content: *content,
            namespaced: *namespaced,
            builtin: *builtin,
        }))
    }

    /// The seven built-in kinds, in the order in which they are shown.
    pub fn builtins() -> Vec<Self> {
        BUILTIN.iter().filter_map(|k| Self::builtin(k.2)).collect()
    }

    /// API group; empty for core.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// API version within the group, `v1`.
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// Plural as in URLs, `pods`.
    pub fn plural(&self) -> &str {
        &self.0.plural
    }

    /// Singular in CamelCase as in `kind:`, `Pod`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// In small letters, as people type it: `pod`.
    pub fn singular(&self) -> &str {
        &self.0.singular
    }

    /// What kubectl takes besides: `po`.
    pub fn short_names(&self) -> impl Iterator<Item = &str> {
        self.0.short_names.iter().map(|name| &**name)
    }

    /// Whether a person may mean this kind by `word`: plural, singular, kind or short name in any case, each also with
    /// `.group` (`.core`) behind it, or with the first parts of the group, as kubectl has it.
    pub fn goes_by(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        let own = if self.0.group.is_empty() { "core" } else { &self.0.group };
        let in_group = group.is_empty() || own == group || own.strip_prefix(group).is_some_and(|r| r.starts_with('.'));
        let called = name == &*self.0.plural || name == &*self.0.singular || name == self.0.name.to_lowercase();
        in_group && (called || self.short_names().any(|short| short == name))
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.0.group.is_empty() {
            self.0.version.to_string()
        } else {
            format!("{}/{}", self.0.group, self.0.version)
        }
    }

    /// Whether its objects live in namespaces; else there is one collection for the cluster.
    pub fn namespaced(&self) -> bool {
        self.0.namespaced
    }

    /// Whether it is one of the seven that are captured by default.
    pub fn is_builtin(&self) -> bool {
        self.0.builtin
    }

    /// Whether nothing at all tells them apart, where equal kinds may differ in version, names and scope.
    pub fn is_identical(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Whether both may be the same definition at two times: as long as it lives, neither its `kind:` nor its scope changes.
    /// If not, no object of the one is an object of the other.
    pub fn may_be_one_definition(&self, other: &Self) -> bool {
        self == other && self.0.name == other.0.name && self.0.namespaced == other.0.namespaced
    }

    /// How its changes are tracked.
    pub fn tracking(&self) -> Tracking {
        self.0.tracking
    }

    /// What of it may leave the cluster where the settings say nothing else.
    pub fn content(&self) -> Content {
        self.0.content
    }

    /// The name used in topics, keys, URLs and settings: the plural for a built-in kind, `plural.group` for any other.
    pub fn id(&self) -> String {
        if self.0.builtin || self.0.group.is_empty() {
            self.0.plural.to_string()
        } else {
            format!("{}.{}", self.0.plural, self.0.group)
        }
    }

    /// Its topic without the configured prefix, `k8s-pods`.
    pub fn topic(&self) -> String {
        format!("k8s-{}", self.id())
    }

    /// The collection's path on the API server; `namespace` `None` is the whole cluster.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.0.group.is_empty() {
            format!("/api/{}", self.0.version)
        } else {
            format!("/apis/{}/{}", self.0.group, self.0.version)
        };
        match namespace {
            Some(ns) => format!("{root}/namespaces/{ns}/{}", self.0.plural),
            None => format!("{root}/{}", self.0.plural),
        }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kind {}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.group.hash(state);
        self.0.plural.hash(state);
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.0.group, &self.0.plural).cmp(&(&other.0.group, &other.0.plural))
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.id())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_kinds_go_by_their_plural_everywhere() {
        let deployments = Kind::builtin("deployments").expect("built in");
        assert_eq!(deployments.id(), "deployments");
        assert_eq!(deployments.topic(), "k8s-deployments");
        assert_eq!(deployments.api_version(), "apps/v1");
        assert_eq!(deployments.path(Some("a")), "/apis/apps/v1/namespaces/a/deployments");
        assert_eq!(Kind::builtin("pods").expect("built in").path(None), "/api/v1/pods");
        assert!(Kind::builtin("Pod").is_none());
    }

    #[test]
    fn any_other_kind_goes_by_plural_and_group_and_shows_metadata_only() {
        let certificates = Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true);
        assert_eq!(certificates.id(), "certificates.cert-manager.io");
        assert_eq!(certificates.topic(), "k8s-certificates.cert-manager.io");
        assert_eq!(certificates.path(Some("a")), "/apis/cert-manager.io/v1/namespaces/a/certificates");
        assert_eq!(certificates.content(), Content::Metadata);
        let nodes = Kind::custom("", "v1", "nodes", "Node", false);
        assert_eq!((nodes.id().as_str(), nodes.namespaced()), ("nodes", false));
        assert_eq!(nodes.path(None), "/api/v1/nodes");
        assert_eq!(certificates, Kind::custom("cert-manager.io", "v2", "certificates", "Certificate", true));
    }

    #[test]
    fn equal_kinds_may_differ_in_version_names_and_scope() {
        let shapes = |version, name, namespaced| Kind::custom("example.com", version, "shapes", name, namespaced);
        let shape = shapes("v1", "Shape", true);
        assert!(shape.is_identical(&shapes("v1", "Shape", true)));
        let called = shape.clone().known_as("shape", &["sh".to_owned()]);
        for (other, may_be_one) in [
            (called, true),
            (shapes("v2", "Shape", true), true),
            (shapes("v1", "Form", true), false),
            (shapes("v1", "Shape", false), false),
        ] {
            assert!(shape == other && !shape.is_identical(&other));
            assert_eq!(shape.may_be_one_definition(&other), may_be_one);
        }
    }

    #[test]
    fn a_built_in_kind_found_by_discovery_stays_what_it_is() {
        let secrets = Kind::custom("", "v1", "secrets", "Secret", true);
        assert!(secrets.is_builtin() && secrets.content() == Content::Metadata);
        let events = Kind::custom("events.k8s.io", "v1", "events", "Event", true);
        assert_eq!((events.id().as_str(), events.is_builtin()), ("events.events.k8s.io", false));
    }

    #[test]
    fn secrets_are_metadata_only_and_events_are_a_stream() {
        for kind in Kind::builtins() {
            assert_eq!(kind.content() == Content::Metadata, kind.id() == "secrets");
            assert_eq!(kind.tracking() == Tracking::Stream, kind.id() == "events");
        }
    }
}
