//! Reads the objects' topics and says on `event-stream` what happened.
//!
//! At least once: its position moves only behind what its lane has acked, and the ids are the same whenever a happening is
//! derived again, so readers drop repeats by id.

use super::following::{Follow, Following};
use super::publisher::Publisher;
use super::pump::{self, Pump, Pumping};
use super::rt::{self, Context, Worker};
use crate::domain::envelope::{self, Table};
use crate::domain::lane::Lane;
use crate::domain::narrate;
use crate::domain::record::{InRecord, OutRecord};
use crate::log::{Log, ReadBatch, Reader, Start};
use crate::messages::life::Drained;
use crate::observe::board::Board;
use crate::observe::clock;
use actix::prelude::{
    ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Handler, ResponseActFuture, WrapFuture as _,
};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// The next offset to read, by topic and partition.
pub type Positions = BTreeMap<String, BTreeMap<i32, i64>>;

/// What outlives the actor.
pub struct Lent {
    /// The log.
    pub log: Arc<dyn Log>,
    /// What to read.
    pub following: Arc<Following>,
    /// Everything up to here is in the lane. Starts at the checkpoint.
    pub positions: Mutex<Positions>,
    /// Its lane into `event-stream`.
    pub lane: Arc<Lane<Arc<Positions>>>,
    /// Rung by the lane.
    pub bell: Arc<Notify>,
    /// `event-stream` with prefix, and its partitions.
    pub topic: (Arc<str>, i32),
    /// Name of the cluster.
    pub cluster: String,
    /// Our epoch.
    pub writer_epoch: u64,
    /// Batch bounds.
    pub batch: (usize, usize),
    /// The board.
    pub board: Arc<Board>,
}

/// The actor.
pub struct StreamProcessor {
    lent: Arc<Lent>,
    pump: Pump<Arc<Positions>>,
    reading: Option<Reading>,
    /// Reads begun in this life: what an earlier one still brings is not taken.
    reads: u64,
    /// Read and not yet told, because the lane is full. No more is pulled while it is long.
    backlog: VecDeque<InRecord>,
    /// Bytes of its keys and values.
    backlog_bytes: usize,
    /// Writer epochs by topic and partition: what a dead writer still wrote is not told.
    epochs: HashMap<(Arc<str>, i32), u64>,
    draining: bool,
}

rt::worker!(StreamProcessor);

/// A read under way: pulled batch by batch, since what is fed cannot be held back.
struct Reading {
    /// Keeps the engine's side of the read alive.
    _guard: Box<dyn Send + Sync>,
    /// `None` while a pull is under way.
    batches: Option<mpsc::Receiver<ReadBatch>>,
}

