//! What may leave the cluster of an object, decided before anything else sees it.
//!
//! Only [`Redactor`] makes a [`Redacted`] object and only `Redacted` objects are taken by everything behind it, so that a
//! path that forgets redaction does not compile. Fail closed: what does not have the expected shape is replaced or refused.
//!
//! - Every kind: `managedFields` (after the newest manager was read) and the last-applied family of annotations go.
//! - Secrets: metadata only is requested; any other member refuses the frame, whose identity alone is kept.
//! - ConfigMaps: the sizes of values, unless the namespace is listed for full values.
//! - Pods and everything with a pod template: literal environment values, unless the name is listed.

use super::cut::{Captured, Cut, Cutter, Field, Keys, Manager, Rule};
use super::kind::{Content, Kind};
use super::rv::Rv;
use bytes::Bytes;
use serde::de::DeserializeSeed as _;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An object that went through the redactor. Nothing else can make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// What is inside.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// An object as it stands in the log: identity and bytes.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// metadata.namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// metadata.name
    pub name: Arc<str>,
    /// metadata.uid
    pub uid: Arc<str>,
    /// metadata.resourceVersion
    pub rv: Rv,
    /// Newest manager, if the server recorded any.
    pub manager: Option<Manager>,
    /// Why `json` is only a stub of the object, and the size of what it stands for.
    pub stub: Option<Stub>,
    /// The redacted object, as the server wrote it where it was kept.
    pub json: Bytes,
}

// Object bytes are never logged, redacted or not.
impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({}/{} uid={} rv={} {} bytes)", self.namespace, self.name, self.uid, self.rv, self.json.len())
    }
}

/// Why an object is represented by its identity alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stub {
    /// A word from a closed set: `full_object_refused`, `too_large`, `undecodable`, `too_long`.
    pub reason: &'static str,
    /// Size of what was received, in bytes.
    pub bytes: usize,
}

/// Why an object could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or not an object. The text never quotes the input: it may hold a secret.
    #[error("not a JSON object at byte {0}")]
    Json(usize),
    /// Without a name, a uid or a version an object has no identity.
    #[error("metadata.{0} is missing")]
    Missing(&'static str),
    /// The server answered with another kind than was asked for.
    #[error("expected kind {expected}, the server sent {got:?}")]
    WrongKind {
        /// What was asked for.
        expected: String,
        /// What came, shortened.
        got: String,
    },
}

/// Redaction settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Environment variables whose literal values stay.
    pub env_allow: BTreeSet<String>,
    /// Annotations that go, beside the built-in family.
    pub annotations_deny: BTreeSet<String>,
    /// Annotations of Secrets that stay.
    pub secret_annotations_allow: BTreeSet<String>,
    /// Namespaces whose ConfigMaps keep their values.
    pub configmap_full_namespaces: BTreeSet<String>,
}

/// Annotations that carry copies of whole objects or credentials.
const ANNOTATIONS_DENIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "kapp.k14s.io/original",
    "objectset.rio.cattle.io/applied",
    "openshift.io/token-secret.value",
];

struct PlainKeys(Arc<Policy>);

impl Keys for PlainKeys {
    fn annotation(&self, key: &str) -> bool {
        !ANNOTATIONS_DENIED.contains(&key) && !self.0.annotations_deny.contains(key)
    }

    fn env(&self, name: &str) -> bool {
        self.0.env_allow.contains(name)
    }

    fn full_values(&self, namespace: &str) -> bool {
        self.0.configmap_full_namespaces.contains(namespace)
    }
}

struct SecretKeys(Arc<Policy>);

impl Keys for SecretKeys {
    fn annotation(&self, key: &str) -> bool {
        self.0.secret_annotations_allow.contains(key)
    }

    fn env(&self, _: &str) -> bool {
        false
    }

    fn full_values(&self, _: &str) -> bool {
        false
    }
}

/// Redacts the objects of one kind.
pub struct Redactor {
    kind: Kind,
    keys: Box<dyn Keys + Send + Sync>,
    head: String,
    top: fn(&str) -> Rule,
}

