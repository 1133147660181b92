//! What is read back, and from where.

use crate::engines::{Bench, Tuning};
use crate::kit::*;
use crate::waiting::{POLL, looked};
use agent_events::domain::record::{InRecord, OutRecord, WRITER_EPOCH_HEADER};
use agent_events::domain::topic::Marker;
use agent_events::log::Start;
use bytes::Bytes;

pub async fn records_come_back_in_the_order_of_send_with_all_they_carried(bench: Bench) -> Checked {
    let topic = bench.topic(2, &[]).await?;
    let sent: Vec<OutRecord> = (0..1000)
        .map(|n: i32| OutRecord {
            headers: vec![
                ("ce_id", Bytes::from(format!("id-{n}"))),
                (WRITER_EPOCH_HEADER, Bytes::from_static(b"7")),
                // Twice, and empty: neither may be lost.
                ("ce_id", Bytes::new()),
            ],
            timestamp_ms: SOME_TIME + i64::from(n),
            ..record(&topic, n % 2, &format!("kä/{n}"), Some(Bytes::from(format!("value {n}"))))
        })
        .collect();
    let written = write(&bench, sent.clone()).await?;
    for partition in 0..2 {
        let read = read(&bench, &topic, partition, Start::Beginning, 500).await?;
        let sent = sent.iter().zip(&written).filter(|(r, _)| r.partition == partition);
        for ((offset, got), (sent, place)) in (0..).zip(read).zip(sent) {
            check_eq(*place, (partition, offset), "the ack names the place")?;
            let want = InRecord {
                topic: topic.clone(),
                partition,
                offset,
                timestamp_ms: sent.timestamp_ms,
                key: Some(sent.key.clone()),
                value: sent.value.clone(),
                headers: sent.headers.iter().map(|(k, v)| ((*k).into(), Some(v.clone()))).collect(),
            };
            check_eq(got.writer_epoch(), Some(7), "the writer epoch is read")?;
            check_eq(got, want, "a record is read as it was sent")?;
        }
    }
    Ok(())
}

pub async fn a_tombstone_is_not_an_empty_value(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let values = [None, Some(Bytes::new()), Some(Bytes::from_static(b"x"))];
    write(&bench, values.iter().map(|v| record(&topic, 0, "k", v.clone())).collect()).await?;
    let read = read(&bench, &topic, 0, Start::Beginning, 3).await?;
    check_eq(read.into_iter().map(|r| r.value).collect(), values.to_vec(), "null stays null and empty stays empty")
}

pub async fn foreign_records_come_back_as_they_are(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let foreign = InRecord {
        topic: topic.clone(),
        partition: 0,
        offset: 0,
        timestamp_ms: SOME_TIME,
        key: None,
        value: Some(Bytes::from_static(b"\xff\x00")),
        headers: vec![
            ("a".into(), None),
            ("a".into(), Some(Bytes::new())),
            ("a".into(), Some(Bytes::from_static(b"\xff"))),
            ("".into(), Some(Bytes::from_static(b"nameless"))),
        ],
    };
    write_foreign(&bench, foreign.clone(), None)?;
    let read = read(&bench, &topic, 0, Start::Beginning, 1).await?;
    check_eq(&read[0], &foreign, "null keys, null and repeated headers are kept")
}

pub async fn a_read_starts_where_it_is_told_to(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    write(&bench, (0..20).map(|n| numbered(&topic, n)).collect()).await?;
    for (start, first) in [(Start::Beginning, 0), (Start::Offset(0), 0), (Start::Offset(7), 7), (Start::Offset(19), 19)]
    {
        let read = read(&bench, &topic, 0, start, 20 - first).await?;
        check_eq(keys(&read), numbers(first as u64..20), &format!("{start:?}"))?;
    }
    // Behind the last record: what comes next is the first.
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::Offset(20))])?;
    write(&bench, vec![numbered(&topic, 20)]).await?;
    check_eq(keys(&take(&mut reader, 1).await?), numbers(20..21), "the next offset is a valid start")
}

pub async fn a_read_starts_at_a_timestamp(bench: Bench) -> Checked {
    let topic = bench.topic(2, &[]).await?;
    let at = |n: u64, partition| OutRecord {
        partition,
        timestamp_ms: SOME_TIME + 1000 * i64::try_from(n).unwrap_or_default(),
        ..numbered(&topic, n)
    };
    write(&bench, (0..10).flat_map(|n| [at(n, 0), at(n, 1)]).collect()).await?;
    for (ms, first) in [(0, 0), (SOME_TIME, 0), (SOME_TIME + 3000, 3), (SOME_TIME + 3001, 4), (SOME_TIME + 9000, 9)] {
        let read = read(&bench, &topic, 0, Start::Timestamp(ms), 10 - first).await?;
        check_eq(keys(&read), numbers(first as u64..10), &format!("the first record not older than {ms}"))?;
    }
    // Several starts in one read. Where all records are older the read starts at the end: nothing of that partition comes.
    let mut reader = bench.log.read(vec![
        (topic.clone(), 0, Start::Timestamp(SOME_TIME + 99_000)),
        (topic.clone(), 1, Start::Timestamp(SOME_TIME + 8000)),
    ])?;
    let mut read = take(&mut reader, 2).await?;
    write(&bench, vec![at(10, 1)]).await?;
    while !read.iter().any(|r| key(r) == "10") {
        read.extend(take(&mut reader, 1).await?);
    }
    check(read.iter().all(|r| r.partition == 1), "each partition starts at its own time")?;
    check_eq(keys(&read), numbers(8..11), "and goes on from there")
}

