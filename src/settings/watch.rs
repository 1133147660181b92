//! `[watch]`: which kinds, in which namespaces, and which of their objects.
//!
//! A table names one kind, the kinds of a group (`*.example.com`) or all (`*`). Where several tables speak of one kind, the
//! most specific that says something decides, setting by setting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::discovery::{Discovery, Resolved};
use crate::domain::kind::Kind;
use crate::domain::pattern::Pattern;
use crate::domain::target::{Selectors, Target};
use crate::domain::watch::ListMode;

use super::units::{bytes, duration, name_set, unset_when_empty};

/// Namespaces that get a watch each; of more, one watch of the whole cluster is taken and filtered. 20: each watch is a
/// connection of its own, at both ends.
pub const WATCHES_A_KIND: usize = 20;

/// `[watch]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchSettings {
    /// Watch the whole cluster; read [`WatchSettings::scope`] instead.
    pub all_namespaces: bool,
    /// Interval of the light audit, and of the list-only mode.
    #[serde(with = "duration")]
    pub poll_interval: Duration,
    /// Average interval of the full audit.
    #[serde(with = "duration")]
    pub audit_interval: Duration,
    /// Objects a page of a list, 1 to 10,000.
    pub page_size: u32,
    /// How a snapshot is asked for.
    pub list: ListMode,
    /// Longest line of a watch that is taken whole.
    #[serde(with = "bytes")]
    pub max_frame_bytes: usize,
    /// Longest page of a list.
    #[serde(with = "bytes")]
    pub max_page_bytes: usize,
    /// Kinds that are watched at most.
    pub max_kinds: usize,
    /// The namespaces by name; read [`WatchSettings::scope`] instead, since `all_namespaces` goes before it.
    #[serde(with = "name_set")]
    pub namespaces: BTreeSet<String>,
    /// `[watch.pods]`
    pub pods: KindSettings,
    /// `[watch.services]`
    pub services: KindSettings,
    /// `[watch.deployments]`
    pub deployments: KindSettings,
    /// `[watch.statefulsets]`
    pub statefulsets: KindSettings,
    /// `[watch.configmaps]`
    pub configmaps: KindSettings,
    /// `[watch.secrets]`
    pub secrets: KindSettings,
    /// `[watch.events]`
    pub events: KindSettings,
    /// `[watch."certificates.cert-manager.io"]`, `[watch."*.example.com"]`: by [`Pattern`] as it is written.
    #[serde(flatten)]
    pub others: BTreeMap<String, KindSettings>,
}

/// The table of one kind, `[watch.pods]`, or of many, `[watch."*"]`. Only what it says is in default.toml; the rest says
/// nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindSettings {
    /// Whether it is watched. A table that is written down means yes.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How much of its objects leaves the cluster: `metadata`, `keys` or `full`; `None`: the default of the kind.
    #[serde(default, with = "unset_when_empty")]
    pub policy: Option<String>,
    /// Only objects with these labels.
    #[serde(default, with = "unset_when_empty")]
    pub label_selector: Option<String>,
    /// Only objects with these fields.
    #[serde(default, with = "unset_when_empty")]
    pub field_selector: Option<String>,
    /// Only in these namespaces, whatever `[watch.namespaces]` says; empty: as that says.
    #[serde(default, with = "name_set")]
    pub namespaces: BTreeSet<String>,
}

fn yes() -> bool {
    true
}

impl Default for KindSettings {
    fn default() -> Self {
        Self { enabled: true, policy: None, label_selector: None, field_selector: None, namespaces: BTreeSet::new() }
    }
}

/// The part of the cluster that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One cluster-wide watch per kind.
    AllNamespaces,
    /// A watch per kind and namespace, or a filtered one of the cluster above [`WATCHES_A_KIND`]; never empty after loading.
    Namespaces(&'a BTreeSet<String>),
}