impl Redactor {
    /// The redactor of `kind` under `policy`.
    pub fn new(kind: Kind, policy: Arc<Policy>) -> Self {
        let top: fn(&str) -> Rule = match (kind.content(), kind.id().as_str()) {
            (Content::Metadata, _) => metadata_only,
            (_, "pods") => pod,
            (_, "deployments" | "statefulsets") => workload,
            (_, "configmaps") => configmap,
            _ => plain,
        };
        let keys: Box<dyn Keys + Send + Sync> = match kind.content() {
            Content::Metadata => Box::new(SecretKeys(policy)),
            Content::Full => Box::new(PlainKeys(policy)),
        };
        let head = head(&kind);
        Self { kind, keys, head, top }
    }

    /// The kind this redacts.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Redacts one object from its JSON text.
    pub fn redact(&self, raw: &str) -> Result<Redacted<Object>, DecodeError> {
        let mut cutter = self.cutter(raw.len());
        let mut de = serde_json::Deserializer::from_str(raw);
        self.cut(&mut cutter)
            .deserialize(&mut de)
            .and_then(|()| de.end())
            .map_err(|e| DecodeError::Json(e.column()))?;
        self.finish(cutter, raw.len())
    }

    /// A buffer for a source of `size` bytes: with [`Redactor::cut`] and [`Redactor::finish`] an object is redacted in the
    /// middle of another document, so that a watch line is read once.
    pub fn cutter(&self, size: usize) -> Cutter<'_> {
        Cutter::new(size, &*self.keys)
    }

    /// The seed that reads an object into the buffer.
    pub fn cut<'c, 'k>(&self, cutter: &'c mut Cutter<'k>) -> Cut<'c, 'k> {
        Cut { cutter, rule: Rule::Object(self.top) }
    }

    /// The redacted object, once it has been read. `size` is the size of its source in bytes.
    pub fn finish(&self, cutter: Cutter<'_>, size: usize) -> Result<Redacted<Object>, DecodeError> {
        let Cutter { mut out, captured, .. } = cutter;
        self.check(&captured)?;
        let mut stub = None;
        if self.kind.content() == Content::Metadata && (captured.forbidden || captured.kind == self.kind.name()) {
            stub = Some(Stub { reason: "full_object_refused", bytes: size });
            out = identity_json(&captured);
        }
        Ok(Redacted(assemble(&self.head, captured, &out, stub)))
    }

    fn check(&self, c: &Captured) -> Result<(), DecodeError> {
        let expected = self.kind.name();
        let partial = self.kind.content() == Content::Metadata && c.kind == "PartialObjectMetadata";
        if !c.kind.is_empty() && c.kind != expected && !partial {
            let got = c.kind.chars().take(64).collect();
            return Err(DecodeError::WrongKind { expected: expected.to_owned(), got });
        }
        for (value, field) in [(&c.name, "name"), (&c.uid, "uid"), (&c.rv, "resourceVersion")] {
            if value.is_empty() {
                return Err(DecodeError::Missing(field));
            }
        }
        Ok(())
    }
}

/// kind and apiVersion are written here and cut from the source: the items of a list carry none.
fn head(kind: &Kind) -> String {
    format!("\"kind\":\"{}\",\"apiVersion\":\"{}\"", kind.name(), kind.api_version())
}

/// The object of a `body` that is `{...}` without kind and apiVersion.
fn assemble(head: &str, c: Captured, body: &[u8], stub: Option<Stub>) -> Object {
    let inner = body.strip_prefix(b"{").unwrap_or(body);
    let mut json = Vec::with_capacity(inner.len() + head.len() + 2);
    json.push(b'{');
    json.extend_from_slice(head.as_bytes());
    if inner != b"}" {
        json.push(b',');
    }
    json.extend_from_slice(inner);
    Object {
        namespace: c.namespace.into(),
        name: c.name.into(),
        uid: c.uid.into(),
        rv: Rv::new(&c.rv),
        manager: c.manager,
        stub,
        json: json.into(),
    }
}

