//! How a value is written in a settings file and what it becomes: durations, sizes, "not set", tables of names, secrets.
//!
//! Each module is for `#[serde(with = "...")]`, so that the settings themselves hold plain `Duration`, `usize`,
//! `Option<String>`. The error texts here end up behind `key = value (origin):`, so they say what was expected and never repeat the value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `"250ms"`, `"30s"`, `"1h 30m"`: always with a unit.
pub mod duration {
    use std::time::Duration;

    use serde::de::{Error, Visitor};

    use super::*;

    /// What every fault of a duration says was expected.
    const EXPECTED: &str = "a duration with its unit, such as \"250ms\", \"30s\" or \"1h\"";

    /// Parses a humantime duration; a bare number is refused because its unit would be a guess.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text).map_err(|_| expected(EXPECTED))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Duration, E> {
                Err(expected(EXPECTED))
            }
        }
        from.deserialize_any(Text)
    }

    /// Writes it the way it would be typed.
    pub fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }
}

/// `"4MiB"`, `"64KiB"`, `"512"`, `512`: a number of bytes.
pub mod bytes {
    use serde::de::{Error, Visitor};

    use super::*;

    /// What every fault of a size says was expected.
    const EXPECTED: &str = "a size such as \"4MiB\", \"64KiB\" or a whole number of bytes";

    /// Units by their suffix, largest first so that serialising finds the shortest form. Powers of 1024 only: `MB` means
    /// two things to two people, and a memory budget should not be a guess.
    const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

    /// The bytes that a text such as `4MiB` means.
    pub fn parse(text: &str) -> Option<usize> {
        let text = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let number = number.trim();
        // usize::from_str also takes "+5"; a sign has no place in a size.
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        number.parse::<usize>().ok()?.checked_mul(unit)
    }

    /// Parses a size with a binary unit, or a plain number of bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
        struct Size;
        impl Visitor<'_> for Size {
            type Value = usize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
                parse(text).ok_or_else(|| expected(EXPECTED))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<usize, E> {
                usize::try_from(number).map_err(|_| expected(EXPECTED))
            }
        }
        from.deserialize_any(Size)
    }

    /// Writes it with the largest unit that divides it.
    pub fn serialize<S: Serializer>(value: &usize, to: S) -> Result<S::Ok, S::Error> {
        match UNITS.iter().find(|(_, unit)| *value != 0 && value.is_multiple_of(*unit)) {
            Some((suffix, unit)) => to.collect_str(&format_args!("{}{suffix}", value / unit)),
            None => to.serialize_u64(*value as u64),
        }
    }
}

/// `""` stands for "not set", so that every setting can be written down in default.toml.
pub mod unset_when_empty {
    use super::*;

    /// `None` for an empty text.
    pub fn deserialize<'de, D: Deserializer<'de>, T: From<String>>(from: D) -> Result<Option<T>, D::Error> {
        let text = String::deserialize(from)?;
        Ok((!text.is_empty()).then(|| T::from(text)))
    }

    /// An empty text for `None`.
    pub fn serialize<S: Serializer, T: Serialize>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(to),
            None => to.serialize_str(""),
        }
    }
}

/// A set of names, written as a table so that a layer can add one name or take one back: `shop = true`.
pub mod name_set {
    use super::*;

    /// The names that say `true`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<String>, D::Error> {
        let table = BTreeMap::<String, bool>::deserialize(from)?;
        Ok(table.into_iter().filter_map(|(name, on)| on.then_some(name)).collect())
    }

    /// Each name with `true`.
    pub fn serialize<S: Serializer>(names: &BTreeSet<String>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(names.iter().map(|name| (name, true)))
    }
}

/// `"127.0.0.1:8080"`: an address to listen on.
pub mod listen {
    use std::net::SocketAddr;

    use super::*;

    /// Parses address and port; a name is refused because it may resolve to more than one address.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(|_| expected("an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\""))
    }

    /// Writes it the way it would be typed.
    pub fn serialize<S: Serializer>(value: &SocketAddr, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }
}

/// An error in the form that `super::load` reads: all after "expected".
fn expected<E: serde::de::Error>(what: &str) -> E {
    E::custom(format_args!("expected {what}"))
}

/// A text that must not be seen: neither `Debug` nor `Serialize` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

impl Secret {
    /// The text itself, for the one call that needs it. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(REDACTED)
    }
}

/// Settings passed on to another program (librdkafka, Kafka) by dotted name, all as text, which is how both take them.
/// Values of names that sound like a secret are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PassThrough(pub BTreeMap<String, String>);

impl PassThrough {
    /// Name and value of each entry, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// One entry.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().map(|(name, value)| (name, if sounds_secret(name) { REDACTED } else { value }))
    }
}

/// Whether a dotted name of librdkafka carries a secret: passwords, private keys in PEM, OAuth secrets. A path to a file
/// (`ssl.key.location`) does not.
pub fn sounds_secret(name: &str) -> bool {
    ["password", "secret", "passphrase", ".pem", "oauthbearer.config", "jaas"].iter().any(|part| name.contains(part))
}

impl fmt::Debug for PassThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for PassThrough {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.shown())
    }
}

impl<'de> Deserialize<'de> for PassThrough {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// A scalar of any type, as Kafka writes it.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Scalar {
            Flag(bool),
            Whole(i64),
            Real(f64),
            Text(String),
        }
        let table = BTreeMap::<String, Scalar>::deserialize(from)?;
        let as_text = |value| match value {
            Scalar::Flag(flag) => flag.to_string(),
            Scalar::Whole(number) => number.to_string(),
            Scalar::Real(number) => number.to_string(),
            Scalar::Text(text) => text,
        };
        // "" takes an entry of a lower layer back.
        Ok(Self(table.into_iter().map(|(name, value)| (name, as_text(value))).filter(|(_, v)| !v.is_empty()).collect()))
    }
}
