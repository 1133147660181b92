use super::*;
use crate::domain::ack::{AckSink, AckToken, Outcome};
use crate::log::SendError;

#[derive(Default)]
struct Outcomes(Mutex<Vec<(u64, Outcome)>>);

impl AckSink for Outcomes {
    fn settle(&self, seq: u64, _: u64, outcome: Outcome) {
        self.0.lock().unwrap().push((seq, outcome));
    }
    fn is_current(&self, _: u64) -> bool {
        true
    }
}

impl Outcomes {
    fn token(self: &Arc<Self>, seq: u64) -> AckToken {
        AckToken::new(self.clone(), seq, 0)
    }
    fn acked(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().filter(|(_, o)| matches!(o, Outcome::Acked { .. })).map(|(s, _)| *s).collect()
    }
    fn all(&self) -> Vec<(u64, Outcome)> {
        self.0.lock().unwrap().clone()
    }
}

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, replication: 1, config: Default::default() }
}

async fn log_with_topic(partitions: i32) -> MemoryLog {
    let log = MemoryLog::default();
    log.create(&spec("t", partitions)).await.unwrap();
    log
}

fn record(key: &str, value: Option<&str>) -> OutRecord {
    OutRecord {
        topic: "t".into(),
        partition: 0,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())),
        headers: vec![],
        timestamp_ms: 1,
    }
}

fn send_many(producer: &dyn Producer, outcomes: &Arc<Outcomes>, seqs: std::ops::Range<u64>) {
    for seq in seqs {
        producer.send(record(&seq.to_string(), Some("v")), outcomes.token(seq)).unwrap();
    }
}

