//! Proves that a lane loses nothing, resends in order, and never lets its watermark pass what is unacked (G1, G3, G4).

use super::*;
use std::sync::atomic::AtomicUsize;

mod model;
mod threads;

const ACKED: Outcome = Outcome::Acked { partition: 0, offset: 0 };

fn failed() -> Outcome {
    Outcome::Failed("refused".into())
}

/// A record of that key; `n` tells records apart.
fn record(key: u8, n: u64) -> OutRecord {
    OutRecord {
        topic: "t".into(),
        partition: 0,
        key: Bytes::from(vec![key]),
        value: Some(Bytes::from(vec![0; 9])),
        headers: Vec::new(),
        timestamp_ms: i64::try_from(n).expect("small"),
    }
}

fn numbers(batch: &[(OutRecord, AckToken)]) -> Vec<i64> {
    batch.iter().map(|(r, _)| r.timestamp_ms).collect()
}

fn settle_all(batch: Vec<(OutRecord, AckToken)>, outcome: &Outcome) {
    for (_, token) in batch {
        token.settle(outcome.clone());
    }
}

struct Kit {
    lane: Arc<Lane<u64>>,
    wakes: Arc<AtomicUsize>,
}

impl Kit {
    /// Records are 10 bytes each.
    fn new(records: usize) -> Self {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let wake = move || {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        Self { lane: Lane::new(Limits { bytes: 1000, records }, wake), wakes }
    }

    fn push(&self, keys: &[u8], point: Option<u64>) {
        let pushed = self.lane.usage().stats.pushed;
        self.lane.push(keys.iter().zip(pushed..).map(|(key, n)| record(*key, n)), point);
    }

    fn take(&self, n: usize) -> Vec<(OutRecord, AckToken)> {
        self.lane.take(n, usize::MAX)
    }

    fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::Relaxed)
    }
}

#[test]
fn a_batch_ends_at_its_records_or_bytes_but_holds_at_least_one_record() {
    let kit = Kit::new(100);
    kit.push(&[1, 2, 3, 4, 5], None);
    assert_eq!(numbers(&kit.lane.take(2, 1000)), [0, 1]);
    // Dropping those tokens nacked them.
    assert_eq!(numbers(&kit.lane.take(5, 29)), [0, 1]);
    assert_eq!(numbers(&kit.lane.take(5, 30)), [0, 1, 2]);
    assert_eq!(numbers(&kit.lane.take(5, 1)), [0]);
    assert!(kit.lane.take(0, 1000).is_empty());
}

#[test]
fn the_watermark_follows_the_oldest_unacked_record_not_the_newest_acked() {
    let kit = Kit::new(100);
    kit.push(&[1], Some(10));
    kit.push(&[2, 3], Some(20));
    kit.push(&[], Some(25));
    let mut batch = kit.take(9);
    assert_eq!(kit.lane.watermark(), None);
    batch.pop().expect("third").1.settle(ACKED);
    assert_eq!(kit.lane.watermark(), None);
    batch.remove(0).1.settle(ACKED);
    assert_eq!(kit.lane.watermark(), Some(10));
    batch.remove(0).1.settle(ACKED);
    assert_eq!(kit.lane.watermark(), Some(25));
    assert!(kit.lane.is_drained());
}

#[test]
fn a_point_behind_which_nothing_is_unacked_is_the_watermark_at_once() {
    let kit = Kit::new(100);
    kit.push(&[], Some(1));
    assert_eq!(kit.lane.watermark(), Some(1));
    kit.push(&[7], None);
    kit.push(&[], Some(2));
    assert_eq!(kit.lane.watermark(), Some(1));
    settle_all(kit.take(1), &ACKED);
    assert_eq!(kit.lane.watermark(), Some(2));
}

#[test]
fn a_dropped_batch_is_sent_again_in_order_once_every_token_is_back() {
    let kit = Kit::new(100);
    kit.push(&[1, 2, 1, 2, 3], Some(1));
    let first = kit.take(2);
    let second = kit.take(2);
    assert!(first[0].1.is_current());
    drop(first);
    assert!(!second[0].1.is_current(), "sends of the old generation are refused from the first nack on");
    assert!(kit.take(9).is_empty() && !kit.lane.has_unsent(), "nothing goes out while tokens are out");
    assert_eq!(kit.wakes(), 0);
    drop(second);
    assert!(kit.wakes() > 0, "there is something to send again");
    let again = kit.take(9);
    assert_eq!(numbers(&again), [0, 1, 2, 3, 4]);
    assert!(again[0].1.is_current());
    assert_eq!(kit.lane.usage().stats.nacks, 1, "one nack for all tokens of a generation");
    settle_all(again, &ACKED);
    assert_eq!(kit.lane.watermark(), Some(1));
}

#[test]
fn a_record_whose_key_has_a_later_acked_one_is_never_sent_again() {
    let kit = Kit::new(100);
    kit.push(&[1, 2, 1, 1, 2], Some(1));
    let mut batch = kit.take(9);
    batch.remove(2).1.settle(ACKED);
    settle_all(batch, &failed());
    let again = kit.take(9);
    assert_eq!(numbers(&again), [1, 3, 4], "record 0 would stand behind its successor for ever");
    assert_eq!(kit.lane.usage().stats.superseded, 1);
    settle_all(again, &ACKED);
    assert_eq!((kit.lane.watermark(), kit.lane.usage().bytes, kit.lane.is_drained()), (Some(1), 0, true));
}

