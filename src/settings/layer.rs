//! Where settings come from, and how each source becomes a tree of values with their origin.

use std::path::{Path, PathBuf};

use config::{Value, ValueKind};

use crate::domain::pattern::Pattern;

use super::problem::{Origin, Problem};
use super::shape::Shape;
use super::tree::{self, Origins};

/// All that was given to the program, lowest layer first; `config/default.toml` lies below all of it.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config` files, in order.
    pub files: Vec<PathBuf>,
    /// The environment; names that do not begin with `AGENT_EVENTS__` are passed over.
    pub env: Vec<(String, String)>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// What other flags mean for the settings, in order.
    pub flags: Vec<FlagOverride>,
}

/// What a flag of the command line means for the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlagOverride {
    /// One setting.
    Value {
        /// The flag as typed, `--poll-interval`.
        flag: String,
        /// The setting as a path of names.
        key: Vec<String>,
        /// Its value as it would stand in the environment.
        value: String,
    },
    /// Exactly these namespaces, whatever lower layers name.
    Namespaces {
        /// The flag as typed.
        flag: String,
        /// As typed; each may be a comma list.
        names: Vec<String>,
    },
    /// Exactly these kinds enabled.
    Resources {
        /// The flag as typed.
        flag: String,
        /// As typed; each may be a comma list.
        kinds: Vec<String>,
    },
}

impl FlagOverride {
    /// `key` is a setting whose names are free of dots, `watch.poll_interval`.
    pub fn value(flag: &str, key: &str, value: impl Into<String>) -> Self {
        let key = key.split('.').map(str::to_owned).collect();
        Self::Value { flag: flag.to_owned(), key, value: value.into() }
    }

    /// `--namespace a,b`, repeatable.
    pub fn namespaces(names: Vec<String>) -> Self {
        Self::Namespaces { flag: "--namespace".to_owned(), names }
    }

    /// `-A`, `--all-namespaces`.
    pub fn all_namespaces() -> Self {
        Self::value("--all-namespaces", "watch.all_namespaces", "true")
    }

    /// `--resources pods,certificates.cert-manager.io,*.example.com`.
    pub fn resources(kinds: Vec<String>) -> Self {
        Self::Resources { flag: "--resources".to_owned(), kinds }
    }

    /// `--poll-interval 30`, in seconds.
    pub fn poll_interval(seconds: u64) -> Self {
        Self::value("--poll-interval", "watch.poll_interval", format!("{seconds}s"))
    }
}

/// What one source says.
pub struct Layer {
    /// The values, a table.
    pub values: Value,
    /// Whether the namespaces of lower layers no longer count.
    pub replaces_namespaces: bool,
    /// The only kinds that are still enabled, where a layer says that.
    pub only_kinds: Option<Vec<Pattern>>,
}

impl Layer {
    /// A layer of these values.
    pub fn of(values: Value) -> Self {
        Self { values, replaces_namespaces: false, only_kinds: None }
    }

    /// A `--config` file.
    pub fn of_file(path: &Path, origins: &mut Origins) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![whole_layer(
                Origin::File { path: path.to_owned(), line: 0 },
                format!("cannot read this settings file: {error}"),
                "name an existing file with --config",
            )]
        })?;
        tree::read(&text, origins, &|line| Origin::File { path: path.to_owned(), line }).map(Self::of)
    }

    /// An environment variable, or `None` when it is not ours. One underscore behind AGENT_EVENTS is somebody else's:
    /// Kubernetes gives AGENT_EVENTS_SERVICE_HOST to every pod beside a Service named agent-events.
    pub fn of_env(name: &str, value: &str, shape: &Shape, origins: &mut Origins) -> Option<Self> {
        let path = name.strip_prefix("AGENT_EVENTS__")?;
        let path = shape.path_of_env(&path.split("__").collect::<Vec<_>>());
        let origin = origins.intern(Origin::Env(name.to_owned()));
        let value = Value::new(Some(&origin), from_text(value, shape.at(&path)));
        Some(Self::of(tree::single(&path, value)))
    }

    /// One `--set KEY=VALUE`.
    pub fn of_set(argument: &str, shape: &Shape, origins: &mut Origins) -> Result<Self, Vec<Problem>> {
        let problem = |message: String, hint: &str| vec![whole_layer(Origin::Set, message, hint)];
        let Some((key, value)) = split_at_equals(argument) else {
            // Without its value: what is not KEY=VALUE may be a secret typed in the wrong place.
            return Err(problem("expected KEY=VALUE".to_owned(), "for example --set watch.poll_interval=10s"));
        };
        let path = dotted_key(key).ok_or_else(|| {
            problem(
                format!("{key:?} is not a TOML dotted key"),
                "put quotes around a part that holds more than letters, digits, - and _",
            )
        })?;
        let origin = origins.intern(Origin::Set);
        let kind = from_argument(value, shape.at(&path), origins);
        Ok(Self::of(tree::single(&path, Value::new(Some(&origin), kind))))
    }

    /// What a flag means.
    pub fn of_flag(flag: &FlagOverride, shape: &Shape, origins: &mut Origins) -> Result<Self, Vec<Problem>> {
        match flag {
            FlagOverride::Value { flag, key, value } => {
                let origin = origins.intern(Origin::Flag(flag.clone()));
                let value = Value::new(Some(&origin), from_text(value, shape.at(key)));
                Ok(Self::of(tree::single(key, value)))
            }
            FlagOverride::Namespaces { flag, names } => {
                let names = split_commas(names);
                let origin = origins.intern(Origin::Flag(flag.clone()));
                if names.is_empty() {
                    return Err(vec![names_nothing(flag, "a namespace", "leave it out for the namespace default")]);
                }
                let on = |name: String| (name, Value::new(Some(&origin), true));
                let table = tree::table(&origin, names.into_iter().map(on).collect());
                let path = ["watch", "namespaces"].map(str::to_owned);
                Ok(Self { replaces_namespaces: true, ..Self::of(tree::single(&path, table)) })
            }
            FlagOverride::Resources { flag, kinds } => {
                let kinds = split_commas(kinds);
                let origin = origins.intern(Origin::Flag(flag.clone()));
                if kinds.is_empty() {
                    return Err(vec![names_nothing(flag, "a kind", "for example pods,deployments, or * for all")]);
                }
                let understood = kinds.iter().map(|typed| Pattern::parse(typed).map_err(|why| (typed, why)));
                let (patterns, faulty): (Vec<_>, Vec<_>) = understood.partition(Result::is_ok);
                let faulty = faulty.into_iter().filter_map(Result::err);
                let faulty: Vec<_> = faulty.map(|(typed, why)| no_kind(typed, why, flag)).collect();
                if !faulty.is_empty() {
                    return Err(faulty);
                }
                let patterns: Vec<Pattern> = patterns.into_iter().filter_map(Result::ok).collect();
                let on = |pattern: &Pattern| {
                    let on = Value::new(Some(&origin), true);
                    (pattern.to_string(), tree::single(&["enabled".to_owned()], on))
                };
                let table = tree::table(&origin, patterns.iter().map(on).collect());
                let values = tree::single(&["watch".to_owned()], table);
                Ok(Self { only_kinds: Some(patterns), ..Self::of(values) })
            }
        }
    }
}

