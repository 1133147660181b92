//! Keyed hashes of values that go: two equal values can be told to be equal, and nobody without the key can try values.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fmt::Write as _;

/// A key of HMAC-SHA256 with the id that stands in the records.
#[derive(Clone)]
pub struct MacKey {
    keyed: Hmac<Sha256>,
    id: Box<str>,
}

/// Fewer bytes than the hash has would be the weaker part.
pub const KEY_BYTES_MIN: usize = 32;
/// 128 of the 256 bits: two values that collide are as unlikely as ever, and a record is 32 bytes shorter.
const SHOWN_BYTES: usize = crate::domain::cut::HASH_DIGITS / 2;

impl MacKey {
    /// A key from what a key file holds: bytes as they are, or 64 and more hex digits. `id` `None` takes the first 8 hex
    /// digits of the key's own SHA-256.
    ///
    /// # Errors
    /// What is wrong, for a person; never the key.
    pub fn new(file: &[u8], id: Option<&str>) -> Result<Self, String> {
        let key = from_hex(file.trim_ascii()).unwrap_or_else(|| file.to_vec());
        if key.len() < KEY_BYTES_MIN {
            return Err(format!(
                "the key has {} bytes, expected at least {KEY_BYTES_MIN} (`openssl rand -hex 32` makes one)",
                key.len()
            ));
        }
        let id = match id {
            Some(id) => id.to_owned(),
            None => hex(&Sha256::digest(&key)[..4]),
        };
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err("expected at most 64 letters, digits and ._- as the key's id".to_owned());
        }
        let keyed = Hmac::<Sha256>::new_from_slice(&key).map_err(|e| e.to_string())?;
        Ok(Self { keyed, id: id.into() })
    }

    /// Which key this is, without saying it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `hmac:<key id>:<32 hex digits>` of a value.
    pub fn note(&self, value: &[u8]) -> String {
        let mut keyed = self.keyed.clone();
        keyed.update(value);
        let tag = keyed.finalize().into_bytes();
        format!("hmac:{}:{}", self.id, hex(&tag[..SHOWN_BYTES]))
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).and_then(|d| u8::try_from(d).ok());
    if text.len() < KEY_BYTES_MIN * 2 || text.len() % 2 == 1 {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        write!(out, "{byte:02x}").unwrap_or_default();
    }
    out
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacKey({})", self.id)
    }
}

impl PartialEq for MacKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.note(b"") == other.note(b"")
    }
}

impl Eq for MacKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_notes_and_the_key_decides_them() {
        let key = MacKey::new(&[7; 32], None).expect("a key");
        assert_eq!(key.note(b"a"), key.note(b"a"));
        assert_ne!(key.note(b"a"), key.note(b"b"));
        assert_ne!(key.note(b"a"), MacKey::new(&[8; 32], None).expect("a key").note(b"a"));
        // RFC 4231 has no case with a key of this form; this one was computed by openssl.
        let hex_key = MacKey::new("0b".repeat(32).as_bytes(), Some("k1")).expect("a key");
        let raw_key = MacKey::new(&[0x0b; 32], Some("k1")).expect("a key");
        assert_eq!(hex_key.note(b"Hi There"), raw_key.note(b"Hi There"));
        assert_eq!(hex_key.note(b"Hi There"), "hmac:k1:198a607eb44bfbc69903a0f1cf2bbdc5");
    }

    #[test]
    fn a_weak_key_and_an_odd_id_are_refused_and_no_text_holds_the_key() {
        assert!(MacKey::new(b"short", None).expect_err("refused").contains("at least 32"));
        assert!(MacKey::new(b"", None).is_err());
        assert!(MacKey::new(&[1; 32], Some("a b")).is_err());
        assert!(MacKey::new(&[1; 32], Some("")).is_err());
        let key = MacKey::new(&"ab".repeat(40).into_bytes(), None).expect("a key");
        assert!(!format!("{key:?}").contains("abab") && key.id().len() == 8);
    }
}
