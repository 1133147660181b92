//! Fills a value of any type that can be deserialized: every string becomes a canary, whatever the type asks for. So that
//! the types of Kubernetes are filled without naming a single field of theirs.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Every string.
pub const CANARY: &str = "c4n4ry";
/// Every string that must be base64: it decodes to the canary.
pub const CANARY_BASE64: &str = "YzRuNHJ5";
/// Where types end that contain themselves.
const DEPTH: usize = 14;

type Error = serde::de::value::Error;

/// A value whose shape the seed decides.
pub fn filled<T: DeserializeOwned>(seed: u64) -> Result<T, Error> {
    let mut state = seed | 1;
    T::deserialize(Filler { state: &mut state, depth: 0, is_time: false })
}

struct Filler<'s> {
    state: &'s mut u64,
    depth: usize,
    is_time: bool,
}

impl Filler<'_> {
    fn chance(&mut self) -> u64 {
        // xorshift64
        *self.state ^= *self.state << 13;
        *self.state ^= *self.state >> 7;
        *self.state ^= *self.state << 17;
        *self.state
    }

    fn deeper(&mut self) -> Filler<'_> {
        Filler { state: self.state, depth: self.depth + 1, is_time: false }
    }
}

impl<'de> Deserializer<'de> for Filler<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(CANARY)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(CANARY)
    }

    /// Times, and bytes as base64; plain texts ask for an owned string.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(if self.is_time { "2026-01-01T00:00:00Z" } else { CANARY_BASE64 })
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let chance = self.chance();
        visitor.visit_bool(chance.is_multiple_of(2))
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i32(7)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(7)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(1.5)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let absent = self.depth > DEPTH || self.chance().is_multiple_of(16);
        if absent { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let is_time = matches!(name, "Time" | "MicroTime");
        visitor.visit_newtype_struct(Filler { is_time, ..self.deeper() })
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let left = if self.depth > DEPTH { 0 } else { 1 + self.chance() % 2 };
        visitor.visit_seq(Entries { filler: self, fields: &[], left })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let left = if self.depth > DEPTH { 0 } else { 1 + self.chance() % 2 };
        visitor.visit_map(Entries {
            filler: self,
            fields: &["k1", "k2"][..usize::try_from(left).expect("small")],
            left,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Entries { filler: self, fields, left: 0 })
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

struct Entries<'s> {
    filler: Filler<'s>,
    fields: &'static [&'static str],
    left: u64,
}

impl<'de> SeqAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.filler.deeper()).map(Some)
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        // An object of the API insists on its own version and kind; left out they are understood.
        let is_object = ["apiVersion", "kind", "metadata"].iter().all(|f| self.fields.contains(f));
        while let Some((field, rest)) = self.fields.split_first() {
            self.fields = rest;
            if is_object && matches!(*field, "apiVersion" | "kind") {
                // The next look must still know that this is one.
                let more = rest.iter().copied().filter(|f| !matches!(*f, "apiVersion" | "kind")).collect::<Vec<_>>();
                self.fields = Box::leak(more.into_boxed_slice());
                continue;
            }
            return seed.deserialize(StrDeserializer::new(field)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if self.filler.depth > DEPTH * 4 {
            return Err(Error::custom("a type that contains itself without an option"));
        }
        seed.deserialize(self.filler.deeper())
    }
}
