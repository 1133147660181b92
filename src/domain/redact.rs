//! What may leave the cluster of an object, decided before anything else sees it.
//!
//! Only [`Redactor`] makes a [`Redacted`] object and only `Redacted` objects are taken by everything behind it, so that a
//! path that forgets redaction does not compile. Fail closed: what does not have the expected shape is replaced or refused.
//!
//! - Every kind: `managedFields` (after the newest manager was read) and the last-applied family of annotations go.
//! - Secrets, and kinds with policy `metadata`: nothing else is requested; any other member refuses the frame, whose
//!   identity alone is kept.
//! - ConfigMaps: the sizes of values, unless the namespace is listed for full values.
//! - Pods and everything with a pod template: literal environment values and headers go, unless the name is listed;
//!   command lines lose what looks like a credential.
//! - Kinds that nobody has described: metadata, conditions and keys stay, values go.
//!
//! The settings add rules by JSON pointer. docs/REDACTION.md says it for whoever runs this.

mod mac;
mod pointer;
mod policy;
mod standing;

use super::cut::{Captured, Cut, Cutter, Manager, Rule};
use super::kind::Kind;
use super::rv::Rv;
use super::said;
use bytes::Bytes;
use policy::{Compiled, KindKeys};
use serde::de::DeserializeSeed as _;
use std::sync::Arc;

pub use mac::{KEY_BYTES_MIN, MacKey};
pub use policy::{Level, PointerRules, Policy, RuleFault};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Stub {
    /// A word from a closed set: [`HOSTILE`], `too_large`, `undecodable`, `too_long`; `other`, of one that is read back and
    /// says something else.
    pub reason: &'static str,
    /// Size of what was received, in bytes.
    pub bytes: usize,
}

/// The reason of a stub: the server sent a whole object where only metadata was asked for.
pub const HOSTILE: &str = "full_object_refused";

impl Stub {
    /// With the word of the closed set that is written so.
    pub fn read_back(reason: &str, bytes: usize) -> Self {
        let known = [HOSTILE, "too_large", "undecodable", "too_long"];
        Self { reason: known.into_iter().find(|word| *word == reason).unwrap_or("other"), bytes }
    }
}

// By hand: a derived one would want input that lives for ever, for the reason's sake.
impl<'de> serde::Deserialize<'de> for Stub {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Read {
            #[serde(default)]
            reason: String,
            #[serde(default)]
            bytes: usize,
        }
        Read::deserialize(deserializer).map(|Read { reason, bytes }| Self::read_back(&reason, bytes))
    }
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
    /// A rule of the settings cannot be obeyed: nothing of the kind leaves until it is mended.
    #[error("a redaction rule of this kind cannot be obeyed")]
    Rule,
}

/// Redacts the objects of one kind.
pub struct Redactor {
    kind: Kind,
    keys: KindKeys,
    head: String,
    top: fn(&str) -> Rule,
    metadata_only: bool,
    fault: Option<RuleFault>,
}

impl Redactor {
    /// The redactor of `kind` under `policy`. Where a rule of the kind cannot be obeyed, it lets nothing through and
    /// [`Redactor::fault`] says why.
    pub fn new(kind: Kind, policy: Arc<Policy>) -> Self {
        let (compiled, fault) = match policy.compile(&kind) {
            Ok(compiled) => (compiled, None),
            Err(fault) => (Compiled::nothing(policy), Some(fault)),
        };
        let Compiled { top, metadata_only, keys } = compiled;
        Self { head: head(&kind), kind, keys, top, metadata_only, fault }
    }

    /// The same kind reduced to its metadata, whatever its policy: finds out what an object is that cannot be read.
    pub fn identifying(kind: Kind) -> Self {
        let head = head(&kind);
        let Compiled { top, metadata_only, keys } = Compiled::nothing(Arc::default());
        Self { head, kind, keys, top, metadata_only, fault: None }
    }

    /// Whether only `PartialObjectMetadata` is to be requested of this kind. Anything more is refused.
    pub fn metadata_only(&self) -> bool {
        self.metadata_only
    }

    /// Whether values of the kind are hidden unless somebody named them: what a server says of its objects may hold one.
    pub fn hides_values(&self) -> bool {
        self.keys.hides_values()
    }

    /// The rule that cannot be obeyed. As long as there is one nothing of the kind is to be read.
    pub fn fault(&self) -> Option<&RuleFault> {
        self.fault.as_ref()
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
        Cutter::new(size, &self.keys)
    }

    /// The seed that reads an object into the buffer.
    pub fn cut<'c, 'k>(&self, cutter: &'c mut Cutter<'k>) -> Cut<'c, 'k> {
        Cut { cutter, rule: Rule::Object(self.top), at: self.keys.root() }
    }

    /// The redacted object, once it has been read. `size` is the size of its source in bytes.
    pub fn finish(&self, cutter: Cutter<'_>, size: usize) -> Result<Redacted<Object>, DecodeError> {
        let Cutter { mut out, captured, .. } = cutter;
        if self.fault.is_some() {
            return Err(DecodeError::Rule);
        }
        self.check(&captured)?;
        let mut stub = None;
        if self.metadata_only && (captured.forbidden || captured.kind == self.kind.name()) {
            stub = Some(Stub { reason: HOSTILE, bytes: size });
            out = identity_json(&captured);
        }
        Ok(Redacted(assemble(&self.head, captured, &out, stub)))
    }

    fn check(&self, c: &Captured) -> Result<(), DecodeError> {
        let expected = self.kind.name();
        let partial = self.metadata_only && c.kind == "PartialObjectMetadata";
        if !c.kind.is_empty() && c.kind != expected && !partial {
            let got = said::name(&c.kind, self.hides_values());
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
    as_held(kind, identity, json, None)
}

/// The same of what is written again as it stands in the log, where it may be a stub.
pub fn as_held(kind: &Kind, identity: &Identity<'_>, json: Option<Bytes>, stub: Option<Stub>) -> Redacted<Object> {
    let mut object = from_identity(kind, identity, stub);
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

#[cfg(test)]
mod tests;
