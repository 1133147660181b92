//! A lane: the unacked window between one source and the log. It lives outside the actors and survives all of them.
//!
//! Records are pushed in order, handed out with ack tokens, and kept until their delivery report acks them. The first nack
//! (a failed or dropped token) bumps the lane's *generation*: sends of the old one are refused from then on, the lane waits
//! until every token it handed out is settled, and then hands out again from the oldest unacked record, in order.
//! The *watermark* is the newest point whose records are all acked; only that may be checkpointed.

use super::ack::{AckSink, AckToken, Outcome};
use super::record::OutRecord;
use bytes::Bytes;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bounds of a lane's window. A push is never refused: whoever pushes asks [`Lane::has_room`] first, so the window may be
/// exceeded by what one input (a chunk of a watch, a page of a list) amounts to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of records not yet acked.
    pub bytes: usize,
    /// Number of records not yet acked.
    pub records: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unsent,
    Sent,
    Acked,
}

#[derive(Debug)]
struct Entry {
    stage: Stage,
    size: usize,
    key: Bytes,
    /// It stands for a change, not for a tombstone, a marker or a repair.
    is_change: bool,
    /// Gone once acked: only the key is still needed.
    record: Option<OutRecord>,
}

#[derive(Debug)]
struct Core<P> {
    limits: Limits,
    generation: u64,
    /// Sequence number of `entries[0]`.
    base: u64,
    entries: VecDeque<Entry>,
    /// First entry not yet handed out in this generation.
    next: u64,
    bytes: usize,
    outstanding: usize,
    nacked: bool,
    /// Points with the sequence number behind their last record.
    points: VecDeque<(u64, P)>,
    watermark: Option<P>,
    stats: Stats,
}

/// Counts since the lane was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records pushed.
    pub pushed: u64,
    /// Records acked.
    pub acked: u64,
    /// Records not sent again because a later record of their key was acked already.
    pub superseded: u64,
    /// Generations ended by a nack.
    pub nacks: u64,
    /// The account of changes.
    pub account: Account,
}

impl Stats {
    /// Adds those of another lane.
    pub fn add(&mut self, other: &Self) {
        let Self { pushed, acked, superseded, nacks, account } = other;
        self.pushed += pushed;
        self.acked += acked;
        self.superseded += superseded;
        self.nacks += nacks;
        self.account.add(account);
    }
}

/// What became of the changes that were reported. At every moment `received + inferred = filtered + published + coalesced +
/// in flight`: reports enter it in the step in which their records enter the lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Changes that the API server reported.
    pub received: u64,
    /// Changes that nobody reported: deletes that were concluded, what left the scope, what was written again at a start.
    pub inferred: u64,
    /// Reports that changed nothing, by the reasons of [`FILTERED`].
    pub filtered: [u64; FILTERED.len()],
    /// Changes pushed.
    pub changes: u64,
    /// Changes acked.
    pub published: u64,
    /// Changes not sent again because a later one of their key was acked already.
    pub coalesced: u64,
}

impl Account {
    /// Changes pushed and neither acked nor given up.
    pub fn in_flight(&self) -> u64 {
        self.changes - self.published - self.coalesced
    }

    /// Adds another account, of another lane of the kind.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.inferred += other.inferred;
        self.filtered.iter_mut().zip(other.filtered).for_each(|(sum, n)| *sum += n);
        self.changes += other.changes;
        self.published += other.published;
        self.coalesced += other.coalesced;
    }
}

/// What one report amounts to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Changes reported.
    pub received: u64,
    /// Changes concluded from it.
    pub inferred: u64,
    /// Reports of it that change nothing, by the reasons of [`FILTERED`].
    pub filtered: [u64; FILTERED.len()],
}

impl Tally {
    /// Counts a report that changes nothing.
    pub fn filter(&mut self, reason: &str) {
        let place = FILTERED.iter().position(|known| *known == reason).unwrap_or(FILTERED.len() - 1);
        self.filtered[place] += 1;
    }
}

/// Why a report changes nothing; what is not named here is `other`.
pub const FILTERED: [&str; 7] = ["known", "replayed", "dead", "superseded", "events_deleted", "namespace", "other"];

/// How full a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Records not yet acked.
    pub records: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The configured bound in bytes.
    pub limit_bytes: usize,
    /// Current generation.
    pub generation: u64,
    /// Counts.
    pub stats: Stats,
}

impl<P> Core<P> {
    fn has_room(&self) -> bool {
        self.bytes < self.limits.bytes && self.entries.len() < self.limits.records
    }

