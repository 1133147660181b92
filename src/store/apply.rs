//! Applying records: the one writer.
//!
//! Whoever applies may die between any two steps; the next one applies the same record again. So everything that can fail
//! comes first, every step after it may be repeated, the position moves last, and the change that is being announced is
//! kept in hand until then: repeated, it is announced once, and as what it was.

use super::changes::{Entry, Operation};
use super::facts;
use super::row::{Packed, Row};
use super::table::{Progress, Table};
use super::{Store, Tables, lock};
use crate::domain::envelope::{Envelope, Observed};
use crate::domain::fold::{self, Death, ForeignReason, Judged, Scope, Step, Version};
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::record::InRecord;
use crate::domain::rv::Rv;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What applying a batch amounted to. For counters and for acting at once; nothing is lost with it, since all of it can be
/// asked of the store again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Records that made a row.
    pub live: usize,
    /// Records that took a row away: deletes, and tombstones that had to.
    pub removed: usize,
    /// Records of an older writer behind a newer one's marker.
    pub void: usize,
    /// Records that are older than what their key stands for.
    pub stale: usize,
    /// Records that are not ours; by reason in [`super::Stats`].
    pub foreign: usize,
    /// Records at or below the position of their partition: applied before.
    pub repeated: usize,
    /// Keys whose last record in the log is not what readers hold: to be published again by the writer. Where no row is
    /// held, only a list of the API server can say whether that means the object or a tombstone.
    pub shadowed: Vec<(Kind, Name)>,
    /// The same behind a stale record. Its producer is most likely sending all of it again, and what is newer comes next:
    /// look again in a while, by [`Store::is_shadowed`].
    pub overtaken: Vec<(Kind, Name)>,
    /// Writer markers: topic, partition, epoch.
    pub markers: Vec<(Arc<str>, i32, u64)>,
    /// A writer epoch above our own: another process writes, ours must stop.
    pub superseded: Option<u64>,
}

/// What the writer keeps between records.
#[derive(Default)]
pub(super) struct Writer {
    in_hand: Option<InHand>,
    /// Dies at the given step, for tests: steps are counted down.
    #[cfg(test)]
    pub(super) trip: Option<usize>,
}

/// The record being applied, and what is announced of it.
struct InHand {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    entry: Option<Entry>,
}

impl Writer {
    /// The change to announce: the one in hand where this record was begun before, else the one given, taken in hand.
    fn take_in_hand(&mut self, record: &InRecord, entry: Option<Entry>) -> Option<Entry> {
        let begun = self
            .in_hand
            .as_ref()
            .filter(|h| h.topic == record.topic && (h.partition, h.offset) == (record.partition, record.offset));
        if let Some(begun) = begun {
            return begun.entry.clone();
        }
        let (topic, partition, offset) = (record.topic.clone(), record.partition, record.offset);
        self.in_hand = Some(InHand { topic, partition, offset, entry: entry.clone() });
        entry
    }

    #[cfg(test)]
    fn step(&mut self) {
        if let Some(left) = &mut self.trip {
            if *left == 0 {
                // A panic like any other, but without a message from the hook that all tests share.
                std::panic::resume_unwind(Box::new("tripped on purpose"));
            }
            *left -= 1;
        }
    }

    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self)]
    fn step(&mut self) {}
}

impl Store {
    /// Applies records in their order. Records at or below their partition's position are skipped, so a caller that died
    /// reads again from [`Store::positions`] and loses and repeats nothing.
    pub fn apply(&self, records: &[InRecord]) -> Applied {
        let mut writer = lock(&self.writer);
        let mut applied = Applied::default();
        let tables = self.tables();
        for record in records {
            self.apply_one(&tables, &mut writer, record, &mut applied);
        }
        drop(writer);
        self.changes.wake();
        let mut counters = lock(&self.counters);
        counters.applied += (records.len() - applied.repeated) as u64;
        counters.repeated += applied.repeated as u64;
        counters.void += applied.void as u64;
        applied
    }

