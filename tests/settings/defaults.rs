//! default.toml is complete, and agrees with the rules of the domain.

use super::*;

#[test]
fn default_toml_holds_every_setting_and_no_other() {
    // Loading panics on a key that no type takes and on a field that has no key: no field has a default of its own.
    let settings = Settings::defaults();
    assert_eq!(settings.publisher.linger, Duration::from_millis(50));
    assert_eq!(settings.publisher.batch_bytes, 1 << 20);
    assert_eq!(settings.cluster.name, None);
    assert_eq!(settings.watch.enabled_kinds().count(), 7);
    assert_eq!(settings.watch.scope(), Scope::Namespaces(&BTreeSet::from(["default".to_owned()])));
}

#[test]
fn every_topic_that_the_domain_names_is_in_default_toml_and_streams_are_never_compacted() {
    let specs = Settings::defaults().topics.specs(&Kind::builtins());
    let policy_of = |name: &str| {
        let spec = specs.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name}"));
        (spec.partitions, spec.config["cleanup.policy"].as_str())
    };
    for kind in Kind::builtins() {
        let partitions = if kind.id() == "pods" { 12 } else { 6 };
        let policy = if kind.id() == "events" { "delete" } else { "compact" };
        assert_eq!(policy_of(&kind.topic()), (partitions, policy));
    }
    assert_eq!(policy_of(topic::SHARED_STATE), (6, "compact"));
    assert_eq!(policy_of(topic::EVENT_STREAM), (6, "delete"));
    assert_eq!(policy_of(topic::CHECKPOINTS), (1, "compact"));
    assert_eq!(policy_of(topic::GAPS), (1, "delete"));
    assert_eq!(policy_of(topic::DLQ), (3, "delete"));
    assert_eq!(specs.len(), Kind::builtins().len() + 5);
    let mut settings = Settings::defaults();
    settings.topics.prefix = "dev.".to_owned();
    assert!(settings.topics.specs(&[]).iter().all(|s| s.name.starts_with("dev.") && !s.name.contains("k8s-")));
}

#[test]
fn every_kind_in_default_toml_is_one_that_the_domain_knows() {
    let known: Vec<_> = Kind::builtins().iter().map(|kind| kind.plural().to_owned()).collect();
    let settings = Settings::defaults();
    assert_eq!(settings.watch.kinds().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), known);
}

#[test]
fn every_setting_of_default_toml_has_a_comment_above_it_or_above_its_table() {
    // A blank line ends what a comment speaks of; a table header opens a new subject but within it.
    let mut commented = false;
    for line in include_str!("../../config/default.toml").lines() {
        match line {
            "" => commented = false,
            line if line.starts_with('#') => commented = true,
            line => assert!(
                commented || line.starts_with('[') || line.starts_with('"') || line.starts_with("partitions"),
                "no reason given for: {line}"
            ),
        }
    }
}

#[test]
fn each_file_beside_the_default_loads() {
    for (file, mode) in [("local", ClusterMode::Sandbox), ("production", ClusterMode::InCluster)] {
        let sources = Sources { files: vec![format!("config/{file}.toml").into()], ..sound() };
        assert_eq!(loaded(&sources).settings.cluster.mode, mode);
    }
}

#[test]
fn local_toml_needs_nothing_more_and_production_toml_says_what_it_needs() {
    let only = |file: &str| Sources { files: vec![file.into()], ..Sources::default() };
    loaded(&only("config/local.toml"));
    assert_eq!(
        load(&only("config/production.toml")).unwrap_err().to_string(),
        "error: cluster.name (default): required: every record's key begins with it; \
         for example --set cluster.name=production-eu\n\
         error: kafka.bootstrap (default): required: where log.engine = \"kafka\" writes to; \
         for example --set kafka.bootstrap=127.0.0.1:9092"
    );
}

#[test]
fn production_toml_watches_all_namespaces_without_secrets_over_three_replicas() {
    let settings = loaded(&Sources { files: vec!["config/production.toml".into()], ..sound() }).settings;
    assert_eq!(settings.watch.scope(), Scope::AllNamespaces);
    assert!(settings.watch.enabled_kinds().all(|kind| kind != "secrets"));
    assert_eq!((settings.topics.replication, settings.topics.min_insync_replicas), (3, 2));
    assert_eq!(settings.observe.format, LogFormat::Json);
    assert!(settings.http.ops.ip().is_unspecified() && settings.http.api.ip().is_loopback());
}