    fn is_half_empty(&self) -> bool {
        self.bytes * 2 <= self.limits.bytes && self.entries.len() * 2 <= self.limits.records
    }

    /// Drops what is acked from the front and moves the watermark. Gives whether the window shrank.
    fn advance(&mut self) -> bool {
        let mut shrank = false;
        while self.entries.front().is_some_and(|e| e.stage == Stage::Acked) {
            self.entries.pop_front();
            self.base += 1;
            shrank = true;
        }
        self.next = self.next.max(self.base);
        while self.points.front().is_some_and(|(behind, _)| *behind <= self.base) {
            self.watermark = self.points.pop_front().map(|(_, point)| point);
        }
        shrank
    }

    /// The next record to hand out: behind a nack, those acked meanwhile stand between the ones to send again.
    fn next_unsent(&mut self) -> u64 {
        let settled = self.entries.range((self.next - self.base) as usize..);
        self.next += settled.take_while(|e| e.stage != Stage::Unsent).count() as u64;
        self.next
    }

    /// All tokens are back after a nack: everything unacked is to be sent again, from the oldest on.
    fn rewind(&mut self) {
        self.nacked = false;
        // A record whose key has a later acked one is never sent again: it would stand behind its successor for ever.
        let mut acked_later: HashSet<Bytes> = HashSet::new();
        for entry in self.entries.iter_mut().rev() {
            match entry.stage {
                Stage::Acked => {
                    acked_later.insert(entry.key.clone());
                }
                _ if acked_later.contains(&entry.key) => {
                    entry.stage = Stage::Acked;
                    entry.record = None;
                    self.bytes -= entry.size;
                    self.stats.superseded += 1;
                    self.stats.account.coalesced += u64::from(entry.is_change);
                }
                _ => entry.stage = Stage::Unsent,
            }
        }
        self.next = self.base;
        self.advance();
    }

    fn settle(&mut self, seq: u64, generation: u64, outcome: &Outcome) {
        self.outstanding -= 1;
        let index = seq.checked_sub(self.base).and_then(|i| usize::try_from(i).ok());
        let entry = index.and_then(|i| self.entries.get_mut(i));
        match outcome {
            Outcome::Acked { .. } => {
                if let Some(entry) = entry.filter(|e| e.stage != Stage::Acked) {
                    entry.stage = Stage::Acked;
                    entry.record = None;
                    self.bytes -= entry.size;
                    self.stats.acked += 1;
                    self.stats.account.published += u64::from(entry.is_change);
                }
            }
            Outcome::Failed(_) | Outcome::Dropped => {
                if generation == self.generation {
                    self.generation += 1;
                    self.stats.nacks += 1;
                }
                self.nacked = true;
            }
        }
        self.advance();
        if self.nacked && self.outstanding == 0 {
            self.rewind();
        }
    }
}

/// The shared lane. `P` is what the watermark is made of: a resourceVersion for watchers, positions for stream processors.
pub struct Lane<P> {
    core: Mutex<Core<P>>,
    generation: AtomicU64,
    /// Called when there is room again, when the window is half empty, when it is drained, and when there is something to
    /// send again. From the delivery thread: must be quick.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<P: Clone + Send + 'static> Lane<P> {
    /// An empty lane. `wake` is called whenever its user should look again.
    pub fn new(limits: Limits, wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let core = Core {
            limits,
            generation: 0,
            base: 0,
            entries: VecDeque::new(),
            next: 0,
            bytes: 0,
            outstanding: 0,
            nacked: false,
            points: VecDeque::new(),
            watermark: None,
            stats: Stats::default(),
        };
        Arc::new(Self { core: Mutex::new(core), generation: AtomicU64::new(0), wake: Box::new(wake) })
    }

    fn lock(&self) -> MutexGuard<'_, Core<P>> {
        // Every mutation under this lock is infallible, so a poisoned lane is still consistent.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends records, and then the point that is reached when all pushed so far are acked. One step: a reader of the
    /// watermark never sees half of it. None of the records is a change: see [`Lane::push_report`].
    pub fn push(&self, records: impl IntoIterator<Item = OutRecord>, point: Option<P>) {
        // Before the lock: whatever makes the records may panic, and must not leave half of them here.
        let records = records.into_iter().map(|record| (record, false)).collect();
        self.append(records, point, Tally::default());
    }

