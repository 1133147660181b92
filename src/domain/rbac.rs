//! Which rights at the API server the captured kinds and the scope need, and no others. What is printed, what is shipped
//! in `deploy/` and what a cluster is asked to grant all come from here.
//!
//! Not in it: creating SelfSubjectAccessReviews and reading `/version`, which every authenticated user may do
//! (ClusterRoles `system:basic-user` and `system:public-info-viewer`).

use super::kind::{Content, Kind};
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

/// The rights to watch `kinds` in `namespaces` (`None`: in all of them) and, when `identity` is asked for, to read the uid
/// of kube-system that tells this cluster from another.
pub fn rights(kinds: &[Kind], namespaces: Option<&BTreeSet<String>>, identity: bool) -> Rights {
    let mut by_group: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        by_group.entry(kind.group()).or_default().push(kind.plural().to_owned());
    }
    let watching: Vec<Rule> = by_group
        .into_iter()
        .map(|(group, resources)| Rule {
            group: group.to_owned(),
            resources,
            names: Vec::new(),
            verbs: vec!["list".to_owned(), "watch".to_owned()],
        })
        .collect();
    let identity = identity.then(|| Rule {
        group: String::new(),
        resources: vec!["namespaces".to_owned()],
        names: vec!["kube-system".to_owned()],
        verbs: vec!["get".to_owned()],
    });
    let grants_more_than_is_read = kinds.iter().any(|kind| kind.content() == Content::Metadata);
    let (cluster, namespaced) = match namespaces {
        None => (watching.into_iter().chain(identity).collect(), BTreeMap::new()),
        Some(names) => {
            (identity.into_iter().collect(), names.iter().map(|name| (name.clone(), watching.clone())).collect())
        }
    };
    Rights { cluster, namespaced, grants_more_than_is_read }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(plurals: &[&str]) -> Vec<Kind> {
        plurals.iter().map(|plural| Kind::builtin(plural).expect("built in")).collect()
    }

    #[test]
    fn the_whole_cluster_takes_one_rule_per_group_and_the_identity() {
        let rights = rights(&kinds(&["pods", "deployments", "events"]), None, true);
        let said: Vec<_> =
            rights.cluster.iter().map(|r| (r.group.as_str(), r.resources.join(","), r.verbs.join(","))).collect();
        let want =
            [("", "pods,events", "list,watch"), ("apps", "deployments", "list,watch"), ("", "namespaces", "get")];
        assert_eq!(said, want.map(|(g, r, v)| (g, r.to_owned(), v.to_owned())));
        assert_eq!(rights.cluster[2].names, ["kube-system"], "no other namespace");
        assert!(rights.namespaced.is_empty() && !rights.grants_more_than_is_read);
    }

    #[test]
    fn named_namespaces_take_no_right_over_the_cluster_but_the_identity() {
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let named = rights(&kinds(&["secrets"]), Some(&names), true);
        assert_eq!(named.cluster.len(), 1);
        assert_eq!(named.cluster[0].resources, ["namespaces"]);
        assert_eq!(named.namespaced.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(named.namespaced["a"][0].resources, ["secrets"]);
        assert!(named.grants_more_than_is_read);
        assert!(rights(&kinds(&["pods"]), Some(&names), false).cluster.is_empty());
    }
}
