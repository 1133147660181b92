//! The producers of the memory log, and the settling of tokens outside its lock.

use super::state::{Queue, Settled, Waiting, no_such_topic};
use super::{Deliver, Shared};
use crate::domain::ack::AckToken;
use crate::domain::record::OutRecord;
use crate::log::{Producer, SendError};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct MemoryProducer {
    shared: Arc<Shared>,
    id: u64,
}

impl MemoryProducer {
    pub fn open(shared: Arc<Shared>) -> Self {
        let id = {
            let mut state = shared.lock();
            let id = state.number();
            state.queues.insert(id, Queue::default());
            id
        };
        Self { shared, id }
    }

    #[allow(clippy::result_large_err)] // The record goes back to the sender, as the trait has it.
    fn enqueue(&self, record: OutRecord, token: AckToken) -> Result<(), (SendError, OutRecord, AckToken)> {
        let mut state = self.shared.lock();
        let number = state.number();
        let refused =
            match state.topic(&record.topic).map(|t| t.offsets().len()) {
                Err(_) => Some(no_such_topic(&record.topic)),
                Ok(count) if !usize::try_from(record.partition).is_ok_and(|p| p < count) => {
                    Some(format!("topic {} has {count} partitions, there is no {}", record.topic, record.partition))
                }
                Ok(_) => state.options.max_record_bytes.filter(|limit| record.size() > *limit).map(|limit| {
                    format!("topic {}: a record of {} bytes is above {limit}", record.topic, record.size())
                }),
            };
        let (queue_bytes, deliver) = (state.options.queue_bytes, state.deliver);
        let scripted_full = state.queue_full_for > 0;
        let Some(queue) = state.queues.get_mut(&self.id) else { return Err((SendError::Fatal, record, token)) };
        if queue.fatal.is_some() {
            return Err((SendError::Fatal, record, token));
        }
        if let Some(why) = refused {
            queue.fatal = Some(why.clone());
            return Err((SendError::Refused(why), record, token));
        }
        // A record larger than the whole queue passes alone, or it would never.
        let full = queue_bytes.is_some_and(|limit| queue.bytes > 0 && queue.bytes + record.size() > limit);
        if full || scripted_full {
            state.queue_full_for = state.queue_full_for.saturating_sub(usize::from(scripted_full));
            return Err((SendError::QueueFull, record, token));
        }
        let due = match deliver {
            Deliver::After(delay) => Some(tokio::time::Instant::now() + delay),
            Deliver::Inline | Deliver::Held => None,
        };
        queue.bytes += record.size();
        queue.waiting.push_back(Waiting { number, due, record, token });
        Ok(())
    }
}

impl Producer for MemoryProducer {
    fn send(&self, record: OutRecord, token: AckToken) -> Result<(), (SendError, OutRecord, AckToken)> {
        self.enqueue(record, token)?;
        pump(&self.shared);
        Ok(())
    }

    /// Never waits, since there is no thread that could deliver meanwhile: what is merely delayed is delivered now, what is
    /// held or down stays.
    fn flush(&self, _timeout: Duration) -> bool {
        let mut settled = Settled::new();
        {
            let mut state = self.shared.lock();
            if state.deliver != Deliver::Held {
                while state.deliver_next_of(self.id, &mut settled) {}
            }
        }
        settle(settled);
        self.shared.grown.notify_waiters();
        self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.shared.lock().queues.get(&self.id).map_or(0, |q| q.waiting.len())
    }

    fn fatal(&self) -> Option<String> {
        self.shared.lock().queues.get(&self.id).and_then(|q| q.fatal.clone())
    }

    fn purge(&self) {
        let settled = self.shared.lock().give_up(self.id);
        settle(settled);
    }
}

impl Drop for MemoryProducer {
    fn drop(&mut self) {
        self.purge();
        self.shared.lock().queues.remove(&self.id);
    }
}

/// Settles or drops tokens. The lock must not be held: a sink may send again.
pub(super) fn settle(settled: Settled) {
    for (token, outcome) in settled {
        match outcome {
            Some(outcome) => token.settle(outcome),
            None => drop(token),
        }
    }
}

/// Delivers what may be delivered now, and sees to a task for what is delayed.
pub(super) fn pump(shared: &Arc<Shared>) {
    let mut settled = Settled::new();
    let mut delayed = Vec::new();
    {
        let mut state = shared.lock();
        if state.deliver == Deliver::Held {
            return;
        }
        let ids: Vec<u64> = state.queues.keys().copied().collect();
        for id in ids {
            while let Some(queue) = state.queues.get_mut(&id) {
                match queue.waiting.front().map(|w| w.due) {
                    Some(Some(due)) if due > tokio::time::Instant::now() => {
                        if !std::mem::replace(&mut queue.timer, true) {
                            delayed.push((id, due));
                        }
                        break;
                    }
                    Some(_) if state.deliver_next_of(id, &mut settled) => {}
                    _ => break,
                }
            }
        }
    }
    let delivered = !settled.is_empty();
    settle(settled);
    if delivered {
        shared.grown.notify_waiters();
    }
    for (id, due) in delayed {
        wake_at(shared.clone(), id, due);
    }
}

/// Pumps again when the oldest record of a producer is due.
fn wake_at(shared: Arc<Shared>, id: u64, due: tokio::time::Instant) {
    let Some(runtime) = shared.runtime() else { return };
    // Ends by itself within the delay; what it would deliver settles on flush, purge or drop as well.
    drop(runtime.spawn(async move {
        tokio::time::sleep_until(due).await;
        if let Some(queue) = shared.lock().queues.get_mut(&id) {
            queue.timer = false;
        }
        pump(&shared);
    }));
}
