//! The embedded log, beside a plain file that gets the same bytes and as many fsyncs.

use crate::report::{Goal, Report};
use crate::{Scale, cpu, pods};
use agent_events::domain::ack::{AckSink, AckToken, Outcome};
use agent_events::domain::record::OutRecord;
use agent_events::domain::topic::{TopicSpec, partition_of};
use agent_events::log::embedded::{EmbeddedConfig, EmbeddedLog, Sync};
use agent_events::log::{Log as _, Producer, SendError, Start};
use bytes::Bytes;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SECTION: &str = "embedded";
const PLAIN: &str = "the same bytes appended to one file, an fsync for each 4 MiB";
pub const PARTITIONS: i32 = 12;
/// As the log's own groups at most.
const GROUP: usize = 4 << 20;
const DAY_MS: i64 = 24 * 3_600_000;
/// When the records say they were written.
const WALL_MS: i64 = 1_785_000_000_000;

pub fn run(report: &mut Report, scale: Scale) {
    for (name, bytes) in [("1 KB", 1 << 10), ("9 KB", 9 << 10)] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        let count = scale.log_records * if bytes > 2048 { 1 } else { 4 } / 4;
        for _ in 0..scale.log_rounds {
            plain.push(append_plainly(bytes, count));
            ours.push(append_measured(bytes, count));
        }
        let (ours, plain) = (middle(&mut ours), middle(&mut plain));
        let per_second = |took: Duration| count as f64 / took.as_secs_f64();
        let figures = (per_second(ours), per_second(plain), "1/s");
        report.ratio(SECTION, format!("records of {name} appended and acked"), figures, PLAIN, None);
        let mib = |took: Duration| per_second(took) * bytes as f64 / f64::from(1 << 20);
        report.ratio(SECTION, format!("the same in bytes, {name}"), (mib(ours), mib(plain), "MiB/s"), PLAIN, None);
    }
    fold_and_compact(report, scale.log_records);
    report.note(
        "embedded: what is appended is on the disk when it is acked; the journals are sorted and compressed beside it, which \
         the plain file is not. The file system decides how much of a figure is fsync.",
    );
}

/// Counts, and wakes nobody.
#[derive(Default)]
struct Acked(AtomicU64);

impl AckSink for Acked {
    fn settle(&self, _seq: u64, _generation: u64, outcome: Outcome) {
        assert!(matches!(outcome, Outcome::Acked { .. }), "a record was not acked: {outcome:?}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn is_current(&self, _generation: u64) -> bool {
        true
    }
}

pub struct Ours {
    pub log: EmbeddedLog,
    pub runtime: Runtime,
    pub topic: Arc<str>,
    dir: TempDir,
}

impl Ours {
    pub fn open(config: &[(&str, &str)]) -> Self {
        let dir = directory();
        let log = EmbeddedLog::open(self::config(dir.path().join("log"))).expect("an empty directory");
        log.leave_untended();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let spec = TopicSpec { name: "figures".into(), partitions: PARTITIONS, replication: 1, config };
        runtime.block_on(log.create(&spec)).expect("there is room");
        Self { log, runtime, topic: "figures".into(), dir }
    }

    /// Where other files may stand beside it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// See [`append`].
    pub fn append(&self, records: impl Iterator<Item = OutRecord>) {
        append(&self.log, records);
    }

    fn record(&self, n: u64, key: u64, value: Bytes) -> OutRecord {
        let key = Bytes::from(format!("figures/pods/namespace-{}/pod-{key}", key % 50));
        let partition = partition_of(&key, PARTITIONS);
        OutRecord {
            topic: self.topic.clone(),
            partition,
            key,
            value: Some(value),
            headers: vec![("ce_id", Bytes::from(format!("{n:032}")))],
            timestamp_ms: WALL_MS + n as i64,
        }
    }
}

/// The defaults of the product, in that directory.
pub fn config(dir: PathBuf) -> EmbeddedConfig {
    EmbeddedConfig { dir, sync: Sync::Disk, queue_bytes: 32 << 20, max_record_bytes: 10 << 20 }
}

/// Sends all, as fast as the queue takes them, and waits for the last ack.
pub fn append(log: &EmbeddedLog, records: impl Iterator<Item = OutRecord>) {
    let producer = log.producer().expect("it can be written to");
    let acked = Arc::new(Acked::default());
    let mut sent = 0;
    for record in records {
        send(&*producer, record, AckToken::new(acked.clone(), sent, 0));
        sent += 1;
    }
    assert!(producer.flush(Duration::from_secs(300)), "everything is settled");
    assert_eq!(acked.0.load(Ordering::Relaxed), sent, "and acked");
}

fn send(producer: &dyn Producer, mut record: OutRecord, mut token: AckToken) {
    loop {
        match producer.send(record, token) {
            Ok(()) => return,
            Err((SendError::QueueFull, r, t)) => {
                (record, token) = (r, t);
                // Not a spin: on two cores it would take one of them from the writer.
                std::thread::park_timeout(Duration::from_micros(100));
            }
            Err((error, ..)) => panic!("a record was not taken: {error:?}"),
        }
    }
}

/// On the disk that the build is on: /tmp may be memory.
fn directory() -> TempDir {
    tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).expect("a directory beside the build")
}

