//! Cuts members out of a JSON document in one pass, without building it: what stays is copied byte for byte.
//!
//! A [`Rule`] tree says what happens to each member. Numbers, escapes and member order of kept values are those of the
//! source (keys and strings that a rule looks at are written anew, with the escapes they need), so an object in the log
//! reads as the API server wrote it. A value of another shape than its rule expects is replaced: a rule fails closed.

mod apply;
mod managers;
mod members;
mod notes;
pub mod scrub;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use apply::Cut;
pub(in crate::domain) use members::{deep_rule, flex_volume};
pub use notes::{HASH_DIGITS, REDACTED};

/// What happens to a value.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Copied as it stands.
    Keep,
    /// Left out, its key too.
    Drop,
    /// Replaced by [`REDACTED`], or of a string by its keyed hash; null stays null.
    Redact,
    /// A string replaced by its size: `"[redacted: 12 bytes]"`.
    Size,
    /// As [`Rule::Size`] for a base64 string: the note itself is base64, so that typed readers still decode it.
    SizeBase64,
    /// Members and elements stay, every scalar below is redacted.
    Mask,
    /// As [`Rule::Mask`], and the type and size of each scalar is said.
    Sized,
    /// A scalar is kept; anything else is masked.
    Scalar,
    /// A text that people read: kept without what looks like a credential.
    Text,
    /// A string, unless it may hold a document: a JSON object or array, more than a line, or more than people remark. That
    /// may be a copy of what is hidden elsewhere, in YAML, packed or encoded.
    NoDocument,
    /// What people write in an unknown document: a string as [`Rule::Text`], anything else as [`Rule::Deep`].
    AnyText,
    /// Kept as a whole where it has no member `message`, else as that rule says.
    Messages(&'static Rule),
    /// The volumes of a pod: kept as a whole where nothing is said to a driver, else as that rule says.
    Volumes(&'static Rule),
    /// The arguments of a command: texts, and a flag may name the next one as its value.
    Arguments,
    /// An object: the function gives the rule of each member by its key.
    Object(fn(&str) -> Rule),
    /// An object whose member rules come from a list that is known only at run time (settings): see [`Keys::annotation`].
    Annotations,
    /// An array: the rule of every element.
    Array(&'static Rule),
    /// An environment variable or HTTP header `{name, value, valueFrom}`: the value stays only if the name is allowed.
    EnvVar,
    /// Kept, but for what looks like a part of a pod template wherever it stands.
    Deep,
    /// What a member called `env` holds in an unknown document: variables in a list, or as a map.
    AnyEnv,
    /// A string that is kept and remembered.
    Capture(Field),
    /// As [`Rule::Capture`], but left out.
    CaptureDrop(Field),
    /// A map of values (`data`): sizes, unless the object's namespace shows full values; `true` for base64 values.
    Values(bool),
    /// `managedFields`: the newest entry's manager, operation and time are remembered, the whole is left out.
    Managers,
    /// `metadata` of an object.
    Metadata,
    /// As [`Rule::Metadata`], but only the members that every object has: what is not known by name goes.
    MetadataOnly,
    /// Left out and noted: must not be there at all.
    Forbidden,
    /// Members and elements are looked at because the settings have a rule below; all others are kept.
    Walk,
}

/// A place in the rules of the settings, which are known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u16);

/// No rule of the settings stands here or below.
pub const NOWHERE: Place = Place(0);

/// What the rules of the settings say of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// It goes.
    pub redact: bool,
    /// It stays, where only the default of its kind would redact it.
    pub keep: bool,
    /// There is a rule below it.
    pub below: bool,
}

/// What a [`Rule::Capture`] remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Field {
    Name,
    Namespace,
    Uid,
    ResourceVersion,
    Kind,
}

/// The newest entry of `managedFields`: which manager wrote last, not which person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manager {
    /// `manager`, e.g. `kubectl-client-side-apply`.
    pub manager: String,
    /// `operation`: Apply or Update.
    pub operation: String,
    /// `time`, RFC 3339.
    pub time: String,
}

