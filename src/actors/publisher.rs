//! Writes what the lanes hand over into the log, in order, and checkpoints what came back acked.
//!
//! The producer outlives this actor ([`ProducerSlot`]): a publisher that dies must not purge the queue. What it had in
//! hand itself is dropped with it, which nacks it; the lanes send it again. A fatal producer is replaced when all that it
//! has under way is answered.

use super::checkpoints::Checkpoints;
use super::rt::{self, Context, Worker};
use crate::domain::ack::{AckToken, Outcome};
use crate::domain::record::OutRecord;
use crate::domain::replace::Deaths;
use crate::log::{Log, LogError, Producer, SendError};
use crate::messages::life::Drained;
use crate::messages::publish::PublishBatch;
use crate::observe::board::Board;
use crate::observe::clock;
use crate::observe::metrics::Metrics;
use actix::prelude::{ActorFutureExt as _, AsyncContext as _, Handler, ResponseActFuture, WrapFuture as _};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The producer in use. Owned by the wiring.
pub struct ProducerSlot {
    log: Arc<dyn Log>,
    current: Mutex<Option<Arc<dyn Producer>>>,
}

impl ProducerSlot {
    /// An empty slot: the first producer is built at first use.
    pub fn new(log: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self { log, current: Mutex::new(None) })
    }

    /// The producer, built if there is none.
    pub fn get(&self, metrics: &Metrics) -> Result<Arc<dyn Producer>, LogError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*current {
            return Ok(producer.clone());
        }
        metrics.producers.inc();
        let producer = self.log.producer()?;
        *current = Some(producer.clone());
        Ok(producer)
    }

    /// Gives up the producer: what it holds is settled as not delivered before this returns.
    pub fn discard(&self) {
        let producer = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(producer) = producer {
            producer.purge();
        }
    }

    /// Where the log is, for messages to people.
    pub fn location(&self) -> String {
        self.log.location()
    }

    /// The producer, if one was built.
    pub fn existing(&self) -> Option<Arc<dyn Producer>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the wiring lends.
#[derive(Clone)]
pub struct Lent {
    /// The producer.
    pub producer: Arc<ProducerSlot>,
    /// What is checkpointed.
    pub checkpoints: Arc<Checkpoints>,
    /// The board.
    pub board: Arc<Board>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The actor.
pub struct Publisher {
    lent: Lent,
    /// Taken and not yet accepted by the producer, whose queue is full. Bounded by the lanes' windows.
    waiting: VecDeque<(OutRecord, AckToken)>,
    /// A dead producer whose requests under way are not answered yet.
    dying: Option<Arc<dyn Producer>>,
    /// Producers that died in a row.
    deaths: Deaths,
    /// Acks of all lanes when they last moved, and when that was.
    progress: (u64, Instant),
    /// A retry is due already.
    will_retry: bool,
}

rt::worker!(Publisher);

/// A full queue empties within a few requests to the broker.
const QUEUE_RETRY: Duration = Duration::from_millis(5);
/// After a crash at most this much is read again from the API server, and dropped as known.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// How often the producer's health is looked at when nothing is sent.
const HEALTH_EVERY: Duration = Duration::from_millis(100);
/// Records under way without any ack for so long mean that the broker is away: a hundred times the usual.
const SILENCE: Duration = Duration::from_secs(5);

impl Publisher {
    /// A publisher with nothing in hand.
    pub fn new(lent: Lent) -> Self {
        Self {
            lent,
            waiting: VecDeque::new(),
            dying: None,
            deaths: Deaths::default(),
            progress: (0, Instant::now()),
            will_retry: false,
        }
    }

    /// Sends what waits, and looks again soon if some of it has to wait on.
    fn send_waiting(&mut self, ctx: &mut Context<Self>) {
        self.try_to_send();
        if !self.waiting.is_empty() && !self.will_retry {
            self.will_retry = true;
            ctx.run_later(QUEUE_RETRY, |this, ctx| {
                this.will_retry = false;
                this.send_waiting(ctx);
            });
        }
    }

    fn try_to_send(&mut self) {
        if self.waiting.is_empty() || !self.is_replaced() {
            return;
        }
        let producer = match self.lent.producer.get(&self.lent.metrics) {
            Ok(producer) => producer,
            Err(e) => {
                if self.lent.board.degrade("producer", Some(e.to_string())) {
                    tracing::warn!(error = %e, "no producer can be built; retrying");
                }
                return;
            }
        };
        while let Some((record, token)) = self.waiting.pop_front() {
            // The fence: the lane has moved on and sends this record again itself. Dropping the token settles it.
            if !token.is_current() && !mutants::no_fence() {
                continue;
            }
            match producer.send(record, token) {
                Ok(()) => {}
                Err((SendError::QueueFull, record, token)) => {
                    self.waiting.push_front((record, token));
                    break;
                }
                Err((error @ (SendError::Fatal | SendError::Refused(_)), record, token)) => {
                    token.settle(Outcome::Failed(format!("{error:?}")));
                    self.give_up_producer(&format!("{error:?} on {}", record.topic));
                    break;
                }
            }
        }
        self.lent.board.in_flight.store(producer.in_flight() as u64, Ordering::Relaxed);
    }

