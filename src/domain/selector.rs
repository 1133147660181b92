//! Label and field selectors: what the API server takes in `labelSelector=` and `fieldSelector=`, by its grammar.
//!
//! Labels (`k8s.io/apimachinery/pkg/labels`): `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`,
//! `a<1`, joined by commas. `!=` and `notin` also take objects without the label. Fields
//! (`k8s.io/apimachinery/pkg/fields`): `a=b`, `a==b`, `a!=b`, joined by commas, with `\,`, `\=` and `\\` in values.

use std::collections::BTreeSet;

mod lexer;
use lexer::{Lexer, Token};

/// A selector that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {message}")]
pub struct SelectorError {
    /// Byte of the text at which it went wrong.
    pub position: usize,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl SelectorError {
    fn new(position: usize, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

/// What a requirement asks of a label's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// There, with one of these values.
    In(BTreeSet<String>),
    /// Absent, or with none of these values.
    NotIn(BTreeSet<String>),
    /// There.
    Exists,
    /// Absent.
    Absent,
    /// There, an integer, and greater.
    Greater(i64),
    /// There, an integer, and less.
    Less(i64),
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What is asked of its value.
    pub test: Test,
}

impl Requirement {
    /// Whether a label with that value (`None`: no such label) meets it.
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.test {
            Test::In(values) => value.is_some_and(|v| values.contains(v)),
            Test::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(than) => number().is_some_and(|n| n > *than),
            Test::Less(than) => number().is_some_and(|n| n < *than),
        }
    }
}

/// A label selector: all requirements must be met. The empty one takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Requirement>);

impl LabelSelector {
    /// Understands `text`; the empty text takes everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut lexer = Lexer::new(text);
        let mut requirements = Vec::new();
        if lexer.peek().1 == Token::End {
            return Ok(Self::default());
        }
        loop {
            requirements.push(requirement(&mut lexer)?);
            match lexer.next() {
                (_, Token::End) => return Ok(Self(requirements)),
                (_, Token::Comma) => {}
                (at, found) => return Err(SelectorError::new(at, format!("found {found}, expected ',' or the end"))),
            }
        }
    }

    /// Its requirements.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether it takes everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it takes an object whose labels `label` looks up.
    pub fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|r| r.accepts(label(&r.key)))
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, SelectorError> {
    let negated = lexer.peek().1 == Token::Not;
    if negated {
        lexer.next();
    }
    let key = match lexer.next_word() {
        (at, Token::Word(key)) => {
            check_key(key).map_err(|why| SelectorError::new(at, format!("label key {key:?}: {why}")))?;
            key.to_owned()
        }
        (at, found) => return Err(SelectorError::new(at, format!("found {found}, expected a label key"))),
    };
    if matches!(lexer.peek().1, Token::End | Token::Comma) {
        return Ok(Requirement { key, test: if negated { Test::Absent } else { Test::Exists } });
    }
    if negated {
        let (at, found) = lexer.next();
        return Err(SelectorError::new(at, format!("found {found}, expected ',' or the end after !{key}")));
    }
    let test = match lexer.next() {
        (_, Token::Equals) => Test::In([exact(lexer)?.1.to_owned()].into()),
        (_, Token::NotEquals) => Test::NotIn([exact(lexer)?.1.to_owned()].into()),
        (_, Token::In) => Test::In(values(lexer)?),
        (_, Token::NotIn) => Test::NotIn(values(lexer)?),
        (_, Token::Greater) => Test::Greater(number(lexer)?),
        (_, Token::Less) => Test::Less(number(lexer)?),
        (at, found) => {
            let expected = "expected =, ==, !=, in, notin, >, <, ',' or the end";
            return Err(SelectorError::new(at, format!("found {found}, {expected}")));
        }
    };
    Ok(Requirement { key, test })
}

/// The value behind `=`; nothing at all is the empty value.
fn exact<'t>(lexer: &mut Lexer<'t>) -> Result<(usize, &'t str), SelectorError> {
    if matches!(lexer.peek().1, Token::End | Token::Comma) {
        return Ok((lexer.peek().0, ""));
    }
    match lexer.next_word() {
        (at, Token::Word(value)) => checked_value(at, value).map(|v| (at, v)),
        (at, found) => Err(SelectorError::new(at, format!("found {found}, expected a value"))),
    }
}

fn number(lexer: &mut Lexer<'_>) -> Result<i64, SelectorError> {
    let (at, text) = exact(lexer)?;
    text.parse().map_err(|_| SelectorError::new(at, format!("{text:?} is not an integer: > and < compare integers")))
}