/// The object that stands for one that may not be shown: its identity.
fn identity_json(c: &Captured) -> Vec<u8> {
    let mut out = b"{\"metadata\":{".to_vec();
    let all = [("name", &c.name), ("namespace", &c.namespace), ("uid", &c.uid), ("resourceVersion", &c.rv)];
    // A cluster-scoped object has no namespace, not an empty one.
    for (i, (key, value)) in all.into_iter().filter(|(_, value)| !value.is_empty()).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        super::cut::write_string(&mut out, key);
        out.push(b':');
        super::cut::write_string(&mut out, value);
    }
    out.extend_from_slice(b"}}");
    out
}

/// The same object reduced to its identity, because it is too large for the log.
pub fn too_large(object: &Redacted<Object>, kind: &Kind) -> Redacted<Object> {
    let object = object.get();
    let stub = Stub { reason: "too_large", bytes: object.json.len() };
    let identity = Identity { namespace: &object.namespace, name: &object.name, uid: &object.uid, rv: &object.rv };
    let mut reduced = from_identity(kind, &identity, Some(stub));
    reduced.manager = object.manager.clone();
    Redacted(reduced)
}

/// An object that cannot be read, represented by its identity.
pub fn stub(kind: &Kind, identity: &Identity<'_>, stub: Stub) -> Redacted<Object> {
    Redacted(from_identity(kind, identity, Some(stub)))
}

/// What identifies a version of an object.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// uid.
    pub uid: &'a str,
    /// resourceVersion.
    pub rv: &'a Rv,
}

/// The last known state of an object: `json` as it was read back from our own log or is still in our own lane (redacted
/// before it went there), or the identity alone where it is not at hand.
pub fn last_known(kind: &Kind, identity: &Identity<'_>, json: Option<Bytes>) -> Redacted<Object> {
    let mut object = from_identity(kind, identity, None);
    if let Some(json) = json {
        object.json = json;
    }
    Redacted(object)
}

fn from_identity(kind: &Kind, identity: &Identity<'_>, stub: Option<Stub>) -> Object {
    let captured = Captured {
        name: identity.name.to_owned(),
        namespace: identity.namespace.to_owned(),
        uid: identity.uid.to_owned(),
        rv: identity.rv.as_str().to_owned(),
        ..Captured::default()
    };
    let body = identity_json(&captured);
    assemble(&head(kind), captured, &body, stub)
}

fn plain(key: &str) -> Rule {
    match key {
        "kind" => Rule::CaptureDrop(Field::Kind),
        "apiVersion" => Rule::Drop,
        "metadata" => Rule::Metadata,
        _ => Rule::Keep,
    }
}

fn metadata_only(key: &str) -> Rule {
    match key {
        "metadata" => Rule::MetadataOnly,
        "kind" | "apiVersion" => plain(key),
        _ => Rule::Forbidden,
    }
}

fn configmap(key: &str) -> Rule {
    match key {
        "data" => Rule::Values(false),
        "binaryData" => Rule::Values(true),
        _ => plain(key),
    }
}

fn pod(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(pod_spec),
        _ => plain(key),
    }
}

fn workload(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(|key| match key {
            "template" => Rule::Object(|key| match key {
                "spec" => Rule::Object(pod_spec),
                "metadata" => Rule::Object(|key| if key == "annotations" { Rule::Annotations } else { Rule::Keep }),
                _ => Rule::Keep,
            }),
            _ => Rule::Keep,
        }),
        _ => plain(key),
    }
}

fn pod_spec(key: &str) -> Rule {
    match key {
        "containers" | "initContainers" | "ephemeralContainers" => Rule::Array(&Rule::Object(container)),
        _ => Rule::Keep,
    }
}

fn container(key: &str) -> Rule {
    match key {
        "env" => Rule::Array(&Rule::EnvVar),
        _ => Rule::Keep,
    }
}

#[cfg(test)]
mod tests;
