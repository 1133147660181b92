//! Takes credentials out of free text: command lines, messages of Events and of conditions.
//!
//! A net, not a proof: it knows `password=`, `--token X`, `Bearer X`, private keys in PEM, user:password@ in URLs, and the
//! prefixes by which the keys of a few large services are known. It rather takes too much than too little, and gives
//! text without anything suspicious back as it is.

use std::borrow::Cow;

const GONE: &str = "[redacted]";

/// A name with one of these in it has a value that goes.
const WORDS: &[&[u8]] = &[
    b"passw",
    b"passphrase",
    b"pwd",
    b"secret",
    b"token",
    b"apikey",
    b"api_key",
    b"api-key",
    b"accesskey",
    b"access_key",
    b"access-key",
    b"privatekey",
    b"private_key",
    b"private-key",
    b"credential",
    b"authorization",
    b"x-auth",
];
/// ... unless it ends like this: then its value says where or how long, not what.
const HARMLESS: &[&[u8]] = &[
    b"file",
    b"path",
    b"dir",
    b"name",
    b"namespace",
    b"ttl",
    b"ref",
    b"type",
    b"length",
    b"size",
    b"expiration",
    b"duration",
    b"count",
    b"enabled",
    b"url",
];

/// The text without what looks like a credential. A second pass over the result changes nothing.
pub fn scrub(text: &str) -> Cow<'_, str> {
    let mut scrubbed = pass(text);
    // What was cut may have stood between two halves of something; text that never settles is not worth keeping.
    for _ in 0..PASSES {
        let next = match &scrubbed {
            Cow::Borrowed(_) => return scrubbed,
            Cow::Owned(text) => match pass(text) {
                Cow::Borrowed(_) => return scrubbed,
                Cow::Owned(next) if next == *text => return scrubbed,
                Cow::Owned(next) => next,
            },
        };
        scrubbed = Cow::Owned(next);
    }
    Cow::Borrowed(GONE)
}

const PASSES: usize = 16;

fn pass(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'=' | b':' | b'-' | b'A' | b'_' | b'e' | b'B' | b'b')) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while at < bytes.len() {
        let found = match bytes[at] {
            b'=' | b':' => behind_a_name(bytes, at),
            b'-' => private_key(text, at).or_else(|| behind_a_flag(bytes, at)),
            b'A' | b'B' | b'b' | b'e' | b'g' | b'x' => known_form(bytes, at),
            _ => None,
        };
        match found {
            Some((from, to)) if from < to => {
                out.push_str(&text[copied..from]);
                out.push_str(GONE);
                (copied, at) = (to, to);
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// One argument of a command. Gives its text and whether the next argument is the value of this flag.
pub fn scrub_argument(text: &str, is_value: bool) -> (Cow<'_, str>, bool) {
    let bytes = text.as_bytes();
    let is_flag = bytes.first() == Some(&b'-');
    if is_value && !is_flag {
        return (Cow::Borrowed(GONE), false);
    }
    if is_flag {
        let name = word_end(bytes, 0);
        if tells(&bytes[..name], true) {
            match bytes.get(name) {
                // An argument is one value to its end, whatever is in it.
                Some(b'=') if name + 1 < bytes.len() => {
                    return (Cow::Owned(format!("{}{GONE}", &text[..=name])), false);
                }
                None => return (Cow::Borrowed(text), true),
                _ => {}
            }
        }
    }
    (scrub(text), false)
}

fn in_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')
}

fn word_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| !in_name(*b)).map_or(bytes.len(), |n| from + n)
}

fn is_word_start(bytes: &[u8], at: usize) -> bool {
    at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'-'))
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// Whether the value of a thing of that name goes. `assigned`: by `=` or a flag, where the word may stand anywhere in the
/// name; in running text it must end the name.
fn tells(name: &[u8], assigned: bool) -> bool {
    if name.is_empty() || HARMLESS.iter().any(|end| ends_with(name, end)) {
        return false;
    }
    let word = |word: &&[u8]| name.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    if assigned {
        return ends_with(name, b"key") || WORDS.iter().any(word);
    }
    WORDS.iter().filter(|w| word(w)).any(|w| ends_with(name, w))
        || ends_with(name, b"password")
        || ends_with(name, b"passwd")
}

