//! Which settings exist, taken from default.toml itself, and what to suggest for one that does not.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use crate::domain::pattern::Pattern;

use super::tree::dotted;

/// What may stand at a place in the tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A table with these names and no others.
    Table(BTreeMap<String, Shape>),
    /// `[watch]`: these names, and a table for every kind that somebody may name.
    Kinds {
        /// The names that are known.
        known: BTreeMap<String, Shape>,
        /// What stands in the table of a kind.
        kind: Box<Shape>,
    },
    /// A table whose names the user chooses.
    Free(Free),
    /// true or false.
    Flag,
    /// A whole number.
    Whole,
    /// A text; durations, sizes and choices are texts whose meaning the typed settings check.
    Text,
    /// A text that is never a number.
    Word,
}

/// A table whose names the user chooses. Tables nested in it are flattened to dotted names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Whether its values are true and false (a set of names) or any scalar (passed through).
    pub flags: bool,
    /// How a name is spelled in an environment variable.
    pub env_names: EnvNames,
}

/// How the rest of an environment variable's name becomes a name in a free table. Shells take only letters, digits and
/// `_`, and most write capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvNames {
    /// `KUBE_SYSTEM` is `kube-system`: namespaces have no `_`.
    Dashed,
    /// `SOCKET_TIMEOUT_MS` is `socket.timeout.ms`: neither librdkafka nor Kafka topics have a setting with `_`.
    Dotted,
    /// As it stands: names of environment variables, of annotations.
    AsTyped,
}

/// The free tables. A topic's `config` is one as well, see [`free_at`].
const FREE: [(&str, Free); 6] = [
    ("watch.namespaces", Free { flags: true, env_names: EnvNames::Dashed }),
    ("redaction.env_allow", Free { flags: true, env_names: EnvNames::AsTyped }),
    ("redaction.annotations_deny", Free { flags: true, env_names: EnvNames::AsTyped }),
    ("redaction.secret_annotations_allow", Free { flags: true, env_names: EnvNames::AsTyped }),
    ("redaction.configmaps.full_namespaces", Free { flags: true, env_names: EnvNames::Dashed }),
    ("kafka.librdkafka", Free { flags: false, env_names: EnvNames::Dotted }),
];

/// The section that takes a table for every kind.
const WATCH: &str = "watch";

/// Whether the table at `path` is free.
fn free_at(path: &[String]) -> Option<Free> {
    match path {
        [topics, _, config] if topics == "topics" && config == "config" => {
            Some(Free { flags: false, env_names: EnvNames::Dotted })
        }
        _ => {
            let key = dotted(path);
            FREE.iter().find(|(known, _)| *known == key).map(|(_, free)| *free)
        }
    }
}

impl Shape {
    /// The shape of the tree of default.toml.
    pub fn of(defaults: &Value) -> Self {
        Self::of_node(defaults, &mut Vec::new())
    }

    fn of_node(node: &Value, path: &mut Vec<String>) -> Self {
        match &node.kind {
            ValueKind::Table(entries) => {
                if let Some(free) = free_at(path) {
                    return Self::Free(free);
                }
                let mut children = BTreeMap::new();
                for (key, child) in entries {
                    path.push(key.clone());
                    children.insert(key.clone(), Self::of_node(child, path));
                    path.pop();
                }
                if path[..] != [WATCH] {
                    return Self::Table(children);
                }
                // default.toml says of a kind only what it must; all of them may say the same.
                for child in children.values_mut().filter(|child| child.is_kind()) {
                    *child = Self::kind();
                }
                Self::Kinds { known: children, kind: Box::new(Self::kind()) }
            }
            ValueKind::Boolean(_) => Self::Flag,
            ValueKind::I64(_) => Self::Whole,
            _ => Self::Text,
        }
    }

    /// The table of one kind.
    fn kind() -> Self {
        let namespaces = Self::Free(Free { flags: true, env_names: EnvNames::Dashed });
        let names = [
            ("enabled", Self::Flag),
            ("policy", Self::Word),
            ("label_selector", Self::Word),
            ("field_selector", Self::Word),
            ("namespaces", namespaces),
        ];
        Self::Table(names.into_iter().map(|(name, shape)| (name.to_owned(), shape)).collect())
    }

    fn is_kind(&self) -> bool {
        matches!(self, Self::Table(children) if children.contains_key("enabled"))
    }

