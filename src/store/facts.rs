//! What can be asked about an object without unpacking it: labels, owners and the fields of field selectors, read once
//! when its record is applied.
//!
//! Objects of any kind come by, so nothing is expected of their shape: what is not as Kubernetes has it is not there.

use crate::domain::index::Name;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What sort of fact a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    /// A label.
    Label,
    /// A field; its key is one of [`crate::domain::selector::FIELDS`].
    Field,
    /// An owner; its value is the owner's uid, its key is empty.
    Owner,
}

impl Space {
    /// What stands for it in a saved fold.
    pub(super) fn letter(self) -> u8 {
        match self {
            Self::Label => b'l',
            Self::Field => b'f',
            Self::Owner => b'o',
        }
    }

    pub(super) fn of(letter: u8) -> Option<Self> {
        [Self::Label, Self::Field, Self::Owner].into_iter().find(|space| space.letter() == letter)
    }
}

/// One fact. Each is in memory once per kind: the index hands out the same `Arc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) space: Space,
    pub(super) key: Box<str>,
    pub(super) value: Box<str>,
}

impl Tag {
    pub(super) fn new(space: Space, key: &str, value: &str) -> Self {
        Self { space, key: key.into(), value: value.into() }
    }

    fn order(&self) -> (Space, &str, &str) {
        (self.space, &self.key, &self.value)
    }
}

/// All facts of one version of an object. Versions with the same facts share them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts(Box<[Arc<Tag>]>);

impl Facts {
    /// Takes tags in their order, each once.
    pub(super) fn new(tags: Box<[Arc<Tag>]>) -> Self {
        debug_assert!(tags.is_sorted_by(|a, b| a < b));
        Self(tags)
    }

    pub(super) fn tags(&self) -> &[Arc<Tag>] {
        &self.0
    }

    /// Whether these are the facts that were found.
    pub(super) fn are(&self, found: &[Found<'_>]) -> bool {
        self.0.len() == found.len() && self.0.iter().zip(found).all(|(tag, found)| tag.order() == found.order())
    }

    fn space(&self, space: Space) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(move |t| t.space == space).map(|t| (&*t.key, &*t.value))
    }

    fn find(&self, space: Space, key: &str) -> Option<&str> {
        let place = self.0.partition_point(|t| (t.space, &*t.key) < (space, key));
        self.0.get(place).filter(|t| t.space == space && &*t.key == key).map(|t| &*t.value)
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.find(Space::Label, key)
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.space(Space::Label)
    }

    pub(super) fn field<'a>(&'a self, at: &'a Name, field: &str) -> Option<&'a str> {
        match field {
            "metadata.name" => Some(&at.name),
            "metadata.namespace" => Some(&at.namespace),
            _ => self.find(Space::Field, field),
        }
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.space(Space::Owner).map(|(_, uid)| uid)
    }
}

/// A fact as it stands in the bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found<'de> {
    pub(super) space: Space,
    pub(super) key: Cow<'de, str>,
    pub(super) value: Cow<'de, str>,
}

impl Found<'_> {
    fn order(&self) -> (Space, &str, &str) {
        (self.space, &self.key, &self.value)
    }

    pub(super) fn tag(&self) -> Tag {
        Tag::new(self.space, &self.key, &self.value)
    }
}

/// Reads the facts out of an object's JSON, in the order of tags; a key that stands twice counts once.
pub(super) fn read(json: &str) -> Vec<Found<'_>> {
    let mut found = Vec::with_capacity(16);
    // What was found before an error still counts. The envelope around it was parsed, so there is none.
    drop(Walk { place: Place::Root, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_str(json)));
    found.sort_unstable();
    // Two owners may share a key (it is empty), never a uid; of a label that stands twice, one value is as good as another.
    found.dedup_by(|a, b| (a.space, &a.key) == (b.space, &b.key) && (a.space != Space::Owner || a.value == b.value));
    found
}

/// Where in the object we are.
enum Place<'de> {
    Root,
    Metadata,
    Labels,
    Owners,
    Owner,
    Spec,
    Status,
    Involved,
    Text(Space, Cow<'de, str>),
}

