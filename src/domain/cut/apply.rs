//! Applies a [`Rule`] to the next value of a deserializer: what stays is copied, what goes is replaced or left out.

use super::managers::{Entry, Lenient};
use super::members::{annotation_rule, deep_rule, has_deep_members, has_driver_members, has_messages};
use super::notes::{REDACTED, is_note, note_of_size, replaced};
use super::{
    CowStr, Cutter, Field, Manager, NOWHERE, Place, Rule, metadata_only_rule, metadata_rule, scrub, write_string,
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// As deep as serde_json itself goes.
const DEPTH_MAX: usize = 100;
/// Longest annotation, in bytes, that is taken for something else than a document.
const LONGEST_REMARK: usize = 256;

/// Applies a rule to the next value of a deserializer.
pub struct Cut<'c, 'k> {
    /// Where it goes.
    pub cutter: &'c mut Cutter<'k>,
    /// What to do.
    pub rule: Rule,
    /// Where it stands in the rules of the settings.
    pub at: Place,
}

impl<'de> DeserializeSeed<'de> for Cut<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, d: D) -> Result<(), D::Error> {
        if self.at != NOWHERE {
            self.obey_settings();
        }
        match self.rule {
            Rule::Keep => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(d)?;
                self.cutter.out.extend_from_slice(raw.get().as_bytes());
                Ok(())
            }
            Rule::Drop | Rule::Forbidden => {
                self.cutter.captured.forbidden |= matches!(self.rule, Rule::Forbidden);
                d.deserialize_ignored_any(IgnoredAny).map(drop)
            }
            // The first of them is read apart, so that what nests too deeply goes alone and not the whole object.
            Rule::Mask | Rule::Sized if self.cutter.depth == 0 => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(d)?;
                self.read_apart(raw.get());
                Ok(())
            }
            Rule::Walk
            | Rule::Deep
            | Rule::AnyEnv
            | Rule::AnyText
            | Rule::Messages(_)
            | Rule::Volumes(_)
            | Rule::Scalar
            | Rule::Text
            | Rule::NoDocument => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(d)?;
                self.raw(raw.get());
                Ok(())
            }
            _ => d.deserialize_any(self),
        }
    }
}

impl Cut<'_, '_> {
    /// What a person wrote goes before the default of the kind, never before the rules that stand for every kind.
    fn obey_settings(&mut self) {
        let verdict = self.cutter.keys.verdict(self.at);
        if matches!(self.rule, Rule::Drop | Rule::Forbidden | Rule::Managers | Rule::Capture(_) | Rule::CaptureDrop(_))
        {
            self.at = NOWHERE;
        } else if verdict.redact {
            (self.rule, self.at) = (Rule::Redact, NOWHERE);
        } else {
            let by_default = matches!(
                self.rule,
                Rule::Mask
                    | Rule::Sized
                    | Rule::Scalar
                    | Rule::Size
                    | Rule::SizeBase64
                    | Rule::Values(_)
                    | Rule::NoDocument
            );
            if verdict.keep && by_default {
                self.rule = Rule::Keep;
            }
            if !verdict.below {
                self.at = NOWHERE;
            } else if matches!(self.rule, Rule::Keep) {
                self.rule = Rule::Walk;
            }
        }
    }

    /// A value whose bytes are wanted as they stand in case it is kept.
    fn raw(mut self, raw: &str) {
        let is_container = raw.starts_with(['{', '[']);
        match self.rule {
            Rule::Text if raw == "null" => return self.cutter.out.extend_from_slice(b"null"),
            Rule::Text if !raw.starts_with('"') => return self.replace(),
            Rule::Text => return self.text(raw),
            Rule::AnyText if raw.starts_with('"') => return self.text(raw),
            Rule::AnyText if is_container => {
                self.rule = Rule::Deep;
                return self.raw(raw);
            }
            Rule::Messages(rule) => {
                let opens = if matches!(rule, Rule::Array(_)) { '[' } else { '{' };
                if self.at == NOWHERE && raw.starts_with(opens) && !has_messages(raw) {
                    return self.cutter.out.extend_from_slice(raw.as_bytes());
                }
                self.rule = *rule;
            }
            Rule::Volumes(_) if self.at == NOWHERE && raw.starts_with('[') && !has_driver_members(raw) => {
                return self.cutter.out.extend_from_slice(raw.as_bytes());
            }
            Rule::Volumes(rule) => self.rule = *rule,
            Rule::Deep if is_container && (self.at != NOWHERE || has_deep_members(raw)) => {}
            Rule::Walk if is_container => {}
            Rule::AnyEnv if raw.starts_with('[') => self.rule = Rule::Array(&Rule::EnvVar),
            Rule::AnyEnv if raw.starts_with('{') => self.rule = Rule::Mask,
            Rule::Scalar | Rule::NoDocument if is_container => self.rule = Rule::Mask,
            Rule::NoDocument if is_document(raw) => self.rule = Rule::Mask,
            _ => return self.cutter.out.extend_from_slice(raw.as_bytes()),
        }
        self.read_apart(raw);
    }