/// `name=value`, `name: value`, `"name":"value"`, and `//user:password@`.
fn behind_a_name(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if bytes[at] == b':' && bytes[at..].starts_with(b"://") {
        return userinfo(bytes, at + 3);
    }
    let quotes = bytes[..at].iter().rev().take_while(|b| matches!(b, b'"' | b'\'' | b'\\')).count();
    let end = at - quotes;
    let start = end - bytes[..end].iter().rev().take_while(|b| in_name(**b)).count();
    // The tag of an image and the port of a host are no values of a name.
    if bytes[at] == b':' && start > 0 && matches!(bytes[start - 1], b'/' | b'@') {
        return None;
    }
    tells(&bytes[start..end], bytes[at] == b'=').then(|| value(bytes, at + 1))
}

/// The value that begins behind `from`: quoted, or up to what ends a word; behind `Bearer` and the like one word more.
fn value(bytes: &[u8], from: usize) -> (usize, usize) {
    let mut start = from + bytes[from..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let escapes = bytes[start..].iter().take_while(|b| **b == b'\\').count();
    if let Some(quote @ (b'"' | b'\'')) = bytes.get(start + escapes).copied() {
        start += escapes + 1;
        let mut end = start;
        while end < bytes.len() {
            let run = bytes[end..].iter().take_while(|b| **b == b'\\').count();
            if bytes.get(end + run) == Some(&quote) && run <= escapes {
                return (start, end);
            }
            end += run + 1;
        }
        return (start, bytes.len());
    }
    let word = |from: usize| {
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'&' | b';' | b',' | b'|' | b'`');
        bytes[from..].iter().position(ends).map_or(bytes.len(), |n| from + n)
    };
    let mut end = word(start);
    let scheme = &bytes[start..end];
    if [b"bearer".as_slice(), b"basic", b"digest", b"token"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
        let next = end + bytes[end..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        end = word(next);
    }
    (start, end)
}

/// `//user:password@host`: the password.
fn userinfo(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'');
    let end = bytes[from..].iter().position(ends).map_or(bytes.len(), |n| from + n);
    let at = from + bytes[from..end].iter().rposition(|b| *b == b'@')?;
    let colon = from + bytes[from..at].iter().position(|b| *b == b':')?;
    Some((colon + 1, at))
}

/// `--token X` within a text.
fn behind_a_flag(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if at > 0 && !bytes[at - 1].is_ascii_whitespace() {
        return None;
    }
    let end = word_end(bytes, at);
    let blank = bytes[end..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let next = end + blank;
    (blank > 0 && next < bytes.len() && bytes[next] != b'-' && tells(&bytes[at..end], true)).then(|| value(bytes, next))
}

/// A private key in PEM, to its end or to that of the text.
fn private_key(text: &str, at: usize) -> Option<(usize, usize)> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let rest = &text.as_bytes()[at..];
    if !rest.starts_with(BEGIN) {
        return None;
    }
    let rest = text.get(at..)?;
    let label = rest[BEGIN.len()..].split("-----").next().unwrap_or_default();
    if !label.contains("PRIVATE") && rest[BEGIN.len()..].contains("-----") {
        return None;
    }
    let end = rest.find("-----END").and_then(|end| {
        let behind = end + "-----END".len();
        rest[behind..].find("-----").map(|n| at + behind + n + 5)
    });
    Some((at, end.unwrap_or(text.len())))
}

