//! The promises of the settings: default.toml is complete, layers win in their order, every fault is named at once with
//! its origin and its remedy, and a secret is never shown.
//!
//! The tables of faults hold the full text that a person reads. `x.toml` stands for the file's path.

mod config_command;
mod defaults;
mod faults;
mod kinds;
mod layers;
mod secrets;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use agent_events::cli::config_cmd;
use agent_events::domain::{kind::Kind, topic};
use agent_events::settings::{
    ClusterMode, FlagOverride, Loaded, LogFormat, Origin, Scope, Secret, Settings, SettingsError, Sources, load,
};

/// Sources with what no default can give, so that a test names only what it is about.
fn sound() -> Sources {
    Sources { set: texts(&["cluster.name=c", "kafka.bootstrap=broker:9092"]), ..Sources::default() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(sources: &Sources) -> Loaded {
    load(sources).unwrap_or_else(|error| panic!("{error}"))
}

/// A settings file that goes with the test.
struct File(tempfile::TempDir);

impl File {
    fn with(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.toml"), text).unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("x.toml")
    }
}

/// What is printed for these sources over a file with this text.
fn faults_of(file: &str, mut sources: Sources) -> String {
    let file = File::with(file);
    sources.files.push(file.path());
    let error: SettingsError = load(&sources).expect_err("the settings were taken");
    error.to_string().replace(file.path().to_str().unwrap(), "x.toml")
}

/// The text for each file alone must be exactly the one beside it.
fn assert_faults(cases: &[(&str, &str)]) {
    for (file, expected) in cases {
        assert_eq!(faults_of(file, sound()), *expected, "for the file:\n{file}");
    }
}