    fn apply_one(&self, tables: &Tables, writer: &mut Writer, record: &InRecord, applied: &mut Applied) {
        let Some(table) = tables.by_topic.get(&record.topic) else {
            self.count_foreign(ForeignReason::Topic, applied);
            return;
        };
        let progress = table.progress(record.partition);
        if record.offset < progress.next {
            applied.repeated += 1;
            return;
        }
        let scope = Scope { cluster: &self.cluster, kind_id: &table.kind_id };
        let stream = Self::is_stream(&table.kind);
        // Streams have no epochs to honour: a zombie's Event is still an Event.
        let Judged { at, step, epoch } = fold::judge(scope, if stream { 0 } else { progress.epoch }, record);
        let at = at.map(|at| table.name(at.namespace.unwrap_or_default(), at.name));
        writer.step();
        if let Some(at) = at.as_ref().filter(|at| !stream && Self::is_stale(table, at, &step, epoch)) {
            lock(&table.ledger).shadow((**at).clone(), record.timestamp_ms);
            applied.stale += 1;
            applied.overtaken.push((table.kind.clone(), (**at).clone()));
            self.applied(table, record, epoch.max(progress.epoch), applied);
            return;
        }
        match (at, step) {
            (_, Step::Marker) => applied.markers.push((record.topic.clone(), record.partition, epoch)),
            (Some(at), Step::Live(envelope)) => self.live(writer, table, record, &at, &envelope, applied),
            (Some(at), Step::Deleted(death, envelope)) if !stream => {
                self.deleted(writer, table, record, &at, death, &envelope, applied);
            }
            (Some(at), Step::Tombstone { uid, rv, history_epoch }) if !stream => {
                // The row is gone since its delete, unless compaction took that.
                let old = table.row(&at);
                self.remove(writer, table, record, old.as_ref(), None, applied);
                lock(&table.ledger).tombstone(&at, uid, rv, (history_epoch, epoch));
            }
            (Some(at), Step::Void) => {
                applied.void += 1;
                Self::shadow(table, &at, record, applied);
            }
            (at, Step::Foreign(reason)) => {
                self.count_foreign(reason, applied);
                // Where a row is held, the last offset of its key is no longer what readers hold.
                if let Some(at) = at.filter(|at| !stream && table.row(at).is_some()) {
                    Self::shadow(table, &at, record, applied);
                }
            }
            _ => {}
        }
        writer.step();
        self.applied(table, record, epoch.max(progress.epoch), applied);
        writer.in_hand = None;
    }

    /// The last step: the position moves behind the record.
    fn applied(&self, table: &Table, record: &InRecord, epoch: u64, applied: &mut Applied) {
        lock(&table.progress).insert(record.partition, Progress { next: record.offset + 1, epoch });
        self.check_epoch(epoch, applied);
    }

    fn is_stale(table: &Table, at: &Name, step: &Step<'_>, writer_epoch: u64) -> bool {
        let row = table.row(at);
        let held = row.as_ref().map(|row| Version {
            writer_epoch: row.writer_epoch,
            history_epoch: row.history_epoch,
            rv: &row.rv,
        });
        lock(&table.ledger).is_stale(held, step, writer_epoch)
    }

    fn check_epoch(&self, epoch: u64, applied: &mut Applied) {
        let own = self.own_epoch.load(Ordering::Acquire);
        if own > 0 && epoch > own {
            self.superseded.fetch_max(epoch, Ordering::AcqRel);
            applied.superseded = applied.superseded.max(Some(epoch));
        }
    }

    fn shadow(table: &Table, at: &Name, record: &InRecord, applied: &mut Applied) {
        lock(&table.ledger).shadow(at.clone(), record.timestamp_ms);
        applied.shadowed.push((table.kind.clone(), at.clone()));
    }

    fn count_foreign(&self, reason: ForeignReason, applied: &mut Applied) {
        applied.foreign += 1;
        *lock(&self.counters).foreign.entry(reason).or_default() += 1;
    }

