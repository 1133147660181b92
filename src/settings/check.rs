//! What types cannot say: ranges, names, settings that need or contradict each other. Pure, over the loaded settings.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::pattern::Pattern;
use crate::domain::selector::{LabelSelector, check_fields};

use super::kafka::OTHER_KINDS;
use super::load::Provenance;
use super::problem::{Origin, Problem};
use super::tree::dotted;
use super::{KindSettings, LogEngine, Settings};

/// Every fault of meaning.
pub fn check(settings: &Settings, provenance: &Provenance) -> Vec<Problem> {
    let mut check = Check { settings, provenance, found: Vec::new() };
    check.cluster();
    check.watch();
    check.redaction();
    check.kafka();
    check.topics();
    check.sandbox();
    check.publisher();
    check.rest();
    check.found
}

struct Check<'a> {
    settings: &'a Settings,
    provenance: &'a Provenance,
    found: Vec<Problem>,
}

/// librdkafka's settings that are not taken from `[kafka.librdkafka]`: the setting to use instead, or what they would
/// break.
const OWNED: [(&str, &str); 33] = [
    ("bootstrap.servers", "set kafka.bootstrap instead"),
    ("metadata.broker.list", "set kafka.bootstrap instead"),
    ("sasl.password", "set kafka.sasl_password_file instead"),
    ("client.id", "it is agent-events- and cluster.name"),
    ("linger.ms", "set publisher.linger instead"),
    ("queue.buffering.max.ms", "set publisher.linger instead"),
    ("queue.buffering.max.kbytes", "set publisher.queue_bytes instead"),
    ("queue.buffering.max.messages", "set publisher.queue_bytes instead"),
    ("message.max.bytes", "set publisher.max_record_bytes instead"),
    ("acks", ACKS),
    ("request.required.acks", ACKS),
    ("enable.idempotence", ORDER),
    ("max.in.flight", ORDER),
    ("max.in.flight.requests.per.connection", ORDER),
    ("retries", ORDER),
    ("message.send.max.retries", ORDER),
    ("enable.gapless.guarantee", "a refused record would be overtaken by later ones of its object"),
    ("message.timeout.ms", EXPIRY),
    ("delivery.timeout.ms", EXPIRY),
    ("partitioner", PARTITION),
    ("transactional.id", "agent-events uses no transactions"),
    ("allow.auto.create.topics", "topics are created as [topics] says, never by accident"),
    ("enable.auto.commit", TABLES),
    ("auto.commit.enable", TABLES),
    ("auto.commit.interval.ms", TABLES),
    ("enable.auto.offset.store", TABLES),
    ("auto.offset.reset", TABLES),
    ("offset.store.method", TABLES),
    ("group.id", TABLES),
    ("group.instance.id", TABLES),
    ("group.protocol", TABLES),
    ("enable.partition.eof", TABLES),
    ("isolation.level", TABLES),
];
const ACKS: &str = "a record counts as durable only with acks=all";
const ORDER: &str = "records of one object would be reordered or repeated";
const EXPIRY: &str = "a record that expires is a change that is lost";
const PARTITION: &str = "the partition of a key is fixed for ever, as Java computes it";
const TABLES: &str = "agent-events keeps its own offsets";

/// Topics that hold a state: the last record of a key must never expire.
const STATE_TOPICS: [&str; 9] = [
    "k8s-pods",
    "k8s-deployments",
    "k8s-statefulsets",
    "k8s-services",
    "k8s-configmaps",
    "k8s-secrets",
    OTHER_KINDS,
    "shared-state",
    "agent-events-checkpoints",
];

