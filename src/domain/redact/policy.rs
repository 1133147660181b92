//! What the settings say about redaction, and what that means for one kind.

use super::mac::{MacKey, hex};
use super::pointer::{Plan, Pointer};
use super::standing::{self, Members};
use crate::domain::cut::{Keys, NOWHERE, Place, Verdict};
use crate::domain::kind::{Content, Kind};
use crate::domain::pattern::Pattern;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// How much of the objects of a kind is taken, as `[watch.<kind>] policy` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Metadata only; the rest is never requested.
    Metadata,
    /// Every key; of every value its type and size.
    Keys,
    /// Everything, after the rules that stand for every kind.
    Full,
}

impl Level {
    /// `metadata`, `keys` or `full`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "metadata" => Some(Self::Metadata),
            "keys" => Some(Self::Keys),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// Rules of one kind, as JSON pointers in which `*` stands for any member or element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PointerRules {
    /// What goes.
    pub redact: Vec<String>,
    /// What stays where the default of the kind would redact it.
    pub keep: Vec<String>,
}

/// Redaction settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Environment variables whose literal values stay.
    pub env_allow: BTreeSet<String>,
    /// If any are named, the only annotations that stay.
    pub annotations_allow: BTreeSet<String>,
    /// Annotations that go, beside the built-in family; before those that stay.
    pub annotations_deny: BTreeSet<String>,
    /// Annotations of Secrets that stay.
    pub secret_annotations_allow: BTreeSet<String>,
    /// Namespaces whose ConfigMaps keep their values.
    pub configmap_full_namespaces: BTreeSet<String>,
    /// Whether command lines and messages are searched for credentials.
    pub scrub: bool,
    /// How much is taken; the most specific that speaks of a kind decides.
    pub levels: BTreeMap<Pattern, Level>,
    /// Rules by pointer; all that speak of a kind count.
    pub rules: BTreeMap<Pattern, PointerRules>,
    /// The key of the hashes that stand for redacted values.
    pub key: Option<MacKey>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            env_allow: BTreeSet::new(),
            annotations_allow: BTreeSet::new(),
            annotations_deny: BTreeSet::new(),
            secret_annotations_allow: BTreeSet::new(),
            configmap_full_namespaces: BTreeSet::new(),
            scrub: true,
            levels: BTreeMap::new(),
            rules: BTreeMap::new(),
            key: None,
        }
    }
}

/// A rule that cannot be obeyed. Until it is mended nothing of its kind is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redaction.rules.{kind:?}.{list}{}: {why}", pointer.as_ref().map_or_else(String::new, |p| format!(" {p:?}")))]
pub struct RuleFault {
    /// The kind or kinds that the rules are for.
    pub kind: String,
    /// `redact` or `keep`.
    pub list: &'static str,
    /// The pointer, where one is to blame.
    pub pointer: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

/// What a policy means for one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effective {
    Secret,
    Metadata,
    Keys,
    Masked,
    Known,
    Deep,
}

fn is_secrets(kind: &Kind) -> bool {
    kind.group().is_empty() && kind.plural() == "secrets"
}

fn plan(id: &str, rules: &PointerRules) -> Result<Option<Plan>, RuleFault> {
    if rules.redact.is_empty() && rules.keep.is_empty() {
        return Ok(None);
    }
    let fault = |list, pointer, why| RuleFault { kind: id.to_owned(), list, pointer, why };
    if let Some(keep) = rules.keep.first().filter(|_| id == "secrets") {
        let why = "of Secrets only metadata is read: nothing else can be kept".to_owned();
        return Err(fault("keep", Some(keep.clone()), why));
    }
    let read = |list, texts: &[String]| -> Result<Vec<Pointer>, RuleFault> {
        texts.iter().map(|text| Pointer::parse(text).map_err(|why| fault(list, Some(text.clone()), why))).collect()
    };
    let (redact, keep) = (read("redact", &rules.redact)?, read("keep", &rules.keep)?);
    Plan::compile(&redact, &keep).map(Some).map_err(|why| fault("redact", None, why))
}

impl Policy {
    /// Whether only the metadata of the kind's objects is ever requested.
    pub fn metadata_only(&self, kind: &Kind) -> bool {
        matches!(self.effective(kind), Effective::Secret | Effective::Metadata)
    }

