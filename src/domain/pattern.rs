//! What settings and people name: one kind, all kinds of a group, or everything that is served.

use super::kind::Kind;
use std::fmt;

/// Stands for the group without a name, where a group must be said: `namespaces.core`, `*.core`.
const CORE: &str = "core";

/// Which kinds are meant. Ordered from the least to the most specific.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// `*`: everything.
    Everything,
    /// `*.example.com`: every kind of that group; the empty group is `*.core`.
    Group(String),
    /// One kind.
    One {
        /// Its group; empty for core.
        group: String,
        /// Its plural.
        plural: String,
    },
}

impl Pattern {
    /// Understands `pods`, `deployments.apps`, `certificates.cert-manager.io`, `*.example.com`, `*`. A plural without a
    /// group is one of the built-in kinds or one of the core group, as [`Kind::id`] has it.
    ///
    /// # Errors
    /// What would be right, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (plural, group) = match text.split_once('.') {
            Some((plural, group)) => (plural, Some(group)),
            None => (text, None),
        };
        if group.is_some_and(|group| group.len() > 253 || !group.split('.').all(is_dns_label)) {
            return Err(EXPECTED.to_owned());
        }
        let group = group.map(|group| if group == CORE { "" } else { group });
        match (plural, group) {
            ("*", None) => Ok(Self::Everything),
            ("*", Some(group)) => Ok(Self::Group(group.to_owned())),
            (plural, _) if !is_dns_label(plural) => Err(EXPECTED.to_owned()),
            (plural, Some(group)) => Ok(Self::One { group: group.to_owned(), plural: plural.to_owned() }),
            (plural, None) => {
                let group = Kind::builtin(plural).map_or_else(String::new, |kind| kind.group().to_owned());
                Ok(Self::One { group, plural: plural.to_owned() })
            }
        }
    }

    /// The pattern of one kind.
    pub fn of(kind: &Kind) -> Self {
        Self::One { group: kind.group().to_owned(), plural: kind.plural().to_owned() }
    }

    /// Whether a kind is meant.
    pub fn matches(&self, group: &str, plural: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Group(named) => named == group,
            Self::One { group: named, plural: one } => named == group && one == plural,
        }
    }

    /// Whether every kind that `other` means is meant.
    pub fn includes(&self, other: &Self) -> bool {
        match other {
            Self::Everything => *self == Self::Everything,
            Self::Group(group) => matches!(self, Self::Group(own) if own == group) || *self == Self::Everything,
            Self::One { group, plural } => self.matches(group, plural),
        }
    }

    /// The built-in kind that is meant, if it is one.
    pub fn builtin(&self) -> Option<Kind> {
        match self {
            Self::One { group, plural } => Kind::builtin(plural).filter(|kind| kind.group() == group),
            _ => None,
        }
    }
}

/// As it stands in settings: one spelling of each. The kind `namespaces` says its group, because `[watch.namespaces]` are
/// those that are watched.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_core = |group: &str| if group.is_empty() { CORE.to_owned() } else { group.to_owned() };
        match self {
            Self::Everything => f.write_str("*"),
            Self::Group(group) => write!(f, "*.{}", or_core(group)),
            Self::One { group, plural } => match self.builtin() {
                Some(kind) => f.write_str(kind.plural()),
                None if group.is_empty() && plural != "namespaces" => f.write_str(plural),
                None => write!(f, "{plural}.{}", or_core(group)),
            },
        }
    }
}

const EXPECTED: &str = "expected a kind as PLURAL or PLURAL.GROUP in small letters, *.GROUP, or *";

/// RFC 1123 label, which plurals and the parts of groups are.
fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Pattern {
        Pattern::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn every_spelling_of_a_kind_has_one_name() {
        for (typed, name) in [
            ("pods", "pods"),
            ("pods.core", "pods"),
            ("deployments", "deployments"),
            ("deployments.apps", "deployments"),
            ("replicasets.apps", "replicasets.apps"),
            ("nodes", "nodes"),
            ("nodes.core", "nodes"),
            ("namespaces", "namespaces.core"),
            ("namespaces.core", "namespaces.core"),
            ("certificates.cert-manager.io", "certificates.cert-manager.io"),
            ("events.events.k8s.io", "events.events.k8s.io"),
            ("*.example.com", "*.example.com"),
            ("*.core", "*.core"),
            ("*", "*"),
        ] {
            assert_eq!(parse(typed).to_string(), name, "{typed}");
            assert_eq!(parse(name), parse(typed), "read back");
        }
    }

    #[test]
    fn what_cannot_name_a_kind_is_refused() {
        for typed in ["", "Pod", "page_size", ".apps", "pods.", "a..b", "*pods", "*.", "-a", "pods/status", "a b", "**"]
        {
            assert!(Pattern::parse(typed).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn a_wider_pattern_includes_a_narrower_one() {
        assert!(parse("*").includes(&parse("*.apps")) && parse("*.apps").includes(&parse("deployments")));
        assert!(!parse("*.apps").includes(&parse("*")) && !parse("*.core").includes(&parse("deployments")));
        assert!(parse("*") < parse("*.apps") && parse("*.apps") < parse("pods"));
        assert!(parse("*.core").matches("", "nodes") && !parse("nodes").matches("metrics.k8s.io", "nodes"));
    }
}
