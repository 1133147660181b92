//! From sources to settings: read each layer, refuse what does not belong, merge, turn into types, check the meaning.
//!
//! Nothing here stops at the first fault. A layer's faulty values are taken out before merging, and a merged value that
//! its type refuses is replaced by its default for the rest of the work, so that one fault never hides another. Whatever
//! was found makes the whole load fail.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use crate::domain::pattern::Pattern;

use super::check::check;
use super::conform::{conform_layer, is_secret};
use super::layer::{Layer, Sources};
use super::merge::{merge, typed};
use super::problem::{Origin, Problem, SettingsError};
use super::shape::Shape;
use super::tree::{self, Origins};
use super::units::REDACTED;
use super::{DEFAULT_TOML, Loaded, Settings};

/// Where each value in force came from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Provenance(BTreeMap<Vec<String>, InForce>);

/// One value in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The value as TOML; a secret is redacted.
    pub value: String,
    /// The layer it came from.
    pub origin: Origin,
}

impl Provenance {
    /// Path, value and origin of every setting, by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], &InForce)> {
        self.0.iter().map(|(path, value)| (path.as_slice(), value))
    }

    /// One setting by its path of names.
    pub fn get(&self, path: &[&str]) -> Option<&InForce> {
        self.0.get(&path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
    }

    fn of(merged: &Value, origins: &Origins) -> Self {
        let in_force = |(path, value): (Vec<String>, &Value)| {
            let text = tree::written(value);
            let shown = if is_secret(&path) && text != "\"\"" { format!("\"{REDACTED}\"") } else { text };
            (path, InForce { value: shown, origin: origins.of(value) })
        };
        Self(tree::leaves(merged).into_iter().map(in_force).collect())
    }
}

/// Loads the settings; see [`super::load`].
pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
    let (loaded, mut problems) = read_all(sources);
    // A value already reported was replaced by its default: what follows from that is not the user's fault.
    let reported: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    let found = check(&loaded.settings, &loaded.provenance);
    problems.extend(found.into_iter().filter(|found| !reported.contains(&found.key)));
    if problems.is_empty() { Ok(loaded) } else { Err(SettingsError { problems }) }
}

/// The data directory alone; see [`super::load_data_dir`].
pub fn load_data_dir(sources: &Sources) -> Result<std::path::PathBuf, SettingsError> {
    let (loaded, problems) = read_all(sources);
    if problems.is_empty() { Ok(loaded.settings.data_dir) } else { Err(SettingsError { problems }) }
}

/// Everything but the meaning.
fn read_all(sources: &Sources) -> (Loaded, Vec<Problem>) {
    let mut origins = Origins::default();
    let mut problems = Vec::new();
    let (defaults, shape) = defaults(&mut origins);
    let mut layers = vec![Layer::of(defaults.clone())];
    for layer in read(sources, &shape, &mut origins) {
        match layer {
            Ok(layer) => layers.push(conform_layer(layer, &shape, &origins, &mut problems)),
            Err(found) => problems.extend(found),
        }
    }
    replace_namespaces(&mut layers);
    disable_other_kinds(&mut layers);

    let mut merged = merge(layers);
    let mut settings: Settings = typed(&mut merged, &defaults, &origins, &mut problems);
    forget_default_namespace(&mut settings, &mut merged, &origins);
    let provenance = Provenance::of(&merged, &origins);
    (Loaded { settings, provenance }, problems)
}

/// Every layer above the defaults, or what makes it unreadable.
fn read(sources: &Sources, shape: &Shape, origins: &mut Origins) -> Vec<Result<Layer, Vec<Problem>>> {
    let mut layers = Vec::new();
    layers.extend(sources.files.iter().map(|path| Layer::of_file(path, origins)));
    layers.extend(sources.env.iter().filter_map(|(name, value)| Layer::of_env(name, value, shape, origins).map(Ok)));
    layers.extend(sources.set.iter().map(|argument| Layer::of_set(argument, shape, origins)));
    layers.extend(sources.flags.iter().map(|flag| Layer::of_flag(flag, shape, origins)));
    layers
}

