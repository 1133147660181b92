//! Random use against a model: a log that appends what it acks.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Push {
        keys: Vec<u8>,
        point: bool,
    },
    Take {
        records: usize,
        bytes: usize,
    },
    /// Settles one token of those that are out, wherever it stands.
    Ack(usize),
    Fail(usize),
    Drop(usize),
    /// Drops all tokens that are out: a publisher died.
    DropAll,
}

fn step() -> impl Strategy<Value = Step> {
    let keys = proptest::collection::vec(0_u8..4, 0..4);
    prop_oneof![
        4 => (keys, any::<bool>()).prop_map(|(keys, point)| Step::Push { keys, point }),
        4 => (1_usize..5, 1_usize..60).prop_map(|(records, bytes)| Step::Take { records, bytes }),
        8 => any::<usize>().prop_map(Step::Ack),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => Just(Step::DropAll),
    ]
}

/// What the world outside the lane knows.
#[derive(Default)]
struct Model {
    keys: Vec<u8>,
    /// Number of records pushed when each point was given.
    points: Vec<u64>,
    out: Vec<(OutRecord, AckToken)>,
    acked: Vec<u64>,
    /// Last record handed out in this generation.
    last_taken: Option<i64>,
    generation: u64,
}

impl Model {
    fn pick(&mut self, at: usize) -> Option<(OutRecord, AckToken)> {
        let n = self.out.len();
        (n > 0).then(|| self.out.swap_remove(at % n))
    }

    fn settled(&self, number: u64) -> bool {
        self.acked.contains(&number) || self.superseded(number)
    }

    /// A later record of its key is acked.
    fn superseded(&self, number: u64) -> bool {
        self.acked.iter().any(|a| *a > number && self.keys[*a as usize] == self.keys[number as usize])
    }

    fn check(&self, lane: &Lane<u64>) -> Result<(), TestCaseError> {
        let usage = lane.usage();
        let acked: std::collections::BTreeSet<_> = self.acked.iter().copied().collect();
        prop_assert_eq!(acked.len(), self.acked.len(), "no record is acked twice");
        prop_assert_eq!(usage.stats.acked, acked.len() as u64);
        prop_assert_eq!(usage.bytes, usage.records * 10);
        let left = usage.stats.pushed - usage.stats.acked - usage.stats.superseded;
        prop_assert_eq!(usage.records as u64, left);
        if let Some(watermark) = lane.watermark() {
            let behind = self.points[watermark as usize];
            prop_assert!((0..behind).all(|n| self.settled(n)), "the watermark passed an unacked record");
        }
        Ok(())
    }
}

fn apply(lane: &Arc<Lane<u64>>, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    match step {
        Step::Push { keys, point } => {
            let first = model.keys.len() as u64;
            model.keys.extend(&keys);
            if point {
                model.points.push(model.keys.len() as u64);
            }
            let point = point.then(|| model.points.len() as u64 - 1);
            lane.push(keys.iter().zip(first..).map(|(k, n)| record(*k, n)), point);
        }
        Step::Take { records, bytes } => {
            let had = lane.has_unsent();
            let batch = lane.take(records, bytes);
            prop_assert_eq!(had, !batch.is_empty());
            let size: usize = batch.iter().map(|(r, _)| r.size()).sum();
            prop_assert!(batch.len() <= records && (size <= bytes || batch.len() == 1));
            if lane.usage().generation != model.generation {
                prop_assert!(batch.is_empty() || model.out.is_empty(), "resent while old tokens were out");
                if !batch.is_empty() {
                    (model.generation, model.last_taken) = (lane.usage().generation, None);
                }
            }
            for (record, token) in &batch {
                prop_assert!(token.is_current());
                prop_assert!(model.last_taken < Some(record.timestamp_ms), "in order within a generation");
                prop_assert!(!model.settled(record.timestamp_ms as u64), "neither acked nor superseded is sent again");
                model.last_taken = Some(record.timestamp_ms);
            }
            model.out.extend(batch);
        }
        Step::Ack(at) => {
            if let Some((record, token)) = model.pick(at) {
                model.acked.push(record.timestamp_ms as u64);
                token.settle(ACKED);
            }
        }
        Step::Fail(at) => {
            if let Some((_, token)) = model.pick(at) {
                let current = token.is_current();
                token.settle(failed());
                prop_assert!(model.out.iter().all(|(_, t)| !t.is_current()));
                prop_assert!(!current || lane.usage().generation > model.generation);
            }
        }
        Step::Drop(at) => drop(model.pick(at)),
        Step::DropAll => model.out.clear(),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_and_the_newest_of_a_key_is_acked_last(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let lane = Lane::new(Limits { bytes: 100, records: 8 }, || {});
        let mut model = Model::default();
        for step in steps {
            apply(&lane, &mut model, step)?;
            model.check(&lane)?;
        }
        // From here on everything works: what is out comes back, and the rest is acked in order.
        model.out.clear();
        while lane.has_unsent() {
            apply(&lane, &mut model, Step::Take { records: 3, bytes: 1000 })?;
            while !model.out.is_empty() {
                apply(&lane, &mut model, Step::Ack(0))?;
                model.check(&lane)?;
            }
        }
        prop_assert!(lane.is_drained());
        prop_assert_eq!(lane.usage().bytes, 0);
        prop_assert!((0..model.keys.len() as u64).all(|n| model.settled(n)), "nothing is lost");
        prop_assert_eq!(lane.watermark(), model.points.len().checked_sub(1).map(|p| p as u64));
        let mut last = BTreeMap::new();
        for (n, key) in model.keys.iter().enumerate() {
            last.insert(*key, n as u64);
        }
        for newest in last.into_values() {
            prop_assert!(model.acked.contains(&newest), "the newest record of a key is durable");
        }
    }
}
