//! The producers of the embedded log, and the queue between them and the writer.
//!
//! ```text
//! send ──▶ tokens (number → token), inbox ──▶ writer: all that waits is one group ──▶ journal, fsync
//!               ▲                                                │
//!               └──────────────── settle(number) ◀───────────────┘
//! ```
//! The inbox carries only a number for each record. So a purge settles every token whatever the disk does, and a writer that
//! dies leaks none.

use super::codec::Place;
use super::core::{Core, lock};
use crate::domain::ack::{AckToken, Outcome};
use crate::domain::record::OutRecord;
use crate::log::{Producer, SendError};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A record that waits for the writer.
pub(super) struct Item {
    pub from: Arc<Tokens>,
    pub number: u64,
    pub place: Place,
    /// `max.message.bytes` of the topic.
    pub limit: usize,
    pub record: OutRecord,
}

/// What all producers have handed over and the writer has not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// A test wants everything to stay where it is.
    held: bool,
    closed: bool,
}

/// What the writer finds.
pub(super) enum Work {
    Items(Vec<Item>),
    /// Nothing came for so long as it was willing to wait.
    Quiet,
    /// Nothing is left, and nothing more will come.
    Closed,
}

impl Inbox {
    /// False once the log is closed.
    fn put(&self, item: Item) -> bool {
        let mut waiting = lock(&self.waiting);
        if !waiting.closed {
            waiting.items.push_back(item);
            self.changed.notify_one();
        }
        !waiting.closed
    }

