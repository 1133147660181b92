//! How a watcher takes over what the log already holds, and repairs what a dead writer left behind.

use super::watcher::Lent;
use crate::domain::envelope::{Change, Observed, Op};
use crate::domain::index::Name;
use crate::domain::kind::Tracking;
use crate::domain::record::OutRecord;
use crate::domain::redact::{self, Identity};
use crate::domain::rv::Rv;
use crate::domain::watch::{Capture, Point};
use crate::observe::clock;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Fills the capture from the fold, once per process: what is live, what is dead, and the tombstones that a dead writer
/// still owed. Later lives find it filled.
pub fn take_over(lent: &Lent) {
    let mut slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_some() {
        return;
    }
    let kind = &lent.target.kind;
    let mut capture = Capture::default();
    let Point { history_epoch, rv } = lent.resume_from.clone();
    capture.history_epoch = history_epoch;
    if !rv.is_empty() {
        capture.position = rv;
        capture.synced = true;
        capture.from_checkpoint = true;
    }
    let mut shadowed = Vec::new();
    if kind.tracking() == Tracking::Table {
        let restored = lent.store.restored(kind, lent.target.namespace.as_deref());
        tracing::info!(
            watcher = lent.target.id(),
            live = restored.live.len(),
            dead = restored.dead.len(),
            owed = restored.owed.len(),
            shadowed = restored.shadowed.len(),
            resume_from = %capture.position,
            "taken over from the log"
        );
        capture.no_checkpoint = !capture.synced && !restored.live.is_empty();
        for (at, uid, rv, history_epoch) in restored.live {
            capture.index.restore_live(at, uid, rv, history_epoch);
        }
        // Where a rewound history has no position yet, the dead are those of the one before: they may live again.
        for (uid, rv) in restored.dead.into_iter().filter(|_| capture.synced || history_epoch == 0) {
            capture.index.restore_dead(uid, rv, history_epoch);
        }
        for (at, last) in restored.ends.into_iter().filter(|_| capture.synced) {
            capture.index.restore_end(at, last, history_epoch);
        }
        let now = clock::wall_ms();
        let owed = restored
            .owed
            .iter()
            .map(|(at, uid, rv)| lent.writer.tombstone(&at.namespace, &at.name, uid, rv, history_epoch, now));
        lent.lane.push(owed.collect::<Vec<OutRecord>>(), None);
        for (_, uid, rv) in restored.owed {
            capture.index.restore_dead(uid, rv, history_epoch);
        }
        capture.index.bury(&capture.position.clone());
        shadowed = restored.shadowed;
        if shadowed.iter().any(|at| capture.index.live(at).is_none()) {
            // Compaction may have taken the valid record of such a key: only a list can say whether it lives.
            capture.position = Rv::default();
            capture.synced = false;
            shadowed.retain(|at| capture.index.live(at).is_some());
        }
        if lent.taken_over.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The last watcher of the kind: from here on the capture remembers the dead as long as it must.
            lent.store.bury(kind);
        }
    }
    *slot = Some(capture);
    drop(slot);
    for at in shadowed {
        write_again(lent, &at);
    }
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
    let recent = lent.overlay.lock().unwrap_or_else(PoisonError::into_inner).get(at, uid, rv);
    let Some(json) = recent.or_else(|| lent.store.before(&lent.target.kind, at, uid, rv)) else {
        // Neither emitted a moment ago nor folded: its record is still on its way through the lane, and will stand last.
        return;
    };
    let identity = Identity { namespace: &at.namespace, name: &at.name, uid, rv };
    let object = redact::last_known(&lent.target.kind, &identity, Some(json));
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
    lent.lane.push([lent.writer.record(&change, now)], None);
}