fn no_kind(typed: &str, why: String, flag: &str) -> Problem {
    Problem { hint: None, ..whole_layer(Origin::Flag(flag.to_owned()), format!("{typed:?} is no kind: {why}"), "") }
}

fn names_nothing(flag: &str, what: &str, hint: &str) -> Problem {
    whole_layer(Origin::Flag(flag.to_owned()), format!("expected the name of {what}, got none"), hint)
}

fn whole_layer(origin: Origin, message: String, hint: &str) -> Problem {
    Problem { key: String::new(), value: None, origin, message, hint: Some(hint.to_owned()) }
}

fn split_commas(lists: &[String]) -> Vec<String> {
    let names = lists.iter().flat_map(|list| list.split(','));
    names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The environment knows only texts: what it means follows from the setting.
fn from_text(text: &str, shape: Option<&Shape>) -> ValueKind {
    let parsed = match shape {
        Some(Shape::Flag) => text.parse().ok().map(ValueKind::Boolean),
        Some(Shape::Free(free)) if free.flags => text.parse().ok().map(ValueKind::Boolean),
        Some(Shape::Whole) => text.parse().ok().map(ValueKind::I64),
        _ => None,
    };
    // What does not parse stays a text, which is then reported as the wrong type.
    parsed.unwrap_or_else(|| ValueKind::String(text.to_owned()))
}

/// A `--set` value is TOML where that is what the setting takes, and else the text as it stands, so that
/// `--set cluster.name=5` needs no quotes.
fn from_argument(text: &str, shape: Option<&Shape>, origins: &mut Origins) -> ValueKind {
    let parsed = tree::read(&format!("value = {text}"), origins, &|_| Origin::Set).ok();
    let parsed = parsed.and_then(|mut root| match root.kind {
        // More than one key: the text went on behind a line break, and is no TOML value.
        ValueKind::Table(ref map) if map.len() != 1 => None,
        _ => tree::remove(&mut root, &["value"]),
    });
    match (shape, parsed.map(|value| value.kind)) {
        (Some(Shape::Text | Shape::Word), Some(ValueKind::String(quoted))) if text.starts_with(['"', '\'']) => {
            ValueKind::String(quoted)
        }
        (Some(Shape::Text | Shape::Word), Some(kind @ (ValueKind::Table(_) | ValueKind::Array(_)))) => kind,
        (Some(Shape::Text | Shape::Word), _) | (_, None) => ValueKind::String(text.to_owned()),
        (_, Some(kind)) => kind,
    }
}

/// Splits at the first `=` outside of quotes; spaces around it are nobody's.
fn split_at_equals(argument: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (offset, c) in argument.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((argument[..offset].trim(), argument[offset + 1..].trim())),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// The parts of a TOML dotted key.
fn dotted_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '#', '=']) && !key.contains(['"', '\'']) {
        return None;
    }
    let root = tree::read(&format!("{key} = 0"), &mut Origins::default(), &|_| Origin::Set).ok()?;
    match &tree::leaves(&root)[..] {
        [(path, _)] => Some(path.clone()),
        _ => None,
    }
}
