//! Cuts members out of a JSON document in one pass, without building it: what stays is copied byte for byte.
//!
//! A [`Rule`] tree says what happens to each member. Numbers, escapes and member order of kept values are those of the
//! source, so an object in the log reads exactly as the API server wrote it. (Only the keys and strings that a rule had to
//! look at are written anew, with the escapes they need.) A value of another shape than its rule
//! expects is replaced, never passed on: a rule fails closed.

mod managers;
#[cfg(test)]
mod tests;

use managers::{Entry, Lenient};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What is written in the place of a value that must not leave.
pub const REDACTED: &str = "\"[redacted]\"";

/// What happens to a value.
#[derive(Clone, Copy)]
pub enum Rule {
    /// Copied as it stands.
    Keep,
    /// Left out, its key too.
    Drop,
    /// Replaced by [`REDACTED`]; null stays null.
    Redact,
    /// A string replaced by its size: `"[redacted: 12 bytes]"`.
    Size,
    /// As [`Rule::Size`] for a base64 string: the note itself is base64, so that typed readers still decode it.
    SizeBase64,
    /// An object: the function gives the rule of each member by its key.
    Object(fn(&str) -> Rule),
    /// An object whose member rules come from a list that is known only at run time (settings): see [`Cutter::keys`].
    Annotations,
    /// An array: the rule of every element.
    Array(&'static Rule),
    /// An environment variable `{name, value, valueFrom}`: the value stays only if the name is allowed.
    EnvVar,
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
    /// Whether the literal value of that environment variable stays.
    fn env(&self, name: &str) -> bool;
    /// Whether [`Rule::Values`] keeps the values of objects in that namespace.
    fn full_values(&self, namespace: &str) -> bool;
}

/// One cut: the output buffer and what was remembered.
pub struct Cutter<'k> {
    /// What stays, as JSON.
    pub out: Vec<u8>,
    /// What was remembered.
    pub captured: Captured,
    keys: &'k dyn Keys,
}

impl<'k> Cutter<'k> {
    /// Cuts into an empty buffer of that capacity.
    pub fn new(capacity: usize, keys: &'k dyn Keys) -> Self {
        Self { out: Vec::with_capacity(capacity), captured: Captured::default(), keys }
    }

    fn key(&mut self, first: &mut bool, key: &str) {
        if !std::mem::replace(first, false) {
            self.out.push(b',');
        }
        write_string(&mut self.out, key);
        self.out.push(b':');
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

/// Applies a rule to the next value of a deserializer. Gives whether anything was written.
pub struct Cut<'c, 'k> {
    /// Where it goes.
    pub cutter: &'c mut Cutter<'k>,
    /// What to do.
    pub rule: Rule,
}

impl<'de> DeserializeSeed<'de> for Cut<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        match self.rule {
            Rule::Keep => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(d)?;
                self.cutter.out.extend_from_slice(raw.get().as_bytes());
                Ok(())
            }
            Rule::Drop | Rule::Forbidden => {
                if matches!(self.rule, Rule::Forbidden) {
                    self.cutter.captured.forbidden = true;
                }
                d.deserialize_ignored_any(IgnoredAny).map(drop)
            }
            _ => d.deserialize_any(self),
        }
    }
}

impl Cut<'_, '_> {
    fn replace(self) {
        self.cutter.out.extend_from_slice(REDACTED.as_bytes());
    }

    fn capture(&mut self, field: Field, text: &str) {
        let c = &mut self.cutter.captured;
        let slot = match field {
            Field::Name => &mut c.name,
            Field::Namespace => &mut c.namespace,
            Field::Uid => &mut c.uid,
            Field::ResourceVersion => &mut c.rv,
            Field::Kind => &mut c.kind,
        };
        text.clone_into(slot);
    }

