//! The store alone: the fold of a whole log, beside the saved fold and the tail that grows in one `store.save_interval`.
//!
//! What a restart of the whole product takes is the section `restart`; this one says which part of it is the store's.

use crate::report::Report;
use crate::{Scale, cpu, embedded, pods};
use agent_events::domain::kind::Kind;
use agent_events::domain::record::OutRecord;
use agent_events::domain::topic::partition_of;
use agent_events::log::{Log as _, Start};
use agent_events::store::{Identity, Loaded, SavedFold, Store, StoreOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

const SECTION: &str = "fold";
const CLUSTER: &str = "figures";
/// A day at 300 changes a second.
const DAY: f64 = 86_400.0 * 300.0;
/// What comes in five minutes of it.
const TAIL: f64 = 300.0 * 300.0;
/// The fold is saved when all but this part of the log was written.
const TAIL_PART: u64 = 20;
const SAVED_MS: i64 = 1_785_000_000_000;

pub fn run(report: &mut Report, scale: Scale) {
    let count = scale.log_records * 2;
    let objects = (count / 20).max(1);
    let log = embedded::Ours::open(&[("cleanup.policy", "compact")]);
    log.append((0..count).map(|n| change(&log, n, objects)));
    let (whole, took_whole) = timed(|| fold(&log, store(&log), count));
    // What stood there before the tail.
    let before = count - count / TAIL_PART;
    let saved = SavedFold::new(
        log.dir().join("fold"),
        Identity { cluster: CLUSTER.into(), cluster_uid: "uid".into(), log: "figures".into() },
    );
    let running = fold(&log, store(&log), before);
    let (written, took_save) = timed(|| saved.save(&running, SAVED_MS));
    assert_eq!(written.trouble(), None, "there is room");
    let bounds = log.runtime.block_on(log.log.offsets(&log.topic)).expect("it answers");
    let started = store(&log);
    let (loaded, took_load) = timed(|| saved.load(&started, &pod(), &bounds, SAVED_MS));
    assert!(matches!(loaded, Loaded::Rows(_)), "{loaded:?}");
    let tail = count - started.positions().iter().map(|p| p.next as u64).sum::<u64>();
    let (started, took_tail) = timed(|| fold(&log, started, tail));
    assert_eq!(started.stats().memory.kinds, whole.stats().memory.kinds, "load and tail are the fold");
    let rate = count as f64 / took_whole.as_secs_f64();
    let tail_rate = tail as f64 / took_tail.as_secs_f64();
    report.value(SECTION, format!("fold of the whole log, {count} records"), rate, "1/s", None);
    report.value(SECTION, format!("save, {} rows", written.rows), took_save.as_secs_f64(), "s", None);
    report.value(SECTION, "size of the saved fold", written.bytes as f64 / f64::from(1 << 20), "MiB", None);
    report.value(SECTION, format!("load, {} rows", written.rows), took_load.as_secs_f64(), "s", None);
    report.ratio(
        SECTION,
        "until a day at 300 changes a second is folded, computed",
        (took_load.as_secs_f64() + TAIL / tail_rate, DAY / rate, "s"),
        "the whole log, without the saved fold",
        None,
    );
    report.note(
        "fold: load and a tail of five minutes against a day of the log, computed from the rates of this run. With or without \
         the saved fold the watches are opened at once, from their checkpoints.",
    );
}

fn pod() -> Kind {
    Kind::builtin("pods").expect("built in")
}

fn store(log: &embedded::Ours) -> Arc<Store> {
    Store::new(StoreOptions::new(CLUSTER, vec![(pod(), log.topic.clone())]))
}

fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu::wall();
    let done = act();
    (done, cpu::wall().saturating_sub(before))
}

fn change(log: &embedded::Ours, n: u64, objects: u64) -> OutRecord {
    let (index, rv) = (n % objects, 1000 + n);
    let object = pods::stored(index, rv, n / objects);
    let (namespace, name) = (format!("namespace-{}", index % 50), format!("pod-{index}"));
    let value = format!(
        r#"{{"op":"r","ts_ms":1,"source":{{"kind":"pods","namespace":"{namespace}","name":"{name}","uid":"uid-{index}","rv":"{rv}","historyEpoch":0,"observed":"watch"}},"before":null,"after":{object}}}"#
    );
    let key = Bytes::from(format!("{CLUSTER}/pods/{namespace}/{name}"));
    OutRecord {
        topic: log.topic.clone(),
        partition: partition_of(&key, embedded::PARTITIONS),
        key,
        value: Some(value.into()),
        headers: vec![("ce_writerepoch", Bytes::from_static(b"1"))],
        timestamp_ms: SAVED_MS,
    }
}

/// Applies so many records from where the store stands.
fn fold(log: &embedded::Ours, store: Arc<Store>, count: u64) -> Arc<Store> {
    let positions = store.positions();
    let from = (0..embedded::PARTITIONS).map(|partition| {
        let known = positions.iter().find(|p| p.partition == partition);
        (log.topic.clone(), partition, known.map_or(Start::Beginning, |p| Start::Offset(p.next)))
    });
    let mut reader = log.log.read(from.collect()).expect("it can be read");
    let mut applied = 0;
    while applied < count {
        let batch = log.runtime.block_on(reader.batches.recv()).expect("it goes on");
        let wanted = batch.records.len().min((count - applied) as usize);
        store.apply(&batch.records[..wanted]);
        applied += wanted as u64;
    }
    store
}
