//! How far a page has read: the offsets of the stream's partitions and the cursor of the changes, as one short text that a
//! browser gives back as `Last-Event-ID`.

use crate::log::Start;
use crate::messages::query::Cursor;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// More than this behind in one partition is not caught up with: a page wants to see what happens, not what happened.
const CATCH_UP: i64 = 2000;

/// `s<partition>-<next offset>.…_c<cursor>`; either part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Next offset of each partition of the event stream.
    pub stream: BTreeMap<i32, i64>,
    /// Place in the changes.
    pub changes: Option<Cursor>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("s")?;
        for (i, (partition, next)) in self.stream.iter().enumerate() {
            write!(f, "{}{partition}-{next}", if i > 0 { "." } else { "" })?;
        }
        match self.changes {
            Some(cursor) => write!(f, "_c{cursor}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (stream, changes) = match text.split_once("_c") {
                Some((stream, cursor)) => (stream, Some(cursor.parse().ok()?)),
                None => (text, None),
            };
            let partitions = stream.strip_prefix('s')?.split('.').filter(|part| !part.is_empty());
            let pair = |part: &str| {
                let (partition, next) = part.split_once('-')?;
                Some((partition.parse::<u16>().ok()?.into(), i64::try_from(next.parse::<u64>().ok()?).ok()?))
            };
            Some(Self { stream: partitions.map(pair).collect::<Option<_>>()?, changes })
        };
        parse().ok_or_else(|| {
            let text: String = text.chars().take(64).collect();
            format!("{text:?} is no cursor of this stream: pass one back as it was given, or none")
        })
    }
}

/// Where the partitions are read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Next offset of each partition.
    pub from: BTreeMap<i32, i64>,
    /// Entries that are left out although the reader had come as far as they begin.
    pub missed: u64,
    /// The log is not the one that the reader knows.
    pub reset: bool,
}

/// From where to read a stream whose partitions hold `offsets` (first, next), for a reader that has `seen` so much. One that
/// has seen nothing gets about the last `backlog` entries; one that is far behind gets those, and is told.
pub(super) fn plan(seen: &BTreeMap<i32, i64>, offsets: &[(i64, i64)], backlog: u64) -> Plan {
    let share = i64::try_from(backlog.div_ceil(offsets.len().max(1) as u64)).unwrap_or(CATCH_UP);
    let mut plan = Plan { from: BTreeMap::new(), missed: 0, reset: false };
    for (partition, (first, next)) in (0..).zip(offsets.iter().copied()) {
        let recent = (next - share).max(first);
        let from = match seen.get(&partition) {
            None => recent,
            Some(at) if *at > next => {
                plan.reset = true;
                recent
            }
            Some(at) if next - at > CATCH_UP => {
                plan.missed += u64::try_from(recent - at).unwrap_or_default();
                recent
            }
            Some(at) => *at,
        };
        plan.from.insert(partition, from);
    }
    plan
}

impl Plan {
    /// As the log takes it.
    pub fn starts(&self) -> impl Iterator<Item = (i32, Start)> {
        self.from.iter().map(|(partition, next)| (*partition, Start::Offset(*next)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_it_is_written_and_nothing_else_does() {
        let cursor = "000000000000002a-7".parse().expect("a cursor");
        for (position, text) in [
            (Position::default(), "s"),
            (Position { stream: [(0, 17), (5, 0)].into(), changes: None }, "s0-17.5-0"),
            (Position { stream: [(1, 3)].into(), changes: Some(cursor) }, "s1-3_c000000000000002a-7"),
        ] {
            assert_eq!(position.to_string(), text);
            assert_eq!(text.parse(), Ok(position));
        }
        for wrong in ["", "0-1", "s0", "s0-x", "s0--1", "s-1-1", "s0-1_c", "s0-1_cx", "s0-99999999999999999999"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_new_reader_gets_the_last_entries_and_an_old_one_what_it_missed_unless_that_is_too_much() {
        let offsets = [(0, 10), (5, 10_000), (0, 0)];
        let from = |seen: &[(i32, i64)], backlog| {
            let plan = plan(&seen.iter().copied().collect(), &offsets, backlog);
            (plan.from.into_values().collect::<Vec<_>>(), plan.missed, plan.reset)
        };
        assert_eq!(from(&[], 0), (vec![10, 10_000, 0], 0, false));
        assert_eq!(from(&[], 60), (vec![0, 9_980, 0], 0, false));
        assert_eq!(from(&[(0, 4), (1, 9_999), (2, 0)], 60), (vec![4, 9_999, 0], 0, false));
        assert_eq!(from(&[(0, 10), (1, 100), (2, 0)], 60), (vec![10, 9_980, 0], 9_880, false));
        assert_eq!(from(&[(0, 11), (1, 10_000), (2, 0)], 0), (vec![10, 10_000, 0], 0, true), "another log");
    }
}