impl Check<'_> {
    fn cluster(&mut self) {
        let cluster = &self.settings.cluster;
        match &cluster.name {
            None if self.settings.log.engine != LogEngine::Memory => self.required(
                &["cluster", "name"],
                "every record's key begins with it",
                "for example --set cluster.name=production-eu",
            ),
            Some(name) if !is_kafka_name(name) => {
                self.fault(&["cluster", "name"], "expected letters, digits and ._- only", None);
            }
            _ => {}
        }
        let kubeconfig_unused = matches!(cluster.mode, super::ClusterMode::InCluster | super::ClusterMode::Sandbox);
        for (key, set) in [("context", cluster.context.is_some()), ("kubeconfig", cluster.kubeconfig.is_some())] {
            if kubeconfig_unused && set {
                self.contradiction(&["cluster", key], &["cluster", "mode"], "only a kubeconfig has a use for it");
            }
        }
    }

    fn watch(&mut self) {
        let watch = &self.settings.watch;
        let named: Vec<&str> = watch.namespaces.iter().map(String::as_str).collect();
        for name in &named {
            if !is_dns_label(name) {
                self.fault(&["watch", "namespaces", name], NOT_A_NAMESPACE, None);
            }
        }
        match (watch.all_namespaces, named.first()) {
            (true, Some(first)) => {
                let hint = "watch.all_namespaces=false watches only what is named";
                self.contradiction(&["watch", "all_namespaces"], &["watch", "namespaces", first], hint);
            }
            (false, None) => self.fault(
                &["watch", "namespaces"],
                "no namespace is left to watch",
                Some("name one with --namespace, or watch all of them with --all-namespaces"),
            ),
            _ => {}
        }
        for (name, table) in watch.kinds() {
            self.kind(name, table);
        }
        self.within(&["watch", "max_kinds"], watch.max_kinds, 1..=10_000);
        if watch.enabled_kinds().next().is_none() {
            self.fault(&["watch", "pods", "enabled"], "no kind is left to watch", Some("enable one with --resources"));
        }
        self.at_least(&["watch", "poll_interval"], watch.poll_interval, Duration::from_millis(100));
        self.at_least(&["watch", "audit_interval"], watch.audit_interval, Duration::from_secs(1));
        self.within(&["watch", "page_size"], watch.page_size, 1..=10_000);
        self.within(&["watch", "max_frame_bytes"], watch.max_frame_bytes, 64 << 10..=256 << 20);
        self.within(&["watch", "max_page_bytes"], watch.max_page_bytes, 64 << 10..=1 << 30);
    }

    fn kind(&mut self, name: &str, table: &KindSettings) {
        let under = |key| ["watch", name, key];
        if table.enabled && name == "events.events.k8s.io" {
            let message = "these are the same objects as those of events, in another form";
            self.fault(&under("enabled"), message, Some("enable events instead"));
        }
        match table.policy.as_deref() {
            Some("metadata") | None => {}
            Some("keys" | "full") if name == "secrets" => {
                self.fault(&under("policy"), "expected metadata: no value of a Secret leaves the process", None);
            }
            Some("keys" | "full") => {}
            Some(_) => self.fault(&under("policy"), "expected `metadata`, `keys` or `full`", None),
        }
        if let Some(Err(error)) = table.label_selector.as_deref().map(LabelSelector::parse) {
            let hint = Some("for example \"app=web,tier!=cache\"");
            self.fault(&under("label_selector"), &format!("no label selector: {error}"), hint);
        }
        if let Some(Err(error)) = table.field_selector.as_deref().map(check_fields) {
            let hint = Some("for example \"status.phase!=Succeeded\"");
            self.fault(&under("field_selector"), &format!("no field selector: {error}"), hint);
        }
        for namespace in &table.namespaces {
            if !is_dns_label(namespace) {
                self.fault(&["watch", name, "namespaces", namespace], NOT_A_NAMESPACE, None);
            }
        }
    }

    fn redaction(&mut self) {
        let redaction = &self.settings.redaction;
        for name in &redaction.configmaps.full_namespaces {
            if !is_dns_label(name) {
                self.fault(&["redaction", "configmaps", "full_namespaces", name], NOT_A_NAMESPACE, None);
            }
        }
        let watched = self.settings.watch.patterns();
        for (kind, rules) in &redaction.rules {
            // The table itself stands on no line of its own.
            let place = ["redaction", "rules", kind.as_str(), if rules.redact.is_empty() { "keep" } else { "redact" }];
            match Pattern::parse(kind) {
                Err(why) => self.fault(&place, &why, None),
                // A slip in the name would show what somebody meant to hide.
                Ok(pattern) if !watched.iter().any(|w| w.includes(&pattern) || pattern.includes(w)) => {
                    let hint = "name a kind as in [watch], or watch it";
                    self.fault(&place, "no kind of that name is watched", Some(hint));
                }
                Ok(_) => {}
            }
        }
        for fault in self.settings.policy_without_key().faults() {
            let message = match &fault.pointer {
                Some(pointer) => format!("{pointer:?}: {}", fault.why),
                None => fault.why.clone(),
            };
            self.fault(&["redaction", "rules", &fault.kind, fault.list], &message, None);
        }
        if let (Some(id), None) = (&redaction.hmac_key_id, &redaction.hmac_key_file) {
            let message = format!("{id:?} names a key that is not there");
            self.fault(&["redaction", "hmac_key_id"], &message, Some("set redaction.hmac_key_file"));
        }
    }

    fn kafka(&mut self) {
        let kafka = &self.settings.kafka;
        match &kafka.bootstrap {
            None if self.settings.log.engine == LogEngine::Kafka => self.required(
                &["kafka", "bootstrap"],
                "where log.engine = \"kafka\" writes to",
                "for example --set kafka.bootstrap=127.0.0.1:9092",
            ),
            Some(list) if !list.split(',').all(|broker| is_host_and_port(broker.trim())) => {
                self.fault(&["kafka", "bootstrap"], "expected host:port, comma separated, without a scheme", None);
            }
            _ => {}
        }
        if kafka.sasl_password.is_some() && kafka.sasl_password_file.is_some() {
            let hint = "keep one of them";
            self.contradiction(&["kafka", "sasl_password_file"], &["kafka", "sasl_password"], hint);
        }
        for (name, _) in kafka.librdkafka.iter() {
            if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| *owned == name) {
                self.fault(&["kafka", "librdkafka", name], "not taken from here", Some(reason));
            }
        }
    }

    fn topics(&mut self) {
        let topics = &self.settings.topics;
        self.within(&["topics", "replication"], topics.replication, 1..=32);
        self.within(&["topics", "min_insync_replicas"], topics.min_insync_replicas, 1..=32);
        if topics.min_insync_replicas > topics.replication {
            let hint = "a topic with fewer copies than must have a record takes none";
            self.contradiction(&["topics", "min_insync_replicas"], &["topics", "replication"], hint);
        }
        // Kafka's limit is 249, and the longest of our names has 24.
        if topics.prefix.len() > 200 || !(topics.prefix.is_empty() || is_kafka_name(&topics.prefix)) {
            self.fault(&["topics", "prefix"], "expected at most 200 letters, digits and ._-", None);
        }
        for (name, topic) in topics.all().into_iter().chain([(OTHER_KINDS, &topics.other_kinds)]) {
            let partitions = ["topics", name, "partitions"];
            self.within(&partitions, topic.partitions, 1..=10_000);
            if name == "agent-events-checkpoints" && topic.partitions > 1 {
                self.fault(&partitions, "expected 1: readers need one order over all of it", None);
            }
            if topic.config.get("min.insync.replicas").is_some() {
                let hint = Some("set topics.min_insync_replicas instead");
                self.fault(&["topics", name, "config", "min.insync.replicas"], "not taken from here", hint);
            }
            if STATE_TOPICS.contains(&name) && topic.config.get("cleanup.policy") != Some("compact") {
                let message = "expected \"compact\": with any other policy an object that nobody touches is lost";
                self.fault(&["topics", name, "config", "cleanup.policy"], message, None);
            }
        }
    }

    fn publisher(&mut self) {
        let publisher = &self.settings.publisher;
        self.within(&["publisher", "batch_events"], publisher.batch_events, 1..=100_000);
        self.within(&["publisher", "lane_events"], publisher.lane_events, 1..=10_000_000);
        self.within(&["publisher", "queue_bytes"], publisher.queue_bytes, 1 << 20..=2 << 30);
        // librdkafka's own range for message.max.bytes ends at 1,000,000,000.
        self.within(&["publisher", "max_record_bytes"], publisher.max_record_bytes, 64 << 10..=1_000_000_000);
        self.at_most(&["publisher", "linger"], publisher.linger, Duration::from_secs(10));
        let order = [
            ("batch_events", publisher.batch_events, "lane_events", publisher.lane_events),
            ("batch_bytes", publisher.batch_bytes, "lane_bytes", publisher.lane_bytes),
            ("lane_bytes", publisher.lane_bytes, "all_lanes_bytes", publisher.all_lanes_bytes),
            ("max_record_bytes", publisher.max_record_bytes, "queue_bytes", publisher.queue_bytes),
        ];
        for (smaller, small, larger, large) in order {
            if small > large {
                self.contradiction(&["publisher", smaller], &["publisher", larger], "it must not be larger");
            }
        }
        self.within(&["publisher", "batch_bytes"], publisher.batch_bytes, 1 << 10..=1 << 30);
    }

    fn sandbox(&mut self) {
        let sandbox = &self.settings.sandbox;
        self.within(&["sandbox", "rate"], sandbox.rate, 1..=5000);
        if !sandbox.listen.ip().is_loopback() {
            self.fault(&["sandbox", "listen"], "expected a loopback address: the sandbox knows no users", None);
        }
    }

    fn rest(&mut self) {
        if self.settings.data_dir.as_os_str().is_empty() {
            self.fault(&["data_dir"], "expected a directory", Some("\".\" is the working directory"));
        }
        let Settings { store, http, supervision, observe, .. } = self.settings;
        self.within(&["store", "max_bytes"], store.max_bytes, 1 << 20..=1 << 40);
        self.within(&["store", "events_max"], store.events_max, 1..=100_000_000);
        self.within(&["store", "ring"], store.ring, 1..=100_000_000);
        self.at_least(&["store", "events_ttl"], store.events_ttl, Duration::from_secs(1));
        if !store.save_interval.is_zero() {
            self.at_least(&["store", "save_interval"], store.save_interval, Duration::from_secs(1));
        }

        if !http.api.ip().is_loopback() {
            let message = "expected a loopback address: the API has no authentication yet";
            self.fault(&["http", "api"], message, Some("reach it through kubectl port-forward or a proxy of your own"));
        }
        if http.api == http.ops && http.api.port() != 0 {
            self.contradiction(&["http", "ops"], &["http", "api"], "two listeners need two addresses");
        }

        self.within(&["supervision", "max_restarts"], supervision.max_restarts, 1..=1_000_000);
        for (key, value) in [
            ("window", supervision.window),
            ("backoff_min", supervision.backoff_min),
            ("hang_limit", supervision.hang_limit),
            ("shutdown_deadline", supervision.shutdown_deadline),
        ] {
            self.at_least(&["supervision", key], value, Duration::from_millis(1));
        }
        if supervision.backoff_min > supervision.backoff_max {
            let (smaller, larger) = (["supervision", "backoff_min"], ["supervision", "backoff_max"]);
            self.contradiction(&smaller, &larger, "it must not be larger");
        }
        if let Err(error) = tracing_subscriber::filter::EnvFilter::builder().parse(&observe.log) {
            self.fault(&["observe", "log"], &format!("not a log filter: {error}"), Some("for example \"info\""));
        }
    }
}

