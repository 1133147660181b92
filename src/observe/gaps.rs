//! The gaps that the log declares: the newest of them, in memory, and how many there are.

use crate::domain::gap::Lasting as Gap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Gaps that are kept: a kind that relists every 30 s for a night.
pub const KEPT: usize = 1000;
/// As long as the topic keeps them.
const KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// When, in milliseconds since 1970; 0 where that cannot be read.
fn seen_ms(gap: &Gap) -> i64 {
    gap.seen_at.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond())
}

/// Kind id and namespace.
type Of<'a> = (&'a str, Option<&'a str>);

/// Fed by whoever reads the topic.
#[derive(Debug, Default)]
pub struct Gaps(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// Oldest first, with their times.
    newest: VecDeque<(i64, Gap)>,
    counts: BTreeMap<(String, Option<String>), u64>,
}

impl Gaps {
    /// Adds a gap, newer than those before.
    pub fn note(&self, gap: Gap) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen_ms(&gap);
        *ring.counts.entry((gap.kind.clone(), gap.scope.clone())).or_default() += 1;
        ring.newest.push_back((seen, gap));
        while ring.newest.len() > KEPT || ring.newest.front().is_some_and(|(at, _)| *at < seen - KEPT_MS) {
            ring.newest.pop_front();
        }
    }

    /// How many were read, of one watcher or of all.
    pub fn count(&self, of: Option<Of<'_>>) -> u64 {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = ring.counts.iter().filter(|((kind, scope), _)| is_of(of, kind, scope.as_deref()));
        ours.map(|(_, count)| count).sum()
    }

    /// The newest one, of one watcher or of all.
    pub fn last(&self, of: Option<Of<'_>>) -> Option<Gap> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = ring.newest.iter().rev().find(|(_, gap)| is_of(of, &gap.kind, gap.scope.as_deref()));
        found.map(|(_, gap)| gap.clone())
    }

    /// The newest `limit` of a kind (or of all) that are not older than `since_ms`, newest first.
    pub fn list(&self, kind: Option<&str>, since_ms: Option<i64>, limit: usize) -> Vec<Gap> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |at: i64, gap: &Gap| kind.is_none_or(|k| k == gap.kind) && since_ms.is_none_or(|since| at >= since);
        let found = ring.newest.iter().rev().filter(|(at, gap)| fits(*at, gap));
        found.take(limit).map(|(_, gap)| gap.clone()).collect()
    }
}

fn is_of(of: Option<Of<'_>>, kind: &str, scope: Option<&str>) -> bool {
    of.is_none_or(|(k, s)| k == kind && s == scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::envelope::rfc3339;

    fn gap(kind: &str, scope: Option<&str>, seen_ms: i64) -> Gap {
        let value = serde_json::json!({"kind": kind, "scope": scope, "from": "5", "to": null, "reason": "expired",
            "deletesUnknown": false, "historyEpoch": 0, "seenAt": rfc3339(seen_ms), "cluster": "c", "writerEpoch": 3});
        serde_json::from_value(value).expect("a lasting copy")
    }

    #[test]
    fn the_newest_come_first_and_old_ones_go_by_number_and_by_time() {
        let gaps = Gaps::default();
        let now = 1_800_000_000_000;
        gaps.note(gap("pods", None, now - KEPT_MS - 1));
        gaps.note(gap("pods", Some("shop"), now));
        assert_eq!(gaps.list(None, None, 9).len(), 1, "one is past its time");
        gaps.note(gap("services", None, now + 1));
        let kinds = |list: Vec<Gap>| list.into_iter().map(|g| g.kind).collect::<Vec<_>>();
        assert_eq!(kinds(gaps.list(None, None, 9)), ["services", "pods"]);
        assert_eq!(kinds(gaps.list(None, Some(now + 1), 9)), ["services"]);
        assert_eq!(kinds(gaps.list(Some("pods"), None, 9)), ["pods"]);
        assert_eq!(
            (gaps.count(None), gaps.count(Some(("pods", None))), gaps.count(Some(("pods", Some("shop"))))),
            (3, 1, 1)
        );
        assert_eq!(gaps.last(Some(("pods", Some("shop")))), Some(gap("pods", Some("shop"), now)));
        (0..2 * KEPT).for_each(|_| gaps.note(gap("pods", None, now + 2)));
        assert_eq!(gaps.list(None, None, usize::MAX).len(), KEPT);
    }
}
