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
fn every_topic_in_default_toml_is_as_the_domain_says_it_should_be() {
    let settings = Settings::defaults();
    let built_in = topic::specs(&Kind::builtins(), &topic::TopicPolicy::default());
    for spec in &built_in {
        let topic = settings.topics.get(&spec.name).unwrap_or_else(|| panic!("{} has no table", spec.name));
        assert_eq!(i32::from(topic.partitions), spec.partitions, "{}", spec.name);
        let mut config = topic.config.0.clone();
        config.insert("min.insync.replicas".to_owned(), "1".to_owned());
        assert_eq!(config, spec.config, "{}", spec.name);
    }
    assert_eq!(settings.topics.all().len(), built_in.len(), "default.toml has a topic that nothing uses");
}

#[test]
fn every_kind_in_default_toml_is_one_that_the_domain_knows() {
    let known: Vec<_> = Kind::builtins().iter().map(|kind| kind.plural().to_owned()).collect();
    assert_eq!(Settings::defaults().watch.kinds().map(|(plural, _)| plural.to_owned()).to_vec(), known);
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
    for (file, mode) in [("local", ClusterMode::Kubeconfig), ("production", ClusterMode::InCluster)] {
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
