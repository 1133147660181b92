//! What an API server serves: its discovery documents, read and made into kinds, and which of them the settings mean.
//!
//! A group whose part cannot be had (an aggregated API that is down) is *unknown*, never empty: a kind in it is not gone.
//! Of several versions the preferred one that can be watched is taken; of a storage that is served twice, one.

use super::kind::Kind;
use super::pattern::Pattern;
use std::collections::{BTreeMap, BTreeSet};

mod read;
pub use read::{Answer, GroupVersions, read_answer, read_resources};

/// A group as it was found: its versions, the preferred first.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name; empty for core.
    pub name: String,
    /// Its versions with what they serve, the preferred first.
    pub versions: Vec<Version>,
}

/// One version of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Such as `v1`.
    pub name: String,
    /// What it serves, or why that is not known.
    pub resources: Result<Vec<Resource>, String>,
}

/// One resource of one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Such as `pods`.
    pub plural: String,
    /// Such as `pod`; may be empty.
    pub singular: String,
    /// Such as `Pod`.
    pub kind: String,
    /// Such as `po`.
    pub short_names: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: BTreeSet<String>,
}

/// A kind that is served.
#[derive(Debug, Clone, PartialEq)]
pub struct Served {
    /// The kind, in the version that is taken.
    pub kind: Kind,
    /// What can be done with it.
    pub verbs: BTreeSet<String>,
}

impl Served {
    /// Whether it can be listed and watched.
    pub fn can_be_watched(&self) -> bool {
        self.verbs.contains("list") && self.verbs.contains("watch")
    }
}

/// Whether a kind is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Presence<'a> {
    /// It is served.
    Served(&'a Served),
    /// It is not served: its group answered without it.
    Gone,
    /// Nobody knows now; why.
    Unknown(&'a str),
}

/// Everything that an API server serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovery {
    served: BTreeMap<(String, String), Served>,
    unknown: BTreeMap<String, String>,
}

/// What the settings mean, of what is served.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// The kinds to watch, those that are named first.
    pub kinds: Vec<Served>,
    /// What was named and cannot be watched now.
    pub missing: Vec<Missing>,
    /// Kinds that were meant, beyond the cap.
    pub over_cap: Vec<Kind>,
}

