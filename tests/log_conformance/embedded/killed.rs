//! kill -9 at any moment: a child appends and compacts, and tells what was acknowledged; the parent kills it, opens what is
//! left, and compares it with what it was told.

use crate::engines::{Bench, Tuning, open_embedded};
use crate::kit::*;
use agent_events::domain::ack::{AckSink, AckToken, Outcome};
use agent_events::domain::record::{InRecord, OutRecord};
use agent_events::domain::topic::TopicSpec;
use agent_events::log::{Log, Producer, SendError};
use bytes::Bytes;
use libtest_mimic::Failed;
use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Rounds, where more or less are wanted than usual.
const ROUNDS: &str = "AGENT_EVENTS_KILL_ROUNDS";
const PARTITIONS: i32 = 3;
/// Keys of the compacted topic.
const KEYS: u64 = 7;

/// Written as one line with one call, so that a kill leaves whole lines but for the last.
struct Tell {
    topic: &'static str,
}

impl AckSink for Tell {
    fn settle(&self, seq: u64, _generation: u64, outcome: Outcome) {
        if let Outcome::Acked { partition, offset } = outcome {
            let line = format!("{} {seq} {partition} {offset}\n", self.topic);
            std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
        }
    }

    fn is_current(&self, _generation: u64) -> bool {
        true
    }
}

/// Between nothing and 12 KB, told by the number alone.
fn value(n: u64) -> Bytes {
    incompressible((n.wrapping_mul(2_654_435_761) % 12_000) as usize)
}

fn spec(name: &str, config: &[(&str, &str)]) -> TopicSpec {
    let config = config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    TopicSpec { name: name.into(), partitions: PARTITIONS, replication: 1, config }
}

