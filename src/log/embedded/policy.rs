//! What stays in a topic: Kafka's settings of compaction and retention, as rules without a clock.
//!
//! Kafka works by segment files; here it is by block: a run of records of one partition. Like Kafka's, these rules remove
//! late rather than early, and never the newest record of a partition.

use std::collections::BTreeMap;

/// A topic's settings that this engine acts upon; those that are not given have Kafka's defaults, so that a topic does not
/// change when its log becomes a Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    compact: bool,
    delete: bool,
    /// `None`: for ever.
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
    min_compaction_lag_ms: i64,
    delete_retention_ms: i64,
    pub max_message_bytes: usize,
}

/// A run of records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub first: i64,
    pub last: i64,
    pub bytes: u64,
    pub newest_ms: i64,
}

/// What a round of cleaning may take from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// What is before goes.
    pub floor: i64,
    /// From here on compaction takes nothing, and nothing from here on makes an older record superfluous.
    pub cleanable_end: i64,
    /// The newest record of the partition.
    newest: i64,
    /// Tombstones that are older go.
    tombstones_before_ms: i64,
}

/// What compaction asks of a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub is_tombstone: bool,
    /// The last offset of its key before [`Limits::cleanable_end`]; `None` for a record without a key.
    pub last_of_key: Option<i64>,
}

impl Policy {
    /// From a topic's settings; the text of an error names the setting.
    pub fn of(config: &BTreeMap<String, String>) -> Result<Self, String> {
        let number = |key: &str, default: i64| match config.get(key) {
            None => Ok(default),
            Some(text) => text.trim().parse::<i64>().map_err(|_| format!("{key} = {text:?} is no whole number")),
        };
        let cleanup = config.get("cleanup.policy").map_or("delete", String::as_str);
        let (mut compact, mut delete) = (false, false);
        for policy in cleanup.split(',').map(str::trim) {
            match policy {
                "compact" => compact = true,
                "delete" => delete = true,
                _ => return Err(format!("cleanup.policy = {cleanup:?}: it is compact, delete, or both with a comma")),
            }
        }
        Ok(Self {
            compact,
            delete,
            retention_ms: Some(number("retention.ms", 7 * 24 * 3_600_000)?).filter(|ms| *ms >= 0),
            retention_bytes: u64::try_from(number("retention.bytes", -1)?).ok(),
            min_compaction_lag_ms: number("min.compaction.lag.ms", 0)?,
            delete_retention_ms: number("delete.retention.ms", 24 * 3_600_000)?,
            max_message_bytes: usize::try_from(number("max.message.bytes", 1_048_588)?).unwrap_or_default(),
        })
    }

    pub fn compacts(&self) -> bool {
        self.compact
    }

    /// What may be taken from a partition whose settled records are `spans` and whose newest record is `newest`.
    pub fn limits(&self, spans: &[Span], newest: i64, now_ms: i64) -> Limits {
        let end = spans.last().map_or(0, |span| span.last + 1);
        let floor = match self.expired(spans, now_ms) {
            0 => 0,
            expired => spans.get(expired).map_or(end, |span| span.first).min(newest),
        };
        let young_from = now_ms.saturating_sub(self.min_compaction_lag_ms);
        let young = spans.iter().find(|span| span.newest_ms > young_from);
        Limits {
            floor,
            cleanable_end: if self.compact { young.map_or(end, |span| span.first) } else { 0 },
            newest,
            tombstones_before_ms: now_ms.saturating_sub(self.delete_retention_ms),
        }
    }

    /// How many spans at the beginning are too old or too much.
    fn expired(&self, spans: &[Span], now_ms: i64) -> usize {
        if !self.delete {
            return 0;
        }
        let oldest = self.retention_ms.map_or(i64::MIN, |ms| now_ms.saturating_sub(ms));
        let too_old = spans.iter().take_while(|span| span.newest_ms < oldest).count();
        let Some(limit) = self.retention_bytes else { return too_old };
        let mut rest: u64 = spans.iter().map(|span| span.bytes).sum();
        let too_much = spans.iter().take_while(|span| {
            rest -= span.bytes;
            rest >= limit
        });
        too_old.max(too_much.count())
    }
}

