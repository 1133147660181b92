//! Takes credentials out of free text: command lines, messages of Events and of conditions.
//!
//! A net, not a proof: it knows `password=`, `--token X`, `mysql -pX`, `Authorization: X`, `Bearer X`, private keys in PEM,
//! user:password@ in URLs, and the prefixes by which the keys of a few large services are known. It rather takes too much
//! than too little, and gives text without anything suspicious back as it is.
//!
//! Texts come from whoever may write objects, so every look ahead is bounded or happens once: a long text takes as long as
//! it is long.

mod tools;

use std::borrow::Cow;

pub use tools::Arguments;

const GONE: &str = "[redacted]";

/// A name with one of these in it has a value that goes.
const WORDS: &[&[u8]] = &[
    b"passw",
    b"passphrase",
    b"passcode",
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
    b"creds",
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
/// How far behind a user's name the end of a password is looked for where nothing else ends it.
const PASSWORD_MAX: usize = 256;

fn pass(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|b| matches!(b, b'=' | b':' | b'-' | b'A' | b'_' | b'e' | b'B' | b'b')) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    let (mut calls, mut no_token_before) = (tools::Calls::default(), 0);
    while at < bytes.len() {
        let found = match bytes[at] {
            b'=' | b':' => behind_a_name(bytes, at),
            b'-' => {
                let flag = || behind_a_flag(bytes, at);
                private_key(text, at).or_else(flag).or_else(|| calls.credential(bytes, at))
            }
            b'e' => web_token(bytes, at, &mut no_token_before),
            b'A' | b'B' | b'b' | b'g' | b'x' => known_form(bytes, at),
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
        return ends_with(name, b"key") || is_pass(name) || WORDS.iter().any(word);
    }
    WORDS.iter().filter(|w| word(w)).any(|w| ends_with(name, w))
        || ends_with(name, b"password")
        || ends_with(name, b"passwd")
}

/// `PASS`, `db-pass`, `dbPass2`, `DB_PW`; not `bypass`.
fn is_pass(name: &[u8]) -> bool {
    let digits = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let last = name[..name.len() - digits].rsplit(|b| !b.is_ascii_alphanumeric()).next().unwrap_or_default();
    let other = [b"bypass".as_slice(), b"compass"].iter().any(|word| ends_with(last, word));
    last.eq_ignore_ascii_case(b"pw") || (ends_with(last, b"pass") && !other)
}

/// `name=value`, `name: value`, `"name":"value"`, and `//user:password@`.
fn behind_a_name(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if bytes[at] == b':' && bytes[at..].starts_with(b"://") {
        return userinfo(bytes, at);
    }
    let quotes = bytes[..at].iter().rev().take_while(|b| matches!(b, b'"' | b'\'' | b'\\')).count();
    let end = at - quotes;
    let start = end - bytes[..end].iter().rev().take_while(|b| in_name(**b)).count();
    // The tag of an image and the port of a host are no values of a name.
    if bytes[at] == b':' && start > 0 && matches!(bytes[start - 1], b'/' | b'@') {
        return None;
    }
    let name = &bytes[start..end];
    if bytes[at] == b'=' {
        return tells(name, true).then(|| value(bytes, at + 1));
    }
    if ends_with(name, b"authorization") {
        return Some(header(bytes, start, quotes > 0, at + 1));
    }
    // `PASS: 3 of 4` is the word of a test.
    let is_joined = !name.eq_ignore_ascii_case(b"pass") || quotes > 0 || bytes.get(at + 1).is_some_and(|b| *b > b' ');
    if tells(name, false) || (is_joined && is_pass(name)) {
        return Some(value(bytes, at + 1));
    }
    // `user:password@tcp(host:3306)/name`
    let rest = &bytes[at + 1..bytes.len().min(at + 1 + PASSWORD_MAX)];
    let word = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    let mut signs = (0..word).filter(|n| rest[*n] == b'@');
    let end = signs.find(|n| [b"@tcp(".as_slice(), b"@unix("].iter().any(|net| rest[*n..].starts_with(net)))?;
    Some((at + 1, at + 1 + end))
}

fn blanks(bytes: &[u8], from: usize) -> usize {
    from + bytes[from..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Where what was opened by a quote behind so many backslashes ends.
fn quoted_end(bytes: &[u8], from: usize, quote: u8, escapes: usize) -> usize {
    let mut end = from;
    while end < bytes.len() {
        let run = bytes[end..].iter().take_while(|b| **b == b'\\').count();
        if bytes.get(end + run) == Some(&quote) && run <= escapes {
            return end;
        }
        end += run + 1;
    }
    bytes.len()
}

fn value_end(bytes: &[u8], from: usize) -> usize {
    let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'&' | b';' | b',' | b'|' | b'`');
    bytes[from..].iter().position(ends).map_or(bytes.len(), |n| from + n)
}

/// What stands between quotes from here on, if it begins with one.
fn quoted(bytes: &[u8], from: usize) -> Option<(usize, usize)> {
    let escapes = bytes[from..].iter().take_while(|b| **b == b'\\').count();
    let quote = *bytes.get(from + escapes).filter(|b| matches!(b, b'"' | b'\''))?;
    let start = from + escapes + 1;
    Some((start, quoted_end(bytes, start, quote, escapes)))
}

/// The value that begins behind `from`: quoted, or up to what ends a word; behind `Bearer` and the like one word more.
fn value(bytes: &[u8], from: usize) -> (usize, usize) {
    let start = blanks(bytes, from);
    if let Some(inside) = quoted(bytes, start) {
        return inside;
    }
    let end = value_end(bytes, start);
    let scheme = &bytes[start..end];
    if [b"bearer".as_slice(), b"basic", b"digest", b"token"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
        return (start, value_end(bytes, blanks(bytes, end)));
    }
    (start, end)
}

/// What stands behind `Authorization:`, whatever the scheme: to the end of the quotes around the header; of one without any
/// a scheme and its credential, or all parameters of a scheme that has some.
fn header(bytes: &[u8], name: usize, is_quoted_name: bool, from: usize) -> (usize, usize) {
    let start = blanks(bytes, from);
    if let Some(inside) = quoted(bytes, start) {
        return inside;
    }
    if let Some(quote @ (b'"' | b'\'')) = name.checked_sub(1).map(|at| bytes[at]).filter(|_| !is_quoted_name) {
        let escapes = bytes[..name - 1].iter().rev().take_while(|b| **b == b'\\').count();
        return (start, quoted_end(bytes, start, quote, escapes));
    }
    let end = value_end(bytes, start);
    let scheme = &bytes[start..end];
    let begins = |word: &[u8]| scheme.len() >= word.len() && scheme[..word.len()].eq_ignore_ascii_case(word);
    if [b"digest".as_slice(), b"oauth", b"hawk", b"aws4"].iter().any(|word| begins(word)) {
        let line = bytes[start..].iter().position(|b| matches!(b, b'\n' | b'\r'));
        return (start, line.map_or(bytes.len(), |n| start + n));
    }
    // What is gone already is not taken for a scheme: its neighbour would go with every pass.
    (start, if scheme == GONE.as_bytes() { end } else { value_end(bytes, blanks(bytes, end)) })
}

/// `//user:password@host`: the password; of the web, where a token may be the user, both.
fn userinfo(bytes: &[u8], colon: usize) -> Option<(usize, usize)> {
    let from = colon + 3;
    let ends_word = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'');
    let ends = |b: &u8| ends_word(b) || matches!(b, b'/' | b'?' | b'#');
    let end = bytes[from..].iter().position(ends).map_or(bytes.len(), |n| from + n);
    if let Some(at) = bytes[from..end].iter().rposition(|b| *b == b'@') {
        if ends_with(&bytes[..colon], b"http") || ends_with(&bytes[..colon], b"https") {
            return Some((from, from + at));
        }
        let colon = bytes[from..from + at].iter().position(|b| *b == b':')?;
        return Some((from + colon + 1, from + at));
    }
    // A password with a `/` in it, which should have been escaped. What follows the name of a host is a number.
    let colon = from + bytes[from..end].iter().position(|b| *b == b':')?;
    if bytes[from] == b'[' || bytes[colon + 1..end].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = &bytes[end..bytes.len().min(end + PASSWORD_MAX)];
    let word = &rest[..rest.iter().position(ends_word).unwrap_or(rest.len())];
    word.iter().rposition(|b| *b == b'@').map(|at| (colon + 1, end + at))
}

/// Whether a flag may begin here.
fn flag_start(bytes: &[u8], at: usize) -> bool {
    let opens = |b: u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'`' | b'[' | b'(' | b'{' | b',');
    at == 0 || opens(bytes[at - 1])
}

