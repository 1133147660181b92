//! What an API server says in words, on its way to people: reasons, logs, the board, HTTP.
//!
//! It comes from outside, and it may quote the object that it could not handle: a webhook that refuses to convert one, a
//! decoder that shows where it stopped. Every text of a server goes through here, and nothing else of an answer is shown.

use super::cut::scrub::scrub;

/// The words of Kubernetes for why something is refused. Any other is not repeated: it may be anything.
const REASONS: &[&str] = &[
    "AlreadyExists",
    "BadRequest",
    "Conflict",
    "Expired",
    "Forbidden",
    "Gone",
    "InternalError",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "RequestEntityTooLarge",
    "ServerTimeout",
    "ServiceUnavailable",
    "StoreReadError",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
];
/// Where the quotation of an object begins: as JSON or a Go struct, as a Go map, as the context of a decoder, as what a validation found.
const QUOTES: &[&str] = &["{", "map[", "...|", "Invalid value:", "Unsupported value:", "Duplicate value:"];
/// Longest sentence, in characters.
const LONGEST: usize = 300;

/// `reason` of a Status: a word that Kubernetes knows, else nothing.
pub fn reason(text: &str) -> &'static str {
    REASONS.iter().find(|known| **known == text).copied().unwrap_or_default()
}

/// A sentence: without the object that it quotes, without what looks like a credential or would garble a terminal, and
/// shortened.
pub fn sentence(text: &str) -> String {
    let quote = QUOTES.iter().filter_map(|begin| text.find(begin)).min();
    let own = &text[..quote.unwrap_or(text.len())];
    // Whole, before it is shortened: half a credential is not recognised.
    let mut said: String = scrub(own).chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if quote.is_some() {
        said.push('…');
    }
    said
}

/// What a Status says: its sentence, or where the values of a kind are hidden and the sentence might hold one, the word.
pub fn refusal(word: &str, message: &str, are_values_hidden: bool) -> String {
    if are_values_hidden { reason(word).to_owned() } else { sentence(message) }
}

/// What a server calls something: letters and digits; nothing of it where values are hidden.
pub fn name(text: &str, are_values_hidden: bool) -> String {
    if are_values_hidden {
        return "something else".to_owned();
    }
    text.chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_loses_the_object_that_it_quotes_credentials_control_characters_and_its_length() {
        for (text, shown) in [
            (r#"unable to decode {"data":{"password":"c4n4ry"}}"#, "unable to decode …"),
            (r#"cannot convert v1.Foo{Spec:"c4n4ry"}"#, "cannot convert v1.Foo…"),
            ("spec.pin: Invalid value: \"c4n4ry\": too short", "spec.pin: …"),
            ("spec.pin: Unsupported value: \"c4n4ry\": supported values: \"a\"", "spec.pin: …"),
            ("spec.pins[1]: Duplicate value: \"c4n4ry\"", "spec.pins[1]: …"),
            ("refused: map[password:c4n4ry]", "refused: …"),
            ("found in #10 byte of ...|c4n4ry|..., bigger context", "found in #10 byte of …"),
            ("login with password=c4n4ry failed", "login with password=[redacted] failed"),
            ("pods is forbidden: User \"a\"\u{1b}[31m cannot list", "pods is forbidden: User \"a\"[31m cannot list"),
        ] {
            assert_eq!(sentence(text), shown);
        }
        assert_eq!(sentence(&"ä".repeat(1000)).chars().count(), LONGEST);
        let long = format!("{} password=c4n4ry", "x".repeat(LONGEST - 12));
        assert!(!sentence(&long).contains("c4"), "{}", sentence(&long));
    }

    #[test]
    fn a_reason_is_a_word_of_kubernetes_or_nothing_and_all_that_is_said_where_values_are_hidden() {
        assert_eq!((reason("InternalError"), reason("c4n4ry")), ("InternalError", ""));
        assert_eq!(refusal("Timeout", "c4n4ry", true), "Timeout");
        assert_eq!(refusal("Timeout", "it took too long", false), "it took too long");
    }
}