fn keys(records: &[InRecord]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.key.clone().unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_written_and_acked_within_send() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..3);
    assert_eq!(outcomes.acked(), [0, 1, 2]);
    assert_eq!(keys(&log.dump("t")), ["0", "1", "2"]);
    assert_eq!(log.offsets("t").await.unwrap(), [(0, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_record_is_acked_when_its_time_has_come_and_not_before() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    log.deliver(Deliver::After(Duration::from_millis(50)));
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..2);
    tokio::time::sleep(Duration::from_millis(49)).await;
    assert_eq!((outcomes.acked().len(), producer.in_flight()), (0, 2));
    send_many(&*producer, &outcomes, 2..3);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(outcomes.acked(), [0, 1]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(outcomes.acked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn held_records_wait_for_their_release() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    log.deliver(Deliver::Held);
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..3);
    assert!(!producer.flush(Duration::ZERO));
    assert_eq!(log.release(2), 2);
    assert_eq!(outcomes.acked(), [0, 1]);
    log.deliver(Deliver::Inline);
    assert_eq!((outcomes.acked().len(), producer.in_flight()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_overtakes_a_refused_record_and_what_was_behind_it_is_dropped() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    log.keep_zombies();
    log.deliver(Deliver::Held);
    log.refuse_next("too large", |r| &r.key[..] == b"1");
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..4);
    log.release(2);
    assert_eq!(producer.fatal(), Some("too large".into()));
    assert_eq!(
        outcomes.all()[1..],
        [(1, Outcome::Failed("too large".into())), (2, Outcome::Dropped), (3, Outcome::Dropped)]
    );
    log.deliver(Deliver::Inline);
    assert!(producer.flush(Duration::ZERO));
    let (error, back, token) = producer.send(record("9", None), outcomes.token(9)).unwrap_err();
    assert_eq!((error, &back.key[..]), (SendError::Fatal, &b"9"[..]));
    drop(token);
    drop(producer);
    assert_eq!(log.land_zombies(), 0, "what was behind never was on its way");
    assert_eq!(keys(&log.dump("t")), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_ack_is_a_dropped_token_of_a_written_record() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    log.lose_ack_of_next(|r| &r.key[..] == b"0");
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..2);
    assert_eq!(outcomes.all()[0], (0, Outcome::Dropped));
    assert_eq!(outcomes.acked(), [1]);
    assert_eq!(keys(&log.dump("t")), ["0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_gives_the_record_back_and_takes_it_later() {
    let log = MemoryLog::new(MemoryOptions { queue_bytes: Some(4), max_record_bytes: None });
    log.create(&spec("t", 1)).await.unwrap();
    log.deliver(Deliver::Held);
    let (producer, outcomes) = (log.producer().unwrap(), Arc::new(Outcomes::default()));
    send_many(&*producer, &outcomes, 0..2);
    let (error, back, token) = producer.send(record("2", Some("v")), outcomes.token(2)).unwrap_err();
    assert_eq!(error, SendError::QueueFull);
    log.release(1);
    producer.send(back, token).unwrap();
    log.release(2);
    log.queue_full_for(1);
    assert_eq!(producer.send(record("3", None), outcomes.token(3)).unwrap_err().0, SendError::QueueFull);
    assert_eq!(outcomes.acked(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_can_never_be_written_kills_the_producer() {
    let log = MemoryLog::new(MemoryOptions { queue_bytes: None, max_record_bytes: Some(8) });
    log.create(&spec("t", 1)).await.unwrap();
    let outcomes = Arc::new(Outcomes::default());
    let no_topic = OutRecord { topic: "nowhere".into(), ..record("k", None) };
    let no_partition = OutRecord { partition: 7, ..record("k", None) };
    for bad in [no_topic, no_partition, record("k", Some("much too large"))] {
        let producer = log.producer().unwrap();
        let (error, _, _) = producer.send(bad, outcomes.token(0)).unwrap_err();
        assert!(matches!(error, SendError::Refused(_)), "{error:?}");
        assert_eq!(producer.send(record("k", None), outcomes.token(1)).unwrap_err().0, SendError::Fatal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_producer_settles_its_tokens_and_its_zombies_may_land_later() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    log.keep_zombies();
    log.deliver(Deliver::Held);
    let dying = log.producer().unwrap();
    send_many(&*dying, &outcomes, 0..2);
    drop(dying);
    assert_eq!(outcomes.all(), [(0, Outcome::Dropped), (1, Outcome::Dropped)]);
    log.deliver(Deliver::Inline);
    let successor = log.producer().unwrap();
    send_many(&*successor, &outcomes, 5..6);
    assert_eq!(log.land_zombies(), 2);
    assert_eq!(keys(&log.dump("t")), ["5", "0", "1"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_answers_no_question_and_loses_nothing() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    let producer = log.producer().unwrap();
    let mut reader = log.read(vec![("t".into(), 0, Start::Beginning)]).unwrap();
    log.set_down(true);
    send_many(&*producer, &outcomes, 0..3);
    assert!(matches!(log.list().await, Err(LogError::Unreachable(..))));
    assert!(tokio::time::timeout(Duration::from_secs(60), reader.batches.recv()).await.is_err());
    log.set_down(false);
    assert_eq!(outcomes.acked(), [0, 1, 2]);
    assert_eq!(keys(&reader.batches.recv().await.unwrap().records), ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn compaction_keeps_last_versions_and_offsets_and_a_reader_skips_the_holes() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    let producer = log.producer().unwrap();
    for (seq, key, value) in
        [(0, "a", Some("1")), (1, "b", Some("1")), (2, "a", Some("2")), (3, "b", None), (4, "c", None)]
    {
        producer.send(record(key, value), outcomes.token(seq)).unwrap();
    }
    log.compact("t");
    let offsets = |log: &MemoryLog| log.dump("t").iter().map(|r| r.offset).collect::<Vec<_>>();
    assert_eq!(offsets(&log), [2, 3, 4]);
    log.compact_with_tombstones("t");
    assert_eq!(offsets(&log), [2, 4]);
    assert_eq!(log.offsets("t").await.unwrap(), [(0, 5)]);
    let mut reader = log.read(vec![("t".into(), 0, Start::Offset(1))]).unwrap();
    assert_eq!(reader.batches.recv().await.unwrap().records[0].offset, 2);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_deleted_offsets_starts_at_the_oldest_record_that_is_there() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    send_many(&*log.producer().unwrap(), &outcomes, 0..5);
    log.delete_before("t", 0, 3);
    for start in [Start::Offset(1), Start::Offset(99), Start::Beginning] {
        let mut reader = log.read(vec![("t".into(), 0, start)]).unwrap();
        assert_eq!(reader.batches.recv().await.unwrap().records[0].offset, 3, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_pauses_the_read_instead_of_filling_memory() {
    let (log, outcomes) = (log_with_topic(1).await, Arc::new(Outcomes::default()));
    let producer = log.producer().unwrap();
    send_many(&*producer, &outcomes, 0..5000);
    let mut reader = log.read(vec![("t".into(), 0, Start::Beginning)]).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(reader.batches.len(), reader.batches.max_capacity());
    let mut seen = Vec::new();
    while seen.len() < 5000 {
        seen.extend(keys(&reader.batches.recv().await.unwrap().records));
    }
    assert!(seen.iter().enumerate().all(|(at, key)| *key == at.to_string()));
}