    /// A fatal producer never sends again. What waits here goes back to its lanes; the lanes fence off their generation and
    /// send again once all of it is settled.
    fn give_up_producer(&mut self, why: &str) {
        tracing::warn!(why, "the producer is dead; building a new one when its last requests are answered");
        self.lent.board.degrade("producer", Some(why.to_owned()));
        self.waiting.clear();
        self.dying = self.lent.producer.existing();
        self.deaths.note(Instant::now().into_std());
    }

    /// Whether there is a producer to send by. A dead one is replaced only when nothing of it is under way: else what it
    /// still has at the broker could land behind what the new one writes.
    fn is_replaced(&mut self) -> bool {
        let Some(dying) = &self.dying else { return true };
        // What waits keeps its tokens meanwhile: dropping them would only bring the lanes to send it again at once.
        if dying.in_flight() > 0 || !self.deaths.may_replace(Instant::now().into_std()) {
            return false;
        }
        self.lent.producer.discard();
        self.dying = None;
        true
    }

    fn look_after_producer(&mut self, ctx: &mut Context<Self>) {
        if let Some(producer) = self.lent.producer.existing() {
            self.lent.board.in_flight.store(producer.in_flight() as u64, Ordering::Relaxed);
            match producer.fatal() {
                Some(_) if self.dying.is_some() => self.send_waiting(ctx),
                Some(why) => self.give_up_producer(&why),
                // One that was built a moment ago may meet the same record again: no all-clear yet.
                None if self.deaths.is_well(Instant::now().into_std()) => {
                    self.lent.board.degrade("producer", None);
                }
                None => {}
            }
        }
    }

    /// A broker that is away is silent: what is under way stays so. Said once, and again when acks come back.
    fn look_after_log(&mut self) {
        let board = &self.lent.board;
        let acked = board.watchers().iter().map(|row| row.lane.usage().stats.acked).sum();
        if acked != self.progress.0 || board.in_flight.load(Ordering::Relaxed) == 0 {
            self.progress = (acked, Instant::now());
            if board.degrade("the log", None) {
                tracing::info!("the log acknowledges again");
            }
        } else if self.progress.1.elapsed() > SILENCE {
            let why = format!("{} has acknowledged nothing for more than {SILENCE:?}", self.lent.producer.location());
            if board.degrade("the log", Some(why.clone())) {
                tracing::warn!(why, "the log is away; nothing is lost, what is reported waits in the lanes");
            }
        }
    }

    fn checkpoint(&mut self, ctx: &mut Context<Self>) {
        let due = self.lent.checkpoints.due(clock::wall_ms());
        self.lent.metrics.checkpoints.inc_by(due.len() as u64);
        self.waiting.extend(due);
        self.send_waiting(ctx);
    }
}

impl Worker for Publisher {
    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(HEALTH_EVERY, |this, ctx| this.look_after_producer(ctx));
        ctx.run_interval(CHECKPOINT_EVERY, |this, ctx| {
            this.look_after_log();
            this.checkpoint(ctx);
        });
    }

    /// The watchers have drained by now: what is left are checkpoints.
    fn drain(&mut self, deadline: Instant, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.checkpoint(ctx);
        let producer = self.lent.producer.existing();
        let left = deadline.saturating_duration_since(Instant::now());
        // Flushing blocks a thread: not this one.
        #[allow(clippy::disallowed_methods)] // awaited right below
        let flushed = ctx
            .io()
            .spawn_blocking(move || producer.map_or(0, |p| if p.flush(left) { 0 } else { p.in_flight() as u64 }));
        Box::pin(flushed.into_actor(self).map(|left, _, _| Drained { left: left.unwrap_or(0) }))
    }
}

impl Handler<PublishBatch> for Publisher {
    type Result = ();

    fn handle(&mut self, batch: PublishBatch, ctx: &mut Context<Self>) {
        self.waiting.extend(batch.items.into_iter().map(mutants::on_receipt));
        self.send_waiting(ctx);
    }
}

/// Faults that the chaos suite must catch; without feature `testing` they are not there.
mod mutants {
    use crate::domain::ack::AckToken;
    use crate::domain::record::OutRecord;

    #[cfg(feature = "testing")]
    pub(super) fn no_fence() -> bool {
        crate::testing::is_on(crate::testing::Mutant::NoGenerationFence)
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn no_fence() -> bool {
        false
    }

    #[cfg(feature = "testing")]
    pub(super) fn on_receipt((record, token): (OutRecord, AckToken)) -> (OutRecord, AckToken) {
        (record, crate::testing::ack_on_enqueue(token))
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn on_receipt(item: (OutRecord, AckToken)) -> (OutRecord, AckToken) {
        item
    }
}
