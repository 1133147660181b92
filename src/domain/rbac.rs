//! Which rights at the API server the captured kinds and the scope need, and no others. What is printed, what is shipped
//! in `deploy/` and what a cluster is asked to grant all come from here.
//!
//! Not in it: creating SelfSubjectAccessReviews and reading `/version`, which every authenticated user may do
//! (ClusterRoles `system:basic-user` and `system:public-info-viewer`).

use super::pattern::Pattern;
use std::collections::{BTreeMap, BTreeSet};

/// One rule of a Role or a ClusterRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for core.
    pub group: String,
    /// Plurals.
    pub resources: Vec<String>,
    /// Only objects of these names; empty means all.
    pub names: Vec<String>,
    /// What is done with them.
    pub verbs: Vec<String>,
}

/// What a process needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Over the whole cluster.
    pub cluster: Vec<Rule>,
    /// Per namespace; empty when the whole cluster is watched.
    pub namespaced: BTreeMap<String, Vec<Rule>>,
    /// Whether a kind is among them of which less is read than the right gives: listing Secrets grants their values to
    /// whoever holds the token, also when only their metadata is asked for.
    pub grants_more_than_is_read: bool,
}

/// Kinds of Kubernetes itself that live in no namespace. Of others only the API server can say it: they are taken to live
/// in namespaces, which asks for the smaller right.
const IN_NO_NAMESPACE: &[(&str, &[&str])] = &[
    ("", &["namespaces", "nodes", "persistentvolumes"]),
    ("admissionregistration.k8s.io", &["*"]),
    ("apiextensions.k8s.io", &["*"]),
    ("apiregistration.k8s.io", &["*"]),
    ("certificates.k8s.io", &["certificatesigningrequests", "clustertrustbundles"]),
    ("flowcontrol.apiserver.k8s.io", &["*"]),
    ("networking.k8s.io", &["ingressclasses", "ipaddresses", "servicecidrs"]),
    ("node.k8s.io", &["*"]),
    ("rbac.authorization.k8s.io", &["clusterroles", "clusterrolebindings"]),
    ("resource.k8s.io", &["deviceclasses", "resourceslices"]),
    ("scheduling.k8s.io", &["priorityclasses"]),
    ("storage.k8s.io", &["csidrivers", "csinodes", "storageclasses", "volumeattachments", "volumeattributesclasses"]),
];

/// The rights to watch what is `wanted`, each in its namespaces (`None`: in all of them) and, when `identity` is asked for, to
/// read the uid of kube-system that tells this cluster from another.
///
/// What is beyond the built-in kinds is found by discovery, which every authenticated user may do
/// (ClusterRole `system:discovery`), and noticed by a watch of the definitions.
pub fn rights(wanted: &[(Pattern, Option<&BTreeSet<String>>)], identity: bool) -> Rights {
    let mut cluster = Watching::default();
    let mut namespaced: BTreeMap<String, Watching> = BTreeMap::new();
    for (pattern, namespaces) in wanted {
        match namespaces {
            Some(names) if !is_in_no_namespace(pattern) => {
                names.iter().for_each(|name| namespaced.entry(name.clone()).or_default().add(pattern));
            }
            _ => cluster.add(pattern),
        }
    }
    if wanted.iter().any(|(pattern, _)| pattern.builtin().is_none()) {
        let (group, plural) = ("apiextensions.k8s.io".to_owned(), "customresourcedefinitions".to_owned());
        cluster.add(&Pattern::One { group, plural });
    }
    let identity = identity.then(|| Rule {
        group: String::new(),
        resources: vec!["namespaces".to_owned()],
        names: vec!["kube-system".to_owned()],
        verbs: vec!["get".to_owned()],
    });
    Rights {
        cluster: cluster.rules().into_iter().chain(identity).collect(),
        namespaced: namespaced.into_iter().map(|(name, watching)| (name, watching.rules())).collect(),
        // A rule for all takes nothing out, whatever the settings leave out.
        grants_more_than_is_read: wanted.iter().any(|(pattern, _)| pattern.matches("", "secrets")),
    }
}

fn is_in_no_namespace(pattern: &Pattern) -> bool {
    let listed = |group: &str, plural: &str| {
        IN_NO_NAMESPACE
            .iter()
            .any(|(known, plurals)| *known == group && (plurals.contains(&plural) || *plurals == ["*"]))
    };
    match pattern {
        Pattern::One { group, plural } => listed(group, plural),
        Pattern::Group(group) => listed(group, "*"),
        Pattern::Everything => false,
    }
}

