//! What a watch core notices, as metrics and in words.

use super::watcher::Lent;
use crate::domain::watch::Notice;
use crate::observe::metrics::{KindLabel, KindReason};

/// Counts and tells. What was received, inferred and filtered stands in the lane's account already, with its records (G10).
pub(super) fn count(lent: &Lent, notices: Vec<Notice>) {
    let metrics = &lent.metrics;
    let (kind, watcher) = (lent.target.kind.id(), lent.target.id());
    let of = |reason: &str| KindReason { kind: kind.clone(), reason: reason.into() };
    let this = KindLabel { kind: kind.clone() };
    for notice in notices {
        match notice {
            Notice::Received | Notice::Inferred | Notice::Filtered(_) => {}
            Notice::Relist(reason) => {
                metrics.relists.get_or_create(&of(reason)).inc();
                tracing::info!(watcher, reason, "list begins");
            }
            Notice::QuietRelist => {
                metrics.quiet_relists.get_or_create(&this).inc();
            }
            Notice::Gap(reason) => {
                // Counted where it is read back: `gaps`.
                tracing::warn!(watcher, reason, "a gap is declared: not every change was seen");
            }
            Notice::Lie(what) => {
                metrics.lies.get_or_create(&of(what)).inc();
                tracing::warn!(watcher, what, "the API server said something that cannot be true; it is not followed");
            }
            Notice::Rewound(history_epoch) => {
                tracing::warn!(watcher, history_epoch, "the cluster's history went back, as after a restored backup");
            }
            Notice::Backlog(bytes) => {
                metrics.backlogs.get_or_create(&this).inc();
                tracing::warn!(watcher, bytes, "the log takes no more; the watch is closed until it does");
            }
            Notice::Undecodable(what) => {
                metrics.undecodable.get_or_create(&this).inc();
                tracing::warn!(watcher, what, "the API server sent something unreadable");
            }
            Notice::Stubbed(reason) => {
                metrics.stubs.get_or_create(&of(reason)).inc();
            }
            Notice::MassDeletion { missing, known } => tracing::warn!(
                watcher,
                missing,
                known,
                "more than half of the kind is missing from a list; asking again before believing it"
            ),
        }
    }
}
