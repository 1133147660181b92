//! A layer as a tree of values that each know their origin: read from TOML text, and small helpers on such trees.
//!
//! The tree is the `config` crate's own `Value`, so that merging layers keeps the origins. That crate's TOML reader is
//! not used: it stops at the first fault and prints the faulty line, which may hold a password.

use std::ops::Range;

use config::{Map, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};

/// All origins of one load. `config::Value` can carry only a text, so it carries an index into this.
#[derive(Debug, Default)]
pub struct Origins(Vec<Origin>);

impl Origins {
    /// The text to give to a `Value`.
    pub fn intern(&mut self, origin: Origin) -> String {
        self.0.push(origin);
        (self.0.len() - 1).to_string()
    }

    /// The origin of a value of this load.
    pub fn of(&self, value: &Value) -> Origin {
        let index: Option<usize> = value.origin().and_then(|text| text.parse().ok());
        index.and_then(|index| self.0.get(index)).cloned().unwrap_or(Origin::Default)
    }
}

/// The parts of a key, written as a TOML dotted key.
pub fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    path.iter().map(|part| quoted_if_needed(part.as_ref())).collect::<Vec<_>>().join(".")
}

/// A key's part as TOML writes it.
pub fn quoted_if_needed(part: &str) -> String {
    let bare = !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { part.to_owned() } else { toml::Value::from(part).to_string() }
}

/// A value as TOML writes it, on one line.
pub fn written(value: &Value) -> String {
    to_toml(value).to_string()
}

/// The same tree without origins.
pub fn to_toml(value: &Value) -> toml::Value {
    match &value.kind {
        ValueKind::Table(map) => toml::Value::Table(map.iter().map(|(key, v)| (key.clone(), to_toml(v))).collect()),
        ValueKind::Array(items) => toml::Value::Array(items.iter().map(to_toml).collect()),
        ValueKind::Boolean(flag) => toml::Value::Boolean(*flag),
        ValueKind::I64(number) => toml::Value::Integer(*number),
        ValueKind::Float(number) => toml::Value::Float(*number),
        other => toml::Value::String(other.to_string()),
    }
}

/// An empty table with an origin.
pub fn table(origin: &String, entries: Map<String, Value>) -> Value {
    Value::new(Some(origin), ValueKind::Table(entries))
}

/// A tree that says one thing: `path = value`.
pub fn single(path: &[String], value: Value) -> Value {
    let origin = value.origin().unwrap_or_default().to_owned();
    path.iter().rev().fold(value, |inner, part| table(&origin, Map::from_iter([(part.clone(), inner)])))
}

/// The value at a path.
pub fn at<'a, S: AsRef<str>>(root: &'a Value, path: &[S]) -> Option<&'a Value> {
    path.iter().try_fold(root, |node, part| match &node.kind {
        ValueKind::Table(map) => map.get(part.as_ref()),
        _ => None,
    })
}

/// The value at a path, to change it.
pub fn at_mut<'a, S: AsRef<str>>(root: &'a mut Value, path: &[S]) -> Option<&'a mut Value> {
    path.iter().try_fold(root, |node, part| match &mut node.kind {
        ValueKind::Table(map) => map.get_mut(part.as_ref()),
        _ => None,
    })
}

/// Takes the value at a path out of the tree; the tables above it stay.
pub fn remove<S: AsRef<str>>(root: &mut Value, path: &[S]) -> Option<Value> {
    let (last, above) = path.split_last()?;
    match &mut at_mut(root, above)?.kind {
        ValueKind::Table(map) => map.remove(last.as_ref()),
        _ => None,
    }
}

/// Puts another value where one stands.
pub fn replace<S: AsRef<str>>(root: &mut Value, path: &[S], value: Value) {
    if let Some(place) = at_mut(root, path) {
        *place = value;
    }
}

/// Empties the table at a path.
pub fn clear<S: AsRef<str>>(root: &mut Value, path: &[S]) {
    if let Some(ValueKind::Table(map)) = at_mut(root, path).map(|table| &mut table.kind) {
        map.clear();
    }
}

/// Whether a table has no entries.
pub fn is_empty(table: &Value) -> bool {
    matches!(&table.kind, ValueKind::Table(map) if map.is_empty())
}

/// Every value that is no table, with its path, in the order of the keys.
pub fn leaves(root: &Value) -> Vec<(Vec<String>, &Value)> {
    fn walk<'a>(node: &'a Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, &'a Value)>) {
        let ValueKind::Table(map) = &node.kind else {
            found.push((path.clone(), node));
            return;
        };
        for (key, child) in map {
            path.push(key.clone());
            walk(child, path, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(root, &mut Vec::new(), &mut found);
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

/// Reads a TOML document. `origin_of_line` gives the origin of what stands on a line, counted from 1. All faults of
/// syntax are reported, by line and column and without the line's text.
pub fn read(
    text: &str,
    origins: &mut Origins,
    origin_of_line: &dyn Fn(usize) -> Origin,
) -> Result<Value, Vec<Problem>> {
    let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let mut errors: Vec<_> = errors.iter().collect();
        errors.sort_by_key(|error| error.span().map(|span| span.start));
        return Err(errors.iter().map(|error| syntax_problem(error, text, &line_of, origin_of_line)).collect());
    }
    let mut origin_at = |span: Range<usize>| origins.intern(origin_of_line(line_of(span.start)));
    let root = origin_at(0..0);
    Ok(table(&root, read_table(document.get_ref(), &mut origin_at)))
}

fn syntax_problem(
    error: &toml::de::Error,
    text: &str,
    line_of: &dyn Fn(usize) -> usize,
    origin_of_line: &dyn Fn(usize) -> Origin,
) -> Problem {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let column = text[..offset].chars().rev().take_while(|c| *c != '\n').count() + 1;
    Problem {
        key: String::new(),
        value: None,
        origin: origin_of_line(line_of(offset)),
        message: format!("not TOML at column {column}: {}", error.message()),
        hint: None,
    }
}

fn read_table(entries: &DeTable<'_>, origin_at: &mut dyn FnMut(Range<usize>) -> String) -> Map<String, Value> {
    entries.iter().map(|(key, value)| (key.get_ref().to_string(), read_value(value, key.span(), origin_at))).collect()
}

/// A value's origin is the line of its key: that is where a reader looks for it.
fn read_value(
    value: &Spanned<DeValue<'_>>,
    key: Range<usize>,
    origin_at: &mut dyn FnMut(Range<usize>) -> String,
) -> Value {
    let kind = match value.get_ref() {
        DeValue::Table(entries) => ValueKind::Table(read_table(entries, origin_at)),
        DeValue::Array(items) => {
            ValueKind::Array(items.iter().map(|item| read_value(item, item.span(), origin_at)).collect())
        }
        DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
        DeValue::String(text) => ValueKind::String(text.to_string()),
        // Beyond 64 bits TOML itself ends; as a text it is refused as the wrong type wherever a number is expected.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| ValueKind::String(number.to_string()), ValueKind::I64),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| ValueKind::String(number.as_str().to_owned()), ValueKind::Float)
        }
        // No setting is a date: a text where a text is expected, else the wrong type.
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
    };
    Value::new(Some(&origin_at(key)), kind)
}
