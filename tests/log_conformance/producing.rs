//! What a producer promises for each record that it takes.

use crate::engines::{Bench, Engine, Tuning};
use crate::kit::*;
use agent_events::domain::ack::Outcome;
use agent_events::log::memory::Deliver;
use agent_events::log::{SendError, Start};
use bytes::Bytes;
use std::time::Duration;

pub async fn a_value_of_4_mib_comes_back_as_it_was(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[("max.message.bytes", "5242880")]).await?;
    let value = incompressible(4 << 20);
    write(&bench, vec![record(&topic, 0, "large", Some(value.clone())), numbered(&topic, 1)]).await?;
    let read = read(&bench, &topic, 0, Start::Beginning, 2).await?;
    check(read[0].value.as_ref() == Some(&value), "not a bit is different")?;
    check_eq(keys(&read[1..]), numbers(1..2), "and the next record follows")
}

pub async fn two_producers_keep_their_own_order(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let (one, two) = (bench.log.producer()?, bench.log.producer()?);
    let (acks_one, acks_two) = (Acks::new(), Acks::new());
    for n in 0..500 {
        send(&*one, record(&topic, 0, &format!("one/{n}"), None), acks_one.token(n))?;
        send(&*two, record(&topic, 0, &format!("two/{n}"), None), acks_two.token(n))?;
    }
    check(one.flush(LONG) && two.flush(LONG), "both flush")?;
    acks_one.acked(500).await?;
    acks_two.acked(500).await?;
    let read = keys(&read(&bench, &topic, 0, Start::Beginning, 1000).await?);
    for name in ["one", "two"] {
        let of_it: Vec<&str> = read.iter().filter_map(|k| k.strip_prefix(name)?.strip_prefix('/')).collect();
        check(of_it == numbers(0..500), name)?;
    }
    Ok(())
}

/// Makes what is sent stay in the queue for as long as it matters.
fn hold(bench: &Bench) {
    match &bench.engine {
        Engine::Memory(log) => log.deliver(Deliver::Held),
        Engine::Embedded { log, .. } => log.hold(true),
        // It lingers.
        Engine::Kafka { .. } => {}
    }
}

fn let_go(bench: &Bench) {
    match &bench.engine {
        Engine::Memory(log) => log.deliver(Deliver::Inline),
        Engine::Embedded { log, .. } => log.hold(false),
        Engine::Kafka { .. } => {}
    }
}

/// Longer than a test lasts: only a flush sends what lingers.
const LINGERING: Duration = Duration::from_secs(600);

pub async fn a_full_queue_gives_the_record_back_until_there_is_room(bench: Bench) -> Checked {
    let bench = bench.tuned(Tuning { queue_bytes: 64 << 10, linger: LINGERING, ..Tuning::default() })?;
    let topic = bench.topic(1, &[]).await?;
    hold(&bench);
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    let of_1_kib = |n: u64| record(&topic, 0, &n.to_string(), Some(Bytes::from(vec![b'x'; 1024])));
    let mut taken = 0;
    let (back, token) = loop {
        match producer.send(of_1_kib(taken), acks.token(taken)) {
            Ok(()) => taken += 1,
            Err((SendError::QueueFull, back, token)) => break (back, token),
            Err((error, ..)) => return Err(format!("{error:?}").into()),
        }
        check(taken < 100, "64 KiB are full before 100 KiB")?;
    };
    check_eq(back.clone(), of_1_kib(taken), "the record comes back as it was")?;
    check_eq(producer.fatal(), None, "a full queue kills nobody")?;
    let_go(&bench);
    check(producer.flush(LONG), "the queue empties")?;
    send(&*producer, back, token)?;
    check(producer.flush(LONG), "and takes the record then")?;
    let count = usize::try_from(taken)? + 1;
    acks.acked(count).await?;
    let read = read(&bench, &topic, 0, Start::Beginning, count).await?;
    check_eq(keys(&read), numbers(0..taken + 1), "each once, in order")
}