pub async fn a_read_from_the_end_gives_only_what_comes_later(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    write(&bench, (0..50).map(|n| numbered(&topic, n)).collect()).await?;
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::End)])?;
    // The end is taken some moment after the call, so write until something comes.
    for n in 50..u64::MAX {
        write(&bench, vec![numbered(&topic, n)]).await?;
        let soon = tokio::time::timeout(std::time::Duration::from_millis(200), reader.batches.recv()).await;
        let Ok(batch) = soon else { continue };
        let first = batch.ok_or("the reader ended")?.records.remove(0);
        return check(first.offset >= 50, "nothing is read that stood there before");
    }
    Ok(())
}

pub async fn a_read_at_an_offset_that_is_not_there_starts_at_the_beginning(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    write(&bench, (0..3).map(|n| numbered(&topic, n)).collect()).await?;
    let read = read(&bench, &topic, 0, Start::Offset(1000), 3).await?;
    check_eq(keys(&read), numbers(0..3), "an offset behind the end is out of range")
}

pub async fn read_all_gives_what_stands_there_partition_by_partition(bench: Bench) -> Checked {
    let topic = bench.topic(3, &[]).await?;
    check_eq(bench.log.read_all(&topic).await?, vec![], "an empty topic is empty, at once")?;
    let mut records: Vec<OutRecord> =
        (0..2000).map(|n| OutRecord { partition: if n % 5 == 0 { 2 } else { 0 }, ..numbered(&topic, n) }).collect();
    records.push(record(&topic, 2, "gone", None));
    write(&bench, records).await?;
    let all = bench.log.read_all(&topic).await?;
    check_eq(all.len(), 2001, "everything is read")?;
    check(all.is_sorted_by_key(|r| (r.partition, r.offset)), "partition by partition")?;
    check_eq(all.last().map(|r| (key(r), r.value.clone())), Some(("gone".into(), None)), "tombstones too")
}

pub async fn a_slow_reader_loses_nothing(bench: Bench) -> Checked {
    // Far more than channel and fetch queue hold together, so that the read must pause.
    let bench = bench.tuned(Tuning { librdkafka: &[("queued.max.messages.kbytes", "1024")], ..Tuning::default() })?;
    let topic = bench.topic(1, &[]).await?;
    let value = incompressible(8 << 10);
    write(&bench, (0..2000).map(|n| record(&topic, 0, &n.to_string(), Some(value.clone()))).collect()).await?;
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::Beginning)])?;
    let full = async || (reader.batches.len() == reader.batches.max_capacity()).then_some(());
    check(looked(LONG, POLL, full).await.is_some(), "the channel fills to its bound")?;
    check(reader.batches.max_capacity() <= 4, "the bound is small")?;
    check_eq(keys(&take(&mut reader, 2000).await?), numbers(0..2000), "all of it comes, in order")
}

pub async fn a_read_ends_when_its_guard_is_dropped(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    write(&bench, (0..5).map(|n| numbered(&topic, n)).collect()).await?;
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::Beginning)])?;
    take(&mut reader, 5).await?;
    drop(reader.guard);
    let closed = tokio::time::timeout(LONG, async { while reader.batches.recv().await.is_some() {} }).await;
    check(closed.is_ok(), "the channel closes")
}

pub async fn markers_stand_in_the_partition_they_name(bench: Bench) -> Checked {
    let topic = bench.topic(4, &[("cleanup.policy", "compact")]).await?;
    let marker = |partition| OutRecord {
        headers: vec![(WRITER_EPOCH_HEADER, Bytes::from_static(b"3"))],
        ..record(&topic, partition, &Marker::Writer(partition).key(), None)
    };
    write(&bench, (0..4).map(marker).collect()).await?;
    for record in bench.log.read_all(&topic).await? {
        let key = record.key.as_deref().unwrap_or_default();
        check_eq(Marker::parse(key), Some(Marker::Writer(record.partition)), "a marker names its own partition")?;
        check_eq((record.value.as_ref(), record.writer_epoch()), (None, Some(3)), "its content stands in headers")?;
    }
    Ok(())
}
