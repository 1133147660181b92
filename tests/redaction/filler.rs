//! Fills a value of any type that can be deserialized: every string holds a canary, whatever the type asks for. So that
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
/// Values of an object: a schema contains itself in a dozen fields.
const VALUES: usize = 20_000;

type Error = serde::de::value::Error;

/// A value whose shape the seed decides.
pub fn filled<T: DeserializeOwned>(seed: u64) -> Result<T, Error> {
    let mut state = State { random: seed | 1, left: VALUES };
    T::deserialize(Filler { state: &mut state, depth: 0, is_time: false, is_schema: false })
}

struct State {
    random: u64,
    /// Values that may still be made up.
    left: usize,
}

struct Filler<'s> {
    state: &'s mut State,
    depth: usize,
    is_time: bool,
    /// A schema, where a type takes one among others.
    is_schema: bool,
}

impl Filler<'_> {
    fn chance(&mut self) -> u64 {
        // xorshift64
        let random = &mut self.state.random;
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        self.state.left = self.state.left.saturating_sub(1);
        *random
    }

    fn is_over(&self) -> bool {
        self.depth > DEPTH || self.state.left == 0
    }

    /// A text with a canary in it, as it is or in company.
    fn text(&mut self) -> String {
        match self.chance() % 6 {
            0 => format!("{CANARY} {:x}", self.chance()),
            1 => format!("{:x}/{CANARY}", self.chance()),
            2 => format!("{{\"a\":\"{CANARY}\"}}"),
            _ => CANARY.to_owned(),
        }
    }

    fn deeper(&mut self) -> Filler<'_> {
        Filler { state: self.state, depth: self.depth + 1, is_time: false, is_schema: self.is_schema }
    }
}

impl<'de> Deserializer<'de> for Filler<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.is_schema {
            return visitor.visit_map(Entries {
                filler: self.deeper(),
                fields: &["description", "title"],
                left: 0,
                field: "",
            });
        }
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
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
        let absent = self.is_over() || self.chance().is_multiple_of(16);
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
        let left = if self.is_over() { 0 } else { 1 + self.chance() % 2 };
        visitor.visit_seq(Entries { filler: self, fields: &[], left, field: "" })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let left = if self.is_over() { 0 } else { 1 + self.chance() % 2 };
        visitor.visit_map(Entries {
            filler: self,
            fields: &["k1", "k2"][..usize::try_from(left).expect("small")],
            left,
            field: "",
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Entries { filler: self, fields, left: 0, field: "" })
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier ignored_any
    }
}

struct Entries<'s> {
    filler: Filler<'s>,
    fields: &'static [&'static str],
    left: u64,
    /// The member whose value is next.
    field: &'static str,
}

/// Members that take a schema, or something else in its place.
const SCHEMAS: &[&str] = &["additionalItems", "additionalProperties", "dependencies", "items"];

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
            self.field = field;
            return seed.deserialize(StrDeserializer::new(field)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if self.filler.depth > DEPTH * 4 {
            return Err(Error::custom("a type that contains itself without an option"));
        }
        let mut filler = self.filler.deeper();
        filler.is_schema = SCHEMAS.contains(&self.field) || filler.is_schema && self.field.starts_with('k');
        seed.deserialize(filler)
    }
}
