//! How a watcher ends when its kind is served no more: nothing of it can be left, so what is not reported is inferred.

use super::restore;
use super::rt::Context;
use super::watcher::{AtHand, Lent, Watcher};
use crate::domain::envelope::Observed;
use crate::domain::gap::Gap;
use crate::domain::index::{Loss, Write};
use crate::domain::kind::Tracking;
use crate::domain::rv::Rv;
use crate::observe::clock;
use actix::prelude::{Handler, Message, MessageResult};
use std::sync::PoisonError;

/// Stop reading: the kind is not served any more (then everything that is still known of it is gone), or is served in
/// another version (then nothing is). What the lane holds is still handed over. As many deletes are written as the lane has
/// room for: send it again when that is empty, until nothing is left.
///
/// Send it only once the fold of the kind is complete.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Going")]
pub struct LetGo {
    /// The kind itself is gone.
    pub is_gone: bool,
}

/// How far the end of a watcher has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Going {
    /// Deletes inferred now.
    pub inferred: usize,
    /// Deletes that the lane has no room for yet.
    pub left: usize,
}

impl Handler<LetGo> for Watcher {
    type Result = MessageResult<LetGo>;

    fn handle(&mut self, let_go: LetGo, ctx: &mut Context<Self>) -> Self::Result {
        self.stop_reading();
        let going = go(self.lent(), let_go.is_gone);
        self.hand_over(ctx);
        MessageResult(going)
    }
}

/// Writes what a watcher that reads no more has still to write, as far as there is room.
pub(super) fn go(lent: &Lent, is_gone: bool) -> Going {
    let mut going = if is_gone { all_gone(lent) } else { Going::default() };
    going.left += restore::write_leavers(lent);
    going
}

/// Writes the deletes of everything that is known of the kind.
///
/// The API server deletes the objects before the definition, and reports each: what is left here is what it could not
/// report, since its process or ours was away.
fn all_gone(lent: &Lent) -> Going {
    // A definition may be deleted before the fold was taken over: the log's own objects are gone, too.
    restore::take_over(lent);
    let mut slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(capture) = slot.as_mut() else { return Going::default() };
    let kind = &lent.target.kind;
    if kind.tracking() == Tracking::Stream {
        return Going::default();
    }
    let (now, before) = (clock::wall_ms(), AtHand { lent });
    let loss = Loss {
        seen_at: capture.position.clone(),
        history_epoch: capture.history_epoch,
        wall_ms: now,
        observed: Observed::Inferred,
        reason: "kind_gone",
    };
    let known = capture.index.everything();
    let mut inferred = 0;
    // Whoever watched to the end had every delete reported, and knows nobody who lives.
    let is_unseen = !known.is_empty() || capture.from_checkpoint;
    let from = capture.position.clone();
    if is_unseen && !from.is_empty() && !std::mem::replace(&mut capture.end_declared, true) {
        let gap = Gap {
            kind: kind.id(),
            scope: lent.target.namespace.as_deref().map(str::to_owned),
            from: Some(from),
            to: None,
            reason: "kind_gone",
            deletes_unknown: true,
            history_epoch: capture.history_epoch,
            seen_ms: now,
        };
        restore::push_inferred(&lent.lane, &lent.writer, gap.records(&lent.writer));
    }
    for uid in known.iter().take_while(|_| lent.lane.has_room()) {
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        capture.index.gone(kind, uid, &loss, &before, &mut writes, &mut notes);
        let records = writes.into_iter().map(|write| match write {
            Write::Change(change) => lent.writer.record(&change, now),
            Write::Tombstone { namespace, name, uid, rv, history_epoch } => {
                lent.writer.tombstone(&namespace, &name, &uid, &rv, history_epoch, now)
            }
        });
        // One step for whoever comes after us, as in the watcher.
        restore::push_inferred(&lent.lane, &lent.writer, records.collect());
        notes.into_iter().for_each(|note| capture.index.note(note));
        inferred += 1;
    }
    let left = known.len() - inferred;
    if left == 0 {
        // If it ever comes back, it is another one: its objects are listed, and no watch goes on from here.
        capture.position = Rv::default();
    }
    Going { inferred, left }
}