impl Limits {
    /// Whether compaction and retention leave a record where it is.
    pub fn keep(&self, seen: &Seen) -> bool {
        if seen.offset >= self.newest {
            return true;
        }
        if seen.offset < self.floor {
            return false;
        }
        if seen.offset >= self.cleanable_end {
            return true;
        }
        // Without a key nothing can ever replace it: Kafka does not take such records into a compacted topic at all.
        let Some(last) = seen.last_of_key else { return false };
        last == seen.offset && !(seen.is_tombstone && seen.timestamp_ms < self.tombstones_before_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn policy(config: &[(&str, &str)]) -> Policy {
        Policy::of(&config.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()).expect("valid settings")
    }

    /// Ten records a span, a day apart, 100 bytes each span; the newest record of span n is n days old at `now` = 10 days.
    fn spans() -> Vec<Span> {
        (0..10).map(|n| Span { first: n * 10, last: n * 10 + 9, bytes: 100, newest_ms: n * DAY }).collect()
    }

    fn seen(offset: i64, last_of_key: Option<i64>) -> Seen {
        Seen { offset, timestamp_ms: 0, is_tombstone: false, last_of_key }
    }

    #[test]
    fn settings_that_are_not_given_are_kafkas() {
        let unset = policy(&[]);
        let kafka = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
            ("delete.retention.ms", "86400000"),
            ("max.message.bytes", "1048588"),
        ];
        assert_eq!(unset, policy(&kafka));
        assert_eq!(unset.limits(&spans(), 99, 10 * DAY).floor, 30, "seven days stay");
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        for (key, value) in [("retention.ms", "a week"), ("cleanup.policy", "compress"), ("max.message.bytes", "")] {
            let error = Policy::of(&BTreeMap::from([(key.into(), value.into())])).expect_err("it makes no sense");
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn retention_takes_what_is_too_old_and_what_is_too_much_but_never_the_newest_record() {
        let by_size = policy(&[("retention.ms", "-1"), ("retention.bytes", "250")]);
        assert_eq!(by_size.limits(&spans(), 99, 10 * DAY).floor, 70, "at least 250 bytes stay, as with Kafka");
        let for_ever = policy(&[("retention.ms", "-1")]);
        assert_eq!(for_ever.limits(&spans(), 99, 10 * DAY).floor, 0);
        let a_day = policy(&[("retention.ms", "86400000")]);
        let limits = a_day.limits(&spans(), 99, 100 * DAY);
        assert_eq!(limits.floor, 99);
        assert!(limits.keep(&seen(99, None)) && !limits.keep(&seen(98, None)));
        // The newest one is not among the settled ones: all of those may go.
        assert_eq!(a_day.limits(&spans(), 120, 100 * DAY).floor, 100);
        let compacted = policy(&[("cleanup.policy", "compact"), ("retention.ms", "1"), ("retention.bytes", "1")]);
        assert_eq!(compacted.limits(&spans()[3..], 99, 100 * DAY).floor, 0, "without delete nothing is too old");
    }

    #[test]
    fn compaction_keeps_the_last_of_each_key_and_all_that_is_young() {
        let lag = policy(&[("cleanup.policy", "compact"), ("min.compaction.lag.ms", &(5 * DAY).to_string())]);
        let limits = lag.limits(&spans(), 99, 10 * DAY);
        assert_eq!(limits.cleanable_end, 60, "what is at most five days old is younger than the lag");
        assert!(!limits.keep(&seen(10, Some(55))), "a later one of its key is there");
        assert!(limits.keep(&seen(55, Some(55))), "the last one stays");
        assert!(limits.keep(&seen(60, Some(55))), "younger than the lag");
        assert!(!limits.keep(&seen(10, None)), "without a key");
    }

    #[test]
    fn a_tombstone_goes_when_its_time_is_over() {
        let policy = policy(&[("cleanup.policy", "compact"), ("delete.retention.ms", &(7 * DAY).to_string())]);
        let tombstone =
            |age_days: i64| Seen { timestamp_ms: (10 - age_days) * DAY, is_tombstone: true, ..seen(5, Some(5)) };
        let limits = policy.limits(&spans(), 99, 10 * DAY);
        assert!(limits.keep(&tombstone(7)) && !limits.keep(&tombstone(8)));
    }
}