/// Something that was named and cannot be watched now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As it stands in the settings.
    pub pattern: String,
    /// Why not, for people.
    pub why: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// Whether it may well be there: its group did not answer.
    pub unknown: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.pattern, self.why)?;
        match &self.suggestion {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

/// Served besides in a group that is older or newer, over the same storage: reading both would publish everything twice.
/// (group, its plural, the groups of which any that serves the plural goes before it)
const TWINS: &[(&str, Option<&str>, &[&str])] =
    &[("events.k8s.io", Some("events"), &[""]), ("extensions", None, &["apps", "networking.k8s.io", "policy"])];

/// Kafka's limit on the name of a topic.
const TOPIC_NAME: usize = 249;

impl Discovery {
    /// What these groups serve, one version of each kind and one kind of each storage.
    pub fn of(groups: Vec<Group>) -> Self {
        let mut discovery = Self::default();
        for group in groups {
            if group.versions.is_empty() {
                discovery.unknown.insert(group.name.clone(), "it serves no version".to_owned());
            }
            for version in group.versions {
                match version.resources {
                    Ok(resources) => discovery.add(&group.name, &version.name, resources),
                    Err(why) => drop(discovery.unknown.insert(group.name.clone(), why)),
                }
            }
        }
        let twins: Vec<_> = discovery.served.keys().filter(|at| discovery.has_twin(at)).cloned().collect();
        for twin in twins {
            discovery.served.remove(&twin);
        }
        discovery
    }

    /// The built-in kinds and nothing else.
    pub fn builtins() -> Self {
        let verbs: BTreeSet<String> = ["get", "list", "watch"].map(str::to_owned).into();
        let served = |kind: Kind| (key(&kind), Served { kind, verbs: verbs.clone() });
        Self { served: Kind::builtins().into_iter().map(served).collect(), unknown: BTreeMap::new() }
    }

    /// Versions come in the order of preference: a later one counts only where the earlier cannot be watched.
    fn add(&mut self, group: &str, version: &str, resources: Vec<Resource>) {
        for resource in resources {
            let Resource { plural, singular, kind, short_names, namespaced, verbs } = resource;
            let kind = Kind::custom(group, version, &plural, &kind, namespaced).known_as(&singular, &short_names);
            let found = Served { kind, verbs };
            let at = (group.to_owned(), plural);
            if self.served.get(&at).is_none_or(|known| !known.can_be_watched() && found.can_be_watched()) {
                self.served.insert(at, found);
            }
        }
    }

    fn has_twin(&self, (group, plural): &(String, String)) -> bool {
        TWINS.iter().any(|(twin, only, others)| {
            let served = |other: &str| self.served.contains_key(&(other.to_owned(), plural.clone()));
            twin == group && only.is_none_or(|only| only == plural) && others.iter().any(|other| served(other))
        })
    }

    /// Every kind that is served, by group and plural.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.served.values()
    }

    /// Groups of which not everything is known now, with the reason.
    pub fn unknown(&self) -> &BTreeMap<String, String> {
        &self.unknown
    }

    /// Whether a kind is there.
    pub fn presence(&self, kind: &Kind) -> Presence<'_> {
        match (self.served.get(&key(kind)), self.unknown.get(kind.group())) {
            (Some(served), _) => Presence::Served(served),
            (None, Some(why)) => Presence::Unknown(why),
            (None, None) => Presence::Gone,
        }
    }

    /// What `patterns` mean: the kinds that are named, then those of groups and of `*` for which `wants` says yes, at most
    /// `cap` of them; a kind whose topic would have too long a name, with `prefix`, is missing. A built-in kind that is named needs nobody to say that it is there.
    pub fn resolve(&self, patterns: &[Pattern], wants: impl Fn(&Kind) -> bool, cap: usize, prefix: &str) -> Resolved {
        let fits = |kind: &Kind| prefix.len() + kind.topic().len() <= TOPIC_NAME;
        let mut resolved = Resolved::default();
        let (mut named, mut found) = (BTreeMap::new(), BTreeMap::new());
        for pattern in patterns {
            match pattern {
                Pattern::One { group, plural } => match self.one(pattern, group, plural) {
                    Ok(served) if !fits(&served.kind) => resolved.missing.push(too_long(&served.kind)),
                    Ok(served) => drop(named.insert(key(&served.kind), served)),
                    Err(missing) => resolved.missing.push(missing),
                },
                Pattern::Group(_) | Pattern::Everything => {
                    let meant = |s: &&Served| pattern.matches(s.kind.group(), s.kind.plural()) && s.can_be_watched();
                    let meant: Vec<&Served> = self.served().filter(meant).collect();
                    let silent = self.unknown.iter().filter(|(group, _)| match pattern {
                        Pattern::Group(named) => named == *group,
                        _ => true,
                    });
                    let silent: Vec<Missing> = silent.map(|(group, why)| unknown_group(group, why)).collect();
                    if meant.is_empty() && silent.is_empty() {
                        resolved.missing.push(self.no_such(pattern));
                    }
                    resolved.missing.extend(silent);
                    found.extend(meant.into_iter().map(|served| (key(&served.kind), served.clone())));
                }
            }
        }
        found.retain(|at, served| {
            if !wants(&served.kind) || named.contains_key(at) {
                return false;
            }
            if !fits(&served.kind) {
                resolved.missing.push(too_long(&served.kind));
            }
            fits(&served.kind)
        });
        let mut kinds: Vec<Served> = named.into_values().chain(found.into_values()).collect();
        resolved.over_cap = kinds.split_off(cap.min(kinds.len())).into_iter().map(|served| served.kind).collect();
        resolved.kinds = kinds;
        resolved.missing.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        resolved.missing.dedup();
        resolved
    }

    fn one(&self, pattern: &Pattern, group: &str, plural: &str) -> Result<Served, Missing> {
        let missing = |why: String| Missing { pattern: pattern.to_string(), why, suggestion: None, unknown: false };
        if let Some(kind) = pattern.builtin() {
            let verbs = || ["list", "watch"].map(str::to_owned).into();
            let known = self.served.get(&key(&kind)).filter(|served| served.can_be_watched()).cloned();
            return Ok(known.unwrap_or_else(|| Served { kind, verbs: verbs() }));
        }
        match self.served.get(&(group.to_owned(), plural.to_owned())) {
            Some(served) if !served.can_be_watched() => {
                let verbs = served.verbs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                Err(missing(format!("it is served, but cannot be listed and watched (only: {verbs})")))
            }
            Some(served) => Ok(served.clone()),
            None => match self.unknown.get(group) {
                Some(why) => Err(Missing { unknown: true, ..missing(silent(group, why)) }),
                None => Err(self.no_such(pattern)),
            },
        }
    }

    fn no_such(&self, pattern: &Pattern) -> Missing {
        let why = match pattern {
            Pattern::One { .. } => "not served",
            _ => "no kind of it is served with list and watch",
        };
        let suggestion = self.suggest(pattern);
        Missing { pattern: pattern.to_string(), why: why.to_owned(), suggestion, unknown: false }
    }

    /// What a pattern that means nothing was probably meant to be.
    fn suggest(&self, pattern: &Pattern) -> Option<String> {
        let kinds = || self.served().filter(|served| served.can_be_watched()).map(|served| &served.kind);
        match pattern {
            Pattern::Everything => None,
            Pattern::Group(group) => {
                let groups: BTreeSet<&str> = kinds().map(Kind::group).filter(|group| !group.is_empty()).collect();
                nearest(group, groups.into_iter()).map(|group| format!("*.{group}"))
            }
            Pattern::One { group, plural } => {
                let twin = TWINS.iter().find(|(twin, ..)| twin == group).and_then(|(_, _, others)| {
                    kinds().find(|kind| kind.plural() == plural && others.contains(&kind.group()))
                });
                // The right word in the wrong form, or without its group.
                let called = || {
                    let core = kinds().filter(|kind| kind.goes_by(plural));
                    core.min_by_key(|kind| (kind.group() != group, kind.group().to_owned()))
                };
                let spelled = || {
                    let own = kinds().filter(|kind| kind.group() == group).map(Kind::plural);
                    let near = nearest(plural, own)?;
                    kinds().find(|kind| kind.group() == group && kind.plural() == near)
                };
                let anywhere = || {
                    let near = nearest(plural, kinds().map(Kind::plural))?;
                    kinds().find(|kind| kind.plural() == near)
                };
                let meant = twin.or_else(called).or_else(spelled).or_else(anywhere)?;
                Some(Pattern::of(meant).to_string())
            }
        }
    }
}

fn key(kind: &Kind) -> (String, String) {
    (kind.group().to_owned(), kind.plural().to_owned())
}

fn too_long(kind: &Kind) -> Missing {
    let why = format!("the name of its topic, with topics.prefix, would be longer than Kafka's {TOPIC_NAME}");
    Missing { pattern: Pattern::of(kind).to_string(), why, suggestion: None, unknown: false }
}

fn silent(group: &str, why: &str) -> String {
    let name = if group.is_empty() { "the core group" } else { group };
    format!("unknown now, since the API server does not say what {name} serves: {why}")
}

fn unknown_group(group: &str, why: &str) -> Missing {
    let pattern = Pattern::Group(group.to_owned()).to_string();
    Missing { pattern, why: silent(group, why), suggestion: None, unknown: true }
}

/// The name that `typed` was probably meant to be: a slip of up to a third of its letters.
fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &'a str| {
        let distance = strsim::damerau_levenshtein(typed, name);
        (distance <= (name.len().min(typed.len()) / 3).max(1)).then_some((distance, name))
    };
    names.filter_map(near).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
