//! What happens behind the appends: sealed journals become segments, and segments lose what compaction and retention take.
//! Every step writes a new file under an unfinished name, brings it to the disk, gives it its name, and only then removes what
//! it replaces; so a crash leaves either, or both, and the next open knows which counts.

use super::codec::{self, Head, Place};
use super::core::{Core, lock};
use super::damage::{Damage, NOT_AS_WRITTEN, Trouble};
use super::files::{Directory, unusable};
use super::journal;
use super::policy::{Limits, Policy, Seen, Span};
use super::segment::{self, Fault, Segment, Writer};
use super::state::State;
use crate::log::LogError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// How often is looked whether there is something to clean; nothing is read from the disk for that.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What ages is cleaned at least so often.
const CLEAN_EVERY_MS: i64 = 3_600_000;
/// Segments are joined up to that size: few files, and still small steps.
const SEGMENT_BYTES: u64 = 64 << 20;
/// So many small segments are joined even if nothing in them is to be removed.
const JOIN: usize = 4;

/// What a round of cleaning has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records that were removed.
    pub removed: u64,
    /// Bytes of the segments before.
    pub bytes_before: u64,
    /// And behind.
    pub bytes_after: u64,
}

/// The thread of it.
pub(super) fn run(core: &Core) {
    let mut cleaned =
        Last { journal: core.state().segments.last().map_or(0, |segment| segment.last), at_ms: wall_ms() };
    loop {
        // Counted before looking, or the last ring would not be heard.
        let seen = core.sealed.count();
        if core.is_closed() {
            return;
        }
        if let Err(error) = sort_all(core).and_then(|()| clean_if_due(core, &mut cleaned)) {
            tracing::warn!(log = core.at, %error, "the log could not be tidied up; it is tried again");
        }
        core.sealed.wait_beyond_for(seen, LOOK_EVERY);
    }
}

fn sort_all(core: &Core) -> Result<(), LogError> {
    while !core.is_closed() && core.sort_one()? {}
    Ok(())
}

/// When and up to where it was cleaned.
struct Last {
    journal: u64,
    at_ms: i64,
}

