//! Takes out of a layer what cannot stand in it, and says why: unknown names, and values of the wrong TOML type.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use crate::domain::pattern::Pattern;

use super::layer::Layer;
use super::problem::Problem;
use super::shape::{Free, Shape};
use super::tree::{self, Origins, dotted};
use super::units::sounds_secret;

/// The layer without the parts that cannot stand in it, which are reported in the order of its lines.
pub fn conform_layer(layer: Layer, shape: &Shape, origins: &Origins, problems: &mut Vec<Problem>) -> Layer {
    let mut conform = Conform { all: shape, origins, found: Vec::new() };
    let values = conform.value(layer.values, shape, &mut Vec::new());
    conform.found.sort_by(|a, b| (&a.origin, &a.key).cmp(&(&b.origin, &b.key)));
    problems.extend(conform.found);
    Layer { values: values.unwrap_or_else(|| Value::new(None, ValueKind::Table(Map::new()))), ..layer }
}

struct Conform<'a> {
    all: &'a Shape,
    origins: &'a Origins,
    found: Vec<Problem>,
}

impl Conform<'_> {
    fn value(&mut self, value: Value, shape: &Shape, path: &mut Vec<String>) -> Option<Value> {
        let fits = matches!(
            (shape, &value.kind),
            (Shape::Table(_) | Shape::Kinds { .. } | Shape::Free(_), ValueKind::Table(_))
                | (Shape::Flag, ValueKind::Boolean(_))
                | (Shape::Whole, ValueKind::I64(_))
                | (Shape::Word, ValueKind::String(_))
                // A size may be a number. Whether this text may, its type knows; see `typed`.
                | (Shape::Text, ValueKind::String(_) | ValueKind::I64(_) | ValueKind::Float(_) | ValueKind::Boolean(_))
        );
        if !fits {
            let mut wrong = wrong_type(path, &value, shape.expected(), self.origins);
            if let (Shape::Free(free), ValueKind::Array(_)) = (shape, &value.kind) {
                let entry = if free.flags { "name = true" } else { "name = value" };
                wrong.hint = Some(format!("write [{}] and below it {entry}", dotted(path)));
            }
            self.found.push(wrong);
            return None;
        }
        match (shape, &value.kind) {
            (Shape::Table(children), ValueKind::Table(_)) => Some(self.table(value, children, None, path)),
            (Shape::Kinds { known, kind }, ValueKind::Table(_)) => Some(self.table(value, known, Some(kind), path)),
            (Shape::Free(free), ValueKind::Table(_)) => Some(self.free(&value, *free, path)),
            _ => Some(value),
        }
    }

    /// A table with these names; `kind` is what stands in that of a kind which is none of them.
    fn table(
        &mut self,
        table: Value,
        children: &BTreeMap<String, Shape>,
        kind: Option<&Shape>,
        path: &mut Vec<String>,
    ) -> Value {
        let origin = table.origin().unwrap_or_default().to_owned();
        let ValueKind::Table(entries) = table.kind else { return table };
        let mut kept = Map::new();
        let mut entries: Vec<(String, Value)> = entries.into_iter().collect();
        // In the order of the lines, so that of two that are one the later is at fault.
        entries.sort_by_cached_key(|(key, entry)| (self.origins.of(entry), key.clone()));
        for (key, entry) in entries {
            let known = children.get(&key);
            // A kind has one name here, however it was spelled, so that layers meet.
            let pattern = kind.filter(|_| known.is_none() && matches!(entry.kind, ValueKind::Table(_)));
            let pattern = pattern.and_then(|kind| Some((Pattern::parse(&key).ok()?.to_string(), kind)));
            let (name, shape) = match (known, pattern) {
                (Some(child), _) => (key, Some(child)),
                (None, Some((name, kind))) => (name, Some(kind)),
                (None, None) => (key, None),
            };
            path.push(name.clone());
            match shape {
                Some(_) if kept.contains_key(&name) => self.found.push(self.said_twice(path, &entry)),
                Some(child) => kept.extend(self.value(entry, child, path).map(|value| (name, value))),
                None => self.found.push(self.unknown(path, &entry)),
            }
            path.pop();
        }
        tree::table(&origin, kept)
    }

    /// The entries of a free table, with nested tables flattened to dotted names.
    fn free(&mut self, table: &Value, free: Free, path: &[String]) -> Value {
        let mut kept = Map::new();
        for (names, value) in tree::leaves(table) {
            let name = names.join(".");
            let fits = match value.kind {
                ValueKind::Array(_) => false,
                ValueKind::Boolean(_) => true,
                _ => !free.flags,
            };
            if fits {
                kept.insert(name, value.clone());
            } else {
                let expected = if free.flags { "true or false" } else { "a string, a number, true or false" };
                self.found.push(wrong_type(&[path, &[name]].concat(), value, expected, self.origins));
            }
        }
        tree::table(&table.origin().unwrap_or_default().to_owned(), kept)
    }

    fn said_twice(&self, path: &[String], entry: &Value) -> Problem {
        Problem {
            key: dotted(path),
            value: None,
            origin: self.origins.of(entry),
            message: "this kind has two tables, under two of its names".to_owned(),
            hint: Some("make them one".to_owned()),
        }
    }

    fn unknown(&self, path: &[String], entry: &Value) -> Problem {
        let hint = match self.all.nearest(path) {
            None if let Some(kind) = unquoted_kind(path, entry) => {
                format!("a kind with a group is quoted: [{kind}]")
            }
            // [watch.namespace], read as the table of a kind.
            None if let [watch, table, _] = path
                && let Some(Shape::Free(_)) = self.all.at(&[watch.clone(), format!("{table}s")]) =>
            {
                format!("did you mean {watch}.{table}s?")
            }
            Some(known) => format!("did you mean {known}?"),
            None => "`agent-events config default` prints every setting there is".to_owned(),
        };
        Problem {
            key: dotted(path),
            // What nobody knows may be a secret.
            value: None,
            origin: self.origins.of(entry),
            message: "unknown setting".to_owned(),
            hint: Some(hint),
        }
    }
}