/// The values of default.toml alone, as the program would use them with nothing else said.
pub fn default_settings() -> Settings {
    let mut origins = Origins::default();
    let (defaults, _) = defaults(&mut origins);
    typed(&mut defaults.clone(), &defaults, &origins, &mut Vec::new())
}

/// The lowest layer, and the shape it gives to all others.
fn defaults(origins: &mut Origins) -> (Value, Shape) {
    let values = tree::read(DEFAULT_TOML, origins, &|_| Origin::Default)
        .expect("the embedded default.toml is TOML, or no test of this program passes");
    let shape = Shape::of(&values);
    let mut problems = Vec::new();
    let layer = conform_layer(Layer::of(values), &shape, origins, &mut problems);
    assert!(problems.is_empty(), "default.toml does not fit the shape it gives: {problems:?}");
    (layer.values, shape)
}

const NAMESPACES: [&str; 2] = ["watch", "namespaces"];

/// Namespaces are a set that is chosen as a whole: the built-in `default` counts only while no other layer names one,
/// and `--namespace` means exactly what it says.
fn replace_namespaces(layers: &mut [Layer]) {
    for upper in (1..layers.len()).rev() {
        let names_some = tree::at(&layers[upper].values, &NAMESPACES).is_some_and(|table| !tree::is_empty(table));
        let replaced = match (layers[upper].replaces_namespaces, names_some) {
            (true, _) => upper,
            (false, true) => 1,
            (false, false) => 0,
        };
        for lower in &mut layers[..replaced] {
            tree::clear(&mut lower.values, &NAMESPACES);
        }
    }
}

/// `--resources` means exactly what it says: every table of a lower layer that it does not name is switched off, and those
/// that it names only by a group or by `*` are switched on.
fn disable_other_kinds(layers: &mut [Layer]) {
    for upper in 1..layers.len() {
        let Some(only) = layers[upper].only_kinds.clone() else { continue };
        let lower: BTreeSet<String> = layers[..upper].iter().flat_map(kind_tables).collect();
        for name in lower {
            let Ok(pattern) = Pattern::parse(&name) else { continue };
            let origin = layers[upper].values.origin().unwrap_or_default().to_owned();
            let on = Value::new(Some(&origin), only.iter().any(|wider| wider.includes(&pattern)));
            let table = tree::single(&["enabled".to_owned()], on);
            if let Some(ValueKind::Table(watch)) =
                tree::at_mut(&mut layers[upper].values, &["watch"]).map(|w| &mut w.kind)
            {
                watch.entry(name).or_insert(table);
            }
        }
    }
}

/// The tables of kinds in a layer, by name.
fn kind_tables(layer: &Layer) -> Vec<String> {
    let Some(ValueKind::Table(watch)) = tree::at(&layer.values, &["watch"]).map(|watch| &watch.kind) else {
        return Vec::new();
    };
    let is_table = |value: &Value| matches!(value.kind, ValueKind::Table(_));
    let tables = watch.iter().filter(|(name, value)| is_table(value) && *name != NAMESPACES[1]);
    tables.map(|(name, _)| name.clone()).collect()
}

/// With all namespaces, the built-in `default` says nothing: it is not shown as if it did. Namespaces that a person
/// named are a contradiction, which `check` reports.
fn forget_default_namespace(settings: &mut Settings, merged: &mut Value, origins: &Origins) {
    let by_a_person = |(_, value): &(Vec<String>, &Value)| origins.of(value) != Origin::Default;
    let named = tree::at(merged, &NAMESPACES).is_some_and(|table| tree::leaves(table).iter().any(by_a_person));
    if settings.watch.all_namespaces && !named {
        tree::clear(merged, &NAMESPACES);
        settings.watch.namespaces.clear();
    }
}