    /// The same for what a report amounts to: `is_change` says which of its records stand for a change.
    pub fn push_report(
        &self,
        records: Vec<OutRecord>,
        point: Option<P>,
        tally: Tally,
        is_change: impl Fn(&OutRecord) -> bool,
    ) {
        let change = |record| (is_change(&record), record);
        let records = records.into_iter().map(change).map(|(is_change, record)| (record, is_change)).collect();
        self.append(records, point, tally);
    }

    fn append(&self, records: Vec<(OutRecord, bool)>, point: Option<P>, tally: Tally) {
        let mut core = self.lock();
        let account = &mut core.stats.account;
        account.received += tally.received;
        account.inferred += tally.inferred;
        account.filtered.iter_mut().zip(tally.filtered).for_each(|(sum, n)| *sum += n);
        for (record, is_change) in records {
            let (size, key) = (record.size(), record.key.clone());
            core.bytes += size;
            core.stats.pushed += 1;
            core.stats.account.changes += u64::from(is_change);
            core.entries.push_back(Entry { stage: Stage::Unsent, size, key, is_change, record: Some(record) });
        }
        if let Some(point) = point {
            let behind = core.base + core.entries.len() as u64;
            // Points between which nothing was pushed are one point: the newest.
            if core.points.back().is_some_and(|(b, _)| *b == behind) {
                core.points.pop_back();
            }
            core.points.push_back((behind, point));
            core.advance();
        }
    }

    /// Gives it other bounds. What is in the window stays there.
    pub fn set_limits(&self, limits: Limits) {
        let got_room = {
            let mut core = self.lock();
            let had_room = core.has_room();
            core.limits = limits;
            !had_room && core.has_room()
        };
        if got_room {
            (self.wake)();
        }
    }

    /// Whether more may be pushed.
    pub fn has_room(&self) -> bool {
        self.lock().has_room()
    }

    /// Whether the window is at most half full: where a source that was cut off may come back.
    pub fn is_half_empty(&self) -> bool {
        self.lock().is_half_empty()
    }

    /// Hands out the next records, in order, at most that many and (beyond the first) that many bytes. Nothing while a
    /// nack is being settled. The records stay in the window until their tokens are acked.
    pub fn take(self: &Arc<Self>, max_records: usize, max_bytes: usize) -> Vec<(OutRecord, AckToken)> {
        let mut batch = Vec::new();
        let mut core = self.lock();
        if core.nacked {
            return batch;
        }
        let mut bytes = 0;
        while batch.len() < max_records {
            let (seq, generation) = (core.next_unsent(), core.generation);
            let index = (seq - core.base) as usize;
            let Some(entry) = core.entries.get_mut(index) else { break };
            bytes += entry.size;
            if bytes > max_bytes && !batch.is_empty() {
                break;
            }
            let Some(record) = entry.record.clone() else { break };
            entry.stage = Stage::Sent;
            core.next += 1;
            core.outstanding += 1;
            batch.push((record, AckToken::new(self.clone(), seq, generation)));
        }
        batch
    }

    /// Whether [`Lane::take`] would give something.
    pub fn has_unsent(&self) -> bool {
        let mut core = self.lock();
        !core.nacked && core.next_unsent() < core.base + core.entries.len() as u64
    }

    /// Whether every record pushed is acked.
    pub fn is_drained(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// The newest point behind which nothing is unacked.
    pub fn watermark(&self) -> Option<P> {
        self.lock().watermark.clone()
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let core = self.lock();
        Usage {
            records: core.entries.iter().filter(|e| e.stage != Stage::Acked).count(),
            bytes: core.bytes,
            limit_bytes: core.limits.bytes,
            generation: core.generation,
            stats: core.stats,
        }
    }
}

impl<P: Clone + Send + 'static> AckSink for Lane<P> {
    fn settle(&self, seq: u64, generation: u64, outcome: Outcome) {
        let wake = {
            let mut core = self.lock();
            let (had_room, was_half_empty) = (core.has_room(), core.is_half_empty());
            let was_nacked = core.nacked;
            core.settle(seq, generation, &outcome);
            self.generation.store(core.generation, Ordering::Release);
            let room = (!had_room && core.has_room()) || (!was_half_empty && core.is_half_empty());
            let resend = core.next < core.base + core.entries.len() as u64
                && !core.nacked
                && (was_nacked || !matches!(outcome, Outcome::Acked { .. }));
            room || resend || core.entries.is_empty()
        };
        if wake {
            (self.wake)();
        }
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }
}

#[cfg(test)]
mod tests;