/// The program of the child: numbers go on from `from`.
pub fn play(dir: &Path, from: u64) {
    let log = open_embedded(dir, &Tuning::default()).expect("what a kill leaves can be opened");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let compacted = [("cleanup.policy", "compact"), ("delete.retention.ms", "0")];
    for spec in [spec("plain", &[("retention.ms", "-1")]), spec("compacted", &compacted)] {
        runtime.block_on(log.create(&spec)).expect("there is room");
    }
    let (one, two) = (log.producer().expect("a producer"), log.producer().expect("another"));
    let compacting = log.clone();
    std::thread::spawn(move || {
        while compacting.compact(SOME_TIME + 1).is_ok() {
            // The appends shall have most of the disk.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
    for n in from..u64::MAX {
        send_or_wait(&*one, AckToken::new(Arc::new(Tell { topic: "plain" }), n, 0), plain(n));
        send_or_wait(&*two, AckToken::new(Arc::new(Tell { topic: "compacted" }), n, 0), overwritten(n));
    }
}

fn plain(n: u64) -> OutRecord {
    record(&"plain".into(), (n % PARTITIONS as u64) as i32, &n.to_string(), Some(value(n)))
}

fn overwritten(n: u64) -> OutRecord {
    let key = n % KEYS;
    let partition = (key % PARTITIONS as u64) as i32;
    record(&"compacted".into(), partition, &key.to_string(), Some(Bytes::from(n.to_string())))
}

fn send_or_wait(producer: &dyn Producer, mut token: AckToken, mut record: OutRecord) {
    loop {
        match producer.send(record, token) {
            Ok(()) => return,
            Err((SendError::QueueFull, r, t)) => {
                (record, token) = (r, t);
                producer.flush(LONG);
            }
            Err((error, ..)) => panic!("{error:?}"),
        }
    }
}

/// Everything that the children said.
#[derive(Default)]
struct Told {
    plain: BTreeMap<(i32, i64), u64>,
    /// Key to the newest number that was acknowledged for it.
    compacted: BTreeMap<u64, u64>,
    /// What stood there after the last round stands there for ever.
    stood: Vec<InRecord>,
}

pub async fn what_was_acked_outlives_a_kill_at_any_moment(bench: Bench) -> Checked {
    let rounds = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(20_u32);
    let seed: u64 = rand::random();
    let mut dice = seed;
    let mut dir = bench.close()?;
    let (mut told, mut next) = (Told::default(), 0);
    for round in 0..rounds {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Some are killed while they open, some after many megabytes.
        let lines = [0, 1, 50, 400, 1500][(dice >> 33) as usize % 5] + (dice >> 40) as usize % 50;
        run_and_kill(dir.path(), next, lines, &mut told)?;
        let log = Bench::embedded_in(dir)?;
        let outcome = compare(&log, &mut told, &mut next).await;
        outcome.map_err(|f| format!("seed {seed}, round {round}: {}", f.message().unwrap_or("?")))?;
        dir = log.close()?;
    }
    check(next > u64::from(rounds), "something was written")
}

fn run_and_kill(dir: &Path, from: u64, lines: usize, told: &mut Told) -> Checked {
    let mut child = Command::new(std::env::current_exe()?)
        .args([crate::APPENDER.as_ref(), dir.as_os_str(), from.to_string().as_ref()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = std::io::BufReader::new(child.stdout.take().ok_or("a pipe")?);
    let mut line = String::new();
    let mut count = 0;
    loop {
        if count == lines {
            child.kill()?;
        }
        line.clear();
        // After the kill the pipe still holds what was told before.
        if said.read_line(&mut line)? == 0 {
            break;
        }
        let Some(whole) = line.strip_suffix('\n') else { break };
        count += 1;
        let words: Vec<&str> = whole.split(' ').collect();
        let [topic, n, partition, offset] = words[..] else { return Err(format!("the child said {whole:?}").into()) };
        let (n, partition, offset): (u64, i32, i64) = (n.parse()?, partition.parse()?, offset.parse()?);
        if topic == "plain" {
            told.plain.insert((partition, offset), n);
        } else {
            told.compacted.insert(n % KEYS, n);
        }
    }
    child.wait()?;
    check(count >= lines, &format!("the child ended by itself after {count} of {lines} lines"))
}

async fn compare(bench: &Bench, told: &mut Told, next: &mut u64) -> Checked {
    let names = bench.log.list().await?;
    if !names.contains(&"compacted".to_owned()) {
        return check(told.plain.is_empty(), "a topic is gone");
    }
    let plain_now = bench.log.read_all("plain").await?;
    for partition in 0..PARTITIONS {
        let of_it: Vec<&InRecord> = plain_now.iter().filter(|r| r.partition == partition).collect();
        check(of_it.iter().zip(0..).all(|(r, offset)| r.offset == offset), "no offset is left out")?;
        let numbers: Vec<u64> = of_it.iter().filter_map(|r| key(r).parse().ok()).collect();
        check(numbers.is_sorted_by(|a, b| a < b), "each once, in the order of sending")?;
    }
    for r in &plain_now {
        let n: u64 = key(r).parse()?;
        check(r.value == Some(value(n)), &format!("{r:?} is not what was sent"))?;
    }
    let there: BTreeMap<(i32, i64), u64> =
        plain_now.iter().filter_map(|r| Some(((r.partition, r.offset), key(r).parse().ok()?))).collect();
    for (place, n) in &told.plain {
        check(
            there.get(place) == Some(n),
            &format!("{n} was acknowledged at {place:?}, there is {:?}", there.get(place)),
        )?;
    }
    let mut stood = told.stood.iter();
    let kept =
        plain_now.iter().filter(|r| told.stood.iter().any(|s| s.offset == r.offset && s.partition == r.partition));
    check(kept.eq(stood.by_ref()), "what stood there after the last kill is as it was")?;

    let compacted = bench.log.read_all("compacted").await?;
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for r in &compacted {
        let n = std::str::from_utf8(r.value.as_deref().unwrap_or_default())?.parse::<u64>()?;
        check_eq(key(r), (n % KEYS).to_string(), "a value stands under its key")?;
        check(newest.insert(n % KEYS, n).is_none_or(|before| before < n), "values of a key are in order")?;
    }
    for (key, n) in &told.compacted {
        let there = newest.get(key).ok_or(format!("key {key} is gone"))?;
        check(there >= n, &format!("key {key}: {n} was acknowledged, {there} is there"))?;
    }
    // What was written and not acknowledged would be sent again by a real program; here it is passed over.
    let highest = there.values().max().into_iter().chain(newest.values().max()).max().copied();
    *next = highest.map_or(*next, |n| n + 1);
    told.stood = plain_now;
    Ok(())
}

/// A number that no partition holds twice would not be noticed by `compare` alone: the control.
pub async fn a_record_that_was_lost_is_noticed(bench: Bench) -> Checked {
    let dir = bench.close()?;
    let mut told = Told::default();
    run_and_kill(dir.path(), 0, 50, &mut told)?;
    let log = Bench::embedded_in(dir)?;
    let past = told.plain.keys().next_back().copied().ok_or("something was acknowledged")?;
    let end = log.log.offsets("plain").await?[usize::try_from(past.0)?].1;
    told.plain.insert((past.0, end), 1_000_000);
    let noticed = compare(&log, &mut told, &mut 0).await.err().ok_or(Failed::from("a lost record was not noticed"))?;
    check(noticed.message().is_some_and(|m| m.contains("1000000 was acknowledged")), "and named")
}
