//! What only a real Kafka can show: its outages, and what librdkafka makes of them.

use crate::engines::{Bench, Engine, Tuning};
use crate::kit::*;
use agent_events::domain::ack::{AckSink, AckToken, Outcome};
use agent_events::log::kafka::{KafkaConfig, KafkaLog};
use agent_events::log::{Log, LogError, SendError, Start};
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
            send_patiently(&*producer, &acks, n, numbered(&topic, n)).await?;
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
    let want = numbers(0..COUNT);
    check(keys(&take(&mut reader, want.len()).await?) == want, "the reader saw each once, in order")?;
    check_eq(bench.log.offsets(&topic).await?, vec![(0, i64::try_from(COUNT)?)], "nothing is there twice")
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
    check_eq(bench.log.offsets(&topic).await?, vec![(0, 2)], "one record and the mark")?;
    check_eq(keys(&bench.log.read_all(&topic).await?), numbers(0..1), "the record is read")
}
