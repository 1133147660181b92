//! How a watcher ends when its kind is served no more: nothing of it can be left, so what is not reported is inferred.

use super::restore;
use super::rt::Context;
use super::watcher::{AtHand, Lent, Watcher};
use crate::domain::envelope::Observed;
use crate::domain::index::{Loss, Write};
use crate::domain::kind::Tracking;
use crate::domain::lane::Tally;
use crate::domain::rv::Rv;
use crate::observe::clock;
use actix::prelude::{Handler, Message};
use std::sync::PoisonError;

/// Stop reading: the kind is not served any more (then everything that is still known of it is gone), or is served in
/// another version (then nothing is). What the lane holds is still handed over. Answers how many deletes were inferred.
///
/// Send it only once the fold of the kind is complete.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "usize")]
pub struct LetGo {
    /// The kind itself is gone.
    pub is_gone: bool,
}

impl Handler<LetGo> for Watcher {
    type Result = usize;

    fn handle(&mut self, let_go: LetGo, ctx: &mut Context<Self>) -> usize {
        self.stop_reading();
        let inferred = if let_go.is_gone { all_gone(self.lent()) } else { 0 };
        self.hand_over(ctx);
        inferred
    }
}

/// Writes the deletes of everything that is known of the kind; gives how many.
///
/// The API server deletes the objects before the definition, and reports each: what is left here is what it could not
/// report, since its process or ours was away.
fn all_gone(lent: &Lent) -> usize {
    // A definition may be deleted before the fold was taken over: the log's own objects are gone, too.
    restore::take_over(lent);
    let mut slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(capture) = slot.as_mut() else { return 0 };
    let kind = &lent.target.kind;
    if kind.tracking() == Tracking::Stream {
        return 0;
    }
    let (now, before) = (clock::wall_ms(), AtHand { lent });
    let loss = Loss {
        seen_at: capture.position.clone(),
        history_epoch: capture.history_epoch,
        wall_ms: now,
        observed: Observed::Inferred,
        reason: "kind_gone",
    };
    let left = capture.index.everything();
    for uid in &left {
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        capture.index.gone(kind, uid, &loss, &before, &mut writes, &mut notes);
        let records = writes.into_iter().map(|write| match write {
            Write::Change(change) => lent.writer.record(&change, now),
            Write::Tombstone { namespace, name, uid, rv, history_epoch } => {
                lent.writer.tombstone(&namespace, &name, &uid, &rv, history_epoch, now)
            }
        });
        // One step for whoever comes after us, as in the watcher.
        let tally = Tally { inferred: 1, ..Tally::default() };
        lent.lane.push_report(records.collect(), None, tally, |record| lent.writer.is_change(record));
        notes.into_iter().for_each(|note| capture.index.note(note));
    }
    // If it ever comes back, it is another one: its objects are listed, and no watch goes on from here.
    capture.position = Rv::default();
    left.len()
}
