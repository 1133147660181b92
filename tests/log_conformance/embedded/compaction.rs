//! Compaction and retention against a simple model.

use crate::engines::Bench;
use crate::kit::*;
use agent_events::domain::record::{InRecord, OutRecord};
use agent_events::log::Start;
use bytes::Bytes;
use libtest_mimic::Failed;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

const LAG: i64 = 10_000;
const TOMBSTONES: i64 = 50_000;

/// Random histories of few keys, compacted now and then while time goes on; after each round what is there is compared.
pub async fn compaction_keeps_what_the_model_keeps(bench: Bench) -> Checked {
    for seed in 1..=12_u64 {
        let bench = Bench::embedded()?;
        one_history(bench, seed)
            .await
            .map_err(|f| Failed::from(format!("seed {seed}: {}", f.message().unwrap_or("?"))))?;
    }
    drop(bench);
    Ok(())
}

async fn one_history(mut bench: Bench, seed: u64) -> Checked {
    let mut dice = Dice(seed);
    let lag = if dice.below(2) == 0 { 0 } else { LAG };
    let config: [(&str, &str); 3] = [
        ("cleanup.policy", "compact"),
        ("min.compaction.lag.ms", &lag.to_string()),
        ("delete.retention.ms", &TOMBSTONES.to_string()),
    ];
    let topic = bench.topic(2, &config).await?;
    let mut sent: Vec<InRecord> = Vec::new();
    let mut now = SOME_TIME;
    for round in 0..8 {
        let mut records = Vec::new();
        for _ in 0..dice.below(300) {
            now += dice.below(100) as i64;
            let key = dice.below(20);
            let value = (dice.below(4) > 0).then(|| Bytes::from(format!("{key} at {now}")));
            records.push(OutRecord { timestamp_ms: now, ..record(&topic, (key % 2) as i32, &key.to_string(), value) });
        }
        let places = write(&bench, records.clone()).await?;
        sent.extend(records.into_iter().zip(places).map(|(r, (partition, offset))| InRecord {
            topic: topic.clone(),
            partition,
            offset,
            timestamp_ms: r.timestamp_ms,
            key: Some(r.key),
            value: r.value,
            headers: vec![],
        }));
        now += dice.below(2 * TOMBSTONES as u64) as i64;
        let offsets = bench.log.offsets(&topic).await?;
        let before = bench.log.read_all(&topic).await?.len();
        let cleaned = bench.files()?.compact(now)?;
        check_eq(bench.log.offsets(&topic).await?, offsets, "compaction moves no bounds")?;
        let read = bench.log.read_all(&topic).await?;
        check_eq(usize::try_from(cleaned.removed)?, before - read.len(), "what it says it removed")?;
        compare(&read, &sent, now, lag).map_err(|f| format!("round {round}: {}", f.message().unwrap_or("?")))?;
        if dice.below(3) == 0 {
            bench = Bench::embedded_in(bench.close()?)?;
            check(bench.log.read_all(&topic).await? == read, "opened again it is the same")?;
        }
    }
    from_everywhere(&bench, &topic).await
}

fn compare(read: &[InRecord], sent: &[InRecord], now: i64, lag: i64) -> Checked {
    let place = |r: &InRecord| (r.partition, r.offset);
    let sent_by_place: BTreeMap<_, _> = sent.iter().map(|r| (place(r), r)).collect();
    check(read.iter().all(|r| sent_by_place.get(&place(r)) == Some(&r)), "every record is where and as it was sent")?;
    let there: BTreeSet<_> = read.iter().map(place).collect();
    let mut last_of_key: BTreeMap<_, &InRecord> = BTreeMap::new();
    let mut last_old_of_key: BTreeMap<_, &InRecord> = BTreeMap::new();
    let mut newest: BTreeMap<i32, &InRecord> = BTreeMap::new();
    for r in sent {
        last_of_key.insert(&r.key, r);
        newest.insert(r.partition, r);
        if r.timestamp_ms <= now - lag {
            last_old_of_key.insert(&r.key, r);
        }
    }
    for r in sent {
        let is_newest = newest.get(&r.partition) == Some(&r);
        let must = r.timestamp_ms > now - lag || last_old_of_key.get(&r.key) == Some(&r) || is_newest;
        let may_go = r.value.is_none() && r.timestamp_ms < now - TOMBSTONES && !is_newest;
        check(!must || may_go || there.contains(&place(r)), &format!("{r:?} is missing"))?;
        // Without a lag nothing is young, so the model knows exactly what goes.
        let must_go = lag == 0 && !is_newest && (last_of_key.get(&r.key) != Some(&r) || may_go);
        check(!must_go || !there.contains(&place(r)), &format!("{r:?} is still there"))?;
    }
    // No tombstone went before what it covers.
    for (key, last) in &last_of_key {
        if last.value.is_none() && !there.contains(&place(last)) {
            let alive = read.iter().find(|r| r.key == **key && newest.get(&r.partition) != Some(r));
            check(alive.is_none(), &format!("{alive:?} rose from the dead"))?;
        }
    }
    Ok(())
}