/// What was remembered while cutting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// metadata.name
    pub name: String,
    /// metadata.namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// metadata.uid
    pub uid: String,
    /// metadata.resourceVersion
    pub rv: String,
    /// The object's own `kind`; empty in lists of built-in kinds, whose items carry none.
    pub kind: String,
    /// Newest manager, if any was recorded.
    pub manager: Option<Manager>,
    /// A forbidden member was there.
    pub forbidden: bool,
}

/// The run-time part of the rules.
pub trait Keys {
    /// Whether the annotation stays.
    fn annotation(&self, key: &str) -> bool;
    /// Whether an annotation that stays may hold a JSON document.
    fn document(&self, _key: &str) -> bool {
        true
    }
    /// Whether the literal value of that environment variable stays.
    fn env(&self, name: &str) -> bool;
    /// Whether [`Rule::Values`] keeps the values of objects in that namespace.
    fn full_values(&self, namespace: &str) -> bool;
    /// The keyed hash that stands for a value, where there is a key.
    fn hash(&self, _value: &[u8]) -> Option<String> {
        None
    }
    /// The id of the key, where there is one.
    fn key_id(&self) -> Option<&str> {
        None
    }
    /// Whether texts are searched for credentials.
    fn scrubs(&self) -> bool {
        true
    }
    /// What the settings say of the value at a place.
    fn verdict(&self, _at: Place) -> Verdict {
        Verdict::default()
    }
    /// The place of a member or an element (by its index).
    fn step(&self, _at: Place, _key: &str) -> Place {
        NOWHERE
    }
}

/// One cut: the output buffer and what was remembered.
pub struct Cutter<'k> {
    /// What stays, as JSON.
    pub out: Vec<u8>,
    /// What was remembered.
    pub captured: Captured,
    keys: &'k dyn Keys,
    /// Values within values that are read apart from the document around them.
    depth: usize,
}

impl<'k> Cutter<'k> {
    /// Cuts into an empty buffer of that capacity.
    pub fn new(capacity: usize, keys: &'k dyn Keys) -> Self {
        Self { out: Vec::with_capacity(capacity), captured: Captured::default(), keys, depth: 0 }
    }

    fn key(&mut self, first: &mut bool, key: &str) {
        if !std::mem::replace(first, false) {
            self.out.push(b',');
        }
        write_string(&mut self.out, key);
        self.out.push(b':');
    }

    fn step(&self, at: Place, key: &str) -> Place {
        if at == NOWHERE { NOWHERE } else { self.keys.step(at, key) }
    }
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        // Writing into a Vec cannot fail.
        serde_json::to_writer(&mut *out, text).unwrap_or_default();
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

/// Rules inside `metadata`; the same for every kind.
fn metadata_rule(key: &str) -> Rule {
    match key {
        "name" => Rule::Capture(Field::Name),
        "namespace" => Rule::Capture(Field::Namespace),
        "uid" => Rule::Capture(Field::Uid),
        "resourceVersion" => Rule::Capture(Field::ResourceVersion),
        "annotations" => Rule::Annotations,
        "managedFields" => Rule::Managers,
        _ => Rule::Keep,
    }
}

/// Rules inside `metadata` of objects of which nothing else may be shown (Secrets): a list of what stays.
fn metadata_only_rule(key: &str) -> Rule {
    match key {
        "name" | "namespace" | "uid" | "resourceVersion" | "annotations" | "managedFields" => metadata_rule(key),
        "generateName"
        | "generation"
        | "creationTimestamp"
        | "deletionTimestamp"
        | "deletionGracePeriodSeconds"
        | "labels"
        | "ownerReferences"
        | "finalizers" => Rule::Keep,
        _ => Rule::Drop,
    }
}

/// A borrowed string where the source has no escapes, else an owned one.
#[derive(serde::Deserialize)]
pub struct CowStr<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Default for CowStr<'_> {
    fn default() -> Self {
        Self(Cow::Borrowed(""))
    }
}