/// JSON of about that size; other fields differ, as those of pods do.
fn value(n: u64, bytes: usize) -> Bytes {
    let mut json = pods::stored(n, 1000 + n, 0);
    while json.len() < bytes {
        json.push_str(&pods::stored(n, json.len() as u64, 1));
    }
    json.truncate(bytes);
    Bytes::from(json)
}

fn append_measured(bytes: usize, count: u64) -> Duration {
    let ours = Ours::open(&[("retention.ms", "-1")]);
    let values: Vec<Bytes> = (0..100).map(|n| value(n, bytes)).collect();
    let before = cpu::wall();
    ours.append((0..count).map(|n| ours.record(n, n, values[n as usize % values.len()].clone())));
    cpu::wall().saturating_sub(before)
}

fn append_plainly(bytes: usize, count: u64) -> Duration {
    let dir = directory();
    let value = value(0, bytes);
    let before = cpu::wall();
    let mut file = File::create(dir.path().join("plain")).expect("a file");
    let mut group = Vec::with_capacity(GROUP + bytes);
    for n in 0..count {
        group.extend_from_slice(&value);
        if group.len() >= GROUP || n + 1 == count {
            file.write_all(&group).and_then(|()| file.sync_data()).expect("there is room");
            group.clear();
        }
    }
    cpu::wall().saturating_sub(before)
}

/// Ten versions of each of many pods: read through, then compacted to one.
fn fold_and_compact(report: &mut Report, count: u64) {
    let ours = Ours::open(&[("cleanup.policy", "compact"), ("delete.retention.ms", "0")]);
    let values: Vec<Bytes> = (0..100).map(|n| value(n, 1 << 10)).collect();
    let keys = count / 10;
    ours.append((0..count).map(|n| ours.record(n, n % keys, values[n as usize % values.len()].clone())));
    let mut fold = |what: &str, records: u64| {
        let before = cpu::wall();
        read_through(&ours, records);
        let took = cpu::wall().saturating_sub(before);
        report.value(SECTION, format!("fold of {records} records, {what}"), took.as_secs_f64() * 1e3, "ms", None);
    };
    fold("as they came", count);
    let appended = ours.log.bytes_on_disk();
    // Sorted into segments and compressed, nothing removed yet.
    ours.log.compact(WALL_MS - DAY_MS).expect("there is room");
    fold("sorted", count);
    let sorted = ours.log.bytes_on_disk();
    let before = cpu::wall();
    let cleaned = ours.log.compact(WALL_MS + DAY_MS).expect("there is room");
    let took = cpu::wall().saturating_sub(before);
    let left = count - cleaned.removed;
    fold("compacted", left);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let written = mib(count * (1 << 10));
    report.value(SECTION, format!("{count} records of 1 KB, values alone"), written, "MiB", None);
    report.value(SECTION, "the same on disk, when they were acked", mib(appended), "MiB", None);
    report.value(SECTION, "the same, sorted", mib(sorted), "MiB", None);
    let goal = Some(Goal::AtMost(mib(appended) / 10.0));
    report.value(
        SECTION,
        "the same, compacted to the last of ten versions",
        mib(ours.log.bytes_on_disk()),
        "MiB",
        goal,
    );
    report.value(SECTION, "compaction", took.as_secs_f64() * 1e3, "ms", None);
}

fn read_through(ours: &Ours, records: u64) {
    let from = (0..PARTITIONS).map(|p| (ours.topic.clone(), p, Start::Beginning)).collect();
    let mut reader = ours.log.read(from).expect("it can be read");
    let mut read = 0;
    ours.runtime.block_on(async {
        while read < records {
            read += reader.batches.recv().await.expect("the reader lives").records.len() as u64;
        }
    });
    assert_eq!(read, records, "everything, once");
}

fn middle(took: &mut [Duration]) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}