/// What is listed and watched in one place: group → plurals, in the order in which they were named.
#[derive(Default)]
struct Watching(BTreeMap<String, Vec<String>>);

/// Stands for all groups, or all resources of one, in a rule.
const ALL: &str = "*";

impl Watching {
    fn add(&mut self, pattern: &Pattern) {
        let (group, plural) = match pattern {
            Pattern::Everything => (ALL, ALL),
            Pattern::Group(group) => (group.as_str(), ALL),
            Pattern::One { group, plural } => (group.as_str(), plural.as_str()),
        };
        let plurals = self.0.entry(group.to_owned()).or_default();
        if !plurals.iter().any(|known| known == plural) {
            plurals.push(plural.to_owned());
        }
    }

    /// Without what a wider rule grants already.
    fn rules(mut self) -> Vec<Rule> {
        if self.0.contains_key(ALL) {
            self.0.retain(|group, _| group == ALL);
        }
        let narrowed = |plurals: Vec<String>| {
            if plurals.iter().any(|plural| plural == ALL) { vec![ALL.to_owned()] } else { plurals }
        };
        let rule = |(group, plurals)| Rule {
            group,
            resources: narrowed(plurals),
            names: Vec::new(),
            verbs: vec!["list".to_owned(), "watch".to_owned()],
        };
        self.0.into_iter().map(rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(
        kinds: &[&str],
        namespaces: Option<&'a BTreeSet<String>>,
    ) -> Vec<(Pattern, Option<&'a BTreeSet<String>>)> {
        kinds.iter().map(|kind| (Pattern::parse(kind).expect("a kind"), namespaces)).collect()
    }

    fn said(rules: &[Rule]) -> Vec<String> {
        rules.iter().map(|r| format!("{:?} {} {}", r.group, r.resources.join(","), r.verbs.join(","))).collect()
    }

    #[test]
    fn the_whole_cluster_takes_one_rule_per_group_and_the_identity() {
        let rights = rights(&wanted(&["pods", "deployments", "events"], None), true);
        let want = ["\"\" pods,events list,watch", "\"apps\" deployments list,watch", "\"\" namespaces get"];
        assert_eq!(said(&rights.cluster), want);
        assert_eq!(rights.cluster[2].names, ["kube-system"], "no other namespace");
        assert!(rights.namespaced.is_empty() && !rights.grants_more_than_is_read);
    }

    #[test]
    fn named_namespaces_take_no_right_over_the_cluster_but_the_identity() {
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let named = rights(&wanted(&["secrets"], Some(&names)), true);
        assert_eq!(named.cluster.len(), 1);
        assert_eq!(named.cluster[0].resources, ["namespaces"]);
        assert_eq!(named.namespaced.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(named.namespaced["a"][0].resources, ["secrets"]);
        assert!(named.grants_more_than_is_read);
        assert!(rights(&wanted(&["pods"], Some(&names)), false).cluster.is_empty());
    }

    #[test]
    fn groups_and_everything_take_one_rule_that_covers_the_kinds_in_them() {
        let group = rights(&wanted(&["deployments", "*.apps", "certificates.cert-manager.io"], None), false);
        let definitions = "\"apiextensions.k8s.io\" customresourcedefinitions list,watch";
        let want = [definitions, "\"apps\" * list,watch", "\"cert-manager.io\" certificates list,watch"];
        assert_eq!(said(&group.cluster), want);
        assert!(!group.grants_more_than_is_read);
        let all = rights(&wanted(&["*", "pods", "*.apps"], None), false);
        assert_eq!(said(&all.cluster), ["\"*\" * list,watch"]);
        assert!(all.grants_more_than_is_read, "Secrets too, whatever the settings leave out");
    }

    #[test]
    fn what_lives_in_no_namespace_is_granted_over_the_cluster_and_the_rest_where_it_is_watched() {
        let names = BTreeSet::from(["a".to_owned()]);
        let rights = rights(&wanted(&["pods", "nodes", "issuers.cert-manager.io"], Some(&names)), false);
        let definitions = "\"apiextensions.k8s.io\" customresourcedefinitions list,watch";
        assert_eq!(said(&rights.cluster), ["\"\" nodes list,watch", definitions]);
        let want = ["\"\" pods list,watch", "\"cert-manager.io\" issuers list,watch"];
        assert_eq!(said(&rights.namespaced["a"]), want);
    }
}
