//! Reads of the embedded log: one thread each, woken by appends.

use super::codec::Place;
use super::core::Core;
use crate::domain::record::InRecord;
use crate::log::{LogError, ReadBatch, Reader, Start};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use tokio::sync::mpsc;

/// Records and bytes of one batch; those of the Kafka engine.
const BATCH_RECORDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// Batches on their way: one being applied, one ready.
const BATCHES_AHEAD: usize = 2;

struct Position {
    place: Place,
    next: i64,
    /// Records that are older are passed over, up to the first that is not.
    not_before_ms: Option<i64>,
}

pub(super) fn start(core: Arc<Core>, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
    let positions = from.into_iter().map(|(topic, partition, start)| begin(&core, &topic, partition, start));
    let positions = positions.collect::<Result<Vec<_>, _>>()?;
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let stop = Arc::new(AtomicBool::new(false));
    let reading = Reading { core: core.clone(), positions, sender, stop: stop.clone() };
    let thread = std::thread::Builder::new()
        .name("log-reader".into())
        .spawn(move || reading.run())
        .map_err(|error| LogError::Refused(format!("no thread to read the log with: {error}")))?;
    Ok(Reader { batches, guard: Box::new(Guard { core, stop, thread: thread.thread().clone() }) })
}

/// Ends the thread with the reader.
struct Guard {
    core: Arc<Core>,
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        self.core.grown.ring();
    }
}

fn begin(core: &Core, topic: &str, partition: i32, start: Start) -> Result<Position, LogError> {
    let state = core.state();
    let place = state.place(topic, partition)?;
    let bounds = state.bounds(place).unwrap_or_default();
    let (next, not_before_ms) = match start {
        Start::Beginning => (bounds.first, None),
        Start::End => (bounds.next, None),
        // An offset that is not there, deleted or never given, is out of range: from the beginning, as Kafka's reset does.
        Start::Offset(offset) if (bounds.first..=bounds.next).contains(&offset) => (offset, None),
        Start::Offset(_) => (bounds.first, None),
        Start::Timestamp(ms) => {
            let near = state.offset_near(place, ms);
            // Where all are older the read starts at the end, whatever the time of what comes.
            (near, (near < bounds.next).then_some(ms))
        }
    };
    Ok(Position { place, next, not_before_ms })
}

struct Reading {
    core: Arc<Core>,
    positions: Vec<Position>,
    sender: mpsc::Sender<ReadBatch>,
    stop: Arc<AtomicBool>,
}

impl Reading {
    fn run(mut self) {
        while !self.unwanted() {
            // Counted before looking, or what is written between the look and the wait would not wake us.
            let seen = self.core.grown.count();
            let batch = match self.next_batch() {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(%error, "the log cannot be read any more; the reader ends");
                    return;
                }
            };
            if batch.records.is_empty() {
                if !self.unwanted() {
                    self.core.grown.wait_beyond(seen);
                }
                continue;
            }
            match wait_for(self.sender.reserve(), || self.unwanted()) {
                Some(Ok(room)) => room.send(batch),
                Some(Err(_)) | None => return,
            }
        }
    }

    fn unwanted(&self) -> bool {
        self.stop.load(Ordering::Acquire) || self.sender.is_closed() || self.core.is_closed()
    }

    fn next_batch(&mut self) -> Result<ReadBatch, LogError> {
        let mut batch = ReadBatch::default();
        // An even share for each partition, so that a long one does not starve the others.
        let share = (BATCH_RECORDS / self.positions.len().max(1)).max(1);
        // Another one first each time: large records of one partition would else fill every batch.
        let another = usize::from(!self.positions.is_empty());
        self.positions.rotate_left(another);
        let mut bytes = 0;
        for position in &mut self.positions {
            if batch.records.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                break;
            }
            let records = position.fetch(&self.core, share, BATCH_BYTES - bytes)?;
            bytes += records.iter().map(size).sum::<usize>();
            batch.records.extend(records);
        }
        Ok(batch)
    }
}

impl Position {
    fn fetch(&mut self, core: &Core, count: usize, bytes: usize) -> Result<Vec<InRecord>, LogError> {
        let bounds = core.state().bounds(self.place).unwrap_or_default();
        // What was removed meanwhile is passed over.
        self.next = self.next.max(bounds.first);
        if self.next >= bounds.next {
            return Ok(Vec::new());
        }
        let mut records = core.fetch(self.place, self.next, count, bytes)?;
        let Some(last) = records.last() else {
            // Compaction left nothing up to the end.
            self.next = bounds.next;
            return Ok(records);
        };
        self.next = last.offset + 1;
        if let Some(ms) = self.not_before_ms {
            let first = records.iter().position(|record| record.timestamp_ms >= ms);
            records.drain(..first.unwrap_or(records.len()));
            if first.is_some() {
                self.not_before_ms = None;
            } else {
                return self.fetch(core, count, bytes);
            }
        }
        Ok(records)
    }
}

fn size(record: &InRecord) -> usize {
    record.key.as_ref().map_or(0, |k| k.len()) + record.value.as_ref().map_or(0, |v| v.len())
}

/// Everything that stands in a topic now, partition by partition.
pub(super) fn read_all(core: &Core, topic: &str) -> Result<Vec<InRecord>, LogError> {
    let partitions: Vec<(Place, i64, i64)> = {
        let state = core.state();
        let found = state.topic(topic)?;
        (0..)
            .zip(found.offsets())
            .map(|(p, (first, next))| (Place { topic: found.id, partition: p }, first, next))
            .collect()
    };
    let mut all = Vec::new();
    for (place, mut at, end) in partitions {
        while at < end {
            let records = core.fetch(place, at, BATCH_RECORDS, BATCH_BYTES)?;
            let Some(last) = records.last() else { break };
            at = last.offset + 1;
            all.extend(records.into_iter().take_while(|record| record.offset < end));
        }
    }
    Ok(all)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `future` is ready, or until `give_up` says so; it is asked whenever this thread is unparked.
fn wait_for<F: Future>(future: F, give_up: impl Fn() -> bool) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if give_up() {
            return None;
        }
        std::thread::park();
    }
}