#[test]
fn an_ack_counts_even_when_it_comes_after_the_nack_of_another() {
    let kit = Kit::new(100);
    kit.push(&[1, 2, 3], Some(1));
    let mut batch = kit.take(9);
    batch.remove(0).1.settle(failed());
    batch.remove(0).1.settle(ACKED);
    batch.remove(0).1.settle(ACKED);
    let again = kit.take(9);
    assert_eq!(numbers(&again), [0]);
    settle_all(again, &ACKED);
    assert!(kit.lane.is_drained());
    assert_eq!(kit.lane.usage().stats, Stats { pushed: 3, acked: 3, superseded: 0, nacks: 1, ..Stats::default() });
}

#[test]
fn a_panic_while_records_are_made_leaves_none_of_them_in_the_lane() {
    let kit = Kit::new(100);
    let records = (0..3).map(|n| if n < 2 { record(1, n) } else { panic!("on purpose") });
    let push = std::panic::AssertUnwindSafe(|| kit.lane.push(records, Some(1)));
    assert!(std::panic::catch_unwind(push).is_err());
    assert!(kit.lane.is_drained() && !kit.lane.has_unsent());
    assert_eq!(kit.lane.watermark(), None);
    kit.push(&[1], Some(2));
    settle_all(kit.take(9), &ACKED);
    assert_eq!(kit.lane.watermark(), Some(2));
}

#[test]
fn nothing_is_promised_that_is_not_given() {
    let kit = Kit::new(100);
    kit.push(&[1, 2], None);
    let mut batch = kit.take(9);
    batch.remove(0).1.settle(failed());
    batch.remove(0).1.settle(ACKED);
    let again = kit.take(1);
    // Record 1 stands behind, but is acked: a publisher that asks in a loop would spin on it.
    assert!(!kit.lane.has_unsent() && kit.take(9).is_empty());
    drop(again);
}

#[test]
fn what_is_pushed_while_a_nack_is_settled_goes_out_behind_what_is_sent_again() {
    let kit = Kit::new(100);
    kit.push(&[1, 2], None);
    let mut batch = kit.take(9);
    batch.remove(0).1.settle(failed());
    kit.push(&[1], Some(3));
    assert!(!kit.lane.has_unsent() && kit.take(9).is_empty());
    batch.remove(0).1.settle(ACKED);
    assert_eq!(numbers(&kit.take(9)), [0, 2]);
}

#[test]
fn room_is_counted_in_records_and_bytes_and_a_full_lane_still_takes_what_is_pushed() {
    let kit = Kit::new(4);
    kit.push(&[1, 2, 3], None);
    assert!(kit.lane.has_room() && !kit.lane.is_half_empty());
    kit.push(&[4, 5], None);
    assert!(!kit.lane.has_room());
    settle_all(kit.take(2), &ACKED);
    assert!(kit.lane.has_room());
    settle_all(kit.take(1), &ACKED);
    assert!(kit.lane.is_half_empty());

    let by_bytes = Kit::new(1000);
    by_bytes.push(&[1; 99], None);
    assert!(by_bytes.lane.has_room());
    by_bytes.push(&[1], None);
    assert!(!by_bytes.lane.has_room());
    assert_eq!(by_bytes.lane.usage().bytes, 1000);
    settle_all(by_bytes.take(49), &ACKED);
    assert!(!by_bytes.lane.is_half_empty());
    settle_all(by_bytes.take(1), &ACKED);
    assert!(by_bytes.lane.is_half_empty());
}

#[test]
fn its_user_is_woken_when_there_is_room_again_when_half_is_free_and_when_all_is_acked() {
    let kit = Kit::new(6);
    kit.push(&[1; 6], None);
    let mut batch = kit.take(6);
    let mut wakes = Vec::new();
    while !batch.is_empty() {
        batch.remove(0).1.settle(ACKED);
        wakes.push(kit.wakes());
    }
    assert_eq!(wakes, [1, 0, 1, 0, 0, 1]);
}

#[test]
fn its_user_is_woken_when_the_last_nacked_token_is_back_even_if_nothing_is_left_to_send() {
    let kit = Kit::new(100);
    kit.push(&[1, 1], Some(5));
    let mut batch = kit.take(9);
    batch.remove(0).1.settle(failed());
    assert_eq!(kit.wakes(), 0);
    batch.remove(0).1.settle(ACKED);
    assert_eq!(kit.wakes(), 1, "the failed record is superseded: drained");
    assert!(kit.lane.is_drained() && !kit.lane.has_unsent());
    assert_eq!(kit.lane.watermark(), Some(5));
}

#[test]
fn bytes_are_counted_until_acked_and_never_twice() {
    let kit = Kit::new(100);
    kit.push(&[1, 2], None);
    for _ in 0..3 {
        drop(kit.take(9));
        assert_eq!(kit.lane.usage().bytes, 20);
    }
    let mut batch = kit.take(9);
    batch.remove(1).1.settle(ACKED);
    assert_eq!((kit.lane.usage().bytes, kit.lane.usage().records), (10, 1));
    batch.remove(0).1.settle(ACKED);
    assert_eq!((kit.lane.usage().bytes, kit.lane.usage().records), (0, 0));
    assert_eq!(kit.lane.usage().generation, 3);
}