/// Cleans when a fifth of the segments is new, as Kafka's dirty ratio would have it for our topics, and once an hour.
fn clean_if_due(core: &Core, last: &mut Last) -> Result<(), LogError> {
    let now_ms = wall_ms();
    let bytes_from =
        |journal: u64| core.state().segments.iter().filter(|s| s.last > journal).map(|s| s.bytes).sum::<u64>();
    let (new, all) = (bytes_from(last.journal), bytes_from(0));
    let is_due = (new > 0 && new * 5 >= all) || (all > 0 && now_ms - last.at_ms >= CLEAN_EVERY_MS);
    if is_due && !core.untended.load(Ordering::Acquire) {
        let _one = lock(&core.tending);
        let journal = core.state().segments.last().map_or(0, |segment| segment.last);
        core.clean(now_ms)?;
        *last = Last { journal, at_ms: now_ms };
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // An edge: the rules take the time as an argument.
fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl Core {
    /// Turns the oldest sealed journal into a segment; false when there is none.
    pub fn sort_one(&self) -> Result<bool, LogError> {
        let _one = lock(&self.tending);
        self.sort_oldest()
    }

    /// Seals the journal, sorts all, and cleans as of `now_ms`.
    pub fn compact(&self, now_ms: i64) -> Result<Cleaned, LogError> {
        self.seal()?;
        let _one = lock(&self.tending);
        while self.sort_oldest()? {}
        self.clean(now_ms)
    }

    fn sort_oldest(&self) -> Result<bool, LogError> {
        let directory = self.directory()?;
        let (journal, floors) = {
            let state = self.state();
            let [oldest, _, ..] = state.journals.as_slice() else { return Ok(false) };
            let first = |place: &Place| (*place, state.bounds(*place).unwrap_or_default().first);
            (oldest.clone(), oldest.index.keys().map(first).collect::<BTreeMap<_, _>>())
        };
        let segment = self.install(&directory, (journal.number, journal.number), |writer| {
            for (place, floor) in floors {
                let entries = journal.index.get(&place).map(Vec::as_slice).unwrap_or_default();
                let (Some(first), Some(last)) = (entries.first(), entries.last()) else { continue };
                for entry in entries {
                    let damage = || Damage::new(&journal.path, Some((place, entry.offset)), NOT_AS_WRITTEN);
                    let record = journal::read(&journal.file, place, entry)?.ok_or_else(damage)?;
                    let (head, record) = codec::checked(&record).ok_or_else(damage)?;
                    writer.push(head, record)?;
                }
                writer.cover(place, first.offset, last.offset + 1, floor)?;
            }
            Ok(())
        })?;
        let mut state = self.state_mut();
        state.segments.push(Arc::new(segment));
        state.journals.remove(0);
        drop(state);
        fs::remove_file(&journal.path).map_err(|error| unusable(&directory.path, &error))?;
        Ok(true)
    }

    /// Writes a segment, brings it to the disk, and gives it its name.
    fn install(
        &self,
        directory: &Directory,
        (first, last): (u64, u64),
        fill: impl FnOnce(&mut Writer) -> Result<(), Trouble>,
    ) -> Result<Segment, LogError> {
        let unfinished = directory.unfinished("segment");
        let path = directory.segment(first, last);
        let write = || {
            let mut writer = Writer::create(&unfinished, first, last)?;
            fill(&mut writer)?;
            writer.finish()?;
            fs::rename(&unfinished, &path)?;
            directory.sync()?;
            Segment::open(path.clone(), first, last).map_err(|fault| match fault {
                Fault::Io(error) => Trouble::Io(error),
                Fault::Contents => Damage::new(&path, None, fault.to_string()).into(),
            })
        };
        write().map_err(|trouble| {
            // On a full disk what is half written only takes the room of what matters.
            drop(fs::remove_file(&unfinished));
            trouble.into_error(&directory.path, &self.state())
        })
    }

    /// Removes what compaction and retention take, oldest segments first: a tombstone never goes before what it covers.
    /// Whoever calls this holds `tending`.
    fn clean(&self, now_ms: i64) -> Result<Cleaned, LogError> {
        let directory = self.directory()?;
        let segments = self.state().segments.clone();
        let plans = self.plans(&segments, now_ms).map_err(|t| t.into_error(&directory.path, &self.state()))?;
        let bytes = |segments: &[Arc<Segment>]| segments.iter().map(|s| s.bytes).sum::<u64>();
        let mut done = Cleaned { bytes_before: bytes(&segments), ..Cleaned::default() };
        let mut rest = segments.as_slice();
        while !rest.is_empty() && !self.is_closed() {
            let mut size = 0;
            let fits = |s: &&Arc<Segment>| {
                size += s.bytes;
                size <= SEGMENT_BYTES
            };
            let (group, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = others;
            let has_dead = |segment: &Arc<Segment>| has_dead(segment, &plans);
            let dead = group.iter().map(has_dead).find(|dead| !matches!(dead, Ok(false))).transpose();
            let dead = dead.map_err(|t| t.into_error(&directory.path, &self.state()))?.is_some();
            if dead || group.len() >= JOIN {
                done.removed += self.rewrite(&directory, group, &plans)?;
            }
        }
        let mut state = self.state_mut();
        done.bytes_after = bytes(&state.segments);
        for (place, plan) in plans {
            if let Some(bounds) = state.bounds_mut(place).filter(|_| rest.is_empty()) {
                bounds.first = bounds.first.max(plan.limits.floor);
            }
        }
        Ok(done)
    }

    /// What goes from each partition.
    fn plans(&self, segments: &[Arc<Segment>], now_ms: i64) -> Result<BTreeMap<Place, Plan>, Trouble> {
        let places: BTreeSet<Place> = segments.iter().flat_map(|segment| segment.parts.keys().copied()).collect();
        let mut plans = BTreeMap::new();
        for place in places {
            let (policy, bounds) = {
                let state = self.state();
                let Some(policy) = policy_of(&state, place) else { continue };
                (policy, state.bounds(place).unwrap_or_default())
            };
            let blocks = || segments.iter().filter_map(|s| s.parts.get(&place)).flat_map(|part| &part.blocks);
            let span = |b: &segment::Block| Span {
                first: b.first,
                last: b.last,
                bytes: u64::from(b.raw),
                newest_ms: b.newest_ms,
            };
            let spans: Vec<Span> = blocks().map(span).collect();
            let limits = policy.limits(&spans, bounds.next - 1, now_ms);
            let mut last_of_key = policy.compacts().then(HashMap::new);
            if let Some(last_of_key) = &mut last_of_key {
                for segment in segments {
                    each(segment, place, limits.cleanable_end, |head, record| {
                        if let Some((Some(key), _)) = codec::key_of(record) {
                            last_of_key.insert(xxh3_128(key), head.offset);
                        }
                        Ok(true)
                    })?;
                }
            }
            plans.insert(place, Plan { limits, last_of_key });
        }
        Ok(plans)
    }

    /// Replaces neighbouring segments by one that holds what stays of them; gives how many records do not.
    fn rewrite(
        &self,
        directory: &Directory,
        group: &[Arc<Segment>],
        plans: &BTreeMap<Place, Plan>,
    ) -> Result<u64, LogError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(0) };
        let mut removed = 0;
        let places: BTreeSet<Place> = group.iter().flat_map(|segment| segment.parts.keys().copied()).collect();
        let segment = self.install(directory, (first.first, last.last), |writer| {
            for place in places {
                let mut parts = group.iter().filter_map(|segment| segment.parts.get(&place));
                let Some(start) = parts.clone().map(|part| part.start).next() else { continue };
                let next = parts.clone().map(|part| part.next).next_back().unwrap_or(start);
                let limit = plans.get(&place).map_or(0, |plan| plan.limits.floor);
                let floor = parts.by_ref().map(|part| part.floor).max().unwrap_or(0).max(limit);
                for segment in group {
                    each(segment, place, i64::MAX, |head, record| {
                        if plans.get(&place).is_none_or(|plan| plan.keep(head, record)) {
                            writer.push(head, record)?;
                        } else {
                            removed += 1;
                        }
                        Ok(true)
                    })?;
                }
                writer.cover(place, start, next, floor)?;
            }
            Ok(())
        })?;
        let installed = segment.path.clone();
        let segment = Arc::new(segment);
        {
            let mut state = self.state_mut();
            let from = state.segments.partition_point(|s| s.first < first.first);
            state.segments.splice(from..from + group.len(), [segment]);
        }
        for old in group.iter().filter(|old| old.path != installed) {
            fs::remove_file(&old.path).map_err(|error| unusable(&directory.path, &error))?;
        }
        Ok(removed)
    }
}

/// What goes from one partition.
struct Plan {
    limits: Limits,
    /// Last offsets of keys, by a hash of 128 bits: two keys do not share one before the sun goes out.
    last_of_key: Option<HashMap<u128, i64>>,
}

impl Plan {
    fn keep(&self, head: Head, record: &[u8]) -> bool {
        let Some(last_of_key) = &self.last_of_key else { return head.offset >= self.limits.floor };
        let Some((key, has_value)) = codec::key_of(record) else { return true };
        let last_of_key = key.and_then(|key| last_of_key.get(&xxh3_128(key)).copied());
        let Head { offset, timestamp_ms, .. } = head;
        self.limits.keep(&Seen { offset, timestamp_ms, is_tombstone: !has_value, last_of_key })
    }
}

fn policy_of(state: &State, place: Place) -> Option<Policy> {
    state.topics.get(state.name(place)?).map(|topic| topic.policy)
}

/// Whether anything in a segment is to be removed. Where no compaction is, the contents tell.
fn has_dead(segment: &Segment, plans: &BTreeMap<Place, Plan>) -> Result<bool, Trouble> {
    let mut dead = false;
    for (place, part) in &segment.parts {
        let Some(plan) = plans.get(place) else { continue };
        dead |= part.blocks.first().is_some_and(|block| block.first < plan.limits.floor);
        if !dead && plan.last_of_key.is_some() {
            each(segment, *place, plan.limits.cleanable_end, |head, record| {
                dead |= !plan.keep(head, record);
                Ok(!dead)
            })?;
        }
        if dead {
            break;
        }
    }
    Ok(dead)
}

/// Shows the records of a place in a segment that stand before `end`, until `visit` has seen enough. Blocks behind it are not
/// read: of a topic that keeps all of the last day, that is nearly every block.
fn each(
    segment: &Segment,
    place: Place,
    end: i64,
    mut visit: impl FnMut(Head, &[u8]) -> io::Result<bool>,
) -> Result<(), Trouble> {
    let blocks = segment.parts.get(&place).map(|part| part.blocks.as_slice()).unwrap_or_default();
    for block in blocks.iter().take_while(|block| block.first < end) {
        let damage = || Damage::new(&segment.path, Some((place, block.first)), NOT_AS_WRITTEN);
        let records = segment.read(place, block)?.ok_or_else(damage)?;
        for (head, record) in segment::records(&records) {
            if head.offset >= end || !visit(head, record)? {
                return Ok(());
            }
        }
    }
    Ok(())
}