/// Where the argument behind one that ends here begins: `--a b`, `"--a" "b"`, `["--a","b"]`.
fn next_argument(bytes: &[u8], end: usize) -> Option<usize> {
    let quotes = bytes[end..].iter().take_while(|b| matches!(b, b'"' | b'\'' | b'\\')).count();
    let comma = |b: &&u8| quotes > 0 && **b == b',';
    let between = bytes[end + quotes..].iter().take_while(|b| matches!(b, b' ' | b'\t') || comma(b)).count();
    Some(end + quotes + between).filter(|next| between > 0 && *next < bytes.len())
}

/// `--token X` within a text.
fn behind_a_flag(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    if !flag_start(bytes, at) {
        return None;
    }
    let end = word_end(bytes, at);
    let next = next_argument(bytes, end)?;
    (!is_flag_at(bytes, next) && tells(&bytes[at..end], true)).then(|| value(bytes, next))
}

fn is_flag_at(bytes: &[u8], at: usize) -> bool {
    bytes[at..].iter().find(|b| !matches!(b, b'"' | b'\'' | b'\\')) == Some(&b'-')
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

fn in_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=')
}

/// A JSON Web Token: three parts, the first of which begins like JSON. Where a run of letters has too few dots for one, so
/// has every end of it: it is looked at once.
fn web_token(bytes: &[u8], at: usize, none_before: &mut usize) -> Option<(usize, usize)> {
    if at < *none_before || !bytes[at..].starts_with(b"eyJ") || !is_word_start(bytes, at) {
        return None;
    }
    let end = at + bytes[at..].iter().take_while(|b| in_token(**b)).count();
    if bytes[at..end].iter().filter(|b| **b == b'.').count() >= 2 {
        return Some((at, end));
    }
    *none_before = end;
    None
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
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if rest.starts_with(b"AKIA") || rest.starts_with(b"ASIA") {
        let end = run(4, |b| b.is_ascii_uppercase() || b.is_ascii_digit());
        return (end == 20).then_some((at, at + end));
    }
    for scheme in [b"bearer ".as_slice(), b"basic "] {
        if rest.len() > scheme.len() && rest[..scheme.len()].eq_ignore_ascii_case(scheme) {
            let end = run(scheme.len(), in_token);
            return (end >= scheme.len() + 8).then_some((at + scheme.len(), at + end));
        }
    }
    let prefixed = rest.starts_with(b"xox")
        || rest.starts_with(b"github_pat_")
        || (rest.len() > 4 && rest.starts_with(b"gh") && b"pousr".contains(&rest[2]) && rest[3] == b'_');
    Some(run(0, word)).filter(|end| prefixed && *end >= 20).map(|end| (at, at + end))
}

#[cfg(test)]
mod tests;