    fn effective(&self, kind: &Kind) -> Effective {
        if is_secrets(kind) || (kind.is_builtin() && kind.content() == Content::Metadata) {
            return Effective::Secret;
        }
        match (self.level(kind), standing::of(kind)) {
            (Some(Level::Metadata), _) => Effective::Metadata,
            (Some(Level::Keys), _) => Effective::Keys,
            (_, Some(_)) => Effective::Known,
            (Some(Level::Full), None) => Effective::Deep,
            (None, None) => Effective::Masked,
        }
    }

    fn level(&self, kind: &Kind) -> Option<Level> {
        let speaks = |(pattern, _): &(&Pattern, &Level)| pattern.matches(kind.group(), kind.plural());
        self.levels.iter().rev().find(speaks).map(|(_, level)| *level)
    }

    /// The rules of all patterns that speak of a kind.
    fn rules_of(&self, kind: &Kind) -> PointerRules {
        let mut all = PointerRules::default();
        for (_, rules) in self.rules.iter().filter(|(pattern, _)| pattern.matches(kind.group(), kind.plural())) {
            all.redact.extend(rules.redact.iter().cloned());
            all.keep.extend(rules.keep.iter().cloned());
        }
        all
    }

    /// Every rule that cannot be obeyed, of all kinds. Rules of several patterns that only together contradict each other
    /// show in the [`super::Redactor`] of their kind.
    pub fn faults(&self) -> Vec<RuleFault> {
        let fault = |(pattern, rules): (&Pattern, &PointerRules)| {
            plan(&pattern.to_string(), rules).err().or_else(|| self.idle(pattern, rules))
        };
        self.rules.iter().filter_map(fault).collect()
    }

    /// The first rule of one kind that keeps what is not hidden, or not for such a rule to show.
    fn idle(&self, pattern: &Pattern, rules: &PointerRules) -> Option<RuleFault> {
        let Pattern::One { group, plural } = pattern else { return None };
        let kind = pattern.builtin().unwrap_or_else(|| Kind::custom(group, "v1", plural, plural, true));
        let idle = |pointer: &Pointer| !standing::hides_at(self.top(&kind), &pointer.steps());
        let (text, _) = rules
            .keep
            .iter()
            .filter_map(|text| Some((text, Pointer::parse(text).ok()?)))
            .find(|(_, pointer)| idle(pointer))?;
        let why = "it has no effect: nothing stands there that a rule may show. Take it out; literal values of variables \
            are shown by redaction.env_allow, annotations by redaction.annotations_allow, command lines and messages as \
            they are by redaction.scrub = false";
        Some(RuleFault { kind: pattern.to_string(), list: "keep", pointer: Some(text.clone()), why: why.to_owned() })
    }

    fn top(&self, kind: &Kind) -> Members {
        match self.effective(kind) {
            Effective::Secret | Effective::Metadata => standing::metadata_only,
            Effective::Keys => standing::keys,
            Effective::Masked => standing::masked,
            Effective::Deep => standing::deep,
            Effective::Known => standing::of(kind).unwrap_or(standing::masked),
        }
    }

    /// The rules of a kind, ready to be applied.
    pub(super) fn compile(self: &Arc<Self>, kind: &Kind) -> Result<Compiled, RuleFault> {
        let plan = plan(&kind.id(), &self.rules_of(kind))?;
        let effective = self.effective(kind);
        let top = self.top(kind);
        let all_values = self.level(kind) == Some(Level::Full);
        let hides_values = !matches!(effective, Effective::Known | Effective::Deep);
        let secret = effective == Effective::Secret;
        let keys = KindKeys { policy: self.clone(), secret, all_values, hides_values, plan };
        Ok(Compiled { top, metadata_only: self.metadata_only(kind), keys })
    }

