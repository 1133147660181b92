//! What goes into the watch core, what comes out of it, and what outlives it.

use crate::domain::index::{Index, Note};
use crate::domain::record::OutRecord;
use crate::domain::redact::{Object, Redacted};
use crate::domain::rv::Rv;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Knobs of the core. Times are monotonic, since any fixed point.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where more than half of a kind is missing from a list, and at least so many objects, a second list must agree.
    pub doubt_from: usize,
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
    /// Bytes of a watch that may wait undigested while the lane has no room; beyond it the connection is given up, the
    /// version kept, and the watch opened again when the lane is half empty.
    pub max_backlog: usize,
    /// How lists are made.
    pub list: ListMode,
    /// A label or field selector is set: what appears or goes may only have entered or left it.
    pub selected: bool,
    /// Of all namespaces, those that count; `None` for every one. See [`Target::only`].
    ///
    /// [`Target::only`]: crate::domain::target::Target::only
    pub only: Option<Arc<BTreeSet<String>>>,
}

impl Config {
    /// Whether objects of that namespace count.
    pub(super) fn counts(&self, namespace: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only.contains(namespace))
    }
}

/// How lists are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListMode {
    /// Page by page.
    #[default]
    Paged,
    /// As a watch that begins with what is there (`sendInitialEvents`); paged where the server refuses that, or
    /// does not bring it to its end.
    WatchList,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            doubt_from: 1,
            page_size: 500,
            watch_seconds: (200, 240),
            poll_interval: Duration::from_secs(30),
            max_line: 8 << 20,
            max_page: 64 << 20,
            max_record: 4 << 20,
            // Half of a watcher's share of the frame budget when seven kinds are watched.
            max_backlog: 512 << 10,
            list: ListMode::Paged,
            selected: false,
            only: None,
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
    /// As `PartialObjectMetadata`: nothing else may be shown of the kind, so nothing else is asked for; or what is there
    /// cannot be read otherwise.
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
    /// A watch that begins with everything there is (`sendInitialEvents`), at least of that version.
    WatchList {
        /// `None` asks for the most recent.
        at_least: Option<Rv>,
        /// When the server shall end it.
        timeout_seconds: u32,
    },
    /// A watch behind a version, with bookmarks.
    Watch {
        /// The version.
        rv: Rv,
        /// When the server shall end it.
        timeout_seconds: u32,
    },
    /// Whether the server knows that version: one object as metadata, not older than it.
    Probe {
        /// The version.
        rv: Rv,
    },
    /// Whether we may do that (`SelfSubjectAccessReview`).
    Review {
        /// `list` or `watch`.
        verb: &'static str,
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
    /// The list that the open stream began with is complete; the stream goes on as a watch.
    Listed,
}

/// A place in the history of a kind: what a lane's watermark is made of. Without a version nothing can be resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Point {
    /// The history that the version belongs to.
    pub history_epoch: u64,
    /// The version; empty where a new history has begun and its first list is not complete.
    pub rv: Rv,
}

/// Why everything is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebase {
    /// A word from a closed set ([`crate::domain::gap::REASONS`]).
    pub reason: &'static str,
}

