//! How a watcher takes over what the log already holds, and repairs what a dead writer or another scope left behind.

use super::watcher::Lent;
use crate::domain::checkpoint::Vouched;
use crate::domain::envelope::{Change, Observed, Op, Writer};
use crate::domain::index::Name;
use crate::domain::kind::Tracking;
use crate::domain::lane::{Lane, Tally};
use crate::domain::record::OutRecord;
use crate::domain::redact::{self, Identity};
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::domain::watch::{Capture, Point, Rebase};
use crate::observe::clock;
use crate::store::{Object, Restored};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What the watchers of one kind share.
pub struct Siblings {
    /// All of them. What none covers has left the scope.
    pub targets: Vec<Target>,
    /// Those that have not taken over yet.
    pub waiting: AtomicUsize,
    /// What has left the scope and is not written yet; the last watcher that takes over writes it.
    pub leaving: Mutex<VecDeque<Name>>,
}

impl Siblings {
    /// Of these targets.
    pub fn new(targets: Vec<Target>) -> Self {
        Self { waiting: AtomicUsize::new(targets.len()), targets, leaving: Mutex::default() }
    }
}

/// Compaction leaves a record alone for longer than this after what stands behind it was written
/// (`min.compaction.lag.ms`, 24 h as we make the topics): within it the fold knows every valid record of a shadowed key.
const UNCOMPACTED: Duration = Duration::from_secs(3600);

/// Fills the capture from the fold, once per process: what is live, what is dead, and the tombstones that a dead writer
/// still owed. Later lives find it filled.
pub fn take_over(lent: &Lent) {
    let mut slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_some() {
        return;
    }
    let kind = &lent.target.kind;
    let Point { history_epoch, rv } = lent.resume_from.clone();
    let mut capture = Capture { history_epoch, rebase: lent.rebase, ..Capture::default() };
    let has_checkpoint = !rv.is_empty();
    if has_checkpoint {
        // Also where everything is written anew: by the position a gap says from where on, and a rewind is noticed.
        capture.position = rv;
        capture.synced = true;
        capture.from_checkpoint = true;
    }
    let mut shadowed = Vec::new();
    if kind.tracking() == Tracking::Table {
        let restored = lent.store.restored(kind, |at| lent.target.covers(at));
        tracing::info!(
            watcher = lent.target.id(),
            live = restored.live.len(),
            dead = restored.dead.len(),
            owed = restored.owed.len(),
            shadowed = restored.shadowed.len(),
            resume_from = %capture.position,
            "taken over from the log"
        );
        if restored.history_epoch > history_epoch {
            // A new history had begun, and its writer was killed before a checkpoint said so: that one's version is of the
            // history before, and what stands there of the new one may itself have been rewound. A newer one is safe.
            begin_anew(&mut capture);
            capture.history_epoch = restored.history_epoch + 1;
        }
        let Restored { live, stubs, owed, dead, ends, shadowed: keys, .. } = restored;
        let is_known = has_checkpoint || !live.is_empty() || !dead.is_empty() || !ends.is_empty();
        if !has_checkpoint && !live.is_empty() {
            // Whoever wrote it left no word: neither in which scope nor by which redaction.
            capture.rebase.get_or_insert(Rebase { reason: "no_checkpoint" });
        }
        for (at, uid, rv, history_epoch) in live {
            capture.index.restore_live(at, uid, rv, history_epoch);
        }
        for (at, stub) in stubs {
            capture.index.restore_stub(&at, stub);
        }
        if capture.rebase.is_some() && !lent.vouched.covers(lent.target.namespace.as_deref()) {
            capture.index.distrust();
        }
        // Who died in another history may live again in this one.
        let current = capture.history_epoch;
        for death in dead.into_iter().filter(|death| death.history_epoch == current) {
            capture.index.restore_dead(death.uid, death.rv, current);
        }
        let synced = capture.synced;
        for (at, last, _) in ends.into_iter().filter(|(_, _, epoch)| synced && *epoch == current) {
            capture.index.restore_end(at, last, current);
        }
        pay(lent, &owed, current);
        capture.index.bury(&capture.position.clone());
        let long_ago = clock::wall_ms() - i64::try_from(UNCOMPACTED.as_millis()).unwrap_or(i64::MAX);
        if keys.iter().any(|(at, written_ms)| capture.index.live(at).is_none() && *written_ms < long_ago) {
            // Compaction may have taken the valid record of such a key: only a list can say whether it lives.
            begin_anew(&mut capture);
        }
        // Of the others it is known: they are gone, or what the watch brings next.
        let known = |(at, written_ms): &(Name, i64)| capture.index.live(at).is_some() || *written_ms >= long_ago;
        shadowed.extend(keys.into_iter().filter(known).map(|(at, _)| at));
        capture.no_checkpoint = is_known && !capture.synced;
        if lent.siblings.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The last watcher of the kind: from here on the capture remembers the dead as long as it must.
            lent.store.bury(kind);
            see_off(lent, current);
        }
    }
    *slot = Some(capture);
    drop(slot);
    for at in shadowed {
        write_again(lent, &at);
    }
}