const NOT_A_NAMESPACE: &str = "not a namespace: expected at most 63 small letters, digits and - between them";

/// The ways to report.
impl Check<'_> {
    fn fault(&mut self, path: &[&str], message: &str, hint: Option<&str>) {
        let in_force = self.provenance.get(path);
        self.found.push(Problem {
            key: dotted(path),
            value: in_force.map(|value| value.value.clone()),
            origin: in_force.map_or(Origin::Default, |value| value.origin.clone()),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        });
    }

    fn required(&mut self, path: &[&str], why: &str, hint: &str) {
        self.found.push(Problem {
            key: dotted(path),
            value: None,
            origin: Origin::Default,
            message: format!("required: {why}"),
            hint: Some(hint.to_owned()),
        });
    }

    /// Two settings that cannot both be meant, each with its value and its origin.
    fn contradiction(&mut self, path: &[&str], other: &[&str], hint: &str) {
        let named = match self.provenance.get(other) {
            Some(value) => format!("contradicts {} = {} ({})", dotted(other), value.value, value.origin),
            None => format!("contradicts {}", dotted(other)),
        };
        self.fault(path, &named, Some(hint));
    }

    fn within<N: PartialOrd + Display>(&mut self, path: &[&str], value: N, range: RangeInclusive<N>) {
        if !range.contains(&value) {
            self.fault(path, &format!("expected {} to {}", range.start(), range.end()), None);
        }
    }

    fn at_least(&mut self, path: &[&str], value: Duration, least: Duration) {
        if value < least {
            self.fault(path, &format!("expected at least {}", humantime::format_duration(least)), None);
        }
    }

    fn at_most(&mut self, path: &[&str], value: Duration, most: Duration) {
        if value > most {
            self.fault(path, &format!("expected at most {}", humantime::format_duration(most)), None);
        }
    }
}

/// What Kafka allows in a topic name, which also keeps a `/` out of the cluster's part of a key.
fn is_kafka_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// RFC 1123, as the API server checks a namespace.
fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn is_host_and_port(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}
