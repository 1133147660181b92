//! One tree out of all layers, and typed settings out of that tree.

use config::{Config, Map, Value, ValueKind};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Segment, Track};

use super::conform::{fault, type_name};
use super::layer::Layer;
use super::problem::Problem;
use super::tree::{self, Origins};

/// A layer as the `config` crate takes it.
#[derive(Debug, Clone)]
struct Source(Map<String, Value>);

impl config::Source for Source {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// One tree, in which later layers win and every value still knows its origin.
pub fn merge(layers: Vec<Layer>) -> Value {
    let sources = layers.into_iter().filter_map(|layer| match layer.values.kind {
        ValueKind::Table(entries) => Some(Source(entries)),
        _ => None,
    });
    let merged = sources.fold(Config::builder(), |builder, source| builder.add_source(source)).build();
    let merged = merged.and_then(|merged| config::Source::collect(&merged));
    Value::new(None, ValueKind::Table(merged.expect("sources that are in memory already cannot fail to be collected")))
}

/// The typed settings. A value that its type refuses is reported and replaced by its default, in `merged` as well, so
/// that the next one is found too.
///
/// The tree is read through `toml`, not through `config`, whose reader takes "yes" and 1 for true and loses the origin
/// of what a type refuses.
pub fn typed<T: DeserializeOwned>(
    merged: &mut Value,
    defaults: &Value,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) -> T {
    loop {
        let (path, message) = match deserialize(merged) {
            Ok(settings) => return settings,
            Err(refused) => refused,
        };
        let refused = tree::at(merged, &path).cloned().unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        match tree::at(defaults, &path) {
            Some(default) if default.kind == refused.kind => {
                panic!("default.toml does not load: {}: {message}", tree::dotted(&path))
            }
            Some(default) => tree::replace(merged, &path, default.clone()),
            // An entry of a free table: it has no default.
            None => drop(tree::remove(merged, &path)),
        }
        problems.push(fault(&path, &refused, origins, reworded(&message, &refused)));
    }
}

/// The settings, or the path of the first value that its type refuses, and why.
fn deserialize<T: DeserializeOwned>(merged: &Value) -> Result<T, (Vec<String>, String)> {
    let mut track = Track::new();
    let mut ignored = Vec::new();
    let values = serde_path_to_error::Deserializer::new(tree::to_toml(merged), &mut track);
    let settings = serde_ignored::deserialize(values, |path| ignored.push(path.to_string()));
    // The layers hold nothing that default.toml lacks, so it would be default.toml that says something nobody reads.
    assert!(ignored.is_empty(), "default.toml has settings that no type takes: {ignored:?}");
    settings.map_err(|error: toml::de::Error| {
        let path = track.path();
        let keys = path.iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        (keys.collect(), error.message().to_owned())
    })
}

/// serde's text without the value, which is shown elsewhere or is a secret, and without Rust's type names.
fn reworded(message: &str, value: &Value) -> String {
    let Some((_, expected)) = message.rsplit_once("expected ") else { return message.to_owned() };
    let expected = match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "usize" => "a whole number that is not negative",
        other => other,
    };
    // Of a text in the wrong form, the value says enough.
    match value.kind {
        ValueKind::String(_) | ValueKind::I64(_) if !message.starts_with("invalid type") => {
            format!("expected {expected}")
        }
        _ => format!("expected {expected}, got {}", type_name(value)),
    }
}