    fn read_apart(self, raw: &str) {
        // `raw` was read as JSON a moment ago, so only its depth can be wrong: what nests deeper than any document that
        // people write goes as a whole.
        let Self { cutter, rule, at } = self;
        let begin = cutter.out.len();
        cutter.depth += 1;
        let read = |cutter: &mut Cutter<'_>| {
            let mut de = serde_json::Deserializer::from_str(raw);
            de.deserialize_any(Cut { cutter, rule, at }).is_ok()
        };
        if cutter.depth > DEPTH_MAX || !read(cutter) {
            cutter.out.truncate(begin);
            cutter.out.extend_from_slice(REDACTED.as_bytes());
        }
        cutter.depth -= 1;
    }

    /// A JSON string that is kept without what looks like a credential: byte for byte where there is nothing.
    fn text(self, raw: &str) {
        let bare = raw.trim_matches('"');
        let text = if raw.len() == bare.len() + 2 && !bare.contains('\\') {
            Cow::Borrowed(bare)
        } else {
            serde_json::from_str::<CowStr<'_>>(raw).map_or(Cow::Borrowed(""), |text| text.0)
        };
        match scrub::scrub(&text) {
            _ if !self.cutter.keys.scrubs() => self.cutter.out.extend_from_slice(raw.as_bytes()),
            Cow::Borrowed(same) if same == text => self.cutter.out.extend_from_slice(raw.as_bytes()),
            scrubbed => write_string(&mut self.cutter.out, &scrubbed),
        }
    }

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
        let Self { cutter, at, .. } = self;
        cutter.out.push(b'{');
        let mut first = true;
        while let Some(CowStr(key)) = map.next_key()? {
            let rule = rule_of(cutter, &key);
            if !matches!(rule, Rule::Drop | Rule::Forbidden | Rule::CaptureDrop(_) | Rule::Managers) {
                cutter.key(&mut first, &key);
            }
            let at = cutter.step(at, &key);
            map.next_value_seed(Cut { cutter, rule, at })?;
        }
        cutter.out.push(b'}');
        Ok(())
    }

    fn array<'de, A: SeqAccess<'de>>(self, mut seq: A, rule: Rule) -> Result<(), A::Error> {
        let Self { cutter, at, .. } = self;
        cutter.out.push(b'[');
        let start = cutter.out.len();
        for index in 0_usize.. {
            let before = cutter.out.len();
            if before > start {
                cutter.out.push(b',');
            }
            let at = if at == NOWHERE { NOWHERE } else { cutter.step(at, &index.to_string()) };
            if seq.next_element_seed(Cut { cutter, rule, at })?.is_none() {
                cutter.out.truncate(before);
                break;
            }
        }
        cutter.out.push(b']');
        Ok(())
    }

    fn arguments<'de, A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { cutter, at, .. } = self;
        cutter.out.push(b'[');
        let (mut first, mut arguments) = (true, scrub::Arguments::default());
        let mut index = 0_usize;
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            if !std::mem::replace(&mut first, false) {
                cutter.out.push(b',');
            }
            let place = if at == NOWHERE { NOWHERE } else { cutter.step(at, &index.to_string()) };
            index += 1;
            let text =
                serde_json::from_str::<CowStr<'_>>(raw.get()).ok().filter(|_| !cutter.keys.verdict(place).redact);
            let Some(CowStr(text)) = text else {
                cutter.out.extend_from_slice(REDACTED.as_bytes());
                continue;
            };
            let scrubbed = arguments.scrub(&text);
            if *scrubbed == *text || !cutter.keys.scrubs() {
                cutter.out.extend_from_slice(raw.get().as_bytes());
            } else {
                write_string(&mut cutter.out, &scrubbed);
            }
        }
        cutter.out.push(b']');
        Ok(())
    }

    fn env_var<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // `name` precedes `value` in everything an API server writes; where it does not, the value is redacted.
        let Self { cutter, at, .. } = self;
        cutter.out.push(b'{');
        let (mut first, mut allowed) = (true, false);
        while let Some(CowStr(key)) = map.next_key()? {
            cutter.key(&mut first, &key);
            let at = cutter.step(at, &key);
            if key == "name" {
                let raw: &RawValue = map.next_value()?;
                let name = serde_json::from_str::<CowStr<'_>>(raw.get());
                allowed = name.as_ref().is_ok_and(|name| cutter.keys.env(&name.0));
                let kept = name.is_ok() && !cutter.keys.verdict(at).redact;
                cutter.out.extend_from_slice(if kept { raw.get() } else { REDACTED }.as_bytes());
            } else {
                let rule = if allowed || key == "valueFrom" { Rule::Keep } else { Rule::Redact };
                map.next_value_seed(Cut { cutter, rule, at })?;
            }
        }
        cutter.out.push(b'}');
        Ok(())
    }
}