/// Holes do not stop a reader, wherever it begins.
async fn from_everywhere(bench: &Bench, topic: &Arc<str>) -> Checked {
    let all = bench.log.read_all(topic).await?;
    for (partition, (_, next)) in (0..).zip(bench.log.offsets(topic).await?) {
        for start in (0..next).step_by(17) {
            let want: Vec<&InRecord> = all.iter().filter(|r| r.partition == partition && r.offset >= start).collect();
            let read = read(bench, topic, partition, Start::Offset(start), want.len()).await?;
            check(read.iter().eq(want), &format!("from {partition}/{start}"))?;
        }
    }
    Ok(())
}

pub async fn retention_removes_old_records_and_moves_the_first_offset(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[("retention.ms", "3600000")]).await?;
    let value = incompressible(10_000);
    let at = |n: i64| OutRecord {
        timestamp_ms: SOME_TIME + n * 60_000,
        ..record(&topic, 0, &n.to_string(), Some(value.clone()))
    };
    write(&bench, (0..240).map(at).collect()).await?;
    let before = bench.files()?.bytes_on_disk();
    // Four hours later, of which one is kept.
    bench.files()?.compact(SOME_TIME + 240 * 60_000)?;
    let (first, next) = bench.log.offsets(&topic).await?[0];
    check((170..=180).contains(&first) && next == 240, &format!("{first}..{next}"))?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(first as u64..240), "what is young stays")?;
    check(bench.files()?.bytes_on_disk() < before / 2, "and the disk has its room back")?;
    // Who was behind goes on with what is there; everything in the end goes, but for the newest.
    let read = read(&bench, &topic, 0, Start::Offset(3), 240 - first as usize).await?;
    check_eq(read[0].offset, first, "a reader that is behind goes on there")?;
    bench.files()?.compact(SOME_TIME + 1000 * 60_000)?;
    let bench = Bench::embedded_in(bench.close()?)?;
    check_eq(bench.log.offsets(&topic).await?, vec![(239, 240)], "the newest record stays, for ever")?;
    write(&bench, vec![at(240)]).await?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(239..241), "and offsets go on")
}

pub async fn a_reader_and_a_writer_go_on_while_it_is_compacted(bench: Bench) -> Checked {
    const COUNT: u64 = 4000;
    let topic = bench.topic(1, &[]).await?;
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::Beginning)])?;
    let log = bench.files()?.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let compacting = std::thread::spawn(move || {
        let mut rounds = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            log.compact(SOME_TIME).expect("there is room");
            rounds += 1;
        }
        rounds
    });
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    let mut read = Vec::new();
    for n in 0..COUNT {
        let value = incompressible((n % 2000) as usize);
        send_patiently(&*producer, &acks, n, record(&topic, 0, &n.to_string(), Some(value))).await?;
        while let Ok(batch) = reader.batches.try_recv() {
            read.extend(batch.records);
        }
    }
    read.extend(take(&mut reader, COUNT as usize - read.len()).await?);
    drop(stop);
    let rounds = compacting.join().map_err(|_| "the compaction panicked")?;
    check(rounds > 1, "it was compacted meanwhile")?;
    acks.acked(COUNT as usize).await?;
    check_eq(keys(&read), numbers(0..COUNT), "the reader has seen all, in order")?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..COUNT), "and all is there")
}
