//! What one watcher watches.

use super::index::Name;
use super::kind::Kind;
use std::sync::Arc;

/// A kind in a scope: one watcher, one lane, one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `None` for all.
    pub namespace: Option<Arc<str>>,
}

impl Target {
    /// `pods`, `pods@shop`: id of the watcher and of the checkpoint.
    pub fn id(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}@{namespace}", self.kind.id()),
            None => self.kind.id(),
        }
    }

    /// Whether an object of that name belongs here.
    pub fn covers(&self, at: &Name) -> bool {
        self.namespace.as_deref().is_none_or(|ns| ns == &*at.namespace)
    }
}