    fn object<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        rule_of: &dyn Fn(&Cutter<'_>, &str) -> Rule,
    ) -> Result<(), A::Error> {
        let cutter = self.cutter;
        cutter.out.push(b'{');
        let mut first = true;
        while let Some(CowStr(key)) = map.next_key()? {
            let rule = rule_of(cutter, &key);
            if !matches!(rule, Rule::Drop | Rule::Forbidden | Rule::CaptureDrop(_) | Rule::Managers) {
                cutter.key(&mut first, &key);
            }
            map.next_value_seed(Cut { cutter, rule })?;
        }
        cutter.out.push(b'}');
        Ok(())
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

impl<'de> Visitor<'de> for Cut<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.rule {
            Rule::Object(rule_of) => self.object(map, &|_, key| rule_of(key)),
            Rule::Metadata => self.object(map, &|_, key| metadata_rule(key)),
            Rule::MetadataOnly => self.object(map, &|_, key| metadata_only_rule(key)),
            Rule::Annotations => {
                self.object(map, &|cutter, key| if cutter.keys.annotation(key) { Rule::Keep } else { Rule::Drop })
            }
            Rule::Values(base64) => {
                // `metadata` precedes `data` in everything an API server writes; where it does not, sizes are cut in.
                let namespace = &self.cutter.captured.namespace;
                let full = !namespace.is_empty() && self.cutter.keys.full_values(namespace);
                self.object(map, &|_, _| match (full, base64) {
                    (true, _) => Rule::Keep,
                    (false, true) => Rule::SizeBase64,
                    (false, false) => Rule::Size,
                })
            }
            Rule::EnvVar => {
                // `name` precedes `value` in everything an API server writes; where it does not, the value is redacted.
                let cutter = self.cutter;
                cutter.out.push(b'{');
                let (mut first, mut allowed) = (true, false);
                while let Some(CowStr(key)) = map.next_key()? {
                    cutter.key(&mut first, &key);
                    if key == "name" {
                        let raw: &RawValue = map.next_value()?;
                        let name = serde_json::from_str::<CowStr<'_>>(raw.get());
                        allowed = name.as_ref().is_ok_and(|name| cutter.keys.env(&name.0));
                        let kept = if name.is_ok() { raw.get() } else { REDACTED };
                        cutter.out.extend_from_slice(kept.as_bytes());
                    } else {
                        let rule = if allowed || key == "valueFrom" { Rule::Keep } else { Rule::Redact };
                        map.next_value_seed(Cut { cutter, rule })?;
                    }
                }
                cutter.out.push(b'}');
                Ok(())
            }
            rule => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                if !matches!(rule, Rule::Managers | Rule::CaptureDrop(_)) {
                    self.replace();
                }
                Ok(())
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match self.rule {
            Rule::Array(rule) => {
                let cutter = self.cutter;
                cutter.out.push(b'[');
                let start = cutter.out.len();
                loop {
                    let before = cutter.out.len();
                    if before > start {
                        cutter.out.push(b',');
                    }
                    if seq.next_element_seed(Cut { cutter, rule: *rule })?.is_none() {
                        cutter.out.truncate(before);
                        break;
                    }
                }
                cutter.out.push(b']');
                Ok(())
            }
            Rule::Managers => {
                while let Some(Lenient(entry)) = seq.next_element::<Lenient<Entry<'_>>>()? {
                    let newest = self.cutter.captured.manager.as_ref();
                    // RFC 3339 in UTC to the second, so text order is time order; of equals the later entry wins.
                    if newest.is_none_or(|m| *entry.time >= *m.time) {
                        self.cutter.captured.manager = Some(Manager {
                            manager: entry.manager.into_owned(),
                            operation: entry.operation.into_owned(),
                            time: entry.time.into_owned(),
                        });
                    }
                }
                Ok(())
            }
            rule => {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                if !matches!(rule, Rule::CaptureDrop(_)) {
                    self.replace();
                }
                Ok(())
            }
        }
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        match self.rule {
            Rule::Capture(field) => {
                self.capture(field, text);
                write_string(&mut self.cutter.out, text);
            }
            Rule::CaptureDrop(field) => self.capture(field, text),
            Rule::Managers => {}
            Rule::Size => {
                let note = format!("\"[redacted: {} bytes]\"", text.len());
                self.cutter.out.extend_from_slice(note.as_bytes());
            }
            Rule::SizeBase64 => {
                use base64::Engine as _;
                let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
                let bytes = (text.len() / 4 * 3).saturating_sub(padding.min(2));
                let note = base64::engine::general_purpose::STANDARD.encode(format!("[redacted: {bytes} bytes]"));
                write_string(&mut self.cutter.out, &note);
            }
            _ => self.replace(),
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        if !matches!(self.rule, Rule::CaptureDrop(_) | Rule::Managers) {
            self.cutter.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }
}

impl Cut<'_, '_> {
    fn scalar<E>(self) -> Result<(), E> {
        if !matches!(self.rule, Rule::CaptureDrop(_) | Rule::Managers) {
            self.replace();
        }
        Ok(())
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
