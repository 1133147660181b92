//! Reads the entries of `managedFields`, whatever shape they have.

use super::CowStr;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// An entry of `managedFields`.
#[derive(Default)]
pub(super) struct Entry<'a> {
    pub manager: Cow<'a, str>,
    pub operation: Cow<'a, str>,
    pub time: Cow<'a, str>,
}

/// Takes a value of any shape, and what it expects where it is there. The managers are a courtesy: nothing in them may
/// make an object unreadable, for an unreadable object holds up its whole kind.
pub(super) struct Lenient<T>(pub T);

macro_rules! ignore_scalars {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Lenient(Default::default()))
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Lenient(Default::default()))
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Lenient(Default::default()))
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Lenient(Default::default()))
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Lenient(Default::default()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Lenient(Default::default()))
        }
    };
}

struct EntryVisitor;

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Lenient<Entry<'de>>;

    ignore_scalars!();

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Lenient(Entry::default()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entry = Entry::default();
        while let Some(CowStr(key)) = map.next_key()? {
            match &*key {
                "manager" => entry.manager = map.next_value::<Lenient<Cow<'de, str>>>()?.0,
                "operation" => entry.operation = map.next_value::<Lenient<Cow<'de, str>>>()?.0,
                "time" => entry.time = map.next_value::<Lenient<Cow<'de, str>>>()?.0,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Lenient(entry))
    }
}

impl<'de> serde::Deserialize<'de> for Lenient<Entry<'de>> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(EntryVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Lenient<Cow<'de, str>>;

    ignore_scalars!();

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Lenient(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Lenient(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Lenient(Cow::Borrowed("")))
    }
}

impl<'de> serde::Deserialize<'de> for Lenient<Cow<'de, str>> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TextVisitor)
    }
}