pub async fn a_record_above_the_limit_is_refused_and_what_was_sent_before_is_acked(bench: Bench) -> Checked {
    let bench = bench.tuned(Tuning { max_record_bytes: 100_000, ..Tuning::default() })?;
    let topic = bench.topic(1, &[]).await?;
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    for n in 0..10 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    let large = record(&topic, 0, "large", Some(Bytes::from(vec![b'x'; 200_000])));
    let (error, back, token) = producer.send(large.clone(), acks.token(10)).err().ok_or("it is too large")?;
    let SendError::Refused(text) = error else { return Err(format!("{error:?}").into()) };
    check(text.contains(&*topic), &text)?;
    check(back == large, "the record comes back as it was")?;
    let (error, _, next) = producer.send(numbered(&topic, 11), acks.token(11)).err().ok_or("nothing may overtake")?;
    check_eq(error, SendError::Fatal, "the producer is dead")?;
    check_eq(producer.fatal(), Some(text), "and says why")?;
    check(producer.flush(LONG), "what was sent before settles")?;
    check_eq(acks.acked(10).await?.len(), 10, "as acked")?;
    drop((token, next));
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..10), "nothing else is written")
}

/// The protocol between API server and log rests on this. What librdkafka does of it by itself is pinned in `faults`.
pub async fn nothing_overtakes_a_record_that_the_log_refused(bench: Bench) -> Checked {
    // Batches below the topic's limit, as in production: so the refusal names one record.
    let librdkafka = &[("batch.size", "32768")];
    let bench = bench.tuned(Tuning { librdkafka, ..Tuning::default() })?;
    let topic = bench.topic(1, &[("max.message.bytes", "65536")]).await?;
    hold(&bench);
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    for n in 0..300 {
        let value = if n == 100 { incompressible(200_000) } else { Bytes::from_static(b"small") };
        send(&*producer, record(&topic, 0, &n.to_string(), Some(value)), acks.token(n))?;
    }
    let_go(&bench);
    check(producer.flush(LONG), "what was under way and what is behind settles by itself")?;
    acks.some(300).await?;
    check(producer.fatal().is_some(), "the producer is dead")?;
    let refused = producer.send(numbered(&topic, 999), acks.token(999)).err().map(|(error, ..)| error);
    check_eq(refused, Some(SendError::Fatal), "and takes nothing more")?;
    // 300 and the refused 999, whose token was dropped here.
    let outcomes = acks.settled(301).await?;
    let acked = outcomes.iter().take_while(|o| matches!(o, Outcome::Acked { .. })).count();
    check_eq(acked, 100, "what was sent before is acked")?;
    let Outcome::Failed(text) = &outcomes[100] else { return Err(format!("{:?}", outcomes[100]).into()) };
    check(text.contains(&*topic) && text.contains("max.message.bytes"), text)?;
    check(outcomes[101..].iter().all(|o| *o == Outcome::Dropped), "of what was behind nobody knows")?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..100), "exactly what was sent before is written")?;
    // A new producer goes on where the old one stopped.
    write(&bench, (100..300).map(|n| numbered(&topic, n)).collect()).await?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..300), "and nothing of the old one comes late")
}

pub async fn a_purge_settles_every_token_before_it_returns(bench: Bench) -> Checked {
    let bench = bench.tuned(Tuning { linger: LINGERING, ..Tuning::default() })?;
    let topic = bench.topic(1, &[]).await?;
    hold(&bench);
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    for n in 0..1000 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    check_eq(producer.in_flight(), 1000, "all are on their way")?;
    producer.purge();
    check_eq((acks.count(), producer.in_flight()), (1000, 0), "all are settled when the purge returns")?;
    let outcomes = acks.settled(1000).await?;
    check(outcomes.iter().all(|o| *o == Outcome::Dropped), "and none as failed: none of them is to blame")?;
    check(producer.fatal().is_some(), "a purged producer is dead")?;
    check_eq(bench.log.read_all(&topic).await?.len(), 0, "nothing was written")
}

pub async fn a_dropped_producer_settles_every_token(bench: Bench) -> Checked {
    let bench = bench.tuned(Tuning { linger: LINGERING, ..Tuning::default() })?;
    let topic = bench.topic(1, &[]).await?;
    hold(&bench);
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    for n in 0..1000 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    drop(producer);
    let outcomes = acks.settled(1000).await?;
    check(outcomes.iter().all(|o| *o == Outcome::Dropped), "nobody knows of any")
}
