//! How a command ends: with an exit code that scripts rely on, and a sentence that says what to do.

use super::output::{CLOSED_PIPE, printable};
use crate::kubernetes::client::AccessError;
use crate::log::LogError;
use crate::settings::SettingsError;
use std::io;

/// Something was wrong.
pub const ERROR: u8 = 1;
/// What was typed makes no sense.
pub const USAGE: u8 = 2;
/// No process answers.
pub const NOT_RUNNING: u8 = 3;
/// A check failed.
pub const UNHEALTHY: u8 = 10;
/// `topics plan` found something to do.
pub const CHANGES_PENDING: u8 = 12;
/// Cluster or broker unreachable, or none configured (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;

/// Why a command did not do what it was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For stderr, one or more lines; empty when there is nobody to tell.
    pub message: String,
}

impl Failure {
    /// Exit code 1.
    pub fn error(message: impl Into<String>) -> Self {
        Self::with(ERROR, message)
    }

    /// A failure with an exit code of its own.
    pub fn with(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What stderr is told. Messages quote servers.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.message.lines().map(|line| {
            let line = printable(line);
            if line.starts_with("error: ") { line.into_owned() } else { format!("error: {line}") }
        })
    }
}

impl From<io::Error> for Failure {
    /// Commands write to stdout only; whoever closed it knows.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::with(CLOSED_PIPE, ""),
            _ => Self::error(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::with(SettingsError::EXIT_CODE, error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let code = match error {
            LogError::Unreachable(..) => UNAVAILABLE,
            LogError::Refused(_) => ERROR,
            LogError::Setting { .. } => SettingsError::EXIT_CODE,
        };
        let remedy = match error {
            LogError::Unreachable(..) => "; is the broker running, and does kafka.bootstrap name it?",
            _ => "",
        };
        Self::with(code, format!("{error}{remedy}"))
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::with(UNAVAILABLE, error.to_string())
    }
}