impl WatchSettings {
    /// What is watched of kinds that say nothing else, with `all_namespaces` resolved.
    pub fn scope(&self) -> Scope<'_> {
        if self.all_namespaces { Scope::AllNamespaces } else { Scope::Namespaces(&self.namespaces) }
    }

    /// What is watched of one kind. What lives in no namespace is watched whole.
    pub fn scope_of(&self, kind: &Kind) -> Scope<'_> {
        if kind.namespaced() { self.scope_for(&Pattern::of(kind)) } else { Scope::AllNamespaces }
    }

    /// What is watched of the kinds that a pattern means, as far as they live in namespaces.
    fn scope_for(&self, pattern: &Pattern) -> Scope<'_> {
        let own = self.tables(pattern).into_iter().map(|table| &table.namespaces).find(|own| !own.is_empty());
        own.map_or_else(|| self.scope(), Scope::Namespaces)
    }

    /// What is to be watched, and where: in these namespaces, or (`None`) in the whole cluster, as more than
    /// [`WATCHES_A_KIND`] of them need.
    pub fn reach(&self) -> Vec<(Pattern, Option<&BTreeSet<String>>)> {
        let namespaces = |pattern: &Pattern| match self.scope_for(pattern) {
            Scope::Namespaces(names) if names.len() <= WATCHES_A_KIND => Some(names),
            _ => None,
        };
        self.patterns().into_iter().map(|pattern| (pattern.clone(), namespaces(&pattern))).collect()
    }

    /// Every table: the built-in kinds in the order in which they are shown, then the others.
    pub fn kinds(&self) -> Vec<(&str, &KindSettings)> {
        let builtin = [
            ("pods", &self.pods),
            ("services", &self.services),
            ("deployments", &self.deployments),
            ("statefulsets", &self.statefulsets),
            ("configmaps", &self.configmaps),
            ("secrets", &self.secrets),
            ("events", &self.events),
        ];
        builtin.into_iter().chain(self.others.iter().map(|(name, table)| (name.as_str(), table))).collect()
    }

    /// What is to be watched, as it stands in the settings; what each of them means, discovery says.
    pub fn enabled_kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds().into_iter().filter(|(_, kind)| kind.enabled).map(|(name, _)| name)
    }

    /// The same, understood.
    pub fn patterns(&self) -> Vec<Pattern> {
        // After loading all of them can be understood.
        self.enabled_kinds().filter_map(|name| Pattern::parse(name).ok()).collect()
    }

    /// Whether a kind is to be watched: the most specific table that speaks of it decides.
    pub fn wants(&self, group: &str, plural: &str) -> bool {
        let one = Pattern::One { group: group.to_owned(), plural: plural.to_owned() };
        self.tables(&one).first().is_some_and(|table| table.enabled)
    }

    /// The kinds that are meant, of what is served, `cap` at most, and with that prefix for their topics. Where namespaces are named, groups and `*` mean only
    /// what lives in namespaces: what is in none is in none of these.
    pub fn resolve(&self, served: &Discovery, cap: usize, prefix: &str) -> Resolved {
        let is_in_scope = |kind: &Kind| kind.namespaced() || self.scope_for(&Pattern::of(kind)) == Scope::AllNamespaces;
        let wants = |kind: &Kind| self.wants(kind.group(), kind.plural()) && is_in_scope(kind);
        served.resolve(&self.patterns(), wants, cap, prefix)
    }

    /// The kinds to watch that are known without asking the API server: the built-in ones.
    pub fn captured(&self) -> Vec<Kind> {
        Kind::builtins().into_iter().filter(|kind| self.wants(kind.group(), kind.plural())).collect()
    }

    /// The kinds that are named by themselves, as far as that goes without asking the API server, which alone knows the
    /// version of those that are not built in and whether they are there.
    pub fn named(&self) -> Vec<Kind> {
        let one = |pattern| match pattern {
            Pattern::One { group, plural } => Some(Kind::custom(&group, "v1", &plural, &plural, true)),
            _ => None,
        };
        let mut kinds = self.captured();
        for kind in self.patterns().into_iter().filter_map(one) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Whether only the API server can say what is meant.
    pub fn needs_discovery(&self) -> bool {
        self.patterns().iter().any(|pattern| pattern.builtin().is_none())
    }

    /// What is said about a kind by all tables that speak of it.
    pub fn settings_of(&self, kind: &Kind) -> KindSettings {
        let tables = self.tables_of(kind);
        let first = |of: fn(&KindSettings) -> &Option<String>| tables.iter().find_map(|table| of(table).clone());
        KindSettings {
            enabled: tables.first().is_some_and(|table| table.enabled),
            policy: first(|table| &table.policy),
            label_selector: first(|table| &table.label_selector),
            field_selector: first(|table| &table.field_selector),
            namespaces: match self.scope_of(kind) {
                Scope::Namespaces(names) => names.clone(),
                Scope::AllNamespaces => BTreeSet::new(),
            },
        }
    }

    /// What is wrong with tables that name namespaces for a kind which lives in none: all of it is watched.
    pub fn namespaces_in_vain(&self, kind: &Kind) -> Option<String> {
        let named = self.tables_of(kind).into_iter().flat_map(|table| &table.namespaces).next()?;
        let id = kind.id();
        (!kind.namespaced()).then(|| {
            format!(
                "{id} live in no namespace: watch.{id}.namespaces.{named} has no effect, and all of them are watched"
            )
        })
    }

    /// What each of these kinds is watched by: kind by kind, namespace by namespace.
    pub fn targets(&self, kinds: &[Kind]) -> Vec<Target> {
        kinds.iter().flat_map(|kind| self.targets_of(kind)).collect()
    }

    /// What one kind is watched by.
    pub fn targets_of(&self, kind: &Kind) -> Vec<Target> {
        let said = self.settings_of(kind);
        let selector = |text: Option<String>| text.map(Arc::<str>::from);
        let selectors = Selectors { label: selector(said.label_selector), field: selector(said.field_selector) };
        let targets = match self.scope_of(kind) {
            Scope::AllNamespaces => vec![Target::all(kind.clone())],
            Scope::Namespaces(names) if names.len() > WATCHES_A_KIND => {
                vec![Target { only: Some(Arc::new(names.clone())), ..Target::all(kind.clone()) }]
            }
            Scope::Namespaces(names) => names.iter().map(|name| Target::within(kind.clone(), name)).collect(),
        };
        targets.into_iter().map(|target| Target { selectors: selectors.clone(), ..target }).collect()
    }

    fn tables_of(&self, kind: &Kind) -> Vec<&KindSettings> {
        self.tables(&Pattern::of(kind))
    }

    /// The tables that speak of all kinds that a pattern means, the most specific first.
    fn tables(&self, wanted: &Pattern) -> Vec<&KindSettings> {
        let understood = |(name, table)| Some((Pattern::parse(name).ok()?, table));
        let mut tables: Vec<(Pattern, &KindSettings)> = self.kinds().into_iter().filter_map(understood).collect();
        tables.retain(|(pattern, _)| pattern.includes(wanted));
        tables.sort_by(|(a, _), (b, _)| b.cmp(a));
        tables.into_iter().map(|(_, table)| table).collect()
    }
}