/// What outlives the watcher actor, beside its lane.
#[derive(Debug, Default)]
pub struct Capture {
    /// What is known of the kind.
    pub index: Index,
    /// Everything reported up to here is in the lane. Empty before the first list.
    pub position: Rv,
    /// The history that the position belongs to. Raised when the cluster's own history goes back.
    pub history_epoch: u64,
    /// The first list is in the lane (or the position came from a checkpoint).
    pub synced: bool,
    /// The position came from a checkpoint of an earlier process: it is probed before it is watched from.
    pub from_checkpoint: bool,
    /// The log holds records of the kind, and there is no position to go on from: what happened since is not known.
    pub no_checkpoint: bool,
    /// The next list writes everything anew; what it misses may have left the scope, if that is another one.
    pub rebase: Option<Rebase>,
    /// The kind is not served any more, and a gap says that its end was not seen.
    pub end_declared: bool,
    /// Deletes are owed: lists agree that most of the kind is gone, and whether we may still list all of it could not be found
    /// out. What is durable stays at the position before them, from which a successor finds out anew.
    pub deferred: bool,
    /// A new history was opened by a list of that version, and no list of it is complete.
    pub opened_at: Option<Rv>,
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
    /// The new history epoch, if the cluster's history went back; the position is void then.
    pub history_epoch: Option<u64>,
    pub(super) notes: Vec<Note>,
    pub(super) begin_pass: bool,
    pub(super) rebase: Rebasing,
    /// Deletes are owed from now on, or no more.
    pub(super) defers: Option<bool>,
    pub(super) opened_at: Option<Rv>,
    pub(super) probed: bool,
}

/// What a commit does to a rebase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Rebasing {
    #[default]
    Unchanged,
    Begins,
    Done,
}

impl Commit {
    /// The point that is reached when all its records are durable, if it moves one. To be asked for before
    /// [`Capture::apply`].
    pub fn point(&self, capture: &Capture) -> Option<Point> {
        match (self.history_epoch, &self.position) {
            (Some(history_epoch), rv) => Some(Point { history_epoch, rv: rv.clone().unwrap_or_default() }),
            (None, Some(rv)) if !self.leaves_open(capture) && (*rv > capture.position || self.closes(capture)) => {
                Some(Point { history_epoch: capture.history_epoch, rv: rv.clone() })
            }
            _ => None,
        }
    }

    /// Whether something is still to be written that whoever went on from its position would never write.
    fn leaves_open(&self, capture: &Capture) -> bool {
        self.defers.unwrap_or(capture.deferred) || capture.rebase.is_some() && self.rebase != Rebasing::Done
    }

    fn closes(&self, capture: &Capture) -> bool {
        self.rebase == Rebasing::Done || capture.deferred
    }
}

impl Capture {
    /// Applies what is left of a commit once its records are in the lane.
    pub fn apply(&mut self, commit: Commit) {
        if let Some(history_epoch) = commit.history_epoch {
            self.history_epoch = history_epoch;
            self.position = Rv::default();
            self.index.rewound();
        }
        if commit.opened_at.is_some() {
            self.opened_at = commit.opened_at;
        }
        if commit.rebase == Rebasing::Begins {
            self.index.begin_rebase();
        }
        if commit.begin_pass {
            self.index.begin_pass();
        }
        for note in commit.notes {
            self.index.note(note);
        }
        if commit.rebase == Rebasing::Done {
            self.index.rebased();
            self.rebase = None;
        }
        if commit.probed {
            self.from_checkpoint = false;
        }
        self.deferred = commit.defers.unwrap_or(self.deferred);
        if let Some(position) = commit.position {
            self.synced = true;
            self.opened_at = None;
            self.no_checkpoint = false;
            self.end_declared = false;
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

/// Something worth counting or telling. Each word is from a closed set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A list begins; why (`first`, `expired`, `poll`, `confirm`, `page_expired`, ...).
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
    /// A report was taken. Each is followed by exactly one change that is published, or by [`Notice::Filtered`].
    Received,
    /// A report changed nothing: `known`, `replayed`, `dead`, `superseded`, `events_deleted`.
    Filtered(&'static str),
    /// A delete was concluded, not reported. It is published.
    Inferred,
    /// A gap is declared; why.
    Gap(&'static str),
    /// A list of a kind without bookmarks showed nothing that is newer than the position: no gap.
    QuietRelist,
    /// The API server said something that cannot be true: `wrong_kind`, `wrong_namespace`, `version_backwards`,
    /// `version_not_numeric`. It was not obeyed.
    Lie(&'static str),
    /// The cluster's history went back; the new history epoch.
    Rewound(u64),
    /// The lane had no room for so long that the connection was given up; bytes that will be asked for again.
    Backlog(usize),
}
