//! From our few settings to librdkafka's many: what is promised is fixed here, what is taste may be overridden.

use crate::log::LogError;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How to reach Kafka and how much to hold for it.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Brokers to ask first, `host:port,host:port`.
    pub bootstrap: String,
    /// The name that brokers show in their metrics and quotas.
    pub client_id: String,
    /// How long a producer waits for company before it sends a batch: 50 ms trades 25-30 ms for half the bytes and CPU.
    pub linger: Duration,
    /// Bytes of keys and values a producer holds unsettled before it answers that its queue is full.
    pub queue_bytes: usize,
    /// Largest record that a producer takes, before compression.
    pub max_record_bytes: usize,
    /// Any other setting of librdkafka by its own name. What the promises rest on is refused.
    pub librdkafka: BTreeMap<String, String>,
    /// Apart from the rest, so that it is never printed.
    pub sasl_password: Option<String>,
}

impl KafkaConfig {
    /// The defaults for these brokers.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            client_id: "agent-events".into(),
            linger: Duration::from_millis(50),
            queue_bytes: 32 << 20,
            max_record_bytes: 10 << 20,
            librdkafka: BTreeMap::new(),
            sasl_password: None,
        }
    }
}

/// Names only: values of the free map may be secrets (`ssl.key.password`, `sasl.oauthbearer.client.secret`).
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("linger", &self.linger)
            .field("queue_bytes", &self.queue_bytes)
            .field("max_record_bytes", &self.max_record_bytes)
            .field("librdkafka", &self.librdkafka.keys().collect::<Vec<_>>())
            .field("sasl_password", &self.sasl_password.as_ref().map(|_| "..."))
            .finish()
    }
}

const PROMISE: &str = "is what no loss and order rest on and cannot be changed: remove it";

/// Settings that are not taken from the free map, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("enable.idempotence", PROMISE),
    ("enable.gapless.guarantee", PROMISE),
    ("message.timeout.ms", PROMISE),
    ("delivery.timeout.ms", PROMISE),
    ("retries", PROMISE),
    ("message.send.max.retries", PROMISE),
    ("transactional.id", PROMISE),
    ("auto.offset.reset", PROMISE),
    ("enable.auto.commit", PROMISE),
    ("enable.partition.eof", PROMISE),
    ("allow.auto.create.topics", "topics are created by `agent-events topics apply` or `topics.create`: remove it"),
    ("bootstrap.servers", "set kafka.bootstrap instead"),
    ("metadata.broker.list", "set kafka.bootstrap instead"),
    ("client.id", "set cluster.name instead"),
    ("linger.ms", "set publisher.linger instead"),
    ("queue.buffering.max.ms", "set publisher.linger instead"),
    ("queue.buffering.max.kbytes", "set publisher.queue_bytes instead"),
    ("message.max.bytes", "set publisher.max_record_bytes instead"),
];

/// Refuses what cannot be: keys that we fix, keys and values that librdkafka does not know. Asks no broker.
pub(super) fn check(config: &KafkaConfig) -> Result<(), LogError> {
    if config.bootstrap.trim().is_empty() {
        return Err(LogError::Setting {
            key: "kafka.bootstrap".into(),
            message: "names no broker: give host:port, several by comma".into(),
        });
    }
    for (key, remedy) in REFUSED {
        if config.librdkafka.contains_key(*key) {
            let key = format!("kafka.librdkafka.{key}");
            return Err(LogError::Setting { key, message: (*remedy).to_owned() });
        }
    }
    producer(config).create_native_config().map_err(refused)?;
    reader(config).create_native_config().map(drop).map_err(refused)
}

/// What librdkafka says against a setting, under the name that people gave it.
pub(super) fn refused(error: KafkaError) -> LogError {
    match error {
        // The value is left out: it may be a secret.
        KafkaError::ClientConfig(_, message, key, _) => LogError::Setting { key: setting_name(&key), message },
        // librdkafka names the keys that contradict each other in its text.
        other => LogError::Setting { key: "kafka".into(), message: other.to_string() },
    }
}

fn setting_name(key: &str) -> String {
    match key {
        "bootstrap.servers" => "kafka.bootstrap".into(),
        "client.id" => "cluster.name".into(),
        "linger.ms" => "publisher.linger".into(),
        "queue.buffering.max.kbytes" => "publisher.queue_bytes".into(),
        "message.max.bytes" => "publisher.max_record_bytes".into(),
        _ => format!("kafka.librdkafka.{key}"),
    }
}