    /// A hash of everything that decides what of this kind leaves, in hex: when it changes, what stands in the log was
    /// written under other rules.
    pub fn hash(&self, kind: &Kind) -> String {
        let mut text = format!("{} {:?}", standing::VERSION, self.effective(kind));
        let mut part = |name: &str, value: &dyn std::fmt::Debug| {
            // Writing into a String cannot fail.
            write!(text, " {name}={value:?}").unwrap_or_default();
        };
        if is_secrets(kind) {
            part("secret_annotations_allow", &self.secret_annotations_allow);
        } else {
            part("annotations_allow", &self.annotations_allow);
            part("annotations_deny", &self.annotations_deny);
            part("level", &self.level(kind));
            part("scrub", &self.scrub);
            // What it makes of a fixed text: another key under the same id must not pass for the same.
            part("key", &self.key.as_ref().map(|key| key.note(b"agent-events")));
            if standing::has_pods(kind) {
                part("env_allow", &self.env_allow);
            }
            if kind.plural() == "configmaps" {
                part("configmap_full_namespaces", &self.configmap_full_namespaces);
            }
        }
        let rules = self.rules_of(kind);
        part("redact", &rules.redact.iter().collect::<BTreeSet<_>>());
        part("keep", &rules.keep.iter().collect::<BTreeSet<_>>());
        hex(&Sha256::digest(text)[..16])
    }
}

/// A policy for one kind.
pub(super) struct Compiled {
    pub top: Members,
    pub metadata_only: bool,
    pub keys: KindKeys,
}

impl Compiled {
    /// Lets metadata through at most.
    pub fn nothing(policy: Arc<Policy>) -> Self {
        let keys = KindKeys { policy, secret: true, all_values: false, hides_values: true, plan: None };
        Self { top: standing::metadata_only, metadata_only: true, keys }
    }
}

/// Annotations that carry copies of whole objects or credentials.
pub(super) const ANNOTATIONS_DENIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "kapp.k14s.io/original",
    "objectset.rio.cattle.io/applied",
    "openshift.io/token-secret.value",
];

/// What the key of an annotation has in it if the value is a copy of the object, or of a part: each tool has its own.
const COPIES: &[&str] = &["last-applied", "last-handled", "lastapplied", "lasthandled"];

fn is_copy(key: &str) -> bool {
    let has = |word: &&str| key.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    ANNOTATIONS_DENIED.contains(&key) || COPIES.iter().any(has)
}

/// The run-time part of the rules of one kind.
pub(super) struct KindKeys {
    policy: Arc<Policy>,
    secret: bool,
    all_values: bool,
    /// Only what is named is shown: neither a copy of a value must pass nor what a server quotes.
    hides_values: bool,
    plan: Option<Plan>,
}

impl KindKeys {
    pub fn hides_values(&self) -> bool {
        self.hides_values
    }

    pub fn root(&self) -> Place {
        self.plan.as_ref().map_or(NOWHERE, Plan::root)
    }
}

impl Keys for KindKeys {
    fn annotation(&self, key: &str) -> bool {
        let policy = &self.policy;
        if self.secret {
            return policy.secret_annotations_allow.contains(key) && !is_copy(key);
        }
        let allowed = policy.annotations_allow.is_empty() || policy.annotations_allow.contains(key);
        allowed && !is_copy(key) && !policy.annotations_deny.contains(key)
    }

    fn document(&self, key: &str) -> bool {
        !self.hides_values || self.policy.annotations_allow.contains(key)
    }

    fn env(&self, name: &str) -> bool {
        !self.secret && self.policy.env_allow.contains(name)
    }

    fn full_values(&self, namespace: &str) -> bool {
        !self.secret && (self.all_values || self.policy.configmap_full_namespaces.contains(namespace))
    }

    fn hash(&self, value: &[u8]) -> Option<String> {
        self.policy.key.as_ref().filter(|_| !self.secret).map(|key| key.note(value))
    }

    fn key_id(&self) -> Option<&str> {
        self.policy.key.as_ref().filter(|_| !self.secret).map(MacKey::id)
    }

    fn scrubs(&self) -> bool {
        self.policy.scrub
    }

    fn verdict(&self, at: Place) -> Verdict {
        self.plan.as_ref().map(|plan| plan.verdict(at)).unwrap_or_default()
    }

    fn step(&self, at: Place, key: &str) -> Place {
        self.plan.as_ref().map_or(NOWHERE, |plan| plan.step(at, key))
    }
}
