//! What is wrong with the settings, said so that a person can mend it: the key, the value, the layer, the remedy.

use std::fmt;
use std::path::PathBuf;

/// The layer a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The embedded `config/default.toml`.
    Default,
    /// A `--config` file.
    File {
        /// As it was given.
        path: PathBuf,
        /// Counted from 1; 0 when the file as a whole is meant.
        line: usize,
    },
    /// An environment variable, by its name.
    Env(String),
    /// `--set`.
    Set,
    /// Another flag, by its name: `--namespace`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One fault of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting as a TOML dotted key; empty when the layer as a whole is at fault.
    pub key: String,
    /// The value as TOML, where showing it helps; never a secret.
    pub value: Option<String>,
    /// The layer that said so.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), &self.value) {
            ("", _) => write!(f, "error: {}: {}", self.origin, self.message)?,
            (key, None) => write!(f, "error: {key} ({}): {}", self.origin, self.message)?,
            (key, Some(value)) => write!(f, "error: {key} = {value} ({}): {}", self.origin, self.message)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All faults of the settings at once, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// In the order of the layers, then of the lines; never empty.
    pub problems: Vec<Problem>,
}

impl SettingsError {
    /// The exit code of a process with bad settings (EX_CONFIG of sysexits.h).
    pub const EXIT_CODE: u8 = 78;
}

impl From<Problem> for SettingsError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
