//! What is said when acknowledged records cannot be read any more: which file, which record, and what helps.

use super::codec::Place;
use super::files::unusable;
use super::state::State;
use crate::log::LogError;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const NOT_AS_WRITTEN: &str = "what stands there is not what was written";

/// A place in the log that is not what was written.
#[derive(Debug, Clone)]
pub(super) struct Damage {
    pub file: PathBuf,
    /// The first record that is missed, as far as it can be known.
    pub at: Option<(Place, i64)>,
    pub what: String,
}

impl Damage {
    pub fn new(file: &Path, at: Option<(Place, i64)>, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), at, what: what.into() }
    }

    pub fn into_error(self, state: &State) -> LogError {
        let directory = self.file.parent().unwrap_or(&self.file).display();
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        let at = self.at.map_or_else(String::new, |at| format!(" at {}", named(state, at)));
        LogError::Refused(format!(
            "the log in {directory} is damaged{at}: {file}: {}. Records that were acknowledged cannot be read any more. \
             Bring the directory back from a copy, or move it away (mv {directory} {directory}.damaged) and start again: \
             capture begins anew from the cluster, and the history that only this log held stays in what was moved",
            self.what
        ))
    }
}

/// `topic NAME partition P offset O`.
pub(super) fn named(state: &State, (place, offset): (Place, i64)) -> String {
    match state.name(place) {
        Some(name) => format!("topic {name} partition {} offset {offset}", place.partition),
        None => format!("topic number {} partition {} offset {offset}", place.topic, place.partition),
    }
}

/// Why files could not be read or written.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Damage(Box<Damage>),
    Refused(LogError),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Self {
        Self::Damage(Box::new(damage))
    }
}

impl Trouble {
    pub fn into_error(self, directory: &Path, state: &State) -> LogError {
        match self {
            Self::Io(error) => unusable(directory, &error),
            Self::Damage(damage) => damage.into_error(state),
            Self::Refused(error) => error,
        }
    }
}
