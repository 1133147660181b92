//! Questions about the state: the messages that the query actor answers, and the types of their answers.
//!
//! Programs do not send these: they use [`super::client::StateClient`]. Selectors are understood by whoever asks, before
//! anything is sent, so the actor never sees a faulty one.

use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::selector::SelectorError;
use actix::Message;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

pub use crate::store::{AsOf, Change, Cursor, Filter, KindMemory, Lagged, Object, Operation, Stats, Subscription};

/// Objects in a page when nothing is asked for.
pub const DEFAULT_LIMIT: usize = 500;
/// Objects in a page at most: a page is made without letting others in between.
pub const MAX_LIMIT: usize = 5000;

/// Why a question was not answered. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The kind is not captured.
    #[error("kind {kind:?} is not captured; these are: {}", known.join(", "))]
    UnknownKind {
        /// What was asked for.
        kind: String,
        /// Ids of the captured kinds.
        known: Vec<String>,
    },
    /// A selector that cannot be understood.
    #[error("{which} selector, {error}")]
    BadSelector {
        /// `label` or `field`.
        which: &'static str,
        /// Where and why.
        error: SelectorError,
    },
    /// A continue token that is damaged or belongs to another question.
    #[error("the continue token {0}: ask the same question as for the page before, or begin without a token")]
    BadContinue(&'static str),
    /// A cursor that is none.
    #[error("{0}")]
    BadCursor(String),
    /// Too many questions at once.
    #[error("{0} questions are being answered already: try again")]
    Busy(usize),
    /// The query actor is down or coming back.
    #[error("the query actor is restarting: try again")]
    Restarting,
    /// No answer in time.
    #[error("no answer within {0:?}: try again, or ask for less")]
    Timeout(Duration),
    /// The state is not complete yet.
    #[error("{kind} cannot be answered for yet: {missing}")]
    NotReady {
        /// Kind id.
        kind: String,
        /// What it waits for.
        missing: Arc<str>,
    },
}

impl QueryError {
    /// A word for `code` in error documents and for `explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "unknown_kind",
            Self::BadSelector { .. } => "bad_selector",
            Self::BadContinue(_) => "bad_continue",
            Self::BadCursor(_) => "bad_cursor",
            Self::Busy(_) => "busy",
            Self::Restarting => "restarting",
            Self::Timeout(_) => "timeout",
            Self::NotReady { .. } => "not_ready",
        }
    }

    /// Whether the same question may be answered later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Restarting | Self::Timeout(_) | Self::NotReady { .. })
    }
}

/// One object.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Option<Object>, QueryError>")]
pub struct Get {
    /// Kind id, `pods`.
    pub kind: String,
    /// Namespace (empty for cluster-scoped objects) and name.
    pub at: Name,
}

/// One page of a list.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Listed, QueryError>")]
pub struct List {
    /// Kind id.
    pub kind: String,
    /// Namespace and selectors; its kinds are not looked at.
    pub filter: Filter,
    /// Objects wanted; cut to [`MAX_LIMIT`], 0 means [`DEFAULT_LIMIT`].
    pub limit: usize,
    /// The page before this one.
    pub next: Option<Continue>,
}

/// The answer to [`List`].
#[derive(Debug, Clone)]
pub struct Listed {
    /// Objects, by namespace and name.
    pub items: Vec<Object>,
    /// Token of the next page, if there is one.
    pub next: Option<Continue>,
    /// State that it shows at least.
    pub as_of: AsOf,
}

/// How many objects there are.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Counted, QueryError>")]
pub struct Count {
    /// Kind id.
    pub kind: String,
    /// Namespace and selectors; its kinds are not looked at.
    pub filter: Filter,
}

/// The answer to [`Count`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Number of objects.
    pub count: usize,
    /// State that it shows at least.
    pub as_of: AsOf,
}

/// A snapshot and every change behind it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Subscription, QueryError>")]
pub struct Subscribe {
    /// Kind ids; none means all.
    pub kinds: Vec<String>,
    /// Namespace and selectors; its kinds are set by the actor.
    pub filter: Filter,
    /// Go on from here, without a snapshot, if that is still possible.
    pub since: Option<Cursor>,
}

/// Figures of the store.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Stats, QueryError>")]
pub struct GetStats;

/// Where a list goes on: behind a name, for one question. Opaque to programs; it stays good over a restart of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// The last name of the page before.
    pub after: Name,
    /// Which question it belongs to.
    pub question: u64,
}

impl Continue {
    /// The token behind `after` of a list of that kind and filter.
    pub fn new(after: Name, kind: &Kind, filter: &Filter) -> Self {
        Self { after, question: question(kind, filter) }
    }

    /// Whether it belongs to that list.
    pub fn fits(&self, kind: &Kind, filter: &Filter) -> bool {
        self.question == question(kind, filter)
    }

    /// As text.
    pub fn encode(&self) -> String {
        let Name { namespace, name } = &self.after;
        URL_SAFE_NO_PAD.encode(format!("1/{:016x}/{namespace}/{name}", self.question))
    }

    /// From text.
    pub fn decode(token: &str) -> Result<Self, QueryError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let parse = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).ok()?;
            let mut parts = text.strip_prefix("1/")?.splitn(3, '/');
            let question = u64::from_str_radix(parts.next()?, 16).ok()?;
            let after = Name { namespace: parts.next()?.into(), name: parts.next()?.into() };
            Some(Self { after, question })
        };
        bytes.and_then(parse).ok_or(QueryError::BadContinue("is damaged"))
    }
}

/// Stable over runs of one build, which is all a page needs: `DefaultHasher::new` has fixed keys.
fn question(kind: &Kind, filter: &Filter) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, &filter.namespace, &filter.labels, &filter.fields).hash(&mut hasher);
    hasher.finish()
}
