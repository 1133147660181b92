//! What stands in the place of a value that went: that it went, how large it was, and where there is a key, its keyed hash.

use super::{Keys, write_string};

/// What is written in the place of a value that must not leave.
pub const REDACTED: &str = "\"[redacted]\"";

/// `[redacted: 12 bytes]`
pub(super) fn note_of_size(bytes: usize, value: &str, keys: &dyn Keys) -> String {
    match keys.hash(value.as_bytes()) {
        Some(hash) => format!("[redacted: {bytes} bytes, {hash}]"),
        None => format!("[redacted: {bytes} bytes]"),
    }
}

/// `[redacted]`, `[redacted: <what>]`, each with the keyed hash of the value where there is a key.
pub(super) fn replaced(out: &mut Vec<u8>, what: &str, value: &[u8], keys: &dyn Keys) {
    match (keys.hash(value), what) {
        (None, "") => out.extend_from_slice(REDACTED.as_bytes()),
        (None, what) => write_string(out, &format!("[redacted: {what}]")),
        (Some(hash), "") => write_string(out, &format!("[redacted: {hash}]")),
        (Some(hash), what) => write_string(out, &format!("[redacted: {what}, {hash}]")),
    }
}

/// Whether a text is a note of ours: it says nothing that is worth hiding, and hiding it again would change it. Only
/// forms that hold no more than digits are taken for one.
pub(super) fn is_note(text: &str, keys: &dyn Keys) -> bool {
    let Some(inner) = text.strip_prefix("[redacted").and_then(|t| t.strip_suffix(']')) else { return false };
    let Some(said) = inner.strip_prefix(": ") else { return inner.is_empty() };
    let digits = |text: &str, most: usize, hex: bool| {
        (1..=most).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || (hex && (b'a'..=b'f').contains(&b)))
    };
    let hash = |text: &str| {
        let own = keys.key_id().and_then(|id| text.strip_prefix("hmac:")?.strip_prefix(id)?.strip_prefix(':'));
        own.is_some_and(|hash| hash.len() == HASH_DIGITS && digits(hash, HASH_DIGITS, true))
    };
    let what = |text: &str| {
        matches!(text, "number" | "boolean") || text.strip_suffix(" bytes").is_some_and(|n| digits(n, 10, false))
    };
    match said.split_once(", ") {
        Some((first, second)) => what(first) && hash(second),
        None => what(said) || hash(said),
    }
}

/// Hex digits of a keyed hash in a note.
pub const HASH_DIGITS: usize = 32;
