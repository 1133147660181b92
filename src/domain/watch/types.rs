//! What goes into the watch core, what comes out of it, and what outlives it.

use crate::domain::index::{Index, Note};
use crate::domain::record::OutRecord;
use crate::domain::redact::{Object, Redacted};
use crate::domain::rv::Rv;
use bytes::Bytes;
use std::time::Duration;

/// Knobs of the core. Times are monotonic, since any fixed point.
#[derive(Debug, Clone)]
pub struct Config {
    /// Objects a page.
    pub page_size: u32,
    /// Shortest and longest `timeoutSeconds` of a watch: below the 240 s at which cloud load balancers drop idle flows.
    pub watch_seconds: (u32, u32),
    /// Period of lists where RBAC gives `list` but no `watch`.
    pub poll_interval: Duration,
    /// Longest watch line; an object is at most 1.5 MB in etcd, its JSON may be larger.
    pub max_line: usize,
    /// Longest list page.
    pub max_page: usize,
    /// Largest record value that the log takes.
    pub max_record: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            page_size: 500,
            watch_seconds: (200, 240),
            poll_interval: Duration::from_secs(30),
            max_line: 8 << 20,
            max_page: 64 << 20,
            max_record: 4 << 20,
        }
    }
}

/// Time and chance, given with every call.
#[derive(Debug, Clone, Copy)]
pub struct Env {
    /// Monotonic time.
    pub now: Duration,
    /// Wall clock, milliseconds since 1970: only written into records.
    pub wall_ms: i64,
    /// Uniform in [0, 1).
    pub chance: f64,
}

/// What the core asks the API server for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Number of the request; every input about it carries it, so that what an old connection still delivers is ignored.
    pub id: u64,
    /// List or watch.
    pub verb: Verb,
    /// As `PartialObjectMetadata`: nothing else may be shown of the kind, so nothing else is asked for.
    pub metadata_only: bool,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// One page of a list.
    List {
        /// Objects wanted.
        limit: u32,
        /// Token of the page; `None` for the first.
        next: Option<String>,
        /// At least that version (`resourceVersionMatch=NotOlderThan`); `None` asks for the most recent.
        at_least: Option<Rv>,
    },
    /// A watch behind a version, with bookmarks.
    Watch {
        /// The version.
        rv: Rv,
        /// When the server shall end it.
        timeout_seconds: u32,
    },
}

/// What happened to a request.
pub enum Input {
    /// Status line and headers came.
    Head {
        /// HTTP status.
        status: u16,
        /// Retry-After, if given.
        retry_after: Option<Duration>,
    },
    /// Bytes of the body.
    Body(Bytes),
    /// The body ended in order.
    End,
    /// Connecting, waiting or reading failed or took too long; the text says what.
    Broken(String),
}

// Bytes of a body are not redacted yet: no log, however verbose, may show them.
impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head { status, retry_after } => write!(f, "Head({status}, retry after {retry_after:?})"),
            Self::Body(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Self::End => f.write_str("End"),
            Self::Broken(reason) => write!(f, "Broken({reason:?})"),
        }
    }
}

/// What the caller is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this request; drop the connection of any earlier one.
    Send(Request),
    /// Drop the connection.
    Close,
}

/// What outlives the watcher actor, beside its lane.
#[derive(Debug, Default)]
pub struct Capture {
    /// What is known of the kind.
    pub index: Index,
    /// Everything reported up to here is in the lane. Empty before the first list.
    pub position: Rv,
    /// The first list is in the lane (or the position came from a checkpoint).
    pub synced: bool,
}

/// What one report amounts to.
#[derive(Debug, Default)]
pub struct Commit {
    /// Records, in order.
    pub records: Vec<OutRecord>,
    /// New versions that these records hold, for the overlay: bytes of the object at that version.
    pub versions: Vec<Redacted<Object>>,
    /// The new position, if it moved.
    pub position: Option<Rv>,
    pub(super) notes: Vec<Note>,
    pub(super) begin_pass: bool,
}

impl Capture {
    /// Applies what is left of a commit once its records are in the lane.
    pub fn apply(&mut self, commit: Commit) {
        if commit.begin_pass {
            self.index.begin_pass();
        }
        for note in commit.notes {
            self.index.note(note);
        }
        if let Some(position) = commit.position {
            self.synced = true;
            if position > self.position {
                self.index.bury(&position);
                self.position = position;
            }
        }
    }
}

/// Where the core stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// `start`, `listing`, `watching`, `waiting`, `parked`.
    pub name: &'static str,
    /// Why it waits or is parked.
    pub reason: Option<String>,
}

/// Something worth counting or telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A list begins; why (`first`, `expired`, `poll`, `confirm`, `page_expired`).
    Relist(&'static str),
    /// More than half of the kind was missing from a list; a second list must agree.
    MassDeletion {
        /// Missing objects.
        missing: usize,
        /// Known objects.
        known: usize,
    },
    /// A line or item could not be read. The text quotes nothing.
    Undecodable(String),
    /// An object is represented by a stub.
    Stubbed(&'static str),
    /// A report changed nothing: replayed or known already.
    Filtered,
    /// A report was taken.
    Received,
    /// A delete was concluded, not reported.
    Inferred,
}