/// The kind that `[watch.certificates.cert-manager.io]` was meant to be.
fn unquoted_kind(path: &[String], entry: &Value) -> Option<String> {
    let ([watch, first, next], ValueKind::Table(below)) = (path, &entry.kind) else { return None };
    let mut parts = vec![first.clone(), next.clone()];
    let mut below = below;
    // The group goes on as long as a table holds nothing but one other.
    while let Some((key, ValueKind::Table(deeper))) = below.iter().next().map(|(key, value)| (key, &value.kind))
        && below.len() == 1
        && key != "namespaces"
    {
        parts.push(key.clone());
        below = deeper;
    }
    Pattern::parse(&parts.join(".")).ok().map(|kind| dotted(&[watch.clone(), kind.to_string()]))
}

fn wrong_type(path: &[String], value: &Value, expected: &str, origins: &Origins) -> Problem {
    fault(path, value, origins, format!("expected {expected}, got {}", type_name(value)))
}

/// The TOML type of a value, for a person.
pub fn type_name(value: &Value) -> &'static str {
    match value.kind {
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) => "a whole number",
        ValueKind::Float(_) => "a number with a fraction",
        _ => "a string",
    }
}

/// A fault of one value, which is shown unless it is a secret.
pub fn fault(path: &[String], value: &Value, origins: &Origins, message: String) -> Problem {
    let scalar = !matches!(value.kind, ValueKind::Table(_) | ValueKind::Array(_));
    let value_shown = (scalar && !is_secret(path)).then(|| tree::written(value));
    Problem { key: dotted(path), value: value_shown, origin: origins.of(value), message, hint: None }
}

/// Whether the value of this setting must not be shown. The path of a file that holds a secret is none.
pub fn is_secret(path: &[String]) -> bool {
    path.last().is_some_and(|name| sounds_secret(name) && !name.ends_with("_file"))
}