/// Not from the checkpoint: from a list.
fn begin_anew(capture: &mut Capture) {
    capture.position = Rv::default();
    capture.synced = false;
    capture.from_checkpoint = false;
}

/// Writes the tombstones that are owed.
fn pay(lent: &Lent, owed: &[(Name, Arc<str>, Rv)], history_epoch: u64) {
    let now = clock::wall_ms();
    let tombstone = |(at, uid, rv): &(Name, Arc<str>, Rv)| {
        lent.writer.tombstone(&at.namespace, &at.name, uid, rv, history_epoch, now)
    };
    lent.lane.push(owed.iter().map(tombstone).collect::<Vec<OutRecord>>(), None);
}

/// What the log holds of the kind and no target covers any more: a namespace that is watched no longer. Nobody reports
/// its end, so it is written once, by whoever takes over last.
fn see_off(lent: &Lent, history_epoch: u64) {
    let left = |at: &Name| !lent.siblings.targets.iter().any(|target| target.covers(at));
    let Restored { live, owed, .. } = lent.store.restored(&lent.target.kind, left);
    if !live.is_empty() {
        tracing::info!(kind = %lent.target.kind, objects = live.len(), "no longer in scope: their deletes are written");
    }
    pay(lent, &owed, history_epoch);
    let mut leaving = lent.siblings.leaving.lock().unwrap_or_else(PoisonError::into_inner);
    leaving.extend(live.into_iter().map(|(at, ..)| at));
}

/// Writes the deletes of what has left the scope, as far as the lane has room; gives how many are left. They are known from
/// the fold alone: whoever is killed meanwhile leaves the rest to the next process.
pub fn write_leavers(lent: &Lent) -> usize {
    let mut leaving = lent.siblings.leaving.lock().unwrap_or_else(PoisonError::into_inner);
    while lent.lane.has_room() {
        let Some(at) = leaving.pop_front() else { return 0 };
        if let Some(row) = lent.store.get(&lent.target.kind, &at) {
            descope(&lent.lane, &lent.writer, &row, &lent.vouched);
        }
    }
    leaving.len()
}

/// Writes the delete of an object that has left what is captured, as the fold knows it; by its identity alone where the
/// bytes there cannot be trusted to be redacted as they would be now.
pub fn descope(lane: &Lane<Point>, writer: &Writer, row: &Object, vouched: &Vouched) {
    let (at, uid, rv, now) = (row.at(), row.uid(), row.rv(), clock::wall_ms());
    let is_trusted = vouched.covers(Some(&at.namespace));
    let identity = Identity { namespace: &at.namespace, name: &at.name, uid, rv };
    let change = Change {
        op: Op::Delete,
        observed: Observed::Descoped,
        snapshot: false,
        list_rv: None,
        inference: None,
        history_epoch: row.history_epoch(),
        before: None,
        object: redact::last_known(writer.kind(), &identity, is_trusted.then(|| row.json())),
    };
    let tombstone = writer.tombstone(&at.namespace, &at.name, uid, rv, row.history_epoch(), now);
    push_inferred(lane, writer, vec![writer.record(&change, now), tombstone]);
}

/// Writes what nobody reported: each change of it enters the account as inferred, in the same step.
pub(super) fn push_inferred(lane: &Lane<Point>, writer: &Writer, records: Vec<OutRecord>) {
    let is_change = |record: &OutRecord| writer.is_change(record);
    let inferred = records.iter().filter(|record| is_change(record)).count() as u64;
    lane.push_report(records, None, Tally { inferred, ..Tally::default() }, is_change);
}

/// Writes the current version of one object again, as `op=r`, or its tombstone if it is gone: a dead writer's record
/// stands behind it in the log, and compaction keeps the last offset.
pub fn write_again(lent: &Lent, at: &Name) {
    let slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(capture) = slot.as_ref() else { return };
    let now = clock::wall_ms();
    let Some((uid, rv)) = capture.index.live(at) else {
        let epoch = capture.history_epoch;
        lent.lane.push([lent.writer.tombstone(&at.namespace, &at.name, "", &Rv::default(), epoch, now)], None);
        return;
    };
    if !capture.index.is_trusted() {
        // The list that is due writes it anew, or its delete.
        return;
    }
    let recent = lent.overlay.lock().unwrap_or_else(PoisonError::into_inner).get(at, uid, rv);
    let Some(json) = recent.or_else(|| lent.store.before(&lent.target.kind, at, uid, rv)) else {
        // Neither emitted a moment ago nor folded: its record is still on its way through the lane, and will stand last.
        return;
    };
    let identity = Identity { namespace: &at.namespace, name: &at.name, uid, rv };
    let stub = capture.index.stub(at).cloned();
    let object = redact::as_held(&lent.target.kind, &identity, Some(json), stub);
    let change = Change {
        op: Op::Read,
        observed: Observed::Resume,
        snapshot: false,
        list_rv: None,
        inference: None,
        history_epoch: capture.index.history_epoch(at).unwrap_or(capture.history_epoch),
        before: None,
        object,
    };
    push_inferred(&lent.lane, &lent.writer, vec![lent.writer.record(&change, now)]);
}

#[cfg(test)]
mod tests;
