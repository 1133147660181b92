//! `config show | validate | default`: what is in force, where it came from, whether it is sound. Renders text and JSON;
//! printing and exit codes are the caller's. `config schema` comes later.

use std::fmt::Write;

use crate::settings::{DEFAULT_TOML, InForce, Loaded, SettingsError, dotted, quoted_if_needed};

/// `config default`: the embedded file, comments and all.
pub fn default_text() -> &'static str {
    DEFAULT_TOML
}

/// `config validate`: one line when the settings are sound; the caller prints the error otherwise.
///
/// # Errors
/// The faults, as they came from loading; also a password file that cannot be read, which loading leaves alone so that
/// `config show` works on another machine.
pub fn validate_text(loaded: Result<Loaded, SettingsError>) -> Result<String, SettingsError> {
    let loaded = loaded?;
    loaded.sasl_password()?;
    Ok("settings are valid\n".to_owned())
}

/// `config show [--origin]`: every setting as TOML that `--config` would read back (but for secrets), each with the layer
/// it came from when asked.
pub fn show_text(loaded: &Loaded, with_origin: bool) -> String {
    let mut text = String::new();
    let mut section: &[String] = &[];
    // Within a table, its own values come before its tables, or TOML would read them as part of those.
    let mut settings: Vec<(&[String], &InForce)> = loaded.provenance.iter().collect();
    settings.sort_by_key(|(path, _)| path.split_last().map(|(name, table)| (table, name)));
    for (path, in_force) in settings {
        let Some((name, table)) = path.split_last() else { continue };
        if table != section {
            section = table;
            push(&mut text, format_args!("\n[{}]\n", dotted(table)));
        }
        push(&mut text, format_args!("{} = {}", quoted_if_needed(name), in_force.value));
        if with_origin {
            push(&mut text, format_args!(" # {}", in_force.origin));
        }
        text.push('\n');
    }
    text
}

/// `config show -o json`: `{"settings": {...}, "origins": {"<dotted key>": "<layer>"}}`, with secrets redacted.
/// Durations and sizes are texts as in a settings file.
pub fn show_json(loaded: &Loaded) -> serde_json::Value {
    let origins = loaded.provenance.iter().map(|(path, in_force)| (dotted(path), in_force.origin.to_string()));
    serde_json::json!({
        "settings": loaded.settings,
        "origins": origins.collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a String takes all text");
}
