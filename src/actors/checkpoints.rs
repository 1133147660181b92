//! Which checkpoints are due: those whose watermark moved since the last one that the log acked.

use crate::domain::ack::{AckSink, AckToken, Outcome};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::record::OutRecord;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One owner of a checkpoint and its source.
struct Slot {
    owner: String,
    /// The checkpoint as it would be written now; `None` before there is a watermark.
    current: Box<dyn Fn() -> Option<Checkpoint> + Send + Sync>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    acked: Option<Checkpoint>,
    pending: Option<Checkpoint>,
}

impl AckSink for Slot {
    fn settle(&self, _: u64, _: u64, outcome: Outcome) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = written.pending.take();
        // A checkpoint that got lost is due again at the next look.
        if matches!(outcome, Outcome::Acked { .. }) {
            written.acked = pending;
        }
    }

    fn is_current(&self, _: u64) -> bool {
        true
    }
}

/// All checkpoints of this process.
pub struct Checkpoints {
    /// As the log held them when this process began.
    first: BTreeMap<String, Checkpoint>,
    topic: Arc<str>,
    writer_epoch: u64,
    slots: Mutex<Vec<Arc<Slot>>>,
}

impl Checkpoints {
    /// For the checkpoint topic (with prefix), as the writer of that epoch, where the log holds these.
    pub fn new(topic: Arc<str>, writer_epoch: u64, first: BTreeMap<String, Checkpoint>) -> Arc<Self> {
        Arc::new(Self { first, topic, writer_epoch, slots: Mutex::new(Vec::new()) })
    }

    /// Sets where an owner's checkpoints come from, in the place of what was set for it before.
    pub fn set(&self, owner: &str, current: impl Fn() -> Option<Checkpoint> + Send + Sync + 'static) {
        let slot = Slot { owner: owner.to_owned(), current: Box::new(current), written: Mutex::default() };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|other| other.owner != owner);
        slots.push(Arc::new(slot));
    }

    /// The newest checkpoint of an owner that is known to be in the log.
    pub fn durable(&self, owner: &str) -> Option<Checkpoint> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let acked = |slot: &Arc<Slot>| slot.written.lock().unwrap_or_else(PoisonError::into_inner).acked.clone();
        let of_this_life = slots.iter().filter_map(acked).find(|checkpoint| checkpoint.owner == owner);
        of_this_life.or_else(|| self.first.get(owner).cloned())
    }

    /// The records of what is due, with tokens that note when they are durable. At most one is under way per owner.
    pub fn due(&self, now_ms: i64) -> Vec<(OutRecord, AckToken)> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut due = Vec::new();
        for slot in slots {
            let Some(current) = (slot.current)() else { continue };
            {
                let mut written = slot.written.lock().unwrap_or_else(PoisonError::into_inner);
                if written.pending.is_some() || written.acked.as_ref() == Some(&current) {
                    continue;
                }
                written.pending = Some(current.clone());
            }
            let record = current.record(&self.topic, self.writer_epoch, now_ms);
            due.push((record, AckToken::new(slot, 0, 0)));
        }
        due
    }
}