/// Gapless for ever: what is not acked is never given up by time, and nothing overtakes what failed.
pub(super) fn producer(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("compression.type", "zstd")
        // Below every topic's max.message.bytes, so that a size error names one record and not its neighbours.
        .set("batch.size", "1000000");
    common(&mut client, config);
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("enable.gapless.guarantee", "true")
        .set("linger.ms", config.linger.as_millis().to_string())
        .set("queue.buffering.max.kbytes", (config.queue_bytes / 1024).max(1).to_string())
        .set("message.max.bytes", config.max_record_bytes.to_string());
    client
}

/// For reads by explicit offsets: the group is only a name that `assign` asks for, nothing is committed to it.
pub(super) fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("group.id", format!("{}-readers", config.client_id))
        // With the default of 1 s a full queue stops the fetch for so long: 3 to 12 times slower (librdkafka #2879).
        .set("fetch.queue.backoff.ms", "20")
        .set("queued.max.messages.kbytes", "8192")
        .set("check.crcs", "true");
    common(&mut client, config);
    client
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("allow.auto.create.topics", "false");
    client
}

/// For questions and for creating topics.
pub(super) fn admin(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    common(&mut client, config);
    client
}

fn common(client: &mut ClientConfig, config: &KafkaConfig) {
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("client.id", &config.client_id)
        .set("reconnect.backoff.ms", "100")
        // The default of 10 s: 5 s until delivery resumed after an outage, instead of 0.4.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true");
    for (key, value) in &config.librdkafka {
        client.set(key, value);
    }
    if let Some(password) = &config.sasl_password {
        client.set("sasl.password", password);
    }
    let uses_tls = client.get("security.protocol").is_some_and(|p| p.to_ascii_lowercase().contains("ssl"));
    if uses_tls && client.get("ssl.ca.location").is_none() && client.get("ssl.ca.pem").is_none() {
        // The vendored OpenSSL looks where no container has certificates (rust-rdkafka #594).
        client.set("ssl.ca.location", "probe");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        let librdkafka = [(key.to_owned(), value.to_owned())].into();
        KafkaConfig { librdkafka, ..KafkaConfig::new("127.0.0.1:1") }
    }

    #[test]
    fn a_setting_that_would_break_a_promise_is_refused_by_name() {
        for (key, _) in REFUSED {
            let text = check(&with(key, "1")).unwrap_err().to_string();
            assert!(text.starts_with(&format!("kafka.librdkafka.{key}: ")), "{text}");
        }
    }

    #[test]
    fn an_unknown_setting_and_a_wrong_value_are_refused_by_name_and_without_the_value() {
        for (key, value) in [("no.such.setting", "hunter2"), ("socket.timeout.ms", "hunter2")] {
            let text = check(&with(key, value)).unwrap_err().to_string();
            assert!(text.starts_with(&format!("kafka.librdkafka.{key}: ")), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    /// Most of these have a test of their own on a real broker; two protections together hide the lack of one from it.
    #[test]
    fn a_producer_is_idempotent_gapless_and_patient_for_ever() {
        let client = producer(&KafkaConfig::new("127.0.0.1:1"));
        for (key, value) in [
            ("acks", "all"),
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            ("message.timeout.ms", "0"),
        ] {
            assert_eq!(client.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn any_other_setting_is_taken() {
        check(&with("socket.timeout.ms", "30000")).unwrap();
        assert_eq!(producer(&with("compression.type", "lz4")).get("compression.type"), Some("lz4"));
    }

    #[test]
    fn tls_finds_the_certificates_of_the_system_unless_others_are_given() {
        assert_eq!(producer(&with("security.protocol", "SASL_SSL")).get("ssl.ca.location"), Some("probe"));
        assert_eq!(producer(&with("security.protocol", "plaintext")).get("ssl.ca.location"), None);
        let mut given = with("security.protocol", "ssl");
        given.librdkafka.insert("ssl.ca.location".into(), "/ca.pem".into());
        assert_eq!(reader(&given).get("ssl.ca.location"), Some("/ca.pem"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = KafkaConfig { sasl_password: Some("hunter2".into()), ..with("ssl.key.password", "hunter3") };
        let text = format!("{secret:?}");
        assert!(!text.contains("hunter") && text.contains("ssl.key.password"), "{text}");
    }
}
