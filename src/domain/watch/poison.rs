//! What cannot be read as it should be: who it is, as far as that can be made out, and what is done about it in a list. Every
//! field is read for itself, so that a wrong type in one does not hide the others.

use super::line::wire_of;
use super::{Commit, Lent, Notice, State, Step, WatchCore};
use crate::domain::index::{ListContext, Note, Wire};
use crate::domain::redact::{self, Stub};
use crate::domain::rv::Rv;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Who an object is, read leniently. Empty where it cannot be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) rv: Rv,
    /// What it says that it is; metadata alone does not say of what.
    pub(super) kind: String,
}

impl Identity {
    pub(super) fn borrowed(&self) -> redact::Identity<'_> {
        redact::Identity { namespace: &self.namespace, name: &self.name, uid: &self.uid, rv: &self.rv }
    }

    /// Whether a stub can be written for it.
    pub(super) fn is_whole(&self) -> bool {
        !self.name.is_empty() && !self.uid.is_empty() && self.rv.is_numeric()
    }
}

#[derive(Deserialize, Default)]
struct Object<'a> {
    #[serde(borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    namespace: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uid: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resource_version: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    r#type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
}

/// Text of a string, or of a number; nothing else names anything. Short: it goes into keys.
fn text(raw: Option<&RawValue>) -> String {
    let Some(raw) = raw.map(RawValue::get) else { return String::new() };
    let text = match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw).unwrap_or_default(),
        Some(b'0'..=b'9') => raw.to_owned(),
        _ => String::new(),
    };
    let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if is_name { text } else { String::new() }
}

/// Who the object is.
pub(super) fn identity(raw: &str) -> Identity {
    let object: Object<'_> = serde_json::from_str(raw).unwrap_or_default();
    let metadata = object.metadata.and_then(|raw| serde_json::from_str::<Metadata<'_>>(raw.get()).ok());
    let m = metadata.unwrap_or_default();
    Identity {
        namespace: text(m.namespace),
        name: text(m.name),
        uid: text(m.uid),
        rv: Rv::new(&text(m.resource_version)),
        kind: text(object.kind),
    }
}

/// What happened to whom, of a watch line.
pub(super) fn event(line: &str) -> Option<(Wire, Identity)> {
    let event: Event<'_> = serde_json::from_str(line).ok()?;
    let wire = wire_of(&text(event.r#type))?;
    Some((wire, identity(event.object?.get())))
}

impl WatchCore {
    /// A stub for an item that cannot be read, if it can be told who it is.
    pub(super) fn stand_in(
        &mut self,
        who: &Identity,
        reason: &'static str,
        bytes: usize,
        list: &ListContext,
        lent: Lent<'_>,
    ) -> Step {
        let out_of_scope = self.scope.as_deref().is_some_and(|ns| ns != who.namespace);
        if who.is_whole() && who.rv > list.rv {
            return self.lied_in_list("version_ahead_of_list", Some(who.uid.as_str().into()), lent);
        }
        if who.is_whole() && !out_of_scope {
            let object = redact::stub(self.kind(), &who.borrowed(), Stub { reason, bytes });
            if let State::Listing(l) = &mut self.state
                && let Some(digest) = &mut l.page
            {
                digest.uids.insert(object.get().uid.clone());
            }
            return self.listed(object, list, lent);
        }
        if let State::Listing(l) = &mut self.state {
            match (&mut l.page, &l.metadata) {
                (Some(digest), None) => digest.unidentified += 1,
                _ => l.partial = true,
            }
        }
        // It is there, whatever it is: not to be taken for deleted.
        let notes = vec![Note::Seen(who.uid.as_str().into(), lent.env.wall_ms)];
        Step::Commit(Commit { notes, ..Commit::default() })
    }

    /// Something that cannot be true stands in a list: not taken, and nothing is concluded from what is missing.
    pub(super) fn lied_in_list(&mut self, what: &'static str, uid: Option<Arc<str>>, lent: Lent<'_>) -> Step {
        self.notices.push(Notice::Lie(what));
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        l.partial = true;
        let to = l.rv.clone();
        let declared = std::mem::replace(&mut l.lied, true);
        let records = if declared { Vec::new() } else { self.gap("server_lied", to, true, lent) };
        let notes = uid.map(|uid| Note::Seen(uid, lent.env.wall_ms)).into_iter().collect();
        Step::Commit(Commit { records, notes, ..Commit::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_read_for_itself_and_numbers_are_names_too() {
        let raw =
            r#"{"spec":1,"metadata":{"name":7,"namespace":"n","uid":["x"],"resourceVersion":12,"labels":"wrong"}}"#;
        let found = identity(raw);
        assert_eq!((found.name.as_str(), found.namespace.as_str(), found.uid.as_str()), ("7", "n", ""));
        assert_eq!(found.rv, Rv::new("12"));
        assert!(!found.is_whole());
        assert!(identity(&raw.replace(r#"["x"]"#, r#""u1""#)).is_whole());
    }

    #[test]
    fn what_names_nothing_gives_nothing() {
        for raw in ["", "[]", "null", "{}", r#"{"metadata":[]}"#, r#"{"metadata":{"name":"a/b","uid":"\u0000"}}"#] {
            assert_eq!(identity(raw), Identity::default(), "{raw}");
        }
        assert!(event("{}").is_none() && event(r#"{"type":"BOOKMARK","object":{}}"#).is_none());
    }
}
