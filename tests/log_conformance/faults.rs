//! What only a real Kafka can show: its outages, and what librdkafka makes of them.

use crate::engines::{Bench, Engine, Tuning};
use crate::kit::*;
use agent_events::domain::ack::{AckSink, AckToken, Outcome};
use agent_events::domain::record::{InRecord, OutRecord};
use agent_events::log::kafka::{KafkaConfig, KafkaLog};
use agent_events::log::{Log, LogError, SendError, Start};
use libtest_mimic::Failed;
use std::sync::Arc;
use testbed::Stopwatch;

struct Panics;

impl AckSink for Panics {
    fn settle(&self, _seq: u64, _generation: u64, _outcome: Outcome) {
        panic!("this receiver always panics; the test wants it");
    }

    fn is_current(&self, _generation: u64) -> bool {
        true
    }
}

/// rdkafka serves reports on one thread and catches nothing: without our catch the rest would never be reported.
pub async fn a_receiver_that_panics_does_not_stop_the_reports_of_others(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    send(&*producer, numbered(&topic, 0), AckToken::new(Arc::new(Panics), 0, 0))?;
    check(producer.flush(LONG), "the panicked token counts as settled")?;
    for n in 1..10 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    acks.acked(9).await?;
    check_eq(producer.fatal(), None, "the producer lives")
}

/// Here librdkafka gives up by itself, and its gapless guarantee does not cover that.
pub async fn a_topic_that_is_not_there_fails_its_record_and_nothing_overtakes_it(bench: Bench) -> Checked {
    let bench =
        bench.tuned(Tuning { librdkafka: &[("topic.metadata.propagation.max.ms", "100")], ..Tuning::default() })?;
    let missing: Arc<str> = bench.name("missing").into();
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    send(&*producer, numbered(&missing, 0), acks.token(0))?;
    let outcomes = acks.settled(1).await?;
    let Outcome::Failed(text) = &outcomes[0] else { return Err(format!("{outcomes:?}").into()) };
    check(text.contains(&*missing) && text.contains("topics apply"), text)?;
    check_eq(producer.fatal().as_ref(), Some(text), "the producer is dead and says why")?;
    let topic = bench.topic(1, &[]).await?;
    let refused = producer.send(numbered(&topic, 1), acks.token(1)).err().map(|(error, ..)| error);
    check_eq(refused, Some(SendError::Fatal), "it takes nothing more")
}

pub async fn a_broker_that_is_not_there_is_named_within_the_deadline(_: Bench) -> Checked {
    // Port 1 of loopback: nobody listens there, and nobody may.
    let log = KafkaLog::new(KafkaConfig::new("127.0.0.1:1"))?;
    let clock = Stopwatch::start();
    for error in [log.list().await.err(), log.offsets("t").await.err()] {
        let error = error.ok_or("there is no broker")?;
        check(matches!(&error, LogError::Unreachable(at, _) if at == "127.0.0.1:1"), &format!("{error:?}"))?;
        check(error.to_string().contains("kafka.bootstrap"), &error.to_string())?;
    }
    check(clock.elapsed() < LONG, "two questions take less than twice 30 s")
}

pub async fn an_override_of_librdkafka_reaches_it(bench: Bench) -> Checked {
    // Two producers' settings contradict each other only where librdkafka looks at them together: at creation.
    let bench =
        bench.tuned(Tuning { librdkafka: &[("max.in.flight.requests.per.connection", "6")], ..Tuning::default() })?;
    let error = bench.log.producer().err().ok_or("idempotence allows 5 requests in flight")?;
    let LogError::Setting { message, .. } = &error else { return Err(format!("{error:?}").into()) };
    check(message.contains("max.in.flight"), message)
}

/// No loss rests on an experimental setting of librdkafka, `enable.gapless.guarantee`, which was broken once (librdkafka
/// #2819): pinned here without any help of ours, for rdkafka 0.39.0 with librdkafka 2.12.1, beside its control.
pub async fn librdkafka_writes_nothing_behind_a_refused_record_when_gapless(bench: Bench) -> Checked {
    for gapless in ["true", "false"] {
        let spec = bench.spec(gapless, 1, &[("max.message.bytes", "65536")]);
        bench.log.create(&spec).await?;
        send_with_librdkafka_alone(&bench, &spec.name, gapless)?;
        let read = keys(&bench.log.read_all(&spec.name).await?);
        if gapless == "true" {
            check(read == numbers(0..100), &format!("with it {} are written", read.len()))?;
        } else {
            // The control: how many get past depends on what was under way, that some do is the fault.
            check(read.contains(&"299".to_owned()), &format!("without it {} are written", read.len()))?;
        }
    }
    Ok(())
}