/// Whether a JSON string may hold a document: a JSON object or array, quoted any number of times, whole or not; more than one
/// line; or more than a remark is long, for it may be packed or encoded.
fn is_document(raw: &str) -> bool {
    let Ok(CowStr(text)) = serde_json::from_str::<CowStr<'_>>(raw) else { return false };
    if text.len() > LONGEST_REMARK || text.contains('\n') {
        return true;
    }
    text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | '\u{FEFF}')).starts_with(['{', '['])
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
            Rule::Annotations => self.object(map, &|cutter, key| annotation_rule(cutter, key)),
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
            rule @ (Rule::Mask | Rule::Sized) => self.object(map, &|_, _| rule),
            Rule::Walk => self.object(map, &|_, _| Rule::Keep),
            Rule::Deep => self.object(map, &|_, key| deep_rule(key)),
            Rule::EnvVar => self.env_var(map),
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
            Rule::Array(rule) => self.array(seq, *rule),
            rule @ (Rule::Mask | Rule::Sized | Rule::Deep) => self.array(seq, rule),
            Rule::Walk => self.array(seq, Rule::Keep),
            Rule::Arguments => self.arguments(seq),
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
        let keys = self.cutter.keys;
        match self.rule {
            Rule::Capture(field) => {
                self.capture(field, text);
                write_string(&mut self.cutter.out, text);
            }
            Rule::CaptureDrop(field) => self.capture(field, text),
            Rule::Managers => {}
            Rule::Size | Rule::Sized => {
                let note = is_note(text, keys).then(|| text.to_owned());
                write_string(&mut self.cutter.out, &note.unwrap_or_else(|| note_of_size(text.len(), text, keys)));
            }
            Rule::SizeBase64 => {
                use base64::Engine as _;
                let base64 = &base64::engine::general_purpose::STANDARD;
                // A note is short; a longer text is not worth decoding.
                // What has the wrong shape is replaced by a plain note.
                let is_ours = is_note(text, keys)
                    || text.len() < 256
                        && base64.decode(text).is_ok_and(|t| std::str::from_utf8(&t).is_ok_and(|t| is_note(t, keys)));
                if is_ours {
                    write_string(&mut self.cutter.out, text);
                } else {
                    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
                    let bytes = (text.len() / 4 * 3).saturating_sub(padding.min(2));
                    write_string(&mut self.cutter.out, &base64.encode(note_of_size(bytes, text, keys)));
                }
            }
            Rule::Redact | Rule::Mask if is_note(text, keys) => write_string(&mut self.cutter.out, text),
            Rule::Redact | Rule::Mask => replaced(&mut self.cutter.out, "", text.as_bytes(), keys),
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

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar("boolean", &value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar("number", &value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar("number", &value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar("number", &value)
    }
}

impl Cut<'_, '_> {
    fn scalar<E>(self, kind: &str, value: &dyn fmt::Display) -> Result<(), E> {
        let (out, keys) = (&mut self.cutter.out, self.cutter.keys);
        match self.rule {
            Rule::CaptureDrop(_) | Rule::Managers => {}
            Rule::Sized => replaced(out, kind, value.to_string().as_bytes(), keys),
            Rule::Redact | Rule::Mask if keys.key_id().is_some() => {
                replaced(out, "", value.to_string().as_bytes(), keys);
            }
            _ => self.replace(),
        }
        Ok(())
    }
}