    /// Waits for items; gives about `bytes` of them, at least one.
    pub fn take(&self, bytes: usize, patience: Option<Duration>) -> Work {
        let nothing = |waiting: &mut Waiting| !waiting.closed && (waiting.held || waiting.items.is_empty());
        let waiting = lock(&self.waiting);
        let mut waiting = match patience {
            Some(most) => {
                self.changed.wait_timeout_while(waiting, most, nothing).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(waiting, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        if nothing(&mut waiting) {
            return Work::Quiet;
        }
        let mut size = 0;
        let mut items = Vec::new();
        while size < bytes
            && let Some(item) = waiting.items.pop_front()
        {
            size += item.record.size();
            items.push(item);
        }
        if items.is_empty() { Work::Closed } else { Work::Items(items) }
    }

    pub fn hold(&self, held: bool) {
        lock(&self.waiting).held = held;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_all();
    }

    /// Everything that waits, to be given up.
    pub fn drain(&self) -> VecDeque<Item> {
        std::mem::take(&mut lock(&self.waiting).items)
    }
}

/// The tokens of one producer that are out, by number, and what is known of its life.
#[derive(Default)]
pub(super) struct Tokens {
    waiting: Mutex<BTreeMap<u64, AckToken>>,
    bytes: AtomicUsize,
    /// Goes down after the settling, not before: who sees zero may rely on it.
    unsettled: AtomicUsize,
    all_settled: Condvar,
    none: Mutex<()>,
    /// Why nothing more is taken.
    dead: OnceLock<String>,
    /// What waits in the inbox is not to be written any more.
    given_up: AtomicBool,
}

impl Tokens {
    /// The first reason stays.
    pub fn die(&self, why: &str) {
        drop(self.dead.set(why.to_owned()));
    }

    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    pub fn settle(&self, number: u64, size: usize, outcome: Outcome) {
        self.bytes.fetch_sub(size, Ordering::AcqRel);
        if let Some(token) = lock(&self.waiting).remove(&number) {
            told(|| token.settle(outcome));
            self.settled(1);
        }
    }

    /// One record can never be written: nothing behind it may be. The reason is known before the token tells.
    pub fn fail(&self, number: u64, size: usize, why: String) {
        self.break_off(&why);
        self.settle(number, size, Outcome::Failed(why));
        self.drop_the_rest();
    }

    /// Dies of something that is not a record's fault.
    pub fn break_off(&self, why: &str) {
        self.die(why);
        self.given_up.store(true, Ordering::Release);
    }

    pub fn drop_the_rest(&self) {
        let rest = std::mem::take(&mut *lock(&self.waiting));
        let count = rest.len();
        for token in rest.into_values() {
            told(|| drop(token));
        }
        self.settled(count);
    }

    /// An item left the inbox without being written.
    pub fn let_go(&self, size: usize) {
        self.bytes.fetch_sub(size, Ordering::AcqRel);
    }

    fn settled(&self, count: usize) {
        if count > 0 && self.unsettled.fetch_sub(count, Ordering::AcqRel) == count {
            let _none = lock(&self.none);
            self.all_settled.notify_all();
        }
    }
}

/// A panic here would end the writer, and with it all appends.
fn told(tell: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(tell)).is_err() {
        tracing::error!("a receiver of delivery reports panicked; its lane will not move on");
    }
}

pub(super) struct EmbeddedProducer {
    core: Arc<Core>,
    tokens: Arc<Tokens>,
    /// Held over each hand-over: numbers and the inbox have one order, and a refused record nothing behind it.
    sending: Mutex<u64>,
}

impl EmbeddedProducer {
    pub fn open(core: Arc<Core>) -> Self {
        Self { core, tokens: Arc::default(), sending: Mutex::new(0) }
    }

    /// Where the record goes and what its topic allows, or why it goes nowhere.
    fn target(&self, record: &OutRecord) -> Result<(Place, usize), String> {
        let limit = self.core.config.max_record_bytes;
        if record.size() > limit {
            let (topic, size) = (&record.topic, record.size());
            return Err(format!(
                "topic {topic}: a record of {size} bytes is above publisher.max_record_bytes ({limit})"
            ));
        }
        let state = self.core.state();
        let place = state.place(&record.topic, record.partition).map_err(|error| error.to_string())?;
        let limit = state.topic(&record.topic).map_or(usize::MAX, |topic| topic.policy.max_message_bytes);
        Ok((place, limit))
    }
}

impl Producer for EmbeddedProducer {
    fn send(&self, record: OutRecord, token: AckToken) -> Result<(), (SendError, OutRecord, AckToken)> {
        let mut last = lock(&self.sending);
        let tokens = &self.tokens;
        if tokens.dead.get().is_some() {
            return Err((SendError::Fatal, record, token));
        }
        let (place, limit) = match self.target(&record) {
            Ok(target) => target,
            Err(why) => {
                tokens.die(&why);
                return Err((SendError::Refused(why), record, token));
            }
        };
        // A record larger than the whole queue passes alone, or it would never.
        let (held, size) = (tokens.bytes.load(Ordering::Acquire), record.size());
        if held > 0 && held + size > self.core.config.queue_bytes {
            return Err((SendError::QueueFull, record, token));
        }
        *last += 1;
        let number = *last;
        tokens.unsettled.fetch_add(1, Ordering::AcqRel);
        tokens.bytes.fetch_add(size, Ordering::AcqRel);
        lock(&tokens.waiting).insert(number, token);
        if !self.core.inbox.put(Item { from: tokens.clone(), number, place, limit, record }) {
            tokens.break_off(CLOSED);
            tokens.drop_the_rest();
        }
        Ok(())
    }

    fn flush(&self, timeout: Duration) -> bool {
        let none = lock(&self.tokens.none);
        let unsettled = |_: &mut ()| self.tokens.unsettled.load(Ordering::Acquire) > 0;
        drop(self.tokens.all_settled.wait_timeout_while(none, timeout, unsettled));
        self.in_flight() == 0
    }

    fn in_flight(&self) -> usize {
        self.tokens.unsettled.load(Ordering::Acquire)
    }

    fn fatal(&self) -> Option<String> {
        self.tokens.dead.get().cloned()
    }

    fn purge(&self) {
        {
            let _nobody_sends = lock(&self.sending);
            self.tokens.break_off("purged: make a new producer");
        }
        self.tokens.drop_the_rest();
    }
}

impl Drop for EmbeddedProducer {
    fn drop(&mut self) {
        self.tokens.break_off("dropped");
        self.tokens.drop_the_rest();
    }
}

/// Why a producer that outlives its log takes nothing.
pub(super) const CLOSED: &str = "the log was closed";
