//! What can go wrong in the test bed, each error naming the thing, the remedy where there is one, and the log to read.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A program that a part needs is not on this machine. Tests turn it into a counted, loud skip for a person, and into a
/// failure where [`crate::must_not_skip`] says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{tool}` is not on PATH: it is needed {needed_for}")]
pub struct Missing {
    /// The program's name, as one would install it (`go`, `mvn`, `java`, `kubectl`).
    pub tool: &'static str,
    /// What it would be used for, as the end of the sentence "it is needed …".
    pub needed_for: &'static str,
}

/// Why a verb of the test bed did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tool is missing; see [`Missing`].
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A file, directory, socket or process operation failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted, on what.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Building a part from its package registry failed.
    #[error("building {what} failed ({status}); its last words, the rest is in {}:\n{tail}", log.display())]
    Build {
        /// The build step.
        what: String,
        /// How the build tool ended.
        status: ExitStatus,
        /// The whole output.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A process ended instead of becoming ready.
    #[error("{process} ended ({status}) before it was ready; its last words, the rest is in {}:\n{tail}", log.display())]
    Exited {
        /// The process' name.
        process: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A condition was not met in time.
    #[error("{what} is not ready after {waited:?}: {last}; see the logs in {}", logs.display())]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last answer of the probe.
        last: String,
        /// Where the logs are.
        logs: PathBuf,
    },
    /// A verb that needs a live process was used on one that has ended.
    #[error("{process} is not running: `restart` it first")]
    NotRunning {
        /// The process' name.
        process: &'static str,
    },
    /// No free loopback port is left in the range that the test bed uses.
    #[error("no free loopback port between {low} and {high}: something holds them all, see `ss -tln`")]
    NoPort {
        /// First port tried.
        low: u16,
        /// Last port tried.
        high: u16,
    },
    /// A chosen port is in use.
    #[error("port {port} on 127.0.0.1 is in use: choose another, or none to have a free one picked")]
    PortInUse {
        /// The port asked for.
        port: u16,
    },
    /// A request to the API server got no answer, or one that made no sense.
    #[error("{method} {url}: {reason}")]
    Request {
        /// The HTTP method.
        method: String,
        /// The whole URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The API server answered, but refused.
    #[error("{method} {path} was answered {status}: {body}")]
    Refused {
        /// The HTTP method.
        method: String,
        /// Path and query.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The answer's body, a Kubernetes `Status` as a rule.
        body: String,
    },
    /// kubectl ran and said no.
    #[error("kubectl {args} failed: {stderr}")]
    Kubectl {
        /// The arguments.
        args: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// A state file does not hold what this version writes.
    #[error("{} is not a state file of this version ({reason}): `testbed down` removes it", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The test bed's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds what was attempted to an `io::Error`.
pub(crate) trait Attempt<T> {
    /// `action` completes "cannot …".
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { action: action(), source })
    }
}
