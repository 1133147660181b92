//! Layers win in their order, and say where a value came from.

use super::*;

#[test]
fn a_later_layer_wins_and_each_value_knows_the_layer_it_came_from() {
    let lower = File::with("[publisher]\nlinger = \"1ms\"\nbatch_events = 1\nlane_events = 2\nlane_bytes = \"5MiB\"\n");
    let upper = File::with("[publisher]\nbatch_events = 3\nlane_events = 3\nlane_bytes = \"6MiB\"");
    let sources = Sources {
        files: vec![lower.path(), upper.path()],
        env: env(&[("AGENT_EVENTS__PUBLISHER__LANE_EVENTS", "4"), ("AGENT_EVENTS__PUBLISHER__LANE_BYTES", "7MiB")]),
        set: texts(&["publisher.lane_bytes=8MiB", "cluster.name=c", "kafka.bootstrap=b:1", "watch.poll_interval=9s"]),
        flags: vec![FlagOverride::poll_interval(7)],
    };
    let loaded = loaded(&sources);
    let publisher = &loaded.settings.publisher;
    assert_eq!((publisher.linger, publisher.batch_events), (Duration::from_millis(1), 3));
    assert_eq!((publisher.lane_events, publisher.lane_bytes), (4, 8 << 20));
    assert_eq!(loaded.settings.watch.poll_interval, Duration::from_secs(7));

    let origin = |key: &str| loaded.origin(&key.split('.').collect::<Vec<_>>());
    assert_eq!(origin("publisher.batch_bytes"), Origin::Default);
    assert_eq!(origin("publisher.linger"), Origin::File { path: lower.path(), line: 2 });
    assert_eq!(origin("publisher.batch_events"), Origin::File { path: upper.path(), line: 2 });
    assert_eq!(origin("publisher.lane_events"), Origin::Env("AGENT_EVENTS__PUBLISHER__LANE_EVENTS".to_owned()));
    assert_eq!(origin("publisher.lane_bytes"), Origin::Set);
    assert_eq!(origin("watch.poll_interval"), Origin::Flag("--poll-interval".to_owned()));
}

#[test]
fn the_environment_reaches_names_that_a_shell_cannot_spell() {
    let settings = loaded(&Sources {
        env: env(&[
            ("AGENT_EVENTS__TOPICS__K8S_PODS__PARTITIONS", "24"),
            ("AGENT_EVENTS__TOPICS__AGENT_EVENTS_DLQ__CONFIG__RETENTION_MS", "5"),
            ("AGENT_EVENTS__KAFKA__LIBRDKAFKA__SECURITY_PROTOCOL", "ssl"),
            ("AGENT_EVENTS__WATCH__NAMESPACES__KUBE_SYSTEM", "true"),
            ("AGENT_EVENTS__REDACTION__ENV_ALLOW__LOG_LEVEL", "true"),
            ("AGENT_EVENTS__WATCH__SECRETS__ENABLED", "false"),
            ("agent_events__data_dir", "not ours: names are in capitals up to the section"),
            ("AGENT_EVENTS_SERVICE_HOST", "10.0.0.1"),
        ]),
        ..sound()
    })
    .settings;
    assert_eq!(settings.topics.get("k8s-pods").unwrap().partitions, 24);
    assert_eq!(settings.topics.dlq.config.get("retention.ms"), Some("5"));
    assert_eq!(settings.kafka.librdkafka.get("security.protocol"), Some("ssl"));
    assert_eq!(settings.watch.namespaces, BTreeSet::from(["kube-system".to_owned()]));
    assert_eq!(settings.redaction.env_allow, BTreeSet::from(["LOG_LEVEL".to_owned()]));
    assert!(!settings.watch.secrets.enabled);
}

#[test]
fn set_takes_dotted_keys_with_quoted_parts_and_values_without_quotes() {
    let set = [
        "cluster.name=5",
        "kafka.bootstrap = b:1",
        "topics.\"agent-events.dlq\".partitions=5",
        "kafka.librdkafka.socket.timeout.ms=1000",
        "redaction.annotations_deny.\"example.com/a=b\"=true",
        "cluster.id=\"quoted\"",
        "publisher.max_record_bytes=1048576",
        "watch.pods={enabled=false}",
    ];
    let settings = loaded(&Sources { set: texts(&set), ..Sources::default() }).settings;
    assert_eq!(settings.cluster.name.as_deref(), Some("5"));
    assert_eq!(settings.kafka.bootstrap.as_deref(), Some("b:1"));
    assert_eq!(settings.topics.dlq.partitions, 5);
    assert_eq!(settings.kafka.librdkafka.get("socket.timeout.ms"), Some("1000"));
    assert!(settings.redaction.annotations_deny.contains("example.com/a=b"));
    assert_eq!(settings.cluster.id.as_deref(), Some("quoted"));
    assert_eq!(settings.publisher.max_record_bytes, 1 << 20);
    assert!(!settings.watch.pods.enabled);
}

#[test]
fn nested_and_quoted_names_of_librdkafka_are_one_entry_that_a_later_layer_takes_back() {
    let file = File::with(
        "[kafka.librdkafka]\nsecurity.protocol = \"ssl\"\n\"batch.size\" = 5\n[kafka.librdkafka.ssl.ca]\nlocation = \"probe\"",
    );
    let sources = Sources {
        files: vec![file.path()],
        set: texts(&["cluster.name=c", "kafka.bootstrap=b:1", "kafka.librdkafka.\"batch.size\"=\"\""]),
        ..Sources::default()
    };
    let kafka = loaded(&sources).settings.kafka;
    assert_eq!(kafka.librdkafka.get("security.protocol"), Some("ssl"));
    assert_eq!(kafka.librdkafka.get("ssl.ca.location"), Some("probe"));
    assert_eq!(kafka.librdkafka.get("batch.size"), None);
}

#[test]
fn naming_a_namespace_replaces_the_built_in_one_and_the_flag_replaces_all() {
    let file = File::with("[watch.namespaces]\nshop = true\nbank = true\n");
    let mut sources = Sources { files: vec![file.path()], ..sound() };
    sources.set.push("watch.namespaces.bank=false".to_owned());
    assert_eq!(loaded(&sources).settings.watch.namespaces, BTreeSet::from(["shop".to_owned()]));
    sources.flags = vec![FlagOverride::namespaces(texts(&["a, b", "c"]))];
    assert_eq!(loaded(&sources).settings.watch.namespaces, ["a", "b", "c"].map(str::to_owned).into());
}

#[test]
fn resources_means_exactly_these_kinds() {
    let mut sources = sound();
    sources.flags = vec![FlagOverride::resources(texts(&["pods,services"]))];
    let loaded = loaded(&sources);
    assert_eq!(loaded.settings.watch.enabled_kinds().collect::<Vec<_>>(), ["pods", "services"]);
    assert_eq!(loaded.origin(&["watch", "events", "enabled"]), Origin::Flag("--resources".to_owned()));
}

#[test]
fn with_all_namespaces_the_built_in_one_is_not_shown_as_if_it_counted() {
    let mut sources = sound();
    sources.flags = vec![FlagOverride::all_namespaces()];
    let loaded = loaded(&sources);
    assert_eq!(loaded.settings.watch.scope(), Scope::AllNamespaces);
    assert!(!config_cmd::show_text(&loaded, false).contains("[watch.namespaces]"));
}