    fn live(
        &self,
        writer: &mut Writer,
        table: &Table,
        record: &InRecord,
        at: &Arc<Name>,
        envelope: &Envelope<'_>,
        applied: &mut Applied,
    ) {
        let json = envelope.after.map_or("null", |after| after.get());
        let source = &envelope.source;
        let old = table.row(at);
        let mut row = Row {
            at: at.clone(),
            uid: match &old {
                Some(old) if *old.uid == *source.uid => old.uid.clone(),
                _ => source.uid.as_str().into(),
            },
            rv: Rv::new(&source.rv),
            history_epoch: source.history_epoch,
            writer_epoch: record.writer_epoch().unwrap_or_default(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            version: self.changes.latest() + 1,
            facts: table.facts(&facts::read(json), old.as_deref()),
            packed: Packed::pack(json.as_bytes()),
            stub: source.stub.clone().map(Box::new),
        };
        // A record written twice (after a failure of its producer, or again because its key was shadowed) is no change.
        let unchanged = old.as_ref().filter(|old| {
            (&old.uid, &old.rv, old.history_epoch, &old.packed, &old.stub)
                == (&row.uid, &row.rv, row.history_epoch, &row.packed, &row.stub)
        });
        if let Some(old) = unchanged {
            row.version = old.version;
        }
        let (unchanged, row) = (unchanged.is_some(), Arc::new(row));
        let entry = (!unchanged).then(|| Entry {
            version: row.version,
            operation: if old.is_some() { Operation::Modified } else { Operation::Added },
            kind: table.kind.clone(),
            row: row.clone(),
            was: old.as_ref().map(|old| &old.facts).filter(|was| !Arc::ptr_eq(was, &row.facts)).cloned(),
        });
        let entry = writer.take_in_hand(record, entry);
        writer.step();
        {
            let mut index = table.index_mut();
            table.put(&mut index, &row, old.as_ref());
            writer.step();
            if Self::is_stream(&table.kind) {
                if entry.is_some() {
                    index.arrivals.push_back((row.timestamp_ms, row.version, at.clone()));
                }
                self.cap_stream(table, &mut index);
            }
            entry.into_iter().for_each(|entry| self.changes.push(entry));
        }
        writer.step();
        if !Self::is_stream(&table.kind) {
            lock(&table.ledger).live(at, &source.uid);
        }
        applied.live += 1;
    }

    #[allow(clippy::too_many_arguments)]
    fn deleted(
        &self,
        writer: &mut Writer,
        table: &Table,
        record: &InRecord,
        at: &Arc<Name>,
        death: Death,
        envelope: &Envelope<'_>,
        applied: &mut Applied,
    ) {
        let old = table.row(at);
        // What a watch reports is the state at the deletion; what is inferred is at most what we hold.
        let last = envelope.before.filter(|_| envelope.source.observed == Observed::Watch);
        let last = old.as_ref().and_then(|old| last.map(|last| (old, last.get()))).map(|(old, json)| {
            Arc::new(Row {
                at: at.clone(),
                uid: old.uid.clone(),
                rv: Rv::new(&envelope.source.rv),
                history_epoch: envelope.source.history_epoch,
                writer_epoch: record.writer_epoch().unwrap_or_default(),
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                version: self.changes.latest() + 1,
                facts: table.facts(&facts::read(json), Some(old)),
                packed: Packed::pack(json.as_bytes()),
                stub: envelope.source.stub.clone().map(Box::new),
            })
        });
        self.remove(writer, table, record, old.as_ref(), last, applied);
        lock(&table.ledger).deleted(at, death);
    }

    /// Takes a row away and announces it, with `last` as its last known state or else the row itself.
    fn remove(
        &self,
        writer: &mut Writer,
        table: &Table,
        record: &InRecord,
        old: Option<&Arc<Row>>,
        last: Option<Arc<Row>>,
        applied: &mut Applied,
    ) {
        let entry = old.map(|old| {
            let row = last.unwrap_or_else(|| old.clone());
            let was = Some(&old.facts).filter(|was| !Arc::ptr_eq(was, &row.facts)).cloned();
            let (version, kind) = (self.changes.latest() + 1, table.kind.clone());
            Entry { version, operation: Operation::Deleted, kind, row, was }
        });
        let entry = writer.take_in_hand(record, entry);
        writer.step();
        {
            let mut index = table.index_mut();
            if let Some(old) = old {
                table.remove(&mut index, old);
            }
            writer.step();
            if let Some(entry) = entry {
                self.changes.push(entry);
                applied.removed += 1;
            }
        }
        writer.step();
    }

    /// Drops Kubernetes Events that are older than their time to live; gives how many. They only age: nobody is told.
    pub fn expire_events(&self, now_ms: i64) -> usize {
        // The writer's lock: rows have one writer.
        let _writer = lock(&self.writer);
        let oldest = now_ms.saturating_sub(i64::try_from(self.events_ttl.as_millis()).unwrap_or(i64::MAX));
        let mut dropped = 0;
        for table in self.tables().all.iter().filter(|t| Self::is_stream(&t.kind)) {
            let mut index = table.index_mut();
            while index.arrivals.front().is_some_and(|(at, ..)| *at < oldest) {
                dropped += usize::from(Self::drop_oldest(table, &mut index));
            }
        }
        lock(&self.counters).events_expired += dropped as u64;
        dropped
    }

    /// Of a stream: no more rows than it may have.
    pub(super) fn cap_stream_of(&self, table: &Table) {
        if Self::is_stream(&table.kind) {
            self.cap_stream(table, &mut table.index_mut());
        }
    }

    fn cap_stream(&self, table: &Table, index: &mut super::table::Index) {
        let mut dropped = 0;
        while index.names.len() > self.events_max.max(1) && !index.arrivals.is_empty() {
            dropped += u64::from(Self::drop_oldest(table, index));
        }
        // An Event that is counted up arrives again and again: its earlier arrivals are stale.
        if index.arrivals.len() > 2 * index.names.len() + 64 {
            let (names, mut arrivals) = (&index.names, std::mem::take(&mut index.arrivals));
            arrivals.retain(|(_, version, at)| names.get(at).is_some_and(|row| row.version == *version));
            index.arrivals = arrivals;
        }
        if dropped > 0 {
            lock(&self.counters).events_capped += dropped;
        }
    }

    /// Drops the oldest arrival; gives whether that was a row and not a stale entry.
    fn drop_oldest(table: &Table, index: &mut super::table::Index) -> bool {
        let Some((_, version, at)) = index.arrivals.pop_front() else { return false };
        let row = index.names.get(&at).filter(|row| row.version == version).cloned();
        row.inspect(|row| table.remove(index, row)).is_some()
    }
}
