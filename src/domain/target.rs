//! What one watcher watches.

use super::index::Name;
use super::kind::Kind;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// What the API server is asked to leave out of lists and watches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selectors {
    /// `labelSelector=`
    pub label: Option<Arc<str>>,
    /// `fieldSelector=`
    pub field: Option<Arc<str>>,
}

impl Selectors {
    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.label.is_none() && self.field.is_none()
    }
}

/// A kind in a scope: one watcher, one lane, one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The kind.
    pub kind: Kind,
    /// The namespace that is asked for; `None` for all.
    pub namespace: Option<Arc<str>>,
    /// Of all namespaces, those that count: too many for a watch each. `None` for every one.
    pub only: Option<Arc<BTreeSet<String>>>,
    /// What the API server leaves out.
    pub selectors: Selectors,
}

impl Target {
    /// Every object of a kind.
    pub fn all(kind: Kind) -> Self {
        Self { kind, namespace: None, only: None, selectors: Selectors::default() }
    }

    /// The objects of a kind in one namespace.
    pub fn within(kind: Kind, namespace: &str) -> Self {
        Self { namespace: Some(namespace.into()), ..Self::all(kind) }
    }

    /// `pods`, `pods@shop`: id of the watcher and of the checkpoint.
    pub fn id(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}@{namespace}", self.kind.id()),
            None => self.kind.id(),
        }
    }

    /// Whether an object of that name belongs here. What a selector leaves out cannot be told from a name.
    pub fn covers(&self, at: &Name) -> bool {
        self.namespace.as_deref().is_none_or(|ns| ns == &*at.namespace) && self.counts(&at.namespace)
    }

    /// Whether objects of that namespace count, of those that the API server answers with.
    pub fn counts(&self, namespace: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only.contains(namespace))
    }

    /// Whoever asks for all of the kind in the same way, and leaves no namespace out.
    pub fn whole(&self) -> Self {
        Self { namespace: None, only: None, ..self.clone() }
    }

    /// What tells this scope from another of the same kind, in hex: namespaces and selectors. When it differs from a
    /// checkpoint's, that checkpoint speaks of other objects.
    pub fn scope_hash(&self) -> String {
        let mut hash = Sha256::new();
        // Each part with its length, so that no two scopes write the same bytes.
        let mut part = |name: &str, value: Option<&str>| {
            hash.update(name);
            match value {
                Some(value) => hash.update(format!("={}:{value};", value.len())),
                None => hash.update(";"),
            }
        };
        part("namespace", self.namespace.as_deref());
        for namespace in self.only.iter().flat_map(|only| only.iter()) {
            part("only", Some(namespace));
        }
        part("label", self.selectors.label.as_deref());
        part("field", self.selectors.field.as_deref());
        // 64 bits: it tells a handful of scopes apart, and nobody gains by making two alike.
        hash.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all text");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Kind {
        Kind::builtin("pods").expect("built in")
    }

    fn at(namespace: &str) -> Name {
        Name { namespace: namespace.into(), name: "a".into() }
    }

    #[test]
    fn a_target_with_a_filter_asks_for_all_and_covers_what_is_named() {
        let only = ["shop", "bank"].map(str::to_owned).into();
        let target = Target { only: Some(Arc::new(only)), ..Target::all(pods()) };
        assert_eq!((target.id().as_str(), &target.namespace), ("pods", &None));
        assert!(target.covers(&at("shop")) && !target.covers(&at("kube-system")));
        assert!(Target::within(pods(), "shop").covers(&at("shop")));
        assert!(!Target::within(pods(), "shop").covers(&at("bank")));
    }

    #[test]
    fn the_hash_of_a_scope_is_stable_and_differs_with_everything_that_changes_it() {
        // It stands in checkpoints: another value here is another scope to every process that restarts.
        assert_eq!(Target::all(pods()).scope_hash(), "12223f11723e81d7");
        let all = Target::all(pods());
        let only = |names: &[&str]| {
            let names = names.iter().map(|n| (*n).to_owned()).collect();
            Target { only: Some(Arc::new(names)), ..all.clone() }
        };
        let label = Target { selectors: Selectors { label: Some("a=b".into()), field: None }, ..all.clone() };
        let field = Target { selectors: Selectors { label: None, field: Some("a=b".into()) }, ..all.clone() };
        let scopes =
            [all.clone(), Target::within(pods(), "a"), only(&["a"]), only(&["a", "b"]), only(&["ab"]), label, field];
        let hashes: BTreeSet<String> = scopes.iter().map(Target::scope_hash).collect();
        assert_eq!(hashes.len(), scopes.len());
    }
}
