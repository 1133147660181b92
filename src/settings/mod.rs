//! Settings: what was typed, in a file, in the environment or on the command line, turned once into what it means.
//!
//! [`load`] takes all sources at once and reads neither the environment nor the command line itself. It answers with
//! typed [`Settings`] and where each value came from, or with *every* fault it found. It touches no network, so a process
//! with bad settings ends before it spoke to anyone ([`SettingsError::EXIT_CODE`]).
//!
//! The defaults are `config/default.toml`, compiled in. That file is also the list of the settings that exist: a name it
//! lacks is refused, and a field it lacks does not load. It leaves the description of each setting to its comments.
//!
//! On the way, one file a step: `layer` reads a source into a tree of values with origins (`tree`), `conform` takes out
//! what the `shape` of default.toml does not allow, `merge` merges and types, `check` compares settings with each other.

mod check;
mod conform;
mod files;
mod kafka;
mod layer;
mod load;
mod merge;
mod model;
mod problem;
mod redaction;
mod shape;
mod tree;
mod units;
mod watch;

pub use kafka::{KafkaSettings, TopicCreation, TopicSettings, TopicsSettings};
pub use layer::{FlagOverride, Sources};
pub use load::{InForce, Provenance};
pub use model::{
    ChaosSettings, ClusterMode, ClusterSettings, EmbeddedSettings, EmbeddedSync, HttpSettings, LogEngine, LogFormat,
    LogSettings, ObserveSettings, PublisherSettings, SandboxSettings, SandboxWorkload, Settings, StoreSettings,
    SupervisionSettings,
};
pub use problem::{Origin, Problem, SettingsError};
pub use redaction::{ConfigMapRedaction, RedactionSettings, RuleSettings};
pub use tree::{dotted, quoted_if_needed};
pub use units::{PassThrough, REDACTED, Secret};
pub use watch::{KindSettings, Scope, WATCHES_A_KIND, WatchSettings};

/// The defaults, with the reason of each: `config default` prints it.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Settings, and who said so.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What the program works with.
    pub settings: Settings,
    /// Where each value came from.
    pub provenance: Provenance,
}

/// Merges the sources over the defaults.
///
/// # Errors
/// Every fault of every layer: unreadable files, unknown names, wrong types, values out of range, settings that
/// contradict each other. Values of secrets are in none of the texts.
pub fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
    load::load(sources)
}

/// The data directory alone, of settings that need not be fit to run: a command that looks for a process there has no
/// use for a broker.
///
/// # Errors
/// Every fault of every layer's form, as [`load`] reports them.
pub fn load_data_dir(sources: &Sources) -> Result<std::path::PathBuf, SettingsError> {
    load::load_data_dir(sources)
}

impl Settings {
    /// What default.toml says and nothing else: a start for tests, which then set what they need. Not complete enough to
    /// run (no cluster name, no broker), since no default can be right.
    pub fn defaults() -> Self {
        load::default_settings()
    }
}

impl Loaded {
    /// The SASL password, from `kafka.sasl_password` or read afresh from `kafka.sasl_password_file`.
    ///
    /// # Errors
    /// When the file cannot be read or is empty; bad settings like any other.
    pub fn sasl_password(&self) -> Result<Option<Secret>, SettingsError> {
        let Some(path) = &self.settings.kafka.sasl_password_file else {
            return Ok(self.settings.kafka.sasl_password.clone());
        };
        let problem = |message: String| Problem {
            key: "kafka.sasl_password_file".to_owned(),
            value: Some(format!("{:?}", path.display().to_string())),
            origin: self.origin(&["kafka", "sasl_password_file"]),
            message,
            hint: Some("the file holds the password and nothing else".to_owned()),
        };
        let unreadable = |error: std::io::Error| problem(format!("cannot read this file: {error}"));
        let (bytes, _) = files::read(path).map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|_| problem("this file holds no text".to_owned()))?;
        // Editors and `echo` end a file with a line break that belongs to no password.
        let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if password.is_empty() {
            return Err(problem("this file is empty".to_owned()).into());
        }
        Ok(Some(Secret::from(password.to_owned())))
    }

    /// The layer that a setting came from.
    pub fn origin(&self, path: &[&str]) -> Origin {
        self.provenance.get(path).map_or(Origin::Default, |in_force| in_force.origin.clone())
    }
}