/// 300 small records, of which the 101st is larger than the topic takes; returns when librdkafka has nothing more to do.
fn send_with_librdkafka_alone(bench: &Bench, topic: &str, gapless: &str) -> Checked {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let Engine::Kafka { bootstrap, .. } = &bench.engine else { return Err("only for Kafka".into()) };
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", gapless)
        .set("message.timeout.ms", "0")
        .set("batch.size", "32768")
        .create()?;
    let large = incompressible(200_000);
    for n in 0..300 {
        let (key, value) = (n.to_string(), if n == 100 { &large[..] } else { b"small" });
        let record = BaseRecord::<str, [u8]>::to(topic).partition(0).key(&key).payload(value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    let ended = testbed::wait_until(LONG, || {
        producer.poll(std::time::Duration::from_millis(10));
        Ok::<_, Failed>((producer.in_flight_count() == 0 || producer.client().fatal_error().is_some()).then_some(()))
    })?;
    check(ended.is_some(), "librdkafka either writes all or is fatal")?;
    check_eq(producer.client().fatal_error().is_some(), gapless == "true", "it is fatal only when gapless")?;
    // A second for whatever might still overtake.
    check(producer.flush(std::time::Duration::from_secs(1)).is_err() == (gapless == "true"), "what is behind stays")
}

/// A broker forgets a producer whose last record is a day old by its own timestamp (`producer.id.expiration.ms`), at the
/// latest when it restarts, and then takes a repeated batch for a new one: with old timestamps half of the runs of
/// `a_broker_killed_and_back` found batches twice.
#[allow(clippy::disallowed_methods, reason = "the broker compares record timestamps with its own clock")]
fn now_ms() -> Result<i64, Failed> {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since_1970.as_millis())?)
}

/// Sends records before, during and after an outage; then everything must be acked, and be there once and in order, and a
/// reader that was there all the time must have seen it so.
async fn outlive(
    bench: &Bench,
    breaks: impl FnOnce(&Bench) -> Checked,
    mends: impl AsyncFnOnce(&Bench) -> Checked,
) -> Checked {
    const COUNT: u64 = 30_000;
    let topic = bench.topic(1, &[]).await?;
    let mut reader = bench.log.read(vec![(topic.clone(), 0, Start::Beginning)])?;
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    let send = async |numbers: std::ops::Range<u64>| {
        for n in numbers {
            let record = OutRecord { timestamp_ms: now_ms()?, ..numbered(&topic, n) };
            send_patiently(&*producer, &acks, n, record).await?;
        }
        Checked::Ok(())
    };
    send(0..5000).await?;
    acks.some(1000).await?;
    // Some are acked, some in flight, some queued when it happens, and more come while it lasts.
    send(5000..15_000).await?;
    let acked_before = acks.count();
    breaks(bench)?;
    send(15_000..20_000).await?;
    check(producer.in_flight() >= 5000, "what is sent meanwhile waits")?;
    mends(bench).await?;
    send(20_000..COUNT).await?;
    let places = acks.acked(usize::try_from(COUNT)?).await?;
    check(acked_before < places.len(), "the outage came in the middle")?;
    check_eq(producer.fatal(), None, "the producer lives")?;
    let told: Vec<_> = places.iter().map(|(_, offset)| *offset).filter(|offset| *offset >= 0).collect();
    check(told.is_sorted(), "acks name the places in order")?;
    let stands = bench.log.read_all(&topic).await?;
    check_in_order(&stands, COUNT, "in the log")?;
    check_in_order(&take(&mut reader, stands.len()).await?, COUNT, "to the reader")
}

fn check_in_order(records: &[InRecord], count: u64, whence: &str) -> Checked {
    let wrong = records.iter().zip(0..).find(|(record, n)| key(record) != n.to_string());
    check(wrong.is_none(), &format!("each once, in order, {whence}: {wrong:?}"))?;
    check_eq(u64::try_from(records.len())?, count, whence)
}

pub async fn a_broker_killed_and_back_loses_and_doubles_nothing(bench: Bench) -> Checked {
    outlive(&bench, |bench| Ok(bench.broker()?.kill9()?), async |bench| Ok(bench.broker()?.restart()?)).await
}

pub async fn a_broker_frozen_and_back_loses_and_doubles_nothing(bench: Bench) -> Checked {
    // Much shorter than a question is waited for, so that requests time out in flight and are tried again.
    let librdkafka = &[("socket.timeout.ms", "1000"), ("request.timeout.ms", "1000")];
    let bench = bench.tuned(Tuning { librdkafka, ..Tuning::default() })?;
    let mends = async |bench: &Bench| {
        let unanswered = bench.log.list().await;
        bench.broker()?.resume()?;
        check(matches!(unanswered, Err(LogError::Unreachable(..))), "a frozen broker answers no question")
    };
    outlive(&bench, |bench| Ok(bench.broker()?.pause()?), mends).await
}

