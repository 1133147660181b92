//! Reads of the memory log: one task each, on the runtime that the log was made on.

use super::Shared;
use crate::log::{LogError, ReadBatch, Reader, Start};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Records and bytes of one batch; those of the Kafka engine.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way: one being applied, one ready.
const BATCHES_AHEAD: usize = 2;

struct Position {
    topic: Arc<str>,
    partition: usize,
    next: i64,
}

/// Ends the task with the reader.
struct Guard(tokio::task::AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) fn start(shared: Arc<Shared>, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
    let runtime = shared
        .runtime()
        .ok_or_else(|| LogError::Refused("the memory log is read on a tokio runtime: make it within one".into()))?;
    let positions = from.into_iter().map(|(topic, partition, start)| begin(&shared, topic, partition, start));
    let positions = positions.collect::<Result<Vec<_>, _>>()?;
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let task = runtime.spawn(run(shared, positions, sender));
    Ok(Reader { batches, guard: Box::new(Guard(task.abort_handle())) })
}

fn begin(shared: &Shared, topic: Arc<str>, partition: i32, start: Start) -> Result<Position, LogError> {
    let state = shared.lock();
    let found = state.topic(&topic)?;
    let offsets = found.offsets();
    let bounds = usize::try_from(partition).ok().and_then(|p| Some((p, *offsets.get(p)?)));
    let (partition, (first, next)) = bounds.ok_or_else(|| {
        LogError::Refused(format!("topic {topic} has {} partitions, there is no {partition}", offsets.len()))
    })?;
    let next = match start {
        Start::Beginning => first,
        Start::End => next,
        // An offset that is not there, deleted or never given, is out of range: from the beginning, as Kafka's reset does.
        Start::Offset(offset) if (first..=next).contains(&offset) => offset,
        Start::Offset(_) => first,
        Start::Timestamp(ms) => found.offset_at(partition, ms).unwrap_or(next),
    };
    Ok(Position { topic, partition, next })
}

async fn run(shared: Arc<Shared>, mut positions: Vec<Position>, sender: mpsc::Sender<ReadBatch>) {
    loop {
        // Registered before looking, or what is written between the look and the wait would not wake us.
        let grown = shared.grown.notified();
        tokio::pin!(grown);
        grown.as_mut().enable();
        let batch = next_batch(&shared, &mut positions);
        if batch.records.is_empty() {
            grown.await;
        } else if sender.send(batch).await.is_err() {
            return;
        }
    }
}

fn next_batch(shared: &Shared, positions: &mut [Position]) -> ReadBatch {
    let mut batch = ReadBatch::default();
    let state = shared.lock();
    if state.down {
        return batch;
    }
    // An even share for each partition, so that a long one does not starve the others.
    let share = (BATCH_RECORDS / positions.len().max(1)).max(1);
    // Another one first each time: large records of one partition would else fill every batch.
    positions.rotate_left(usize::from(!positions.is_empty()));
    let mut bytes = 0;
    for position in positions {
        let Ok(topic) = state.topic(&position.topic) else { continue };
        for record in topic.from(position.partition, position.next).iter().take(share) {
            if batch.records.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                return batch;
            }
            bytes += record.key.as_ref().map_or(0, |k| k.len()) + record.value.as_ref().map_or(0, |v| v.len());
            position.next = record.offset + 1;
            batch.records.push((**record).clone());
        }
    }
    batch
}