/// Records in the backlog above which no more are pulled: two batches.
const BACKLOG: usize = 1024;
/// The same in bytes: records may be of megabytes, and a thousand of them must not stand here while the lane is full.
const BACKLOG_BYTES: usize = 2 << 20;
const BATCHES_IN_FLIGHT: usize = 2;
/// Records told before others on this arbiter get a turn.
const RECORDS_A_TURN: usize = 512;
/// A log that cannot be read now is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl StreamProcessor {
    /// A processor at the beginning of its life.
    pub fn new(lent: Arc<Lent>, publisher: Addr<Publisher>) -> Self {
        let pump = Pump::new(lent.lane.clone(), lent.bell.clone(), publisher, lent.batch, BATCHES_IN_FLIGHT);
        Self {
            lent,
            pump,
            reading: None,
            reads: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            epochs: HashMap::new(),
            draining: false,
        }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        let from: Vec<_> = {
            let positions = self.lent.positions.lock().unwrap_or_else(PoisonError::into_inner);
            let known = |topic: &str, partition: i32| positions.get(topic)?.get(&partition).copied();
            let start = |topic: &Arc<str>, p: i32| known(topic, p).map_or(Start::Beginning, Start::Offset);
            let partitions = self.lent.following.partitions().into_iter();
            partitions
                .map(|(topic, p, _)| (start(&topic, p), topic, p))
                .map(|(from, topic, p)| (topic, p, from))
                .collect()
        };
        self.reads += 1;
        match self.lent.log.read(from) {
            Ok(Reader { batches, guard }) => {
                self.lent.board.degrade("stream", None);
                self.reading = Some(Reading { _guard: guard, batches: Some(batches) });
                self.pull(ctx);
            }
            Err(e) => {
                if self.lent.board.degrade("stream", Some(e.to_string())) {
                    tracing::warn!(error = %e, "the topics cannot be read; retrying");
                }
                ctx.run_later(RETRY, |this, ctx| this.read(ctx));
            }
        }
    }

    /// Takes the next batch, unless the backlog is long or a pull is under way.
    fn pull(&mut self, ctx: &mut Context<Self>) {
        if self.backlog.len() >= BACKLOG || self.backlog_bytes >= BACKLOG_BYTES {
            return;
        }
        let Some(mut batches) = self.reading.as_mut().and_then(|r| r.batches.take()) else { return };
        let read = self.reads;
        let pulled = async move { (batches.recv().await, batches) }.into_actor(self);
        ctx.spawn(pulled.map(move |(batch, batches), this, ctx| {
            let Some(reading) = this.reading.as_mut().filter(|_| this.reads == read) else { return };
            reading.batches = Some(batches);
            match batch {
                Some(batch) => {
                    this.backlog_bytes += batch.records.iter().map(size).sum::<usize>();
                    this.backlog.extend(batch.records);
                    ctx.vitals().one_more();
                    this.turn(ctx);
                }
                // The engine cannot go on and has said why; a new life reads again.
                None => ctx.stop(),
            }
        }));
    }

    /// Tells what the backlog means, as far as the lane has room.
    fn tell(&mut self) {
        let mut records = Vec::new();
        let mut reached: Vec<(Arc<str>, i32, i64)> = Vec::new();
        for _ in 0..RECORDS_A_TURN {
            if !self.lent.lane.has_room() {
                break;
            }
            let Some(record) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= size(&record);
            records.extend(self.tell_one(&record));
            reached.push((record.topic, record.partition, record.offset + 1));
        }
        if reached.is_empty() {
            return;
        }
        let mut positions = self.lent.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ahead = positions.clone();
        for (topic, partition, next) in reached {
            ahead.entry(topic.to_string()).or_default().insert(partition, next);
        }
        // One step for whoever comes after us.
        self.lent.lane.push(records, Some(Arc::new(ahead.clone())));
        *positions = ahead;
        drop(positions);
        if !self.backlog.is_empty() {
            self.lent.bell.notify_one();
        }
    }

    fn tell_one(&mut self, record: &InRecord) -> Vec<OutRecord> {
        let at = (record.topic.clone(), record.partition);
        let epoch = self.epochs.entry(at).or_default();
        match envelope::read_table(record) {
            Ok(Table::WriterMarker(marker)) => {
                *epoch = marker.max(*epoch);
                Vec::new()
            }
            Ok(Table::Change(change)) if record.writer_epoch().unwrap_or(0) >= *epoch => {
                let (topic, partitions) = &self.lent.topic;
                let (told, now) = (narrate::happenings(&change), clock::wall_ms());
                let record = |h| {
                    narrate::record(topic, *partitions, &self.lent.cluster, self.lent.writer_epoch, &change, h, now)
                };
                told.iter().map(record).collect()
            }
            // Foreign records are counted by the fold, which reads the same topics.
            _ => Vec::new(),
        }
    }
}

impl Pumping for StreamProcessor {
    type Point = Arc<Positions>;

    fn pump(&mut self) -> &mut Pump<Self::Point> {
        &mut self.pump
    }

    fn turn(&mut self, ctx: &mut Context<Self>) {
        if !self.draining {
            self.tell();
            self.pull(ctx);
        }
        pump::hand_over(self, ctx);
    }
}

/// There is more to read: from what is told, all of it anew.
impl Handler<Follow> for StreamProcessor {
    type Result = ();

    fn handle(&mut self, _: Follow, ctx: &mut Context<Self>) {
        // Without a read under way one is due already.
        if self.reading.take().is_some() && !self.draining {
            self.backlog.clear();
            self.backlog_bytes = 0;
            self.read(ctx);
        }
    }
}

fn size(record: &InRecord) -> usize {
    record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len)
}

impl Worker for StreamProcessor {
    fn started(&mut self, ctx: &mut Context<Self>) {
        pump::listen(self, ctx);
        self.read(ctx);
        self.turn(ctx);
    }

    fn drain(&mut self, deadline: Instant, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.draining = true;
        self.reading = None;
        pump::hand_over(self, ctx);
        Box::pin(pump::drained(self.lent.lane.clone(), deadline).into_actor(self))
    }
}