/// The offset before the end holds the mark of a transaction, which is no record: only the end of the partition tells.
pub async fn a_mark_of_a_transaction_does_not_keep_read_all_waiting(bench: Bench) -> Checked {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    let topic = bench.topic(1, &[]).await?;
    let Engine::Kafka { bootstrap, .. } = &bench.engine else { return Err("only for Kafka".into()) };
    let producer: BaseProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", bench.name("tx"))
        .create()?;
    producer.init_transactions(LONG)?;
    producer.begin_transaction()?;
    producer.send(BaseRecord::<str, str>::to(&topic).key("0").payload("value")).map_err(|(error, _)| error)?;
    producer.commit_transaction(LONG)?;
    // The broker writes the mark some moment after it has confirmed the end of the transaction.
    let marked = async {
        while bench.log.offsets(&topic).await? != [(0, 2)] {}
        Checked::Ok(())
    };
    tokio::time::timeout(LONG, marked).await??;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..1), "the record is read")
}

pub async fn a_purge_settles_at_once_what_a_frozen_broker_holds(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    send(&*producer, numbered(&topic, 0), acks.token(0))?;
    acks.acked(1).await?;
    bench.broker()?.pause()?;
    for n in 1..1000 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    // Requests go out and come to nothing.
    let flushed = producer.flush(std::time::Duration::from_millis(200));
    let clock = Stopwatch::start();
    producer.purge();
    let purged_in = clock.elapsed();
    let settled = acks.count();
    bench.broker()?.resume()?;
    check(!flushed, "a frozen broker acks nothing")?;
    // Left to itself librdkafka would keep them as long as the broker is frozen.
    check(purged_in < std::time::Duration::from_secs(4), "the purge does not wait for the broker")?;
    check_eq(settled, 1000, "every token is settled when it returns")?;
    let outcomes = acks.settled(1000).await?;
    check(outcomes[1..].iter().all(|o| *o == Outcome::Dropped), "nobody knows of any")
}

/// A broker that has just come back tells a reader that it does not lead the partition and that nobody does (KIP-951).
/// librdkafka 2.12.1 then indexes an array with a number that nobody set; `__wrap_rd_kafka_metadata_update_op` in the log's
/// `ffi.rs` stands for that function. Whether the number is harmful depends on what the memory held before, so what is seen
/// here is that librdkafka's own function is never asked.
pub async fn a_fetch_response_that_knows_no_leader_is_survived(_: Bench) -> Checked {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
    const ROUNDS: i32 = 10;
    let mut settings = rdkafka::ClientConfig::new();
    let cluster: BaseProducer = settings.set("test.mock.num.brokers", "2").create()?;
    let mock = cluster.client().mock_cluster().ok_or("a client with mock brokers has a cluster")?;
    mock.create_topic("t", 1, 1)?;
    let log = KafkaLog::new(KafkaConfig::new(mock.bootstrap_servers()))?;
    let topic: Arc<str> = "t".into();
    let mut reader = log.read(vec![(topic, 0, Start::Beginning)])?;
    for round in 0..ROUNDS {
        if round > 0 {
            // The reader meets a hint, or the producer below, or a question for the leader: some for each.
            push_hints_without_leader(&cluster);
            mock.partition_leader("t", 0, Some(1 + round % 2))?;
        }
        let key = round.to_string();
        cluster.send(BaseRecord::<str, str>::to("t").partition(0).key(&key).payload("v")).map_err(|(e, _)| e)?;
        cluster.flush(LONG).map_err(|e| format!("round {round}: {e}"))?;
        check_eq(keys(&take(&mut reader, 1).await?), vec![key], "the record of this round")?;
    }
    check(agent_events::log::kafka::hints_ignored() > 0, "a hint came, and our function was asked")
}

#[allow(unsafe_code, reason = "rdkafka has no name for it")]
fn push_hints_without_leader(cluster: &rdkafka::producer::BaseProducer) {
    use rdkafka::bindings as sys;
    use rdkafka::producer::Producer as _;
    for _ in 0..6 {
        // SAFETY: the cluster belongs to the live client that `cluster` borrows; the topic is NUL-terminated.
        unsafe {
            let mock = sys::rd_kafka_handle_mock_cluster(cluster.client().native_ptr());
            sys::rd_kafka_mock_partition_push_leader_response(mock, c"t".as_ptr(), 0, -1, -1);
        }
    }
}