impl<'de> Place<'de> {
    fn member(&self, key: Cow<'de, str>) -> Option<Self> {
        let field = |name: &'static str| Some(Place::Text(Space::Field, Cow::Borrowed(name)));
        match (self, &*key) {
            (Place::Root, "metadata") => Some(Place::Metadata),
            (Place::Root, "spec") => Some(Place::Spec),
            (Place::Root, "status") => Some(Place::Status),
            (Place::Root, "involvedObject") => Some(Place::Involved),
            (Place::Root, "reason") => field("reason"),
            (Place::Root, "type") => field("type"),
            (Place::Metadata, "labels") => Some(Place::Labels),
            (Place::Metadata, "ownerReferences") => Some(Place::Owners),
            (Place::Owner, "uid") => Some(Place::Text(Space::Owner, Cow::Borrowed(""))),
            (Place::Spec, "nodeName") => field("spec.nodeName"),
            (Place::Status, "phase") => field("status.phase"),
            (Place::Involved, "fieldPath") => field("involvedObject.fieldPath"),
            (Place::Involved, "kind") => field("involvedObject.kind"),
            (Place::Involved, "name") => field("involvedObject.name"),
            (Place::Involved, "namespace") => field("involvedObject.namespace"),
            (Place::Involved, "uid") => field("involvedObject.uid"),
            (Place::Labels, _) => Some(Place::Text(Space::Label, key)),
            _ => None,
        }
    }
}

struct Walk<'f, 'de> {
    place: Place<'de>,
    found: &'f mut Vec<Found<'de>>,
}

impl<'de> Walk<'_, 'de> {
    fn text(self, value: Cow<'de, str>) {
        if let Place::Text(space, key) = self.place {
            // An empty field is as good as none; an empty label is a label.
            if space == Space::Label || !value.is_empty() {
                self.found.push(Found { space, key, value });
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(key)) = map.next_key()? {
            match self.place.member(key) {
                Some(place) => map.next_value_seed(Walk { place, found: &mut *self.found })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<(), S::Error> {
        if !matches!(self.place, Place::Owners) {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while seq.next_element_seed(Walk { place: Place::Owner, found: &mut *self.found })?.is_some() {}
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.text(Cow::Borrowed(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text(Cow::Owned(value.to_owned()));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A string, borrowed where no escape stands in it. (serde's own `Cow` never borrows.)
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        Facts::new(read(json).iter().map(|found| Arc::new(found.tag())).collect())
    }

    #[test]
    fn labels_owners_and_fields_are_read_from_the_bytes() {
        let pod = facts(
            r#"{"metadata":{"name":"a","labels":{"tier":"","app":"w\u0065b"},"ownerReferences":[{"uid":"u1"},{"uid":"u2"}]},
               "spec":{"nodeName":"n1","containers":[{"name":"c"}]},"status":{"phase":"Running"}}"#,
        );
        let at = Name { namespace: "ns".into(), name: "a".into() };
        assert_eq!(pod.labels().collect::<Vec<_>>(), [("app", "web"), ("tier", "")]);
        assert_eq!(pod.owners().collect::<Vec<_>>(), ["u1", "u2"]);
        assert_eq!((pod.label("app"), pod.label("tier"), pod.label("x")), (Some("web"), Some(""), None));
        assert_eq!((pod.field(&at, "spec.nodeName"), pod.field(&at, "status.phase")), (Some("n1"), Some("Running")));
        assert_eq!((pod.field(&at, "metadata.name"), pod.field(&at, "metadata.namespace")), (Some("a"), Some("ns")));
        let event =
            facts(r#"{"involvedObject":{"kind":"Pod","name":"a","uid":"u"},"reason":"Failed","type":"Warning"}"#);
        assert_eq!(event.field(&at, "involvedObject.name"), Some("a"));
        assert_eq!((event.field(&at, "reason"), event.field(&at, "involvedObject.namespace")), (Some("Failed"), None));
    }

    #[test]
    fn objects_of_any_shape_are_taken() {
        for json in [
            "null",
            "[1,[2]]",
            r#"{"metadata":[],"spec":"x","status":{"phase":3},"involvedObject":null}"#,
            r#"{"metadata":{"labels":["a"],"ownerReferences":{"uid":"u"}},"spec":[{"nodeName":"n"}],"status":1.5}"#,
            r#"{"metadata":{"labels":{"a":{"b":1},"c":null,"d":true,"e":-1},"ownerReferences":[1,null,{"uid":2}]}}"#,
        ] {
            assert_eq!(facts(json).tags().len(), 0, "{json}");
        }
        assert_eq!(facts(r#"{"metadata":{"labels":{"a":"1","a":"2"}}}"#).tags().len(), 1);
    }
}