/// Credentials that are known by their own form.
fn known_form(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if !is_word_start(bytes, at) {
        return None;
    }
    let rest = &bytes[at..];
    let run = |from: usize, takes: fn(u8) -> bool| {
        let from = from.min(rest.len());
        from + rest[from..].iter().take_while(|b| takes(**b)).count()
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=');
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA") {
        let end = run(4, |b| b.is_ascii_uppercase() || b.is_ascii_digit());
        return (end == 20).then_some((at, at + end));
    }
    for scheme in [b"bearer ".as_slice(), b"basic "] {
        if rest.len() > scheme.len() && rest[..scheme.len()].eq_ignore_ascii_case(scheme) {
            let end = run(scheme.len(), token);
            return (end >= scheme.len() + 8).then_some((at + scheme.len(), at + end));
        }
    }
    if rest.starts_with(b"eyJ") {
        let dotted = |end: &usize| rest[..*end].iter().filter(|b| **b == b'.').count() >= 2;
        return Some(run(0, token)).filter(dotted).map(|end| (at, at + end));
    }
    let prefixed = rest.starts_with(b"xox")
        || rest.starts_with(b"github_pat_")
        || (rest.len() > 4 && rest.starts_with(b"gh") && b"pousr".contains(&rest[2]) && rest[3] == b'_');
    Some(run(0, word)).filter(|end| prefixed && *end >= 20).map(|end| (at, at + end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_go_and_what_is_around_them_stays() {
        for (text, expected) in [
            ("--password=hunter2", "--password=[redacted]"),
            ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
            ("PGPASSWORD=hunter2 psql -c 'x'", "PGPASSWORD=[redacted] psql -c 'x'"),
            ("export API_KEY='a b' && run", "export API_KEY='[redacted]' && run"),
            (r#"{"password": "a, b", "n": 1}"#, r#"{"password": "[redacted]", "n": 1}"#),
            (r#"{\"password\":\"a b\",\"n\":1}"#, r#"{\"password\":\"[redacted]\",\"n\":1}"#),
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            ("curl -H bearer abcdefghij x", "curl -H bearer [redacted] x"),
            ("postgres://app:hunter2@db/x", "postgres://app:[redacted]@db/x"),
            ("postgres://app:p@ss@db/x", "postgres://app:[redacted]@db/x"),
            ("id AKIAIOSFODNN7EXAMPLE.", "id [redacted]."),
            ("x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y", "x [redacted] y"),
            ("-----BEGIN PRIVATE KEY-----\nabc", "[redacted]"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "jwt [redacted] end"),
            ("ghp_0123456789abcdefghij0123456789abcdef", "[redacted]"),
            ("--encryption-key=abc", "--encryption-key=[redacted]"),
            ("user=a&token=b&x=c", "user=a&token=[redacted]&x=c"),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }

    #[test]
    fn ordinary_text_is_given_back_as_it_is() {
        for text in [
            "--port=8080",
            "--tls-private-key-file=/etc/tls/tls.key",
            "--secret-name=web",
            "--token-ttl=24h",
            "Pulling image \"registry/token-service:1.2\"",
            "Created pod: web-6c9d5b7f8-x2x4z",
            "MountVolume.SetUp failed for volume \"web\" : secret \"web\" not found",
            "http://example.com:8080/a?b=c",
            "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
            "a basic test of basics",
            "",
        ] {
            assert!(matches!(scrub(text), Cow::Borrowed(same) if same == text), "{text:?} → {:?}", scrub(text));
        }
    }

    #[test]
    fn an_argument_is_one_value_to_its_end_and_a_flag_may_name_the_next_one() {
        let arguments = ["--password=a b", "--token", "abc", "--token", "--verbose", "x", "--log-level", "debug"];
        let mut is_value = false;
        let scrubbed: Vec<String> = arguments
            .iter()
            .map(|argument| {
                let (text, next) = scrub_argument(argument, is_value);
                is_value = next;
                text.into_owned()
            })
            .collect();
        let expected =
            ["--password=[redacted]", "--token", "[redacted]", "--token", "--verbose", "x", "--log-level", "debug"];
        assert_eq!(scrubbed, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn scrubbing_never_panics_and_settles(parts in proptest::collection::vec(
            prop_oneof![
                ".{0,6}",
                proptest::sample::select(vec![
                    "password", "token", "=", ":", " ", "\"", "\\", "'", "--", "-", "://", "@", "/", "Bearer ", "AKIA", "eyJ",
                    "-----BEGIN ", "PRIVATE KEY-----", "-----END", "ghp_", "xoxb-", "abcdefghijklmnopqrst", "key", "basic ", "ä",
                ]).prop_map(str::to_owned),
            ], 0..24))
        {
            let text = parts.concat();
            let once = scrub(&text);
            prop_assert_eq!(scrub(&once), once.as_ref());
        }
    }
}