    /// The shape at a path; below a free table it is the free table itself.
    pub fn at(&self, path: &[String]) -> Option<&Shape> {
        match (self, path.split_first()) {
            (_, None) | (Self::Free(_), _) => Some(self),
            (Self::Table(children), Some((first, rest))) => children.get(first)?.at(rest),
            (Self::Kinds { known, kind }, Some((first, rest))) => match known.get(first) {
                Some(child) => child.at(rest),
                None if Pattern::parse(first).is_ok() => kind.at(rest),
                None => None,
            },
            (_, Some(_)) => None,
        }
    }

    /// The names that are known of a table.
    fn children(&self) -> Option<&BTreeMap<String, Shape>> {
        match self {
            Self::Table(children) | Self::Kinds { known: children, .. } => Some(children),
            _ => None,
        }
    }

    /// What belongs here, for a person.
    pub fn expected(&self) -> &'static str {
        match self {
            Self::Table(_) | Self::Kinds { .. } | Self::Free(_) => "a table",
            Self::Flag => "true or false",
            Self::Whole => "a whole number",
            Self::Text | Self::Word => "a string",
        }
    }

    /// Turns the parts of an environment variable's name into the path it means, as far as such a setting exists; what
    /// does not exist stays in small letters, to be reported as unknown.
    pub fn path_of_env(&self, parts: &[&str]) -> Vec<String> {
        let Some((first, rest)) = parts.split_first() else { return Vec::new() };
        let found = self.children().and_then(|all| all.iter().find(|(key, _)| as_env(key) == as_env(first)));
        match self {
            Self::Table(_) | Self::Kinds { .. } => {
                let (key, below) = match (found, self) {
                    (Some((key, child)), _) => (key.clone(), child.path_of_env(rest)),
                    // A group has dots where a shell takes only `_`; one with a dash cannot be spelled here.
                    (None, Self::Kinds { kind, .. }) if !rest.is_empty() => {
                        (first.to_lowercase().replace('_', "."), kind.path_of_env(rest))
                    }
                    (None, _) => (first.to_lowercase(), rest.iter().map(|part| part.to_lowercase()).collect()),
                };
                [vec![key], below].concat()
            }
            Self::Free(free) => vec![match free.env_names {
                EnvNames::Dashed => parts.join("__").to_lowercase().replace('_', "-"),
                EnvNames::Dotted => parts.join("_").to_lowercase().replace('_', "."),
                EnvNames::AsTyped => parts.join("__"),
            }],
            _ => parts.iter().map(|part| part.to_lowercase()).collect(),
        }
    }

    /// The existing setting that an unknown one was probably meant to be.
    pub fn nearest(&self, unknown: &[String]) -> Option<String> {
        let (last, above) = unknown.split_last()?;
        if let Some(siblings) = self.at(above).and_then(Self::children)
            && let Some(sibling) = nearest_name(last, siblings.keys().map(String::as_str))
        {
            return Some(dotted(&[above, &[sibling.to_owned()]].concat()));
        }
        // The right name in the wrong section, or without one.
        let all = self.paths();
        all.iter().find(|path| path.last().is_some_and(|name| as_env(name) == as_env(last))).map(|path| dotted(path))
    }

    fn paths(&self) -> Vec<Vec<String>> {
        let Some(children) = self.children() else { return Vec::new() };
        let below = |key: &String, child: &Shape| {
            let deeper = child.paths().into_iter().map(|path| [vec![key.clone()], path].concat());
            std::iter::once(vec![key.clone()]).chain(deeper).collect::<Vec<_>>()
        };
        children.iter().flat_map(|(key, child)| below(key, child)).collect()
    }
}

/// A name as it is spelled in an environment variable.
fn as_env(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The name that `typed` was probably meant to be: a slip of up to a third of its letters, or one that goes on where
/// the other ends (`bootstrap_servers`, `deployment`).
pub fn nearest_name<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = as_env(typed);
    let distance = |name: &str| {
        let name = as_env(name);
        let shorter = name.len().min(typed.len());
        if shorter >= 4 && (name.starts_with(&typed) || typed.starts_with(&name)) {
            return Some(1);
        }
        let distance = strsim::damerau_levenshtein(&typed, &name);
        (distance <= (shorter / 3).max(1)).then_some(distance)
    };
    names.filter_map(|name| Some((distance(name)?, name))).min().map(|(_, name)| name)
}