/// `(a,b)`; an empty place is the empty value, as the API server has it, but `()` is refused.
fn values(lexer: &mut Lexer<'_>) -> Result<BTreeSet<String>, SelectorError> {
    match lexer.next() {
        (_, Token::Open) => {}
        (at, found) => return Err(SelectorError::new(at, format!("found {found}, expected '('"))),
    }
    if let (at, Token::Close) = lexer.peek() {
        return Err(SelectorError::new(at, "in and notin need at least one value"));
    }
    let mut values = BTreeSet::new();
    loop {
        if matches!(lexer.peek().1, Token::Comma | Token::Close) {
            values.insert(String::new());
        } else {
            match lexer.next_word() {
                (at, Token::Word(value)) => values.insert(checked_value(at, value)?.to_owned()),
                (at, found) => return Err(SelectorError::new(at, format!("found {found}, expected a value or ')'"))),
            };
        }
        match lexer.next() {
            (_, Token::Comma) => {}
            (_, Token::Close) => return Ok(values),
            (at, found) => return Err(SelectorError::new(at, format!("found {found}, expected ',' or ')'"))),
        }
    }
}

fn checked_value(at: usize, value: &str) -> Result<&str, SelectorError> {
    check_value(value).map_err(|why| SelectorError::new(at, format!("label value {value:?}: {why}")))?;
    Ok(value)
}

/// `[prefix/]name`: the prefix a DNS subdomain, the name like a value but not empty.
fn check_key(key: &str) -> Result<(), &'static str> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            let label = |l: &str| {
                let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                !l.is_empty() && l.bytes().all(|b| inner(b) || b == b'-') && !l.starts_with('-') && !l.ends_with('-')
            };
            if prefix.len() > 253 || !prefix.split('.').all(label) {
                return Err("its prefix must be a DNS name in lower case of at most 253 characters");
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Err("it has no name");
    }
    check_value(name)
}

fn check_value(value: &str) -> Result<(), &'static str> {
    if value.len() > 63 {
        return Err("it is longer than 63 characters");
    }
    let outer = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = value.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !outer(bytes.first()) || !outer(bytes.last()) || !bytes.iter().all(inner) {
        return Err("only letters, digits, '-', '_' and '.' are allowed, with a letter or digit at both ends");
    }
    Ok(())
}

/// The fields that can be selected by. A field that an object does not have counts as empty.
pub const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "status.phase",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.uid",
    "reason",
    "type",
];

/// One term of a field selector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldTerm {
    /// One of the fields that it was parsed over.
    pub field: &'static str,
    /// Whether it must be that value, or must not.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// A field selector: all terms must be met. The empty one takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector(Vec<FieldTerm>);

impl FieldSelector {
    /// Understands `text`, over [`FIELDS`]; the empty text takes everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Self::parse_over(FIELDS, text)
    }

    /// The same over other fields.
    pub fn parse_over(fields: &'static [&'static str], text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for (at, term) in split_unescaped(text) {
            if term.trim().is_empty() {
                continue;
            }
            let (name, equal, value) = split_term(at, term)?;
            let field = fields.iter().find(|f| **f == name).ok_or_else(|| {
                let known = fields.join(", ");
                SelectorError::new(at, format!("field {name:?} cannot be selected by; these can: {known}"))
            })?;
            terms.push(FieldTerm { field, equal, value });
        }
        Ok(Self(terms))
    }

    /// Its terms.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.0
    }

    /// Whether it takes everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it takes an object whose fields `field` looks up.
    pub fn matches<'l>(&self, field: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|t| (field(t.field).unwrap_or_default() == t.value) == t.equal)
    }
}

/// Whether a text is a field selector, of whatever fields.
pub fn check_fields(text: &str) -> Result<(), SelectorError> {
    for (at, term) in split_unescaped(text) {
        if !term.trim().is_empty() {
            split_term(at, term)?;
        }
    }
    Ok(())
}

/// A term's field, whether it must be equal, and the value.
fn split_term(at: usize, term: &str) -> Result<(&str, bool, String), SelectorError> {
    let (operator, equal, width) = find_operator(term).ok_or_else(|| {
        SelectorError::new(at, format!("{term:?} is no field selector: write field=value or field!=value"))
    })?;
    let name = term[..operator].trim();
    if name.is_empty() {
        return Err(SelectorError::new(at, format!("{term:?} names no field: write field=value or field!=value")));
    }
    let behind = operator + width;
    let value = unescape(term[behind..].trim()).map_err(|e| SelectorError::new(at + behind, e))?;
    Ok((name, equal, value))
}

/// The terms between commas that no backslash escapes, with their first bytes.
fn split_unescaped(text: &str) -> Vec<(usize, &str)> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            b',' if !escaped => {
                terms.push((start, &text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        escaped = false;
    }
    terms.push((start, &text[start..]));
    terms
}

/// First operator: its place, whether it says "equal", and its width. `!=` before `==` before `=`, as the API server looks.
fn find_operator(term: &str) -> Option<(usize, bool, usize)> {
    let place = term.find('=')?;
    if place > 0 && term.as_bytes()[place - 1] == b'!' {
        return Some((place - 1, false, 2));
    }
    let double = term.as_bytes().get(place + 1) == Some(&b'=');
    Some((place, true, if double { 2 } else { 1 }))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("\\{c} is no escape: only \\\\, \\, and \\= are")),
                None => return Err("the value ends in a lone backslash: write \\\\".to_owned()),
            },
            '=' => return Err("the value holds a bare '=': write \\=".to_owned()),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
