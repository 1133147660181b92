//! The engines under test, and how a trial gets hold of one.

use crate::Test;
use crate::kit::{Checked, check};
use agent_events::domain::topic::TopicSpec;
use agent_events::log::embedded::{EmbeddedConfig, EmbeddedLog, Sync};
use agent_events::log::kafka::{KafkaConfig, KafkaLog};
use agent_events::log::memory::{MemoryLog, MemoryOptions};
use agent_events::log::{Log, LogError};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use testbed::{Kafka, KafkaOptions, Part, available, must_not_skip};

/// A Kafka that somebody else runs; it is never killed.
const GIVEN_KAFKA: &str = "AGENT_EVENTS_TEST_KAFKA";

/// Limits that a test wants other than usual.
#[derive(Clone)]
pub struct Tuning {
    pub linger: Duration,
    pub queue_bytes: usize,
    pub max_record_bytes: usize,
    /// Of librdkafka only.
    pub librdkafka: &'static [(&'static str, &'static str)],
}

impl Default for Tuning {
    fn default() -> Self {
        Self { linger: Duration::from_millis(5), queue_bytes: 32 << 20, max_record_bytes: 10 << 20, librdkafka: &[] }
    }
}

/// One engine, for one test. Its topics have names of their own.
pub struct Bench {
    pub engine: Engine,
    pub log: Arc<dyn Log>,
    unique: u64,
}

pub enum Engine {
    Memory(MemoryLog),
    Embedded { log: EmbeddedLog, dir: tempfile::TempDir },
    Kafka { bootstrap: String, bed: Arc<Bed> },
}

impl Bench {
    pub fn memory() -> Result<Self, Failed> {
        let log = MemoryLog::default();
        Ok(Self { log: Arc::new(log.clone()), engine: Engine::Memory(log), unique: rand::random() })
    }

    pub fn embedded() -> Result<Self, Failed> {
        Ok(Self::embedded_in(tempfile::tempdir()?)?)
    }

    /// The log that stands in a directory.
    pub fn embedded_in(dir: tempfile::TempDir) -> Result<Self, LogError> {
        let log = open_embedded(dir.path(), &Tuning::default())?;
        Ok(Self { log: Arc::new(log.clone()), engine: Engine::Embedded { log, dir }, unique: rand::random() })
    }

    /// The embedded log itself.
    pub fn files(&self) -> Result<&EmbeddedLog, Failed> {
        match &self.engine {
            Engine::Embedded { log, .. } => Ok(log),
            _ => Err("only for the embedded log".into()),
        }
    }

    /// Closes an embedded log; what it wrote stays in its directory.
    pub fn close(self) -> Result<tempfile::TempDir, Failed> {
        match self.engine {
            Engine::Embedded { dir, .. } => Ok(dir),
            _ => Err("only for the embedded log".into()),
        }
    }

    fn kafka(bed: Arc<Bed>) -> Result<Self, Failed> {
        let bootstrap = bed.bootstrap()?;
        let engine = Engine::Kafka { bootstrap, bed };
        let log = open(&engine, &Tuning::default())?;
        Ok(Self { engine, log, unique: rand::random() })
    }

    /// A second log of the same engine with other limits; topics of the first are not there in memory, so make it first.
    pub fn tuned(self, tuning: Tuning) -> Result<Self, Failed> {
        match self.engine {
            Engine::Memory(_) => {
                let (queue_bytes, max_record_bytes) = (Some(tuning.queue_bytes), Some(tuning.max_record_bytes));
                let log = MemoryLog::new(MemoryOptions { queue_bytes, max_record_bytes });
                Ok(Self { log: Arc::new(log.clone()), engine: Engine::Memory(log), unique: self.unique })
            }
            Engine::Embedded { log, dir } => {
                // One owner at a time: the first lets go before the second takes hold.
                drop((self.log, log));
                let log = open_embedded(dir.path(), &tuning)?;
                Ok(Self { log: Arc::new(log.clone()), engine: Engine::Embedded { log, dir }, unique: self.unique })
            }
            engine @ Engine::Kafka { .. } => Ok(Self { log: open(&engine, &tuning)?, engine, unique: self.unique }),
        }
    }

    pub fn name(&self, name: &str) -> String {
        format!("{name}-{:016x}", self.unique)
    }

    pub fn spec(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> TopicSpec {
        // Records of any age stay: tests choose their timestamps.
        let config: BTreeMap<String, String> =
            [("retention.ms", "-1")].iter().chain(config).map(|(k, v)| ((*k).into(), (*v).into())).collect();
        TopicSpec { name: self.name(name), partitions, replication: 1, config }
    }

    /// Creates a topic.
    pub async fn topic(&self, partitions: i32, config: &[(&str, &str)]) -> Result<Arc<str>, LogError> {
        let spec = self.spec("t", partitions, config);
        self.log.create(&spec).await?;
        Ok(spec.name.into())
    }

    /// The broker to torment.
    pub fn broker(&self) -> Result<&Kafka, Failed> {
        match &self.engine {
            Engine::Kafka { bed, .. } => match bed.started.get() {
                Some(Ok(kafka)) => Ok(kafka),
                _ => Err("this test needs a broker of its own".into()),
            },
            Engine::Memory(_) | Engine::Embedded { .. } => Err("only Kafka has a broker".into()),
        }
    }
}

/// The embedded log of a directory, with an fsync for every group.
pub fn open_embedded(dir: &Path, tuning: &Tuning) -> Result<EmbeddedLog, LogError> {
    let Tuning { queue_bytes, max_record_bytes, .. } = *tuning;
    let config = EmbeddedConfig { dir: dir.to_owned(), sync: Sync::Disk, queue_bytes, max_record_bytes };
    let log = EmbeddedLog::open(config)?;
    // The tests' records are years old.
    log.leave_untended();
    Ok(log)
}

fn open(engine: &Engine, tuning: &Tuning) -> Result<Arc<dyn Log>, Failed> {
    let Engine::Kafka { bootstrap, .. } = engine else { return Err("only for Kafka".into()) };
    let Tuning { linger, queue_bytes, max_record_bytes, librdkafka } = tuning.clone();
    let librdkafka = librdkafka.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let config = KafkaConfig { linger, queue_bytes, max_record_bytes, librdkafka, ..KafkaConfig::new(bootstrap) };
    Ok(Arc::new(KafkaLog::new(config)?))
}

/// A Kafka that is started when the first test asks for it.
#[derive(Default)]
pub struct Bed {
    started: OnceLock<Result<Kafka, String>>,
    /// Held by a test that torments the broker.
    pub alone: Mutex<()>,
}

impl Bed {
    fn bootstrap(&self) -> Result<String, Failed> {
        if let Some(given) = given_kafka() {
            return Ok(given);
        }
        let started = self.started.get_or_init(|| Kafka::start(KafkaOptions::default()).map_err(|e| e.to_string()));
        started.as_ref().map(Kafka::bootstrap).map_err(|error| Failed::from(error.clone()))
    }
}

fn given_kafka() -> Option<String> {
    std::env::var(GIVEN_KAFKA).ok().filter(|given| !given.is_empty())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    AnyKafka,
    ItsOwnKafka,
}

/// A trial on Kafka, or the counted and loud absence of one.
pub fn on_kafka(name: &str, test: Test, bed: &Arc<Bed>, needs: Needs) -> Trial {
    let (name, bed) = (format!("kafka::{name}"), bed.clone());
    let missing = match given_kafka() {
        Some(_) if needs == Needs::AnyKafka => None,
        Some(_) => Some(format!("{GIVEN_KAFKA} is not ours to kill: unset it")),
        None => available(Part::Kafka).err().map(|missing| missing.to_string()),
    };
    match missing {
        Some(why) if must_not_skip() => Trial::test(name, move || Err(format!("{why} (and CI=true)").into())),
        Some(why) => {
            eprintln!("SKIPPED {name}: {why}");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
        None => Trial::test(name, move || {
            let _alone =
                (needs == Needs::ItsOwnKafka).then(|| bed.alone.lock().unwrap_or_else(PoisonError::into_inner));
            run(test, || Bench::kafka(bed.clone()))
        }),
    }
}

/// Runs a test on a runtime of its own; the whole of it has a deadline.
pub fn run(test: Test, bench: impl FnOnce() -> Result<Bench, Failed>) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(300), test(bench()?)).await;
        check(ended.is_ok(), "the test ends within five minutes")?;
        ended.unwrap_or(Ok(()))
    })
}
